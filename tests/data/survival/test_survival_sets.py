"""The sets that come with scikit-survival."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from unsnarl.data.survival import load_survival, survival_sets
from unsnarl.errors import MissingExtraError, OptionError, UnknownNameError


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sksurv", None)
    monkeypatch.setitem(sys.modules, "sksurv.datasets", None)
    with pytest.raises(MissingExtraError, match=r"unsnarl\[survival\]"):
        load_survival("gbsg2")


def test_names():
    with pytest.raises(UnknownNameError, match="breast_cancer"):
        load_survival("breast_cancr")
    with pytest.raises(OptionError, match="has no option 'size'"):
        load_survival("gbsg2", size=3)


@pytest.mark.parametrize(
    ("name", "patients", "events"),
    [
        ("breast-cancer", 198, 51),
        ("gbsg2", 686, 299),
        ("whas500", 500, 215),
        ("veterans", 137, 128),
        ("flchain", 7874, 2169),
        ("aids", 1151, 96),
        ("bmt", 35, 9),
        ("cgvhd", 100, 86),
    ],
)
def test_sizes(name, patients, events):
    pytest.importorskip("sksurv")
    data = load_survival(name)
    assert name.replace("-", "_") in survival_sets()
    assert (len(data), int(data.event.sum())) == (patients, events)


def test_breast_cancer_has_two_modalities_and_pathways_of_given_rows():
    pytest.importorskip("sksurv")
    data = load_survival("breast_cancer", pathways=8)
    assert data["genes"].shape == (198, 76)
    assert data.columns["clinical"] == ["age", "er", "grade", "size"]
    assert set(data.categories["clinical"]) == {"er", "grade"}
    groups = data.pathways["genes"]
    assert len(groups) == 8
    assert sorted(g for genes in groups.values() for g in genes) == sorted(data.columns["genes"])
    half = load_survival("breast_cancer", pathways=8, rows=np.arange(90)).pathways["genes"]
    assert half != groups
    assert load_survival("breast_cancer").pathways == {}
    with pytest.raises(OptionError, match="pathways="):
        load_survival("breast_cancer", rows=[1, 2, 3])


def test_the_cause_of_death_is_not_among_the_variables():
    pytest.importorskip("sksurv")
    data = load_survival("flchain")
    assert "chapter" not in data.columns["clinical"]
    gaps = np.isnan(data["clinical"]).sum(0)
    assert gaps[data.columns["clinical"].index("creatinine")] == 1350
    assert gaps.sum() == 1350


def test_causes_and_endpoints():
    pytest.importorskip("sksurv")
    assert int(load_survival("bmt", cause=2).event.sum()) == 15
    assert int(load_survival("bmt").truth["other_cause"].sum()) == 15
    assert int(load_survival("cgvhd", cause=3).event.sum()) == 5
    assert int(load_survival("aids", endpoint="death").event.sum()) == 26
    with pytest.raises(OptionError, match="cause=3"):
        load_survival("bmt", cause=3)
    with pytest.raises(OptionError, match="endpoint"):
        load_survival("aids", endpoint="hospital")
