"""Very small data sets whose factors are known, and learners fitted on them once."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fitted_learners import fit_learner


@pytest.fixture(scope="session")
def fitted() -> Any:
    """Name of a learner -> the learner, fitted; kept for all tests, which must not change it."""
    return cache(fit_learner)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
