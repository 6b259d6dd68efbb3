"""Gradient-boosted trees with exact splits, made for many targets over the same columns.

The same model as scikit-learn's `GradientBoostingClassifier` and `GradientBoostingRegressor` with default settings
(Friedman 2001, "Greedy function approximation", Algorithms 2, 5 and 6): depth-3 regression trees on the negative
gradient, leaf values by one Newton step, the log prior or the mean to begin with. How the exact splits are found is
said in `_boosting_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from unsnarl.arrays import as_matrix, as_vector, check_choice, check_finite, check_range, check_same_length
from unsnarl.errors import DataError, NotFittedError
from unsnarl.information._threads import thread_count
from unsnarl.measures._boosting_arrays import Columns, _Trees, _Work
from unsnarl.measures._boosting_kernels import _add_trees, _gradients, _grow


@dataclass(frozen=True)
class Ensemble:
    """The trees of one target: what `boost` returns for each.

    Attributes:
        start: raw prediction before the first tree, one number a tree of a stage.
        feature: column that splits each inner node, -1 where there is none; shape (stages, trees, 2**depth - 1).
        cut: threshold of each inner node; values above it go right.
        leaf: value of each leaf, shape (stages, trees, 2**depth).
        importances: share of each column in the decrease of the trees' squared error, shape (columns,); sums to 1.
        raw: raw predictions of the rows fitted on, shape (trees, n).
        learning_rate: factor on each leaf.
    """

    start: Float[np.ndarray, " tree"]
    feature: Int[np.ndarray, "stage tree inner"]
    cut: Float[np.ndarray, "stage tree inner"]
    leaf: Float[np.ndarray, "stage tree leaf"]
    importances: Float[np.ndarray, " column"]
    raw: Float[np.ndarray, "tree n"]
    learning_rate: float

    def raw_predictions(self, values: Float32[np.ndarray, "column n"]) -> Float[np.ndarray, "tree n"]:
        """Sum of the start and all trees, for columns in single precision."""
        raw = np.repeat(self.start[:, None], values.shape[1], axis=1)
        _add_trees(values, self.feature, self.cut, self.leaf, self.learning_rate, raw)
        return raw


def labels_of(raw: Float[np.ndarray, "tree n"]) -> Int[np.ndarray, " n"]:
    """Predicted class indices from raw predictions."""
    return (raw[0] >= 0).astype(np.int64) if len(raw) == 1 else raw.argmax(axis=0)


def boost(
    columns: Columns,
    targets: Sequence[np.ndarray],
    classes: Sequence[int],
    *,
    stages: int = 100,
    depth: int = 3,
    learning_rate: float = 0.1,
    seed: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Ensemble]:
    """Fit one ensemble a target, all targets on the same columns.

    Args:
        columns: the sorted columns.
        targets: for each target, class indices 0..classes-1 (each present), or numbers to regress; shape (n,).
        classes: number of classes of each target, 0 for a regression.
        stages: boosting stages; each grows one tree, or one a class where there are more than two.
        depth: depth of each tree, 1 to 10.
        learning_rate: factor on each tree.
        seed: orders the columns anew in each node, which decides between splits that are equally good; lowest column
            when None.
        threads: threads that grow trees; numba's setting (NUMBA_NUM_THREADS) when None.
        progress: called as progress(stages done, stages) after each stage.

    Cost: at most O(stages * trees * n * columns * depth / 2) additions; about 1 ms for a tree on 10,000 x 64 values.
    Memory: 10 bytes a value of the columns and 16 bytes an observation and tree of a stage.
    """
    width, n = columns.values.shape
    trees = [k if k > 2 else 1 for k in classes]
    first = np.concatenate([[0], np.cumsum(trees)]).astype(np.int64)
    count = int(first[-1])
    wanted = np.stack([np.asarray(t, np.float64) for t in targets])
    classifies = np.array([k > 0 for k in classes])
    newton = np.repeat([0.0 if k == 0 else 1.0 if k == 2 else (k - 1) / k for k in classes], trees)
    start = np.concatenate([_start(t, k) for t, k in zip(wanted, classes, strict=True)])
    raw = np.repeat(start[:, None], n, axis=1)
    gradient = np.empty((count, n))
    inner = 2**depth - 1
    keys = _tie_keys(seed, stages, trees)
    feature, cut = np.empty((stages, count, inner), np.int32), np.zeros((stages, count, inner))
    leaf, importance = np.zeros((stages, count, inner + 1)), np.zeros((count, width))
    idle: list[_Work] = []

    def find_gradients(span: tuple[int, int]) -> None:
        _gradients(raw, wanted, first, classifies, *span, gradient)

    def grow(stage: int, span: tuple[int, int]) -> None:
        grown = _Trees(feature[stage], cut[stage], leaf[stage], importance)
        work = idle.pop() if idle else _Work.of(columns, depth)
        _grow(*span, gradient, raw, newton, keys[stage], learning_rate, depth, columns, grown, work)
        idle.append(work)

    workers = max(1, min(threads or thread_count(), count))
    target_spans, tree_spans = _spans(len(targets), workers), _spans(count, 4 * workers if workers > 1 else 1)
    with ThreadPoolExecutor(workers) as pool:
        # the kernels release the interpreter lock; a pool of ours needs no particular numba threading layer
        run = pool.map if workers > 1 else map
        for stage in range(stages):
            list(run(find_gradients, target_spans))
            list(run(partial(grow, stage), tree_spans))
            if progress is not None:
                progress(stage + 1, stages)
    fitted = []
    for t in range(len(targets)):
        own = slice(first[t], first[t + 1])
        share = importance[own].sum(axis=0)
        whole = share.sum()
        fitted.append(
            Ensemble(
                start[own],
                np.ascontiguousarray(feature[:, own]),
                np.ascontiguousarray(cut[:, own]),
                np.ascontiguousarray(leaf[:, own]),
                share / whole if whole > 0 else np.zeros(width),
                raw[own],
                learning_rate,
            )
        )
    return fitted


def _start(target: np.ndarray, classes: int) -> Float[np.ndarray, " tree"]:
    if classes == 0:
        return np.array([target.mean()])
    eps = np.finfo(np.float64).eps
    prior = np.clip(np.bincount(target.astype(np.int64), minlength=classes) / len(target), eps, 1 - eps)
    if classes == 2:
        return np.array([np.log(prior[1] / (1 - prior[1]))])
    return np.log(prior) - np.log(prior).mean()


def _tie_keys(seed: int | None, stages: int, trees: Sequence[int]) -> np.ndarray:
    """One key a tree, the same for a target alone and among others; zeros (lowest column first) without a seed."""
    if seed is None:
        return np.zeros((stages, sum(trees)), np.uint64)
    bits = np.random.default_rng(seed).integers(1, 2**63, size=(max(trees), stages), dtype=np.uint64)
    return np.ascontiguousarray(np.concatenate([bits[:k] for k in trees]).T)


def _spans(count: int, parts: int) -> list[tuple[int, int]]:
    cuts = np.unique(np.linspace(0, count, min(parts, count) + 1).round().astype(int))
    return list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))


class BoostedTrees:
    """Gradient boosting with exact splits, equal to scikit-learn's default ensembles.

    On continuous columns `feature_importances_`, `predict` and `predict_proba` agree with
    `GradientBoostingClassifier()` and `GradientBoostingRegressor()` to rounding, for any `random_state` of theirs, as
    long as the best split of every node is unique. Where several columns split a node equally well (copies of a
    column, integer codes, nodes of a few rows, which any hundred trees of depth 3 have), scikit-learn takes one at
    random; here it is the lowest column, or one at random when `seed` is given, and always the lowest threshold. Row
    order does not matter.

    Args:
        kind: "classifier" (log loss) or "regressor" (squared error).
        stages: boosting stages; a stage grows one tree, or one a class where there are more than two.
        depth: depth of the trees, 1 to 10.
        learning_rate: factor on each tree.
        seed: decides between equally good splits; the lowest column wins when None. Lowest-first favours early columns
            in `feature_importances_` by up to 0.01 or so, a seed favours none.
        threads: threads that grow the trees of a stage; numba's setting when None.
        progress: called as progress(stages done, stages) after each stage.

    Attributes:
        feature_importances_: share of each column in the decrease of squared error over all splits, shape (columns,);
            sums to 1, or is 0 everywhere when no tree has a split.
        classes_: sorted class labels (classifier).
        ensemble_: the trees.

    Cost: see `boost`. Columns are rounded to single precision, and values no more than 1e-7 apart are not separated,
    both as in scikit-learn: rescale columns whose whole range is that small.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(200, 3))
        >>> model = BoostedTrees(stages=20).fit(x, x[:, 1] > 0)
        >>> model.feature_importances_.argmax(), (model.predict(x) == (x[:, 1] > 0)).all()
        (np.int64(1), np.True_)
    """

    def __init__(
        self,
        kind: str = "classifier",
        stages: int = 100,
        depth: int = 3,
        learning_rate: float = 0.1,
        *,
        seed: int | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.kind = kind
        self.stages = stages
        self.depth = depth
        self.learning_rate = learning_rate
        self.seed = seed
        self.threads = threads
        self.progress = progress

    def fit(self, X: Any, y: Any) -> BoostedTrees:
        """Grow the trees on columns X of shape (n, columns) and labels or numbers y of shape (n,).

        Raises:
            DataError: lengths differ, a value is not finite, or a classifier is given a single class.
            OptionError: an option is out of range.
        """
        check_choice(self.kind, ("classifier", "regressor"), "kind")
        check_range(self.stages, "stages", low=1, integer=True)
        check_range(self.depth, "depth", low=1, high=10, integer=True)
        check_range(self.learning_rate, "learning_rate", low=0, open_low=True)
        if self.seed is not None:
            check_range(self.seed, "seed", low=0, integer=True)
        if self.threads is not None:
            check_range(self.threads, "threads", low=1, integer=True)
        columns = Columns.of(single_precision(as_matrix(X, "X"), "X"))
        target, classes = as_vector(y, "y"), 0
        check_same_length(X=columns.values[0], y=target)
        if self.kind == "classifier":
            self.classes_, target = np.unique(target, return_inverse=True)
            classes = len(self.classes_)
            if classes < 2:
                raise DataError(f"y holds the single class {self.classes_[0]!r}; a classifier needs two or more")
        elif target.dtype.kind not in "biuf":
            raise DataError(f"y must hold numbers for a regressor, got dtype {target.dtype}")
        (self.ensemble_,) = boost(
            columns,
            [target],
            [classes],
            stages=int(self.stages),
            depth=int(self.depth),
            learning_rate=float(self.learning_rate),
            seed=self.seed,
            threads=self.threads,
            progress=self.progress,
        )
        self.feature_importances_ = self.ensemble_.importances
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Labels (classifier) or numbers (regressor) for rows X, shape (n,)."""
        raw = self._raw(X)
        return raw[0] if self.kind == "regressor" else self.classes_[labels_of(raw)]

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n class"]:
        """Class probabilities, columns in the order of `classes_` (classifier only)."""
        if self.kind != "classifier":
            raise AttributeError("predict_proba needs kind='classifier'")
        raw = self._raw(X)
        if len(raw) == 1:
            positive = 1 / (1 + np.exp(-raw[0]))
            return np.stack([1 - positive, positive], axis=1)
        odds = np.exp(raw - raw.max(axis=0))
        return (odds / odds.sum(axis=0)).T

    def _raw(self, X: Any) -> Float[np.ndarray, "tree n"]:
        if not hasattr(self, "ensemble_"):
            raise NotFittedError("these trees have not been grown yet; call fit first")
        rows = single_precision(as_matrix(X, "X", min_rows=1), "X")
        if rows.shape[1] != len(self.feature_importances_):
            raise DataError(f"X has {rows.shape[1]} columns, but fit saw {len(self.feature_importances_)}")
        return self.ensemble_.raw_predictions(np.ascontiguousarray(rows.T))


def single_precision(values: np.ndarray, argument: str = "codes") -> Float32[np.ndarray, "n column"]:
    """The values rounded to single precision.

    Raises:
        DataError: a value is too large for it.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    check_finite(rounded, f"{argument} in single precision")
    return rounded
