"""The unit of an information quantity: every estimator works in nats and converts once, at the end."""

from __future__ import annotations

import math

from unsnarl.arrays import check_range


def nats_per_unit(base: float) -> float:
    """How many nats one unit of information in this base holds: 1 for base e, log 2 for bits.

    Raises:
        OptionError: the base is not a number above 1.
    """
    check_range(base, "base", low=1, open_low=True)
    return math.log(base)
