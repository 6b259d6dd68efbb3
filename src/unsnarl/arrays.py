"""Turning what users pass (NumPy, torch, pandas, lists) into checked NumPy arrays.

Every public function that takes arrays goes through here, so that the same mistake meets the same sentence everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unsnarl.errors import DataError, OptionError


def to_numpy(values: Any, argument: str = "array") -> np.ndarray:
    """A NumPy array with the values of an array, a torch tensor (any device), a data frame or nested lists.

    Raises:
        DataError: ragged lists, or an object array (which could only come from mixed or pickled values).
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if getattr(values, "dtype", None) is not None and str(values.dtype) == "torch.bfloat16":
            values = values.float()
        array = values.numpy()
    else:
        try:
            array = np.asarray(values)
        except ValueError as error:
            raise DataError(f"{argument} cannot be made into an array: {error}") from None
    if array.dtype == object and array.ndim and array.size and all(isinstance(v, str) for v in array.flat):
        return array.astype(str)  # how pandas hands out text
    if array.dtype == object:
        raise DataError(
            f"{argument} is an object array (mixed types, ragged rows or missing values); "
            "pass a rectangular array of numbers"
        )
    return array


def check_finite(array: np.ndarray, argument: str = "array") -> None:
    """Refuse NaN and infinite values, naming the first place.

    Raises:
        DataError: a value is NaN or infinite.
    """
    if array.dtype.kind not in "fc" or array.size == 0:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()
    if np.isfinite(total):  # one pass without a mask; a sum can only be finite if all values are
        return
    bad = ~np.isfinite(array)
    count = int(bad.sum())
    if not count:  # the sum overflowed, the values did not
        return
    where = tuple(int(i) for i in np.argwhere(bad)[0])
    value = "NaN" if np.isnan(array[where]) else "infinite"
    place = f"row {where[0]}" + (f", column {where[1]}" if len(where) > 1 else "")
    raise DataError(
        f"{argument} has {count} value{'s' if count > 1 else ''} that {'are' if count > 1 else 'is'} not finite "
        f"(first: {value} at {place}); remove or fill them first"
    )


def as_matrix(values: Any, argument: str = "codes", *, min_rows: int = 2) -> np.ndarray:
    """A finite numeric array of shape (n, columns); integers stay integers, booleans become integers.

    Args:
        values: anything `to_numpy` takes.
        argument: the name used in error messages.
        min_rows: fewest rows allowed.

    Raises:
        DataError: not 2-D, not numeric, empty, too few rows, or not finite.
    """
    array = to_numpy(values, argument)
    if array.ndim != 2:
        hint = "; use x.reshape(-1, 1) for a single column" if array.ndim == 1 else ""
        raise DataError(f"{argument} must be 2-D (observations x columns), got shape {array.shape}{hint}")
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iuf":
        raise DataError(f"{argument} must hold numbers, got dtype {array.dtype}")
    if array.shape[1] == 0:
        raise DataError(f"{argument} has no columns (shape {array.shape})")
    if array.shape[0] < min_rows:
        raise DataError(f"{argument} needs at least {min_rows} rows, got {array.shape[0]}")
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    check_finite(array, argument)
    return array


def as_vector(values: Any, argument: str = "x", *, min_rows: int = 2) -> np.ndarray:
    """A finite array of shape (n,); numbers or, for category labels, strings.

    Raises:
        DataError: not 1-D (a single column is flattened), too few rows, or not finite.
    """
    if hasattr(values, "to_numpy") and str(getattr(values, "dtype", "")) in ("object", "str", "string"):
        values = values.astype(str)  # a pandas text column
    array = to_numpy(values, argument)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{argument} must be 1-D, got shape {array.shape}")
    if array.shape[0] < min_rows:
        raise DataError(f"{argument} needs at least {min_rows} values, got {array.shape[0]}")
    check_finite(array, argument)
    return array


def check_same_length(**arrays: Any) -> int:
    """The common number of rows of all named arrays.

    Raises:
        DataError: the lengths differ; all of them are named.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
        raise DataError(f"all inputs must have one row an observation, but {text}")
    return next(iter(lengths.values()))


def check_choice(value: Any, allowed: tuple[Any, ...], argument: str) -> None:
    """Refuse an option that is not among the allowed ones.

    Raises:
        OptionError: names the argument, the value and what is allowed.
    """
    if value not in allowed:
        raise OptionError(f"{argument}={value!r} is not allowed; choose one of {', '.join(map(repr, allowed))}")


def check_range(
    value: Any,
    argument: str,
    *,
    low: float | None = None,
    high: float | None = None,
    integer: bool = False,
    open_low: bool = False,
) -> None:
    """Refuse a number outside [low, high] (or (low, high] when `open_low`).

    Raises:
        OptionError: names the argument, the value and the allowed range.
    """
    kind = "an integer" if integer else "a number"
    ok = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if ok and integer:
        ok = float(value).is_integer()
    if ok and not np.isfinite(value):
        ok = False
    if ok and low is not None:
        ok = value > low if open_low else value >= low
    if ok and high is not None:
        ok = value <= high
    if not ok:
        parts = []
        if low is not None:
            parts.append(f"{'above' if open_low else 'at least'} {low:g}")
        if high is not None:
            parts.append(f"at most {high:g}")
        raise OptionError(f"{argument}={value!r} must be {kind}{' ' if parts else ''}{' and '.join(parts)}")
