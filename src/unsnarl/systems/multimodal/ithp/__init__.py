"""Information-theoretic hierarchical perception (Xiao et al. 2024, arXiv 2404.09403).

`ITHP` is the chain of bottlenecks as a module, `ITHPRegressor` the learner on a text host or on arrays.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.multimodal.ithp._bottleneck import ITHP as ITHP
    from unsnarl.systems.multimodal.ithp._bottleneck import ITHPOutput as ITHPOutput
    from unsnarl.systems.multimodal.ithp._explanation import PerceptionExplanation as PerceptionExplanation
    from unsnarl.systems.multimodal.ithp._regressor import ITHPRegressor as ITHPRegressor

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ITHP": "._bottleneck",
        "ITHPOutput": "._bottleneck",
        "ITHPRegressor": "._regressor",
        "PerceptionExplanation": "._explanation",
    },
)
