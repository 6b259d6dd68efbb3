"""Why an image got its class: the prototypes, what each said, and how far that can be trusted, in numbers and words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.errors import DataError
from unsnarl.systems.prototypes.prob_psenn._inputs import as_images

FAR = 0.95  # share of the training data that is nearer, from which on nothing explains an input
UNUSUAL = 0.8  # and from which on it is called rather far
AMBIGUOUS = 0.25  # overlap of the distances to two classes
DIVIDED = 0.1  # disagreement of draws, in nats
UNSURE = 0.3  # entropy as a share of its largest value


@dataclass(frozen=True)
class PrototypeExplanation:
    """What `ProbPSENN.explain` found about one image.

    Attributes:
        image: the image, in pixel range 0 to 1, as all images here.
        prediction: the predicted class.
        probabilities: class -> probability, the largest first.
        votes: a row for the prototype of each class: "distance", the mean squared distance to its draws;
            "for prediction", what that adds to the logit of the predicted class; "margin", what it adds to the lead of the
            predicted class over the runner-up. The rows with the largest margins are what the prediction rests on.
        uncertainty: the numbers of `ProbPSENN.uncertainty`; "overlap" is absent for point prototypes.
        words: the same in sentences.
        prototypes: images of the predicted class's prototype: its "mean", the "most likely" one, and of all draws the
            "closest" to the image.
        rival: the runner-up class, and its draw closest to the image.
        distances: squared distance of the image's code to each of these: "mean", "most likely", "closest" and "rival".
        samples: further draws of the predicted class's prototype.
        reconstruction: what the decoder makes of the image's own code: how much of it the codes can say at all.
    """

    image: Float[Tensor, "channel height width"]
    prediction: Any
    probabilities: dict[Any, float]
    votes: pd.DataFrame
    uncertainty: dict[str, float]
    words: list[str]
    prototypes: dict[str, Tensor]
    rival: tuple[Any, Tensor]
    distances: dict[str, float]
    samples: Float[Tensor, "n channel height width"]
    reconstruction: Float[Tensor, "channel height width"]

    def to_page(self) -> dict[str, Any]:
        """Plain data for `unsnarl.report.write_explanation_page`."""
        notes = {
            "mean": "the decoded mean",
            "most likely": "the decoded peak of the density",
            "closest": "of all draws the nearest to the sample",
        }
        if torch.equal(self.prototypes["mean"], self.prototypes["most likely"]):
            del notes["most likely"]
            notes["mean"] = "the decoded mean, which is the most likely one"
        if torch.equal(self.prototypes["mean"], self.prototypes["closest"]):
            notes = {"mean": "a point, not a distribution"}
        shown: list[dict[str, Any]] = [
            {
                "name": f"{name} prototype",
                "class": str(self.prediction),
                "image": self.prototypes[name].numpy(),
                "scores": {"squared distance": self.distances[name]},
                "note": note,
            }
            for name, note in notes.items()
        ]
        shown.append(
            {
                "name": "closest prototype of the runner-up",
                "class": str(self.rival[0]),
                "image": self.rival[1].numpy(),
                "scores": {"squared distance": self.distances["rival"]},
                "note": "the class that comes next",
            }
        )
        meaning = {
            "total": "entropy of the prediction, nats",
            "aleatoric": "entropy that single draws of the prototypes have, nats",
            "epistemic": "disagreement of the draws, nats",
            "explanatory_epistemic": "share of the class's training data that is nearer to its prototype",
            "overlap": "overlap of the distances with those to the class that is hardest to tell apart",
        }
        return {
            "prediction": str(self.prediction),
            "probabilities": {str(name): value for name, value in self.probabilities.items()},
            "reconstruction": self.reconstruction.numpy(),
            "prototypes": shown,
            "samples": self.samples.numpy() if len(notes) > 1 else None,
            "samples_name": f"draws of the prototype of class {self.prediction}",
            "votes": {str(name): float(value) for name, value in self.votes["margin"].items()},
            "votes_name": f"lead over {self.rival[0]} that the distance to each prototype adds, in logits",
            "uncertainty": [
                {"name": name.replace("_", " "), "value": value, "meaning": meaning[name]}
                for name, value in self.uncertainty.items()
            ],
            "words": list(self.words),
        }


def explain(model: Any, x: Any, n_images: int) -> PrototypeExplanation:
    """Gather what a fitted `ProbPSENN` has to say about one image."""
    values = getattr(x, "observations", x)
    if np.ndim(values) == 2 or tuple(np.shape(values)) == model._shape:
        values = values[None]
    images = as_images(values, model._range(), model._shape)
    if len(images) != 1:
        raise DataError(f"explain takes one image, got {len(images)}")
    task, classes = model.task_, model.classes_
    draws = model._draws(model.test_samples)
    with torch.inference_mode():
        code = task.encode(model._to_network(images))
        distances, q = task.answers(model._to_network(images), draws)
    chances = q.mean(1)[0]
    order = chances.argsort(descending=True)
    best, second = int(order[0]), int(order[1])
    means = distances.mean(2)[0]
    w = task.votes.detach()
    votes = pd.DataFrame(
        {
            "distance": means.numpy(),
            "for prediction": (w[:, best] * means).numpy(),
            "margin": ((w[:, best] - w[:, second]) * means).numpy(),
        },
        index=classes,
    )
    found = {name: float(v[0]) for name, v in model.uncertainty(images).items()}
    if model.point:
        found.pop("overlap")
    nearest = distances[0].argmin(1)  # (K,): which draw of each prototype
    picked = draws[nearest, torch.arange(len(classes))]
    peaks = task.prototypes.modes()
    with torch.no_grad():
        stack = torch.stack([task.prototypes.means[best].detach(), peaks[best], picked[best], picked[second], code[0]])
    decoded = _shown(model, model._decoded(stack))
    away = (stack[:4] - stack[4]).square().sum(1).tolist()
    label = classes.tolist()
    return PrototypeExplanation(
        image=_shown(model, images)[0],
        prediction=label[best],
        probabilities={label[int(k)]: float(chances[k]) for k in order},
        votes=votes,
        uncertainty=found,
        words=in_words(found, label[best], label[second], float(chances[best]), float(w[best, best]), len(classes)),
        prototypes={"mean": decoded[0], "most likely": decoded[1], "closest": decoded[2]},
        rival=(label[second], decoded[3]),
        distances=dict(zip(("mean", "most likely", "closest", "rival"), away, strict=True)),
        samples=_shown(model, model.prototype_samples(label[best], n_images)),
        reconstruction=decoded[4],
    )


def in_words(found: dict[str, float], best: Any, second: Any, chance: float, vote: float, n_classes: int) -> list[str]:
    """The uncertainties as sentences a reader can act on."""
    unsure = found["total"] / math.log(n_classes) > UNSURE
    lines = [
        f"The model says {best} with probability {chance:.2f}"
        + (f"; it hesitates, next comes {second}." if unsure else ", and does not hesitate.")
    ]
    far = found["explanatory_epistemic"]
    if far >= FAR:
        lines.append(
            f"Do not trust the explanation: {far:.0%} of the training images of class {best} are nearer to its prototype, so "
            "that no prototype explains this image."
        )
    elif far >= UNUSUAL:
        lines.append(
            f"The image is rather far from the prototype of class {best}: {far:.0%} of its training images are nearer."
        )
    else:
        lines.append(
            f"The image is as near to the prototype of class {best} as its training images are: {far:.0%} of them are nearer."
        )
    if "overlap" in found:
        both = found["overlap"]
        lines.append(
            f"Another class explains it nearly as well: the distances to two prototypes overlap by {both:.0%}."
            if both >= AMBIGUOUS
            else f"No other class explains it as well: the distances to two prototypes overlap by {both:.0%} at most."
        )
        if found["epistemic"] > DIVIDED:
            lines.append(
                f"The draws of the prototypes disagree (by {found['epistemic']:.2f} nats): which prototype is shown matters."
            )
    if vote > 0:
        lines.append(
            f"The prototype of class {best} votes against its own class (weight {vote:.2f}): being far from it counts for "
            f"{best}, so its picture explains nothing."
        )
    return lines


def _shown(model: Any, images: Tensor) -> Tensor:
    """Images in 0 to 1."""
    low, high = (0.0, 255.0) if images.dtype == torch.uint8 else model._range()
    return (images.float() - low) / (high - low)
