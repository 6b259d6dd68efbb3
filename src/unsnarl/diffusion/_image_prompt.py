"""Image prompts: a second cross-attention beside that of the text, for tokens made from an image (IP-Adapter; Ye et al. 2023,
arXiv 2308.06721).

    Z = softmax(Q K^T / sqrt(d)) V + scale softmax(Q K'^T / sqrt(d)) V',   K' = c' W'_k, V' = c' W'_v,

c' the image's tokens, a linear map of its embedding followed by a norm. W' start as the text's own W. The layers are diffusers' own
processors, so that its pipelines take the embeddings and its loader reads the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_range, check_same_length
from unsnarl.diffusion._hosts import Host
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.files import atomic_write

LOADED_TOKENS = 4  # diffusers' loader takes files of so many tokens


class ImagePrompt:
    """Layers that let a UNet read image embeddings, until `detach()`.

    Args:
        host: with a UNet.
        width: of the image embeddings.
        tokens: an image becomes; diffusers' own loader reads files of 4.
        scale: of the second attention.

    Attributes:
        projection: the map from embeddings to tokens, an `nn.Module`.
        processors: name -> the layer's processor, an `nn.Module` with W'_k and W'_v.

    Raises:
        OptionError: a host without a UNet, or one that has image prompts already.
    """

    def __init__(self, host: Host, width: int, tokens: int = LOADED_TOKENS, scale: float = 1.0):
        from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
        from diffusers.models.embeddings import ImageProjection, MultiIPAdapterImageProjection

        check_range(width, "width", low=1, integer=True)
        check_range(tokens, "tokens", low=1, integer=True)
        if host.kind != "unet":
            raise OptionError("image prompts are for hosts with a UNet; this one has a transformer")
        unet = host.denoiser
        if unet.encoder_hid_proj is not None:
            raise OptionError("this UNet reads image prompts already; detach those first")
        self.host, self.width, self.tokens = host, width, tokens
        self._before = dict(unet.attn_processors), unet.config.encoder_hid_dim_type
        context = int(unet.config.cross_attention_dim)
        self.processors: dict[str, Any] = {}
        for name in self._before[0]:
            layer = unet.get_submodule(name.removesuffix(".processor"))
            if not layer.is_cross_attention:
                continue
            made: Any = IPAdapterAttnProcessor2_0(layer.inner_dim, context, num_tokens=(tokens,), scale=scale)
            with torch.no_grad():
                made.to_k_ip[0].weight.copy_(layer.to_k.weight)
                made.to_v_ip[0].weight.copy_(layer.to_v.weight)
            self.processors[name] = made.to(host.device, host.dtype)
        self.projection: Any = ImageProjection(width, context, tokens).to(host.device, host.dtype)
        unet.set_attn_processor(self._before[0] | self.processors)
        unet.encoder_hid_proj = MultiIPAdapterImageProjection([self.projection])
        unet.register_to_config(encoder_hid_dim_type="ip_image_proj")

    def parameters(self) -> list[nn.Parameter]:
        """Everything that is learned."""
        modules = [self.projection, *self.processors.values()]
        return [parameter for module in modules for parameter in module.parameters()]

    def set_scale(self, scale: float) -> None:
        """Weigh the second attention."""
        for processor in self.processors.values():
            processor.scale = [scale]

    def inputs(self, embeddings: Float[Tensor, "n embedding"]) -> dict[str, Any]:
        """Keywords for `Host.predict`, with which the denoiser reads embeddings.

        Raises:
            DataError: embeddings of another width.
        """
        return {"added_cond_kwargs": {"image_embeds": [self._checked(embeddings)[:, None]]}}

    def generate(
        self,
        embeddings: Float[Tensor, "n embedding"],
        prompts: Sequence[str] | str = "",
        *,
        seeds: Sequence[int],
        guidance: float = 3.0,
        rows: int = 16,
        **kwargs: Any,
    ) -> Float[Tensor, "m 3 height width"]:
        """Images of embeddings and prompts.

        Args:
            embeddings: of one row, or one a seed. The unconditional half is given zeros.
            prompts: one, or one a seed.
            seeds: one an image.
            guidance: scale; 1 is none.
            rows: images at a time.
            kwargs: as in `Host.generate`.

        Raises:
            DataError: numbers that do not agree.
        """
        seeds = list(seeds)
        told = self._checked(embeddings)
        told = told.expand(len(seeds), -1) if len(told) == 1 else told
        texts = [prompts] * len(seeds) if isinstance(prompts, str) else list(prompts)
        check_same_length(embeddings=told, prompts=texts, seeds=seeds)
        images = []
        for start in range(0, len(seeds), rows):
            part = slice(start, start + rows)
            given = told[part][:, None]
            if guidance > 1:
                given = torch.cat([torch.zeros_like(given), given])
            images.append(
                self.host.generate(
                    texts[part],
                    seeds=seeds[part],
                    guidance=guidance,
                    rows=rows,
                    ip_adapter_image_embeds=[given],
                    **kwargs,
                )
            )
        return torch.cat(images)

    def detach(self) -> None:
        """Give the UNet its own processors back."""
        unet = self.host.denoiser
        unet.set_attn_processor(self._before[0])
        unet.encoder_hid_proj = None
        unet.register_to_config(encoder_hid_dim_type=self._before[1])

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file that `pipeline.load_ip_adapter` reads too, if there are 4 tokens.

        Raises:
            FileError: it cannot be written.
        """
        from safetensors.torch import save

        tensors = self._named()
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            file.write(save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))
        return path

    def read(self, path: str | Path) -> ImagePrompt:
        """Take the weights of a file that `save` wrote.

        Raises:
            FileError: weights of another shape.
            CheckpointError: a missing or damaged file.
        """
        from unsnarl.training import read_tensors

        found, _ = read_tensors(Path(path))
        wanted = self._named()
        for name, own in wanted.items():
            if name not in found or found[name].shape != own.shape:
                there = tuple(found[name].shape) if name in found else "missing"
                raise FileError(f"{path}: {name} is {there}; this host needs {tuple(own.shape)}")
        with torch.no_grad():
            for name, own in wanted.items():
                own.copy_(found[name])
        return self

    def _named(self) -> dict[str, Tensor]:
        """The names that IP-Adapter files have; layers are numbered as in the list of all attention layers."""
        named: dict[str, Tensor] = {
            "image_proj.proj.weight": self.projection.image_embeds.weight,
            "image_proj.proj.bias": self.projection.image_embeds.bias,
            "image_proj.norm.weight": self.projection.norm.weight,
            "image_proj.norm.bias": self.projection.norm.bias,
        }
        for number, processor in enumerate(self.processors.values()):
            for name in ("to_k_ip", "to_v_ip"):
                named[f"ip_adapter.{2 * number + 1}.{name}.weight"] = getattr(processor, name)[0].weight
        return named

    def _checked(self, embeddings: Tensor) -> Tensor:
        if embeddings.ndim != 2 or embeddings.shape[1] != self.width:
            raise DataError(f"embeddings must have the shape (n, {self.width}), got {tuple(embeddings.shape)}")
        return embeddings.to(self.host.device, self.host.dtype)
