import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.data import FactorDataset, Simulator
from unsnarl.errors import DataError, OptionError, UnknownNameError

SIZES = (4, 5, 3, 2)


class Bars(Simulator):
    """Four numbers: the indices themselves, so that every rendering can be read."""

    def __init__(self, size=None, **options):
        self.grid = {
            "shape": np.array(["square", "ball", "cone", "ring"]),
            "height": np.linspace(0, 1, 5),
            "hue": np.array([3, 1, 2]),
            "side": np.array(["left", "right"]),
        }
        super().__init__(size, **options)

    def render_indices(self, indices):
        return torch.from_numpy(np.ascontiguousarray(indices, dtype=np.float32))


def test_the_whole_grid_once_and_in_order():
    bars = Bars()
    assert len(bars) == 120
    np.testing.assert_array_equal(bars.observations.numpy(), np.stack(np.unravel_index(np.arange(120), SIZES), axis=1))
    assert bars.factors["shape"].tolist() == ["square"] * 30 + ["ball"] * 30 + ["cone"] * 30 + ["ring"] * 30
    assert bars.factors["hue"][:6].tolist() == [3, 3, 1, 1, 2, 2]
    assert set(bars.kinds.values()) == {"discrete"}
    assert bars.factor_sizes == list(SIZES)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 200), seed=st.integers(0, 10_000))
def test_seeds(size, seed):
    a, b = Bars(size, seed=seed), Bars(size, seed=seed)
    np.testing.assert_array_equal(a.observations, b.observations)
    np.testing.assert_array_equal(a.sample(size, seed).observations, a.observations)
    np.testing.assert_array_equal(a.indices_of(a.factors), a.observations)
    np.testing.assert_array_equal(a.render(a.factors), a.observations)
    np.testing.assert_array_equal(a.render(a.table), a.observations)
    np.testing.assert_array_equal(a.render(a.indices_of(a.factors)), a.observations)


def test_draws_cover_the_grid_evenly():
    found = Bars(12_000, seed=0).observations.numpy().astype(int)
    counts = np.bincount(np.ravel_multi_index(found.T, SIZES), minlength=120)
    assert counts.min() > 60
    assert ((counts - 100) ** 2 / 100).sum() < 180  # chi square with 119 degrees of freedom


def test_levels_are_those_of_the_grid():
    one = Bars(1, seed=3)
    assert one.table.levels["hue"].tolist() == [1, 2, 3]
    assert one.table.levels["shape"].tolist() == ["ball", "cone", "ring", "square"]
    changed = one.intervene(0, shape="square")
    assert changed[0][1][0] == 3


# --- correlations


@settings(max_examples=25, deadline=None)
@given(strength=st.floats(0, 1), seed=st.integers(0, 100))
def test_correlations_follow_their_formula(strength, seed):
    found = Bars(4000, seed=seed, correlate={("height", "shape"): strength}).observations.numpy().astype(int)
    for a in range(5):
        rows = found[found[:, 1] == a]
        u = a / 4 - np.linspace(0, 1, 4)
        if strength < 1e-9:
            p = np.full(4, 0.25)
        elif strength > 1 - 1e-6:
            p = np.eye(4)[np.abs(u).argmin()]
        else:
            logits = -(u**2) / (2 * ((1 - strength) / strength) ** 2)
            p = np.exp(logits - logits.max())
            p /= p.sum()
        share = np.bincount(rows[:, 0], minlength=4) / len(rows)
        np.testing.assert_allclose(share, p, atol=5 * np.sqrt(0.25 / len(rows)))
        assert (share[p == 0] == 0).all()
    others = np.bincount(found[:, 2], minlength=3) / len(found)
    np.testing.assert_allclose(others, 1 / 3, atol=0.05)


