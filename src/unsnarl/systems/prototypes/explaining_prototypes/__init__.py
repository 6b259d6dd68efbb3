"""Why a patch and a prototype count as alike: scores of hue, shape, texture, contrast, saturation, brightness (Nauta et al. 2021)."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.prototypes.explaining_prototypes._compare import compare_scores as compare_scores
    from unsnarl.systems.prototypes.explaining_prototypes._explainer import PrototypeExplainer as PrototypeExplainer
    from unsnarl.systems.prototypes.explaining_prototypes._explainer import PrototypeReasons as PrototypeReasons
    from unsnarl.systems.prototypes.explaining_prototypes._explainer import explain_prototypes as explain_prototypes
    from unsnarl.systems.prototypes.explaining_prototypes._local import local_scores as local_scores
    from unsnarl.systems.prototypes.explaining_prototypes._pairs import misleading_pairs as misleading_pairs
    from unsnarl.systems.prototypes.explaining_prototypes._pairs import redundant_pairs as redundant_pairs

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "PrototypeExplainer": "._explainer",
        "PrototypeReasons": "._explainer",
        "compare_scores": "._compare",
        "explain_prototypes": "._explainer",
        "local_scores": "._local",
        "misleading_pairs": "._pairs",
        "redundant_pairs": "._pairs",
    },
)
