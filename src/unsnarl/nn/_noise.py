"""Noise on what every layer takes in, so that a network is a noisy channel and the information through it is finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import OptionError
from unsnarl.nn._recorder import find_layers


class StochasticNet(nn.Module):
    """A network whose layers each receive their input with noise, in training and in evaluation alike.

    With eps ~ N(0, 1) for every element: relative x + sigma x eps, or additive x + sigma eps (Butakov et al. 2024, arXiv
    2305.08013, where sigma = 1e-3 is the relative kind). A deterministic network is an injective map of its input on almost
    every data set, so I(X; L) is infinite whatever it learns; with the noise it measures how finely L resolves X.

    Layers are the modules that hold weights of their own (Linear, Conv, norms, attention). Noise is added by hooks that exist
    only while this wrapper runs: the wrapped network, called itself, is as it was. Integer inputs (tokens) pass unchanged.

    Relative noise adds nothing to an input that is exactly zero, so a layer behind a ReLU whose units are all off, and a
    black image, still give one value each; take `relative=False` where that matters.

    Args:
        model: any network; its weights are this module's (`state_dict` keys begin with "model.").
        sigma: size of the noise; 0 adds none.
        relative: in units of each element, or absolute.
        seed: of the noise. The stream goes on from pass to pass; `manual_seed` starts it again.
        layers: names or modules that receive noise, as `find_layers` takes them; None for all that hold weights.
        generator: a generator to draw from instead of one made from `seed`.

    Raises:
        OptionError: sigma below 0, or a network without such layers.
        UnknownNameError: no layer of that name.

    >>> net = StochasticNet(nn.Linear(3, 2), sigma=0.1)
    >>> x = torch.ones(4, 3)
    >>> bool((net(x) == net(x)).any()), bool((net.model(x) == net.model(x)).all())
    (False, True)
    >>> bool((net.manual_seed(5)(x) == net.manual_seed(5)(x)).all())
    True
    """

    def __init__(
        self,
        model: nn.Module,
        sigma: float = 1e-3,
        relative: bool = True,
        *,
        seed: int = 0,
        layers: Sequence[str | nn.Module] | str | nn.Module | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_range(sigma, "sigma", low=0)
        check_range(seed, "seed", integer=True)
        chosen = _weighted_layers(model) if layers is None else find_layers(model, layers)
        if not chosen:
            raise OptionError(
                f"{type(model).__name__} has no layer with weights to receive noise; name some with layers="
            )
        self.model = model
        self.sigma, self.relative, self.seed = float(sigma), bool(relative), int(seed)
        self.noisy_layers = list(chosen)
        self._generator = generator
        self._state: Tensor | None = None  # of the own stream, so that copies and pickles carry it

    def manual_seed(self, seed: int) -> StochasticNet:
        """Start the stream of noise from a seed; returns this network.

        Raises:
            OptionError: not an integer.
        """
        check_range(seed, "seed", integer=True)
        self.seed, self._state = int(seed), None
        if self._generator is not None:
            self._generator.manual_seed(int(seed))
        return self

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """The network's output with noise on every layer's input."""
        if self.sigma == 0:
            return self.model(*inputs, **keywords)
        modules = dict(self.model.named_modules())
        stream = _Stream(self._generator, self.seed, self._state)
        handles = [
            modules[name].register_forward_pre_hook(self._hook(modules[name], stream), with_kwargs=True)
            for name in self.noisy_layers
        ]
        try:
            return self.model(*inputs, **keywords)
        finally:
            for handle in handles:
                handle.remove()
            self._state = stream.state()

    def _hook(self, layer: nn.Module, stream: _Stream) -> Any:
        def add(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            noisy: dict[int, Tensor] = {}  # query, key and value are often one tensor, and stay one

            def one(value: Any) -> Any:
                if not isinstance(value, Tensor) or not value.is_floating_point():
                    return value
                if id(value) not in noisy:
                    eps = stream.normal(value)
                    noisy[id(value)] = value + self.sigma * (value * eps if self.relative else eps)
                return noisy[id(value)]

            if isinstance(module, nn.MultiheadAttention):  # masks come after the first three, and stay as they are
                arguments = tuple(one(value) if i < 3 else value for i, value in enumerate(arguments))
                names = ("query", "key", "value")
                return arguments, {k: one(v) if k in names else v for k, v in keywords.items()}
            return tuple(map(one, arguments)), {k: one(v) for k, v in keywords.items()}

        return add

    def extra_repr(self) -> str:
        """Size and kind of the noise."""
        kind = "relative" if self.relative else "additive"
        return f"sigma={self.sigma:g}, {kind}, {len(self.noisy_layers)} layers"


class _Stream:
    """Normal numbers of one forward pass, on any device, from a generator of the user or from a seed and a state."""

    def __init__(self, generator: torch.Generator | None, seed: int, state: Tensor | None):
        self.own = generator is None
        self.seed, self.start = seed, state
        self.generator = generator

    def normal(self, like: Tensor) -> Tensor:
        if self.generator is None:
            self.generator = torch.Generator(device=like.device)
            if self.start is None:
                self.generator.manual_seed(self.seed)
            else:
                self.generator.set_state(self.start)
        device = self.generator.device
        eps = torch.randn(like.shape, generator=self.generator, device=device, dtype=torch.float32)
        return eps.to(device=like.device, dtype=like.dtype)

    def state(self) -> Tensor | None:
        if not self.own or self.generator is None:
            return self.start
        return self.generator.get_state()


def _weighted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Modules with weights of their own and no weighted part inside, and attention layers, which run their parts unseen."""
    found: dict[str, nn.Module] = {}
    inside_attention: set[int] = set()
    for name, module in model.named_modules():
        if id(module) in inside_attention:
            continue
        if isinstance(module, nn.MultiheadAttention):
            inside_attention |= {id(part) for part in module.modules()}
            found[name] = module
        elif next(module.parameters(recurse=False), None) is not None:
            parts = (part for child in module.children() for part in child.parameters())
            if next(parts, None) is None:
                found[name] = module
    return found
