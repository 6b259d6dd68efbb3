"""Prototypes: learned points or distributions that inputs are compared with."""

from unsnarl.nn.prototypes._gaussian import GaussianPrototypes
from unsnarl.nn.prototypes._points import (
    NearestPatches,
    PointPrototypes,
    cluster_cost,
    other_class_l1,
    separation_cost,
)

__all__ = [
    "GaussianPrototypes",
    "NearestPatches",
    "PointPrototypes",
    "cluster_cost",
    "other_class_l1",
    "separation_cost",
]
