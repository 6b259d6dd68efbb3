import pytest

from unsnarl.claims._fingerprint import _closure, fingerprint
from unsnarl.errors import OptionError


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose claim uses one of two systems, both passed on by a lazy `__init__`."""
    root = tmp_path / "madeup"
    (root / "systems").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "systems" / "__init__.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from unsnarl.lazy import attach\n"
        "if TYPE_CHECKING:\n    from madeup.systems._used import Used\n    from madeup.systems._unused import Unused\n"
        '__getattr__, __dir__, __all__ = attach(__name__, {"Used": "._used", "Unused": "._unused"})\n'
    )
    (root / "systems" / "_used.py").write_text("from ._part import half\n\nclass Used:\n    x = half(2)\n")
    (root / "systems" / "_part.py").write_text("def half(x):\n    return x / 2\n")
    (root / "systems" / "_unused.py").write_text("class Unused:\n    y = 1\n")
    (root / "claim.py").write_text(
        "import numpy as np\n\ndef run(seed, context):\n    from madeup.systems import Used\n    return {'a': Used.x}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    import sys

    for name in [n for n in sys.modules if n.partition(".")[0] == "madeup"]:
        del sys.modules[name]


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_imports_are_followed_to_where_names_are_defined(package):
    assert set(_closure("madeup.claim")) == {
        "madeup",
        "madeup.claim",
        "madeup.systems",
        "madeup.systems._used",
        "madeup.systems._part",
    } - {"madeup"}


def test_only_code_that_runs_counts(package):
    first = fingerprint("madeup.claim")
    edit(package / "systems" / "_unused.py", "y = 1", "y = 2")
    edit(package / "systems" / "_part.py", "    return", '    """Half of it."""\n    # so it is\n\n    return')
    assert fingerprint("madeup.claim") == first
    edit(package / "systems" / "_part.py", "x / 2", "x / 3")
    assert fingerprint("madeup.claim") != first


def test_listed_modules_replace_what_is_found(package):
    listed = ["madeup.systems._used"]
    first = fingerprint("madeup.claim", listed)
    edit(package / "systems" / "_part.py", "x / 2", "x / 3")
    assert fingerprint("madeup.claim", listed) == first
    edit(package / "systems" / "_used.py", "half(2)", "half(3)")
    assert fingerprint("madeup.claim", listed) != first
    whole = fingerprint("madeup.claim", ["madeup.systems"])
    edit(package / "systems" / "_unused.py", "y = 1", "y = 2")
    assert fingerprint("madeup.claim", ["madeup.systems"]) != whole
    with pytest.raises(OptionError, match=r"sources names the module 'madeup\.absent'"):
        fingerprint("madeup.claim", ["madeup.absent"])


def test_versions_count(package, monkeypatch):
    import importlib.metadata

    first = fingerprint("madeup.claim")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0")
    assert fingerprint("madeup.claim") != first


def test_the_engine_itself_does_not_count(module, source):
    module(source)
    assert set(_closure("tiny_claim")) == {"tiny_claim"}
