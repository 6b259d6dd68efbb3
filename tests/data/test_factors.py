import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsnarl.data import FactorTable, infer_kind
from unsnarl.errors import DataError, OptionError, UnknownNameError

KINDS = {
    "few integers": (st.integers(-3, 3), "discrete"),
    "words": (st.sampled_from(["a", "b", "ab", "", "é"]), "discrete"),
    "booleans": (st.booleans(), "discrete"),
    "whole floats": (st.integers(0, 4).map(float), "discrete"),
}


@st.composite
def frames(draw, min_rows=1):
    n = draw(st.integers(min_rows, 60))
    picked = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=5))
    columns = {f"{k} {i}": draw(st.lists(KINDS[k][0], min_size=n, max_size=n)) for i, k in enumerate(picked)}
    if draw(st.booleans()):
        columns["measured"] = draw(
            st.lists(st.floats(-1e6, 1e6).filter(lambda v: v != round(v)), min_size=n, max_size=n, unique=True)
        )
    return pd.DataFrame(columns)


@settings(max_examples=80, deadline=None)
@given(frames())
def test_kinds_levels_and_indices_agree(frame):
    table = FactorTable.of(frame)
    for name in table.names:
        expected = "continuous" if name == "measured" else KINDS[name.rsplit(" ", 1)[0]][1]
        assert table.kinds[name] == expected
    for i, name in enumerate(table.names):
        if table.kinds[name] == "continuous":
            np.testing.assert_array_equal(table.numeric[:, i], frame[name])
            assert name not in table.levels
            continue
        levels, index = table.levels[name], table.column(name)
        assert sorted(set(levels.tolist())) == levels.tolist()
        assert set(index.tolist()) == set(range(len(levels)))
        assert levels[index].tolist() == [int(v) if isinstance(v, bool) else v for v in frame[name].tolist()]
        np.testing.assert_array_equal(table.numeric[:, i], index)
    if table.discrete.all():
        np.testing.assert_array_equal(table.indices, table.numeric)
    else:
        with pytest.raises(DataError, match="'measured' is continuous"):
            _ = table.indices


@settings(max_examples=50, deadline=None)
@given(frames(min_rows=2), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(frame, random):
    order = list(range(len(frame)))
    random.shuffle(order)
    table, shuffled = FactorTable.of(frame), FactorTable.of(frame.iloc[order])
    assert shuffled.kinds == table.kinds
    np.testing.assert_array_equal(shuffled.numeric, table.numeric[order])
    np.testing.assert_array_equal(table.rows(order).numeric, table.numeric[order])


@settings(max_examples=50, deadline=None)
@given(frames(min_rows=2), st.data())
def test_a_part_keeps_the_indices_of_the_whole(frame, data):
    table = FactorTable.of(frame)
    rows = data.draw(st.lists(st.integers(0, len(frame) - 1), min_size=1, max_size=10))
    part = table.rows(rows)
    np.testing.assert_array_equal(part.numeric, table.numeric[rows])
    np.testing.assert_array_equal(part.rows([0]).numeric, table.numeric[rows[:1]])
    assert {n: v.tolist() for n, v in part.levels.items()} == {n: v.tolist() for n, v in table.levels.items()}
    checked = FactorTable.of(part)  # what a measure sees: only levels that occur, so indices without gaps
    assert checked.kinds == table.kinds
    for name in checked.levels:
        assert set(checked.column(name).tolist()) == set(range(len(checked.levels[name])))
    name = table.names[-1]
    np.testing.assert_array_equal(part.select([name]).numeric[:, 0], part.numeric[:, -1])


@settings(max_examples=50, deadline=None)
@given(frames())
def test_checking_again_changes_nothing(frame):
    table = FactorTable.of(frame)
    assert FactorTable.of(table) is table
    before = table.values.copy()
    again = FactorTable.of(table, kinds=table.kinds)
    assert again.kinds == table.kinds
    pd.testing.assert_frame_equal(again.values, before)
    pd.testing.assert_frame_equal(table.values, before)


def test_inference_at_its_borders():
    assert infer_kind(pd.Series(np.arange(20))) == "discrete"
    assert infer_kind(pd.Series(np.arange(21))) == "continuous"
    assert infer_kind(pd.Series(np.arange(10_000) % 100)) == "discrete"  # sqrt(n)
    assert infer_kind(pd.Series(np.arange(10_000) % 101)) == "continuous"
    assert infer_kind(pd.Series(np.arange(640) % 64)) == "discrete"
    assert infer_kind(pd.Series(np.arange(639) % 64)) == "continuous"
    assert infer_kind(pd.Series(np.linspace(0, 1, 50).repeat(20))) == "discrete"
    assert infer_kind(pd.Series(np.linspace(0, 1, 50).repeat(20)[:-1])) == "continuous"


def test_given_kinds_win_and_last():
    table = FactorTable.of({"a": np.arange(5), "b": np.arange(5)}, kinds={"a": "continuous"})
    assert table.kinds == {"a": "continuous", "b": "discrete"}
    again = FactorTable.of(table, kinds={"b": "continuous"})
    assert again.kinds == {"a": "continuous", "b": "continuous"}
    assert table.kinds["b"] == "discrete"
    assert FactorTable.of([[0, 1], [1, 0]], kinds="continuous").kinds == {
        "factor 0": "continuous",
        "factor 1": "continuous",
    }
    assert FactorTable.of([[0, 1], [1, 0]], kinds=["continuous", "discrete"]).kinds["factor 1"] == "discrete"


def test_categories_and_booleans_are_discrete_however_many():
    many = FactorTable.of(pd.DataFrame({"c": pd.Categorical(np.arange(100)), "n": np.arange(100)}))
    assert many.kinds == {"c": "discrete", "n": "continuous"}
    assert FactorTable.of({"c": pd.Categorical(np.arange(100))}).kinds == {"c": "discrete"}
    flags = FactorTable.of({"f": [True, False, True]})
    assert flags.values["f"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "column",
    [
        ["x", "y", "x"],
        np.array(["x", "y", "x"]),
        np.array(["x", "y", "x"], dtype=object),
        pd.Series(["x", "y", "x"], index=[7, 8, 9]),
        pd.Series(["x", "y", "x"], dtype="category"),
        pd.array(["x", "y", "x"], dtype="string"),
    ],
)
def test_text_from_anywhere(column):
    table = FactorTable.of({"t": column})
    assert table.levels["t"].tolist() == ["x", "y"]
    assert table.column("t").tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "column",
    [
        [1, 2, 1],
        torch.tensor([1, 2, 1]),
        pd.array([1, 2, 1], dtype="Int64"),
        pd.Series([1, 2, 1], dtype=object),
        pd.Series([1, 2, 1], dtype="int64[pyarrow]"),
        pd.Series([1, 2, 1], dtype="uint8"),
    ],
)
def test_numbers_from_anywhere(column):
    table = FactorTable.of({"t": column})
    assert table.levels["t"].tolist() == [1, 2]
    assert isinstance(table.values["t"].dtype, np.dtype)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({}, "factors has no columns"),
        (np.zeros((3, 0)), "factors has no columns"),
        ([], "factors has no rows"),
        (np.zeros((2, 2, 2)), r"factors must be 2-D .* got shape \(2, 2, 2\)"),
        (3, r"factors must be 2-D .* got shape \(\)"),
        ({"a": [1, 2], "b": [1]}, r"the columns of factors have different lengths: \{'a': 2, 'b': 1\}"),
        ({"a": [[1, 2], [3, 4]]}, r"factor 'a' must be 1-D .* got shape \(2, 2\)"),
        ({"a": 3}, r"factor 'a' must be 1-D"),
        ({"a": [1, [2]]}, "factor 'a' holds objects that are neither text nor numbers"),
        ({"a": [1.0, np.nan, 2.0, np.nan]}, r"factor 'a' has 2 missing values \(first at row 1\)"),
        ({"a": ["x", None]}, r"factor 'a' has 1 missing value \(first at row 1\)"),
        ({"a": [np.nan, np.nan]}, "factor 'a' is empty: every value is missing"),
        ({"a": [1.0, np.inf]}, "factor 'a' has an infinite value at row 1"),
        ({"a": pd.Series([1.0, np.inf], dtype=object)}, "factor 'a' has an infinite value at row 1"),
        ({"a": pd.array([1.0, np.inf], dtype="Float64")}, "factor 'a' has an infinite value at row 1"),
        ({"a": [1 + 2j, 0]}, "factor 'a' has dtype complex128"),
        ({"a": pd.to_datetime(["2020-01-01", "2020-01-02"])}, r"factor 'a' has dtype datetime64\[ns\]"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "factors has two columns named 'a'"),
        (pd.DataFrame({"a": [object()]}), "factor 'a' holds objects that are neither text nor numbers"),
    ],
)
def test_bad_factors(factors, message):
    with pytest.raises(DataError, match=message):
        FactorTable.of(factors)


