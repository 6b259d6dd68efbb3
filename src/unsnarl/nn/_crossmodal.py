"""Transformer encoders of sequences, in which a sequence attends to itself or to that of another modality.

The encoder of the multimodal transformer (Tsai, Bai, Liang, Kolter, Morency & Salakhutdinov 2019, arXiv 1906.00295,
sections 3.1 and 3.2), which later systems of multimodal sentiment build on. For a sequence x of width d:

    z_0 = dropout(sqrt(d) x + positions)
    z   = z_i + dropout(attention(q = LN(z_i), k = LN(key), v = LN(value)))      for each block i
    z_(i+1) = z + dropout(W2 dropout(relu(W1 LN'(z))))                           W1: d -> 4d
    output  = LN''(z_layers)

In self-attention key and value are z_i. In cross-attention they are the other sequence, scaled and given positions once,
normalised anew by every block with the same LN as the query, and never updated. Attention is causal: with T queries and S
keys, query t sees key s where s <= t + |S - T|. Attention weights are `softmax(q.k / sqrt(d / heads))`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError

PADDINGS = ("zeros", "mask", "none")
MLP_FACTOR = 4
INITIAL_POSITIONS = 128


def sinusoidal_positions(length: int, dim: int) -> Float[Tensor, "length dim"]:
    """Sines, then cosines, of the places 1 to `length`, with wavelengths from 2 pi to 2 pi 10,000 (Vaswani et al. 2017).

    Frequencies are 10,000^(-i / (h - 1)) for i < h = dim // 2, as in tensor2tensor; the last column of an odd `dim` is 0.

    >>> sinusoidal_positions(2, 4)
    tensor([[ 8.4147e-01,  1.0000e-04,  5.4030e-01,  1.0000e+00],
            [ 9.0930e-01,  2.0000e-04, -4.1615e-01,  1.0000e+00]])
    """
    half = dim // 2
    frequency = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10_000) / max(half - 1, 1)))
    angle = torch.arange(1, length + 1, dtype=torch.float32)[:, None] * frequency
    return F.pad(torch.cat([angle.sin(), angle.cos()], 1), (0, dim - 2 * half))


def causal_mask(queries: int, keys: int) -> Bool[Tensor, "queries keys"]:
    """Which keys a query sees: those up to its own place, and as many more as the lengths differ by (Tsai et al. 2019).

    >>> causal_mask(2, 3).int().tolist()
    [[1, 1, 0], [1, 1, 1]]
    """
    return torch.ones(queries, keys, dtype=torch.bool).tril(abs(keys - queries))


def quick_dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Dropout whose mask costs a fifth of torch's on a CPU: 16 random bits a number instead of a draw of its own.

    The rate is met to 1/65,536, and what is kept is divided by the share that is kept exactly, so the mean is unchanged.
    Bits come from torch's global generator.

    >>> x = quick_dropout(torch.ones(1000, 100), 0.3)
    >>> round((x == 0).float().mean().item(), 1), sorted(set(x.flatten().tolist()))
    (0.3, [0.0, 1.42857...])
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu" or rate == 1:
        return F.dropout(x, rate)
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[: x.numel()]
    dropped = round(rate * 65_536)
    keep = (bits >= dropped - 32_768).view(x.shape)
    return x * keep.to(x.dtype).mul_(65_536 / (65_536 - dropped))


class CrossmodalBlock(nn.Module):
    """Attention and MLP around a residual stream, each with its LayerNorm before it.

    Args:
        dim: width of the stream.
        heads: number of heads, which divides `dim`.
        attention_dropout: of attention weights.
        relu_dropout: of the hidden layer.
        residual_dropout: of what is added to the stream.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        attention_dropout: float = 0.0,
        relu_dropout: float = 0.0,
        residual_dropout: float = 0.0,
    ):
        super().__init__()
        self.dim, self.heads = dim, heads
        self.attention_dropout, self.relu_dropout, self.residual_dropout = (
            attention_dropout,
            relu_dropout,
            residual_dropout,
        )
        self.attention_norm, self.mlp_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.project_in = nn.Linear(dim, 3 * dim)  # queries, keys, values; one Xavier matrix, as in the official code
        self.project_out = nn.Linear(dim, dim)
        self.expand, self.contract = nn.Linear(dim, MLP_FACTOR * dim), nn.Linear(MLP_FACTOR * dim, dim)
        for layer in (self.project_in, self.project_out, self.expand, self.contract):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Tensor, key: Tensor | None = None, value: Tensor | None = None, visible: Tensor | None = None
    ) -> Tensor:
        """The stream after the block.

        Args:
            x: the stream, (batch, time, dim); shapes are checked by the encoder.
            key: what is attended to, (batch, source, dim); the stream itself when absent.
            value: what is taken from there; `key` when absent.
            visible: True where a query sees a key, shape (time, source) or (batch, 1, time, source).
        """
        q, k, v = self._heads(x, key, value)
        if self.training and self.attention_dropout:
            mixed = quick_dropout(self._weights(q, k, visible), self.attention_dropout) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
            if visible is not None and visible.ndim == 4:  # a query that sees nothing takes nothing
                mixed = mixed.masked_fill(~visible.any(-1, keepdim=True), 0.0)
        mixed = self.project_out(mixed.transpose(1, 2).reshape(x.shape))
        x = x + quick_dropout(mixed, self.residual_dropout, self.training)
        hidden = quick_dropout(self.expand(self.mlp_norm(x)).relu(), self.relu_dropout, self.training)
        return x + quick_dropout(self.contract(hidden), self.residual_dropout, self.training)

    def attention(
        self,
        x: Float[Tensor, "batch time dim"],
        key: Float[Tensor, "batch source dim"] | None = None,
        visible: Tensor | None = None,
    ) -> Float[Tensor, "batch head time source"]:
        """How much each query takes from each key: rows sum to 1, or to 0 where a query sees nothing."""
        q, k, _ = self._heads(x, key, None)
        return self._weights(q, k, visible)

    def _weights(self, q: Tensor, k: Tensor, visible: Tensor | None) -> Tensor:
        scores = (q / math.sqrt(self.dim // self.heads)) @ k.transpose(2, 3)
        if visible is None:
            return scores.softmax(-1)
        weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
        return weights.masked_fill(~visible.any(-1, keepdim=True), 0.0) if visible.ndim == 4 else weights

    def _heads(self, x: Tensor, key: Tensor | None, value: Tensor | None) -> tuple[Tensor, ...]:
        normal = self.attention_norm(x)
        if key is None:
            parts = self.project_in(normal).chunk(3, -1)
        else:
            sources = (normal, self.attention_norm(key), self.attention_norm(key if value is None else value))
            weights, biases = self.project_in.weight.chunk(3), self.project_in.bias.chunk(3)
            parts = tuple(F.linear(s, w, b) for s, w, b in zip(sources, weights, biases, strict=True))
        return tuple(part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)


class CrossmodalEncoder(nn.Module):
    """The encoder of the module's docstring.

    >>> encode = CrossmodalEncoder(dim=6, heads=2).eval()
    >>> words, frames = torch.randn(4, 5, 6), torch.randn(4, 9, 6)
    >>> encode(words).shape, encode(words, frames).shape
    (torch.Size([4, 5, 6]), torch.Size([4, 5, 6]))

    Args:
        dim: width of the sequences.
        heads: number of heads, which divides `dim`.
        layers: number of blocks.
        attention_dropout: of attention weights.
        relu_dropout: of hidden layers of the MLPs.
        residual_dropout: of what blocks add to the stream.
        embedding_dropout: of sequences with their positions; keys and values are drawn apart, as in the official code.
        causal: whether later steps are hidden.
        padding: which steps count as padding. "zeros": those whose channel 0 is exactly 0 get no position (the official
            code, which tests features where language models test ids); they are attended to nevertheless. "mask": those
            that the masks given to `forward` exclude get no position and are attended to by none. "none": no step.

    Raises:
        OptionError: heads that do not divide the width, a rate outside [0, 1], or another padding.
    """

    table: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        layers: int = 2,
        *,
        attention_dropout: float = 0.0,
        relu_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        causal: bool = True,
        padding: str = "zeros",
    ):
        super().__init__()
        for name, size in (("dim", dim), ("heads", heads), ("layers", layers)):
            check_range(size, name, low=1, integer=True)
        if dim % heads:
            raise OptionError(f"dim={dim} must be a multiple of heads={heads}")
        rates = {
            "attention_dropout": attention_dropout,
            "relu_dropout": relu_dropout,
            "residual_dropout": residual_dropout,
            "embedding_dropout": embedding_dropout,
        }
        for name, rate in rates.items():
            check_range(rate, name, low=0, high=1)
        check_choice(padding, PADDINGS, "padding")
        self.dim, self.causal, self.padding, self.embedding_dropout = dim, causal, padding, embedding_dropout
        rates.pop("embedding_dropout")
        self.blocks = nn.ModuleList(CrossmodalBlock(dim, heads, **rates) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.register_buffer("table", sinusoidal_positions(INITIAL_POSITIONS, dim), persistent=False)

    def forward(
        self,
        x: Float[Tensor, "batch time dim"],
        key: Float[Tensor, "batch source dim"] | None = None,
        value: Float[Tensor, "batch source dim"] | None = None,
        *,
        mask: Bool[Tensor, "batch time"] | None = None,
        key_mask: Bool[Tensor, "batch source"] | None = None,
    ) -> Float[Tensor, "batch time dim"]:
        """The sequence encoded.

        Args:
            x: the sequence that asks.
            key: the sequence that is asked, for cross-attention; `x` when absent.
            value: what is taken from it; `key` when absent.
            mask: True where `x` holds something; used with `padding="mask"`.
            key_mask: the same of `key`; `mask` in self-attention.

        Raises:
            DataError: `value` without `key`.

        Cost: O(layers * (time * dim^2 + time * source * dim)) an example.
        """
        return self._run(x, key, value, mask, key_mask)[0]

    def attention(
        self,
        x: Float[Tensor, "batch time dim"],
        key: Float[Tensor, "batch source dim"] | None = None,
        value: Float[Tensor, "batch source dim"] | None = None,
        *,
        mask: Bool[Tensor, "batch time"] | None = None,
        key_mask: Bool[Tensor, "batch source"] | None = None,
    ) -> Float[Tensor, "batch layer head time source"]:
        """The attention weights of every block and head; the arguments are those of `forward`."""
        return torch.stack(self._run(x, key, value, mask, key_mask, remember=True)[1], 1)

    def _run(
        self,
        x: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        mask: Tensor | None,
        key_mask: Tensor | None,
        *,
        remember: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        if key is None and value is not None:
            raise DataError("value was given without key; cross-attention needs the sequence that is asked")
        visible = self._visible(x, key, mask if key is None else key_mask)
        if key is not None:
            # two draws of dropout for what may be one sequence
            value = self._embed(key if value is None else value, key_mask) if self._drops or value is not None else None
            key = self._embed(key, key_mask)
        x = self._embed(x, mask)
        weights = []
        block: Any
        for block in self.blocks:
            if remember:
                weights.append(block.attention(x, key, visible))
            x = block(x, key, value, visible)
        return self.norm(x), weights

    @property
    def _drops(self) -> bool:
        return self.training and self.embedding_dropout > 0

    def _visible(self, x: Tensor, key: Tensor | None, key_mask: Tensor | None) -> Tensor | None:
        queries, keys = x.shape[1], x.shape[1] if key is None else key.shape[1]
        visible = causal_mask(queries, keys).to(x.device) if self.causal else None
        if self.padding != "mask" or key_mask is None:
            return visible
        by_key = key_mask[:, None, None, :]
        return by_key.expand(-1, -1, queries, -1) if visible is None else by_key & visible

    def _embed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if len(self.table) < x.shape[1]:
            self.table = sinusoidal_positions(2 * x.shape[1], self.dim).to(self.table)
        positions = self.table[: x.shape[1]]
        if self.padding == "zeros":
            positions = positions * (x[:, :, :1] != 0)
        elif self.padding == "mask" and mask is not None:
            positions = positions * mask[:, :, None]
        return quick_dropout(math.sqrt(self.dim) * x + positions, self.embedding_dropout, self.training)
