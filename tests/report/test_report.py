"""The report page: what is on it, what is left out, what is escaped, and what a bad call says."""

from __future__ import annotations

import errno
import html
import inspect
import io
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from report_fakes import EVIL, FakeMeasureReport, Parsed, Shifter, embedded, squares

import unsnarl
from unsnarl.data import FactorDataset
from unsnarl.errors import DataError, FileError, NotFittedError, OptionError
from unsnarl.measures import Score, Scores
from unsnarl.report import write_report

SECTIONS = ["scores", "matrices", "traversals", "reconstructions", "training", "data", "reproduce"]


def test_the_whole_report(model, data, measured, page):
    assert unsnarl.report(model, data, measured, to=page, title="Squares & co") == page
    got = Parsed(page)
    assert got.sections == SECTIONS
    assert got.all("html")[0]["lang"] == "en"
    assert got.all("title")
    assert "<title>Squares &amp; co</title>" in got.source
    assert got.text.index("Nearly separate") < got.text.index("Modularity is 0.81") < got.text.index("infomec")
    assert "0.810 [0.780, 0.840]" in got.text
    assert "How far each latent carries one factor only." in got.text
    assert "irs : needs a grid of factors" in got.text
    assert "2.310" in got.text  # nats: off the 0-to-1 axis, but in the table
    assert "see the table" in got.text
    assert "latent 0 across 0.95" in got.text  # beside its traversal
    assert "latents=4," in got.text
    assert "seed=3," in got.text
    assert f"unsnarl {unsnarl.__version__}" in got.text
    assert all(a.get("alt") for a in got.all("img"))


