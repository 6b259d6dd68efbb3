"""Baselines on the same patients: ridge Cox regression and a random survival forest, with all preparation inside `fit`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator

from unsnarl.arrays import check_range
from unsnarl.data.survival._encode import TableEncoder
from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import DataError, NotFittedError
from unsnarl.measures.survival._concordance import sksurv


class _OnTables(BaseEstimator):
    """What both have in common: the encoder is fitted on the patients of `fit` alone."""

    modalities: Iterable[str] | None

    def _model(self) -> Any:
        raise NotImplementedError

    def fit(self, data: SurvivalData) -> Any:
        """Learn scales, categories and the model from these patients.

        Raises:
            MissingExtraError: scikit-survival is absent.
            UnknownNameError: a modality the data lacks.
            DataError: the model cannot be fitted.
        """
        model = self._model()
        self.encoder_ = TableEncoder(self.modalities)
        x = self.encoder_.fit_transform(data)
        try:
            self.model_ = model.fit(x, data.y)
        except (ValueError, np.linalg.LinAlgError) as error:
            raise DataError(f"{type(self).__name__} cannot be fitted: {error}") from None
        return self

    def risk(self, data: SurvivalData) -> Float[np.ndarray, " n"]:
        """One number a patient, higher for an earlier event."""
        if not hasattr(self, "model_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit first")
        return np.asarray(self.model_.predict(self.encoder_.transform(data)), dtype=np.float64)

    def survival(self, data: SurvivalData, times: Any) -> Float[np.ndarray, "n times"]:
        """The probability of living past each time; times beyond those of training are taken as the last of them."""
        if not hasattr(self, "model_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit first")
        functions = self.model_.predict_survival_function(self.encoder_.transform(data))
        moments = np.asarray(times, dtype=np.float64)
        return np.stack([f(np.clip(moments, *f.domain)) for f in functions])


class RidgeCox(_OnTables):
    """Cox regression with a ridge penalty on standardised columns; bags enter by the mean of their instances.

    Args:
        alpha: strength of the penalty; 100 suits 76 genes of 198 patients.
        modalities: which to use, all when None.
    """

    def __init__(self, alpha: float = 100.0, modalities: Iterable[str] | None = None):
        self.alpha = alpha
        self.modalities = modalities

    def _model(self) -> Any:
        check_range(self.alpha, "alpha", low=0)
        return sksurv("linear_model").CoxPHSurvivalAnalysis(alpha=self.alpha)


class ForestSurvival(_OnTables):
    """A random survival forest (Ishwaran et al. 2008); bags enter by the mean of their instances.

    Args:
        trees: number of trees.
        min_samples_leaf: fewest patients in a leaf.
        max_features: columns tried at a split.
        modalities: which to use, all when None.
        seed: of the forest.
        threads: how many to use.
    """

    def __init__(
        self,
        trees: int = 200,
        min_samples_leaf: int = 15,
        max_features: str | float | int = "sqrt",
        modalities: Iterable[str] | None = None,
        seed: int = 0,
        threads: int = 1,
    ):
        self.trees, self.min_samples_leaf, self.max_features = trees, min_samples_leaf, max_features
        self.modalities, self.seed, self.threads = modalities, seed, threads

    def _model(self) -> Any:
        check_range(self.trees, "trees", low=1, integer=True)
        return sksurv("ensemble").RandomSurvivalForest(
            n_estimators=self.trees,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            random_state=self.seed,
            n_jobs=self.threads,
        )
