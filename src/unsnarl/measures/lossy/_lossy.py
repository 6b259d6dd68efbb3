"""Mutual information of high-dimensional variables, by compressing each side to a few numbers first.

Butakov, Tolmachev, Malanchuk, Neopryatnaya, Frolov and Andreev 2024, "Information Bottleneck Analysis of Deep Neural Networks
via Lossy Compression" (arXiv 2305.08013). Processing cannot add information:

    I(E(X); Y) = I(X; Y) - I(X; Y | E(X)) <= I(X; Y),    with equality where E is injective,

so I(E_x(X); E_y(Y)) is a lower bound that is tight when the codes keep what the two sides share; and in a few dimensions it can be
estimated from differential entropies,

    I = h(E_x(X)) + h(E_y(Y)) - h(E_x(X), E_y(Y)),      or for labels      I = h(E_x(X)) - sum_y p_y h(E_x(X) | y).
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator

from unsnarl.arrays import check_choice, check_range, check_same_length, to_numpy
from unsnarl.errors import DataError, NotFittedError, OptionError
from unsnarl.information import mutual_information
from unsnarl.information._categories import category_columns, row_codes
from unsnarl.information._kde_entropy import check_kde_options, check_kde_size, kde_terms, shared_bandwidth
from unsnarl.information._reliability import _warn
from unsnarl.information._weighted_entropy import MOST_DIMENSIONS, check_enough, entropy_terms, whitened
from unsnarl.measures.lossy._compressors import is_fitted, make_compressor

Codes = Float[np.ndarray, "n _"]


class MutualInformation(NamedTuple):
    """An estimate in nats and its standard error."""

    mi: float
    standard_error: float


class LossyMutualInformation(BaseEstimator):
    """Mutual information in nats of images, layers, tables or labels through lossy compression (Butakov et al. 2024).

    The equations are at the head of this module. A side that holds categories (one column of integers, booleans or text, or
    `x_compressor="labels"`) is not compressed; two such sides give the plug-in estimate.

    | compressor   | what it is                                                                              |
    |--------------|-----------------------------------------------------------------------------------------|
    | "ae"         | a denoising autoencoder, convolutional for images, dense for tables                     |
    | "pca"        | principal components; folds curved manifolds, so the bound is loose                     |
    | "identity"   | none; for data that have few columns already                                            |
    | "first"      | the first `dim` numbers, a control                                                      |
    | "labels"     | categories                                                                              |
    | an object    | with `fit` and `transform`; one that is fitted already is used as it is                 |
    | a function   | x -> (n, dim)                                                                           |

    A table with no more columns than `dim` is taken as it is. `dim` should be the number of parameters that the two sides can
    share. More is not better: entropies are estimated in the dimensions of both codes together, which are refused beyond 10.

    Args:
        x_compressor: for X, see the table.
        y_compressor: for Y.
        dim: numbers in each code; or two, for X and for Y.
        entropy: "kl", the weighted nearest-neighbour estimate (`weighted_entropy`), or "kde", a leave-one-out kernel density with
            one bandwidth for X, Y and (X, Y) (`kde_entropy`; found on (X, Y)), or with labels one for each class.
        k: neighbours of "kl"; None takes 48 where there are observations enough, see `weighted_entropy`.
        weights: "spread" or "nearest". Published are k=5 and "nearest", whose error of chance is 0.12 nat for two
            4-dimensional codes and n = 10,000, against 0.03.
        kernel: of "kde": "gaussian", "tophat", "epanechnikov". The last two need a bandwidth that lets the most remote point
            reach another, which smooths the rest too much: the information comes out low.
        bandwidth: of "kde": a number in whitened units, "likelihood", "lsq" or "silverman".
        seed: of the autoencoders.

    >>> from unsnarl.data.known._pairs import gaussian_pair
    >>> x, y = gaussian_pair(1.0, 2, 2, n=4_000)
    >>> mi, error = LossyMutualInformation("identity", "identity").fit(x, y).estimate()
    >>> bool(abs(mi - 1) < 0.1), bool(error < 0.1)
    (True, True)
    """

    def __init__(
        self,
        x_compressor: Any = "ae",
        y_compressor: Any = "ae",
        dim: int | tuple[int, int] = 4,
        entropy: Literal["kl", "kde"] | str = "kl",
        k: int | None = None,
        *,
        weights: Literal["spread", "nearest"] | str = "spread",
        kernel: str = "gaussian",
        bandwidth: float | str = "likelihood",
        seed: int = 0,
    ):
        self.x_compressor, self.y_compressor, self.dim = x_compressor, y_compressor, dim
        self.entropy, self.k, self.weights = entropy, k, weights
        self.kernel, self.bandwidth, self.seed = kernel, bandwidth, seed

    def fit(self, X: Any, Y: Any) -> LossyMutualInformation:
        """Learn the compressors and remember the pairs that `estimate()` then uses.

        Pairs that the compressors did not learn from can be given to `estimate(X, Y)`.

        Args:
            X: n observations: images, a table, or categories.
            Y: n observations of the other variable.

        Raises:
            DataError: different lengths, fewer than 10 k pairs, or data that a compressor refuses.
            OptionError: an option out of range.

        Cost: that of the compressors; "ae" takes minutes.
        """
        self._check_options()
        sides = self._check_pairs(X, Y)
        dims = self.dim if isinstance(self.dim, tuple) else (self.dim, self.dim)
        specs, names = (self.x_compressor, self.y_compressor), ("x_compressor", "y_compressor")
        found: list[Any] = []
        for spec, values, dim, name, place in zip(specs, sides, dims, names, (0, 1), strict=True):
            if holds_labels(values, spec):
                found.append(None)
                continue
            few = isinstance(spec, str) and values.ndim == 2 and values.shape[1] <= dim
            compressor = make_compressor("identity" if few else spec, int(dim), self.seed + place, name)
            found.append(compressor if is_fitted(compressor) else compressor.fit(values))
        self.x_compressor_, self.y_compressor_ = found
        self.codes_ = self._compress(sides)
        return self

    def estimate(self, X: Any = None, Y: Any = None) -> MutualInformation:
        """The mutual information in nats, and its standard error.

        Args:
            X: pairs other than those fitted; None takes the fitted ones.
            Y: as X.

        Returns:
            (mi, standard_error). The errors of the entropies are added, which is an upper bound of the error of their sum. They
            say nothing of what the compression lost nor of the estimator's bias. The estimate may be slightly negative, which
            means about 0.

        Raises:
            NotFittedError: before `fit`.
            DataError: one of the two missing, different lengths, fewer than 10 k pairs (also of one label), codes of more than 10
                dimensions together, codes that coincide in some rows or are constant.

        Warns:
            EstimatorWarning: too few pairs for the dimension; or, with labels, more information than their entropy, which tight
                classes far apart bring about (the entropy of all codes is estimated worse than those of the classes).

        Cost: O(n^2 dim) at most; 2 s for 10,000 pairs of 4 + 4 numbers.
        """
        if not hasattr(self, "codes_"):
            raise NotFittedError("this LossyMutualInformation has not learned anything yet; call fit first")
        if (X is None) != (Y is None):
            raise DataError("give both X and Y, or neither for the pairs that were fitted")
        x, y = self.codes_ if X is None else self._compress(self._check_pairs(X, Y))
        options: dict[str, Any] = {"entropy": self.entropy, "k": self.k, "weights": self.weights}
        return code_information(x, y, **options, kernel=self.kernel, bandwidth=self.bandwidth)

    def transform(self, X: Any, Y: Any) -> tuple[np.ndarray, np.ndarray]:
        """The codes (or category indices) of both sides."""
        if not hasattr(self, "codes_"):
            raise NotFittedError("this LossyMutualInformation has not learned anything yet; call fit first")
        return self._compress(self._check_pairs(X, Y))

    def _check_options(self) -> None:
        check_choice(self.entropy, ("kl", "kde"), "entropy")
        check_kde_options(self.kernel, self.bandwidth)
        check_choice(self.weights, ("spread", "nearest"), "weights")
        if self.k is not None:
            check_range(self.k, "k", low=1, integer=True)
        check_range(self.seed, "seed", integer=True)
        dims = self.dim if isinstance(self.dim, tuple) else (self.dim,)
        if isinstance(self.dim, tuple) and len(dims) != 2:
            raise OptionError(f"dim={self.dim!r} must be one number, or two for X and Y")
        for dim in dims:
            check_range(dim, "dim", low=1, high=MOST_DIMENSIONS, integer=True)

    def _check_pairs(self, X: Any, Y: Any) -> tuple[Any, Any]:
        sides = tuple(to_numpy(v, name) for v, name in ((X, "X"), (Y, "Y")))
        for values, name in zip(sides, ("X", "Y"), strict=True):
            if values.ndim == 0:
                raise DataError(f"{name} must be observations, one a row; got a single value")
        n = check_same_length(X=sides[0], Y=sides[1])
        sides = tuple(
            v.reshape(-1, 1) if v.ndim == 1 and v.dtype.kind == "f" and spec != "labels" else v
            for v, spec in zip(sides, (self.x_compressor, self.y_compressor), strict=True)
        )
        if self.entropy == "kl":
            check_enough(n, self.k, "the sample")
        else:
            check_kde_size(n, "the sample")
        return sides[0], sides[1]

    def _compress(self, sides: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
        codes = []
        for values, compressor, name in zip(sides, (self.x_compressor_, self.y_compressor_), ("X", "Y"), strict=True):
            if compressor is None:
                codes.append(row_codes(category_columns(values, name)[0])[0])
            else:
                codes.append(np.asarray(compressor.transform(values), dtype=np.float64))
        return codes[0], codes[1]


def holds_labels(values: Any, spec: Any = None) -> bool:
    """Whether a side is categories: asked for, or one column of integers, booleans or text."""
    if isinstance(spec, str) and spec == "labels":
        return True
    array = to_numpy(values, "input")
    return array.ndim == 1 and array.dtype.kind in "iubUS"


def code_information(
    x: Codes | Int[np.ndarray, "n"],
    y: Codes | Int[np.ndarray, "n"],
    *,
    entropy: str = "kl",
    k: int | None = None,
    weights: str = "spread",
    kernel: str = "gaussian",
    bandwidth: float | str = "likelihood",
) -> MutualInformation:
    """Mutual information in nats of two codes, a code and category indices, or two columns of category indices.

    Continuous codes are whitened, each for itself and both together; with labels anew in each class.

    Args:
        x: codes (n, dim), or category indices (n,).
        y: likewise.
        entropy: as in `LossyMutualInformation`.
        k: as there.
        weights: as there.
        kernel: as there.
        bandwidth: as there.

    Raises:
        DataError: as `LossyMutualInformation.estimate`.
    """
    if x.ndim == 1 and y.ndim == 1:
        return _of_labels(x, y)
    if x.ndim == 1:
        x, y = y, x
    if y.ndim == 1:
        return _with_labels(x, y, entropy, k, weights, kernel, bandwidth)
    total = x.shape[1] + y.shape[1]
    if total > MOST_DIMENSIONS:
        raise DataError(
            f"the codes have {x.shape[1]} + {y.shape[1]} dimensions, and entropies of more than {MOST_DIMENSIONS} in all cannot be "
            "estimated; compress further (dim=)"
        )
    if entropy == "kde":
        return _by_density(x, y, kernel, bandwidth)
    parts = []
    for values, name, sign in ((x, "the code of X", 1), (y, "the code of Y", 1), (np.c_[x, y], "(X, Y)", -1)):
        parts.append(sign * entropy_terms(values, k, weights=weights, whiten=True, argument=name))
    return MutualInformation(float(sum(p.mean() for p in parts)), sum(_error(p) for p in parts))


def _error(terms: Float[np.ndarray, "n"]) -> float:
    return float(terms.std() / math.sqrt(len(terms)))


def _by_density(x: Codes, y: Codes, kernel: str, bandwidth: float | str) -> MutualInformation:
    """The log determinants of the two whitenings cancel between h(X) + h(Y) and h(X, Y)."""
    check_kde_size(len(x), "the sample")
    x, y = whitened(x, "the code of X")[0], whitened(y, "the code of Y")[0]
    width = shared_bandwidth([x, y], kernel, bandwidth)
    named = ((x, "the code of X", 1), (y, "the code of Y", 1), (np.c_[x, y], "(X, Y)", -1))
    parts = [sign * kde_terms(values, width, kernel, name) for values, name, sign in named]
    return MutualInformation(float(sum(p.mean() for p in parts)), sum(_error(p) for p in parts))


def _with_labels(
    x: Codes, y: Int[np.ndarray, "n"], entropy: str, k: int | None, weights: str, kernel: str, bandwidth: float | str
) -> MutualInformation:
    n = len(y)

    def terms(values: Codes, name: str) -> np.ndarray:
        if entropy == "kl":
            return entropy_terms(values, k, weights=weights, whiten=True, argument=name)
        check_kde_size(len(values), name)
        values, log_scale = whitened(values, name)  # a bandwidth for each class, since each has a scale of its own
        return kde_terms(values, shared_bandwidth([values], kernel, bandwidth), kernel, name) + log_scale

    whole = terms(x, "the code of X")
    mi, error = float(whole.mean()), _error(whole)
    for label, count in enumerate(np.bincount(y)):
        part = terms(x[y == label], f"class {label} of Y")
        mi -= count / n * float(part.mean())
        error += count / n * _error(part)
    shares = np.bincount(y) / n
    most = -float(shares @ np.log(shares))  # every label occurs, so no share is 0
    if mi > most + max(0.1, 2 * error):
        _warn(
            f"the estimate, {mi:.2f} nats, is more than the entropy of the labels, {most:.2f}: classes are so far apart for their "
            "width that the biases of their entropies do not cancel; a smaller dim= helps, and so does "
            "mutual_information(estimator='ross') on the codes"
        )
    return MutualInformation(float(mi), float(error))


def _of_labels(x: Int[np.ndarray, "n"], y: Int[np.ndarray, "n"]) -> MutualInformation:
    """The plug-in estimate, and the deviation of log p(x, y) / p(x) p(y) over sqrt(n)."""
    joint = np.zeros((x.max() + 1, y.max() + 1))
    np.add.at(joint, (x, y), 1 / len(x))
    outer = joint.sum(axis=1)[x] * joint.sum(axis=0)[y]
    return MutualInformation(mutual_information(x, y), _error(np.log(joint[x, y] / outer)))
