"""Sparse autoencoders: a layer's activations as a few active features out of many.

    a = act(W (h - s c) + b)        code, (..., D)
    h' = a V + c                    reconstruction, (..., N)

*Tied* ones have V = W and no decoder bias c (Bereska et al. 2025, arXiv 2512.13568: no pre-bias and no unit-norm
constraint either). *Untied* ones have their own V and c; s is 1 where the decoder's bias is taken off first, as many
published ones do. The activation `act` is ReLU, or one of three others that published autoencoders use.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.files import atomic_write, reason

ACTIVATIONS = ("relu", "jumprelu", "topk", "gated")
NORMALISATIONS = ("none", "layer_norm", "constant_norm")


class SparseAutoencoder(nn.Module):
    """A sparse autoencoder with one hidden layer.

    >>> sae = SparseAutoencoder(inputs=8, features=32)
    >>> codes, reconstruction = sae(torch.randn(5, 8))
    >>> codes.shape, reconstruction.shape, bool((codes >= 0).all())
    (torch.Size([5, 32]), torch.Size([5, 8]), True)

    Args:
        inputs: N, the number of neurons of the layer.
        features: D, the number of features of the code.
        tied: decode with the encoder's weights, without a bias.
        activation: "relu"; "jumprelu" (what does not exceed a feature's threshold is zero); "topk" (the k largest,
            ReLU on them); "gated" (a gate and a magnitude that share their weights).
        k: active features of one input, for "topk".
        subtract_bias: take the decoder's bias off the input first (untied only).
        normalize: what is done to each input first, and undone after: "none", "layer_norm" (mean 0, deviation 1) or
            "constant_norm" (length sqrt(N)).
        seed: of the initial weights. Tied: W Xavier-uniform, b = 0. Untied: both layers as `nn.Linear` starts.

    Raises:
        OptionError: a size or choice that is not allowed.
    """

    def __init__(
        self,
        inputs: int,
        features: int,
        *,
        tied: bool = True,
        activation: Literal["relu", "jumprelu", "topk", "gated"] | str = "relu",
        k: int | None = None,
        subtract_bias: bool = False,
        normalize: Literal["none", "layer_norm", "constant_norm"] | str = "none",
        seed: int = 0,
    ):
        super().__init__()
        check_range(inputs, "inputs", low=1, integer=True)
        check_range(features, "features", low=1, integer=True)
        check_choice(activation, ACTIVATIONS, "activation")
        check_choice(normalize, NORMALISATIONS, "normalize")
        if (activation == "topk") != (k is not None):
            raise OptionError(f"k={k!r} goes with activation='topk' and only with it (activation={activation!r})")
        if k is not None:
            check_range(k, "k", low=1, high=features, integer=True)
        if tied and subtract_bias:
            raise OptionError("subtract_bias=True needs a decoder bias, which a tied autoencoder does not have")
        self.inputs, self.features, self.tied, self.k = int(inputs), int(features), tied, k
        self.activation, self.subtract_bias, self.normalize = activation, subtract_bias, normalize
        self.weight = nn.Parameter(torch.empty(self.features, self.inputs))
        self.bias = nn.Parameter(torch.zeros(self.features))
        if not tied:
            self.decoder = nn.Parameter(torch.empty(self.features, self.inputs))
            self.decoder_bias = nn.Parameter(torch.zeros(self.inputs))
        if activation == "jumprelu":
            self.threshold = nn.Parameter(torch.zeros(self.features))
        if activation == "gated":
            self.log_scale = nn.Parameter(torch.zeros(self.features))
            self.magnitude_bias = nn.Parameter(torch.zeros(self.features))
        self.reset(seed)

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """Draw weights and biases anew."""
        generator = torch.Generator().manual_seed(seed)
        if self.tied:
            nn.init.xavier_uniform_(self.weight, generator=generator)
            self.bias.zero_()
            return
        bound = 1 / math.sqrt(self.inputs)
        for parameter in (self.weight, self.bias):
            parameter.uniform_(-bound, bound, generator=generator)
        bound = 1 / math.sqrt(self.features)
        for parameter in (self.decoder, self.decoder_bias):
            parameter.uniform_(-bound, bound, generator=generator)

    @property
    def dictionary(self) -> Float[Tensor, "feature input"]:
        """V: the direction that each feature adds to the reconstruction."""
        return self.weight if self.tied else self.decoder

    def encode(self, x: Float[Tensor, "*batch input"]) -> Float[Tensor, "*batch feature"]:
        """The codes of activations.

        Raises:
            DataError: another number of neurons than the autoencoder was made for.
        """
        return self._encode(self._standardise(x)[0])

    def decode(self, codes: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch input"]:
        """Codes back to activations, on the scale that `normalize` gives them."""
        reconstruction = codes @ self.dictionary
        return reconstruction if self.tied else reconstruction + self.decoder_bias

    def forward(
        self, x: Float[Tensor, "*batch input"]
    ) -> tuple[Float[Tensor, "*batch feature"], Float[Tensor, "*batch input"]]:
        """Codes and reconstructions, these on the scale of the activations."""
        standard, location, scale = self._standardise(x)
        codes = self._encode(standard)
        reconstruction = self.decode(codes)
        return codes, reconstruction if scale is None else reconstruction * scale + location

    def _standardise(self, x: Tensor) -> tuple[Tensor, Any, Any]:
        if x.shape[-1] != self.inputs:
            raise DataError(f"the autoencoder reads {self.inputs} neurons, but the activations have {x.shape[-1]}")
        x = x.to(self.weight.dtype)
        if self.normalize == "layer_norm":
            location = x.mean(-1, keepdim=True)
            scale = (x - location).std(-1, keepdim=True) + 1e-5
            return (x - location) / scale, location, scale
        if self.normalize == "constant_norm":
            scale = x.norm(dim=-1, keepdim=True).clamp_min(1e-12) / math.sqrt(self.inputs)
            return x / scale, 0.0, scale
        return x, 0.0, None

    def _encode(self, x: Tensor) -> Tensor:
        if self.subtract_bias:
            x = x - self.decoder_bias
        seen = x @ self.weight.T
        before = seen + self.bias
        if self.activation == "relu":
            return torch.relu(before)
        if self.activation == "jumprelu":
            return torch.relu(before) * (before > self.threshold)
        if self.activation == "gated":
            return torch.relu(seen * self.log_scale.exp() + self.magnitude_bias) * (before > 0)
        assert self.k is not None
        largest = before.topk(self.k, dim=-1)
        return torch.zeros_like(before).scatter(-1, largest.indices, torch.relu(largest.values))

    def config(self) -> dict[str, Any]:
        """The constructor's keywords that make a network of this shape."""
        names = ("inputs", "features", "tied", "activation", "k", "subtract_bias", "normalize")
        return {name: getattr(self, name) for name in names}

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors to a folder, made if absent.

        Raises:
            FileError: the folder cannot be made or written.
        """
        from safetensors.torch import save

        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder {folder}: {reason(error)}") from None
        with atomic_write(folder / "model.safetensors") as file:
            file.write(save({name: t.detach().contiguous() for name, t in self.state_dict().items()}))
        with atomic_write(folder / "config.json", "w") as file:
            json.dump({"kind": type(self).__name__, **self.config()}, file, indent=2)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], subfolder: str = "") -> SparseAutoencoder:
        """An autoencoder from a folder or from the Hugging Face Hub; no pickle is ever loaded.

        Three layouts are known: what `save_pretrained` writes; `cfg.json` with `sae_weights.safetensors` (SAELens:
        standard, jumprelu, topk, batchtopk and gated); `cfg.json` with `sae.safetensors` (EleutherAI's sparsify:
        topk). Weights are read as float32.

        >>> SparseAutoencoder.from_pretrained("EleutherAI/sae-pythia-70m-deduped-32k", "layers.3")  # doctest: +SKIP

        Args:
            source: a folder, or "owner/name" of a repository on the hub.
            subfolder: the folder of one layer in it, such as "layers.3" or "blocks.8.hook_resid_pre".

        Raises:
            FileError: there is no such folder or repository, or it holds no autoencoder in one of these layouts.
            CheckpointError: a file that is damaged or does not fit its configuration.
            DataError: a kind of autoencoder that this class does not compute.
        """
        from unsnarl.nn._published_autoencoders import read_folder

        tensors, config = read_folder(source, subfolder)
        return cls._of(tensors, config)

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], config: dict[str, Any] | None = None) -> SparseAutoencoder:
        """An autoencoder from named tensors of a published one, wherever they come from.

        Known names are those of SAELens (`W_enc`, `b_enc`, `W_dec`, `b_dec`, ...), of EleutherAI's sparsify
        (`encoder.weight`, `encoder.bias`, `W_dec`, `b_dec`) and of the dictionary_learning package (`encoder.weight`,
        `encoder.bias`, `decoder.weight`, `bias`), whose files are pickles: convert them to safetensors first, as with
        the 32,768 features of each layer of Pythia-70M that Bereska et al. (2025) count.

        Args:
            tensors: name -> tensor.
            config: what `cfg.json` says; {} where the defaults of that package hold.

        Raises:
            CheckpointError: names or shapes that fit none of them.
            DataError: a kind of autoencoder that this class does not compute.
        """
        from unsnarl.nn._published_autoencoders import translate

        return cls._of(*translate(dict(tensors), dict(config or {})))

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], config: dict[str, Any]) -> SparseAutoencoder:
        sae = cls(**config)
        sae.load_state_dict(tensors)
        return sae.eval()
