"""Pictures made of images: contact sheets, traversals, reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from unsnarl.arrays import check_range, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.report._images import are_images, differences, reduced, tile, to_pixels
from unsnarl.report._style import drawing, new_figure, short

SHOWN = 7  # images a row: each stays over 45 px wide on a phone
DPI = 96


def contact_sheet(
    images: Any, columns: int = 8, *, titles: Sequence[str] | None = None, cell: float = 0.9, look: str = "light"
) -> Figure:
    """Images side by side in rows of `columns`.

    Args:
        images: shape (n, 1 or 3, height, width), uint8 or float in [0, 1].
        columns: images a row.
        titles: a line under each image.
        cell: width of an image in inches.
        look: "light" or "dark".

    Returns:
        A figure that pyplot does not know.

    Raises:
        DataError: not images, none at all, or another number of titles than images.

    Examples:
        >>> import numpy as np
        >>> contact_sheet(np.zeros((5, 1, 8, 8)), columns=3).axes[0].get_images()[0].get_size()
        (18, 28)
    """
    check_range(columns, "columns", low=1, integer=True)
    pixels = to_pixels(images)
    if not len(pixels):
        raise DataError("images is empty")
    if titles is not None and len(titles) != len(pixels):
        raise DataError(f"titles has {len(titles)} entries for {len(pixels)} images")
    if titles is None:
        return _rows_of_sheets([(None, tile(pixels, columns))], cell * min(columns, len(pixels)), look)
    columns = min(columns, len(pixels))
    rows = -(-len(pixels) // columns)
    height = cell * pixels.shape[1] / pixels.shape[2] + 0.22
    with drawing(look) as colours:
        figure = new_figure(columns * cell, rows * height)
        for i, (image, text) in enumerate(zip(pixels, titles, strict=True)):
            left, top = (i % columns) / columns, 1 - (i // columns) / rows
            share = (height - 0.22) / height / rows
            axes = figure.add_axes((left + 0.02 / columns, top - share, 0.96 / columns, share))
            axes.imshow(image, interpolation="nearest" if min(image.shape[:2]) < 64 else "antialiased")
            axes.set_axis_off()
            figure.text(
                left + 0.5 / columns, top - share - 0.03 / (rows * height), short(text, max(6, int(cell * 13))),
                ha="center", va="top", fontsize=7.5, color=colours.muted, parse_math=False,
            )  # fmt: skip
    return figure


def traversal_grid(
    model: Any,
    observations: Any,
    latents: Sequence[int] | None = None,
    *,
    n_values: int = SHOWN,
    names: Sequence[str] | None = None,
    cell: float = 0.75,
    look: str = "light",
) -> Figure:
    """One row a latent: the model's output as that latent alone runs through its values.

    Args:
        model: has `traverse(observation, latent, n_values)`, which returns n_values images.
        observations: one image (channels, height, width), or a batch of which the first is used.
        latents: which latents, in this order; all of them when absent (the model is asked how many by `transform`).
        n_values: images a row.
        names: a line above each row; "latent 0", ... when absent.
        cell: width of an image in inches.
        look: "light" or "dark".

    Returns:
        A figure that pyplot does not know.

    Raises:
        DataError: not an image, or `traverse` returns something else than up to n_values images.
        OptionError: the model has no `traverse`.
    """
    image = observations[0] if len(getattr(observations, "shape", ())) == 4 else observations
    if latents is None:
        latents = range(to_numpy(model.transform(image[None]), "codes").shape[1])
    labels = [f"latent {i}" for i in latents] if names is None else list(names)
    if len(labels) != len(latents):
        raise DataError(f"names has {len(labels)} entries for {len(latents)} latents")
    rows = [
        (label, tile(traversal(model, image, latent, n_values), n_values, fill=True))
        for label, latent in zip(labels, latents, strict=True)
    ]
    return _rows_of_sheets(rows, cell * n_values, look)


def traversal(model: Any, image: Any, latent: int, n_values: int = SHOWN) -> np.ndarray:
    """The pixels of one row of a traversal, shape (up to n_values, height, width, 3).

    Raises:
        DataError: `traverse` returns something else than up to n_values images.
        OptionError: the model has no `traverse`.
    """
    check_range(n_values, "n_values", low=2, integer=True)
    if not callable(getattr(model, "traverse", None)):
        raise OptionError(f"model={type(model).__name__} has no method traverse, so it cannot be traversed")
    pixels = to_pixels(model.traverse(image, int(latent), n_values=n_values), f"the traversal of latent {latent}")
    if not 1 <= len(pixels) <= n_values:  # quantized latents show each level once, which may be fewer
        raise DataError(f"the traversal of latent {latent} has {len(pixels)} images instead of up to {n_values}")
    return reduced(pixels)


def reconstruction_grid(model: Any, observations: Any, *, cell: float = 0.75, look: str = "light") -> Figure:
    """Three rows: what went in, what came out, and how they differ.

    Args:
        model: has `reconstruct(observations)`, which returns images of the same shape.
        observations: images, shape (n, 1 or 3, height, width); a handful.
        cell: width of an image in inches.
        look: "light" or "dark".

    Returns:
        A figure that pyplot does not know.

    Raises:
        DataError: not images, or `reconstruct` returns another shape.
        OptionError: the model has no `reconstruct`.
    """
    inputs, outputs = reconstruction(model, observations)
    gap, gain, _ = differences(inputs, outputs)
    n = len(inputs)
    rows = [
        ("input", inputs),
        ("output", outputs),
        (f"difference, {gain:.3g} times brighter" if gain > 1 else "difference", gap),
    ]
    return _rows_of_sheets([(label, tile(pixels, n)) for label, pixels in rows], cell * n, look)


def reconstruction(model: Any, observations: Any) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of some observations and of what the model makes of them.

    Raises:
        DataError: not images, or `reconstruct` returns another shape.
        OptionError: the model has no `reconstruct`.
    """
    if not callable(getattr(model, "reconstruct", None)):
        raise OptionError(f"model={type(model).__name__} has no method reconstruct")
    if not are_images(observations) or not len(observations):
        raise DataError(f"observations must be images, got shape {tuple(getattr(observations, 'shape', ()))}")
    result = model.reconstruct(observations)
    if tuple(result.shape) != tuple(observations.shape):
        raise DataError(
            f"reconstruct returned shape {tuple(result.shape)} for observations of shape {tuple(observations.shape)}"
        )
    return reduced(to_pixels(observations, "observations")), reduced(to_pixels(result, "the reconstructions"))


def _rows_of_sheets(rows: Sequence[tuple[str | None, np.ndarray]], width: float, look: str) -> Figure:
    """Pictures under each other, each with a label above it where it has one."""
    label_height = 0.24
    heights = [width * sheet.shape[0] / sheet.shape[1] for _, sheet in rows]
    labelled = [label_height if label else 0.0 for label, _ in rows]
    gap = 0.06
    total = sum(heights) + sum(labelled) + gap * (len(rows) - 1)
    margin = 0.08 if any(labelled) else 0.0
    with drawing(look):
        figure = new_figure(width + 2 * margin, total + 2 * margin)
        full_width, full_height = width + 2 * margin, total + 2 * margin
        top = full_height - margin
        for (label, sheet), height, space in zip(rows, heights, labelled, strict=True):
            if label:
                figure.text(
                    margin / full_width, (top - 0.05) / full_height, short(label, int(width * 12)),
                    va="top", fontsize=8.5, parse_math=False,
                )  # fmt: skip
            top -= space + height
            axes = figure.add_axes((margin / full_width, top / full_height, width / full_width, height / full_height))
            axes.imshow(sheet, interpolation="nearest", aspect="auto")
            axes.set_axis_off()
            top -= gap
    return figure
