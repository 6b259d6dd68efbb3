"""What the learners on three sequences train: a network with a text encoder before it, on summed gradients of batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unsnarl.systems.multimodal.dlf._accumulation import accumulated_losses
from unsnarl.systems.multimodal.dlf._network import MODALITIES
from unsnarl.systems.multimodal.dlf._plateau import PlateauWatch
from unsnarl.systems.multimodal.dlf._text import TextEncoder
from unsnarl.training import Task


class FusionTask(Task):
    """A network on three sequences whose output has `heads["final"]`.

    A batch of the loop is what `accumulate` batches see; it is cut into batches of `batch_size` again.

    Args:
        network: called as `network(inputs, masks, losses=...)`.
        encoder: of text; None where text comes as vectors.
        dims: features of each modality, by "l", "v", "a".
        lengths: steps of each modality.
        lr: learning rate of Adam.
        batch_size: observations a batch.
        clip_value: bound of gradients, element by element.
    """

    columns: tuple[str, ...] = ("loss",)
    watch: PlateauWatch

    def __init__(
        self,
        network: nn.Module,
        *,
        encoder: TextEncoder | None,
        dims: Mapping[str, int],
        lengths: Mapping[str, int],
        lr: float,
        batch_size: int,
        clip_value: float | None,
    ):
        super().__init__()
        self.network, self.encoder = network, encoder
        self.lr, self.batch_size, self.clip_value = lr, batch_size, clip_value
        for m in MODALITIES:
            self.register_buffer(f"mean_{m}", torch.zeros(lengths[m], dims[m]))

    @property
    def means(self) -> dict[str, Tensor]:
        """Mean sequences of the training data (time, features); those of text are of its vectors."""
        return {m: getattr(self, f"mean_{m}") for m in MODALITIES}

    @property
    def learned(self) -> list[nn.Parameter]:
        """What is learned."""
        return [p for p in self.parameters() if p.requires_grad]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam without weight decay: the official config has one, the official code does not pass it on."""
        groups: list[dict[str, Any]] = [{"params": self.learned, "clip_value": self.clip_value}]
        return {"main": torch.optim.Adam(groups, lr=self.lr)}

    def schedule(self, step: int) -> tuple[str, ...]:
        """The one phase, at the learning rate that validation has led to."""
        if hasattr(self, "watch"):
            for group in self.optimizers_["main"].param_groups:
                group["lr"] = self.lr * self.watch.lr_factor
        return ("main",)

    def inputs(self, l: Tensor, v: Tensor, a: Tensor) -> dict[str, Tensor]:  # noqa: E741
        """Sequences of vectors."""
        return {"l": l if self.encoder is None else self.encoder(l), "v": v, "a": a}

    def outputs(self, *tensors: Tensor, losses: bool = False) -> Any:
        """The network's output for values and masks, each in the order l, v, a."""
        return self.network(self.inputs(*tensors[:3]), dict(zip(MODALITIES, tensors[3:6], strict=True)), losses=losses)

    def losses(self, *tensors: Tensor) -> dict[str, Tensor]:
        """The losses of one batch: values, masks, labels."""
        raise NotImplementedError

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The losses of a step: their sum over its batches as "loss", the others as means."""
        batches = list(zip(*(part.split(self.batch_size) for part in batch), strict=True))
        devices = [] if generator.device.type == "cpu" else [generator.device]
        with torch.random.fork_rng(devices=devices):  # dropout draws from torch's global generator
            torch.manual_seed(generator.initial_seed())
            terms = accumulated_losses(self.losses, self.learned, batches, clip_value=self.clip_value)
        if hasattr(self, "watch"):
            self.watch.add({**terms, "loss": terms["loss"] / len(batches)})
        return terms
