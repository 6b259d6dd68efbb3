"""How well factors can be predicted from parts of a representation, on the same held-out rows for every part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.data import FactorTable
from unsnarl.errors import DataError
from unsnarl.measures._explicitness import in_threads

Rows = Int[np.ndarray, " _"]
Entry = tuple[str, str, str, float]
_FEWEST = 20


def split_rows(n: int, train_size: int, test_size: int, seed: int) -> tuple[Rows, Rows]:
    """Random rows to learn from and to be scored on; both shrink in proportion where there are too few.

    Raises:
        DataError: fewer than 20 rows.
    """
    if n < _FEWEST:
        raise DataError(f"a classifier needs at least {_FEWEST} rows, got {n}")
    order = np.random.default_rng(seed).permutation(n)
    if n < train_size + test_size:
        train_size = min(max(round(n * train_size / (train_size + test_size)), 1), n - 1)
        test_size = n - train_size
    return np.sort(order[:train_size]), np.sort(order[train_size : train_size + test_size])


def accuracies(
    representations: Mapping[str, Float[np.ndarray, "n latent"]],
    subsets: Mapping[str, Rows],
    table: FactorTable,
    predictors: Sequence[str],
    train: Rows,
    test: Rows,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Entry]:
    """(subset, representation, metric, value) of every predictor on every subset that is not empty, and of guessing.

    Subsets that hold the same latents are fitted once.
    """
    labels = table.indices
    different = {tuple(chosen.tolist()) for chosen in subsets.values() if len(chosen)}
    fitted: dict[Any, np.ndarray] = {}
    total = len(different) * len(representations) * len(predictors)
    entries: list[Entry] = []
    for predictor in predictors:
        for kind, codes in representations.items():
            for subset, chosen in subsets.items():
                if not len(chosen):
                    continue
                key = predictor, kind, tuple(chosen.tolist())
                if key not in fitted:
                    fitted[key] = _test_accuracy(codes[:, chosen], labels, train, test, predictor)
                    if progress is not None:
                        progress(len(fitted), total)
                entries += _entries(subset, kind, predictor, fitted[key], table.names)
    guesses = np.random.default_rng(seed)
    known = [np.unique(column) for column in labels[train].T]
    guessed = [np.mean(guesses.choice(known[k], len(test)) == labels[test, k]) for k in range(labels.shape[1])]
    return entries + _entries("random", "none", "uniform", np.array(guessed), table.names)


def _entries(
    subset: str, kind: str, predictor: str, accuracy: Float[np.ndarray, " factor"], names: Sequence[str]
) -> list[Entry]:
    summary = {"mean": accuracy.mean(), "min": accuracy.min()}
    entries = [(subset, kind, f"{predictor}_accuracy_{name}", float(value)) for name, value in summary.items()]
    return entries + [
        (subset, kind, f"{predictor}_accuracy:{name}", float(value))
        for name, value in zip(names, accuracy, strict=True)
    ]


def _test_accuracy(
    codes: Float[np.ndarray, "n chosen"], labels: Int[np.ndarray, "n factor"], train: Rows, test: Rows, predictor: str
) -> Float[np.ndarray, " factor"]:
    """Accuracy on the test rows for each factor; factors run in threads."""

    def accuracy(factor: int) -> float:
        y = labels[train, factor]
        if (y == y[0]).all():  # a value so rare that the training rows miss it
            return float(np.mean(labels[test, factor] == y[0]))
        model = _classifier(predictor, y)
        return float(np.mean(model.fit(codes[train], y).predict(codes[test]) == labels[test, factor]))

    return np.array(in_threads(accuracy, labels.shape[1]))


def _classifier(predictor: str, y: Rows) -> Any:
    """The published predictors: ten penalties by 5-fold cross-validation, or 100 stages of depth-3 trees.

    Folds are stratified where the published ones are consecutive rows, so that each value is in each fold; values with
    fewer rows than folds lower the number of folds.
    """
    if predictor == "boosting":
        from unsnarl.measures._boosting import BoostedTrees

        return BoostedTrees(threads=1)
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold

    folds = min(5, int(np.unique(y, return_counts=True)[1].min()))
    if folds < 2:
        return LogisticRegression()
    return LogisticRegressionCV(Cs=10, cv=StratifiedKFold(folds), scoring="accuracy")
