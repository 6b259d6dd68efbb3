"""Markov chains of any order over tokens, with exact entropies; among them one whose contexts predict in groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from unsnarl.arrays import check_range, to_numpy
from unsnarl.data.known._token_source import (
    TokenSource,
    Words,
    draw,
    generator_for,
    row_entropies,
    rows_of_probabilities,
    stationary_distribution,
    word_entropy,
)
from unsnarl.errors import DataError


class MarkovSource(TokenSource):
    """A Markov chain of order k: the next token depends on the last k tokens alone.

    Args:
        transition: P(next | context). Either (V, ..., V) with k + 1 axes, oldest token first, or (V^k, V) with the
            context w_1 .. w_k in row sum_i w_i V^(k-i).
        order: k; needed for the second form only.

    Attributes:
        vocabulary, order: V and k.
        transition: (V^k, V) rows that sum to 1.
        stationary: (V^k,) the probability of each context in the long run.

    Raises:
        DataError: not probabilities, a shape that fits no order, or contexts that split into several classes without
            a way out, so that no stationary distribution is the only one.
        OptionError: order below 1.

    >>> source = MarkovSource([[0.9, 0.1], [0.5, 0.5]])
    >>> source.stationary.round(4), round(source.entropy_rate(), 4)
    (array([0.8333, 0.1667]), 0.3864)
    """

    def __init__(self, transition: Num[np.ndarray, "*contexts vocabulary"] | Any, order: int | None = None):
        table = to_numpy(transition, "transition")
        if order is not None:
            check_range(order, "order", low=1, integer=True)
        vocabulary = table.shape[-1] if table.ndim >= 2 else 0
        if table.ndim >= 2 and order is None:
            order = table.ndim - 1
        contexts = math.prod(table.shape[:-1]) if table.ndim >= 2 else 0
        if table.ndim < 2 or order is None or contexts != vocabulary**order:
            raise DataError(
                f"transition has shape {table.shape}; it must be (V, ..., V) with order + 1 axes, or (V^order, V) with order="
            )
        self.vocabulary, self.order = int(vocabulary), int(order)
        self.transition = rows_of_probabilities(table.reshape(contexts, vocabulary), "transition")
        self.stationary = stationary_distribution(self._steps())
        self._start = self._starts()

    def _steps(self) -> Any:
        """The chain of contexts as a sparse (V^k, V^k) matrix."""
        from scipy import sparse

        contexts, vocabulary = self.transition.shape
        rows = np.repeat(np.arange(contexts), vocabulary)
        columns = (rows * vocabulary + np.tile(np.arange(vocabulary), contexts)) % contexts
        return sparse.csr_matrix((self.transition.ravel(), (rows, columns)), shape=(contexts, contexts))

    def _starts(self) -> list[Float[np.ndarray, " words"]]:
        """Probabilities of the words of 0 .. k tokens."""
        words = [self.stationary]
        for _ in range(self.order):
            words.append(words[-1].reshape(-1, self.vocabulary).sum(axis=1))
        return words[::-1]

    def _words(self, length: int) -> Float[np.ndarray, " words"]:
        if length <= self.order:
            return self._start[length]
        words = self.stationary
        for _ in range(length - self.order):
            contexts = np.arange(len(words)) % len(self.transition)
            words = (words[:, None] * self.transition[contexts]).reshape(-1)
        return words

    def predict(self, contexts: Words | Any) -> Float[np.ndarray, "*batch vocabulary"]:
        """The exact distribution of the next token after each context, from its last k tokens.

        A context of fewer tokens is averaged over what may have stood before it.

        Args:
            contexts: (*batch, length) tokens, oldest first; length 0 gives the distribution of a single token.

        Raises:
            DataError: not tokens of this source, or a context that cannot occur.
        """
        words = self._checked(contexts)
        used = min(words.shape[-1], self.order)
        index = np.zeros(words.shape[:-1], np.int64)
        for token in np.moveaxis(words[..., words.shape[-1] - used :], -1, 0):
            index = index * self.vocabulary + token
        if used == self.order:
            return self.transition[index]
        joint = self._start[used + 1].reshape(-1, self.vocabulary)[index]
        total = joint.sum(axis=-1, keepdims=True)
        if (total == 0).any():
            raise DataError("contexts holds a word that this source never gives")
        return joint / total

    def entropy_rate(self) -> float:
        """H(W_t | the k tokens before it), in nats a token: exact."""
        return float(self.stationary @ row_entropies(self.transition))

    def block_entropy(self, length: int) -> float:
        """H(W_1 .. W_length) in nats; beyond the order by the chain rule, so any length is exact and quick."""
        check_range(length, "length", low=0, integer=True)
        if length <= self.order:
            return word_entropy(self._start[length])
        return word_entropy(self.stationary) + (length - self.order) * self.entropy_rate()

    def sample(self, sequences: int, length: int, seed: int = 0) -> Int[np.ndarray, "sequences length"]:
        """Independent sequences, each from the stationary start.

        Cost: O(sequences * length * V).
        """
        rng = generator_for(sequences, length, seed)
        index = draw(np.broadcast_to(self.stationary, (sequences, len(self.stationary))), rng)
        tokens = np.empty((sequences, max(length, self.order)), np.int64)
        rest = index.copy()
        for i in range(self.order - 1, -1, -1):
            tokens[:, i], rest = rest % self.vocabulary, rest // self.vocabulary
        for i in range(self.order, length):
            tokens[:, i] = draw(self.transition[index], rng)
            index = (index * self.vocabulary + tokens[:, i]) % len(self.transition)
        return tokens[:, :length]


def prototype_source(
    seed: int = 0,
    *,
    vocabulary: int = 16,
    order: int = 2,
    prototypes: int | None = 8,
    noise: float = 0.1,
    concentration: float = 0.3,
) -> MarkovSource:
    """An order-k source whose contexts fall into a few groups of alike predictions.

    Each of the V^k contexts is given one of the prototypes at random, and
    P(. | context) = (1 - noise) * prototype + noise * own, prototypes and own rows drawn from Dirichlet(concentration).
    So contexts of one group predict alike although their tokens have nothing in common.

    Args:
        seed: of everything drawn.
        vocabulary: V.
        order: k.
        prototypes: how many groups; None draws every row on its own, a source without structure.
        noise: weight of the row's own part, in [0, 1].
        concentration: of the Dirichlet distributions; small ones give peaked rows.

    >>> prototype_source().transition.shape
    (256, 16)
    """
    check_range(seed, "seed", low=0, integer=True)
    check_range(vocabulary, "vocabulary", low=2, integer=True)
    check_range(order, "order", low=1, integer=True)
    check_range(noise, "noise", low=0, high=1)
    check_range(concentration, "concentration", low=0, open_low=True)
    rng = np.random.default_rng(seed)
    contexts = vocabulary**order
    own = rng.dirichlet(np.full(vocabulary, concentration), size=contexts)
    if prototypes is None:
        return MarkovSource(own, order=order)
    check_range(prototypes, "prototypes", low=1, integer=True)
    shared = rng.dirichlet(np.full(vocabulary, concentration), size=prototypes)
    group = rng.integers(prototypes, size=contexts)
    return MarkovSource((1 - noise) * shared[group] + noise * own, order=order)
