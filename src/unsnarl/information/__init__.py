"""Estimators of information quantities: arrays in, numbers out.

They know nothing of factors or models. Results are in nats unless `base=` says otherwise. Importing this room imports
none of the estimators: each is loaded when its name is first used.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.information._binning import equal_width_bins as equal_width_bins
    from unsnarl.information._discrete import column_entropies as column_entropies
    from unsnarl.information._discrete import conditional_entropy as conditional_entropy
    from unsnarl.information._discrete import conditional_mutual_information as conditional_mutual_information
    from unsnarl.information._discrete import entropy as entropy
    from unsnarl.information._discrete import joint_entropy as joint_entropy
    from unsnarl.information._gaussian import gaussian_entropy as gaussian_entropy
    from unsnarl.information._gaussian import gaussian_mutual_information as gaussian_mutual_information
    from unsnarl.information._gaussian import gaussian_total_correlation as gaussian_total_correlation
    from unsnarl.information._gaussian import (
        gaussian_wasserstein_correlation as gaussian_wasserstein_correlation,
    )
    from unsnarl.information._kernel import centered_kernel_alignment as centered_kernel_alignment
    from unsnarl.information._kernel import hsic as hsic
    from unsnarl.information._kernel import pairwise_hsic as pairwise_hsic
    from unsnarl.information._knn_entropy import knn_entropy as knn_entropy
    from unsnarl.information._mutual_information import ShuffledBaseline as ShuffledBaseline
    from unsnarl.information._mutual_information import mutual_information as mutual_information
    from unsnarl.information._mutual_information import shuffled_baseline as shuffled_baseline
    from unsnarl.information._pairwise import pairwise_mutual_information as pairwise_mutual_information
    from unsnarl.information._reliability import EstimatorWarning as EstimatorWarning
    from unsnarl.information._spectrum import effective_rank as effective_rank
    from unsnarl.information._spectrum import spectral_entropy as spectral_entropy
    from unsnarl.information._total_correlation import total_correlation as total_correlation

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "EstimatorWarning": "._reliability",
        "ShuffledBaseline": "._mutual_information",
        "centered_kernel_alignment": "._kernel",
        "column_entropies": "._discrete",
        "conditional_entropy": "._discrete",
        "conditional_mutual_information": "._discrete",
        "effective_rank": "._spectrum",
        "entropy": "._discrete",
        "equal_width_bins": "._binning",
        "gaussian_entropy": "._gaussian",
        "gaussian_mutual_information": "._gaussian",
        "gaussian_total_correlation": "._gaussian",
        "gaussian_wasserstein_correlation": "._gaussian",
        "hsic": "._kernel",
        "joint_entropy": "._discrete",
        "knn_entropy": "._knn_entropy",
        "mutual_information": "._mutual_information",
        "pairwise_hsic": "._kernel",
        "pairwise_mutual_information": "._pairwise",
        "shuffled_baseline": "._mutual_information",
        "spectral_entropy": "._spectrum",
        "total_correlation": "._total_correlation",
    },
)
