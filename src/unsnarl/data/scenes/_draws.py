"""Random numbers that are a pure function of (seed, purpose, index): scene 123,456 is known without the scenes before it.

The generator is SplitMix64 (Steele, Lea and Flood 2014): number k is a mix of a start and k steps of a fixed odd number;
the start is itself a mix of the seed, the purpose and the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from unsnarl.arrays import check_range
from unsnarl.errors import OptionError

SCENE, CAPTION, INSTANCE, PHOTO, PERSONAL = range(1, 6)  # purposes; each has its own numbers

BLOCK = 64
_LARGEST = 2**62

_T = TypeVar("_T")


@njit(cache=True, nogil=True)
@no_type_check
def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
@no_type_check
def _fill(seed, purpose, indices, first, out):
    step = np.uint64(0x9E3779B97F4A7C15)
    start = _mix(_mix(np.uint64(seed) + step) + np.uint64(purpose) * step)
    for i in range(len(indices)):
        base = _mix(start + np.uint64(indices[i]) * step) + np.uint64(first) * step
        for k in range(out.shape[1]):
            base += step
            out[i, k] = np.float64(_mix(base) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


def uniforms(
    seed: int, purpose: int, indices: Int[np.ndarray, " n"], first: int = 0, count: int = BLOCK
) -> Float[np.ndarray, "n count"]:
    """Numbers first, first + 1, ... of every index, uniform in [0, 1)."""
    out = np.empty((len(indices), count))
    _fill(seed, purpose, np.ascontiguousarray(indices, dtype=np.int64), first, out)
    return out


def check_seed(seed: Any, name: str = "seed") -> int:
    """A seed or index as a plain integer.

    Raises:
        OptionError: not an integer, or negative.
    """
    check_range(seed, name, low=0, high=_LARGEST, integer=True)
    return int(seed)


class Draws:
    """Choices for one index, one after the other.

    Args:
        seed: seed of the stream.
        purpose: what the numbers are for.
        index: place in the stream.
        first: the first numbers, where they have been computed for many indices at once.
    """

    def __init__(self, seed: int, purpose: int, index: int, first: list[float] | None = None):
        self._key = seed, purpose, index
        self._numbers = first if first is not None else self._more(0)
        self._used = 0

    def _more(self, first: int) -> list[float]:
        seed, purpose, index = self._key
        return uniforms(seed, purpose, np.array([index]), first)[0].tolist()

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number between low and high."""
        if self._used == len(self._numbers):
            self._numbers = self._numbers + self._more(self._used)
        value = self._numbers[self._used]
        self._used += 1
        return low + (high - low) * value

    def chance(self, share: float) -> bool:
        """True with probability `share`."""
        return self.uniform() < share

    def below(self, count: int) -> int:
        """An integer from 0 to count - 1."""
        return int(self.uniform() * count)

    def one_of(self, values: Sequence[_T]) -> _T:
        """One of the values, all alike."""
        return values[int(self.uniform() * len(values))]

    def weighted(self, table: Sequence[tuple[_T, float]]) -> _T:
        """One of the values by its share; the shares add up to 1."""
        at = self.uniform()
        for value, share in table:
            at -= share
            if at < 0:
                return value
        return table[-1][0]

    def shuffled(self, values: Sequence[_T]) -> list[_T]:
        """The values in random order."""
        out = list(values)
        for i in range(len(out) - 1, 0, -1):
            j = self.below(i + 1)
            out[i], out[j] = out[j], out[i]
        return out


def checked_indices(indices: Any) -> Int[np.ndarray, " n"]:
    """Places in a stream as an int64 array: from an integer, a range, a list or an array.

    Raises:
        OptionError: not integers, or negative; a slice without an end.
    """
    if isinstance(indices, slice):
        if indices.stop is None or min(indices.start or 0, indices.stop) < 0 or (indices.step or 1) < 1:
            raise OptionError("a stream has no end: give a slice with a start and an end that are not negative")
        indices = range(indices.start or 0, indices.stop, indices.step or 1)
    array = np.atleast_1d(np.asarray(indices))
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise OptionError(f"indices must be integers (one, or a 1-D list of them), got {array.dtype} of {array.shape}")
    if array.min() < 0:
        raise OptionError(f"indices must not be negative, got {array.min()}")
    return array.astype(np.int64)
