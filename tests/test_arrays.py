import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from unsnarl.arrays import as_matrix, as_vector, check_choice, check_finite, check_range, check_same_length, to_numpy
from unsnarl.errors import DataError, OptionError


@pytest.mark.parametrize(
    "values",
    [
        [[1.0, 2.0], [3.0, 4.0]],
        ((1, 2), (3, 4)),
        np.array([[1, 2], [3, 4]], dtype=np.float32),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
        torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.bfloat16),
        pd.DataFrame({"a": [1, 3], "b": [2, 4]}),
    ],
)
def test_everything_becomes_the_same_matrix(values):
    np.testing.assert_array_equal(as_matrix(values), [[1, 2], [3, 4]])


def test_number_types():
    assert as_matrix(np.zeros((2, 1), np.int8)).dtype == np.int8
    assert as_matrix(np.zeros((2, 1), bool)).dtype == np.int64
    assert as_matrix(np.zeros((2, 1), np.float16)).dtype == np.float32
    assert as_matrix(np.zeros((2, 1), np.float64)).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2, 3], r"codes must be 2-D \(observations x columns\), got shape \(3,\); use x\.reshape\(-1, 1\)"),
        (np.zeros((2, 2, 2)), r"got shape \(2, 2, 2\)$"),
        ([["a", "b"], ["c", "d"]], "codes must hold numbers, got dtype <U1"),
        (np.zeros((3, 0)), r"codes has no columns \(shape \(3, 0\)\)"),
        (np.zeros((1, 3)), "codes needs at least 2 rows, got 1"),
        (np.zeros((0, 3)), "codes needs at least 2 rows, got 0"),
        ([[1, 2], [3]], "codes cannot be made into an array"),
        ([[1, None], [3, 4]], "codes is an object array"),
        (np.zeros((2, 2), complex), "codes must hold numbers, got dtype complex128"),
        ([[1.0, np.nan], [np.inf, 2]], r"codes has 2 values that are not finite \(first: NaN at row 0, column 1\)"),
        ([[1.0, 2], [-np.inf, 2]], r"codes has 1 value that is not finite \(first: infinite at row 1, column 0\)"),
    ],
)
def test_bad_matrices(values, message):
    with pytest.raises(DataError, match=message):
        as_matrix(values)


def test_large_finite_values_pass_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_finite(np.full(10, np.finfo(np.float32).max, dtype=np.float32))
        check_finite(np.full(10, 60_000, dtype=np.float16))
        check_finite(np.array([1e308, 1e308, -1e308]))
        check_finite(np.array([]))
        with pytest.raises(DataError, match="2 values that are not finite"):
            check_finite(np.array([np.inf, -np.inf, 1.0]))


@pytest.mark.parametrize(
    "values",
    [["a", "b"], np.array(["a", "b"], dtype=object), pd.Series(["a", "b"]), pd.Series(["a", "b"], dtype="string")],
)
def test_vectors_of_text(values):
    assert as_vector(values).tolist() == ["a", "b"]
    assert as_vector(values).dtype.kind == "U"


def test_vectors():
    assert as_vector([[1], [2]]).tolist() == [1, 2]
    with pytest.raises(DataError, match=r"x must be 1-D, got shape \(2, 2\)"):
        as_vector([[1, 2], [3, 4]])
    with pytest.raises(DataError, match="x needs at least 2 values, got 1"):
        as_vector([1])
    with pytest.raises(DataError, match=r"x has 1 value that is not finite \(first: NaN at row 1\)"):
        as_vector([1.0, np.nan])


def test_to_numpy_refuses_objects():
    with pytest.raises(DataError, match="observations is an object array"):
        to_numpy([1, "a", None], "observations")
    with pytest.raises(DataError, match="is an object array"):
        to_numpy(object())


def test_same_length():
    assert check_same_length(a=[1, 2], b="xy") == 2
    with pytest.raises(DataError, match="codes has 1,200, factors has 2"):
        check_same_length(codes=np.zeros(1200), factors=[1, 2])


def test_choices():
    check_choice("a", ("a", "b"), "kind")
    with pytest.raises(OptionError, match="kind='c' is not allowed; choose one of 'a', 'b'"):
        check_choice("c", ("a", "b"), "kind")


@pytest.mark.parametrize(
    ("value", "limits", "message"),
    [
        (0, {"low": 1, "integer": True}, "x=0 must be an integer at least 1"),
        (2.5, {"low": 1, "integer": True}, r"x=2\.5 must be an integer at least 1"),
        (True, {"low": 0}, "x=True must be a number at least 0"),
        ("3", {"low": 0}, "x='3' must be a number"),
        (None, {}, "x=None must be a number"),
        (float("nan"), {"low": 0, "high": 1}, "x=nan must be a number at least 0 and at most 1"),
        (float("inf"), {"low": 0}, "x=inf must be a number"),
        (float("inf"), {"integer": True}, "x=inf must be an integer"),
        (1.1, {"low": 0, "high": 1}, r"x=1\.1 must be a number at least 0 and at most 1"),
        (0, {"low": 0, "open_low": True}, "x=0 must be a number above 0"),
    ],
)
def test_ranges(value, limits, message):
    with pytest.raises(OptionError, match=message):
        check_range(value, "x", **limits)


@pytest.mark.parametrize(
    ("value", "limits"), [(3, {"integer": True}), (3.0, {"integer": True}), (np.int8(3), {}), (0.5, {"high": 1})]
)
def test_ranges_that_hold(value, limits):
    check_range(value, "x", **limits)