@pytest.mark.parametrize("turned", [False, True])
def test_chains_hold_in_whatever_order_they_are_given(turned):
    pairs = {("height", "hue"): 1.0, ("hue", "side"): 1.0}
    if turned:
        pairs = dict(reversed(pairs.items()))
    found = Bars(500, seed=0, correlate=pairs).observations.numpy().astype(int)
    for a, b in ((1, 2), (2, 3)):
        for value in np.unique(found[:, a]):
            assert len(np.unique(found[found[:, a] == value, b])) == 1


@pytest.mark.parametrize(
    ("correlate", "error", "message"),
    [
        ({("height", "size"): 0.5}, UnknownNameError, "unknown factor 'size'"),
        ({("height", "height"): 0.5}, OptionError, "pairs of two different factors"),
        ({("height", "hue"): 1.5}, OptionError, r"correlate\[\('height', 'hue'\)\]=1\.5 must be a number at least 0"),
        ({("height", "hue"): 1, ("side", "hue"): 1}, OptionError, "makes 'hue' follow two factors"),
        (
            {("height", "hue"): 1, ("hue", "height"): 1},
            OptionError,
            "goes round in a circle: height -> hue, hue -> height",
        ),
    ],
)
def test_bad_correlations(correlate, error, message):
    with pytest.raises(error, match=message):
        Bars(3, correlate=correlate)


# --- combinations left out

combinations = st.fixed_dictionaries(
    {},
    optional={
        "shape": st.sampled_from(["square", "ball", "cone", "ring"]),
        "height": st.sampled_from([0, 0.25, 0.5, 0.75, 1.0]),
        "hue": st.sampled_from([1, 2, 3]),
        "side": st.sampled_from(["left", "right"]),
    },
).filter(bool)


def matches(frame: pd.DataFrame, combination):
    return np.logical_and.reduce([(frame[name] == value).to_numpy() for name, value in combination.items()])


@settings(max_examples=40, deadline=None)
@given(left_out=st.lists(combinations, min_size=1, max_size=3), seed=st.integers(0, 100))
def test_left_out_combinations(left_out, seed):
    whole = Bars().factors
    out = np.logical_or.reduce([matches(whole, c) for c in left_out])
    if not out.all():
        seen = Bars(300, seed=seed, leave_out=left_out)
        assert len(seen) == 300
        assert not any(matches(seen.factors, c).any() for c in left_out)
        assert len(Bars(leave_out=left_out)) == (~out).sum()
    unseen = Bars(200, seed=seed, leave_out=left_out, only_left_out=True)
    assert np.logical_or.reduce([matches(unseen.factors, c) for c in left_out]).all()
    assert len(Bars(leave_out=left_out, only_left_out=True)) == out.sum()


