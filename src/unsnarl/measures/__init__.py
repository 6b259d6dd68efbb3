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
    from unsnarl.measures._modularity import modularity_explicitness as modularity_explicitness
    from unsnarl.measures._passive_tracker import PassiveTracker as PassiveTracker
    from unsnarl.measures._passive_tracker import gaussian_posterior as gaussian_posterior
    from unsnarl.measures._sap import sap as sap
    from unsnarl.measures._scores import Score as Score
    from unsnarl.measures._scores import Scores as Scores
    from unsnarl.measures._scores import half_sample_intervals as half_sample_intervals
    from unsnarl.measures._shared_value import simulator_sampler as simulator_sampler
    from unsnarl.measures._torchmetrics import LatentFactorMetric as LatentFactorMetric

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "LatentFactorMetric": "._torchmetrics",
        "LatentTypes": "._active",
        "MeasureReport": "._measure_report",
        "PassiveTracker": "._passive_tracker",
        "Score": "._scores",
        "Scores": "._scores",
        "beta_vae_score": "._beta_vae",
        "classify_latents": "._active",
        "dci": "._dci",
        "factor_vae_score": "._factor_vae",
        "gaussian_posterior": "._passive_tracker",
        "half_sample_intervals": "._scores",
        "infomec": "._infomec",
        "irs": "._irs",
        "measure": "._measure",
        "measure_names": "._measure_table",
        "modularity_explicitness": "._modularity",
        "mutual_information_gap": "._gap",
        "prune": "._active",
        "representation_report": "._mean_and_sampled",
        "sample_codes": "._mean_and_sampled",
        "sap": "._sap",
        "simulator_sampler": "._shared_value",
        "tc_gap": "._mean_and_sampled",
    },
)
