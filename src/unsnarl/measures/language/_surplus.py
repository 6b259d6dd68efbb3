"""The information surplus: what a hidden state knows about later tokens beyond the next one.

Zhang 2025 (arXiv 2507.19247), sections 4.1 and 4.2. By the chain rule

    I(H_t; W_t .. W_(t+K-1)) = I(H_t; W_t) + Surplus_K,    Surplus_K = I(H_t; W_(t+1) .. W_(t+K-1) | W_t),
    0 <= Surplus_K <= H(W_(t+1) .. W_(t+K-1) | W_t) <= (K - 1) log V.

It is the room that guessing several tokens at once (speculative decoding) has. The estimators are ours: exact for a source
of known probabilities, and for a model the difference of two draft heads' cross-entropies (see `_draft_heads`). The latter
is a difference of two upper bounds, so it is a bound in neither direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unsnarl.arrays import check_choice, check_range, to_numpy
from unsnarl.data.known._token_source import TokenSource
from unsnarl.errors import DataError, OptionError
from unsnarl.measures._scores import Score
from unsnarl.measures.language._draft_heads import (
    DraftData,
    Training,
    held_out_losses,
    standardised,
    token_vectors,
)
from unsnarl.measures.language._opened import OpenedModel, evaluating, open_model

METHODS = ("neural", "exact")
_RESAMPLES = 1_000
_BLOCK = 16  # contexts that are resampled together where there are too few sequences

Sequences = list[Int[Tensor, "_"]]


def information_surplus(
    model: Any,
    corpus: Any = None,
    K: int = 2,
    method: str = "neural",
    *,
    context: int | None = None,
    min_context: int = 1,
    max_contexts: int = 16_384,
    length: int = 128,
    batch: int = 16,
    training: Training | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Score:
    """Surplus_K = I(H_t; W_(t+1) .. W_(t+K-1) | W_t), in nats.

    Args:
        model: for "neural" a causal language model (transformers, or a module from tokens to logits); for "exact" a
            source of known probabilities, `MarkovSource` or `HiddenMarkovSource`, whose H_t is the past itself.
        corpus: token ids: (sequences, length), one long row, or a list of rows. Not used by "exact".
        K: tokens from W_t on, at least 2.
        method: "neural" or "exact".
        context: for "exact", how many past tokens H_t sees; None for all.
        min_context: contexts of fewer tokens are left out.
        max_contexts: most contexts used, spread over the sequences.
        length: rows are cut into sequences of at most this many tokens.
        batch: sequences the model reads at a time.
        training: how the draft heads are trained.
        seed: of the split into training (70%), validation (10%) and test sequences (20%), and of the bootstrap.
        progress: called with the share of the work that is done.

    Returns:
        A `Score`, negative when the heads found nothing. `.interval` is a 95% bootstrap over the test sequences (of the
        measurement, not of the heads' training), `.extra` holds `ce_without` and `ce_with` (cross-entropies of the
        K - 1 tokens), `steps` (the surplus of each further token), `ceiling` (K - 1) log V, and counts of contexts.

    Raises:
        DataError: too little text, tokens the model does not have, or a model that is no causal language model.
        OptionError: K below 2, an unknown method, or a model that the method cannot take.

    Cost: one pass of the model over the corpus, and 2 (K - 1) small trainings; "exact" O(V^(context + K)).

    >>> from unsnarl.data.known._hidden_markov import hidden_source
    >>> round(float(information_surplus(hidden_source(2), K=2, method="exact", context=5)), 3)
    0.187
    """
    check_choice(method, METHODS, "method")
    check_range(K, "K", low=2, integer=True)
    if method == "exact":
        if not isinstance(model, TokenSource):
            raise OptionError(
                f"method='exact' needs a source of known probabilities (MarkovSource, HiddenMarkovSource), got "
                f"{type(model).__name__}; for a model use method='neural'"
            )
        value = model.surplus(K, context)
        alone = model.block_entropy(K) - model.block_entropy(1)
        extra = {"method": "exact", "upper": alone, "ceiling": (K - 1) * math.log(model.vocabulary), "context": context}
        return Score(value, name=f"surplus_{K}", extra=extra)
    if isinstance(model, TokenSource):
        raise OptionError(
            "method='neural' needs a language model; a source of known probabilities takes method='exact'"
        )
    check_range(length, "length", low=K + 2, integer=True)
    check_range(min_context, "min_context", low=1, integer=True)
    check_range(batch, "batch", low=1, integer=True)
    sequences = as_sequences(corpus, length)
    long_enough = [s for s in sequences if len(s) >= min_context + K]
    if len(long_enough) < 10:
        raise DataError(
            f"corpus has {len(long_enough)} sequences of at least {min_context + K} tokens; 10 are needed to train, stop and test"
        )
    probe = torch.stack([s[:4] for s in long_enough[:2] if len(s) >= 4]) if len(long_enough[0]) >= 4 else None
    opened = model if isinstance(model, OpenedModel) else open_model(model, probe=probe)
    chosen = _spread_over(long_enough, max_contexts, min_context, K, seed)
    check_tokens(chosen, opened.vocabulary)
    hidden = hidden_states(opened, chosen, batch, lambda share: _tell(progress, 0.3 * share))
    found = neural_surplus(
        chosen,
        hidden,
        (K,),
        min_context=min_context,
        training=training,
        seed=seed,
        vectors=model_vectors(opened),
        vocabulary=opened.vocabulary,
        progress=lambda share: _tell(progress, 0.3 + 0.7 * share),
    )
    return found[0]


def neural_surplus(
    sequences: Sequence[Int[Tensor, "_"]],
    hidden: Sequence[Float[Tensor, "_ d"]],
    Ks: Sequence[int] = (2,),
    *,
    min_context: int = 1,
    training: Training | None = None,
    seed: int = 0,
    vectors: tuple[Any, Any] = (None, None),
    vocabulary: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[Score]:
    """The neural estimate from tokens and hidden states that are already there; several K share their draft heads.

    Args:
        sequences: rows of tokens.
        hidden: for each row, (length, d): the state after each of its tokens, so that entry i predicts token i + 1.
        Ks: the K to estimate.
        min_context: as in `information_surplus`.
        training: likewise.
        seed: likewise.
        vectors: the model's input (V, e) and output (V, d) vectors, used for large vocabularies.
        vocabulary: V, for the ceiling; the number of different tokens when absent.
        progress: called with the share that is done.

    Returns:
        One `Score` for each K, as `information_surplus` returns.

    Raises:
        DataError: fewer than 10 usable sequences, or lengths that differ.
    """
    training = training or Training(seed=seed)
    most = max(Ks)
    parts = _split([len(s) for s in sequences], min_context + most, seed)
    rows = [_contexts(sequences, hidden, part, min_context, most) for part in parts]
    kinds, index = torch.unique(torch.cat([r.tokens.reshape(-1) for r in rows]), return_inverse=True)
    sizes = [r.tokens.numel() for r in rows]
    compact = [i.reshape(r.tokens.shape) for i, r in zip(index.split(sizes), rows, strict=True)]
    by = rows[0].hidden
    states = [standardised(r.hidden, by) for r in rows]
    read, write = (None if v is None else v[kinds].detach().float().cpu() for v in vectors)
    gains, without = [], []
    for j in range(1, most):
        data = [DraftData(t[:, :j], t[:, j], h) for t, h in zip(compact, states, strict=True)]
        vecs = token_vectors(len(kinds), data[0].target, read, write)
        losses = []
        for arm, with_hidden in enumerate((False, True)):
            done = (2 * (j - 1) + arm) / (2 * (most - 1))
            width = 1 / (2 * (most - 1))
            tell = None if progress is None else (lambda s, d=done, w=width: progress(d + w * s))  # type: ignore[misc]
            train, validation, test = data
            losses.append(held_out_losses(train, validation, test, vecs, training, with_hidden=with_hidden, tell=tell))
        gains.append(losses[0] - losses[1])
        without.append(losses[0])
    groups = _groups(rows[2].sequence)
    scores = []
    for K in Ks:
        gain, alone = np.sum(gains[: K - 1], axis=0), np.sum(without[: K - 1], axis=0)
        scores.append(
            Score(
                float(gain.mean()),
                name=f"surplus_{K}",
                interval=_bootstrap(gain, groups, seed),
                extra={
                    "method": "neural",
                    "ce_without": float(alone.mean()),
                    "ce_with": float((alone - gain).mean()),
                    "steps": np.array([g.mean() for g in gains[: K - 1]]),
                    "ceiling": (K - 1) * math.log(vocabulary or len(kinds)),
                    "contexts": len(gain),
                    "training_contexts": len(rows[0].tokens),
                },
            )
        )
    return scores


# ---- the corpus -------------------------------------------------------------------------------------------------------


def as_sequences(corpus: Any, length: int) -> Sequences:
    """Rows of tokens, cut into sequences of at most `length`; what is left of a row stays a shorter one.

    Raises:
        DataError: nothing in it, or something that is not whole numbers.
    """
    if corpus is None:
        raise DataError("corpus is missing; pass token ids (sequences, length) or a list of rows")
    ragged = isinstance(corpus, list | tuple) and len(corpus) > 0 and hasattr(corpus[0], "__len__")
    rows: list[Any] = list(corpus) if ragged else [to_numpy(corpus, "corpus")]
    sequences = []
    for row in rows:
        values = to_numpy(row, "corpus")
        if values.size and values.dtype.kind not in "iu":
            raise DataError(f"corpus must hold token ids (integers), got dtype {values.dtype}")
        for line in values.reshape(-1, values.shape[-1]) if values.ndim > 1 else [values]:
            tokens = torch.from_numpy(np.ascontiguousarray(line, dtype=np.int64))
            sequences += list(tokens.split(length)) if len(tokens) else []
    if not sequences:
        raise DataError("corpus holds no tokens")
    return sequences


def check_tokens(sequences: Sequence[Int[Tensor, "_"]], vocabulary: int) -> None:
    """Refuse tokens that the model does not have.

    Raises:
        DataError: a token below 0 or not below the vocabulary.
    """
    low, high = min(int(s.min()) for s in sequences), max(int(s.max()) for s in sequences)
    if low < 0 or high >= vocabulary:
        raise DataError(f"corpus holds tokens from {low} to {high}; the model has 0 to {vocabulary - 1:,}")


def _spread_over(sequences: Sequences, most: int, min_context: int, K: int, seed: int) -> Sequences:
    """As many sequences, in random order, as give `most` contexts."""
    check_range(most, "max_contexts", low=1, integer=True)
    chosen, contexts = [], 0
    for i in np.random.default_rng(seed).permutation(len(sequences)):
        chosen.append(sequences[int(i)])
        contexts += len(sequences[int(i)]) - min_context - K + 1
        if contexts >= most and len(chosen) >= 10:
            break
    return chosen


def hidden_states(
    opened: OpenedModel,
    sequences: Sequence[Int[Tensor, "_"]],
    batch: int,
    tell: Callable[[float], None] | None = None,
) -> list[Float[Tensor, "_ d"]]:
    """The head's input at every token of every sequence, on the CPU; sequences of one length are read together."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    states: list[Any] = [None] * len(sequences)
    with evaluating(opened.model), torch.no_grad():
        done = 0
        while done < len(order):
            here = [i for i in order[done : done + batch] if len(sequences[i]) == len(sequences[order[done]])]
            hidden, _ = opened(torch.stack([sequences[i] for i in here]))
            for i, state in zip(here, hidden.cpu(), strict=True):
                states[i] = state.clone()
            done += len(here)
            if tell is not None:
                tell(done / len(order))
    return states


