"""What users pass, checked: images of one shape in their range, and labels that name the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unsnarl.arrays import as_vector, check_finite, check_same_length, to_numpy
from unsnarl.errors import DataError, OptionError

CHANNELS = (1, 3)


def check_pixel_range(pixel_range: Any) -> tuple[float, float]:
    """Lowest and highest value of a pixel.

    Raises:
        OptionError: not two rising finite numbers.
    """
    try:
        low, high = (float(v) for v in pixel_range)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not (np.isfinite([low, high]).all() and low < high):
        raise OptionError(f"pixel_range={pixel_range!r} must be the lowest and the highest value of a pixel, as (0, 1)")
    return low, high


def as_images(X: Any, pixel_range: tuple[float, float], shape: tuple[int, ...] | None = None) -> Tensor:
    """Images as a tensor (n, channels, height, width), checked; uint8, or float32 in the user's own range.

    Args:
        X: array, tensor or data set of shape (n, height, width), or (n, channels, height, width) with 1 or 3 channels.
        pixel_range: what floats must lie in; uint8 is always 0 to 255.
        shape: (channels, height, width) that the model was fitted on.

    Raises:
        DataError: another shape, no images, values that are not finite or out of range.
    """
    values = getattr(X, "observations", X)
    array = to_numpy(values, "X")
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in CHANNELS or 0 in array.shape:
        hint = "; reshape a table of pixels to (n, 1, height, width)" if array.ndim == 2 else ""
        raise DataError(
            f"X must be images of shape (n, height, width) or (n, channels, height, width) with 1 or 3 channels, "
            f"got shape {to_numpy(values, 'X').shape}{hint}"
        )
    if shape is not None and tuple(array.shape[1:]) != tuple(shape):
        raise DataError(f"X has images of shape {tuple(array.shape[1:])}, but this model was fitted on {tuple(shape)}")
    if array.dtype == np.uint8:
        return torch.tensor(array)
    if array.dtype.kind not in "iuf":
        raise DataError(f"X must be uint8 or numbers, got dtype {array.dtype}")
    check_finite(array, "X")
    low, high = pixel_range
    least, most = float(array.min()), float(array.max())
    if least < low or most > high:
        raise DataError(
            f"X has pixels from {least:g} to {most:g}, outside pixel_range=({low:g}, {high:g}); the decoder ends in tanh and "
            "cannot reach them: scale the images, pass uint8, or give their range as pixel_range="
        )
    return torch.tensor(array, dtype=torch.float32)


def to_network(images: Tensor, pixel_range: tuple[float, float]) -> Tensor:
    """Pixels scaled to [-1, 1]."""
    low, high = (0.0, 255.0) if images.dtype == torch.uint8 else pixel_range
    return (images.float() - low) * (2 / (high - low)) - 1


def to_user(images: Tensor, pixel_range: tuple[float, float]) -> Tensor:
    """Values in [-1, 1] as pixels in the user's range."""
    low, high = pixel_range
    return ((images + 1) * ((high - low) / 2) + low).clamp(low, high)


def as_labels(y: Any, X: Any, n: int, n_classes: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Class index of each observation, and the classes.

    Args:
        y: labels, or the name of a factor of the data set X.
        X: what the observations came in.
        n: how many there are.
        n_classes: when given, labels must be the integers 0 to n_classes - 1, all of them present; otherwise whatever
            labels there are become the classes, sorted.

    Raises:
        DataError: another number of labels, missing ones, a single class, or integers other than 0..n_classes - 1.
    """
    if isinstance(y, str):
        table = getattr(X, "table", None)
        if table is None or y not in table.names:
            raise DataError(f"y={y!r} names a factor, but X has {'none' if table is None else ', '.join(table.names)}")
        y = table.values[y].to_numpy()
    if y is None:
        raise DataError("y is missing: pass a label for each observation, or the name of a factor of the data set")
    labels = as_vector(y, "y", min_rows=1)
    check_same_length(X=range(n), y=labels)
    if labels.dtype.kind == "f" and not np.equal(labels, labels.round()).all():
        raise DataError("y must hold classes, found fractions; this is a classifier")
    classes, indices = np.unique(labels, return_inverse=True)
    numbered = labels.dtype.kind in "iufb" and np.array_equal(classes.astype(float), np.arange(n_classes or 0))
    if n_classes is not None and not numbered:
        found = ", ".join(map(str, classes[:8])) + (", ..." if len(classes) > 8 else "")
        raise DataError(
            f"y must hold the integers 0 to {n_classes - 1}, each at least once, since n_classes={n_classes}; found "
            f"{found}; leave n_classes out to use other labels"
        )
    if len(classes) < 2:
        raise DataError(f"y has one class only ({classes[0]!r}); a classifier needs at least 2")
    if classes.dtype.kind == "f":
        classes = classes.astype(np.int64)
    return indices.astype(np.int64), classes
