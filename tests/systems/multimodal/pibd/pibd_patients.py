"""Small simulated patients that the tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

from unsnarl.data.survival import SurvivalData, simulate_bags
from unsnarl.systems.multimodal.pibd import PIBD

SMALL: dict[str, Any] = {"z_dim": 8, "batch_size": 16, "epochs": 2, "club_hidden": 16, "samples": 5}


def simulated(n: int = 60, seed: int = 0, **options: Any) -> SurvivalData:
    return simulate_bags(n, seed=seed, **{"patches": (4, 9), "genes": 3, "pathways": 4, "features": 6, **options})


def small(**options: Any) -> PIBD:
    return PIBD(**{**SMALL, **options})


def arrays(data: SurvivalData) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    return list(data["patches"]), data.pathway_arrays("genes")
