"""What a layer's effective features are held against: numbers that need no training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from unsnarl.arrays import as_matrix, check_range
from unsnarl.information._spectrum import effective_rank, participation_ratio
from unsnarl.measures.superposition._effective_features import effective_features
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder


def superposition_baselines(activations: Any, *, expansion: float = 4, seed: int = 0) -> dict[str, float]:
    """Numbers that look like a count of features and cannot see superposition.

    - `pca_effective_rank`: exp of the entropy of the covariance's eigenvalues;
    - `participation_ratio`: (sum of the eigenvalues)^2 / sum of their squares;
    - `untrained_autoencoder`: F of a tied autoencoder of D = int(expansion * N) with its first, random weights.

    The first two count directions of an N-dimensional space and end at N however many features share it; the last ends
    near D whatever is in the layer.

    >>> numbers = superposition_baselines(np.random.default_rng(0).normal(size=(500, 3)))
    >>> 2.9 < numbers["pca_effective_rank"] <= 3
    True

    Args:
        activations: (n, N).
        expansion: D / N of the untrained autoencoder.
        seed: of its weights.

    Raises:
        DataError: not a finite numeric matrix, or constant activations.
        OptionError: an expansion so small that no feature is left.

    Cost: O(n * N * D + N^3).
    """
    matrix = as_matrix(activations, "activations").astype(np.float64)
    check_range(expansion, "expansion", low=1 / matrix.shape[1])
    covariance = np.atleast_2d(np.cov(matrix, rowvar=False))
    untrained = SparseAutoencoder(matrix.shape[1], int(expansion * matrix.shape[1]), seed=seed)
    with torch.no_grad():
        codes = untrained.encode(torch.from_numpy(matrix).float())
    return {
        "pca_effective_rank": effective_rank(covariance),
        "participation_ratio": participation_ratio(covariance),
        "untrained_autoencoder": effective_features(codes),
    }
