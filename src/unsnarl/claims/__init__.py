"""Experiments: each pits a system against its natural, fairly tuned baseline and gives numbers and a verdict."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.claims._bench import ClaimError as ClaimError
    from unsnarl.claims._claim import Arm as Arm
    from unsnarl.claims._claim import Claim as Claim
    from unsnarl.claims._claim import Row as Row
    from unsnarl.claims._claim import Tuning as Tuning
    from unsnarl.claims._context import Context as Context
    from unsnarl.claims._engine import available_claims as available_claims
    from unsnarl.claims._engine import load_claim as load_claim
    from unsnarl.claims._engine import run_claim as run_claim
    from unsnarl.claims._record import check_record as check_record
    from unsnarl.claims._record import read_record as read_record
    from unsnarl.claims._record import write_record as write_record
    from unsnarl.claims._statistics import paired_gains as paired_gains
    from unsnarl.claims._statistics import paired_interval as paired_interval
    from unsnarl.claims._statistics import verdict as verdict

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Arm": "._claim",
        "Claim": "._claim",
        "ClaimError": "._bench",
        "Context": "._context",
        "Row": "._claim",
        "Tuning": "._claim",
        "available_claims": "._engine",
        "check_record": "._record",
        "load_claim": "._engine",
        "paired_gains": "._statistics",
        "paired_interval": "._statistics",
        "read_record": "._record",
        "run_claim": "._engine",
        "verdict": "._statistics",
        "write_record": "._record",
    },
)
