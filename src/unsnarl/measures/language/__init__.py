"""Measures of a causal language model seen as a chain of kernels: context -> hidden state -> next token.

How random its head is, how much a hidden state knows beyond the next token, which directions of it the prediction feels,
and how closely its geometry follows what is predicted (Zhang 2025, arXiv 2507.19247). `analyse_lm` measures all of it.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.measures.language._alignment import DistanceAgreement as DistanceAgreement
    from unsnarl.measures.language._alignment import SpectralAlignment as SpectralAlignment
    from unsnarl.measures.language._alignment import dirichlet_energy as dirichlet_energy
    from unsnarl.measures.language._alignment import distance_agreement as distance_agreement
    from unsnarl.measures.language._alignment import spectral_alignment as spectral_alignment
    from unsnarl.measures.language._analyse import analyse_lm as analyse_lm
    from unsnarl.measures.language._entropy import categorical_entropy as categorical_entropy
    from unsnarl.measures.language._entropy import entropy_convergence as entropy_convergence
    from unsnarl.measures.language._entropy import pinsker_check as pinsker_check
    from unsnarl.measures.language._heads import LanguageHead as LanguageHead
    from unsnarl.measures.language._heads import check_head_input as check_head_input
    from unsnarl.measures.language._kernels import predictive_kernel as predictive_kernel
    from unsnarl.measures.language._language_report import LanguageReport as LanguageReport
    from unsnarl.measures.language._load import load_language_model as load_language_model
    from unsnarl.measures.language._metric import MetricSpectrum as MetricSpectrum
    from unsnarl.measures.language._metric import fisher_length as fisher_length
    from unsnarl.measures.language._metric import integrated_separation as integrated_separation
    from unsnarl.measures.language._metric import metric_coordinates as metric_coordinates
    from unsnarl.measures.language._metric import metric_spectrum as metric_spectrum
    from unsnarl.measures.language._metric import pullback_metric as pullback_metric
    from unsnarl.measures.language._opened import open_model as open_model
    from unsnarl.measures.language._surplus import information_surplus as information_surplus
    from unsnarl.measures.language._windows import read_texts as read_texts

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DistanceAgreement": "._alignment",
        "LanguageHead": "._heads",
        "LanguageReport": "._language_report",
        "MetricSpectrum": "._metric",
        "SpectralAlignment": "._alignment",
        "analyse_lm": "._analyse",
        "categorical_entropy": "._entropy",
        "check_head_input": "._heads",
        "dirichlet_energy": "._alignment",
        "distance_agreement": "._alignment",
        "entropy_convergence": "._entropy",
        "fisher_length": "._metric",
        "information_surplus": "._surplus",
        "integrated_separation": "._metric",
        "load_language_model": "._load",
        "metric_coordinates": "._metric",
        "metric_spectrum": "._metric",
        "open_model": "._opened",
        "pinsker_check": "._entropy",
        "predictive_kernel": "._kernels",
        "pullback_metric": "._metric",
        "read_texts": "._windows",
        "spectral_alignment": "._alignment",
    },
)