def test_it_needs_nothing_else(model, data, measured, page):
    unsnarl.report(model, data, measured, to=page)
    got = Parsed(page)
    for tag in ("img", "script", "iframe", "object", "embed", "link"):
        for attributes in got.all(tag):
            for name in ("src", "href", "data"):
                assert attributes.get(name, "data:").startswith("data:")
    assert all(a["href"].startswith("#") for a in got.all("a"))
    assert "@import" not in got.source
    assert "url(" not in got.source
    assert len(got.all("script")) == 1
    policy = next(a["content"] for a in got.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "unsafe-inline'; script" in policy
    assert page.stat().st_size < 1_500_000
    for content in embedded(got, "image/png"):
        assert Image.open(io.BytesIO(content)).size[0] > 10
    svgs = embedded(got, "image/svg+xml")
    assert len(svgs) == 8  # scores and curves, each for phone and desktop, light and dark
    assert all(b"<svg" in content and b"<script" not in content for content in svgs)


def test_the_pictures_show_what_the_model_does(model, data, page):
    write_report(model, data, {"a": 0.5}, to=page)
    strips = [np.asarray(Image.open(io.BytesIO(c))) for c in embedded(Parsed(page), "image/png")]
    # four traversals, input, output, difference, and two rows of data
    assert [s.shape[:2] for s in strips] == [(32, 7 * 34 - 2)] * 7 + [(66, 7 * 34 - 2)]
    given, made, gap = (s[:, :32, :3].astype(int) for s in strips[4:7])
    # the fake returns 0.9 x + 0.05, and x is 40 or 230 of 255
    np.testing.assert_allclose(made, 0.9 * given + 0.05 * 255, atol=0.51)
    expected = np.abs(given - made).mean(-1)
    np.testing.assert_allclose(gap[..., 0], expected * 10, atol=5.1)
    assert (strips[0][:, 32:34, 3] == 0).all()  # transparent between images


def test_scores_alone(page):
    scores = Scores(
        {"modularity": 0.71, "compactness": 0.4},
        intervals={"modularity": (0.68, 0.74)},
        matrices={"nmi": np.array([[0.9, 0.0], [0.02, 0.8]])},
        measure="infomec",
    )
    write_report(scores=scores, to=page)
    got = Parsed(page)
    assert got.sections == ["scores", "matrices", "reproduce"]
    finding = got.text[got.text.index("The finding") : got.text.index("Scores", got.text.index("The finding"))]
    assert "carries factor 0" in finding
    assert "modularity (infomec) is 0.710 (95% interval 0.680 to 0.740)" in finding
    assert "infomec: nmi" in got.text


@pytest.mark.parametrize(
    "scores",
    [
        Score(0.5, name="sap", interval=(0.4, 0.6), matrix=np.eye(3)),
        {"sap": Score(0.5, interval=(0.4, 0.6))},
        {"infomec": Scores({"sap": 0.5}, intervals={"sap": (0.4, 0.6)})},
        pd.DataFrame({"score": ["sap"], "value": [0.5], "low": [0.4], "high": [0.6]}),
    ],
)
def test_every_kind_of_scores(scores, page):
    write_report(scores=scores, to=page)
    assert "0.500 [0.400, 0.600]" in Parsed(page).text


def test_several_measurements_stand_under_their_names(measured, page):
    write_report(scores={"QLAE": measured, "VAE": FakeMeasureReport()}, to=page)
    got = Parsed(page)
    assert "QLAE: Nearly separate" in got.text
    assert "VAE: importance" in got.text
    assert "VAE: irs" in got.text
    assert sum(a.get("class") == "group" for a in got.all("tr")) == 2


def test_scores_are_measured_when_absent(model, data, page):
    options = {"names": ["mig", "irs"], "bootstrap": 4, "baseline": True}
    write_report(model, data, to=page, measure_options=options)
    got = Parsed(page)
    assert got.sections == SECTIONS
    assert re.search(r"mig \d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\] chance \d\.\d{3}", got.text)
    assert "data.factors, names=['mig', 'irs'], bootstrap=4, baseline=True)" in got.text
    assert "How much more the best latent tells of a factor than the second best." in got.text
    assert "normalised mutual information" in got.text


def test_what_the_model_lacks_is_left_out_with_a_reason(data, measured, page):
    class OnlyCodes:
        def transform(self, data):
            return Shifter().transform(data)

    write_report(OnlyCodes(), data, measured, to=page)
    got = Parsed(page)
    assert got.sections == ["scores", "matrices", "data", "reproduce"]
    assert "Traversals: OnlyCodes has no method traverse" in got.text
    assert "Reconstructions: OnlyCodes has no method reconstruct" in got.text


def test_observations_without_factors(model, page):
    write_report(model, squares().observations, to=page)
    got = Parsed(page)
    assert got.sections == ["traversals", "reconstructions", "training", "data", "reproduce"]
    assert "Scores: the data has no factors" in got.text
    assert "A reconstructed pixel is off by" in got.text


def test_tables_have_no_pictures(page):
    table = FactorDataset(np.random.default_rng(0).normal(size=(50, 5)), {"a": np.arange(50) % 2})

    class Linear(Shifter):
        def transform(self, data):
            return data.observations.numpy()

    write_report(Linear(), table, {"score": 0.3}, to=page)
    got = Parsed(page)
    assert got.sections == ["scores", "training", "data", "reproduce"]
    assert "Traversals: the observations are not images of one size" in got.text


def test_grey_float_and_large_images(page):
    x = torch.rand(9, 1, 200, 150)
    x[0, 0, 0, 0] = float("inf")  # a reconstruction may leave [0, 1] or the numbers altogether

    class Identity(Shifter):
        def transform(self, data):
            return np.random.default_rng(0).normal(size=(len(getattr(data, "observations", data)), 2))

        def reconstruct(self, observations):
            return observations * float("nan")

        def traverse(self, observation, latent, n_values=7):
            return observation.expand(3, -1, -1, -1)  # a quantized latent with three levels

    write_report(Identity(), x, to=page)
    sizes = [Image.open(io.BytesIO(c)).size for c in embedded(Parsed(page), "image/png")]
    assert set(sizes[:5]) == {(7 * 98 - 2, 128)}


def test_many_latents_are_capped_and_said_so(page):
    write_report(scores=FakeMeasureReport(384, tuple(f"attribute {i}" for i in range(8))), to=page)
    got = Parsed(page)
    assert "the 40 most informative of 384 latents are shown" in got.text
    assert len(got.all("tr")) == 2 * 41 + 1 + 6
    assert "latent 23" in got.text
    assert "latent 383" not in got.text


def test_traversals_are_capped(data, page):
    write_report(Shifter(latents=30), data, {"a": 0.1}, to=page)
    assert "The 24 most varying of 30 latents" in Parsed(page).text


def test_names_from_data_are_escaped(page):
    names = (EVIL, "a$b$c", '"><img src=x onerror=alert(2)>')
    data = squares(names=names)
    measured = FakeMeasureReport(4, names)
    measured.finding = [f"{EVIL} is spread", *measured.finding]
    measured.skipped = {EVIL: EVIL}
    model = Shifter()
    model.history_ = model.history_.rename(columns={"loss": EVIL})
    model.get_params = lambda: {"note": EVIL}
    write_report(model, data, {"plain": measured, EVIL: Scores({EVIL: 0.4}, measure=EVIL)}, to=page, title=EVIL)
    got = Parsed(page)
    assert EVIL not in got.source
    assert "<img src=x" not in got.source
    assert html.escape(EVIL) in got.source
    assert len(got.all("script")) == 1
    assert not any("onerror" in a for _, attributes in got.tags for a in attributes)
    assert any(EVIL in (a["alt"] or "") for a in got.all("img"))  # whole, as text, in the parsed attribute
    svgs = embedded(got, "image/svg+xml")
    assert any(b"&lt;script&gt;" in s for s in svgs)
    assert not any(b"<script" in s for s in svgs)


@pytest.mark.parametrize(
    "name", ["bad\x00name\x1b", "lone \ud800 surrogate", "x" * 5000, "", "  ", "日本語", "$\\frac{1}{0}$", "a\nb"]
)
def test_awkward_names(name, page):
    scores = Scores({name: 0.5, "other": 0.4}, matrices={name: np.eye(2)}, measure=name)
    write_report(scores=scores, to=page, title=name or None)
    got = Parsed(page)
    assert "\x00" not in got.source
    assert "0.500" in got.text
    for content in embedded(got, "image/svg+xml"):
        import xml.dom.minidom

        xml.dom.minidom.parseString(content)


def test_a_command_is_shown_as_given(page):
    write_report(scores={"a": 1.0}, to=page, command="unsnarl run qlae --data shapes3d --seed 0\n")
    got = Parsed(page)
    assert '<pre tabindex="0">unsnarl run qlae --data shapes3d --seed 0</pre>' in got.source


def test_the_same_call_gives_the_same_page(model, data, measured, tmp_path):
    first, second = (write_report(model, data, measured, to=tmp_path / n, seed=1) for n in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()
    other = write_report(model, data, measured, to=tmp_path / "c.html", seed=2)
    assert embedded(Parsed(other), "image/png") != embedded(Parsed(first), "image/png")


# ---- bad input ---------------------------------------------------------------------------------------------------------


def test_nothing_to_report(page):
    with pytest.raises(OptionError, match="needs a model, data or scores"):
        write_report(to=page)


def test_scores_of_an_unknown_kind(page):
    with pytest.raises(DataError, match="scores is a list; pass a MeasureReport"):
        write_report(scores=[1, 2], to=page)
    with pytest.raises(DataError, match="scores is empty"):
        write_report(scores={}, to=page)
    with pytest.raises(DataError, match="no column 'value'"):
        write_report(scores=pd.DataFrame({"score": [1]}), to=page)
    assert not page.exists()


@pytest.mark.parametrize("to", [None, 3, ""])
def test_the_target_is_no_path(to):
    with pytest.raises(OptionError, match="must be the path"):
        write_report(scores={"a": 1.0}, to=to)


def test_the_target_is_checked_before_the_work(data, tmp_path):
    class Slow:
        def transform(self, data):
            raise AssertionError("worked before looking at the target")

    with pytest.raises(FileError, match=r"it is a folder; name a file in it$"):
        write_report(Slow(), data, to=tmp_path)
    with pytest.raises(FileError, match=r"the folder .*absent does not exist; make it first$"):
        write_report(Slow(), data, to=tmp_path / "absent" / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_report(page, tmp_path, monkeypatch):
    page.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("unsnarl.files.os.fsync", full)
    with pytest.raises(FileError, match="no space left on device"):
        write_report(scores={"a": 1.0}, to=page)
    assert page.read_text() == "old"
    assert list(tmp_path.iterdir()) == [page]


def test_a_model_that_has_not_learned(data, page):
    class Fresh(Shifter):
        def transform(self, data):
            raise NotFittedError("call fit first")

    with pytest.raises(NotFittedError, match="call fit first"):
        write_report(Fresh(), data, to=page)


def test_a_reconstruction_of_another_shape_is_left_out(data, page):
    class Wrong(Shifter):
        def reconstruct(self, observations):
            return observations[:, :1]

    write_report(Wrong(), data, {"a": 0.5}, to=page)
    got = Parsed(page)
    assert "reconstructions" not in got.sections
    assert "reconstruct returned shape (7, 1, 32, 32) for observations of shape (7, 3, 32, 32)" in got.text


# ---- the module --------------------------------------------------------------------------------------------------------


def test_the_room_is_callable_and_light():
    code = (
        "import sys, unsnarl, unsnarl.report as room\n"
        "assert callable(room) and unsnarl.report is room\n"
        "heavy = {'matplotlib', 'torch', 'jinja2', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert 'heat_map' in dir(room)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_room_takes_what_the_function_takes():
    room, function = inspect.signature(unsnarl.report), inspect.signature(write_report)
    for name in ("model", "data", "scores", "to", "title"):
        assert room.parameters[name].kind == function.parameters[name].kind
        assert room.parameters[name].default == function.parameters[name].default


def test_ragged_observations(page):
    ragged = FactorDataset([torch.zeros(2), torch.zeros(3)], {"length": [2, 3]})
    write_report(data=ragged, to=page)
    got = Parsed(page)
    assert got.sections == ["data", "reproduce"]
    assert "2 observations with 1 factor." in got.text
