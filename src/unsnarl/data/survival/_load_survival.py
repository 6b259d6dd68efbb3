"""The data sets that come with scikit-survival, as patients with modalities, and the simulator, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from unsnarl.arrays import check_choice
from unsnarl.data.survival._clusters import correlation_clusters
from unsnarl.data.survival._simulate import simulate_bags
from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import MissingExtraError, OptionError, UnknownNameError


def survival_sets() -> dict[str, str]:
    """The names `load_survival` knows, each with one line about the data.

    Examples:
        >>> survival_sets()["veterans"]
        '137 men with lung cancer, 6 clinical variables, death'
    """
    return {name: description for name, (_, description) in _SETS.items()}


def load_survival(name: str, **options: Any) -> SurvivalData:
    """A survival data set by name.

    The modality "clinical" holds what a doctor notes, "genes" what a chip measures. Nothing is scaled or filled in.

    Args:
        name: one of `survival_sets()`; "breast-cancer" and "breast_cancer" are the same.
        options: of the data set. Breast cancer: `pathways=8` groups the 76 genes by correlation, looking only at the patients
            `rows=` (inside a cross-validation, the training ones). AIDS: `endpoint="aids" | "death"`. BMT (`cause=1 | 2`) and cGVHD
            (`cause=1 | 2 | 3`): patients whose event had another cause are censored at its time. Simulation: those of
            `simulate_bags`.

    Raises:
        UnknownNameError: no such data set.
        OptionError: an option the data set does not have.
        MissingExtraError: scikit-survival is absent (the simulation does not need it).
    """
    known = str(name).lower().replace("-", "_")
    if known not in _SETS:
        raise UnknownNameError("survival data set", name, list(_SETS))
    function = _SETS[known][0]
    allowed = list(inspect.signature(function).parameters)
    for option in options:
        if option not in allowed:
            raise OptionError(f"{known} has no option {option!r}; its options are: {', '.join(allowed) or 'none'}")
    return function(**options)


def _bundled(loader: str, **options: Any) -> tuple[pd.DataFrame, Any]:
    try:
        import sksurv.datasets
    except ImportError:
        raise MissingExtraError("scikit-survival", "survival") from None
    return getattr(sksurv.datasets, loader)(**options)


def _breast_cancer(pathways: int | None = None, rows: Any = None) -> SurvivalData:
    frame, y = _bundled("load_breast_cancer")
    clinical = ["age", "er", "grade", "size"]
    genes = [c for c in frame.columns if c not in clinical]
    data = SurvivalData.of({"genes": frame[genes], "clinical": frame[clinical]}, y)
    if pathways is None:
        if rows is not None:
            raise OptionError("rows= says which patients the pathways are found on; give pathways= too")
        return data
    return data.with_pathways("genes", correlation_clusters(data["genes"], genes, pathways, rows=rows))


def _gbsg2() -> SurvivalData:
    return SurvivalData.of(*_bundled("load_gbsg2"))


def _whas500() -> SurvivalData:
    return SurvivalData.of(*_bundled("load_whas500"))


def _veterans() -> SurvivalData:
    return SurvivalData.of(*_bundled("load_veterans_lung_cancer"))


def _flchain() -> SurvivalData:
    frame, y = _bundled("load_flchain")
    # `chapter` is the cause of death: known only of those who died, it would give the outcome away. Creatinine was not
    # measured in 1,350 patients.
    return SurvivalData.of(frame.drop(columns="chapter"), y, may_be_missing=("clinical",))


def _aids(endpoint: str = "aids") -> SurvivalData:
    check_choice(endpoint, ("aids", "death"), "endpoint")
    return SurvivalData.of(*_bundled("load_aids", endpoint=endpoint))


def _bmt(cause: int = 1) -> SurvivalData:
    return _competing("load_bmt", cause)


def _cgvhd(cause: int = 1) -> SurvivalData:
    return _competing("load_cgvhd", cause)


def _competing(loader: str, cause: int) -> SurvivalData:
    frame, y = _bundled(loader)
    status, time = (y[name] for name in y.dtype.names)
    check_choice(cause, tuple(range(1, int(status.max()) + 1)), "cause")
    structured = np.empty(len(y), dtype=[("event", "?"), ("time", "<f8")])
    structured["event"], structured["time"] = status == cause, time
    return SurvivalData.of(frame, structured, truth={"other_cause": (status != 0) & (status != cause)})


_SETS: dict[str, tuple[Callable[..., SurvivalData], str]] = {
    "breast_cancer": (_breast_cancer, "198 women, 76 genes and 4 clinical variables, distant metastasis"),
    "gbsg2": (_gbsg2, "686 women with breast cancer, 8 clinical variables, recurrence or death"),
    "whas500": (_whas500, "500 patients after a heart attack, 14 clinical variables, death"),
    "veterans": (_veterans, "137 men with lung cancer, 6 clinical variables, death"),
    "flchain": (_flchain, "7,874 residents of a county, 8 variables of blood and age, death"),
    "aids": (_aids, "1,151 patients with HIV, 11 clinical variables, AIDS or death"),
    "bmt": (_bmt, "35 patients after a bone marrow transplant, 1 variable, two causes"),
    "cgvhd": (_cgvhd, "100 patients after a transplant, 4 variables, three causes"),
    "simulated": (simulate_bags, "patients with bags of patches and genes, true risk known (simulate_bags)"),
}
