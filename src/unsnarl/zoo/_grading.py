"""Grading an edit of a scene: was what was asked for reached, was the rest kept, is it still the same object.

The oracle reads both images. No model that is graded ever sees it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from unsnarl.arrays import check_same_length
from unsnarl.data.scenes import FACING_KINDS, THINGS
from unsnarl.data.scenes._words import KINDS
from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.zoo._identity import MARGIN, crop_objects
from unsnarl.zoo._oracle import OF_OBJECT, OF_SCENE, SceneReading, SeenObject

NEAR = 0.25  # share of the width within which an object that changed its kind is still taken for the same
MOVED = 0.15  # share of the width beyond which an object is at another place
SSIM_SIDE, SSIM_WIDTH = 7, 1.5  # pixels a side of SSIM's windows, and the deviation of their weights
_IDENTITY_FACTORS = ("kind", "color", "texture")


@dataclass(frozen=True)
class EditScores:
    """How n edits came out; nan where a number does not exist for an image.

    Attributes:
        reached: whether every asked factor has its asked value.
        kept: share of the factors that were not asked for and are as before, of the object and its place, the scene and the other
            objects.
        kept_by_factor: the same, factor by factor; "others" is the share of other objects that are still there and the only ones.
        identity: cosine of the identity vectors of the object before and after, where it was to stay itself; 0 where it is gone.
        psnr_outside: dB, outside the mask.
        ssim_outside: structural similarity, mean over the windows outside the mask.
        distance: between all that the oracle's network sees in both images; 0 for equal images.
    """

    reached: Bool[np.ndarray, " n"]
    kept: Float[np.ndarray, " n"]
    kept_by_factor: dict[str, Float[np.ndarray, " n"]]
    identity: Float[np.ndarray, " n"]
    psnr_outside: Float[np.ndarray, " n"]
    ssim_outside: Float[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]

    def means(self) -> dict[str, float]:
        """The mean of each over the images for which it exists."""
        columns = {"reached": self.reached.astype(float), "kept": self.kept, "identity": self.identity}
        columns |= {"psnr_outside": self.psnr_outside, "ssim_outside": self.ssim_outside, "distance": self.distance}
        return {name: _mean(values) for name, values in columns.items()}


def score_edit(
    before: Float[Tensor, "n 3 side side"] | Any,
    after: Float[Tensor, "n 3 side side"] | Any,
    asked: Mapping[str, str] | Sequence[Mapping[str, str]],
    *,
    of: str | Sequence[str] | None = None,
    mask: Bool[np.ndarray, "n side side"] | Any | None = None,
    oracle: Any = None,
    identity: Any = None,
) -> EditScores:
    """Grade edits of scenes by the oracle.

    Args:
        before: images before the edit, in [-1, 1], of 32 or 64 pixels.
        after: the same after it.
        asked: factor -> value that was asked for: of the object ("kind", "color", "texture", "size", "turn", "facing") or of the
            scene ("pattern", "background", "style", "frame"); one mapping for all images or one an image. Empty asks that nothing
            changes.
        of: kind of the object that is meant, for all images or one an image; the surest object when absent.
        mask: pixels that may change; PSNR and SSIM are taken outside. Without it there are none.
        oracle: `load("zoo/oracle")` when absent.
        identity: `load("zoo/identity")` when absent.

    Raises:
        DataError: images of different numbers or shapes, or not in [-1, 1].
        UnknownNameError: a factor or kind that does not exist.
        OptionError: a value that the factor cannot have.
    """
    _check_images(before, "before")
    _check_images(after, "after")
    if before.shape != after.shape:
        raise DataError(f"before has shape {tuple(before.shape)} and after {tuple(after.shape)}; they must be equal")
    n = len(before)
    wishes = [dict(asked)] * n if isinstance(asked, Mapping) else [dict(one) for one in asked]
    kinds = [of] * n if of is None or isinstance(of, str) else list(of)
    check_same_length(before=before, asked=wishes, of=kinds)
    for wish in wishes:
        _check_wish(wish)
    for kind, wish in zip(kinds, wishes, strict=True):
        if kind is not None and kind not in KINDS:
            raise UnknownNameError("kind of object", kind, list(KINDS))
        if "facing" in wish and kind is not None and kind not in FACING_KINDS:
            raise OptionError(
                f"asked['facing']: which way a {kind} faces does not show; it does of {', '.join(FACING_KINDS)}"
            )
    outside = None if mask is None else _outside(mask, before)
    from unsnarl.zoo._shelf import load

    oracle = load("oracle") if oracle is None else oracle
    identity = load("identity") if identity is None else identity
    first, second = oracle.read(before), oracle.read(after)
    rows = [_row(*parts) for parts in zip(first, second, wishes, kinds, strict=True)]
    names = ["kind", *OF_OBJECT, "place", *OF_SCENE, "others"]
    by_factor = {name: np.array([row.kept.get(name, math.nan) for row in rows]) for name in names}
    return EditScores(
        reached=np.array([row.reached for row in rows]),
        kept=np.array([_mean(np.array(list(row.kept.values()))) for row in rows]),
        kept_by_factor=by_factor,
        identity=_identities(before, after, rows, identity),
        psnr_outside=_psnr_outside(before, after, outside),
        ssim_outside=_ssim_outside(before, after, outside),
        distance=(oracle.features(before) - oracle.features(after)).norm(dim=1).cpu().numpy().astype(np.float64),
    )


@dataclass(frozen=True)
class _Row:
    reached: bool
    kept: dict[str, float]
    meant: SeenObject | None
    found: SeenObject | None
    stays: bool


def _row(before: SceneReading, after: SceneReading, wish: dict[str, str], kind: str | None) -> _Row:
    meant = next((one for one in before.objects if kind is None or one.kind == kind), None)
    found = _counterpart(meant, after, wish) if meant is not None else None
    reached, kept = True, {}
    for name in OF_SCENE:
        value = getattr(after, name)
        if name in wish:
            reached &= value == wish[name]
        else:
            kept[name] = float(value == getattr(before, name))
    for name in ("kind", *OF_OBJECT):
        if name in wish:
            reached &= found is not None and getattr(found, name) == wish[name]
        elif meant is not None and (name != "facing" or _shows_facing(meant, found)):
            kept[name] = float(found is not None and getattr(found, name) == getattr(meant, name))
    if meant is not None:
        kept["place"] = float(found is not None and math.hypot(found.x - meant.x, found.y - meant.y) < MOVED)
    others = [(one.kind, one.color) for one in before.objects if one is not meant]
    left = [(one.kind, one.color) for one in after.objects if one is not found]
    still = sum((Counter(others) & Counter(left)).values())
    kept["others"] = still / max(len(others), len(left)) if others or left else 1.0
    return _Row(reached, kept, meant, found, not set(_IDENTITY_FACTORS) & set(wish))


def _shows_facing(meant: SeenObject, found: SeenObject | None) -> bool:
    """Whether the oracle says which way both face; of what shows no side it was never asked."""
    return all(one.kind in FACING_KINDS for one in (meant, found) if one is not None)


def _counterpart(meant: SeenObject, after: SceneReading, wish: dict[str, str]) -> SeenObject | None:
    """The object after the edit that the meant one became: of its kind (or the asked one), else the nearest nearby."""
    same = [one for one in after.objects if one.kind == wish.get("kind", meant.kind)]
    near = [one for one in after.objects if math.hypot(one.x - meant.x, one.y - meant.y) < NEAR]
    choice = same or near
    return min(choice, key=lambda one: math.hypot(one.x - meant.x, one.y - meant.y), default=None)


def _identities(before: Tensor, after: Tensor, rows: Sequence[_Row], identity: Any) -> np.ndarray:
    out = np.full(len(rows), math.nan)
    asked = [i for i, row in enumerate(rows) if row.stays and row.meant is not None and row.meant.kind in THINGS]
    out[asked] = 0.0  # of one that is gone
    able = [i for i in asked if rows[i].found is not None]
    if able:
        vectors = [
            identity_vectors(images[able], [one for i in able if (one := getattr(rows[i], name))], identity)
            for images, name in ((before, "meant"), (after, "found"))
        ]
        out[able] = (vectors[0] * vectors[1]).sum(1).cpu().numpy()
    return out


def identity_vectors(
    images: Float[Tensor, "n 3 side side"], objects: Sequence[SeenObject], identity: Any
) -> Float[Tensor, "n width"]:
    """The identity vector of one object in each image, where the oracle sees it."""
    centres = torch.tensor([[one.x, one.y] for one in objects])
    sides = MARGIN * torch.tensor([one.diameter for one in objects]).clamp(min=0.2)
    with torch.inference_mode():
        return identity(crop_objects(images, centres, sides))


def _outside(mask: Any, images: Tensor) -> Tensor:
    outside = ~torch.as_tensor(np.asarray(mask), dtype=torch.bool)
    if outside.shape != (len(images), *images.shape[2:]):
        raise DataError(f"mask must have shape {(len(images), *images.shape[2:])}, got {tuple(outside.shape)}")
    return outside.to(images.device)


def _psnr_outside(before: Tensor, after: Tensor, outside: Tensor | None) -> np.ndarray:
    if outside is None:
        return np.full(len(before), math.nan)
    squares = (((before - after) / 2) ** 2).mean(1)
    error = (squares * outside).sum((1, 2)) / outside.sum((1, 2))  # nan where the mask covers all
    return (-10 * torch.log10(error.clamp(min=1e-10))).cpu().numpy().astype(np.float64)


def _ssim_outside(before: Tensor, after: Tensor, outside: Tensor | None) -> np.ndarray:
    """Wang et al. 2004, for values in [-1, 1], of windows that lie outside the mask as a whole."""
    if outside is None:
        return np.full(len(before), math.nan)
    line = torch.exp(-0.5 * ((torch.arange(SSIM_SIDE) - SSIM_SIDE // 2) / SSIM_WIDTH) ** 2)
    window = (line[:, None] * line[None, :] / line.sum() ** 2).to(before)

    def mean(x: Tensor) -> Tensor:
        return functional.conv2d(x.flatten(0, 1)[:, None], window[None, None]).unflatten(0, x.shape[:2])[:, :, 0]

    a, b = mean(before), mean(after)
    variances = mean(before**2) - a**2 + mean(after**2) - b**2
    together = mean(before * after) - a * b
    low, high = (2 * 0.01) ** 2, (2 * 0.03) ** 2  # of values that span 2
    similarity = ((2 * a * b + low) * (2 * together + high) / ((a**2 + b**2 + low) * (variances + high))).mean(1)
    whole = functional.avg_pool2d(outside[:, None].to(before), SSIM_SIDE, stride=1)[:, 0] > 1 - 1e-6
    return ((similarity * whole).sum((1, 2)) / whole.sum((1, 2))).cpu().numpy().astype(np.float64)


def _check_images(images: Any, name: str) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3:
        raise DataError(
            f"{name} must be a tensor of shape (n, 3, side, side), got {getattr(images, 'shape', images)!r}"
        )
    if not len(images):
        raise DataError(f"{name} holds no image")
    if not bool(images.isfinite().all()) or float(images.abs().max()) > 1.001:
        raise DataError(f"{name} must be finite and in [-1, 1]")


def _check_wish(wish: Mapping[str, str]) -> None:
    known: dict[str, tuple[str, ...]] = {"kind": KINDS, **OF_OBJECT, **OF_SCENE}
    for name, value in wish.items():
        if name not in known:
            raise UnknownNameError("factor of a scene", name, list(known))
        if value not in known[name]:
            raise OptionError(f"asked[{name!r}]={value!r} is not allowed; choose one of {', '.join(known[name])}")


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else math.nan
