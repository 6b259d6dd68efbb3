"""What the zoo's models must do before a claim that stands on them counts."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.claims.gates._check import check_model as check_model
    from unsnarl.claims.gates._check import check_zoo as check_zoo
    from unsnarl.claims.gates._check import unmet_gates as unmet_gates
    from unsnarl.claims.gates._gate import Gate as Gate

__getattr__, __dir__, __all__ = attach(
    __name__, {"Gate": "._gate", "check_model": "._check", "check_zoo": "._check", "unmet_gates": "._check"}
)