def test_bad_options():
    good = {"a": [1, 2], "t": ["x", "y"]}
    with pytest.raises(UnknownNameError, match="unknown factor 'tt'; did you mean 't'"):
        FactorTable.of(good, kinds={"tt": "discrete"})
    with pytest.raises(OptionError, match="kinds has 1 entries for 2 factors"):
        FactorTable.of(good, kinds=["discrete"])
    with pytest.raises(OptionError, match=r"kinds\['a'\]='nominal' is not allowed"):
        FactorTable.of(good, kinds={"a": "nominal"})
    with pytest.raises(DataError, match="factor 't' holds object values and cannot be continuous"):
        FactorTable.of(good, kinds={"t": "continuous"})
    with pytest.raises(DataError, match="factors has 2 columns but 1 names were given"):
        FactorTable.of(np.zeros((3, 2)), names=["a"])
    table = FactorTable.of(good)
    with pytest.raises(UnknownNameError, match="unknown factor 'b'"):
        table.column("b")
    with pytest.raises(UnknownNameError, match="unknown factor 'b'"):
        table.select(["a", "b"])
    with pytest.raises(DataError, match="no factor is left"):
        table.select([])
    with pytest.raises(DataError, match="factor 'c' has the same value in every row"):
        FactorTable.of({"c": [1, 1], "a": [1, 2]}).require_varying()


def test_missing_values_that_are_kept():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = FactorTable.of(
            {"t": ["x", None, "y"], "n": [1, 2, np.nan], "f": pd.array([True, None, False], dtype="boolean")},
            missing="keep",
        )
        assert table.kinds == {"t": "discrete", "n": "discrete", "f": "discrete"}
        assert table.indices.tolist() == [[0, 0, 1], [-1, 1, -1], [1, -1, 0]]
    with pytest.raises(DataError, match="factor 't' has 1 missing value"):
        FactorTable.of(table)
    known, rows = table.without_missing()
    assert rows.tolist() == [True, False, False]
    assert known.indices.tolist() == [[0, 0, 0]]
    with pytest.raises(DataError, match="every row has a missing factor value"):
        FactorTable.of({"a": [1, None], "b": [None, 1]}, missing="keep").without_missing()


def test_the_callers_table_is_left_alone():
    frame = pd.DataFrame({1: [True, False], "t": ["x", "y"]}, index=[5, 6])
    FactorTable.of(frame)
    assert frame.columns.tolist() == [1, "t"]
    assert frame[1].dtype == bool
    assert frame.index.tolist() == [5, 6]
