"""The host that the last bottleneck state shifts, its pooler and its head; and the task that trains all of it.

s     = dropout(LayerNorm(x0 + shift * (W b + c)))         x0: the host's tokens; b: the last state
y_hat = W2 dropout(tanh(W1 pool(s) + c1)) + c2             pool: the first token, or the mean of the tokens
loss  = task loss + 2 / (beta + gamma) * bottleneck loss   (eq. 8)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.nn._text_host import last_hidden_state
from unsnarl.systems.multimodal.ithp._bottleneck import ITHP
from unsnarl.training import Task, decayed_adam, stream_seed

POOLERS = ("first", "mean")


@dataclass(frozen=True, eq=False)
class Fused:
    """What a fusion makes of tokens and detectors.

    Attributes:
        states: the state of each level, (batch, token, width); the last one shifts the host.
        posteriors: mean and log-variance of each level's states; none where states are not stochastic.
        levels: rate and distortion of each level, as `ITHPOutput` has them.
        loss: to be added to the task's loss; None where there is none.
    """

    states: list[Tensor]
    posteriors: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    levels: list[tuple[Tensor, Tensor | None]] = field(default_factory=list)
    loss: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Perceived:
    """What the networks make of a batch.

    Attributes:
        logits: (batch, outputs).
        tokens: the host's tokens x0, (batch, token, width).
        shift: what is added to them.
        fused: states, rates and distortions.
    """

    logits: Tensor
    tokens: Tensor
    shift: Tensor
    fused: Fused


class HostShift(nn.Module):
    """Residual shift of a host's tokens, pooler and head.

    Args:
        width: features of the host's tokens.
        state: width of the state that shifts them.
        outputs: numbers predicted, or classes.
        shift: weight of the shift.
        pooler: "first" token, as published, or "mean" of the tokens.
        dropout: after the layer norm.
        head_dropout: before the head.
    """

    def __init__(
        self, width: int, state: int, outputs: int, *, shift: float, pooler: str, dropout: float, head_dropout: float
    ):
        super().__init__()
        self.shift_weight, self.pooler = shift, pooler
        self.expand = nn.Linear(state, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, width)
        self.head_dropout = nn.Dropout(head_dropout)
        self.head = nn.Linear(width, outputs)

    def shift(self, state: Float[Tensor, "batch token state"]) -> Float[Tensor, "batch token width"]:
        """What a state adds to the tokens."""
        return self.shift_weight * self.expand(state)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        shift: Float[Tensor, "batch token width"],
        mask: Bool[Tensor, "batch token"],
    ) -> Float[Tensor, "batch output"]:
        """Logits of shifted tokens; the mask says which tokens a mean is over."""
        shifted = self.dropout(self.norm(tokens + shift))
        if self.pooler == "first":
            pooled = shifted[:, 0]
        else:
            weight = mask.to(shifted.dtype)
            pooled = torch.einsum("btd,bt->bd", shifted, weight) / weight.sum(1, keepdim=True).clamp_min(1)
        logits: Tensor = self.head(self.head_dropout(torch.tanh(self.dense(pooled))))
        return logits


class ShiftedHostTask(Task):
    """Host, fusion, shift and head with their losses; detectors enter through `fuse`, which subclasses may replace.

    Args:
        fusion: what turns tokens and detectors into a state; `ITHP` here.
        host_shift: shift, pooler and head.
        encoder: the text encoder that is fine-tuned; None where tokens come as arrays.
        classification: cross-entropy instead of squared error.
        scaler: scales detectors; its ranges are buffers.
        lr, weight_decay, warmup, steps: AdamW, its decay (not of biases and layer norms), and the schedule: linear warm-up
            over that share of the steps, then linear decay to zero.
        attend_pads: pads are read by the encoder and count in rates and distortions, as in the official code.
        noise: draw the states while training.
        initializer_range: weights of linear layers start normal with this standard deviation, biases at zero, as in the
            official code; None leaves torch's own start.
    """

    reads_detectors = False

    def __init__(
        self,
        fusion: nn.Module,
        host_shift: HostShift,
        *,
        encoder: nn.Module | None,
        classification: bool,
        scaler: DetectorScaler,
        lr: float,
        weight_decay: float,
        warmup: float,
        steps: int,
        attend_pads: bool,
        noise: bool = True,
        initializer_range: float | None = 0.02,
    ):
        super().__init__()
        self.fusion, self.host_shift, self.scaler = fusion, host_shift, scaler
        if initializer_range is not None:
            for module in [*fusion.modules(), *host_shift.modules()]:
                if isinstance(
                    module, nn.Linear
                ):  # before the encoder is attached: its weights are not for starting over
                    nn.init.normal_(module.weight, std=initializer_range)
                    nn.init.zeros_(module.bias)
        self.encoder = encoder
        self.classification, self.attend_pads, self.noise = classification, attend_pads, noise
        self.lr, self.weight_decay, self.warmup, self.steps = lr, weight_decay, warmup, steps
        self.register_buffer("label_mean", torch.zeros(()))
        self.register_buffer("label_scale", torch.ones(()))
        self.label_mean: Tensor
        self.label_scale: Tensor

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW; decay spares biases and layer norms."""
        norms = [module for module in self.modules() if isinstance(module, nn.LayerNorm)]
        return {"main": decayed_adam(self, lr=self.lr, weight_decay=self.weight_decay, undecayed=norms)}

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then linear decay, as a function of the steps done."""
        rise = self.warmup * self.steps
        if step < rise:
            return self.lr * step / max(1.0, rise)
        return self.lr * max(0.0, (self.steps - step) / max(1.0, self.steps - rise))

    def host_tokens(self, prime: Tensor, mask: Tensor) -> Tensor:
        """Tokens as they are; those of pieces from the encoder."""
        if self.encoder is None or prime.is_floating_point():
            return prime
        return last_hidden_state(self.encoder, prime, None if self.attend_pads else mask)

    def fuse(
        self,
        tokens: Tensor,
        detectors: Sequence[Tensor] | None,
        mask: Tensor,
        observed: Sequence[Tensor] | None,
        *,
        sample: bool,
        generator: torch.Generator | None,
    ) -> Fused:
        """The states of tokens; detectors reach distortions and loss alone."""
        assert isinstance(self.fusion, ITHP)
        out = self.fusion(
            tokens,
            detectors,
            None if self.attend_pads else mask,
            detector_masks=observed,
            sample=sample,
            generator=generator,
        )
        weight = self.fusion.objective_weight
        loss = None if out.loss is None or weight == 0 else weight * out.loss
        return Fused(out.b, list(zip(out.mu, out.logvar, strict=True)), out.levels, loss)

    def perceive(
        self,
        prime: Tensor,
        mask: Tensor,
        detectors: Sequence[Tensor] | None = None,
        observed: Sequence[Tensor] | None = None,
        *,
        sample: bool = False,
        generator: torch.Generator | None = None,
    ) -> Perceived:
        """Everything from the inputs to the logits."""
        tokens = self.host_tokens(prime, mask)
        if detectors is not None:
            detectors = [self.scaler(detector) for detector in detectors]
        fused = self.fuse(tokens, detectors, mask, observed, sample=sample, generator=generator)
        shift = self.host_shift.shift(fused.states[-1])
        return Perceived(self.host_shift(tokens, shift, mask), tokens, shift, fused)

    def outputs(self, logits: Tensor) -> Tensor:
        """Predictions in the unit of the labels, or class probabilities."""
        return logits.softmax(1) if self.classification else logits[:, 0] * self.label_scale + self.label_mean

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Task loss + weighted bottleneck loss of (prime, mask, labels, labelled, detectors..., observed...)."""
        for group in self.prepare()["main"].param_groups:
            group["lr"] = self.learning_rate(step)
        prime, mask, labels, labelled, *rest = batch
        half = len(rest) // 2
        with torch.random.fork_rng(devices=[]):  # dropout draws from torch's global generator
            torch.manual_seed(stream_seed(generator.initial_seed(), 1))  # unrelated to the draws of the states
            seen = self.perceive(
                prime, mask, rest[:half] or None, rest[half:] or None, sample=self.noise, generator=generator
            )
        losses = {"task": self._task_loss(seen.logits, labels, labelled)}
        for level, (rate, error) in enumerate(seen.fused.levels):
            losses[f"rate {level}"] = rate
            if error is not None:
                losses[f"distortion {level}"] = error
        if seen.fused.loss is not None:
            losses["bottleneck"] = seen.fused.loss
        total = losses["task"] + losses["bottleneck"] if "bottleneck" in losses else losses["task"]
        return {"loss": total, **losses}

    def _task_loss(self, logits: Tensor, labels: Tensor, labelled: Tensor) -> Tensor:
        if self.classification:
            each = F.cross_entropy(logits, labels.long(), reduction="none")
        else:
            each = (logits[:, 0] - (labels - self.label_mean) / self.label_scale).square()
        weight = labelled.to(each.dtype)
        return (each * weight).sum() / weight.sum().clamp_min(1)


