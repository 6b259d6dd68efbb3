"""Rows of tokens, each seen once: what epiplexity is measured on."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from unsnarl.arrays import check_choice, check_range, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.training import stream_seed

CONTEXT = 128
HELD_OUT_TOKENS, HELD_OUT_SHARE = 8192, 0.1
_TRAIN, _HELD_OUT, _ORDER = 11, 12, 13  # streams of random numbers


@runtime_checkable
class RowSource(Protocol):
    """An endless source of token rows, such as `CellularAutomaton`."""

    vocabulary: int

    def sample(self, n: int, seed: int = 0) -> Any:
        """Draw n rows of tokens."""
        ...


@dataclass(frozen=True)
class TokenRows:
    """Rows of equally many tokens, from an array or from an endless source, of which each is trained on once.

    The first token of a row is never scored: nothing precedes it. Of a conditional set Y|X only the tokens of Y are.

    Attributes:
        vocabulary: number of different tokens.
        scored: which columns are to be predicted.
        rows: (n, length) integers; None for an endless source.
        source: where endless rows come from.
        name: shown in tables and pictures.
        unit: what a token is: "bytes", or another word; sets are compared only where vocabulary and unit agree.
    """

    vocabulary: int
    scored: Bool[np.ndarray, " length"]
    rows: Integer[np.ndarray, "n length"] | None = field(default=None, repr=False)
    source: Any = field(default=None, repr=False)
    name: str = "data"
    unit: str = "tokens"

    def __post_init__(self) -> None:
        check_range(self.vocabulary, "vocabulary", low=2, integer=True)
        if not self.scored[1:].any():
            raise DataError(f"{self.name}: no token after the first of a row is scored, so there is nothing to predict")

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return len(self.scored)

    @property
    def first(self) -> int:
        """The first scored column after column 0."""
        return 1 + int(np.argmax(self.scored[1:]))

    @property
    def scored_per_row(self) -> int:
        """Scored tokens in a row."""
        return int(self.scored[1:].sum())

    @property
    def count(self) -> float:
        """Number of rows; infinite for a source."""
        return float("inf") if self.rows is None else float(len(self.rows))

    def held_out_count(self, wanted: int | None = None) -> int:
        """How many rows are kept for testing: those of 8,192 scored tokens, or a tenth of a small set."""
        if wanted is None:
            enough = max(1, HELD_OUT_TOKENS // self.scored_per_row)
            return enough if self.rows is None else max(1, min(enough, int(len(self.rows) * HELD_OUT_SHARE)))
        check_range(wanted, "held_out", low=1, integer=True)
        if wanted >= self.count:
            raise OptionError(f"held_out={wanted!r} leaves nothing to train on: {self.name} has {self.count:,.0f} rows")
        return int(wanted)

    def training_rows(self, held_out: int | None = None) -> float:
        """How many rows can be trained on."""
        return self.count - self.held_out_count(held_out)

    def reader(self, *, batch_size: int, seed: int, held_out: int | None = None) -> TokenReader:
        """Batches of this set in a random order, with some rows kept for testing."""
        return TokenReader(self, batch_size, seed, self.held_out_count(held_out))

    def digest(self) -> str:
        """A fingerprint of the tokens, or of the source's own description."""
        parts = [repr(self.vocabulary).encode(), self.scored.tobytes()]
        if self.rows is None:
            parts += [
                type(self.source).__name__.encode(),
                np.ascontiguousarray(self.source.sample(64, seed=0)).tobytes(),
            ]
        else:
            parts += [str(self.rows.dtype).encode(), np.ascontiguousarray(self.rows).tobytes()]
        return hashlib.sha256(b"|".join(parts)).hexdigest()[:16]

    def with_vocabulary(self, vocabulary: int) -> TokenRows:
        """The same rows for a model of a larger vocabulary."""
        if vocabulary < self.vocabulary:
            raise OptionError(f"vocabulary={vocabulary} is smaller than the {self.vocabulary} tokens of {self.name}")
        return replace(self, vocabulary=vocabulary)


class TokenReader:
    """Batch t of a set as a function of (seed, t); every row comes once, in a random order.

    Attributes:
        held_out: rows never trained on, (held out, length).
        batches: how many whole batches there are.
    """

    def __init__(self, data: TokenRows, batch_size: int, seed: int, held_out: int):
        check_range(batch_size, "batch_size", low=1, integer=True)
        self.data, self.batch_size, self.seed = data, int(batch_size), seed
        if data.rows is None:
            self.batches = float("inf")
            self.held_out = self._sampled(held_out, stream_seed(seed, _HELD_OUT))
            return
        self._order = np.random.default_rng(stream_seed(seed, _ORDER)).permutation(len(data.rows))
        self.batches = float((len(data.rows) - held_out) // self.batch_size)
        self.held_out = self._tensor(data.rows[np.sort(self._order[:held_out])])
        self._order = self._order[held_out:]

    def __call__(self, step: int) -> Integer[Tensor, "batch length"]:
        """The rows of one batch.

        Raises:
            DataError: all rows have been seen.
        """
        if step >= self.batches:
            raise DataError(f"{self.data.name} has {self.batches:,.0f} batches; step {step:,} would begin another pass")
        if self.data.rows is None:
            return self._sampled(self.batch_size, stream_seed(self.seed, _TRAIN, step))
        chosen = self._order[step * self.batch_size : (step + 1) * self.batch_size]
        return self._tensor(self.data.rows[chosen])

    def _sampled(self, n: int, seed: int) -> Tensor:
        rows = np.asarray(self.data.source.sample(n, seed=seed))
        if rows.shape != (n, self.data.length):
            raise DataError(f"{self.data.name} gave an array of shape {rows.shape} when asked for {n} rows")
        return self._tensor(rows)

    def _tensor(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64))


