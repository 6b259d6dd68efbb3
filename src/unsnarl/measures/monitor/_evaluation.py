"""The fixed inputs a monitor looks at, and what a layer makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range, check_same_length, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.nn._recorder import record_activations

POOLS = ("auto", "mean", "first", "flatten")
_LABELS = ("labels", "label", "targets", "target", "y")
_BATCH = 256


class Evaluation:
    """A few inputs, with labels where there are some, kept for the whole of training.

    Args:
        inputs: a tensor or array (n, ...); or batches: tensors, pairs (inputs, labels), or dictionaries of the model's
            keywords, from which labels under a usual name are taken out. A shuffled loader is read once.
        labels: n labels, where they do not come with the batches.
        limit: keep so many inputs, the first ones.

    Raises:
        DataError: no inputs, inputs of a kind the above does not name, or another number of labels.
        OptionError: limit below 2.
    """

    def __init__(self, inputs: Any, labels: Any | None = None, *, limit: int = 1_000):
        check_range(limit, "limit", low=2, integer=True)
        with torch.random.fork_rng(devices=[]):  # a shuffled loader must not move the training's random numbers
            self.batches, found = _collect(inputs, int(limit))
        self.n = sum(_rows(batch) for batch in self.batches)
        if self.n < 2:
            raise DataError(f"the monitor needs at least 2 inputs, got {self.n}")
        self.labels: np.ndarray | None = None
        if labels is not None:
            given = to_numpy(labels, "labels")
            if len(given) < self.n or (len(given) > self.n and self.n < limit):
                check_same_length(inputs=range(self.n), labels=given)
            self.labels = given[: self.n]
        elif found is not None:
            self.labels = found

    def inputs(self) -> Float[np.ndarray, "n dimension"]:
        """The inputs themselves, flattened; of a dictionary its first tensor of floats, or else its first tensor."""
        return np.concatenate([_first_input(b).flatten(1).double().cpu().numpy() for b in self.batches])

    def activations(
        self, model: nn.Module, layers: Mapping[str, str], pool: str
    ) -> dict[str, Float[np.ndarray, "n width"]]:
        """Layer -> its values on the inputs, one row an input.

        Args:
            model: the network, recorded in evaluation mode.
            layers: name -> side ("output" or "input").
            pool: what to do with several positions of an input, see `pooled`.
        """
        found: dict[str, Float[np.ndarray, "n width"]] = {}
        with torch.random.fork_rng(devices=[]):
            for side in dict.fromkeys(layers.values()):
                names = [name for name, which in layers.items() if which == side]
                for name, value in record_activations(model, self.batches, names, side=side).items():
                    if len(value) != self.n:
                        raise DataError(
                            f"layer {name!r} gives {len(value):,} rows for {self.n:,} inputs, so rows are no inputs there"
                        )
                    found[name] = pooled(value, pool).double().numpy()
        for name, values in found.items():
            if not np.isfinite(values).all():
                raise DataError(f"layer {name!r} has activations that are not finite")
        return {name: found[name] for name in layers}


def pooled(values: Tensor, pool: str) -> Float[Tensor, "n width"]:
    """One vector an input: of images (n, channel, height, width) and of tokens (n, token, width) the mean over places.

    Args:
        values: activations (n, ...).
        pool: "mean" over places (also "auto"), "first" token (the class token of a ViT), or "flatten" everything.

    Raises:
        OptionError: an unknown pool, or "first" for values that have no tokens.
    """
    check_choice(pool, POOLS, "pool")
    values = values.float()
    if values.ndim == 1:
        return values[:, None]
    if values.ndim == 2 or pool == "flatten":
        return values.flatten(1)
    if pool == "first":
        if values.ndim != 3:
            raise OptionError(f"pool='first' needs tokens (n, token, width), got shape {tuple(values.shape)}")
        return values[:, 0]
    return values.mean(1) if values.ndim == 3 else values.flatten(2).mean(2)


def penultimate(model: nn.Module) -> str:
    """The name of the last linear layer, whose input is the penultimate representation.

    Raises:
        OptionError: the network has no linear layer.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise OptionError(f"the {type(model).__name__} has no linear layer; name the layers to record")
    return names[-1]


def _collect(inputs: Any, limit: int) -> tuple[list[Any], np.ndarray | None]:
    if isinstance(inputs, Tensor | np.ndarray):
        values = torch.as_tensor(inputs)[:limit]
        return list(values.split(_BATCH)), None
    if isinstance(inputs, Mapping) or not isinstance(inputs, Iterable):
        raise DataError(f"inputs must be a tensor, an array or batches, got a {type(inputs).__name__}")
    batches: list[Any] = []
    labels: list[np.ndarray] = []
    left = limit
    for batch in inputs:
        kept, own = _split(batch)
        rows = min(_rows(kept), left)
        batches.append(_cut(kept, rows))
        if own is not None:
            labels.append(to_numpy(own, "labels")[:rows])
        left -= rows
        if not left:
            break
    if labels and len(labels) < len(batches):
        raise DataError("some batches have labels and some have none")
    return batches, np.concatenate(labels) if labels else None


def _split(batch: Any) -> tuple[Any, Any]:
    """A batch as the model takes it, and its labels."""
    if isinstance(batch, Mapping):
        name = next((n for n in _LABELS if n in batch), None)
        return {k: v for k, v in batch.items() if k != name}, None if name is None else batch[name]
    if isinstance(batch, tuple | list):
        return torch.as_tensor(batch[0]), batch[1] if len(batch) > 1 else None
    return torch.as_tensor(batch), None


def _first_input(batch: Any) -> Tensor:
    if not isinstance(batch, Mapping):
        return batch
    tensors = [v for v in batch.values() if isinstance(v, Tensor)]
    if not tensors:
        raise DataError("a batch has no tensor")
    return next((v for v in tensors if v.is_floating_point()), tensors[0])


def _rows(batch: Any) -> int:
    return len(_first_input(batch))


def _cut(batch: Any, rows: int) -> Any:
    if isinstance(batch, Mapping):
        return {k: v[:rows] if isinstance(v, Tensor) else v for k, v in batch.items()}
    return batch[:rows]
