"""Data whose answer is known exactly: pairs of given mutual information, sources of known entropy, sparse features."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.data.known._automata import CellularAutomaton as CellularAutomaton
    from unsnarl.data.known._automata import evolve as evolve
    from unsnarl.data.known._hidden_markov import HiddenMarkovSource as HiddenMarkovSource
    from unsnarl.data.known._hidden_markov import hidden_source as hidden_source
    from unsnarl.data.known._markov import MarkovSource as MarkovSource
    from unsnarl.data.known._markov import prototype_source as prototype_source
    from unsnarl.data.known._pairs import gaussian_pair as gaussian_pair
    from unsnarl.data.known._pairs import image_pair as image_pair
    from unsnarl.data.known._sparse_features import SparseParity as SparseParity
    from unsnarl.data.known._sparse_features import sparse_features as sparse_features
    from unsnarl.data.known._sparse_features import sparse_parity as sparse_parity
    from unsnarl.data.known._token_source import TokenSource as TokenSource

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CellularAutomaton": "._automata",
        "HiddenMarkovSource": "._hidden_markov",
        "MarkovSource": "._markov",
        "SparseParity": "._sparse_features",
        "TokenSource": "._token_source",
        "evolve": "._automata",
        "gaussian_pair": "._pairs",
        "hidden_source": "._hidden_markov",
        "image_pair": "._pairs",
        "prototype_source": "._markov",
        "sparse_features": "._sparse_features",
        "sparse_parity": "._sparse_features",
    },
)