def as_token_rows(
    data: Any,
    *,
    scored: Any = None,
    context: int = CONTEXT,
    vocabulary: int | None = None,
    name: str | None = None,
    unit: str = "tokens",
) -> TokenRows:
    """Rows of tokens from an array of integers or an endless source.

    >>> as_token_rows(np.arange(1000) % 7, context=100)
    TokenRows(vocabulary=7, scored=array([...]), name='data', unit='tokens')

    Args:
        data: (n,) tokens, cut into rows of `context`, what is left over being dropped; (rows, length) rows, kept as
            they are; images as bytes (images, height, width[, channel]) of uint8, cut like a stream, image by image;
            a source, an object with `vocabulary` and `sample(n, seed)` or `sample(n, length, seed)`; or `TokenRows`, which is returned.
        scored: mask (length,) of the tokens that are to be predicted (Y of a conditional Y|X); all by default, or the
            source's own.
        context: length of the rows a stream is cut into.
        vocabulary: number of different tokens; by default 256 for uint8 and the largest token plus one otherwise.
        name: what to call the data.
        unit: what a token is.

    Raises:
        DataError: not integers, negative tokens, a token outside the vocabulary, fewer than two rows, rows of one
            token, or a mask that fits no row or marks nothing.
    """
    if isinstance(data, TokenRows):
        return data
    check_range(context, "context", low=2, integer=True)
    if isinstance(data, RowSource):
        if "length" in inspect.signature(data.sample).parameters:
            data = _Cut(data, context)
        mask = getattr(data, "scored", None) if scored is None else scored
        length = np.asarray(data.sample(1, seed=0)).shape[-1]
        shown = str(name or getattr(data, "name", "") or type(data).__name__)
        return TokenRows(int(data.vocabulary), _mask(mask, length), source=data, name=shown, unit=unit)
    rows = to_numpy(data, "data")
    if rows.dtype.kind not in "iu":
        raise DataError(f"data must hold tokens, whole numbers from 0 on, got dtype {rows.dtype}")
    if rows.ndim == 0 or rows.size == 0:
        raise DataError(f"data has shape {rows.shape}; pass a stream (n,) or rows (rows, length) of tokens")
    if rows.ndim != 2:
        if rows.ndim > 2 and rows.dtype != np.uint8:
            raise DataError(f"data has {rows.ndim} dimensions; only images of dtype uint8 may have more than two")
        whole = rows.size // context
        rows = rows.reshape(-1)[: whole * context].reshape(whole, context)
    if len(rows) < 2 or rows.shape[1] < 2:
        raise DataError(
            f"data gives {len(rows)} row{'s' * (len(rows) != 1)} of {rows.shape[1]} tokens; at least two rows of two "
            "are needed (a smaller context= gives more rows)"
        )
    low, high = int(rows.min()), int(rows.max())
    if low < 0:
        raise DataError(f"data has the negative token {low}")
    size = vocabulary or (256 if rows.dtype == np.uint8 else max(2, high + 1))
    if high >= size:
        raise DataError(f"data has the token {high}, but vocabulary={vocabulary} allows 0 to {size - 1}")
    return TokenRows(size, _mask(scored, rows.shape[1]), rows, name=name or "data", unit=unit)


def pair_rows(
    first: Any, second: Any, *, score: str = "second", vocabulary: int | None = None, name: str = "pairs"
) -> TokenRows:
    """Rows `[first | second]` of aligned parts, such as a board before the moves that led to it, or after them.

    Swapping the parts changes what a bounded learner can absorb though it changes no entropy.

    Args:
        first: (n, length of the first part) tokens, read first.
        second: (n, length of the second part) tokens.
        score: "second" measures the second part given the first, "both" all tokens.
        vocabulary: as in `as_token_rows`.
        name: what to call the data.

    Raises:
        DataError: the parts are not matrices with equally many rows.
    """
    check_choice(score, ("second", "both"), "score")
    x, y = to_numpy(first, "first"), to_numpy(second, "second")
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise DataError(f"first and second must be matrices with one row a pair, got shapes {x.shape} and {y.shape}")
    mask = np.arange(x.shape[1] + y.shape[1]) >= (x.shape[1] if score == "second" else 0)
    return as_token_rows(np.concatenate([x, y], axis=1), scored=mask, vocabulary=vocabulary, name=name)


class _Cut:
    """A source of sequences of any length, such as a Markov chain, read in rows of one length."""

    def __init__(self, source: Any, length: int):
        self.source, self.length, self.vocabulary = source, length, source.vocabulary
        self.name = str(getattr(source, "name", "") or type(source).__name__)

    def sample(self, n: int, seed: int = 0) -> Any:
        return self.source.sample(n, self.length, seed=seed)


def _mask(scored: Any, length: int) -> Bool[np.ndarray, " length"]:
    if scored is None:
        return np.ones(length, dtype=bool)
    mask = to_numpy(scored, "scored")
    if mask.shape != (length,):
        raise DataError(f"scored has shape {mask.shape}, but a row has {length} tokens: give one mark a column")
    return mask.astype(bool)
