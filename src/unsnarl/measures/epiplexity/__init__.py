"""Epiplexity: how much structure learners of bounded compute find in data, and how much stays random to them.

Finzi, Qiu, Jiang, Izmailov, Kolter and Wilson, "From Entropy to Epiplexity", 2026, arXiv 2601.03220.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.measures.epiplexity._estimate import estimate_epiplexity as estimate_epiplexity
    from unsnarl.measures.epiplexity._frontier import Epiplexity as Epiplexity
    from unsnarl.measures.epiplexity._frontier import EpiplexityFrontier as EpiplexityFrontier
    from unsnarl.measures.epiplexity._frontier import common_budget as common_budget
    from unsnarl.measures.epiplexity._hull import lower_hull as lower_hull
    from unsnarl.measures.epiplexity._prequential import prequential_bits as prequential_bits
    from unsnarl.measures.epiplexity._rank import EpiplexityRanking as EpiplexityRanking
    from unsnarl.measures.epiplexity._rank import rank_files as rank_files
    from unsnarl.measures.epiplexity._scaling_law import ComputeOptimalFit as ComputeOptimalFit
    from unsnarl.measures.epiplexity._scaling_law import ScalingLawEpiplexity as ScalingLawEpiplexity
    from unsnarl.measures.epiplexity._scaling_law import epiplexity_from_scaling_law as epiplexity_from_scaling_law
    from unsnarl.measures.epiplexity._sources import read_dataset as read_dataset
    from unsnarl.measures.epiplexity._sources import read_tokens as read_tokens
    from unsnarl.measures.epiplexity._sources import tokenize as tokenize
    from unsnarl.measures.epiplexity._tokens import TokenRows as TokenRows
    from unsnarl.measures.epiplexity._tokens import as_token_rows as as_token_rows
    from unsnarl.measures.epiplexity._tokens import pair_rows as pair_rows

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ComputeOptimalFit": "._scaling_law",
        "Epiplexity": "._frontier",
        "EpiplexityFrontier": "._frontier",
        "EpiplexityRanking": "._rank",
        "ScalingLawEpiplexity": "._scaling_law",
        "TokenRows": "._tokens",
        "as_token_rows": "._tokens",
        "common_budget": "._frontier",
        "epiplexity_from_scaling_law": "._scaling_law",
        "estimate_epiplexity": "._estimate",
        "lower_hull": "._hull",
        "pair_rows": "._tokens",
        "prequential_bits": "._prequential",
        "rank_files": "._rank",
        "read_dataset": "._sources",
        "read_tokens": "._sources",
        "tokenize": "._sources",
    },
)
