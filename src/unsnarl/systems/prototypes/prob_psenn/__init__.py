"""Prob-PSENN: a classifier whose prototypes are distributions that can be decoded (Vadillo et al. 2024, arXiv 2403.13740)."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.prototypes.prob_psenn._explanation import PrototypeExplanation as PrototypeExplanation
    from unsnarl.systems.prototypes.prob_psenn._learner import ProbPSENN as ProbPSENN
    from unsnarl.systems.prototypes.prob_psenn._task import ProbPSENNTask as ProbPSENNTask

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "PrototypeExplanation": "._explanation",
        "ProbPSENN": "._learner",
        "ProbPSENNTask": "._task",
    },
)
