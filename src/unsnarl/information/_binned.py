"""Classic Shannon entropy and information of binned points, the baseline that fails in many dimensions.

Each column is scaled from its minimum and maximum to [0, 1] and cut into bins; the rows' joint bins are counted. With b
bins a column there are b^columns cells, so from a few columns on nearly every point has a cell of its own: the entropy is
log2 n whatever the points are, and the information 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Num, Shaped
from torch import Tensor

from unsnarl.arrays import as_matrix, check_choice, check_range, to_numpy
from unsnarl.information._diffusion_mi import SpectralInformation, categories_of
from unsnarl.information._discrete import entropy_of_counts
from unsnarl.information._size_matched import Rows, size_matched_information


def binned_entropy(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any, *, bins: int = 2, base: float = 2
) -> float:
    """Shannon entropy of the rows of X after each column is cut into equal-width bins (CSE), in bits.

    The bin of a value is floor(bins * (x - min) / (max - min)), the maximum in the last bin; a constant column is in the
    first throughout.

    Args:
        X: n observations of one or several columns.
        bins: bins a column; the published default is 2.
        base: unit of the result.

    Returns:
        A number in [0, log n].

    Raises:
        DataError: not finite numbers, or fewer than 2 rows.
        OptionError: bins is not a positive integer, or base not above 1.

    Cost: O(n dimension + n log n dimension).

    >>> binned_entropy(np.array([[0.0, 1], [0.1, 1], [0.9, 1], [1.0, 1]]))
    1.0
    """
    from unsnarl.information._units import nats_per_unit

    unit = nats_per_unit(base)
    check_range(bins, "bins", low=1, integer=True)
    return _entropy(_columns(X), int(bins)) / unit


def binned_mi(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any,
    Y: Shaped[np.ndarray, "n *columns"] | Shaped[Tensor, "n *columns"] | Any = None,
    *,
    bins: int = 2,
    scale: str = "subset",
    n_repeats: int = 5,
    n_clusters: int = 10,
    clusters: Int[np.ndarray, "n *one"] | Any | None = None,
    kind: str = "auto",
    seed: int = 0,
) -> SpectralInformation:
    """Size-matched information of `binned_entropy` and the categories of Y (CSMI), in bits.

    As in `diffusion_spectral_mi` each category is compared with random subsets of its size. As published every subset is
    scaled by its own minimum and maximum; a category that fills its own range more evenly than the whole fills its range
    then has the larger entropy, so negative values are normal even where the categories lie far apart.

    Args:
        X: n observations of one or several columns.
        Y: as in `diffusion_spectral_mi`.
        bins: bins a column.
        scale: what sets the range of the bins: each "subset" (published), or "all" points once.
        n_repeats: as in `diffusion_spectral_mi`.
        n_clusters: as in `diffusion_spectral_mi`.
        clusters: as in `diffusion_spectral_mi`.
        kind: as in `diffusion_spectral_mi`.
        seed: as in `diffusion_spectral_mi`.

    Returns:
        (mi, clusters), as `diffusion_spectral_mi`.

    Raises:
        DataError, OptionError: as `diffusion_spectral_mi`.

    Warns:
        EstimatorWarning: a category of one observation; floats that look like classes.

    Cost: (n_repeats + 1) times that of `binned_entropy`.

    >>> halves = np.repeat([0.0, 1.0], 50)
    >>> bool(binned_mi(halves, halves.astype(int)).mi > 0.98)
    True
    """
    check_range(bins, "bins", low=1, integer=True)
    check_choice(scale, ("subset", "all"), "scale")
    columns = _columns(X)
    labels = categories_of(len(columns), Y, clusters, kind, n_clusters, seed)
    cells = _cells(columns, int(bins))

    def entropy(rows: Rows) -> float:
        nats = _count(cells[rows]) if scale == "all" else _entropy(columns[rows], int(bins))
        return nats / math.log(2)

    return SpectralInformation(size_matched_information(entropy, labels, repeats=n_repeats, seed=seed), labels)


def _columns(X: Any) -> Any:
    values = X if isinstance(X, Tensor) else to_numpy(X, "X")
    if isinstance(values, Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    return as_matrix(values[:, None] if values.ndim == 1 else values, "X").astype(np.float64)


def _entropy(columns: Any, bins: int) -> float:
    """In nats, the bins spanning the range of these rows."""
    return _count(_cells(columns, bins))


def _cells(columns: Any, bins: int) -> Any:
    low = columns.min(axis=0)
    span = columns.max(axis=0) - low
    scaled = (columns - low) / np.where(span > 0, span, 1.0)
    return np.minimum((bins * scaled).astype(np.int64), bins - 1).astype(np.uint8 if bins <= 256 else np.int64)


def _count(cells: Any) -> float:
    rows = np.ascontiguousarray(cells).view(
        np.dtype((np.void, cells.dtype.itemsize * cells.shape[1]))
    )  # one value a row
    return entropy_of_counts(np.unique(rows, return_counts=True)[1], "plugin")
