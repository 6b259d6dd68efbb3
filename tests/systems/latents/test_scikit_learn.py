"""scikit-learn's own checks of estimators, on plain tables."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from unsnarl.nn import Architecture
from unsnarl.systems.latents import AE, QLAE, VAE

TINY: dict[str, Any] = {"steps": 5, "network": Architecture(kind="dense", hidden=(4,))}
CANNOT_APPLY = {
    "check_dtype_object": "object arrays are refused everywhere in this library: they hold mixed or pickled values",
    "check_do_not_raise_errors_in_init_or_set_params": "passes, except where the annotations are enforced, as in these tests",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # read-only memory maps
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]


@parametrize_with_checks(
    [AE(latents=2, **TINY), QLAE(latents=2, levels=3, **TINY), VAE(latents=2, **TINY)],
    expected_failed_checks=lambda estimator: CANNOT_APPLY,
)
def test_estimator(estimator: Any, check: Any):
    check(estimator)
