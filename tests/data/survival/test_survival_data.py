"""Patients with modalities: checks, parts, what is hidden, and tables with categories."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from unsnarl.data.survival import SurvivalData, TableEncoder, correlation_clusters
from unsnarl.errors import DataError, NotFittedError, OptionError, UnknownNameError

TIME, EVENT = [5.0, 3.0, 8.0, 1.0], [True, False, True, False]


def patients(**changes) -> SurvivalData:
    rng = np.random.default_rng(0)
    given = {
        "modalities": {"slide": [rng.normal(size=(k, 3)) for k in (2, 5, 1, 4)], "genes": rng.normal(size=(4, 3))},
        "time": TIME,
        "event": EVENT,
        "columns": {"genes": ["a", "b", "c"]},
        "pathways": {"genes": {"p": ["a", "c"], "q": ["b"]}},
        "truth": {
            "risk": np.arange(4.0),
            "types": [np.zeros(2), np.zeros(5), np.zeros(1), np.zeros(4)],
            "pair": (0, 1),
        },
    } | changes
    return SurvivalData(**given)


def test_what_is_held():
    data = patients()
    assert len(data) == 4
    assert data["genes"].dtype == np.float32
    assert [len(bag) for bag in data["slide"]] == [2, 5, 1, 4]
    assert data.names[3] == "patient 3"
    assert data.is_bags("slide")
    assert not data.is_bags("genes")
    assert repr(data) == "SurvivalData(4 patients, 50% with event; slide: bags of 1 to 5 x 3, genes: table of 3)"
    np.testing.assert_array_equal(data.y["time"], TIME)
    np.testing.assert_array_equal(data.y["event"], EVENT)


def test_parts_keep_everything_together():
    data = patients()
    part = data.subset([2, 0])
    assert part.names == ["patient 2", "patient 0"]
    assert [len(bag) for bag in part["slide"]] == [1, 2]
    assert [len(kinds) for kinds in part.truth["types"]] == [1, 2]
    assert part.truth["pair"] == (0, 1)
    np.testing.assert_array_equal(part.time, [8, 5])
    np.testing.assert_array_equal(part.truth["risk"], [2, 0])
    np.testing.assert_array_equal(data.subset(data.event).time, [5, 8])
    with pytest.raises(DataError, match="indices"):
        data.subset([7])
    only = data.only("genes")
    assert list(only.modalities) == ["genes"]
    assert list(only.pathways) == ["genes"]
    assert list(data.only(["slide"]).pathways) == []
    with pytest.raises(UnknownNameError, match="genes"):
        data.only(["gene"])


def test_pathways_pick_their_columns():
    data = patients()
    arrays = data.pathway_arrays()
    np.testing.assert_array_equal(arrays["p"], data["genes"][:, [0, 2]])
    np.testing.assert_array_equal(arrays["q"], data["genes"][:, [1]])
    np.testing.assert_array_equal(
        data.with_pathways("genes", {"all": ["c", "b"]}).pathway_arrays()["all"], data["genes"][:, [2, 1]]
    )
    with pytest.raises(DataError, match="'z'"):
        data.with_pathways("genes", {"p": ["z"]})
    with pytest.raises(DataError, match="no column"):
        data.with_pathways("genes", {"p": []})
    with pytest.raises(DataError, match="no pathways"):
        patients(pathways={}).pathway_arrays()


def test_blinded_patients_have_nothing_to_peek_at():
    hidden = patients().blinded()
    assert np.isnan(hidden.time).all()
    assert not hidden.event.any()
    assert hidden.truth == {}
    assert np.isnan(hidden.y["time"]).all()
    shown = patients().blinded(outcome=False)
    np.testing.assert_array_equal(shown.time, TIME)
    assert shown.truth == {}


def test_structured_arrays_and_frames():
    y = np.array(list(zip(EVENT, TIME, strict=True)), dtype=[("died", "?"), ("days", "<f8")])
    frame = pd.DataFrame({"age": [50, 61, 42, 55], "grade": ["low", "high", None, "low"]})
    with pytest.raises(DataError, match="NaN"):
        SurvivalData.of(frame, y)
    data = SurvivalData.of(frame, y, may_be_missing=("clinical",))
    assert data.columns["clinical"] == ["age", "grade"]
    assert data.categories["clinical"] == {"grade": ("high", "low")}
    table = data.table("clinical")
    assert table["grade"].tolist()[:2] == ["low", "high"]
    assert table["grade"].isna().tolist() == [False, False, True, False]
    assert list(SurvivalData.of({"x": np.eye(4)}, y).modalities) == ["x"]
    swapped = np.array(list(zip(TIME, EVENT, strict=True)), dtype=[("days", "<f8"), ("died", "?")])
    np.testing.assert_array_equal(SurvivalData.of(np.eye(4), swapped).event, EVENT)
    with pytest.raises(DataError, match="structured"):
        SurvivalData.of(np.eye(4), np.eye(4))
    competing = np.array([(2, 1.0)] * 4, dtype=[("status", "<i8"), ("time", "<f8")])
    with pytest.raises(DataError, match="one boolean field"):
        SurvivalData.of(np.eye(4), competing)


def test_tensors_are_taken():
    data = SurvivalData(
        {"x": [torch.ones(2, 3), torch.zeros(1, 3)]}, torch.tensor([1.0, 2.0]), torch.tensor([True, False])
    )
    assert data["x"][0].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_swapped_flags_are_pointed_out():
    time = np.arange(1.0, 101)
    event = np.ones(100, dtype=bool)
    event[:3] = False
    with pytest.warns(UserWarning, match=r"97\.0% .* 1 - flag"):
        SurvivalData({"x": np.eye(100)}, time, event)
    event[:6] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = SurvivalData({"x": np.eye(100)}, time, event)
        data.subset(event)  # a part with events only is no reason to warn


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"time": [1, 2, 3]}, "one row an observation"),
        ({"time": [1, 2, 3, -1]}, "at least 0, but patient 3"),
        ({"time": [1, 2, 3, np.nan]}, "time has 1 value that is not finite"),
        ({"time": ["a", "b", "c", "d"]}, "must hold numbers"),
        ({"event": [0, 1, 2, 0]}, "several causes"),
        ({"event": [0, 0, 0, 0]}, "no patient had the event"),
        ({"modalities": {}}, "at least one"),
        ({"modalities": {"genes": np.array([[1.0, 2, np.nan]] * 4)}}, "4 NaN values .first: row 0, column 2"),
        ({"modalities": {"genes": np.full((4, 3), np.inf)}}, "infinite"),
        ({"modalities": {"genes": np.ones((3, 3))}}, "one row an observation"),
        ({"modalities": {"genes": np.ones(4)}}, "patients x columns"),
        ({"modalities": {"genes": np.array([["x", "y", "z"]] * 4)}}, "must hold numbers"),
        ({"modalities": {"genes": np.ones((4, 2))}}, "3 names for 2 columns"),
        ({"columns": {"genes": ["a", "b", "a"]}}, "'a' more than once"),
        ({"names": ["x"]}, "one row an observation"),
    ],
)
def test_bad_patients(changes, words):
    given = {"pathways": {}, "truth": {}} | changes
    with pytest.raises(DataError, match=words):
        patients(**given)


def test_bad_bags():
    good = [np.ones((2, 3)), np.ones((1, 3)), np.ones((4, 3)), np.ones((2, 3))]
    options = {"columns": {}, "pathways": {}, "truth": {}}
    with pytest.raises(DataError, match="bag 2 of 'slide' is empty"):
        patients(modalities={"slide": [*good[:2], np.zeros((0, 3)), good[3]]}, **options)
    with pytest.raises(DataError, match="bag 3 of 'slide' has 2 features, but bag 0 has 3"):
        patients(modalities={"slide": [*good[:3], np.ones((4, 2))]}, **options)
    with pytest.raises(DataError, match="bag 1 of 'slide' has 1 NaN"):
        patients(modalities={"slide": [good[0], np.array([[1, np.nan, 2]]), *good[2:]]}, **options)
    with pytest.raises(DataError, match="instances x features"):
        patients(modalities={"slide": [good[0], np.ones(3), *good[2:]]}, **options)
    kept = patients(modalities={"slide": [*good[:2], np.zeros((0, 3)), good[3]]}, may_be_missing=("slide",), **options)
    np.testing.assert_array_equal(kept.present["slide"], [True, True, False, True])


def test_a_missing_row_is_a_missing_modality():
    x = np.ones((4, 3))
    x[1] = np.nan
    x[2, 0] = np.nan
    data = patients(modalities={"genes": x}, may_be_missing=("genes",), pathways={}, truth={})
    np.testing.assert_array_equal(data.present["genes"], [True, False, True, True])


def test_names_that_are_not_there():
    with pytest.raises(UnknownNameError, match="modality"):
        patients(columns={"gene": ["a", "b", "c"]})
    with pytest.raises(UnknownNameError, match="column"):
        patients(categories={"genes": {"z": ["low"]}})
    with pytest.raises(DataError, match="categories"):
        patients(categories={"genes": {"a": ["low", "high"]}})
    with pytest.raises(UnknownNameError):
        patients()["slides"]


# ---- the encoder ------------------------------------------------------------------------------------------------------


def table() -> SurvivalData:
    y = np.array([(True, 1.0)] * 3 + [(False, 2.0)] * 3, dtype=[("e", "?"), ("t", "<f8")])
    frame = pd.DataFrame({"age": [40, 50, 60, np.nan, 80, 90], "site": pd.Categorical(["a", "b", "c", "a", "b", "d"])})
    return SurvivalData.of({"clinical": frame}, y, may_be_missing=("clinical",))


def test_the_encoder_learns_from_its_rows_alone():
    data = table()
    encoder = TableEncoder(scale="minmax").fit(data.subset([0, 1, 2]))
    assert encoder.names_ == ["clinical: age", "clinical: site=b", "clinical: site=c"]
    got = encoder.transform(data)
    np.testing.assert_allclose(
        got[:, 0], [0, 0.5, 1, 0.5, 2, 2.5]
    )  # the gap is the median of the three, the scale theirs
    np.testing.assert_allclose(got[5, 1:], 0)  # the site d was not seen
    changed = data.subset(np.arange(6))
    changed.modalities["clinical"][3:] = 7  # whatever the other patients are like
    again = TableEncoder(scale="minmax").fit(changed.subset([0, 1, 2]))
    np.testing.assert_array_equal(again.center_, encoder.center_)
    np.testing.assert_array_equal(again.spread_, encoder.spread_)


def test_gaps_in_training_get_a_column():
    encoder = TableEncoder(scale="none").fit(table())
    assert "clinical: age missing" in encoder.names_
    got = encoder.transform(table())
    assert got[3, encoder.names_.index("clinical: age")] == 60
    np.testing.assert_array_equal(got[:, encoder.names_.index("clinical: age missing")], [0, 0, 0, 1, 0, 0])
    standard = TableEncoder().fit_transform(table())
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(standard.std(0), 1)


def test_bags_are_averaged_and_every_level_can_be_kept():
    data = patients(pathways={}, truth={})
    got = TableEncoder(["slide"], scale="none").fit_transform(data)
    np.testing.assert_allclose(got[1], data["slide"][1].mean(0), atol=1e-6)
    assert len(TableEncoder(drop_first=False).fit(table()).names_) == 6
    assert TableEncoder("genes").fit(data).names_ == ["genes: a", "genes: b", "genes: c"]


def test_what_the_encoder_refuses():
    with pytest.raises(NotFittedError):
        TableEncoder().transform(table())
    with pytest.raises(UnknownNameError):
        TableEncoder(["rna"]).fit(table())
    with pytest.raises(OptionError, match="scale"):
        TableEncoder(scale="log")
    with pytest.raises(DataError, match="other columns"):
        TableEncoder(["genes"]).fit(patients()).transform(patients(columns={"genes": ["x", "y", "z"]}, pathways={}))
    with pytest.raises(DataError, match="no column is left"):
        TableEncoder().fit(table().subset([0, 3]).only("clinical")._with(
            modalities={"clinical": np.zeros((2, 1), np.float32)}, columns={"clinical": ["site"]}
        ))  # fmt: skip


# ---- clusters ---------------------------------------------------------------------------------------------------------


def test_clusters_find_what_varies_together_on_the_rows_given():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 200, 1))
    early = np.hstack([first + 0.2 * rng.normal(size=(200, 3)), -second + 0.2 * rng.normal(size=(200, 2))])
    late = early[:, [0, 3, 1, 4, 2]]
    x, names = np.vstack([early, late]), list("abcde")
    assert correlation_clusters(x, names, 2, rows=np.arange(200)) == {
        "cluster 0": ["a", "b", "c"],
        "cluster 1": ["d", "e"],
    }
    later = correlation_clusters(x, names, 2, rows=np.arange(200, 400))
    assert later == {"cluster 0": ["a", "c", "e"], "cluster 1": ["b", "d"]}
    assert correlation_clusters(x[:, :1], ["a"], 1) == {"cluster 0": ["a"]}
    flipped = correlation_clusters(np.hstack([first, -first, second]), None, 2)
    assert flipped["cluster 0"] == ["column 0", "column 1"]  # a sign does not part them


def test_what_clusters_refuse():
    x = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(OptionError, match="at most the 3 columns"):
        correlation_clusters(x, None, 4)
    with pytest.raises(DataError, match="constant on these rows"):
        correlation_clusters(np.hstack([x, np.ones((20, 1))]), None, 2)
    with pytest.raises(DataError, match="at least 3 rows"):
        correlation_clusters(x, None, 2, rows=[0, 1])
    with pytest.raises(DataError, match="not finite"):
        correlation_clusters(np.full((20, 3), np.nan), None, 2)
