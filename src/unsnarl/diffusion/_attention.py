"""What attends to what: attention maps of a denoiser by layer and resolution, with gradients if wanted, and DAAM.

The maps are computed beside the layers by hooks from what the layers were given, so that processors, adapters and fused kernels stay
as they are and images do not change; it costs the queries, the keys and one softmax a second time.

A UNet's cross-attention is softmax(q k^T / sqrt(d)) of places with tokens. A joint transformer attends to places and tokens in
one softmax; its part with places as queries and tokens as keys is "cross", that with places as both is "self". The rows of each part
then sum to less than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unsnarl.arrays import check_choice
from unsnarl.diffusion._hosts import Host
from unsnarl.errors import DataError, OptionError

KINDS = ("cross", "self")
LARGEST_SELF = (
    32  # places a side up to which self-attention is kept unless sizes are named: its maps grow with the fourth power
)


@dataclass(frozen=True)
class AttentionLayer:
    """One layer's maps: where it is, "cross" or "self", and how many places it has a column and a row."""

    name: str
    kind: str
    height: int
    width: int


class AttentionStore:
    """Attention maps of a host's denoiser while the `with` block runs.

    Args:
        host: whose denoiser is watched.
        cross: keep maps of places with tokens.
        self_: keep maps of places with places.
        sizes: only layers with so many places a column; when absent all, but of self-attention those up to 32.
        gradients: keep them, so that a loss on the maps trains what made them.
        heads: "mean" over heads, or "all".
        keep: "mean" over the calls of the denoiser (sampling steps), or "all".
        guided: the denoiser is called with the unconditional half first, as pipelines do with guidance: only the second half is kept.

    Examples:
        `with AttentionStore(host, guided=True) as store: host.generate("a cat", seeds=[0])`, then `store.maps(16)`.

    Memory: without gradients and with the mean over calls, one map a layer: n x places x tokens numbers, or places x places.

    Raises:
        OptionError: neither cross nor self, or another value of heads or keep.
    """

    def __init__(
        self,
        host: Host,
        cross: bool = True,
        self_: bool = False,
        sizes: Sequence[int] | None = None,
        *,
        gradients: bool = False,
        heads: str = "mean",
        keep: str = "mean",
        guided: bool = False,
    ):
        if not (cross or self_):
            raise OptionError("cross and self_ are both False; there would be nothing to keep")
        check_choice(heads, ("mean", "all"), "heads")
        check_choice(keep, ("mean", "all"), "keep")
        self.host, self.cross, self.self_, self.sizes = host, cross, self_, sizes
        self.gradients, self.heads, self.keep, self.guided = gradients, heads, keep, guided
        self._handles: list[Any] = []
        self._shape = host.latent_shape[1:]
        self.reset()

    def reset(self) -> None:
        """Forget all maps."""
        self._maps: dict[AttentionLayer, list[Tensor]] = {}
        self._calls: dict[AttentionLayer, int] = {}

    def __enter__(self) -> AttentionStore:
        self._handles.append(self.host.denoiser.register_forward_pre_hook(self._note_shape, with_kwargs=True))
        for name, module in _attention_layers(self.host.denoiser):
            hook = self._hook(name)
            self._handles.append(module.register_forward_hook(hook, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._handles:
            self._handles.pop().remove()

    def layers(self, kind: str = "cross", size: int | None = None) -> list[AttentionLayer]:
        """The layers whose maps are there, in the order of their first call."""
        check_choice(kind, KINDS, "kind")
        return [one for one in self._maps if one.kind == kind and size in (None, one.height)]

    def layer_maps(self, layer: AttentionLayer) -> Float[Tensor, "*calls_n_heads places keys"]:
        """One layer's maps: (n, places, keys), after n the heads if all are kept, before n the calls if all are kept."""
        kept = self._maps[layer]
        return torch.stack(kept) if self.keep == "all" else kept[0] / self._calls[layer]

    def maps(
        self, size: int = 16, kind: str = "cross", layers: Sequence[str] | None = None
    ) -> Float[Tensor, "*calls_n_heads places keys"]:
        """The mean over layers of one resolution.

        Args:
            size: places a column.
            kind: "cross": keys are tokens; "self": keys are places.
            layers: names, or parts of names such as "up_blocks", of the layers that count.

        Raises:
            DataError: no such layer was called.
        """
        found = [
            one
            for one in self.layers(kind, size)
            if layers is None or any(one.name == part or part in one.name.split(".") for part in layers)
        ]
        if not found:
            there = sorted({(one.kind, one.height) for one in self._maps})
            raise DataError(
                f"no {kind} attention of size {size} is in the store; there are {there or 'no maps at all'}"
            )
        return torch.stack([self.layer_maps(one) for one in found]).mean(0)

    def _note_shape(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs.get("sample", kwargs.get("hidden_states"))
        if isinstance(sample, Tensor) and sample.ndim == 4:
            self._shape = (sample.shape[2], sample.shape[3])

    def _wanted(self, kind: str, height: int) -> bool:
        if not (self.cross if kind == "cross" else self.self_):
            return False
        if self.sizes is not None:
            return height in self.sizes
        return kind == "cross" or height <= LARGEST_SELF

    def _hook(self, name: str) -> Any:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            told = args[1] if len(args) > 1 else kwargs.get("encoder_hidden_states")
            told = told[0] if isinstance(told, tuple) else told  # an image prompt comes with the text
            places = hidden.shape[1] if hidden.ndim == 3 else hidden.shape[2] * hidden.shape[3]
            height = _side(places, *self._shape)
            joint = getattr(module, "add_k_proj", None) is not None
            kinds = KINDS if joint and told is not None else (("cross",) if told is not None else ("self",))
            wanted = [kind for kind in kinds if self._wanted(kind, height)]
            if not wanted:
                return
            with torch.set_grad_enabled(self.gradients and torch.is_grad_enabled()):
                shown = _maps_of(module, hidden, told, joint)
                for kind in wanted:
                    part = shown
                    if joint and told is not None:
                        part = shown[..., places:] if kind == "cross" else shown[..., :places]
                    self._add(AttentionLayer(name, kind, height, places // height), part)

        return hook

    def _add(self, layer: AttentionLayer, maps: Float[Tensor, "n heads places keys"]) -> None:
        if self.guided:
            maps = maps.chunk(2)[1]
        if self.heads == "mean":
            maps = maps.mean(1)
        kept = self._maps.setdefault(layer, [])
        self._calls[layer] = self._calls.get(layer, 0) + 1
        if self.keep == "all" or not kept:
            kept.append(maps)
        else:
            if kept[0].shape != maps.shape:
                raise DataError(
                    f"{layer.name} was called with maps of shape {tuple(maps.shape)} after {tuple(kept[0].shape)}; "
                    'use keep="all" or reset() between'
                )
            kept[0] = kept[0] + maps


def daam(store: AttentionStore, tokens: Sequence[int], size: int | None = None) -> Float[Tensor, "n height width"]:
    """Where an image attends to tokens (DAAM; Tang et al. 2023, arXiv 2210.04885): the mean over heads, layers of every resolution and
    steps of their cross-attention, brought to one size by bicubic interpolation.

    Args:
        store: with the maps, averaged over calls.
        tokens: positions, as `token_positions` gives them; their maps are averaged.
        size: pixels a column; of the host's images when absent.

    Raises:
        DataError: no maps, or no tokens.
    """
    layers = store.layers("cross")
    if not layers:
        raise DataError("there is no cross-attention in the store; run the denoiser inside its `with` block")
    if not tokens:
        raise DataError("tokens must have at least one element")
    side = size or store.host.image_size
    total: Tensor | None = None
    for layer in layers:
        maps = store.layer_maps(layer)
        if store.keep == "all":
            maps = maps.mean(0)
        if store.heads == "all":
            maps = maps.mean(1)
        picture = maps[..., list(tokens)].mean(-1).unflatten(1, (layer.height, layer.width))
        width = side * layer.width // layer.height
        scaled = functional.interpolate(picture[:, None], (side, width), mode="bicubic", align_corners=False)[:, 0]
        total = scaled if total is None else total + scaled
    assert total is not None
    return (total / len(layers)).clamp(min=0)


def _attention_layers(denoiser: Any) -> list[tuple[str, Any]]:
    """Attention layers on sequences of places; those of VAEs and of text refiners are no part of a denoiser."""
    from diffusers.models.attention_processor import Attention

    return [(name, module) for name, module in denoiser.named_modules() if isinstance(module, Attention)]


def _side(places: int, height: int, width: int) -> int:
    side = max(1, round(math.sqrt(places * height / width)))
    while places % side:
        side -= 1
    return side


def _maps_of(module: Any, hidden: Tensor, told: Tensor | None, joint: bool) -> Float[Tensor, "n heads places keys"]:
    if hidden.ndim == 4:
        hidden = hidden.flatten(2).transpose(1, 2)
    if module.group_norm is not None:
        hidden = module.group_norm(hidden.transpose(1, 2)).transpose(1, 2)

    def split(x: Tensor, norm: Any) -> Tensor:
        x = x.unflatten(2, (module.heads, -1)).transpose(1, 2)
        return x if norm is None else norm(x)

    query = split(module.to_q(hidden), module.norm_q)
    if joint and told is not None:
        of_text = split(module.add_k_proj(told), module.norm_added_k)
        key = torch.cat([split(module.to_k(hidden), module.norm_k), of_text], dim=2)
    else:
        read = hidden if told is None else told
        if told is not None and module.norm_cross:
            read = module.norm_encoder_hidden_states(told)
        key = split(module.to_k(read), module.norm_k)
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return scores.float().softmax(-1)
