"""Patients with a time, an event and several modalities: real sets, simulated slides, and folders of features.

`load_survival` for a set by name, `simulate_bags` for slides whose true risk is known, `load_tcga` for folders as pathology
groups keep them; all give a `SurvivalData`.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.data.survival._clusters import correlation_clusters as correlation_clusters
    from unsnarl.data.survival._encode import TableEncoder as TableEncoder
    from unsnarl.data.survival._feature_files import read_features as read_features
    from unsnarl.data.survival._load_survival import load_survival as load_survival
    from unsnarl.data.survival._load_survival import survival_sets as survival_sets
    from unsnarl.data.survival._simulate import simulate_bags as simulate_bags
    from unsnarl.data.survival._survival_data import SurvivalData as SurvivalData
    from unsnarl.data.survival._tcga import load_tcga as load_tcga
    from unsnarl.data.survival._tcga import read_pathways as read_pathways

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "SurvivalData": "._survival_data",
        "TableEncoder": "._encode",
        "correlation_clusters": "._clusters",
        "load_survival": "._load_survival",
        "load_tcga": "._tcga",
        "read_features": "._feature_files",
        "read_pathways": "._tcga",
        "simulate_bags": "._simulate",
        "survival_sets": "._load_survival",
    },
)
