"""Reading and checking sequences of three modalities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unsnarl.arrays import as_vector, check_finite, check_same_length, to_numpy
from unsnarl.errors import DataError, UnknownNameError
from unsnarl.systems.multimodal.dlf._network import MODALITIES, NAMES
from unsnarl.systems.multimodal.dlf._text import read_text

LETTERS = {name: letter for letter, name in NAMES.items()}


@dataclass
class Modalities:
    """Sequences ready for a network, by "l", "v", "a".

    Attributes:
        values: (n, time, features); text that an encoder reads is what `read_text` gives.
        masks: (n, time), True where a step holds something.
        kind: what the steps of the text are.
        replaced: how many values of -inf were set to 0, by modality.
    """

    values: dict[str, Tensor]
    masks: dict[str, Tensor]
    kind: str = "vectors"
    replaced: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values["l"])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Values, then masks, each in the order l, v, a."""
        return (*(self.values[m] for m in MODALITIES), *(self.masks[m] for m in MODALITIES))


def split_arguments(text: Any, audio: Any, vision: Any, mask: Any) -> dict[str, Any]:
    """Modalities from four arguments, or from one mapping with the same names.

    Raises:
        UnknownNameError: a name that is no modality.
    """
    if not isinstance(text, Mapping):
        return {"text": text, "audio": audio, "vision": vision, "mask": mask}
    for name in text:
        if name not in (*LETTERS, "mask"):
            raise UnknownNameError("modality", name, [*LETTERS, "mask"])
    return {"mask": mask, **dict.fromkeys(LETTERS), **text}


def read_modalities(
    given: Mapping[str, Any],
    *,
    host: nn.Module | None,
    aligned: bool,
    means: Mapping[str, Tensor] | None = None,
    kind: str | None = None,
) -> Modalities:
    """Check and convert what a user passed.

    Args:
        given: text, audio, vision and mask.
        host: the text encoder; None where text comes as vectors.
        aligned: whether the modalities have one row for the same word.
        means: training means (time, features) that stand in for a modality that is missing; None allows none to miss.
        kind: what the steps of the text were in training; None in training.

    Raises:
        DataError: a modality that is missing, of another shape, not finite, of another length than the others.
    """
    out = Modalities({}, {})
    for m in ("a", "v"):
        if given[NAMES[m]] is not None:
            out.values[m] = torch.as_tensor(_sequence(given[NAMES[m]], NAMES[m], out.replaced))
    steps = next((x.shape[1] for x in out.values.values()), None)
    text = given["text"]
    text_mask = None
    if text is not None and host is None:
        out.values["l"] = torch.as_tensor(_sequence(text, "text", out.replaced))
    elif text is not None:
        if means is not None and aligned and steps is None:
            steps = len(means["a"])
        out.values["l"], text_mask, out.kind = read_text(host, text, steps if aligned else None)  # type: ignore[arg-type]
        if kind is not None and out.kind != kind:
            raise DataError(f"the model was fitted on text as {kind}, but this text is {out.kind}")
    _fill_missing(out, means, host is not None)
    check_same_length(**{NAMES[m]: out.values[m] for m in MODALITIES})
    if not len(out):
        raise DataError("the data hold no samples")
    lengths = {m: x.shape[1] for m, x in out.values.items()}
    if text_mask is not None:
        lengths["l"] = text_mask.shape[1]
    elif host is not None:
        lengths.pop("l")  # known once the module has read it
    if aligned and len(set(lengths.values())) > 1:
        shown = ", ".join(f"{NAMES[m]} has {lengths[m]}" for m in MODALITIES if m in lengths)
        raise DataError(f"aligned modalities need equally many steps, but {shown}; align them or pass aligned=False")
    _set_masks(out, given["mask"], text_mask, lengths, aligned)
    for name, count in out.replaced.items():
        warnings.warn(f"{count:,} values of {name} are -inf and were set to 0", UserWarning, stacklevel=4)
    return out


