"""Observations and the factors that made them: data sets, simulators with exact counterfactuals, file readers."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.data._dataset import FactorDataset as FactorDataset
    from unsnarl.data._factors import FactorTable as FactorTable
    from unsnarl.data._factors import infer_kind as infer_kind
    from unsnarl.data._simulator import Simulator as Simulator

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "FactorDataset": "._dataset",
        "FactorTable": "._factors",
        "Simulator": "._simulator",
        "infer_kind": "._factors",
    },
)
