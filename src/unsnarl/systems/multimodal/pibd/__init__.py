"""Prototypical information bottlenecks and disentangling for survival (Zhang et al. 2024, arXiv 2401.01646).

`PIBD` is the learner; the parts (`PrototypicalBottleneck`, `DisentanglingLayer`, `PIBDNetwork`) are plain modules.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.multimodal.pibd._bottleneck import PrototypicalBottleneck as PrototypicalBottleneck
    from unsnarl.systems.multimodal.pibd._disentangle import DisentanglingLayer as DisentanglingLayer
    from unsnarl.systems.multimodal.pibd._disentangle import SharedInformation as SharedInformation
    from unsnarl.systems.multimodal.pibd._explain import PatientExplanation as PatientExplanation
    from unsnarl.systems.multimodal.pibd._learner import PIBD as PIBD
    from unsnarl.systems.multimodal.pibd._network import PIBDNetwork as PIBDNetwork

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "PIBD": "._learner",
        "DisentanglingLayer": "._disentangle",
        "PIBDNetwork": "._network",
        "PatientExplanation": "._explain",
        "PrototypicalBottleneck": "._bottleneck",
        "SharedInformation": "._disentangle",
    },
)
