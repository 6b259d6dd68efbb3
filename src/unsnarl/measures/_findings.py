"""The finding in plain language: which latent carries what, from a latent x factor matrix.

A latent *carries* a factor when its entry is above what chance gives and at least a fifth of the factor's largest entry. An
entry above chance but smaller than that is a *trace*. All sentences speak of latents one by one: what only several latents
hold together (an exclusive or of two codes) is in no entry, so "no single latent carries it" is all that can be said then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num

from unsnarl.arrays import as_matrix, check_range
from unsnarl.errors import DataError

SHARE = 0.2
WEAK = 0.1
_MARGIN = 0.01
_LONGEST = 40


def chance_level(shuffled: Float[np.ndarray, "shuffle latent factor"]) -> Float[np.ndarray, " factor"]:
    """The entry above which a latent says something about a factor, from matrices of shuffled codes.

    The largest of all entries of shuffled codes, or their mean plus four standard deviations where that is more (the largest
    of a few entries is too low), and 0.01 on top, below which nothing is worth a sentence.
    """
    drawn = shuffled.reshape(-1, shuffled.shape[-1])
    return np.maximum(drawn.max(axis=0), drawn.mean(axis=0) + 4 * drawn.std(axis=0)) + _MARGIN


def describe(
    matrix: Any,
    latent_names: Sequence[str] | None = None,
    factor_names: Sequence[str] | None = None,
    *,
    chance: float | Num[np.ndarray, " factor"] = 0.05,
    passive: Iterable[int] = (),
    constant: Iterable[int] = (),
    quantity: str = "NMI",
    most: int = 4,
) -> list[str]:
    """Say which latents carry which factors, the clearest first.

    Args:
        matrix: shape (latent, factor), entries of at least 0: how much each latent says about each factor, such as normalised
            mutual information; an array, or a data frame with names.
        latent_names: "latent 0", "latent 1", ... when absent.
        factor_names: "factor 0", "factor 1", ... when absent.
        chance: the entry above which a latent says something about a factor, for all or for each (see `chance_level`).
        passive: indices of latents whose posterior is the prior.
        constant: indices of latents that never change.
        quantity: what the entries are called.
        most: longest list that is written out; longer ones are counted.

    Returns:
        At most seven sentences of bounded length, whatever the size of the matrix. Names are shortened, not escaped.

    Raises:
        DataError: not a matrix, a negative entry, or another number of names.

    Examples:
        >>> m = np.array([[0.5, 0.0, 0.0], [0.4, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.0]])
        >>> for line in describe(m, factor_names=["hue", "size", "orientation"], passive=[3]):
        ...     print(line)
        Latent 2 carries size alone (NMI 0.90).
        Hue is spread over latents 0 and 1 (NMI up to 0.50).
        No single latent carries orientation.
        Latent 3 is passive.
    """
    check_range(most, "most", low=1, integer=True)
    if isinstance(matrix, pd.DataFrame):
        latent_names = [str(n) for n in matrix.index] if latent_names is None else latent_names
        factor_names = [str(n) for n in matrix.columns] if factor_names is None else factor_names
    entries = as_matrix(matrix, "matrix", min_rows=1).astype(np.float64)
    if (entries < 0).any():
        raise DataError(f"matrix has a negative entry ({entries.min():.3g}); pass amounts, such as absolute weights")
    latents, factors = entries.shape
    words = _Words(
        _named(latent_names, latents, "latent"), _named(factor_names, factors, "factor"), quantity, int(most)
    )
    above = entries > np.broadcast_to(np.asarray(chance, dtype=np.float64), factors)
    carries = above & (entries >= SHARE * entries.max(axis=0))
    passive, constant = _chosen(passive, latents, "passive"), _chosen(constant, latents, "constant")
    idle = ~(above.any(axis=1) | passive | constant)
    sentences = [
        _own(entries, above, carries, words),
        _spread(entries, carries, words),
        _mixing(carries, words),
        _uncarried(carries, words),
        words.state(np.flatnonzero(passive), "passive"),
        words.state(np.flatnonzero(constant & ~passive), "constant"),
        _idle(idle, words) if above.any() else "",  # else already said by the factors
    ]
    return [_capitalised(text) + "." for text in sentences if text]


class _Words:
    """Names and counts in correct English."""

    def __init__(self, latents: list[str], factors: list[str], quantity: str, most: int):
        self.latent_names, self.factor_names, self.quantity, self.most = latents, factors, quantity, most
        numbered = [re.fullmatch(r"latent (\d+)", name) for name in latents]
        self.numbers = [match.group(1) for match in numbered if match] if all(numbered) else None

    def latents(self, indices: Sequence[Any] | np.ndarray) -> str:
        """As in "latent 3", "latents 0, 5 and 9", "z0 and z5", or "37 of 384 latents"."""
        if len(indices) > self.most:
            return f"{len(indices)} of {len(self.latent_names)} latents"
        if self.numbers is None:
            return listed([self.latent_names[i] for i in indices])
        return f"latent{'s' if len(indices) > 1 else ''} {listed([self.numbers[i] for i in indices])}"

    def factors(self, indices: Sequence[Any] | np.ndarray) -> str:
        """As in "hue", "hue and size", or "hue, size and 6 more"."""
        names = [self.factor_names[i] for i in indices]
        return listed(names if len(names) <= self.most + 1 else [*names[: self.most], f"{len(names) - self.most} more"])

    def amount(self, value: float) -> str:
        return f"{self.quantity} {value:.2f}"

    def state(self, indices: np.ndarray, adjective: str) -> str:
        if not len(indices):
            return ""
        return f"{self.latents(indices)} {'are' if len(indices) > 1 else 'is'} {adjective}"


def listed(names: Sequence[str]) -> str:
    """As in "a", "a and b", or "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _own(
    entries: Float[np.ndarray, "latent factor"],
    above: Bool[np.ndarray, "latent factor"],
    carries: Bool[np.ndarray, "latent factor"],
    words: _Words,
) -> str:
    """Factors with one latent that carries nothing else."""
    own = [f for f in np.flatnonzero(carries.sum(axis=0) == 1) if carries[carries[:, f]].sum() == 1]
    own.sort(key=lambda f: -entries[:, f].max())
    clauses = []
    for f in own[: words.most]:
        latent = int(entries[:, f].argmax())
        traces = np.flatnonzero(above[:, f] & ~carries[:, f])
        value = entries[latent, f]
        how = ("almost " if len(traces) else "") + "alone" + (", but weakly" if value < WEAK else "")
        faint = f"; traces in {words.latents(traces)}" if len(traces) else ""
        clauses.append(
            f"{words.latents([latent])} carries {words.factor_names[f]} {how} ({words.amount(value)}{faint})"
        )
    if len(own) > words.most:
        left = len(own) - words.most
        clauses.append(
            f"{left} more factor{'s have latents' if left > 1 else ' has a latent'} of {'their' if left > 1 else 'its'} own"
        )
    return "; ".join(clauses)


