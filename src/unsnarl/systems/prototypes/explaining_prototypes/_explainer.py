"""Explaining Prototypes (Nauta et al. 2021, arXiv 2011.02863): *why* a patch and a prototype count as alike.

Change one visible characteristic of an image (hue, shape, texture, contrast, saturation, brightness) and see how much the
similarity to each prototype falls at the place where it was largest. A large fall: the characteristic matters. About 0: it
does not. A rise: without it the two were more alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from unsnarl.arrays import check_range
from unsnarl.data import FactorDataset
from unsnarl.data.image_operators._calibrate import as_operators, calibrated, default_operators
from unsnarl.data.image_operators._operator import ImageOperator
from unsnarl.errors import DataError, NotFittedError, OptionError
from unsnarl.systems.prototypes.explaining_prototypes._compare import compare_scores
from unsnarl.systems.prototypes.explaining_prototypes._local import (
    Normalise,
    WeightedSums,
    image_batches,
    local_scores,
)
from unsnarl.systems.prototypes.explaining_prototypes._pairs import misleading_pairs, redundant_pairs
from unsnarl.systems.prototypes.explaining_prototypes._text import sentence


class PrototypeExplainer:
    """Scores of visual characteristics for the prototypes of a model.

    Args:
        model: anything with `similarity_map(x) -> (batch, prototype, rows, columns)`, such as a fitted `ProtoPNet`.
        operators: what is changed, and how much; None takes the six published ones (`default_operators`). Their strengths
            suit photographs of about 300 pixels; `calibrate` sets them to equal changes of pixels on other images.
        normalise: for models that want normalised or resized input: applied to float32 tensors in [0, 1] of the images'
            own size, before and after the change alike. `ProtoPNet` needs none, it normalises by itself.
        vectors: the prototypes in latent space (prototype, dim), for `redundant`; None asks the model for
            `prototype_vectors_`.
        class_of: class of each prototype; None asks the model for `class_of_`.
        rows: images at a time.

    Attributes:
        characteristics: names of the operators.
        global_scores_: (prototype, characteristic), after `global_`.

    Raises:
        OptionError: the model has no `similarity_map`, or operators that are none.
    """

    def __init__(
        self,
        model: Any,
        operators: Sequence[ImageOperator] | None = None,
        *,
        normalise: Normalise | None = None,
        vectors: Any = None,
        class_of: Any = None,
        rows: int = 128,
    ):
        if not callable(getattr(model, "similarity_map", None)):
            raise OptionError(
                f"model is a {type(model).__name__} without similarity_map(x) -> (batch, prototype, rows, columns)"
            )
        check_range(rows, "rows", low=1, integer=True)
        self.model = model
        self.operators = as_operators(default_operators() if operators is None else operators)
        self.normalise = normalise
        self.vectors, self.class_of, self.rows = vectors, class_of, int(rows)
        self.characteristics = tuple(o.name for o in self.operators)

    def calibrate(self, images: Any, *, change: float | None = None) -> PrototypeExplainer:
        """The same explainer with strengths that change these images equally much; see `unsnarl.data.image_operators.calibrated`."""
        operators = calibrated(self.operators, images, change=change)
        return PrototypeExplainer(
            self.model,
            operators,
            normalise=self.normalise,
            vectors=self.vectors,
            class_of=self.class_of,
            rows=self.rows,
        )

    # ---- scores ---------------------------------------------------------------------------------------------------

    def local(self, x: Any) -> Float[np.ndarray, "n prototype characteristic"]:
        """phi(i, j, x): how much similarity an image loses at its most similar place when a characteristic is changed.

        Args:
            x: images (n, 3, height, width), uint8 or floats in [0, 1], not normalised, in the size they came in.

        Raises:
            DataError: other images, images smaller than the window of the texture operator, or maps that are not finite.

        Warns:
            UserWarning: grey images, or a model whose prototypes were not pushed (or trained since).

        Cost: 1 + characteristics passes of the model.
        """
        self._check_model()
        parts = [
            local_scores(self.model, part, self.operators, normalise=self.normalise)[0]
            for part in image_batches(x, self.rows)
        ]
        return np.concatenate(parts)

    def global_(self, data: Any) -> pd.DataFrame:
        """Phi(i, j): local scores averaged over all images of a set, each weighted by its similarity to the prototype.

        Args:
            data: images, a `FactorDataset`, or an iterable of batches (images, or (images, ...)), such as a DataLoader. The
                published scores are over the training images of all classes.

        Returns:
            Columns prototype, characteristic, score.

        Raises:
            DataError: as `local`; negative similarities; no image at all.

        Warns:
            UserWarning: a prototype is similar to no image (weights sum to 0); its scores are NaN.

        Cost: 1 + characteristics passes over the data; memory for one batch.
        """
        self.global_scores_ = self._global(data)
        prototype, characteristic = np.indices(self.global_scores_.shape)
        names = np.array(self.characteristics, dtype=object)
        return pd.DataFrame(
            {
                "prototype": prototype.ravel(),
                "characteristic": names[characteristic.ravel()],
                "score": self.global_scores_.ravel(),
            }
        )

    def _global(self, data: Any) -> Float[np.ndarray, "prototype characteristic"]:
        self._check_model()
        sums = WeightedSums()
        for part in image_batches(data, self.rows):
            sums.add(*local_scores(self.model, part, self.operators, normalise=self.normalise))
        if not sums.n:
            raise DataError("data holds no image")
        scores = sums.scores()
        lost = np.flatnonzero(np.isnan(scores).all(axis=1))
        if len(lost):
            warnings.warn(
                f"prototype {', '.join(map(str, lost[:5]))} is similar to none of the images (its weights sum to 0); "
                "its scores are NaN",
                UserWarning,
                stacklevel=3,
            )
        return scores

    def _check_model(self) -> None:
        state = getattr(self.model, "push_state_", "pushed")
        if state != "pushed":
            why = "were never pushed" if state == "never" else "were trained after the last push"
            warnings.warn(
                f"the prototypes {why}, so they are not patches of images; call push(X, y) on the model first",
                UserWarning,
                stacklevel=3,
            )

    # ---- words ----------------------------------------------------------------------------------------------------

    def explain(self, x: Any, *, top: int = 3, prototypes: int = 1) -> list[str]:
        """For each image a sentence on its most similar prototype: the characteristics in the order of their scores.

        Where the model predicts classes, the prototype is one of the predicted class.

        Args:
            x: images.
            top: characteristics named, at most.
            prototypes: sentences an image, for as many prototypes.
        """
        check_range(top, "top", low=1, integer=True)
        check_range(prototypes, "prototypes", low=1, integer=True)
        self._check_model()
        class_of = self._class_of(required=False)
        out: list[str] = []
        for part in image_batches(x, self.rows):
            scores, similarity = local_scores(self.model, part, self.operators, normalise=self.normalise)
            eligible = np.ones(similarity.shape, dtype=bool)
            if class_of is not None and self.normalise is None and hasattr(self.model, "predict"):
                eligible = np.asarray(self.model.predict(part))[:, None] == class_of
                eligible[~eligible.any(axis=1)] = True  # no prototype of the class is left: any will do
            ranked = np.argsort(-np.where(eligible, similarity, -np.inf), axis=1, kind="stable")
            number = len(out) // prototypes
            for i, order in enumerate(ranked):
                for j in order[:prototypes]:
                    of_class = None if class_of is None else class_of[j].item()
                    out.append(
                        sentence(
                            number + i, int(j), of_class, similarity[i, j], scores[i, j], self.characteristics, top
                        )
                    )
        return out

    # ---- pairs and sets -------------------------------------------------------------------------------------------

    def redundant(self, *, percentile: float = 5.0, correlation: float = 0.9) -> pd.DataFrame:
        """Pairs of prototypes of a class that say the same; see `redundant_pairs`.

        Raises:
            NotFittedError: before `global_`.
        """
        return redundant_pairs(
            self._vectors(), self._scores(), self._class_of(), percentile=percentile, correlation=correlation
        )

    def misleading(self, patches: Any = None, *, percentile: float = 5.0, correlation: float = 0.9) -> pd.DataFrame:
        """Pairs of prototypes whose looks mislead; see `misleading_pairs`.

        Args:
            patches: image of each prototype; None asks the model for `prototype_images()`.
            percentile: of all pairs, below which two are near.
            correlation: of ranks.

        Raises:
            NotFittedError: before `global_`.
        """
        if patches is None:
            patches = self._of_model("prototype_images", "patches")()
        return misleading_pairs(
            self._vectors(),
            self._scores(),
            patches,
            self.characteristics,
            percentile=percentile,
            correlation=correlation,
        )

    def compare(self, train: Any, test: Any) -> pd.DataFrame:
        """Whether global scores of training and of test images agree; see `compare_scores`."""
        return compare_scores(self._global(train), self._global(test), self.characteristics)

    def _scores(self) -> Float[np.ndarray, "prototype characteristic"]:
        if not hasattr(self, "global_scores_"):
            raise NotFittedError("there are no global scores yet; call global_(images) first")
        return self.global_scores_

    def _vectors(self) -> np.ndarray:
        return np.asarray(self._of_model("prototype_vectors_", "vectors") if self.vectors is None else self.vectors)

    def _class_of(self, *, required: bool = True) -> Any:
        if self.class_of is not None:
            return np.asarray(self.class_of)
        if not required and not hasattr(self.model, "class_of_"):
            return None
        return np.asarray(self._of_model("class_of_", "class_of"))

    def _of_model(self, name: str, argument: str) -> Any:
        if not hasattr(self.model, name):
            raise OptionError(f"model is a {type(self.model).__name__} without {name}; give {argument}=")
        return getattr(self.model, name)


@dataclass(frozen=True)
class PrototypeReasons:
    """What `explain_prototypes` found.

    Attributes:
        characteristics: what was changed.
        local: (image, prototype, characteristic).
        scores: global scores; columns prototype, characteristic, score.
        sentences: one an image.
        redundant: pairs of prototypes that say the same; None where the model does not tell vectors and classes.
        explainer: for more.
    """

    characteristics: tuple[str, ...]
    local: Float[np.ndarray, "n prototype characteristic"]
    scores: pd.DataFrame
    sentences: list[str]
    redundant: pd.DataFrame | None
    explainer: PrototypeExplainer

    def ranking(self) -> pd.DataFrame:
        """The characteristics of each prototype in the order of their global scores; one row a prototype."""
        table = self.scores.pivot(index="prototype", columns="characteristic", values="score")
        order = np.argsort(-table.to_numpy(), axis=1, kind="stable")
        names = table.columns.to_numpy()[order]
        return pd.DataFrame(names, index=table.index, columns=range(1, names.shape[1] + 1))

    def page(self, explanation: Any, image: int = 0) -> dict[str, Any]:
        """A model's explanation of one image with the reasons added, for `unsnarl.report.write_explanation_page`.

        Args:
            explanation: of that image, such as `ProtoPNet.explain` gives.
            image: its number among those explained here.

        Raises:
            OptionError: there is no such image.
        """
        check_range(image, "image", low=0, high=len(self.local) - 1, integer=True)
        page = dict(explanation.to_page())
        page["words"] = [*page["words"], self.sentences[image]]
        shown = zip(page["prototypes"], explanation.evidence, strict=True)
        page["prototypes"] = [
            {
                **prototype,
                "importance": dict(
                    zip(self.characteristics, self.local[image, evidence.prototype].tolist(), strict=True)
                ),
            }
            for prototype, evidence in shown
        ]
        return page


def explain_prototypes(
    model: Any,
    images: Any,
    *,
    data: Any = None,
    operators: Sequence[ImageOperator] | str | None = None,
    normalise: Normalise | None = None,
    top: int = 3,
) -> PrototypeReasons:
    """Why images look like the prototypes of a model, and what each prototype rests on, in one call.

    Args:
        model: anything with `similarity_map`, such as a fitted `ProtoPNet`.
        images: images (n, 3, height, width) to explain, uint8 or floats in [0, 1].
        data: images for the global scores; None takes `images`.
        operators: what is changed; None takes the published strengths, "calibrated" sets them to equal changes of `data`.
        normalise: see `PrototypeExplainer`.
        top: characteristics a sentence names.

    Returns:
        Local and global scores, a sentence for each image, redundant prototypes.

    Cost: 1 + characteristics passes over `data` and two over `images`.
    """
    if isinstance(operators, str) and operators != "calibrated":
        raise OptionError(f"operators={operators!r} must be a sequence of operators, 'calibrated' or None")
    everything = images if data is None else data
    chosen = None if isinstance(operators, str) else operators
    explainer = PrototypeExplainer(model, chosen, normalise=normalise)
    if isinstance(operators, str):
        explainer = explainer.calibrate(_sample(everything))
    scores = explainer.global_(everything)
    known = all(hasattr(model, name) for name in ("prototype_vectors_", "class_of_"))
    return PrototypeReasons(
        explainer.characteristics,
        explainer.local(images),
        scores,
        explainer.explain(images, top=top),
        explainer.redundant() if known else None,
        explainer,
    )


def _sample(data: Any, most: int = 512) -> Any:
    """Some images of a set: evenly spread ones, or of an iterable the first."""
    if isinstance(data, FactorDataset):
        data = data.observations
    if hasattr(data, "shape"):
        return data[np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).astype(int))]
    found: list[np.ndarray] = []
    for batch in image_batches(data, most):
        found.append(np.asarray(batch))
        if sum(map(len, found)) >= most:
            break
    return np.concatenate(found)[:most]
