"""The survival report: what it says, from whom, and that names cannot break it."""

from __future__ import annotations

import sys

import headless_browser
import numpy as np
import pandas as pd
import pytest
from report_fakes import EVIL, Parsed, embedded
from sklearn.base import BaseEstimator

from unsnarl.data.survival import SurvivalData, simulate_bags
from unsnarl.errors import DataError, FileError, MissingExtraError, OptionError
from unsnarl.report._survival import write_survival_report
from unsnarl.report._survival_plots import fold_plot, percent, share_bars


class FakeLearner(BaseEstimator):
    """Knows the mean of a bag's first feature; remembers whom it was fitted on."""

    def __init__(self, sign: float = 1.0, note: str = "plain"):
        self.sign, self.note = sign, note

    def fit(self, data):
        self.known = set(data.names)
        self.time_edges_ = np.quantile(data.time, [0, 0.5, 1])
        self.shown: set[str] = set()
        return self

    def _new(self, data):
        assert not self.known & set(data.names)
        assert np.isnan(data.time).all()
        return data

    def risk(self, data):
        self._new(data)
        total = np.zeros(len(data))
        if "slide" in data.modalities:
            total += [bag[:, 0].mean() for bag in data["slide"]]
        if "genes" in data.modalities:
            total += data["genes"][:, 0]
        return self.sign * total

    def predict_survival(self, data):
        hazard = 1 / (1 + np.exp(-self.risk(data)))
        return np.stack([1 - hazard, (1 - hazard) ** 2], axis=1)

    def select_instances(self, data):
        self._new(data)
        kept = [np.argsort(-bag[:, 0])[:2] for bag in data["slide"]]
        return kept, [bag[k, 0] for bag, k in zip(data["slide"], kept, strict=True)]

    def embed(self, data):
        mean = np.stack([bag.mean(0) for bag in data["slide"]])
        return {"histology": mean, "genomics": data["genes"], "common": mean[:, :1] + data["genes"][:, :1]}


class Bare:
    """Only what is needed."""

    def fit(self, data):
        return self

    def risk(self, data):
        return data["genes"][:, 0] + data["genes"][:, 1]


def patients(n: int = 90, names=None, modality: str = "genes") -> SurvivalData:
    rng = np.random.default_rng(0)
    bags = [rng.standard_normal((int(k), 3)) + rng.standard_normal() * np.eye(3)[0] for k in rng.integers(3, 6, n)]
    genes = rng.standard_normal((n, 4))
    risk = np.array([bag[:, 0].mean() for bag in bags]) + genes[:, 0]
    died, left = rng.exponential(30 * np.exp(-risk)), rng.exponential(60, n)
    return SurvivalData({"slide": bags, modality: genes}, np.minimum(died, left), died <= left, names=names)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    pytest.importorskip("sksurv")
    page = tmp_path_factory.mktemp("survival") / "report.html"
    options = {"unit": "months", "folds": 3, "repeats": 2, "bootstrap": 20, "baselines": {}}
    assert write_survival_report(FakeLearner(), patients(), page, **options) == page
    return Parsed(page)


def test_every_section_is_there(full):
    assert full.sections == ["concordance", "groups", "curves", "modalities", "instances", "patients", "reproduce"]
    finding = full.text[full.text.index("The finding") :]
    assert finding.startswith(
        "The finding FakeLearner gives the higher risk to the patient who had the event first in "
    )
    assert "Of the half with the lower risk" in full.text
    assert "Of the variation in time, by ridge Cox on each modality: slide alone" in full.text
    assert "ridge Cox on genes" in full.text
    assert "FakeLearner, one modality at a time" in full.text
    assert "embeddings of FakeLearner" in full.text
    assert "2 of 3" in full.text or "2 of 4" in full.text
    assert "sign=1.0" in full.text
    assert "folds=3, repeats=2, seed=0" in full.text
    assert len(embedded(full, "image/svg+xml")) == 4 * 4  # four pictures, for phone and desktop, light and dark
    assert all(picture["alt"] for picture in full.all("img"))


def test_the_numbers_are_those_of_the_cross_validation(full):
    from unsnarl.measures.survival import RidgeCox, cross_validate_survival, summarize_folds

    scores = cross_validate_survival({"f": FakeLearner(), "genes": RidgeCox(modalities=["genes"])}, patients(), 3, 2)
    mean = summarize_folds(scores)["mean"]
    assert f"C = {mean['f']:.3f}" in full.text
    assert f"ridge Cox on genes {mean['genes']:.3f}" in full.text
    assert f"90 patients, of whom {int(patients().event.sum())}" in full.text


def test_a_model_with_the_least(page):
    pytest.importorskip("sksurv")
    write_survival_report(Bare(), patients().only(["genes"]), page, folds=3, bootstrap=0, baselines={})
    got = Parsed(page)
    assert got.sections == ["concordance", "groups", "patients", "reproduce"]
    assert "Selected instances: Bare has no select_instances" in got.text
    assert "Predicted curves: Bare has no predict_survival" in got.text


