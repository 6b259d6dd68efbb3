"""The Gaussian, or mixture of Gaussians, of each class of a set of vectors; classes with few samples are shrunk."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float, Int

from unsnarl.errors import DataError

LEAST_VARIANCE = 1e-12
LEAST_PIVOT = 1e-5  # share of a dimension's deviation that the dimensions before it leave unexplained


def class_gaussians(
    features: Float[np.ndarray, "batch dim"], labels: Int[np.ndarray, " batch"], n: int, *, diagonal: bool
) -> tuple[Float[np.ndarray, "n dim"], Float[np.ndarray, "n dim"] | Float[np.ndarray, "n dim dim"]]:
    """Mean of each class, and its standard deviations or the lower Cholesky factor of its covariance.

    Variances are unbiased (divided by samples - 1). A class too small for that is shrunk, with a warning.

    Raises:
        DataError: a class without samples, labels outside 0..n - 1, or values that are not finite.
    """
    classes, within = _classes(features, labels, n), _variance_within(features, labels, n)
    means = np.stack([rows.mean(0) for rows in classes])
    if diagonal:
        return means, np.stack([_deviations(rows, k, within) for k, rows in enumerate(classes)])
    return means, np.stack([_factor(rows, k, within) for k, rows in enumerate(classes)])


def class_mixtures(
    features: Float[np.ndarray, "batch dim"], labels: Int[np.ndarray, " batch"], n: int, components: int, seed: int
) -> tuple[
    Float[np.ndarray, "n component"],
    Float[np.ndarray, "n component dim"],
    Float[np.ndarray, "n component dim dim"],
]:
    """Weights, means and lower Cholesky factors of a Gaussian mixture for each class, by expectation maximisation.

    A class with fewer than `components` * (dim + 1) samples gets components that share its shrunk covariance, and means
    from k-means, with a warning.

    Raises:
        DataError: a class without samples, labels outside 0..n - 1, or values that are not finite.
    """
    from sklearn.mixture import GaussianMixture

    classes, within = _classes(features, labels, n), _variance_within(features, labels, n)
    dim = features.shape[1]
    weights, means = np.zeros((n, components)), np.zeros((n, components, dim))
    factors = np.zeros((n, components, dim, dim))
    for k, rows in enumerate(classes):
        if len(rows) < components * (dim + 1):
            warnings.warn(
                f"class {k} has {len(rows)} samples, fewer than the {components * (dim + 1)} that {components} Gaussians "
                f"in {dim} dimensions need; they share one shrunk covariance",
                UserWarning,
                stacklevel=4,
            )
            weights[k], means[k] = _spread_means(rows, components, seed)
            factors[k] = _factor(rows, k, within, warn=False)
            continue
        ridge = max(1e-6 * float(rows.var(0).mean()), LEAST_VARIANCE)
        mixture = GaussianMixture(components, covariance_type="full", reg_covar=ridge, random_state=seed).fit(rows)
        order = np.argsort(-mixture.weights_, kind="stable")
        weights[k], means[k] = mixture.weights_[order], mixture.means_[order]
        factors[k] = np.linalg.cholesky(mixture.covariances_[order])
    return weights, means, factors


def _classes(features: np.ndarray, labels: np.ndarray, n: int) -> list[np.ndarray]:
    if len(features) != len(labels):
        raise DataError(f"features and labels must have one length, got {len(features)} and {len(labels)}")
    if not np.isfinite(features).all():
        raise DataError("features must be finite, found NaN or infinity")
    if len(labels) and (labels.min() < 0 or labels.max() >= n):
        raise DataError(f"labels must be 0 to {n - 1}, found {labels.min()} to {labels.max()}")
    counts = np.bincount(labels, minlength=n)
    if (counts == 0).any():
        raise DataError(f"class {int(counts.argmin())} has no samples to fit its prototype to")
    return [features[labels == k] for k in range(n)]


def _variance_within(features: np.ndarray, labels: np.ndarray, n: int) -> float:
    """Average variance within classes, over dimensions; that of all the data where every class has one sample."""
    spare = len(features) - len(np.unique(labels))
    if spare > 0:
        total = sum(((rows - rows.mean(0)) ** 2).sum() for k in range(n) if len(rows := features[labels == k]))
        return max(float(total / spare / features.shape[1]), LEAST_VARIANCE)
    return max(float(features.var(0).mean()), LEAST_VARIANCE)


def _deviations(rows: np.ndarray, k: int, within: float) -> np.ndarray:
    if len(rows) == 1:
        _warn_small(rows, k)
        return np.full(rows.shape[1], within**0.5)
    return np.sqrt(np.maximum(rows.var(0, ddof=1), LEAST_VARIANCE))


def _factor(rows: np.ndarray, k: int, within: float, *, warn: bool = True) -> np.ndarray:
    """Cholesky factor of the covariance of one class, shrunk where it would be singular."""
    size, dim = rows.shape
    if size == 1:
        if warn:
            _warn_small(rows, k)
        return np.eye(dim) * within**0.5
    covariance = np.cov(rows, rowvar=False).reshape(dim, dim)
    spread = np.sqrt(covariance.diagonal())
    if size > dim and spread.min() > 0:
        try:
            factor = np.linalg.cholesky(covariance / spread / spread[:, None])  # of correlations: no unit matters
        except np.linalg.LinAlgError:
            factor = np.zeros((dim, dim))
        if factor.diagonal().min() > LEAST_PIVOT:
            return spread[:, None] * factor  # else more samples than dimensions, but they lie in a plane
    if warn:
        _warn_small(rows, k)
    from sklearn.covariance import ledoit_wolf_shrinkage

    amount = max(float(ledoit_wolf_shrinkage(rows)), 1e-3)
    level = max(float(np.trace(covariance)) / dim, LEAST_VARIANCE)
    return np.linalg.cholesky((1 - amount) * covariance + amount * level * np.eye(dim))


def _warn_small(rows: np.ndarray, k: int) -> None:
    size, dim = rows.shape
    why = (
        f"{size} sample{'s' if size > 1 else ''}, fewer than the {dim + 1} that {dim} dimensions need"
        if size <= dim
        else "samples that do not span the space"
    )
    warnings.warn(f"class {k} has {why}; its covariance is shrunk", UserWarning, stacklevel=6)


def _spread_means(rows: np.ndarray, components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.cluster import KMeans

    if len(np.unique(rows, axis=0)) < components:
        return np.full(components, 1 / components), np.repeat(rows.mean(0, keepdims=True), components, axis=0)
    found = KMeans(components, n_init=1, random_state=seed).fit(rows)
    return np.bincount(found.labels_, minlength=components) / len(rows), found.cluster_centers_
