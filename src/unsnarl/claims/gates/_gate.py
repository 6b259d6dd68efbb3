"""What a model of the zoo must do before a claim that stands on it counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Gate:
    """One number of a model against what is asked of it.

    Attributes:
        model: of the zoo.
        name: what is measured.
        value: the number.
        low: the least it may be; -inf for none.
        high: the most it may be; inf for none.
        n: of how many observations.
        error: standard error of the value; nan where it is not known.
    """

    model: str
    name: str
    value: float
    low: float = -math.inf
    high: float = math.inf
    n: int = 0
    error: float = math.nan

    @property
    def met(self) -> bool:
        """Whether the number is where it should be; always where nothing is asked."""
        if math.isinf(self.low) and math.isinf(self.high):
            return True
        return self.low <= self.value <= self.high

    @property
    def asked(self) -> str:
        """What is asked, in a few signs: ">= 0.90", "0.45 to 0.55"."""
        if math.isinf(self.high):
            return "" if math.isinf(self.low) else f">= {self.low:.2f}"
        return f"<= {self.high:.2f}" if math.isinf(self.low) else f"{self.low:.2f} to {self.high:.2f}"

    def to_json(self) -> dict[str, Any]:
        """The gate as JSON; infinite bounds and unknown errors as null."""
        told = {"name": self.name, "value": self.value, "low": self.low, "high": self.high, "n": self.n}
        told |= {"error": self.error, "met": self.met}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in told.items()}


def share_gate(model: str, name: str, hits: Iterable[bool], low: float = -math.inf, high: float = math.inf) -> Gate:
    """The share of hits.

    Examples:
        >>> gate = share_gate("oracle", "colour", [True, True, False, True], low=0.7)
        >>> gate.value, gate.met, round(gate.error, 3)
        (0.75, True, 0.217)
    """
    found = np.asarray(list(hits), dtype=float)
    return mean_gate(model, name, found, low, high, share=True)


def mean_gate(
    model: str,
    name: str,
    values: Sequence[float] | np.ndarray,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    share: bool = False,
) -> Gate:
    """The mean of numbers, with its standard error."""
    found = np.asarray(values, dtype=float)
    if not len(found):
        return Gate(model, name, math.nan, low, high)
    value = float(found.mean())
    spread = math.sqrt(value * (1 - value)) if share else float(found.std(ddof=1)) if len(found) > 1 else math.nan
    return Gate(model, name, value, low, high, len(found), spread / math.sqrt(len(found)))