def _spread(
    entries: Float[np.ndarray, "latent factor"], carries: Bool[np.ndarray, "latent factor"], words: _Words
) -> str:
    """Factors that several latents carry."""
    counts = carries.sum(axis=0)
    spread = sorted(np.flatnonzero(counts > 1), key=lambda f: -entries[:, f].max())
    clauses = []
    for f in spread[: words.most]:
        strongest, value = int(entries[:, f].argmax()), entries[:, f].max()
        where = words.latents(np.flatnonzero(carries[:, f]))
        if counts[f] > words.most:
            tail = f", the strongest being {words.latents([strongest])} ({words.amount(value)})"
        else:
            tail = f" ({words.quantity} up to {value:.2f})"
        weakly = "weakly " if value < WEAK else ""
        clauses.append(f"{words.factor_names[f]} is {weakly}spread over {where}{tail}")
    if len(spread) > words.most:
        left = len(spread) - words.most
        clauses.append(f"{left} more factor{'s are' if left > 1 else ' is'} spread over several latents")
    return "; ".join(clauses)


def _mixing(carries: Bool[np.ndarray, "latent factor"], words: _Words) -> str:
    """Latents that carry several factors."""
    counts = carries.sum(axis=1)
    mixing = np.flatnonzero(counts > 1)
    if not len(mixing):
        return ""
    if len(mixing) > words.most:
        worst = int(counts.argmax())
        example = f"{words.latents([worst])} carries {words.factors(np.flatnonzero(carries[worst]))}"
        return f"{words.latents(mixing)} mix several factors; for instance, {example}"
    return "; ".join(f"{words.latents([j])} mixes {words.factors(np.flatnonzero(carries[j]))}" for j in mixing)


def _uncarried(carries: Bool[np.ndarray, "latent factor"], words: _Words) -> str:
    missing = np.flatnonzero(~carries.any(axis=0))
    if not len(missing):
        return ""
    if len(missing) == carries.shape[1] > 1:
        return "no single latent carries any of the factors"
    names = [words.factor_names[f] for f in missing]
    if len(names) > words.most + 1:
        return f"no single latent carries {words.factors(missing)} of the {carries.shape[1]} factors"
    return f"no single latent carries {names[0] if len(names) == 1 else ', '.join(names[:-1]) + ' or ' + names[-1]}"


def _idle(idle: Bool[np.ndarray, " latent"], words: _Words) -> str:
    """Latents that vary and say nothing of any factor."""
    indices = np.flatnonzero(idle)
    if not len(indices):
        return ""
    if len(words.factor_names) == 1:
        return f"{words.latents(indices)} {'do' if len(indices) > 1 else 'does'} not carry {words.factor_names[0]}"
    return f"{words.latents(indices)} {'carry' if len(indices) > 1 else 'carries'} none of the factors"


def _named(names: Sequence[str] | None, count: int, kind: str) -> list[str]:
    if names is None:
        return [f"{kind} {i}" for i in range(count)]
    if len(names) != count:
        raise DataError(f"{len(names)} names for {count} {kind}s")
    return [shortened(str(name)) for name in names]


def shortened(name: str) -> str:
    """A name of at most 40 characters on one line."""
    name = " ".join(name.split()) or "(no name)"
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _chosen(indices: Iterable[int], count: int, argument: str) -> Bool[np.ndarray, " latent"]:
    mask = np.zeros(count, dtype=bool)
    listed_indices = np.asarray(list(indices), dtype=np.int64)
    if ((listed_indices < 0) | (listed_indices >= count)).any():
        raise DataError(f"{argument} has an index outside 0 to {count - 1}")
    mask[listed_indices] = True
    return mask


def _capitalised(text: str) -> str:
    """A capital for a plain word, but none for a name such as z0, pH or x."""
    first = text.split(maxsplit=1)[0]
    plain = first == "no" or len(first) > 2
    return text[0].upper() + text[1:] if plain and first.isascii() and first.isalpha() and first.islower() else text
