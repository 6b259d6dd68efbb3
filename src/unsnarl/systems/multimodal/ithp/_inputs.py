"""Dictionaries of modalities as tensors: tokens or pieces, their mask, and detectors aligned with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unsnarl.arrays import check_finite, to_numpy
from unsnarl.errors import DataError
from unsnarl.nn._word_pieces import word_pieces


@dataclass(frozen=True, eq=False)
class Inputs:
    """Observations as the networks take them.

    Attributes:
        prime: tokens (n, token, width), or pieces (n, token) that a host reads.
        mask: which tokens are there.
        detectors: one tensor (n, token, feature) each; zeros where there is nothing. None where they were not given.
        observed: for each detector, the tokens whose distortion counts.
        word: the word of each piece, -1 for special ones and pads; None where tokens came as arrays.
        names: which detectors these are.
    """

    prime: Tensor
    mask: Bool[Tensor, "n token"]
    detectors: list[Tensor] | None = None
    observed: list[Tensor] | None = None
    word: Tensor | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.prime)


@dataclass(frozen=True, eq=False)
class WordFeatures:
    """A detector before it is aligned: one row a word, what is missing filled with zeros.

    Attributes:
        values: (n, word, feature).
        mask: which words it has rows for.
        observed: False at the rows that were NaN throughout.
        lengths: number of rows of each observation, where a list of them was given.
    """

    values: Float[Tensor, "n word feature"]
    mask: Bool[Tensor, "n word"]
    observed: Bool[Tensor, "n word"]
    lengths: list[int] | None


def modalities(X: Any, given: Mapping[str, Any], order: Sequence[str], *, words: bool) -> dict[str, Any]:
    """The dictionary that a learner works on.

    Args:
        X: a dictionary of modalities, an object that has them as attributes (such as a data set of utterances), or None.
        given: modalities as keywords.
        order: names of the modalities, the prime one first.
        words: whether the prime modality is text that a host reads.

    Raises:
        DataError: neither, both, an unknown name, or no prime modality.
    """
    known = (*order, "mask")
    if X is not None and given:
        raise DataError("pass modalities as a dictionary or as keywords, not both")
    if X is None:
        found = dict(given)
    elif isinstance(X, Mapping):
        found = dict(X)
    else:
        found = {name: getattr(X, name) for name in known if hasattr(X, name)}
        if not found:
            raise DataError(f"X must be a dictionary of modalities ({', '.join(order)}), got {type(X).__name__}")
        if order[0] == "text":
            if words and hasattr(X, "words"):
                found["text"] = X.words
            elif not words and hasattr(X, "tokens"):
                found["text"] = X.tokens()
    found = {name: value for name, value in found.items() if value is not None}
    for name in found:
        if name not in known:
            raise DataError(f"unknown modality {name!r}; this model knows {', '.join(order)} and mask")
    if order[0] not in found:
        raise DataError(f"the prime modality {order[0]!r} is missing; predictions are made from it alone")
    if isinstance(found[order[0]], str):
        raise DataError(f"{order[0]!r} must be a list of sentences, got one string; pass [text]")
    return found


def read_tokens(values: Any, mask: Any, name: str) -> tuple[Float[Tensor, "n token feature"], Bool[Tensor, "n token"]]:
    """The prime modality as tokens: (n, token, feature), (n, feature) as one token each, or a list of (token, feature).

    Raises:
        DataError: another shape, no rows, values that are not finite, or a mask that does not fit.
    """
    features = read_features(values, name, missing=False)
    if mask is None:
        return features.values, features.mask
    given = to_numpy(mask, "mask")
    if given.shape != tuple(features.mask.shape) or not np.isin(given, (0, 1)).all():
        raise DataError(
            f"mask must be booleans of shape {tuple(features.mask.shape)}, one for each token of {name!r}, "
            f"got {given.dtype} of shape {given.shape}"
        )
    tokens = torch.from_numpy(given.astype(bool)) & features.mask
    return features.values * tokens[:, :, None], tokens


def read_features(values: Any, name: str, *, missing: bool = True) -> WordFeatures:
    """A modality of numbers; rows that are NaN throughout count as missing where that is allowed.

    Raises:
        DataError: another shape than (n, token, feature), (n, feature) or a list of (token, feature), no rows, infinite
            values, or rows that are NaN in part.
    """
    lengths = None
    if isinstance(values, list | tuple) and len(values) and any(np.ndim(row) == 2 for row in values):
        rows = [to_numpy(row, f"{name}[{i}]") for i, row in enumerate(values)]
        sizes = {row.shape[1] if row.ndim == 2 else -1 for row in rows}
        if len(sizes) > 1 or -1 in sizes:
            raise DataError(f"every entry of {name!r} must have shape (tokens, features) with equally many features")
        lengths = [len(row) for row in rows]
        array = np.zeros((len(rows), max(1, *lengths), sizes.pop()), dtype=np.float32)
        for place, row in zip(array, rows, strict=True):
            place[: len(row)] = row
    else:
        array = to_numpy(values, name)
        if array.ndim == 2:
            array = array[:, None]
    if array.ndim != 3 or 0 in array.shape or array.dtype.kind not in "iufb":
        raise DataError(
            f"{name!r} must be numbers of shape (observations, tokens, features), (observations, features) or a list of "
            f"(tokens, features), got {array.dtype} of shape {array.shape}"
        )
    array = array.astype(np.float32)
    nan = np.zeros(array.shape[:2], bool)
    if missing:
        nan |= np.isnan(array).all(axis=2)
    if nan.any():
        array = np.where(nan[:, :, None], np.float32(0), array)
    check_finite(array, name)
    mask = np.ones(array.shape[:2], bool)
    if lengths is not None:
        mask = np.arange(array.shape[1]) < np.array(lengths)[:, None]
    return WordFeatures(torch.from_numpy(array), torch.from_numpy(mask), torch.from_numpy(mask & ~nan), lengths)


def read_sentences(text: Any, name: str) -> list[list[str]]:
    """Sentences as lists of words; a string is cut at its spaces.

    Raises:
        DataError: neither strings nor lists of words.
    """
    if not hasattr(text, "__len__") or not len(text):
        raise DataError(f"{name!r} must be a list of sentences, at least one")
    sentences = []
    for i, entry in enumerate(text):
        words = entry.split() if isinstance(entry, str) else entry
        if isinstance(words, np.ndarray):
            words = words.tolist()
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise DataError(f"entry {i} of {name!r} must be a sentence or a list of words, got {type(entry).__name__}")
        sentences.append(list(words))
    return sentences


def align_tokens(inputs: Inputs, features: Mapping[str, WordFeatures], prime: str) -> Inputs:
    """Detectors beside tokens that came as arrays: both must have the same tokens.

    Raises:
        DataError: other numbers of observations or tokens, or a detector that is the prime modality itself.
    """
    for name, detector in features.items():
        if detector.values.shape[:2] != inputs.prime.shape[:2]:
            raise DataError(
                f"{name!r} has (observations, tokens) {tuple(detector.values.shape[:2])}, but {prime!r} has "
                f"{tuple(inputs.prime.shape[:2])}; align them first: each row must describe the same token"
            )
        if detector.lengths is not None and not bool((inputs.mask <= detector.mask).all()):
            raise DataError(f"some entries of {name!r} have fewer tokens than those of {prime!r}; align them first")
        if detector.values.shape == inputs.prime.shape and bool((detector.values == inputs.prime).all()):
            raise DataError(f"{name!r} is the prime modality itself: predicting it from {prime!r} asks for nothing new")
    zeroed = [detector.values * inputs.mask[:, :, None] for detector in features.values()]
    observed = [detector.observed for detector in features.values()]
    return replace(inputs, detectors=zeroed, observed=observed, names=tuple(features))


def align_pieces(
    tokenizer: Any, sentences: list[list[str]], features: Mapping[str, WordFeatures], max_pieces: int, *, fill: bool
) -> Inputs:
    """Detectors beside the pieces of text: repeated for every piece of a word, zeros at special pieces and pads.

    Args:
        tokenizer: that of the host.
        sentences: lists of words.
        features: one row a word.
        max_pieces: longer sentences are cut.
        fill: pad to `max_pieces`, not to the longest sentence.

    Raises:
        DataError: other numbers of observations, or fewer rows than words.
    """
    cut = word_pieces(tokenizer, sentences, max_pieces=max_pieces, fill=fill)
    inputs = Inputs(cut.ids, cut.mask, word=cut.word)
    if not features:
        return inputs
    aligned, observed = [], []
    for name, detector in features.items():
        if len(detector.values) != len(sentences):
            raise DataError(f"{name!r} has {len(detector.values)} observations, the text {len(sentences)}")
        for i, words in enumerate(sentences):
            rows = detector.lengths[i] if detector.lengths is not None else detector.values.shape[1]
            if rows < len(words) or (detector.lengths is not None and rows != len(words)):
                raise DataError(
                    f"{name!r} has {rows} rows for the {len(words)} words of sentence {i}; align them first"
                )
        aligned.append(cut.repeat(detector.values))
        missing = cut.repeat((~detector.observed)[:, :, None].float())[:, :, 0] > 0
        observed.append(~missing)  # special pieces and pads are observed: their rows are zeros, as in the official code
    return replace(inputs, detectors=aligned, observed=observed, names=tuple(features))


def joined(first: Inputs, second: Inputs) -> Inputs:
    """Two sets of observations with the same modalities as one, the shorter tokens filled up.

    Raises:
        DataError: a modality has other features in the second.
    """
    names = ("the prime modality", *first.names)
    for name, a, b in zip(names, (first.prime, *_list(first)), (second.prime, *_list(second)), strict=True):
        if a.ndim == 3 and a.shape[2] != b.shape[2]:
            raise DataError(f"{name} has {b.shape[2]} features in unlabelled, but {a.shape[2]} in X")
    length = max(first.mask.shape[1], second.mask.shape[1])

    def filled(tensor: Tensor) -> Tensor:
        return torch.cat([tensor, tensor.new_zeros(len(tensor), length - tensor.shape[1], *tensor.shape[2:])], 1)

    def both(a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([filled(a), filled(b)])

    return Inputs(
        both(first.prime, second.prime),
        both(first.mask, second.mask),
        [both(a, b) for a, b in zip(_list(first), _list(second), strict=True)] or None,
        [both(a, b) for a, b in zip(first.observed or (), second.observed or (), strict=True)] or None,
        names=first.names,
    )


def _list(inputs: Inputs) -> list[Tensor]:
    return inputs.detectors or []
