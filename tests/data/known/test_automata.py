"""Cellular automata against rules applied cell by cell."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.data.known._automata import CellularAutomaton, evolve
from unsnarl.errors import DataError, OptionError


def by_hand(row, rule):
    n = len(row)
    return [(rule >> (4 * row[i - 1] + 2 * row[i] + row[(i + 1) % n])) & 1 for i in range(n)]


@given(st.integers(0, 255), st.lists(st.integers(0, 1), min_size=1, max_size=12), st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_every_rule_cell_by_cell(rule, row, steps):
    expected = row
    for _ in range(steps):
        expected = by_hand(expected, rule)
    assert evolve(np.array(row), rule, steps).tolist() == expected


def test_known_rules():
    rows = np.random.default_rng(0).integers(0, 2, (5, 16))
    np.testing.assert_array_equal(evolve(rows, 204, 7), rows)  # identity
    np.testing.assert_array_equal(evolve(rows, 15, 1), 1 - np.roll(rows, 1, axis=-1))  # complement, shifted right
    np.testing.assert_array_equal(evolve(rows, 170, 3), np.roll(rows, -3, axis=-1))  # shift left
    left, right = np.roll(rows, 1, -1), np.roll(rows, -1, -1)
    np.testing.assert_array_equal(evolve(rows, 30), left ^ (rows | right))
    assert evolve(rows.reshape(5, 2, 8), 54).shape == (5, 2, 8)


def test_rows_of_the_plain_source():
    source = CellularAutomaton(54, width=16, steps=8)
    rows = source.sample(200, seed=3)
    assert rows.shape == (200, 32) == (200, source.length)
    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(rows[:, 16:], evolve(rows[:, :16], 54, 8))
    np.testing.assert_array_equal(source.scored, np.repeat([False, True], 16))
    assert abs(rows[:, :16].mean() - 0.5) < 0.05
    np.testing.assert_array_equal(rows, source.sample(200, seed=3))
    assert (rows != source.sample(200, seed=4)).any()
    assert "rule 54" in source.name


def test_reverse_order_swaps_the_halves():
    forward = CellularAutomaton(30, 12, 4).sample(20, seed=1)
    source = CellularAutomaton(30, 12, 4, order="reverse")
    np.testing.assert_array_equal(source.sample(20, seed=1), np.roll(forward, 12, axis=1))
    np.testing.assert_array_equal(source.scored, np.repeat([False, True], 12))


def test_hidden_bits_are_left_out_of_the_given_row_only():
    whole = CellularAutomaton(30, 12, 4).sample(20, seed=1)
    source = CellularAutomaton(30, 12, 4, hidden=5)
    rows = source.sample(20, seed=1)
    np.testing.assert_array_equal(rows, whole[:, 5:])
    assert source.length == 19
    assert source.scored.sum() == 12
    assert not source.scored[:7].any()


def test_all_or_some_intermediate_steps():
    source = CellularAutomaton(30, 10, 5, intermediate=True)
    rows = source.sample(7, seed=2)
    parts = np.split(rows, 6, axis=1)
    for before, after in itertools.pairwise(parts):
        np.testing.assert_array_equal(after, evolve(before, 30))
    assert source.scored.sum() == 50
    some = CellularAutomaton(30, 10, 5, intermediate=2)
    assert some.shown == [2, 4, 5]
    np.testing.assert_array_equal(some.sample(7, seed=2), np.concatenate([parts[i] for i in (0, 2, 4, 5)], axis=1))
    assert CellularAutomaton(30, 10, 4, intermediate=2).shown == [2, 4]


def test_burn_in_comes_before_the_first_row():
    raw = CellularAutomaton(54, 16, 1).sample(50, seed=0)[:, :16]
    rows = CellularAutomaton(54, 16, 1, burn_in=40).sample(50, seed=0)
    np.testing.assert_array_equal(rows[:, :16], evolve(raw, 54, 40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": 256}, "rule=256"),
        ({"width": 0}, "width=0"),
        ({"steps": 0}, "steps=0"),
        ({"order": "sideways"}, "order='sideways'"),
        ({"hidden": 16}, "hidden=16"),
        ({"intermediate": 9}, "intermediate=9"),
        ({"order": "reverse", "hidden": 1}, "leave hidden and intermediate out"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(OptionError, match=message):
        CellularAutomaton(**({"rule": 30, "width": 16, "steps": 8} | options))


def test_bad_rows():
    with pytest.raises(DataError, match="only 0 and 1"):
        evolve(np.array([0, 2]), 30)
    with pytest.raises(DataError, match="only 0 and 1"):
        evolve(np.array([0.0, 1.0]), 30)
    with pytest.raises(DataError, match="at least one row"):
        evolve(np.zeros((0, 4), int), 30)
