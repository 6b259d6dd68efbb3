"""Classifiers that compare with prototypes, and explanations of why two things count as alike."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.prototypes.explaining_prototypes import PrototypeExplainer as PrototypeExplainer
    from unsnarl.systems.prototypes.explaining_prototypes import PrototypeReasons as PrototypeReasons
    from unsnarl.systems.prototypes.explaining_prototypes import explain_prototypes as explain_prototypes
    from unsnarl.systems.prototypes.prob_psenn import ProbPSENN as ProbPSENN
    from unsnarl.systems.prototypes.prob_psenn import PrototypeExplanation as PrototypeExplanation
    from unsnarl.systems.prototypes.protopnet import ProtoPNet as ProtoPNet

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ProbPSENN": ".prob_psenn",
        "ProtoPNet": ".protopnet",
        "PrototypeExplainer": ".explaining_prototypes",
        "PrototypeExplanation": ".prob_psenn",
        "PrototypeReasons": ".explaining_prototypes",
        "explain_prototypes": ".explaining_prototypes",
    },
)
