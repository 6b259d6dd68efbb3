"""Disentangled-language-focused fusion of text, audio and vision (Wang et al. 2025, arXiv 2412.12225).

`DLF` learns, predicts, takes apart and explains; `DLFNetwork` and `dlf_losses` are its network and losses for other loops.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.multimodal.dlf._dlf import DLF as DLF
    from unsnarl.systems.multimodal.dlf._dlf import PRESETS as PRESETS
    from unsnarl.systems.multimodal.dlf._dlf import DLFTask as DLFTask
    from unsnarl.systems.multimodal.dlf._explain import DLFExplanation as DLFExplanation
    from unsnarl.systems.multimodal.dlf._explain import shapley as shapley
    from unsnarl.systems.multimodal.dlf._losses import LossWeights as LossWeights
    from unsnarl.systems.multimodal.dlf._losses import dlf_losses as dlf_losses
    from unsnarl.systems.multimodal.dlf._network import DLFNetwork as DLFNetwork
    from unsnarl.systems.multimodal.dlf._network import DLFOutput as DLFOutput

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DLF": "._dlf",
        "DLFExplanation": "._explain",
        "DLFNetwork": "._network",
        "DLFOutput": "._network",
        "DLFTask": "._dlf",
        "LossWeights": "._losses",
        "PRESETS": "._dlf",
        "dlf_losses": "._losses",
        "shapley": "._explain",
    },
)
