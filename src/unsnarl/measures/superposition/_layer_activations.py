"""The activations of one layer as rows: inputs, positions of an image or tokens of a text, each a sample of N neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import as_matrix, check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.nn._recorder import ActivationRecorder, find_layers

KEPT_BYTES = 2**28
"""Activations up to this size are kept in memory; larger ones are computed a second time when they are encoded."""

CHANNELS_FIRST = (
    nn.Conv1d,
    nn.BatchNorm1d,
    nn.MaxPool1d,
    nn.AvgPool1d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveMaxPool1d,
    nn.ConvTranspose1d,
)
"""Layers whose three-dimensional output is (input, channel, position), not (input, position, neuron)."""


@dataclass(frozen=True, eq=False)
class LayerActivations:
    """What a layer says about a stream of inputs.

    Attributes:
        sample: at most `samples` rows drawn at random from all, in random order: what an autoencoder is trained on.
        rows: how many rows there are in all: inputs times positions.
        inputs: how many inputs.
        layer: the layer's name.
        site: in words, what was recorded: side and layer, and whether its values are signed or never negative.
        signed: whether a value is negative; a layer behind a ReLU has none.
        again: calling it gives all rows anew, in blocks (rows, N).
    """

    sample: Float[Tensor, "sample neuron"]
    rows: int
    inputs: int
    layer: str
    site: str
    signed: bool
    again: Callable[[], Iterator[Tensor]]

    @property
    def neurons(self) -> int:
        """N."""
        return self.sample.shape[1]

    @staticmethod
    def of(activations: Any, *, samples: int = 10_000, seed: int = 0) -> LayerActivations:
        """The same of a plain matrix (n, N).

        Raises:
            DataError: not a finite numeric matrix.
        """
        matrix = as_matrix(activations, "activations", min_rows=1)
        rows = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))
        sample = _Reservoir(samples, seed)
        sample.add(rows)
        signed = bool((rows < 0).any())
        return LayerActivations(
            sample.rows, len(rows), len(rows), "", f"activations, {_values(signed)}", signed, lambda: iter((rows,))
        )


def record_layer(
    model: nn.Module,
    layer: str | nn.Module,
    loader: Iterable[Any],
    *,
    side: Literal["output", "input"] | str = "output",
    channels: Literal["auto", "first", "last"] | str = "auto",
    inputs: int | None = 10_000,
    samples: int = 10_000,
    seed: int = 0,
) -> LayerActivations:
    """Record a layer in evaluation mode, without gradients; the model is put back into the mode it was in.

    Args:
        model: any network, such as a transformers model.
        layer: name as `model.named_modules()` gives it, or the module itself.
        loader: batches: tensors, tuples that begin with one, or dictionaries of keywords. Where these have an
            `attention_mask`, masked positions are dropped. An iterator that can be read only once is put into a list.
        side: the layer's "output" or its first "input".
        channels: where the neurons are in a tensor of more than two dimensions. "auto": the last dimension of three
            (tokens), the first after the batch of four or five (images), and of three for one-dimensional convolutions.
        inputs: the most inputs; None takes all.
        samples: the most rows in `sample`, drawn at random from all rows of all inputs.
        seed: of that draw.

    Raises:
        UnknownNameError, OptionError: no such layer.
        DataError: no inputs, activations that are not finite or are not of floating point, or of another shape than
            (input, ..., neuron).

    Cost: one pass of the model; a second one when activations of more than 256 MB are encoded.
    """
    check_choice(channels, ("auto", "first", "last"), "channels")
    check_range(samples, "samples", low=1, integer=True)
    if inputs is not None:
        check_range(inputs, "inputs", low=1, integer=True)
    name, module = _one_layer(model, layer)
    if isinstance(loader, Iterator):
        loader = list(loader)
    first = channels == "first" or (channels == "auto" and isinstance(module, CHANNELS_FIRST))
    where = "the model's output" if name == "" else f"layer {name!r}"

    def blocks() -> Iterator[tuple[Tensor, int]]:
        return _blocks(model, name, loader, side, None if channels == "auto" and not first else first, inputs, where)

    sample, kept, size = _Reservoir(samples, seed), [], 0
    rows = seen = 0
    lowest = torch.inf
    for block, count in blocks():
        rows, seen = rows + len(block), seen + count
        if len(block):
            lowest = min(lowest, block.min().item())
            sample.add(block)
            size += block.numel() * block.element_size()
            kept.append(block)
        if size > KEPT_BYTES:
            kept.clear()
    if rows == 0:
        raise DataError("loader gives no inputs, so there are no activations")
    signed = lowest < 0
    site = f"{side} of {where} ({type(module).__name__}), {_values(signed)}"

    def again() -> Iterator[Tensor]:
        return iter(kept) if size <= KEPT_BYTES else (block for block, _ in blocks())

    return LayerActivations(sample.rows, rows, seen, name, site, signed, again)


def _values(signed: bool) -> str:
    return "signed, so not post-ReLU" if signed else "never negative, as post-ReLU"


def _one_layer(model: nn.Module, layer: str | nn.Module) -> tuple[str, nn.Module]:
    if not isinstance(layer, str | nn.Module):
        raise OptionError(f"layer must be a name or a module, not a {type(layer).__name__}")
    return next(iter(find_layers(model, layer).items()))


def _blocks(
    model: nn.Module,
    layer: str,
    loader: Iterable[Any],
    side: str,
    first: bool | None,
    limit: int | None,
    where: str,
) -> Iterator[tuple[Tensor, int]]:
    """Rows (r, N) of each batch, and how many inputs they come from."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    modes = {module: module.training for module in model.modules()}
    seen = 0
    model.eval()
    try:
        with ActivationRecorder(model, layer, side=side) as recorder:
            for batch in loader:
                with torch.no_grad():
                    mask = run_batch(model, batch, device)
                value = recorder[layer]
                if not value.is_floating_point():
                    raise DataError(f"{where} gives {value.dtype}, not activations")
                keep = len(value) if limit is None else min(len(value), limit - seen)
                rows = rows_of(value[:keep], None if mask is None else mask[:keep], first, where)
                if not bool(torch.isfinite(rows).all()):
                    raise DataError(f"{where} has activations that are not finite")
                seen += keep
                yield rows, keep
                if limit is not None and seen >= limit:
                    return
    finally:
        for module, mode in modes.items():
            module.training = mode


