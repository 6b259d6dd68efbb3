"""How well risks and survival curves fit what happened to patients, with censoring, through scikit-survival."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.measures.survival._baselines import ForestSurvival as ForestSurvival
    from unsnarl.measures.survival._baselines import RidgeCox as RidgeCox
    from unsnarl.measures.survival._bins import TimeBins as TimeBins
    from unsnarl.measures.survival._bins import bin_times as bin_times
    from unsnarl.measures.survival._bins import time_bins as time_bins
    from unsnarl.measures.survival._concordance import concordance as concordance
    from unsnarl.measures.survival._concordance import dynamic_auc as dynamic_auc
    from unsnarl.measures.survival._concordance import integrated_brier as integrated_brier
    from unsnarl.measures.survival._cross_validation import compare_folds as compare_folds
    from unsnarl.measures.survival._cross_validation import cross_predict_survival as cross_predict_survival
    from unsnarl.measures.survival._cross_validation import cross_validate_survival as cross_validate_survival
    from unsnarl.measures.survival._cross_validation import ranks_within_folds as ranks_within_folds
    from unsnarl.measures.survival._cross_validation import summarize_folds as summarize_folds
    from unsnarl.measures.survival._cross_validation import survival_folds as survival_folds
    from unsnarl.measures.survival._kaplan_meier import KaplanMeier as KaplanMeier
    from unsnarl.measures.survival._kaplan_meier import RiskGroups as RiskGroups
    from unsnarl.measures.survival._kaplan_meier import kaplan_meier as kaplan_meier
    from unsnarl.measures.survival._kaplan_meier import log_rank as log_rank
    from unsnarl.measures.survival._kaplan_meier import risk_groups as risk_groups

_FOLDS = ("compare_folds", "cross_predict_survival", "cross_validate_survival", "ranks_within_folds")

__getattr__, __dir__, __all__ = attach(
    __name__,
    dict.fromkeys(("ForestSurvival", "RidgeCox"), "._baselines")
    | dict.fromkeys(("TimeBins", "bin_times", "time_bins"), "._bins")
    | dict.fromkeys(("concordance", "dynamic_auc", "integrated_brier"), "._concordance")
    | dict.fromkeys((*_FOLDS, "summarize_folds", "survival_folds"), "._cross_validation")
    | dict.fromkeys(("KaplanMeier", "RiskGroups", "kaplan_meier", "log_rank", "risk_groups"), "._kaplan_meier"),
)