def model_vectors(opened: OpenedModel) -> tuple[Any, Any]:
    """The model's input and output vectors, where it has them as tables."""
    get = getattr(opened.model, "get_input_embeddings", None)
    table = getattr(get(), "weight", None) if callable(get) else None
    if table is not None and len(table) < opened.vocabulary:
        table = None
    return table, opened.head.weight


@dataclass(frozen=True, eq=False)
class _Contexts:
    tokens: Int[Tensor, "n K"]  # W_t .. W_(t+K-1)
    hidden: Float[Tensor, "n d"]
    sequence: Int[np.ndarray, " n"]


def _contexts(
    sequences: Sequence[Tensor], hidden: Sequence[Tensor], part: Sequence[int], min_context: int, K: int
) -> _Contexts:
    tokens, states, origin = [], [], []
    for i in part:
        row, state = sequences[i], hidden[i]
        if len(row) != len(state):
            raise DataError(f"sequence {i} has {len(row)} tokens and {len(state)} hidden states")
        windows = row.unfold(0, K, 1)[
            min_context:
        ]  # window k starts at token k, which the state of token k - 1 predicts
        tokens.append(windows)
        states.append(state[min_context - 1 : min_context - 1 + len(windows)])
        origin.append(np.full(len(windows), i))
    return _Contexts(torch.cat(tokens), torch.cat(states).float(), np.concatenate(origin))


def _split(lengths: Sequence[int], needed: int, seed: int) -> list[list[int]]:
    """Sequences for training, validation and test: 70, 10 and 20%."""
    usable = [i for i, length in enumerate(lengths) if length >= needed]
    if len(usable) < 10:
        raise DataError(
            f"corpus has {len(usable)} sequences of at least {needed} tokens; 10 are needed to train, stop and test"
        )
    order = np.random.default_rng(seed).permutation(len(usable))
    first, second = round(0.7 * len(usable)), round(0.8 * len(usable))
    return [[usable[int(i)] for i in order[a:b]] for a, b in ((0, first), (first, second), (second, len(usable)))]


def _groups(sequence: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """What is resampled together: sequences, or blocks of contexts where there are fewer than 20 of them."""
    _, index = np.unique(sequence, return_inverse=True)
    if index.max() + 1 >= 20:
        return index
    return np.arange(len(sequence)) // _BLOCK


def _bootstrap(values: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"], seed: int) -> tuple[float, float]:
    sums, counts = np.bincount(groups, weights=values), np.bincount(groups)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _tell(progress: Callable[[float], None] | None, share: float) -> None:
    if progress is not None:
        progress(share)
