"""Learners of several modalities: survival from slides and genes, sentiment from text, voice and face."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.multimodal._concat_fusion import ConcatFusionRegressor as ConcatFusionRegressor
    from unsnarl.systems.multimodal._concat_fusion import PrimeOnlyRegressor as PrimeOnlyRegressor
    from unsnarl.systems.multimodal._late_fusion import LateFusionSurvival as LateFusionSurvival
    from unsnarl.systems.multimodal._symmetric_fusion import SequenceConcat as SequenceConcat
    from unsnarl.systems.multimodal._symmetric_fusion import SymmetricMulT as SymmetricMulT
    from unsnarl.systems.multimodal.dlf import DLF as DLF
    from unsnarl.systems.multimodal.ithp import ITHP as ITHP
    from unsnarl.systems.multimodal.ithp import ITHPOutput as ITHPOutput
    from unsnarl.systems.multimodal.ithp import ITHPRegressor as ITHPRegressor
    from unsnarl.systems.multimodal.ithp import PerceptionExplanation as PerceptionExplanation
    from unsnarl.systems.multimodal.pibd import PIBD as PIBD

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ConcatFusionRegressor": "._concat_fusion",
        "DLF": ".dlf",
        "ITHP": ".ithp",
        "ITHPOutput": ".ithp",
        "ITHPRegressor": ".ithp",
        "LateFusionSurvival": "._late_fusion",
        "PIBD": ".pibd",
        "PerceptionExplanation": ".ithp",
        "PrimeOnlyRegressor": "._concat_fusion",
        "SequenceConcat": "._symmetric_fusion",
        "SymmetricMulT": "._symmetric_fusion",
    },
)