def run_batch(model: nn.Module, batch: Any, device: torch.device) -> Tensor | None:
    """Run a model on a batch of any kind; the attention mask that came with it, if one did."""
    if isinstance(batch, Mapping):
        given = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items() if k != "labels"}
        model(**given)
        return given.get("attention_mask")
    if isinstance(batch, tuple | list) and len(batch):
        batch = batch[0]
    if not isinstance(batch, Tensor):
        raise DataError(f"loader must give tensors, tuples or dictionaries of them, not a {type(batch).__name__}")
    model(batch.to(device))
    return None


def rows_of(
    value: Float[Tensor, "n ..."], mask: Tensor | None, first: bool | None, where: str
) -> Float[Tensor, "row neuron"]:
    """(n, N), (n, positions, N) or (n, C, ...) as rows of neurons on the CPU, in float32; masked positions left out."""
    if value.ndim < 2:
        raise DataError(f"{where} gives one number an input (shape {tuple(value.shape)}); it has no neurons to share")
    if value.ndim > 2 and (first if first is not None else value.ndim > 3):
        value = value.movedim(1, -1)
    rows = value.reshape(-1, value.shape[-1])
    if mask is not None and value.ndim == 3:
        if mask.shape != value.shape[:2]:
            raise DataError(
                f"the attention mask has shape {tuple(mask.shape)}, but {where} gives {tuple(value.shape[:2])} positions"
            )
        rows = rows[mask.reshape(-1).bool()]
    return rows.to("cpu", torch.float32, copy=True)  # an in-place layer may write over what the hook saw


class _Reservoir:
    """A uniform sample without replacement from a stream of rows, in random order: the rows with the smallest keys."""

    def __init__(self, size: int, seed: int):
        check_range(size, "samples", low=1, integer=True)
        self.size = int(size)
        self.generator = torch.Generator().manual_seed(seed)
        self.keys = torch.empty(0)
        self.rows = torch.empty(0, 0)

    def add(self, rows: Tensor) -> None:
        keys = torch.rand(len(rows), generator=self.generator)
        if len(self.keys) == self.size:  # most of a long stream is turned away here
            good = keys < self.keys[-1]
            keys, rows = keys[good], rows[good]
        both = torch.cat([self.keys, keys])
        order = both.argsort()[: self.size]
        self.rows = torch.cat([self.rows, rows])[order] if len(self.keys) else rows[order]
        self.keys = both[order]
