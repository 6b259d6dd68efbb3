"""What stationary token sources of known probabilities have in common: words, block entropies, the information surplus.

Every quantity is computed from the source's own numbers, never from samples: the entropy of blocks by enumerating words
(V^n of them), and from these

    h_n       = H(W_n | W_1 .. W_(n-1)) = H(n) - H(n-1),    H(n) the entropy of a block of n tokens,
    Surplus_K = I(past; W_(t+1) .. W_(t+K-1) | W_t)
              = [H(K) - H(1)] - [H(L+K) - H(L+1)],

what the L tokens before W_t tell about the K - 1 tokens after it that W_t itself does not. Everything is in nats.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from unsnarl.arrays import check_finite, check_range, to_numpy
from unsnarl.errors import DataError, OptionError

MOST_WORDS = 2**24
"""The longest table of word probabilities that is enumerated: 16.8 million entries, 128 MiB."""

Words = Int[np.ndarray, "*batch length"]


class TokenSource:
    """A stationary source of tokens 0 .. vocabulary - 1; a Markov chain or a hidden Markov model.

    Attributes:
        vocabulary: number of tokens V.
    """

    vocabulary: int

    def word_probabilities(self, length: int) -> Float[np.ndarray, " words"]:
        """The probability of every word of that length, (V^length,); word w_1 .. w_n stands at sum_i w_i V^(n-i).

        Raises:
            OptionError: length below 0, or more than `MOST_WORDS` words.
        """
        check_range(length, "length", low=0, integer=True)
        if length * math.log(self.vocabulary) > math.log(MOST_WORDS) + 1e-9:
            raise OptionError(
                f"words of {length} tokens of a vocabulary of {self.vocabulary} are {self.vocabulary**length:,}, more "
                f"than can be enumerated ({MOST_WORDS:,}); ask for fewer tokens"
            )
        return self._words(int(length))

    def _words(self, length: int) -> Float[np.ndarray, " words"]:
        raise NotImplementedError

    def predict(self, contexts: Words | Any) -> Float[np.ndarray, "*batch vocabulary"]:
        """The exact distribution of the token after each context, given as rows of tokens, oldest first."""
        raise NotImplementedError

    def sample(self, sequences: int, length: int, seed: int = 0) -> Int[np.ndarray, "sequences length"]:
        """Independent sequences, each from the stationary start."""
        raise NotImplementedError

    def block_entropy(self, length: int) -> float:
        """H(W_1 .. W_length) in nats, by enumeration; 0 for length 0.

        Raises:
            OptionError: as `word_probabilities`.

        Cost: O(V^length), for a hidden Markov model times states^2.
        """
        return word_entropy(self.word_probabilities(length))

    def conditional_entropy(self, context: int) -> float:
        """H(W_t | the `context` tokens before it) in nats; falls to the entropy rate as the context grows."""
        return self.block_entropy(context + 1) - self.block_entropy(context)

    def entropy_rate(self) -> float:
        """The limit of `conditional_entropy`, in nats a token."""
        raise NotImplementedError

    def surplus(self, K: int, context: int | None = None) -> float:
        """Surplus_K = I(past; W_(t+1) .. W_(t+K-1) | W_t): what the past tells of later tokens beyond the next one.

        Args:
            K: how many tokens from W_t on, at least 2.
            context: how many tokens of the past, W_(t-context) .. W_(t-1); None takes the whole past.

        Returns:
            Nats, in [0, H(W_(t+1) .. W_(t+K-1) | W_t)].

        Raises:
            OptionError: K below 2, a negative context, or too many words to enumerate.

        Cost: O(V^(context + K)).
        """
        check_range(K, "K", low=2, integer=True)
        alone = self.block_entropy(K) - self.block_entropy(1)
        if context is None:
            known = (K - 1) * self.entropy_rate()  # the chain rule with the whole past
        else:
            check_range(context, "context", low=0, integer=True)
            known = self.block_entropy(context + K) - self.block_entropy(context + 1)
        return max(alone - known, 0.0)

    def _checked(self, contexts: Words | Any) -> Words:
        words = to_numpy(contexts, "contexts")
        if words.ndim == 0 or (words.size and words.dtype.kind not in "iu"):
            raise DataError(f"contexts must be rows of integer tokens, got dtype {words.dtype} and shape {words.shape}")
        if words.size and (words.min() < 0 or words.max() >= self.vocabulary):
            raise DataError(
                f"contexts holds tokens from {words.min()} to {words.max()}; the source has 0 to {self.vocabulary - 1}"
            )
        return words.astype(np.int64)


def rows_of_probabilities(table: Num[np.ndarray, "rows columns"], argument: str) -> Float[np.ndarray, "rows columns"]:
    if table.dtype.kind not in "iuf":
        raise DataError(f"{argument} must hold probabilities, got dtype {table.dtype}")
    rows = table.astype(np.float64)
    check_finite(rows, argument)
    if rows.min() < 0:
        raise DataError(f"{argument} has a negative probability ({rows.min():.4g})")
    sums = rows.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > 1e-6:
        raise DataError(f"every row of {argument} must sum to 1, but row {worst} sums to {sums[worst]:.6g}")
    return rows / sums[:, None]


def stationary_distribution(steps: Any) -> Float[np.ndarray, " contexts"]:
    """The one stationary distribution of a sparse chain; contexts that are left for good have probability 0."""
    from scipy.sparse import csgraph, eye, linalg

    steps = steps.copy()
    steps.eliminate_zeros()
    count, label = csgraph.connected_components(steps, directed=True, connection="strong")
    rows, columns = steps.nonzero()
    leaves = np.zeros(count, bool)
    leaves[label[rows][label[rows] != label[columns]]] = True
    closed = np.flatnonzero(~leaves)
    if len(closed) > 1:
        raise DataError(
            f"the transitions split into {len(closed)} classes without a way out of any, so the stationary distribution is "
            "not unique; connect them"
        )
    inside = np.flatnonzero(label == closed[0])
    stationary = np.zeros(steps.shape[0])
    if len(inside) == 1:
        stationary[inside] = 1.0
        return stationary
    # (P' - I) pi = 0 with the first probability set to 1, then scaled: nonsingular within one closed class
    flow = (steps[inside][:, inside].T - eye(len(inside))).tocsc()
    solved = linalg.spsolve(flow[1:, 1:], -np.asarray(flow[1:, [0]].todense()).ravel())
    values = np.maximum(np.concatenate([[1.0], np.atleast_1d(solved)]), 0.0)
    stationary[inside] = values / values.sum()
    return stationary


def word_entropy(probabilities: Float[np.ndarray, " words"]) -> float:
    positive = probabilities[probabilities > 0]
    return max(-float(positive @ np.log(positive)), 0.0)


def row_entropies(rows: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, " rows"]:
    logs = np.log(rows, where=rows > 0, out=np.zeros_like(rows))
    return -(rows * logs).sum(axis=1)


def generator_for(sequences: int, length: int, seed: int) -> np.random.Generator:
    check_range(sequences, "sequences", low=1, integer=True)
    check_range(length, "length", low=1, integer=True)
    check_range(seed, "seed", low=0, integer=True)
    return np.random.default_rng(seed)


def draw(rows: Float[np.ndarray, "n values"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """One value of each row of probabilities."""
    edges = rows.cumsum(axis=1)
    place = rng.random((len(rows), 1)) * edges[:, -1:]
    return np.minimum((edges <= place).sum(axis=1), rows.shape[1] - 1).astype(np.int64)
