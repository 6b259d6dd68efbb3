"""From the informations of two words to the answer: terms at both levels, their errors, maps at the size of the image."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unsnarl.errors import OptionError
from unsnarl.information._denoiser_information import DenoiserInformation, jackknife_error, neighbours_error
from unsnarl.information._pointwise_pid import TERMS, PIDTerms, Redundancy, pid_levels
from unsnarl.information._reliability import EstimatorWarning
from unsnarl.systems.diffusion._pid_words import Word

Surprisals = tuple[float, float] | None


def terms_of(
    gaps: Sequence[DenoiserInformation], estimate: str, redundancy: Redundancy, surprisals: Surprisals, side: int
) -> dict[str, Any]:
    """The fields of a `PIDResult` that come from numbers alone.

    Args:
        gaps: i_1, i_2 and i_12 of the same images.
        estimate: "i_o" or "i_s".
        redundancy: as in `pointwise_pid`.
        surprisals: of the two words, or None.
        side: pixels of the image.
    """
    i1, i2, i12 = (as_array(getattr(gap, estimate)) for gap in gaps)
    terms, by_place, whole = pid_levels(i1, i2, i12, redundancy, surprisals=surprisals)
    errors, image_errors = _errors(gaps, estimate, redundancy, surprisals)
    return {
        **{name: resized(torch.from_numpy(one.mean(0)), side) for name, one in terms.as_dict().items()},
        "totals": _floats(by_place.mean()),
        "image_totals": _floats(whole.mean()),
        "se": errors,
        "image_se": image_errors,
        "information": {name: float(i.mean(0).sum()) for name, i in (("i1", i1), ("i2", i2), ("i12", i12))},
        "per_image": by_place.as_dict(),
    }


def _errors(
    gaps: Sequence[DenoiserInformation], estimate: str, redundancy: Redundancy, surprisals: Surprisals
) -> tuple[dict[str, float], dict[str, float]]:
    """Standard errors at both levels, over parts of the log-SNRs."""
    if len(gaps[0].group_sizes) < 2:
        return dict.fromkeys(TERMS, float("nan")), dict.fromkeys(TERMS, float("nan"))
    left = [as_array(gap.left_out(estimate)) for gap in gaps]  # (group, n, height, width)
    found: tuple[list[PIDTerms], list[PIDTerms]] = ([], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimatorWarning)  # said of the estimate itself
        for one, two, both in zip(*left, strict=True):
            _, by_place, whole = pid_levels(one, two, both, redundancy, surprisals=surprisals)
            found[0].append(by_place.mean())
            found[1].append(whole.mean())
    error = neighbours_error if gaps[0].quadrature.stratified else jackknife_error
    by_level = []
    for level in found:
        columns = {
            name: torch.tensor([float(getattr(one, name)) for one in level], dtype=torch.float64) for name in TERMS
        }
        by_level.append({name: float(error(values)) for name, values in columns.items()})
    return by_level[0], by_level[1]


def pairs_of(words: Any) -> tuple[bool, list[tuple[Word, Word]]]:
    """Whether it is one pair of words, and the pairs.

    Raises:
        OptionError: neither a pair nor a list of pairs.
    """
    if isinstance(words, str) or not isinstance(words, Sequence) or not len(words):
        got = repr(words) if isinstance(words, (str, tuple, list)) else f"a {type(words).__name__}"
        raise OptionError(
            f"words={got} must be two words of the prompt, such as ('cat', 'tree'), or a list of such pairs"
        )
    single = len(words) == 2 and all(_is_word(one) for one in words)
    pairs = [words] if single else list(words)
    for pair in pairs:
        if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2 or not all(map(_is_word, pair)):
            raise OptionError(f"words holds {pair!r}; a pair is two words of the prompt, such as ('cat', 'tree')")
    return single, [(pair[0], pair[1]) for pair in pairs]


def _is_word(one: Any) -> bool:
    return isinstance(one, str) or (isinstance(one, tuple) and len(one) == 2 and isinstance(one[1], int))


def resized(values: Float[Tensor, "h w"], side: int) -> Float[np.ndarray, "height width"]:
    """A map of latent places at the size of the image by bilinear interpolation, in nats per pixel, so that its sum stays.

    Examples:
        >>> float(resized(torch.tensor([[1.0, 0.0], [0.0, 3.0]]), 8).sum())
        4.0
    """
    if values.shape[-1] != side:
        share = values.shape[-2] * values.shape[-1] / side**2
        values = share * functional.interpolate(values[None, None], (side, side), mode="bilinear")[0, 0]
    return as_array(values)


def as_array(values: Tensor) -> np.ndarray:
    """A tensor as an array of doubles."""
    return np.asarray(values.double().cpu().numpy())


def _floats(terms: PIDTerms) -> dict[str, float]:
    return {name: float(value) for name, value in terms.as_dict().items()}
