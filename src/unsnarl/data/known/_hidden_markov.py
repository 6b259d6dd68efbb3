"""Hidden Markov models over tokens, with exact filtering and exact entropies of blocks."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Num

from unsnarl.arrays import check_choice, check_range, to_numpy
from unsnarl.data.known._token_source import (
    MOST_WORDS,
    TokenSource,
    Words,
    draw,
    generator_for,
    rows_of_probabilities,
    stationary_distribution,
    word_entropy,
)
from unsnarl.errors import DataError, OptionError


class HiddenMarkovSource(TokenSource):
    """A hidden Markov model: a chain of states, each of which gives one token.

    The state S_t moves by `transition`, then S_t gives W_t by `emission`. The belief b_t = P(S_t | W_1 .. W_(t-1)) is all
    that the past says about the future.

    Args:
        transition: (S, S) P(S_(t+1) | S_t), rows sum to 1.
        emission: (S, V) P(W_t | S_t), rows sum to 1.

    Attributes:
        vocabulary, states: V and S.
        transition, emission: as given, in float64.
        stationary: (S,) the probability of each state in the long run.

    Raises:
        DataError: not probabilities, shapes that do not fit, or states that split into several classes.

    >>> source = HiddenMarkovSource([[0.9, 0.1], [0.1, 0.9]], [[1.0, 0.0], [0.0, 1.0]])
    >>> round(source.entropy_rate(), 4), round(source.surplus(2, context=3), 6)
    (0.3251, 0.0)
    """

    def __init__(self, transition: Num[np.ndarray, "S S"] | Any, emission: Num[np.ndarray, "S V"] | Any):
        moves, gives = to_numpy(transition, "transition"), to_numpy(emission, "emission")
        if moves.ndim != 2 or moves.shape[0] != moves.shape[1]:
            raise DataError(f"transition must be (states, states), got shape {moves.shape}")
        if gives.ndim != 2 or len(gives) != len(moves) or gives.shape[1] == 0:
            raise DataError(f"emission must be ({len(moves)}, vocabulary), one row a state, got shape {gives.shape}")
        self.transition = rows_of_probabilities(moves, "transition")
        self.emission = rows_of_probabilities(gives, "emission")
        self.states, self.vocabulary = self.emission.shape
        from scipy import sparse

        self.stationary = stationary_distribution(sparse.csr_matrix(self.transition))
        self._joint = lru_cache(maxsize=4)(self._joint_words)

    def __getstate__(self) -> dict[str, Any]:  # the cache cannot be pickled
        return {name: value for name, value in vars(self).items() if name != "_joint"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._joint = lru_cache(maxsize=4)(self._joint_words)

    def _joint_words(self, length: int) -> Float[np.ndarray, "words states"]:
        """P(word, S after it), (V^length, S)."""
        if length == 0:
            return self.stationary[None, :]
        before = self._joint(length - 1)
        given = before[:, None, :] * self.emission.T[None]
        return (given @ self.transition).reshape(-1, self.states)

    def _words(self, length: int) -> Float[np.ndarray, " words"]:
        if length == 0:
            return np.ones(1)
        before = self._joint(length - 1)  # the last token needs no move of the state: fewer states to carry
        return (before @ self.emission).reshape(-1)

    def filter(self, sequences: Words | Any) -> Float[np.ndarray, "*batch length_plus_1 states"]:
        """The exact beliefs b_1 .. b_(length+1): P(S_t | W_1 .. W_(t-1)) before each token and after the last.

        Args:
            sequences: (*batch, length) tokens.

        Returns:
            (*batch, length + 1, states); the first is the stationary distribution.

        Raises:
            DataError: not tokens of this source, or a sequence that cannot occur.

        Cost: O(batch * length * states^2).
        """
        words = self._checked(sequences)
        beliefs = np.empty((*words.shape[:-1], words.shape[-1] + 1, self.states))
        belief = np.broadcast_to(self.stationary, (*words.shape[:-1], self.states))
        beliefs[..., 0, :] = belief
        for t in range(words.shape[-1]):
            joint = belief * self.emission.T[words[..., t]]
            total = joint.sum(axis=-1, keepdims=True)
            if (total <= 0).any():
                raise DataError("sequences holds a word that this source never gives")
            belief = (joint / total) @ self.transition
            beliefs[..., t + 1, :] = belief
        return beliefs

    def predict(self, contexts: Words | Any) -> Float[np.ndarray, "*batch vocabulary"]:
        """The exact distribution of the token after each context; errors as `filter`."""
        return self.filter(contexts)[..., -1, :] @ self.emission

    def entropy_rate_bounds(self, context: int) -> tuple[float, float]:
        """Bounds of the entropy rate: H(W | context, first state) <= rate <= H(W | context).

        Cover and Thomas 2006, theorem 4.5.1; both ends go to the rate as the context grows.

        Cost: O(V^(context + 1) states^2).
        """
        check_range(context, "context", low=0, integer=True)
        upper = self.conditional_entropy(context)
        # H(W_n | W_1 .. W_(n-1), S_1): the same enumeration from each state
        lower = 0.0
        for state, share in enumerate(self.stationary):
            start = np.eye(self.states)[state][None]
            for _ in range(context):
                start = ((start[:, None, :] * self.emission.T[None]) @ self.transition).reshape(-1, self.states)
            words = (start @ self.emission).reshape(-1)
            lower += float(share) * (word_entropy(words) - word_entropy(start.sum(axis=1)))
        return lower, upper

    def entropy_rate(self, tolerance: float = 1e-3) -> float:
        """The entropy rate in nats a token, the middle of bounds that are at most 2 * `tolerance` apart.

        Raises:
            OptionError: the bounds are still further apart where the words can no longer be enumerated; they are given.
        """
        check_range(tolerance, "tolerance", low=0, open_low=True)
        longest = max(int(math.log(MOST_WORDS / self.states) / math.log(max(self.vocabulary, 2))) - 1, 0)
        low, high = -math.inf, math.inf
        for context in range(longest + 1):
            low, high = self.entropy_rate_bounds(context)
            if high - low <= 2 * tolerance:
                return (low + high) / 2
        raise OptionError(
            f"tolerance={tolerance!r} is not reached: with {longest} tokens of context the entropy rate lies between "
            f"{low:.6g} and {high:.6g} nats"
        )

    def sample(self, sequences: int, length: int, seed: int = 0) -> Int[np.ndarray, "sequences length"]:
        """Independent sequences, each from the stationary start; cost O(sequences * length * (S + V))."""
        rng = generator_for(sequences, length, seed)
        state = draw(np.broadcast_to(self.stationary, (sequences, self.states)), rng)
        tokens = np.empty((sequences, length), np.int64)
        for t in range(length):
            tokens[:, t] = draw(self.emission[state], rng)
            state = draw(self.transition[state], rng)
        return tokens


def hidden_source(
    seed: int = 0,
    *,
    states: int = 4,
    vocabulary: int = 4,
    moves: Literal["cycle", "stay"] | str = "cycle",
    certainty: float = 0.95,
    concentration: float = 0.3,
) -> HiddenMarkovSource:
    """A hidden Markov model with a regular chain and random emissions.

    With probability `certainty` the state goes to the next one of a cycle ("cycle") or does not change ("stay"), else to
    any of the others alike. Emission rows come from Dirichlet(concentration). In a cycle the past tells the phase, which
    a single token does not, so the information surplus is large; where the state stays it is small.

    Args:
        seed: of the emissions.
        states: S, at least 2.
        vocabulary: V.
        moves: "cycle" or "stay".
        certainty: probability of the regular move.
        concentration: of the Dirichlet distribution; small ones give peaked rows.

    >>> hidden_source().emission.shape
    (4, 4)
    """
    check_range(seed, "seed", low=0, integer=True)
    check_range(states, "states", low=2, integer=True)
    check_range(vocabulary, "vocabulary", low=2, integer=True)
    check_choice(moves, ("cycle", "stay"), "moves")
    check_range(certainty, "certainty", low=0, high=1)
    check_range(concentration, "concentration", low=0, open_low=True)
    rng = np.random.default_rng(seed)
    chain = np.full((states, states), (1 - certainty) / (states - 1))
    here = np.arange(states)
    chain[here, (here + 1) % states if moves == "cycle" else here] = certainty
    return HiddenMarkovSource(chain, rng.dirichlet(np.full(vocabulary, concentration), size=states))
