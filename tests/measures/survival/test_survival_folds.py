"""Cross-validation without leaks, its standard errors, and the baselines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unsnarl.data.survival import SurvivalData, simulate_bags
from unsnarl.errors import DataError, NotFittedError, OptionError, UnknownNameError
from unsnarl.measures.survival import (
    ForestSurvival,
    RidgeCox,
    compare_folds,
    cross_predict_survival,
    cross_validate_survival,
    ranks_within_folds,
    summarize_folds,
    survival_folds,
)


def genes_only(n=120, seed=0, columns=10) -> SurvivalData:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, columns))
    died, left = rng.exponential(np.exp(-x[:, 0])), rng.exponential(2.0, n)
    return SurvivalData({"genes": x}, np.minimum(died, left), died <= left, truth={"risk": x[:, 0]})


class Recorder:
    """Remembers all it was shown; it is the first gene that it calls the risk."""

    def __init__(self, log=None):
        self.log = [] if log is None else log

    def __deepcopy__(self, memo):
        return Recorder(self.log)

    def fit(self, data):
        self.fitted = data
        return self

    def risk(self, data):
        self.log.append((self.fitted, data))
        return data["genes"][:, 0]


class Memory:
    """The most overfitted model there can be: it looks up the outcome of the most similar patient it knows."""

    def fit(self, data):
        self.x, self.time = data["genes"], data.time
        return self

    def risk(self, data):
        far = ((data["genes"][:, None] - self.x[None]) ** 2).sum(2)
        return -self.time[far.argmin(1)]


def test_folds_part_the_patients_with_events_in_each():
    data = genes_only()
    seen = np.zeros((2, 120))
    for repeat, _, train, test in survival_folds(data, 4, 2, seed=1):
        assert not set(train) & set(test)
        assert len(train) + len(test) == 120
        assert data.event[test].mean() == pytest.approx(data.event.mean(), abs=0.05)
        seen[repeat, test] += 1
    assert (seen == 1).all()
    again = [test.tolist() for *_, test in survival_folds(data, 4, 2, seed=1)]
    assert again == [test.tolist() for *_, test in survival_folds(data, 4, 2, seed=1)]
    assert again != [test.tolist() for *_, test in survival_folds(data, 4, 2, seed=2)]


def test_no_model_sees_the_outcome_of_a_test_fold():
    pytest.importorskip("sksurv")
    data, log = genes_only(), []
    cross_validate_survival({"recorder": Recorder(log)}, data, 4, 2)
    assert len(log) == 8
    for fitted, tested in log:
        assert not set(fitted.names) & set(tested.names)
        assert len(fitted) + len(tested) == 120
        assert np.isnan(tested.time).all()
        assert not tested.event.any()
        assert tested.truth == fitted.truth == {}
        rows = [data.names.index(name) for name in fitted.names]
        np.testing.assert_array_equal(fitted.time, data.time[rows])


def test_models_are_copies():
    pytest.importorskip("sksurv")
    model, ridge = Memory(), RidgeCox()
    cross_validate_survival({"memory": model, "ridge": ridge}, genes_only(60), 3, 1)
    assert not hasattr(model, "x")
    assert not hasattr(ridge, "model_")


def test_shuffled_outcomes_give_a_guess():
    pytest.importorskip("sksurv")
    data = genes_only(150, columns=40)
    means: dict[str, list] = {"ridge": [], "memory": [], "forest": []}
    models = {"ridge": RidgeCox(10.0), "memory": Memory(), "forest": ForestSurvival(trees=10, min_samples_leaf=5)}
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(150)
        shuffled = SurvivalData(data.modalities, data.time[order], data.event[order])
        scores = cross_validate_survival(models, shuffled, 5, 1, seed=seed)
        for name, value in scores.groupby("model")["c_index"].mean().items():
            means[name].append(value)
    for name, values in means.items():
        assert np.mean(values) == pytest.approx(0.5, abs=0.06), name


def test_the_baselines_find_the_risk():
    pytest.importorskip("sksurv")
    data = genes_only(200)
    models = {"ridge": RidgeCox(10.0), "forest": ForestSurvival(trees=30), "truth": Recorder()}
    scores, risks = cross_predict_survival(models, data, 4, 1)
    mean = scores.groupby("model")["c_index"].mean()
    assert mean["truth"] > 0.66
    assert mean["ridge"] > mean["truth"] - 0.05
    assert mean["forest"] > 0.6
    assert risks["ridge"].shape == (1, 200)
    assert not np.isnan(risks["ridge"]).any()
    np.testing.assert_allclose(risks["truth"][0], data["genes"][:, 0])
    assert list(scores.columns) == [
        "model", "repeat", "fold", "c_index", "n_train", "n_test", "events_test", "seconds"
    ]  # fmt: skip
    assert scores["events_test"].sum() == 3 * data.event.sum()


def test_scaling_is_learned_inside_the_fold():
    pytest.importorskip("sksurv")
    data = genes_only(60)
    model = RidgeCox().fit(data.subset(np.arange(30)))
    np.testing.assert_allclose(model.encoder_.center_, data["genes"][:30].mean(0), atol=1e-6)
    moved = SurvivalData(
        {"genes": data["genes"] * np.where(np.arange(60) < 30, 1, 100)[:, None]}, data.time, data.event
    )
    again = RidgeCox().fit(moved.subset(np.arange(30)))
    np.testing.assert_array_equal(model.risk(data), again.risk(data))


def test_bags_and_modalities():
    pytest.importorskip("sksurv")
    data = simulate_bags(150, patches=(8, 12))
    both = RidgeCox().fit(data)
    assert both.encoder_.center_.shape == (16 + 72,)
    one = RidgeCox(modalities=["patches"]).fit(data)
    assert one.encoder_.center_.shape == (16,)
    curves = one.survival(data, [1, 10, 1e6])
    assert curves.shape == (150, 3)
    assert (np.diff(curves, axis=1) <= 0).all()
    with pytest.raises(UnknownNameError):
        RidgeCox(modalities=["slides"]).fit(data)
    with pytest.raises(NotFittedError):
        ForestSurvival().risk(data)
    with pytest.raises(OptionError, match="alpha"):
        RidgeCox(alpha=-1).fit(data)


def test_the_published_reference_of_ridge_cox():
    pytest.importorskip("sksurv")
    from unsnarl.data.survival import load_survival

    data = load_survival("breast-cancer")
    models = {
        "genes": RidgeCox(modalities=["genes"]),
        "clinical": RidgeCox(modalities=["clinical"]),
        "both": RidgeCox(),
    }
    summary = summarize_folds(cross_validate_survival(models, data))
    assert summary["mean"].to_dict() == pytest.approx({"genes": 0.667, "clinical": 0.637, "both": 0.677}, abs=0.004)
    assert summary.loc["both", "se_plain"] == pytest.approx(0.018, abs=0.002)
    assert summary.loc["both", "se"] > 2 * summary.loc["both", "se_plain"]


def test_standard_errors_know_that_folds_overlap():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"model": "a", "repeat": np.repeat([0, 1, 2], 5), "fold": list(range(5)) * 3})
    frame["c_index"], frame["n_train"], frame["n_test"] = rng.normal(0.7, 0.05, 15), 80, 20
    row = summarize_folds(frame).loc["a"]
    sd = frame["c_index"].std()
    assert row["se_plain"] == pytest.approx(sd / 15**0.5)
    assert row["se"] == pytest.approx(sd * (1 / 15 + 20 / 80) ** 0.5)
    other = frame.assign(model="b", c_index=frame["c_index"] - 0.1 - 0.001 * (frame["fold"] - 2))
    both = pd.concat([other, frame])
    assert list(summarize_folds(both).index) == ["a", "b"]  # the best first
    gap = compare_folds(both, "a", "b")
    assert gap["mean"] == pytest.approx(0.1)
    assert 0.09 < gap["low"] < 0.1 < gap["high"] < 0.11
    assert gap["p"] < 1e-6
    assert compare_folds(both, "b", "a")["mean"] == pytest.approx(-0.1)
    with pytest.raises(UnknownNameError):
        compare_folds(both, "a", "c")
    with pytest.raises(DataError, match="same two or more folds"):
        compare_folds(both.iloc[1:], "b", "a")


def test_ranks_pool_folds():
    risk, fold = np.array([1.0, 2, 3, 100, 300, 200]), [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(ranks_within_folds(risk, fold), np.array([1, 3, 5, 1, 5, 3]) / 6)


def test_what_cross_validation_refuses():
    pytest.importorskip("sksurv")
    data = genes_only(40)
    with pytest.raises(OptionError, match="models is empty"):
        cross_validate_survival({}, data)
    with pytest.raises(OptionError, match="needs the methods fit"):
        cross_validate_survival({"x": object()}, data)
    with pytest.raises(OptionError, match="folds"):
        cross_validate_survival({"x": RidgeCox()}, data, folds=1)
    few = SurvivalData(data.modalities, data.time, np.arange(40) < 3)
    with pytest.raises(DataError, match="3 events cannot be spread"):
        cross_validate_survival({"x": RidgeCox()}, few)

    class Broken(Memory):
        def risk(self, data):
            return np.full(len(data), np.nan)

    with pytest.raises(DataError, match="broken, repeat 0, fold 0: risk has"):
        cross_validate_survival({"broken": Broken()}, data)


def test_progress_counts_fits():
    pytest.importorskip("sksurv")
    told = []
    cross_validate_survival({"a": Memory(), "b": Recorder()}, genes_only(60), 3, 2, progress=lambda *x: told.append(x))
    assert told == [(i, 12) for i in range(1, 13)]
