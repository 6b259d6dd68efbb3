"""The outcome of a survival study: a time, and whether the event was seen at that time."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unsnarl.arrays import as_vector, check_same_length
from unsnarl.errors import DataError

SWAPPED = 0.95  # a share of events above this is more likely a censorship flag read as an event flag


def check_outcome(time: Any, event: Any) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Times as float64 and events as booleans, both checked.

    Raises:
        DataError: lengths differ, a time is negative or not finite, an event is not 0 or 1, or no event was seen.

    Warns:
        UserWarning: more than 95% of the patients had the event.
    """
    times = as_vector(time, "time", min_rows=1)
    flags = as_vector(event, "event", min_rows=1)
    check_same_length(time=times, event=flags)
    if times.dtype.kind not in "iuf":
        raise DataError(f"time must hold numbers, got dtype {times.dtype}")
    if times.min() < 0:
        raise DataError(f"time must be at least 0, but patient {int(times.argmin())} has {times.min():g}")
    if flags.dtype.kind not in "biuf" or not np.isin(flags, (0, 1)).all():
        values = np.unique(flags.astype(str))
        raise DataError(
            f"event must be True or False (1 or 0), got {', '.join(values[:4])}; with several causes of an event, "
            "pass event == cause"
        )
    flags = flags.astype(bool)
    if not flags.any():
        raise DataError("no patient had the event; is event a censorship flag (1 - event) of fully observed patients?")
    if flags.mean() > SWAPPED:
        warnings.warn(
            f"{flags.mean():.1%} of the patients had the event, so hardly any was censored; if the flag says who was "
            "censored, pass 1 - flag",
            UserWarning,
            stacklevel=4,
        )
    return times.astype(np.float64), flags


def from_structured(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """The event flags and times of scikit-survival's structured array.

    Raises:
        DataError: not a structured array with one boolean and one numeric field.
    """
    fields = getattr(getattr(y, "dtype", None), "names", None)
    if not fields or len(fields) != 2:
        raise DataError("y must be a structured array with two fields, the event and the time (see sksurv.util.Surv)")
    kinds = [y.dtype[name].kind for name in fields]
    flags = [name for name, kind in zip(fields, kinds, strict=True) if kind == "b"]
    if len(flags) != 1:
        found = ", ".join(f"{name} of {y.dtype[name]}" for name in fields)
        raise DataError(f"y must have one boolean field, the event, and one field of times, got {found}")
    time = next(name for name in fields if name != flags[0])
    return y[flags[0]], y[time]