def read_labels(y: Any, n: int, bounds: tuple[float, float] | None) -> Tensor:
    """Labels as float32.

    Raises:
        DataError: not one number a sample, or outside the allowed range.
    """
    values = as_vector(y, "y").astype(np.float32)
    if len(values) != n:
        raise DataError(f"all inputs must have one row an observation, but y has {len(values):,} and text has {n:,}")
    if bounds is not None and (values.min() < bounds[0] or values.max() > bounds[1]):
        raise DataError(
            f"y must lie in [{bounds[0]:g}, {bounds[1]:g}], found {values.min():g} to {values.max():g}; rescale it, or pass "
            "label_range=(low, high) or None (the margins of the label loss and the learning rate are made for [-3, 3])"
        )
    return torch.as_tensor(values)


def warn_of_labels(y: Tensor) -> None:
    """Say so where the label margin loss has little or nothing to work with."""
    distinct = len(y.unique())
    if distinct == 1:
        warnings.warn(
            f"all labels are {float(y[0]):g}: no sample has another label, so the label margin loss is 0 throughout",
            UserWarning,
            stacklevel=3,
        )
    elif distinct == len(y):
        warnings.warn(
            "all labels are distinct: the label margin loss can only draw the modalities of one sample together, since "
            "samples are alike for it when their labels are exactly equal; round the labels if that is not meant",
            UserWarning,
            stacklevel=3,
        )


def _sequence(values: Any, name: str, replaced: dict[str, int]) -> np.ndarray:
    array = to_numpy(values, name)
    if array.ndim != 3:
        raise DataError(f"{name} must have shape (n, time, features), got {array.shape}")
    if array.dtype.kind not in "iufb":
        raise DataError(f"{name} must hold numbers, got dtype {array.dtype}")
    if 0 in array.shape:
        raise DataError(f"{name} is empty: its shape is {array.shape}")
    array = array.astype(np.float32)
    holes = np.isneginf(array)
    if holes.any():
        replaced[name] = int(holes.sum())
        array[holes] = 0.0
    check_finite(array, name)
    return array


def _fill_missing(out: Modalities, means: Mapping[str, Tensor] | None, encoded: bool) -> None:
    missing = [m for m in MODALITIES if m not in out.values]
    if not missing:
        return
    if means is None or len(missing) == 3:
        raise DataError(f"{NAMES[missing[0]]} is missing; text, audio and vision are all needed")
    n = len(next(iter(out.values.values())))
    if "l" in missing and encoded:
        raise DataError("text is missing; a model with a text encoder cannot do without")
    for m in missing:
        out.values[m] = means[m].expand(n, -1, -1)
    names = " and ".join(NAMES[m] for m in missing)
    warnings.warn(f"{names} missing: the training mean stands in", UserWarning, stacklevel=5)


def _set_masks(
    out: Modalities, given: Any, text_mask: Tensor | None, lengths: Mapping[str, int], aligned: bool
) -> None:
    given = given if isinstance(given, Mapping) else {NAMES[m]: given for m in MODALITIES if aligned or m == "l"}
    for m in MODALITIES:
        steps = lengths.get(m, lengths.get("a", 0) if aligned else out.values[m].shape[1])
        mask = given.get(NAMES[m])
        if mask is not None:
            array = to_numpy(mask, "mask")
            if array.shape != (len(out), steps):
                raise DataError(f"mask must have shape (n, time) = ({len(out)}, {steps}), got {array.shape}")
            out.masks[m] = torch.as_tensor(array.astype(bool))
        elif m == "l" and text_mask is not None:
            out.masks[m] = text_mask
        elif m == "l" and out.values[m].shape[1] != steps:
            out.masks[m] = torch.ones(len(out), steps, dtype=torch.bool)  # a module's text: nothing is known of it
        elif aligned and m != "l":
            out.masks[m] = out.masks["l"]
        else:
            out.masks[m] = (out.values[m] != 0).flatten(2).any(2)
