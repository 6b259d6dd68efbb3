"""A few photos of a subject, from whatever they are kept in."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, FileError
from unsnarl.files import reason

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def load_photos(photos: Any, size: int, *, flips: bool = False) -> Float[Tensor, "n 3 size size"]:
    """Photos as square tensors in [-1, 1]: turned as their EXIF says, shorter side brought to `size`, the middle cut out.

    Args:
        photos: a tensor or array (n, 3, height, width) or (3, height, width), float in [-1, 1] or uint8; a PIL image; a path; a
            folder, whose images are taken in the order of their names; or a list of any of these.
        size: pixels a side. Photos that have this size are left as they are.
        flips: add the mirror image of every photo behind them. Leave it off for subjects whose sides differ, and for text.

    Returns:
        (n, 3, size, size), or twice as many with `flips`. Transparent parts become white, grey photos get three channels.

    Raises:
        DataError: no photo, or not shaped like one, not finite, or outside [-1, 1].
        FileError: no such file, or not an image.

    Examples:
        >>> load_photos(torch.zeros(2, 3, 40, 60) - 0.5, 32).shape
        torch.Size([2, 3, 32, 32])
    """
    check_range(size, "size", low=1, integer=True)
    opened = _opened(photos, "photos")
    if not opened:
        raise DataError("photos must have at least one image")
    floats = [one for one in opened if isinstance(one, Tensor)]
    if floats and len(floats) == len(opened) and min(float(one.min()) for one in floats) >= 0:
        warnings.warn(
            "no value of photos is below 0: float tensors are read as [-1, 1]; if yours are in [0, 1], pass 2 * photos - 1",
            UserWarning,
            stacklevel=2,
        )
    made = torch.stack([_square(one if isinstance(one, Tensor) else _pixels(one), int(size)) for one in opened])
    return torch.cat([made, made.flip(-1)]) if flips else made


def _opened(photos: Any, where: str) -> list[Any]:
    """Each photo as a float tensor (3, h, w) in [-1, 1], or as an array (h, w, 3) of bytes."""
    if isinstance(photos, (str, os.PathLike)):
        path = Path(photos)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not files:
                raise DataError(f"the folder {path} holds no image; known endings are {', '.join(SUFFIXES)}")
            return [_from_file(one) for one in files]
        return [_from_file(path)]
    if isinstance(photos, (Tensor, np.ndarray)):
        return _from_array(torch.as_tensor(photos).detach(), where)
    if hasattr(photos, "convert") and hasattr(photos, "getexif"):
        return [_from_pil(photos)]
    if isinstance(photos, Sequence):
        return [one for i, photo in enumerate(photos) for one in _opened(photo, f"photos[{i}]")]
    raise DataError(f"{where} must be a tensor, PIL images, paths or a folder, got {type(photos).__name__}")


def _from_array(values: Tensor, where: str) -> list[Any]:
    values = values[None] if values.ndim == 3 else values
    if values.ndim != 4 or values.shape[1] != 3 or 0 in values.shape[2:]:
        raise DataError(f"{where} must have the shape (n, 3, height, width), got {tuple(values.shape)}")
    if values.dtype == torch.uint8:
        return list(values.permute(0, 2, 3, 1).cpu().numpy())
    if not values.is_floating_point():
        raise DataError(f"{where} must be floats in [-1, 1] or uint8, got {str(values.dtype).removeprefix('torch.')}")
    values = values.float().cpu()
    if not bool(values.isfinite().all()) or (values.numel() and float(values.abs().max()) > 1.001):
        raise DataError(f"{where} must be finite and in [-1, 1]")
    return list(values.clamp(-1, 1))


def _from_file(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return _from_pil(image)
    except UnidentifiedImageError:
        raise FileError(f"{path} is not an image") from None
    except FileNotFoundError:
        raise FileError(f"there is no file or folder {path}") from None
    except (OSError, SyntaxError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise FileError(f"cannot read the image {path}: {why}") from None


def _from_pil(image: Any) -> np.ndarray:
    from PIL import Image, ImageOps

    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
        turned = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
    return np.array(turned.convert("RGB"))


def _pixels(bytes_: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(bytes_)).permute(2, 0, 1).float() / 127.5 - 1


def _square(photo: Float[Tensor, "3 height width"], size: int) -> Float[Tensor, "3 size size"]:
    height, width = photo.shape[1:]
    short = min(height, width)
    if short != size:
        to = [max(size, round(side * size / short)) for side in (height, width)]
        photo = functional.interpolate(photo[None], to, mode="bicubic", antialias=True, align_corners=False)[0]
        photo = photo.clamp(-1, 1)
    top, left = ((side - size) // 2 for side in photo.shape[1:])
    return photo[:, top : top + size, left : left + size]
