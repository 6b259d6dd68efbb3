"""A small causal transformer whose best learning rates stay the same when it grows in width and depth.

Loss curves of models of several sizes can only be compared when all are tuned alike. Here the tuning carries over by
construction (maximal-update parametrisation, Yang et al. 2021; the network of Finzi et al. 2026, arXiv 2601.03220):

    x = token embedding + position embedding
    x = x + attention(LayerNorm(x)) / depth
    x = x + MLP(LayerNorm(x)) / depth                       for each of `depth` blocks
    logits = head(LayerNorm(x))

Queries and keys pass a LayerNorm of their own and keys are multiplied by 8 / sqrt(d), so that attention logits are
8 q.k / d. Nothing has a bias. Matrices start as N(0, 1 / fan in), embeddings with standard deviation 0.02, and every
projection into the residual stream, as well as the head, at zero: an untrained model gives every token the same
probability. Adam steps matrices with a rate of 0.03 / fan in and vectors (embeddings, norms) with 6e-4.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError

Cache = tuple[Tensor, Tensor]
"""Keys and values of a block, (batch, head, time, d); without shapes, which are not worth checking for every token."""

KEY_SCALE = 8.0  # attention logits are 8 q.k / d: at d = 64 the usual q.k / sqrt(d)
EMBEDDING_STD = 0.02


class GPT(nn.Module):
    """The transformer of the module's docstring.

    >>> model = GPT(vocabulary=2, context=31, layers=1, width=32)
    >>> model(torch.zeros(4, 31, dtype=torch.long)).shape
    torch.Size([4, 31, 2])

    Args:
        vocabulary: number of different tokens, at least 2.
        context: the longest sequence it can read.
        layers: number of blocks.
        width: size of the residual stream.
        head_width: size of a head; a narrower stream has one head of its own width.
        seed: of the initial weights; models of equal sizes and seed are equal.

    Raises:
        OptionError: a size out of range, or heads that do not divide the width.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        layers: int = 2,
        width: int = 64,
        head_width: int = 64,
        seed: int = 0,
    ):
        super().__init__()
        check_range(vocabulary, "vocabulary", low=2, integer=True)
        for name, value in (("context", context), ("layers", layers), ("width", width), ("head_width", head_width)):
            check_range(value, name, low=1, integer=True)
        head_width = min(head_width, width)
        if width % head_width:
            raise OptionError(f"width={width} must be a multiple of head_width={head_width}")
        self.vocabulary, self.context, self.layers, self.width = vocabulary, context, layers, width
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(_Block(width, head_width, layers) for _ in range(layers))
        self.heads, self.head_width = width // head_width, head_width
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.reset(seed)

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """Draw all weights anew."""
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                module.weight.normal_(0.0, EMBEDDING_STD, generator=generator)
            elif isinstance(module, nn.Linear):
                module.weight.normal_(0.0, 1 / math.sqrt(module.in_features), generator=generator)
            elif isinstance(module, nn.LayerNorm):
                module.weight.fill_(1.0)
        for name, weight in self.named_parameters():
            if name.endswith(("head.weight", "out.weight", "down.weight")):
                weight.zero_()

    @property
    def parameter_count(self) -> int:
        """All weights, embeddings and head included."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, tokens: Int[Tensor, "batch time"], first: int = 0) -> Float[Tensor, "batch time_read vocabulary"]:
        """Logits of the token after each position, from position `first` on.

        A `first` above 0 saves the last block's work on positions that nobody asks about; the numbers are the same.

        Raises:
            DataError: the sequence is empty, or longer than the context.
        """
        time = tokens.shape[1]
        if not 0 < time <= self.context:
            raise DataError(f"tokens has {time} columns; this model reads 1 to {self.context}")
        x = self.tokens(tokens) + self.positions.weight[:time]
        for number, block in enumerate(self.blocks):
            x = block(x, first if number == self.layers - 1 else 0)
        return self.head(self.norm(x))

    @torch.no_grad()
    def sample(
        self,
        tokens: Int[Tensor, "batch time"],
        drawn: Bool[Tensor, "batch time"],
        *,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> tuple[Int[Tensor, "batch time"], Float[Tensor, "batch drawn_time vocabulary"]]:
        """Draw some tokens of given rows from the model, each given all before it; the others stay.

        Args:
            tokens: rows whose undrawn tokens are the conditions.
            drawn: which tokens are drawn; the first column never, since nothing precedes it.
            generator: the source of randomness.
            temperature: of the draws; 1 is the model's own distribution.

        Returns:
            The rows, and the logits for the tokens from the first drawn column on. Keys and values are kept, so the
            cost is that of one pass over the rows, in as many steps as there are columns.

        Raises:
            DataError: nothing is drawn, or a token of the first column.
        """
        columns = drawn.any(dim=0).nonzero().flatten()
        if not len(columns) or columns[0] == 0:
            raise DataError("drawn must mark at least one token, and none of the first column")
        batch, time = tokens.shape
        first, rows = int(columns[0]), tokens.clone()
        heads, d = self.heads, self.head_width
        empty = self.positions.weight.new_empty
        kept = [(empty(batch, heads, time, d), empty(batch, heads, time, d)) for _ in self.blocks]
        logits = []
        start = 0
        for column in range(first, time):
            x = self.tokens(rows[:, start:column]) + self.positions.weight[start:column]
            for block, cache in zip(self.blocks, kept, strict=True):
                x = block.extend(x, cache, start)  # type: ignore[operator]
            start = column
            scores = self.head(self.norm(x[:, -1]))
            logits.append(scores)
            chances = torch.softmax(scores / temperature, dim=-1)
            drawn_now = torch.multinomial(chances, 1, generator=generator)[:, 0]
            rows[:, column] = torch.where(drawn[:, column], drawn_now, rows[:, column])
        return rows, torch.stack(logits, dim=1)


class _Block(nn.Module):
    """Attention and MLP, each added to the stream as a 1/depth part."""

    def __init__(self, width: int, head_width: int, depth: int):
        super().__init__()
        self.share = 1 / depth
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.attention = _Attention(width, head_width)
        self.mlp_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Float[Tensor, "batch time width"], first: int = 0) -> Float[Tensor, "batch rest width"]:
        x = torch.add(x[:, first:], self.attention(self.attention_norm(x), first), alpha=self.share)
        return torch.add(x, self._mlp(x), alpha=self.share)

    def extend(self, x: Tensor, cache: Cache, start: int) -> Tensor:
        """The block for new positions (batch, new, width) alone, those before them being in the cache."""
        x = torch.add(x, self.attention.extend(self.attention_norm(x), cache, start), alpha=self.share)
        return torch.add(x, self._mlp(x), alpha=self.share)

    def _mlp(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(self.mlp_norm(x))))


class _Attention(nn.Module):
    """Causal self-attention with normalised queries and keys."""

    def __init__(self, width: int, head_width: int):
        super().__init__()
        self.width, self.heads, self.d = width, width // head_width, head_width
        self.all = nn.Linear(width, 3 * width, bias=False)  # queries, keys, values
        self.query_norm = nn.LayerNorm(head_width, bias=False)
        self.key_norm = nn.LayerNorm(head_width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.scale = KEY_SCALE / head_width  # keys times 8 / sqrt(d), then the usual 1 / sqrt(d)

    def forward(self, x: Float[Tensor, "batch time width"], first: int = 0) -> Float[Tensor, "batch rest width"]:
        if first:  # keys and values of all positions, queries of the last ones
            query = self._heads(F.linear(x[:, first:], self.all.weight[: self.width]))
            key, value = map(self._heads, F.linear(x, self.all.weight[self.width :]).chunk(2, dim=-1))
        else:
            query, key, value = map(self._heads, self.all(x).chunk(3, dim=-1))
        seen = _lower(x.shape[1], x.device)[first:] if first else None
        query, key = self.query_norm(query), self.key_norm(key)
        out = F.scaled_dot_product_attention(query, key, value, seen, is_causal=seen is None, scale=self.scale)
        return self.out(out.transpose(1, 2).flatten(2))

    def extend(self, x: Tensor, cache: Cache, start: int) -> Tensor:
        keys, values = cache
        end = start + x.shape[1]
        query, key, value = map(self._heads, self.all(x).chunk(3, dim=-1))
        keys[:, :, start:end], values[:, :, start:end] = self.key_norm(key), value
        scores = self.query_norm(query) @ keys[:, :, :end].transpose(-1, -2) * self.scale
        if end - start > 1:
            scores = scores.masked_fill(~_lower(end, x.device)[start:], -math.inf)
        out = torch.softmax(scores, dim=-1) @ values[:, :, :end]
        return self.out(out.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.d)).transpose(1, 2)


def _lower(time: int, device: torch.device) -> Tensor:
    return torch.ones(time, time, dtype=torch.bool, device=device).tril()


def gpt_parameter_groups(model: GPT, *, lr: float = 0.03, vector_lr: float = 6e-4) -> list[dict[str, Any]]:
    """Parameter groups for Adam whose learning rates carry over between widths.

    Args:
        model: the transformer.
        lr: rate of a matrix with one input; each matrix gets `lr / fan in`.
        vector_lr: rate of embeddings and norms.

    Returns:
        One group for each rate: {"params", "lr", "name"}.
    """
    check_range(lr, "lr", low=0, open_low=True)
    check_range(vector_lr, "vector_lr", low=0, open_low=True)
    matrices: dict[int, list[nn.Parameter]] = {}
    vectors: list[nn.Parameter] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            matrices.setdefault(module.in_features, []).extend(module.parameters(recurse=False))
        else:
            vectors.extend(module.parameters(recurse=False))
    groups: list[dict[str, Any]] = [
        {"params": weights, "lr": lr / inputs, "name": f"matrices of {inputs} inputs"}
        for inputs, weights in sorted(matrices.items())
    ]
    return [*groups, {"params": vectors, "lr": vector_lr, "name": "embeddings and norms"}]
