"""What a prediction of a shifted host rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unsnarl.systems.multimodal.ithp._bottleneck import ITHP
from unsnarl.systems.multimodal.ithp._inputs import Inputs


@dataclass(frozen=True, eq=False)
class PerceptionExplanation:
    """Predictions taken apart, one row an observation.

    Attributes:
        prediction: numbers, or the probability of each class.
        without_shift: the same with the host's tokens as they are, as if no state had shifted them.
        effect: by how much each token's shift moves the prediction (of the most probable class): prediction minus the
            prediction with that token's shift left out; 0 at pads.
        mask: which tokens are there.
        rate: for each level, nats that the state of each token carries about its input, summed over dimensions; an upper
            bound on what a probe can find in it.
        distortion: detector -> mean squared error of its prediction, on the scale of [0, 1]; of those detectors that were
            given. NaN where none of an observation's tokens was observed.
        word: the word of each token; -1 for special pieces and pads. None where tokens came as arrays.
        words: the words, where a host read them or the data set has them.
    """

    prediction: Float[np.ndarray, "n output"]
    without_shift: Float[np.ndarray, "n output"]
    effect: Float[np.ndarray, "n token"]
    mask: Bool[np.ndarray, "n token"]
    rate: list[Float[np.ndarray, "n token"]]
    distortion: dict[str, Float[np.ndarray, " n"]]
    word: Int[np.ndarray, "n token"] | None
    words: list[list[str]] | None

    def __len__(self) -> int:
        return len(self.prediction)

    def table(self, index: int) -> pd.DataFrame:
        """One observation's words (or tokens) with the effect of their shift and their rates, in the order of the sentence.

        Pieces of a word are added up; special pieces are left out.
        """
        here = self.mask[index]
        place = np.arange(len(here)) if self.word is None else self.word[index]
        kept = here & (place >= 0)
        columns: dict[str, Any] = {"token": place[kept], "effect of its shift": self.effect[index][kept]}
        for level, rate in enumerate(self.rate):
            columns[f"rate {level}, nats"] = rate[index][kept]
        table = pd.DataFrame(columns).groupby("token", as_index=False).sum()
        if self.words is not None:
            table.insert(1, "word", [self.words[index][int(i)] for i in table["token"]])
        return table


def explain_in_parts(learner: Any, inputs: Inputs, words: list[list[str]] | None) -> PerceptionExplanation:
    """`ShiftedHostLearner.explain`, a few rows at a time."""
    task, names = learner.task_, list(learner.facts_["detectors"])
    places = [names.index(name) for name in inputs.names]
    count = len(places)

    def part(prime: Tensor, mask: Tensor, *rest: Tensor) -> dict[str, Tensor]:
        detectors, observed = rest[:count], rest[count:]
        seen = task.perceive(prime, mask, detectors if task.reads_detectors else None)
        outputs = task.outputs(seen.logits).reshape(len(prime), -1)
        chosen = outputs.argmax(1, keepdim=True)

        def shifted(shift: Tensor) -> Tensor:
            return task.outputs(task.host_shift(seen.tokens, shift, mask)).reshape(len(prime), -1)

        result = {"prediction": outputs, "without": shifted(torch.zeros_like(seen.shift))}
        effects = []
        for token in range(mask.shape[1]):  # the head alone, whose cost is small beside a host's
            shift = seen.shift.clone()
            shift[:, token] = 0
            effects.append((outputs - shifted(shift)).gather(1, chosen)[:, 0] * mask[:, token])
        result["effect"] = torch.stack(effects, 1)
        for level, (mu, logvar) in enumerate(seen.fused.posteriors):
            result[f"rate {level}"] = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(2) * mask
        if isinstance(task.fusion, ITHP):
            for place, target, there in zip(places, detectors, observed, strict=True):
                error = (task.fusion.decode(seen.fused.states[place], place) - task.scaler(target)).square().mean(2)
                counted = (there & mask).to(error.dtype)
                result[f"error {names[place]}"] = (error * counted).sum(1) / counted.sum(1)
        return result

    tensors = [*(inputs.detectors or []), *(inputs.observed or [])]
    parts = learner._in_parts(part, inputs.prime, inputs.mask, *tensors, rows=64)
    return PerceptionExplanation(
        prediction=parts["prediction"].numpy(),
        without_shift=parts["without"].numpy(),
        effect=parts["effect"].numpy(),
        mask=inputs.mask.numpy(),
        rate=[parts[key].numpy() for key in sorted(parts) if key.startswith("rate ")],
        distortion={key.removeprefix("error "): parts[key].numpy() for key in parts if key.startswith("error ")},
        word=None if inputs.word is None else inputs.word.numpy(),
        words=words,
    )