def test_a_model_that_needs_all_modalities_and_a_bad_one(page):
    pytest.importorskip("sksurv")
    write_survival_report(Bare(), patients(), page, folds=3, bootstrap=0, baselines={"again": Bare()})
    text = Parsed(page).text
    assert "One modality at a time: Bare needs all modalities" in text
    assert "Against again" in text
    assert "the two cannot be told apart" in text
    write_survival_report(
        FakeLearner(sign=-1.0), patients(), page, folds=3, bootstrap=0, baselines={"good": FakeLearner()}
    )
    text = Parsed(page).text
    assert "which may be a guess" in text
    assert "FakeLearner is worse on these folds" in text


def test_true_tissues_and_variables_by_name(page):
    pytest.importorskip("sksurv")

    class Picker(Bare):
        def select_instances(self, data):
            return [np.array([0, 1])] * len(data), [np.array([0.9, 0.5])] * len(data)

    data = simulate_bags(60, patches=(4, 6))
    write_survival_report(Picker(), data, page, folds=3, bootstrap=0, baselines={})
    share = np.mean(np.isin(np.concatenate([k[:2] for k in data.truth["types"]]), (0, 1)))
    assert f"{share:.0%} of the selected patches are of the tissues that matter" in Parsed(page).text
    table = SurvivalData(
        {"genes": data["genes"], "clinical": np.random.default_rng(0).normal(size=(60, 3))},
        data.time,
        data.event,
        columns={"clinical": ["age", EVIL, "size"]},
    )
    write_survival_report(Picker(), table, page, folds=3, bootstrap=0, baselines={})
    assert "age (0.90)" in Parsed(page).text
    assert "60 of 60 patients (100%)" in Parsed(page).text


def test_names_are_escaped(page):
    pytest.importorskip("sksurv")
    data = patients(names=[f"{EVIL} {i}" for i in range(90)], modality=EVIL)
    model = FakeLearner(note=EVIL)
    write_survival_report(
        model, data, page, folds=3, bootstrap=0, title=EVIL, unit=EVIL, baselines={EVIL: FakeLearner(-1.0)}
    )
    content = page.read_text(encoding="utf-8")
    assert EVIL not in content
    assert "&lt;script&gt;alert(1)" in content
    Parsed(page)


@pytest.mark.skipif(headless_browser.find() is None, reason="needs a browser")
def test_in_a_browser(page):
    pytest.importorskip("sksurv")
    long = "a_name_without_any_space_that_is_much_longer_than_a_phone_is_wide_" * 2
    data = patients(60, names=[f"{long}{i}" for i in range(60)], modality=long)
    write_survival_report(FakeLearner(), data, page, folds=2, bootstrap=0, unit=long, baselines={long: FakeLearner()})
    browser = headless_browser.Browser(str(headless_browser.find()))
    try:
        for width in (390, 1280):
            browser.open(page, width=width, height=900)
            assert browser.ask("document.documentElement.scrollWidth") <= width
            wide = """[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
                && !e.closest('.scroll, pre, picture')).map(e => e.outerHTML.slice(0, 80))"""
            assert browser.ask(wide) == []
            sizes = browser.ask(
                "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth, () => 0)))"
            )
            assert len(sizes) == 4
            assert all(sizes)
            assert browser.complaints() == []
            assert browser.requests() == [page.resolve().as_uri()]
    finally:
        browser.close()


def test_pictures_draw_whatever_comes():
    scores = pd.DataFrame({"model": ["a"] * 2 + ["b" * 90] * 2, "c_index": [0.4, 0.6, 0.9, 0.95]})
    summary = pd.DataFrame({"mean": [0.925, 0.5]}, index=["b" * 90, "a"])
    for width in (3.73, 7.2):
        figure = fold_plot(scores, summary, {"a": 0.3, "b" * 90: float("nan")}, name="a", width=width)
        assert figure.axes[0].get_window_extent().width > 0.2 * width * 100
        share_bars([("x", {"a alone": 0.9, "a and b in common": -0.2, "b alone": 0.4, "none": -0.1})], width=width)
    assert percent(-0.0049) == "0%"


def test_what_cannot_be_written(page, tmp_path, monkeypatch):
    with pytest.raises(FileError, match="does not exist"):
        write_survival_report(Bare(), patients(), tmp_path / "no" / "page.html")
    with pytest.raises(OptionError, match="data is a ndarray"):
        write_survival_report(Bare(), np.ones((3, 3)), page)
    with pytest.raises(OptionError, match="bootstrap"):
        write_survival_report(Bare(), patients(), page, bootstrap=-1)
    monkeypatch.setitem(sys.modules, "sksurv.metrics", None)
    with pytest.raises(MissingExtraError):
        write_survival_report(Bare(), patients(), page)
    assert not page.exists()


def test_too_few_events(page):
    pytest.importorskip("sksurv")
    data = patients()
    few = SurvivalData(data.modalities, data.time, np.arange(90) < 2)
    with pytest.raises(DataError, match="2 events cannot be spread"):
        write_survival_report(Bare(), few, page)
    with pytest.raises(OptionError, match="has the name of the model"):
        write_survival_report(Bare(), data, page, baselines={"Bare": Bare()})
