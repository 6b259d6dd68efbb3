"""Diffusion spectral mutual information: what a label, a number or another representation explains of the spread of points.

DSMI(Z; Y) = sum_c p_c [ mean_r DSE(Z*_{c,r}) - DSE(Z | Y = c) ] in bits (Liao et al. 2023), with random subsets Z* of all
rows, of the same size as category c: the entropy grows with the number of points, so each category is compared with as
many. Same sigma and t everywhere. What Y is if not categories is cut or clustered into some first.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Int, Num, Shaped
from torch import Tensor

from unsnarl.arrays import as_matrix, check_choice, check_finite, check_range, check_same_length, to_numpy
from unsnarl.errors import DataError
from unsnarl.information._binning import equal_width_bins
from unsnarl.information._diffusion_spectral import (
    OPERATORS,
    adjacency_entropy_at,
    draw_indices,
    entropy_at,
    kernel_width,
    warn_if_saturated,
)
from unsnarl.information._distances import as_rows
from unsnarl.information._reliability import _warn
from unsnarl.information._size_matched import MatchedInformation, Rows, size_matched_information

Reference = Literal["auto", "categories", "number", "vectors"]
REFERENCES = ("auto", "categories", "number", "vectors")


class SpectralInformation(NamedTuple):
    """An information in bits, and the categories of Y it was taken over, to be handed in again (`clusters=`)."""

    mi: MatchedInformation
    clusters: Int[np.ndarray, "n"]


def reference_categories(
    Y: Shaped[np.ndarray, "n *columns"] | Shaped[Tensor, "n *columns"] | Any,
    *,
    kind: Reference | str = "auto",
    n_clusters: int = 10,
    seed: int = 0,
    argument: str = "Y",
) -> Int[np.ndarray, "n"]:
    """The categories 0, 1, 2, ... that a reference is compared by.

    | Y                                      | kind         | categories                                               |
    |----------------------------------------|--------------|----------------------------------------------------------|
    | integers, booleans or text, one column | "categories" | its values                                               |
    | floats, one column                     | "number"     | `n_clusters` bins of equal width from its minimum to its maximum |
    | several columns, or images and such    | "vectors"    | spectral clustering into `n_clusters`                    |

    The clustering is scikit-learn's, with the graph of 10 nearest neighbours and `assign_labels="cluster_qr"`, on the
    flattened rows.

    Args:
        Y: n labels, numbers or vectors (n, ...).
        kind: what Y holds; "auto" goes by its type as in the table.
        n_clusters: bins or clusters.
        seed: of the clustering's eigensolver.
        argument: the name used in messages.

    Returns:
        Category numbers (n,); hand them in again where the same reference is used over epochs.

    Raises:
        DataError: not finite, fewer than 2 rows, or values that do not fit the kind.
        OptionError: unknown kind, n_clusters below 2 (or, for vectors, above n).

    Warns:
        EstimatorWarning: "auto" met floats that are all whole numbers, few of them different: classes, probably.

    Cost: O(n log n); vectors O(n^2 columns) and an eigensolver on a sparse graph.

    >>> reference_categories(np.array([0.0, 0.26, 0.5, 1.0]), n_clusters=4)
    array([0, 1, 2, 3])
    """
    check_choice(kind, REFERENCES, "kind")
    check_range(n_clusters, "n_clusters", low=2, integer=True)
    if hasattr(Y, "to_numpy") and getattr(getattr(Y, "dtype", None), "kind", "O") not in "biuf":
        Y = cast("Any", Y).astype(str)  # a pandas text column
    values = to_numpy(Y, argument)
    if values.ndim == 0 or len(values) < 2:
        raise DataError(f"{argument} needs at least 2 rows, got shape {values.shape}")
    single = values.ndim == 1 or values.size == len(values)
    if kind == "auto":
        kind = "vectors" if not single else "number" if values.dtype.kind == "f" else "categories"
        if kind == "number":
            _warn_if_classes(values, argument)
    if kind == "vectors":
        return _clusters(values.reshape(len(values), -1), int(n_clusters), seed, argument)
    if not single:
        raise DataError(f"{argument} must be one column to be taken as {kind}, got shape {values.shape}")
    column = values.reshape(-1)
    check_finite(column, argument)
    if kind == "number":
        column = equal_width_bins(as_matrix(column[:, None], argument), bins=int(n_clusters))[:, 0]
    return np.unique(column, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _warn_if_classes(values: np.ndarray, argument: str) -> None:
    check_finite(values, argument)
    different = np.unique(values)
    if len(different) <= max(20, math.isqrt(values.size)) and (different == np.round(different)).all():
        _warn(
            f"{argument} holds floats that are all whole numbers, {len(different)} different ones; they are cut into bins as "
            "any number would be. If they are classes, pass integers or kind='categories'"
        )


def _clusters(vectors: np.ndarray, n_clusters: int, seed: int, argument: str) -> Int[np.ndarray, "n"]:
    from sklearn.cluster import SpectralClustering

    vectors = as_matrix(vectors, argument).astype(np.float64)
    check_range(n_clusters, "n_clusters", high=len(vectors), integer=True)
    check_range(seed, "seed", low=0, integer=True)
    found = SpectralClustering(
        n_clusters=n_clusters,
        affinity="nearest_neighbors",
        n_neighbors=min(10, len(vectors)),
        assign_labels="cluster_qr",
        random_state=int(seed),
    )
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Graph is not fully connected")  # far clusters are what is sought
        return found.fit_predict(vectors).astype(np.int64)


def categories_of(
    n: int, Y: Any, clusters: Any, kind: str, n_clusters: int, seed: int, other: str = "X"
) -> Int[np.ndarray, "n"]:
    """The given clusters, checked, or those of Y; one for each of the n rows.

    Raises:
        DataError: neither is given, clusters that are no integers, or another length.
    """
    if clusters is None:
        if Y is None:
            raise DataError("Y is missing; give it, or clusters= of an earlier call")
        found = reference_categories(Y, kind=kind, n_clusters=n_clusters, seed=seed)
        check_same_length(**{other: range(n), "Y": found})
        return found
    given = to_numpy(clusters, "clusters")
    if given.dtype.kind not in "iub" or given.size != len(given):
        raise DataError(f"clusters must be n integers, got {given.dtype} of shape {given.shape}")
    check_same_length(**{other: range(n), "clusters": given})
    return given.reshape(-1).astype(np.int64)


def diffusion_spectral_mi(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any,
    Y: Shaped[np.ndarray, "n *columns"] | Shaped[Tensor, "n *columns"] | Any = None,
    sigma: float | str = 10.0,
    t: float = 1,
    n_repeats: int = 5,
    n_clusters: int = 10,
    clusters: Int[np.ndarray, "n *one"] | Any | None = None,
    *,
    operator: str = "symmetric",
    kind: Reference | str = "auto",
    max_n: int = 10_000,
    seed: int = 0,
) -> SpectralInformation:
    """Diffusion spectral mutual information in bits; see the head of this module.

    Args:
        X: n observations of a representation: an array, or a tensor on any device.
        Y: n classes, numbers or vectors; what becomes of them is in `reference_categories`.
        sigma: width of the Gaussian kernel, or "median" (that of all of X, for every subset).
        t: diffusion time, above 0.
        n_repeats: random subsets a category.
        n_clusters: categories made of numbers or vectors.
        clusters: categories of an earlier call, instead of Y.
        operator: as in `diffusion_spectral_entropy`.
        kind: what Y holds, where its type does not say.
        max_n: with more observations, so many rows are drawn first, of X and the categories alike; the categories
            returned are still all of them. The published function draws within each entropy instead.
        seed: of the subsets, the clustering and that draw.

    Returns:
        (mi, clusters). `mi` is a float with attributes `standard_error`, `categories`, `shares`, `matched`, `within`,
        `sigma`. It is at most the entropy of the categories when clusters lie far apart; a little below 0 means 0.

    Raises:
        DataError: not finite, fewer than 2 observations, or different lengths.
        OptionError: as `diffusion_spectral_entropy` and `reference_categories`.

    Warns:
        EstimatorWarning: a category of one observation; floats that look like classes; all entropies at their ceiling
            or floor (a sigma that tells nothing).

    Cost: (n_repeats + 1) times sum_c (n_c^2 dimension + n_c^3).

    >>> corners = np.repeat([[0.0, 0], [99, 0], [0, 99], [99, 99]], 25, axis=0)
    >>> mi, clusters = diffusion_spectral_mi(corners, np.repeat([0, 0, 1, 1], 25))
    >>> bool(abs(mi - 1) < 0.02)  # 2 bits in all, 1 within each half
    True
    """
    points = as_rows(X)
    check_range(t, "t", low=0, open_low=True)
    check_choice(operator, OPERATORS, "operator")
    labels = categories_of(len(points), Y, clusters, kind, n_clusters, seed)
    points, used = _drawn(points, labels, max_n, seed)
    width = kernel_width(points, sigma)

    def entropy(rows: Rows) -> float:
        return entropy_at(_rows(points, rows), width, float(t), operator).bits

    value = size_matched_information(entropy, used, repeats=n_repeats, seed=seed, sigma=width)
    _warn_if_all_saturated(value, len(used), "each diffusion spectral entropy")
    return SpectralInformation(value, labels)


def adjacency_spectral_mi(
    X: Num[np.ndarray, "n *dimension"] | Num[Tensor, "n *dimension"] | Any,
    Y: Shaped[np.ndarray, "n *columns"] | Shaped[Tensor, "n *columns"] | Any = None,
    sigma: float | str = 10.0,
    *,
    normalized: bool = False,
    neighbors: int | None = None,
    n_repeats: int = 5,
    n_clusters: int = 10,
    clusters: Int[np.ndarray, "n *one"] | Any | None = None,
    kind: Reference | str = "auto",
    max_n: int = 10_000,
    seed: int = 0,
) -> SpectralInformation:
    """The same size-matched information with `adjacency_spectral_entropy` in place of the diffusion entropy (ASMI).

    Args:
        X: as in `diffusion_spectral_mi`.
        Y: as in `diffusion_spectral_mi`.
        sigma: as in `diffusion_spectral_mi`; unused with `neighbors`.
        normalized: as in `adjacency_spectral_entropy`.
        neighbors: as in `adjacency_spectral_entropy`; each subset gets a graph of its own, in subsets of fewer points
            all are joined. Such a graph does not see scale: a lone cluster's graph has the many modes of a blob, so
            that far clusters can give negative values.
        n_repeats: as in `diffusion_spectral_mi`.
        n_clusters: as in `diffusion_spectral_mi`.
        clusters: as in `diffusion_spectral_mi`.
        kind: as in `diffusion_spectral_mi`.
        max_n: as in `diffusion_spectral_mi`.
        seed: as in `diffusion_spectral_mi`.

    Returns:
        As `diffusion_spectral_mi`.

    Raises:
        DataError, OptionError: as `diffusion_spectral_mi`.

    Warns:
        EstimatorWarning: as `diffusion_spectral_mi`.

    Cost: as `diffusion_spectral_mi`.

    >>> corners = np.repeat([[0.0, 0], [99, 0], [0, 99], [99, 99]], 25, axis=0)
    >>> bool(abs(adjacency_spectral_mi(corners, np.repeat([0, 0, 1, 1], 25)).mi - 1) < 0.1)
    True
    """
    points = as_rows(X)
    if neighbors is not None:
        check_range(neighbors, "neighbors", low=1, integer=True)
    labels = categories_of(len(points), Y, clusters, kind, n_clusters, seed)
    points, used = _drawn(points, labels, max_n, seed)
    width = math.nan if neighbors is not None else kernel_width(points, sigma)

    def entropy(rows: Rows) -> float:
        joined = None if neighbors is None else min(int(neighbors), len(rows))
        return adjacency_entropy_at(_rows(points, rows), width, normalized, joined).bits

    value = size_matched_information(entropy, used, repeats=n_repeats, seed=seed, sigma=width)
    if neighbors is None:
        _warn_if_all_saturated(value, len(used), "each adjacency spectral entropy")
    return SpectralInformation(value, labels)


def _drawn(points: Tensor, labels: np.ndarray, max_n: int, seed: int) -> tuple[Tensor, np.ndarray]:
    kept = draw_indices(len(points), max_n, seed)
    return (points, labels) if kept is None else (_rows(points, kept), labels[kept])


def _rows(points: Tensor, rows: np.ndarray) -> Tensor:
    return points[torch.from_numpy(rows).to(points.device)]


def _warn_if_all_saturated(value: MatchedInformation, n: int, what: str) -> None:
    """The random subsets' entropies, as a share of their ceilings, stand for the whole: warn as for one entropy."""
    sizes = np.round(value.shares * n)
    some = sizes > 1
    if some.any():
        largest = int(np.argmax(sizes))
        share = float((value.matched[some] / np.log2(sizes[some])).min())
        size = int(sizes[largest])
        if share > 0.98 or value.matched[some].max() < 0.02:
            warn_if_saturated(float(value.matched[largest]), size, value.sigma, what)