class DetectorScaler(nn.Module):
    """Brings detectors to [0, 1], or to a common scale.

    "train" uses the range of each feature on the training data. "batch", as the official code, uses the range of the whole
    tensor at hand, [CLS] and pads included, so that what a row looks like depends on its neighbours. "standard" gives
    each feature mean 0 and variance 1 on the training data, for models that read detectors. None leaves values as they are.

    Args:
        dims: features of each detector.
        mode: "train", "batch", "standard" or None.
    """

    def __init__(self, dims: Sequence[int], mode: str | None):
        super().__init__()
        self.mode = mode
        for i, size in enumerate(dims):
            self.register_buffer(f"low_{i}", torch.zeros(size))
            self.register_buffer(f"range_{i}", torch.ones(size))

    def learn(self, index: int, words: Float[Tensor, "word feature"]) -> None:
        """Range, or mean and deviation, of a detector's features on training words; those that never change become 0."""
        if self.mode == "standard":
            spread, low = torch.std_mean(words.double(), 0, correction=0)
        else:
            low = words.amin(0)
            spread = words.amax(0) - low
        self.get_buffer(f"low_{index}").copy_(low)
        self.get_buffer(f"range_{index}").copy_(torch.where(spread > 0, spread, 1.0))

    def words(self, index: int, values: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch feature"]:
        """Words' features before special pieces and pads are put in as zeros; what lies outside the training range is cut."""
        if self.mode not in ("train", "standard"):
            return values
        scaled = (values - self.get_buffer(f"low_{index}")) / self.get_buffer(f"range_{index}")
        return scaled.clamp(0, 1) if self.mode == "train" else scaled

    def forward(self, values: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch feature"]:
        """A whole batch, as the loss sees it."""
        if self.mode != "batch":
            return values
        low, high = values.min(), values.max()
        return (values - low) / torch.where(high > low, high - low, 1.0)
