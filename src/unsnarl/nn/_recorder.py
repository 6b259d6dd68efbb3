"""What the layers of a network put out (or take in) while it runs: recorded by hooks, the network left as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError, UnknownNameError


class ActivationRecorder:
    """Records activations of named layers while the context is open; each forward pass replaces the last one's.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    >>> with ActivationRecorder(net, ["0", "1"]) as seen:
    ...     _ = net(torch.ones(5, 3))
    >>> seen["0"].shape, bool((seen["1"] >= 0).all())
    (torch.Size([5, 4]), True)

    A layer that runs several times in one pass keeps its last activation. Where a layer returns a tuple or a
    dictionary, its first tensor is taken. Activations are copies, detached unless `detach=False`.

    Args:
        model: any network.
        layers: names as `model.named_modules()` gives them, or the modules themselves; "" is the whole network.
        side: "output" of the layer, or its first "input".
        detach: cut the activations from the graph.

    Raises:
        UnknownNameError: the network has no layer of that name.
        OptionError: a module that is no part of the network, no layer at all, or an unknown side.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str | nn.Module] | str | nn.Module,
        *,
        side: Literal["output", "input"] | str = "output",
        detach: bool = True,
    ):
        check_choice(side, ("output", "input"), "side")
        self.modules = find_layers(model, layers)
        self.side, self.detach = side, detach
        self.activations: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> ActivationRecorder:
        for name, module in self.modules.items():
            self._handles.append(module.register_forward_hook(self._hook(name), with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __getitem__(self, name: str) -> Tensor:
        """The layer's activation in the last forward pass.

        Raises:
            DataError: the layer did not run.
            UnknownNameError: it is not one of the recorded layers.
        """
        if name not in self.modules:
            raise UnknownNameError("recorded layer", name, list(self.modules))
        if name not in self.activations:
            raise DataError(f"layer {name!r} has not run since the recorder was opened")
        return self.activations[name]

    def _hook(self, name: str) -> Any:
        def keep(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
            value = _first_tensor((arguments, keywords) if self.side == "input" else output)
            if value is None:
                raise DataError(f"layer {name!r} has no tensor as its {self.side}, so there is nothing to record")
            # a copy: a layer that works in place may write over the tensor later in the same pass
            self.activations[name] = value.detach().clone() if self.detach else value.clone()

        return keep


def find_layers(model: nn.Module, layers: Sequence[str | nn.Module] | str | nn.Module) -> dict[str, nn.Module]:
    """Name -> module of the layers asked for by name or as modules, in the order asked.

    Raises:
        UnknownNameError: the network has no layer of that name.
        OptionError: a module that is no part of the network, or no layer at all.
    """
    wanted = [layers] if isinstance(layers, str | nn.Module) else list(layers)
    if not wanted:
        raise OptionError("layers is empty; name at least one layer")
    known = dict(model.named_modules())
    names = {id(module): name for name, module in known.items()}
    found: dict[str, nn.Module] = {}
    for layer in wanted:
        if isinstance(layer, str):
            if layer not in known:
                raise UnknownNameError("layer", layer, list(known))
            found[layer] = known[layer]
        elif id(layer) in names:
            found[names[id(layer)]] = layer
        else:
            raise OptionError(f"layers names a {type(layer).__name__} that is no part of the {type(model).__name__}")
    return found


def record_activations(
    model: nn.Module,
    batches: Iterable[Any],
    layers: Sequence[str | nn.Module] | str | nn.Module,
    *,
    side: Literal["output", "input"] | str = "output",
    limit: int | None = None,
) -> dict[str, Tensor]:
    """The activations of named layers on a stream of inputs, in evaluation mode and without gradients.

    Args:
        model: any network; put back into the mode it was in.
        batches: tensors, tuples or lists whose first entry is the input, or dictionaries of keyword arguments.
        layers: as in `ActivationRecorder`.
        side: "output" of the layers, or their first "input".
        limit: stop after this many inputs (rows of the first dimension).

    Returns:
        Layer name -> tensor (n, ...), on the CPU. For memory's sake give a `limit`: everything is kept.

    Raises:
        DataError: no batches at all.
        UnknownNameError, OptionError: as `ActivationRecorder`.
    """
    if limit is not None:
        check_range(limit, "limit", low=1, integer=True)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    parts: dict[str, list[Tensor]] = {}
    modes = {module: module.training for module in model.modules()}
    seen = 0
    model.eval()
    try:
        with torch.no_grad(), ActivationRecorder(model, layers, side=side) as recorder:
            for batch in batches:
                _call(model, batch, device)
                rows = None
                for name in recorder.modules:
                    value = recorder[name]
                    rows = len(value) if rows is None else rows
                    keep = len(value) if limit is None else limit - seen
                    parts.setdefault(name, []).append(value[:keep].cpu())
                seen += rows or 0
                if limit is not None and seen >= limit:
                    break
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not parts:
        raise DataError("batches is empty, so there are no activations")
    return {name: torch.cat(values) for name, values in parts.items()}


def _call(model: nn.Module, batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Mapping):
        return model(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()})
    if isinstance(batch, tuple | list):
        batch = batch[0]
    if not isinstance(batch, Tensor):
        raise DataError(f"batches must give tensors, tuples or dictionaries of them, not a {type(batch).__name__}")
    return model(batch.to(device))


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        for part in value:
            found = _first_tensor(part)
            if found is not None:
                return found
    return None
