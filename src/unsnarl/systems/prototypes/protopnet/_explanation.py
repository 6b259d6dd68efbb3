"""What a prediction rests on: prototypes, how alike, where, and what each adds to the class's score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.arrays import check_range
from unsnarl.errors import DataError

Box = tuple[int, int, int, int]  # top, bottom, left, right; ends excluded


@dataclass(frozen=True)
class Evidence:
    """One prototype that an image was likened to.

    Attributes:
        prototype: its number.
        prototype_class: the class it belongs to.
        similarity: g at the most similar place.
        weight: of this prototype in the predicted class's score.
        contribution: similarity x weight.
        position: row and column of the most similar place in the map.
        heat_map: similarity at every pixel (height, width), the map enlarged.
        box: the part of the image most alike, the box of the highest 5% of the heat map.
        patch: that part of the image.
        source: number of the training image that the prototype was pushed to.
        prototype_box: the part of that image most alike.
        prototype_patch: that part, or None where images are not kept.
    """

    prototype: int
    prototype_class: Any
    similarity: float
    weight: float
    contribution: float
    position: tuple[int, int]
    heat_map: Float[np.ndarray, "height width"]
    box: Box
    patch: Any
    source: int
    prototype_box: Box
    prototype_patch: Any


@dataclass(frozen=True)
class Explanation:
    """A prediction and the prototypes it leaned on, those that added most first.

    Attributes:
        prediction: the predicted class.
        probability: its softmax probability.
        logit: its score, the sum of the contributions of all prototypes.
        evidence: the prototypes shown.
    """

    prediction: Any
    probability: float
    logit: float
    evidence: tuple[Evidence, ...]

    @property
    def shown_share(self) -> float:
        """How much of the positive contributions shown here is of the logit; above 1 where others vote against."""
        return sum(e.contribution for e in self.evidence) / self.logit if self.logit else float("nan")

    def to_page(self) -> dict[str, Any]:
        """What `unsnarl.report.write_explanation_page` shows of it.

        Raises:
            DataError: the patches of the prototypes were not kept.
        """
        missing = [e.prototype for e in self.evidence if e.prototype_patch is None]
        if missing:
            raise DataError(
                f"the patch of prototype {missing[0]} was not kept, so it cannot be shown; fit with keep_images=True"
            )
        words = [f"{self.prediction}, with probability {self.probability:.2f}"]
        words += [
            f"This part looks like that part of training image {e.source}, of class {e.prototype_class}: "
            f"similarity {e.similarity:.2f}, which adds {e.contribution:+.2f}."
            for e in self.evidence
        ]
        return {
            "prediction": self.prediction,
            "words": words,
            "votes": {f"prototype {e.prototype}": e.contribution for e in self.evidence},
            "votes_name": f"What each prototype adds to the score of {self.prediction}",
            "prototypes": [
                {
                    "name": f"prototype {e.prototype}",
                    "image": np.asarray(e.prototype_patch),
                    "class": str(e.prototype_class),
                    "scores": {"similarity": e.similarity, "weight": e.weight, "contribution": e.contribution},
                    "heat_map": e.heat_map,
                    "box": e.box,
                    "note": f"a part of training image {e.source}",
                }
                for e in self.evidence
            ],
        }

    def __str__(self) -> str:
        lines = [f"{self.prediction} (probability {self.probability:.2f}, score {self.logit:.2f})"]
        lines += [
            f"  {e.contribution:+.2f}  looks like prototype {e.prototype} of {e.prototype_class} "
            f"(similarity {e.similarity:.2f} x weight {e.weight:.2f})"
            for e in self.evidence
        ]
        return "\n".join(lines)


def enlarged(maps: Any, size: tuple[int, int]) -> Any:
    """Maps (..., rows, columns) at the size of the image, bicubic."""
    import torch

    maps = torch.as_tensor(maps)
    flat = maps.reshape(-1, 1, *maps.shape[-2:]).float()
    big = torch.nn.functional.interpolate(flat, size, mode="bicubic", align_corners=False)
    return big.reshape(*maps.shape[:-2], *size)


def peak_box(heat_map: Float[np.ndarray, "height width"], percentile: float = 95.0) -> Box:
    """The smallest box that holds all pixels at or above a percentile of the heat map.

    >>> peak_box(np.eye(10)[::-1][:, ::-1] * np.arange(10), 99)
    (9, 10, 9, 10)
    """
    check_range(percentile, "percentile", low=0, high=100)
    high = heat_map >= np.percentile(heat_map, percentile)
    rows, columns = np.flatnonzero(high.any(axis=1)), np.flatnonzero(high.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def crop(image: Any, box: Box) -> Any:
    """A part of an image (channel, height, width)."""
    top, bottom, left, right = box
    return image[:, top:bottom, left:right]
