"""Estimators of information quantities: arrays in, numbers out.

They know nothing of factors or models. Results are in nats unless `base=` says otherwise. Importing this room imports
none of the estimators: each is loaded when its name is first used.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.information._binned import binned_entropy as binned_entropy
    from unsnarl.information._binned import binned_mi as binned_mi
    from unsnarl.information._binning import equal_width_bins as equal_width_bins
    from unsnarl.information._denoiser_information import DenoiserInformation as DenoiserInformation
    from unsnarl.information._denoiser_information import diffusion_gaps as diffusion_gaps
    from unsnarl.information._denoiser_information import diffusion_mi as diffusion_mi
    from unsnarl.information._denoiser_information import jackknife_error as jackknife_error
    from unsnarl.information._diffusion_large import approximate_diffusion_entropy as approximate_diffusion_entropy
    from unsnarl.information._diffusion_mi import SpectralInformation as SpectralInformation
    from unsnarl.information._diffusion_mi import adjacency_spectral_mi as adjacency_spectral_mi
    from unsnarl.information._diffusion_mi import diffusion_spectral_mi as diffusion_spectral_mi
    from unsnarl.information._diffusion_mi import reference_categories as reference_categories
    from unsnarl.information._diffusion_spectral import DiffusionEntropy as DiffusionEntropy
    from unsnarl.information._diffusion_spectral import adjacency_spectral_entropy as adjacency_spectral_entropy
    from unsnarl.information._diffusion_spectral import diffusion_entry_entropy as diffusion_entry_entropy
    from unsnarl.information._diffusion_spectral import diffusion_spectral_entropy as diffusion_spectral_entropy
    from unsnarl.information._discrete import column_entropies as column_entropies
    from unsnarl.information._discrete import conditional_entropy as conditional_entropy
    from unsnarl.information._discrete import conditional_mutual_information as conditional_mutual_information
    from unsnarl.information._discrete import entropy as entropy
    from unsnarl.information._discrete import joint_entropy as joint_entropy
    from unsnarl.information._distances import gaussian_affinity as gaussian_affinity
    from unsnarl.information._distances import neighbor_adjacency as neighbor_adjacency
    from unsnarl.information._distances import squared_distance_blocks as squared_distance_blocks
    from unsnarl.information._divergences import bhattacharyya_coefficient as bhattacharyya_coefficient
    from unsnarl.information._divergences import hellinger_distance as hellinger_distance
    from unsnarl.information._divergences import jeffreys_divergence as jeffreys_divergence
    from unsnarl.information._divergences import js_divergence as js_divergence
    from unsnarl.information._divergences import kl_divergence as kl_divergence
    from unsnarl.information._divergences import kl_from_logits as kl_from_logits
    from unsnarl.information._divergences import renyi_divergence as renyi_divergence
    from unsnarl.information._divergences import total_variation as total_variation
    from unsnarl.information._gaussian import gaussian_entropy as gaussian_entropy
    from unsnarl.information._gaussian import gaussian_mutual_information as gaussian_mutual_information
    from unsnarl.information._gaussian import gaussian_total_correlation as gaussian_total_correlation
    from unsnarl.information._gaussian import gaussian_wasserstein_correlation as gaussian_wasserstein_correlation
    from unsnarl.information._kde_entropy import kde_bandwidth as kde_bandwidth
    from unsnarl.information._kde_entropy import kde_entropy as kde_entropy
    from unsnarl.information._kernel import centered_kernel_alignment as centered_kernel_alignment
    from unsnarl.information._kernel import hsic as hsic
    from unsnarl.information._kernel import pairwise_hsic as pairwise_hsic
    from unsnarl.information._knn_entropy import knn_entropy as knn_entropy
    from unsnarl.information._log_snr_quadrature import LogSNRQuadrature as LogSNRQuadrature
    from unsnarl.information._log_snr_quadrature import log_snr_quadrature as log_snr_quadrature
    from unsnarl.information._mutual_information import ShuffledBaseline as ShuffledBaseline
    from unsnarl.information._mutual_information import mutual_information as mutual_information
    from unsnarl.information._mutual_information import shuffled_baseline as shuffled_baseline
    from unsnarl.information._overlap import overlap_index as overlap_index
    from unsnarl.information._pairwise import pairwise_mutual_information as pairwise_mutual_information
    from unsnarl.information._pointwise_pid import PIDTerms as PIDTerms
    from unsnarl.information._pointwise_pid import pid_levels as pid_levels
    from unsnarl.information._pointwise_pid import pointwise_pid as pointwise_pid
    from unsnarl.information._predictive_uncertainty import PredictiveUncertainty as PredictiveUncertainty
    from unsnarl.information._predictive_uncertainty import predictive_uncertainty as predictive_uncertainty
    from unsnarl.information._reliability import EstimatorWarning as EstimatorWarning
    from unsnarl.information._size_matched import MatchedInformation as MatchedInformation
    from unsnarl.information._size_matched import size_matched_information as size_matched_information
    from unsnarl.information._spectrum import effective_rank as effective_rank
    from unsnarl.information._spectrum import entropy_of_shares as entropy_of_shares
    from unsnarl.information._spectrum import participation_ratio as participation_ratio
    from unsnarl.information._spectrum import spectral_entropy as spectral_entropy
    from unsnarl.information._total_correlation import total_correlation as total_correlation
    from unsnarl.information._weighted_entropy import EntropyEstimate as EntropyEstimate
    from unsnarl.information._weighted_entropy import weighted_entropy as weighted_entropy

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DenoiserInformation": "._denoiser_information",
        "DiffusionEntropy": "._diffusion_spectral",
        "EntropyEstimate": "._weighted_entropy",
        "EstimatorWarning": "._reliability",
        "LogSNRQuadrature": "._log_snr_quadrature",
        "MatchedInformation": "._size_matched",
        "PIDTerms": "._pointwise_pid",
        "PredictiveUncertainty": "._predictive_uncertainty",
        "ShuffledBaseline": "._mutual_information",
        "SpectralInformation": "._diffusion_mi",
        "adjacency_spectral_entropy": "._diffusion_spectral",
        "adjacency_spectral_mi": "._diffusion_mi",
        "approximate_diffusion_entropy": "._diffusion_large",
        "bhattacharyya_coefficient": "._divergences",
        "binned_entropy": "._binned",
        "binned_mi": "._binned",
        "centered_kernel_alignment": "._kernel",
        "column_entropies": "._discrete",
        "conditional_entropy": "._discrete",
        "conditional_mutual_information": "._discrete",
        "diffusion_entry_entropy": "._diffusion_spectral",
        "diffusion_gaps": "._denoiser_information",
        "diffusion_mi": "._denoiser_information",
        "diffusion_spectral_entropy": "._diffusion_spectral",
        "diffusion_spectral_mi": "._diffusion_mi",
        "effective_rank": "._spectrum",
        "entropy": "._discrete",
        "entropy_of_shares": "._spectrum",
        "equal_width_bins": "._binning",
        "gaussian_affinity": "._distances",
        "gaussian_entropy": "._gaussian",
        "gaussian_mutual_information": "._gaussian",
        "gaussian_total_correlation": "._gaussian",
        "gaussian_wasserstein_correlation": "._gaussian",
        "hellinger_distance": "._divergences",
        "hsic": "._kernel",
        "jackknife_error": "._denoiser_information",
        "jeffreys_divergence": "._divergences",
        "joint_entropy": "._discrete",
        "js_divergence": "._divergences",
        "kde_bandwidth": "._kde_entropy",
        "kde_entropy": "._kde_entropy",
        "kl_divergence": "._divergences",
        "kl_from_logits": "._divergences",
        "knn_entropy": "._knn_entropy",
        "log_snr_quadrature": "._log_snr_quadrature",
        "mutual_information": "._mutual_information",
        "neighbor_adjacency": "._distances",
        "overlap_index": "._overlap",
        "pairwise_hsic": "._kernel",
        "pairwise_mutual_information": "._pairwise",
        "participation_ratio": "._spectrum",
        "pid_levels": "._pointwise_pid",
        "pointwise_pid": "._pointwise_pid",
        "predictive_uncertainty": "._predictive_uncertainty",
        "reference_categories": "._diffusion_mi",
        "renyi_divergence": "._divergences",
        "shuffled_baseline": "._mutual_information",
        "size_matched_information": "._size_matched",
        "spectral_entropy": "._spectrum",
        "squared_distance_blocks": "._distances",
        "total_correlation": "._total_correlation",
        "total_variation": "._divergences",
        "weighted_entropy": "._weighted_entropy",
    },
)