def test_leaving_out_with_correlation():
    found = Bars(2000, seed=0, correlate={("height", "hue"): 1.0}, leave_out=[{"height": 0.5}]).factors
    assert set(found["height"]) == {0, 0.25, 0.75, 1.0}
    assert found.groupby("height")["hue"].nunique().max() == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"leave_out": [{"colour": 1}]}, UnknownNameError, "unknown factor 'colour'"),
        ({"leave_out": [{"shape": "cube"}]}, OptionError, "shape='cube' is not allowed; choose one of square, ball"),
        ({"leave_out": [{"height": 2}]}, OptionError, "height=2 is outside the grid 0 to 1"),
        ({"leave_out": [{"height": "tall"}]}, OptionError, "height='tall' must be a number"),
        ({"leave_out": [{"height": float("nan")}]}, OptionError, "height=nan is outside the grid"),
        ({"leave_out": [{}]}, OptionError, "names no factor"),
        ({"only_left_out": True}, OptionError, "only_left_out=True needs leave_out"),
        ({"leave_out": [{"side": "left"}, {"side": "right"}]}, OptionError, r"excludes \(almost\) every combination"),
        ({"size": 0}, OptionError, "size=0 must be an integer at least 1"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        Bars(**{"size": 3, **options})


# --- interventions


@settings(max_examples=40, deadline=None)
@given(change=combinations, seed=st.integers(0, 100), data=st.data())
def test_interventions_change_what_they_name_and_nothing_else(change, seed, data):
    bars = Bars(30, seed=seed)
    rows = data.draw(st.lists(st.integers(0, 29), min_size=1, max_size=8))
    after = bars.intervene(rows, **change)
    assert type(after) is FactorDataset
    for name in bars.factor_names:
        if name in change:
            assert (after.factors[name] == change[name]).all()
        else:
            assert after.factors[name].tolist() == bars.factors[name].iloc[rows].tolist()
    same = [i for i, name in enumerate(bars.factor_names) if name not in change]
    np.testing.assert_array_equal(after.observations[:, same], bars.observations[rows][:, same])
    back = {n: bars.factors[n].iloc[rows].tolist() for n in change}
    np.testing.assert_array_equal(bars.intervene(rows, **back).observations, bars.observations[rows])


def test_interventions_on_a_part_and_with_indices_of_every_kind():
    bars = Bars(50, seed=1)
    part = bars.subset(slice(10, 20))
    after = part.intervene([0, 1], height=1)
    np.testing.assert_array_equal(after.observations[:, 0], bars.observations[10:12, 0])
    assert len(bars.intervene(3, hue=2)) == 1
    assert len(bars.intervene(slice(0, 5), hue=2)) == 5
    assert len(bars.intervene(bars.factors["side"] == "left", side="right")) == (bars.factors["side"] == "left").sum()
    near = bars.intervene([0], height=0.3)  # the nearest value within half a step
    assert near.factors["height"].tolist() == [0.25]


@pytest.mark.parametrize(
    ("rows", "change", "error", "message"),
    [
        ([0], {}, OptionError, "name at least one factor to change"),
        ([0], {"colour": 1}, UnknownNameError, "unknown factor 'colour'"),
        ([0], {"shape": "squares"}, OptionError, "shape='squares' is not allowed"),
        ([0], {"height": 1.2}, OptionError, r"height=1\.2 is outside the grid"),
        ([0, 1], {"hue": [1, 2, 3]}, DataError, "hue has 3 values for 2 observations"),
        ([99], {"hue": 1}, DataError, "indices must be whole numbers from -5 to 4"),
    ],
)
def test_bad_interventions(rows, change, error, message):
    with pytest.raises(error, match=message):
        Bars(5).intervene(rows, **change)


@pytest.mark.parametrize(
    ("column", "value", "error", "message"),
    [
        ("shape", "squares", OptionError, "shape='squares' is not allowed"),  # not cut to the grid's longest word
        ("hue", 9, OptionError, "hue=9.0 is outside the grid 1 to 3"),
        ("height", "tall", DataError, "height must hold numbers"),
    ],
)
def test_values_off_the_grid_are_not_rounded_away(column, value, error, message):
    frame = Bars(2, seed=0).factors.astype(object).copy()
    frame["hue"] = 1.6
    assert Bars(2).indices_of(frame)[:, 2].tolist() == [2, 2]  # 2 is the nearest, not 1
    frame[column] = value
    with pytest.raises(error, match=message):
        Bars(2).indices_of(frame)


def test_bad_factors_to_render():
    bars = Bars(2)
    with pytest.raises(UnknownNameError, match="unknown factor 'side'"):
        bars.render(bars.factors.drop(columns="side"))
    with pytest.raises(DataError, match=r"factors must have shape \(n, 4\), got \(3, 2\)"):
        bars.render(np.zeros((3, 2), int))
    with pytest.raises(DataError, match="must be grid indices"):
        bars.render(np.zeros((3, 4)))
    with pytest.raises(DataError, match=r"must lie below the factor sizes \[4, 5, 3, 2\]"):
        bars.render(np.full((1, 4), 4))


def test_a_simulator_saves_its_draws(tmp_path):
    bars = Bars(7, seed=0)
    bars.save(tmp_path / "bars.npz")
    again = Bars.from_file(tmp_path / "bars.npz")
    assert type(again) is FactorDataset
    np.testing.assert_array_equal(again.observations, bars.observations)
    np.testing.assert_array_equal(again.table.indices, bars.table.indices)
