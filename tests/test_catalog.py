import importlib.metadata
import json
import subprocess
import sys

import pytest

from unsnarl import catalog
from unsnarl.catalog import Card, card, cards, markdown_table
from unsnarl.errors import FileError, OptionError, UnknownNameError


@pytest.fixture(autouse=True)
def fresh():
    catalog._plugins.cache_clear()
    yield
    catalog._plugins.cache_clear()


def example(**changes):
    fields = {
        "slug": "mine",
        "title": "Mine",
        "arxiv": "2401.00001",
        "year": 2024,
        "family": "latents",
        "extra": "graphs",
        "entry_point": "json:loads",
        "claim": "",
        "summary": "A | B [x](y) <b>",
    }
    return Card(**(fields | changes))


class Point:
    def __init__(self, value, name="plugin"):
        self.name, self.value, self._value = name, "plugin:cards", value

    def load(self):
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


@pytest.fixture
def plug(monkeypatch):
    def put(*values):
        points = [Point(value) for value in values]
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == catalog.GROUP else [])
        catalog._plugins.cache_clear()

    return put


def test_our_rows():
    assert card("qlae").arxiv == "2305.18378"
    assert card("qlae").entry_point == "unsnarl.systems.latents:QLAE"
    assert card("active-variables").family == "measures"
    assert len({one.slug for one in cards()}) == len(cards())
    for one in catalog._OURS:
        assert one.claim == f"unsnarl.claims.{one.slug.replace('-', '_')}"
    with pytest.raises(UnknownNameError, match="unknown system 'qale'; did you mean 'qlae'"):
        card("qale")


def test_a_card_is_checked():
    assert example().load() is json.loads
    assert example(entry_point="json:JSONDecoder.decode").load() is json.JSONDecoder.decode
    for wrong in ({"slug": "Not A Slug"}, {"family": "cooking"}, {"entry_point": "json.loads"}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            example(**wrong)


def test_plugins_add_rows(plug):
    plug(example(), [example(slug="second")], lambda: [example(slug="third")])
    assert [one.slug for one in cards()][-3:] == ["mine", "second", "third"]
    assert card("mine").title == "Mine"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ImportError("no module"), "ImportError: no module"),
        (SyntaxError("bad"), "SyntaxError"),
        ([1], "it gave a int"),
        (7, "not iterable"),
    ],
)
def test_a_broken_plugin_is_a_warning(plug, value, reason):
    plug(value, example())
    with pytest.warns(UserWarning, match=reason):
        found = cards()
    assert found[-1].slug == "mine"


def test_a_plugin_cannot_take_a_slug(plug):
    plug(example(slug="qlae"))
    with pytest.warns(UserWarning, match="'qlae' is taken"):
        assert card("qlae").title == "QLAE"


def test_a_real_entry_point(tmp_path):
    (tmp_path / "other_cards.py").write_text(
        "from unsnarl.catalog import Card\n"
        "cards = [Card('other', 'Other', '', 2025, 'dynamics', '', 'json:loads', 'other_claim', 'Else.')]\n"
    )
    (tmp_path / "other_claim.py").write_text("")
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unsnarl.systems]\nother = other_cards:cards\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from unsnarl.catalog import card; print(card('other').family)\n"
        "from unsnarl.claims import available_claims; print('other' in available_claims())\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["dynamics", "True"]


def test_the_table(tmp_path):
    record = {
        "verdict": "holds",
        "rows": [
            {"metric": "other", "role": "guard"},
            {"metric": "InfoM", "seeds": [0, 1, 2], "difference": {"mean": 0.187, "low": 0.12, "high": 0.26}},
        ],
    }
    (tmp_path / "qlae.json").write_text(json.dumps(record))
    plain = markdown_table(only=[card("qlae"), example()])
    assert plain.splitlines()[0] == "| System | What it gives | Paper | Family | Install |"
    assert r"A \| B \[x\](y) \<b\>" in plain
    assert "`unsnarl[graphs]`" in plain
    assert "[2023](https://arxiv.org/abs/2305.18378)" in plain
    told = markdown_table(tmp_path, only=[card("qlae"), card("active-variables"), example()]).splitlines()
    assert told[2].endswith(r"| [holds: InfoM +0.187 \[0.12, 0.26\], 3 seeds](claims/qlae.html) |")
    assert told[3].endswith("| not run yet |")
    assert told[4].endswith("| none |")
    widths = {line.replace(r"\|", "").count("|") for line in told}
    assert widths == {7}
    (tmp_path / "qlae.json").write_text('{"rows": []}')
    with pytest.raises(FileError, match=r"qlae\.json is not a claim's record"):
        markdown_table(tmp_path)


def test_importing_is_light():
    code = (
        "import sys, unsnarl; before = set(sys.modules); import unsnarl.catalog\n"
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {name for name in run.stdout.split() if name not in sys.stdlib_module_names} == {"unsnarl"}
