"""Scores of how separated things are: codes and factors in, numbers with intervals out.

Every measure is a function of plain arrays, `measure(codes, factors)`; each says in its docstring what it estimates and
how, what it costs, how it depends on the number of latents, and where it differs from the published code.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.measures._active import LatentTypes as LatentTypes
    from unsnarl.measures._active import classify_latents as classify_latents
    from unsnarl.measures._active import prune as prune
    from unsnarl.measures._beta_vae import beta_vae_score as beta_vae_score
    from unsnarl.measures._dci import dci as dci
    from unsnarl.measures._factor_vae import factor_vae_score as factor_vae_score
    from unsnarl.measures._gap import mutual_information_gap as mutual_information_gap
    from unsnarl.measures._infomec import infomec as infomec
    from unsnarl.measures._irs import irs as irs
    from unsnarl.measures._mean_and_sampled import representation_report as representation_report
    from unsnarl.measures._mean_and_sampled import sample_codes as sample_codes
    from unsnarl.measures._mean_and_sampled import tc_gap as tc_gap
    from unsnarl.measures._measure import measure as measure
    from unsnarl.measures._measure_report import MeasureReport as MeasureReport
    from unsnarl.measures._measure_table import measure_names as measure_names
    from unsnarl.measures._modality_shares import modality_shares as modality_shares
    from unsnarl.measures._modularity import modularity_explicitness as modularity_explicitness
    from unsnarl.measures._passive_tracker import PassiveTracker as PassiveTracker
    from unsnarl.measures._passive_tracker import gaussian_posterior as gaussian_posterior
    from unsnarl.measures._probe import linear_probe as linear_probe
    from unsnarl.measures._sap import sap as sap
    from unsnarl.measures._scores import Score as Score
    from unsnarl.measures._scores import Scores as Scores
    from unsnarl.measures._scores import half_sample_intervals as half_sample_intervals
    from unsnarl.measures._sentiment import sentiment_scores as sentiment_scores
    from unsnarl.measures._shared_value import simulator_sampler as simulator_sampler
    from unsnarl.measures._torchmetrics import LatentFactorMetric as LatentFactorMetric
    from unsnarl.measures._whole_code import diffusion_spectral as diffusion_spectral
    from unsnarl.measures._whole_code import dimensionality as dimensionality
    from unsnarl.measures._whole_code import lossy_information as lossy_information
    from unsnarl.measures.epiplexity import EpiplexityFrontier as EpiplexityFrontier
    from unsnarl.measures.epiplexity import epiplexity_from_scaling_law as epiplexity_from_scaling_law
    from unsnarl.measures.epiplexity import estimate_epiplexity as estimate_epiplexity
    from unsnarl.measures.epiplexity import prequential_bits as prequential_bits
    from unsnarl.measures.epiplexity import rank_files as rank_files
    from unsnarl.measures.language import LanguageReport as LanguageReport
    from unsnarl.measures.language import SpectralAlignment as SpectralAlignment
    from unsnarl.measures.language import analyse_lm as analyse_lm
    from unsnarl.measures.language import categorical_entropy as categorical_entropy
    from unsnarl.measures.language import information_surplus as information_surplus
    from unsnarl.measures.language import load_language_model as load_language_model
    from unsnarl.measures.language import predictive_kernel as predictive_kernel
    from unsnarl.measures.language import pullback_metric as pullback_metric
    from unsnarl.measures.language import spectral_alignment as spectral_alignment
    from unsnarl.measures.lossy import InformationPlane as InformationPlane
    from unsnarl.measures.lossy import LossyMutualInformation as LossyMutualInformation
    from unsnarl.measures.lossy import mine_mutual_information as mine_mutual_information
    from unsnarl.measures.monitor import RepresentationMonitor as RepresentationMonitor
    from unsnarl.measures.superposition import AdversarialSuperpositionStudy as AdversarialSuperpositionStudy
    from unsnarl.measures.superposition import SuperpositionResult as SuperpositionResult
    from unsnarl.measures.superposition import effective_features as effective_features
    from unsnarl.measures.superposition import measure_superposition as measure_superposition

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AdversarialSuperpositionStudy": ".superposition",
        "EpiplexityFrontier": ".epiplexity",
        "InformationPlane": ".lossy",
        "LanguageReport": ".language",
        "LatentFactorMetric": "._torchmetrics",
        "LatentTypes": "._active",
        "LossyMutualInformation": ".lossy",
        "MeasureReport": "._measure_report",
        "PassiveTracker": "._passive_tracker",
        "RepresentationMonitor": ".monitor",
        "Score": "._scores",
        "Scores": "._scores",
        "SpectralAlignment": ".language",
        "SuperpositionResult": ".superposition",
        "analyse_lm": ".language",
        "beta_vae_score": "._beta_vae",
        "categorical_entropy": ".language",
        "classify_latents": "._active",
        "dci": "._dci",
        "diffusion_spectral": "._whole_code",
        "dimensionality": "._whole_code",
        "effective_features": ".superposition",
        "epiplexity_from_scaling_law": ".epiplexity",
        "estimate_epiplexity": ".epiplexity",
        "factor_vae_score": "._factor_vae",
        "gaussian_posterior": "._passive_tracker",
        "half_sample_intervals": "._scores",
        "infomec": "._infomec",
        "information_surplus": ".language",
        "irs": "._irs",
        "linear_probe": "._probe",
        "load_language_model": ".language",
        "lossy_information": "._whole_code",
        "measure": "._measure",
        "measure_names": "._measure_table",
        "measure_superposition": ".superposition",
        "mine_mutual_information": ".lossy",
        "modality_shares": "._modality_shares",
        "modularity_explicitness": "._modularity",
        "mutual_information_gap": "._gap",
        "predictive_kernel": ".language",
        "prequential_bits": ".epiplexity",
        "prune": "._active",
        "pullback_metric": ".language",
        "rank_files": ".epiplexity",
        "representation_report": "._mean_and_sampled",
        "sample_codes": "._mean_and_sampled",
        "sap": "._sap",
        "sentiment_scores": "._sentiment",
        "simulator_sampler": "._shared_value",
        "spectral_alignment": ".language",
        "tc_gap": "._mean_and_sampled",
    },
)
