"""Mutual information of high-dimensional variables through lossy compression, and the information plane of a network.

Butakov et al. 2024, "Information Bottleneck Analysis of Deep Neural Networks via Lossy Compression" (arXiv 2305.08013).
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.measures.lossy._compressors import AutoencoderCompressor as AutoencoderCompressor
    from unsnarl.measures.lossy._compressors import FirstCoordinates as FirstCoordinates
    from unsnarl.measures.lossy._compressors import PCACompressor as PCACompressor
    from unsnarl.measures.lossy._lossy import LossyMutualInformation as LossyMutualInformation
    from unsnarl.measures.lossy._lossy import MutualInformation as MutualInformation
    from unsnarl.measures.lossy._lossy import code_information as code_information
    from unsnarl.measures.lossy._mine import MineEstimate as MineEstimate
    from unsnarl.measures.lossy._mine import StatisticsNetwork as StatisticsNetwork
    from unsnarl.measures.lossy._mine import mine_mutual_information as mine_mutual_information
    from unsnarl.measures.lossy._plane import InformationPlane as InformationPlane
    from unsnarl.measures.lossy._smoothing import smooth_curve as smooth_curve

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AutoencoderCompressor": "._compressors",
        "FirstCoordinates": "._compressors",
        "InformationPlane": "._plane",
        "LossyMutualInformation": "._lossy",
        "MineEstimate": "._mine",
        "MutualInformation": "._lossy",
        "PCACompressor": "._compressors",
        "StatisticsNetwork": "._mine",
        "code_information": "._lossy",
        "mine_mutual_information": "._mine",
        "smooth_curve": "._smoothing",
    },
)
