"""Two draft heads of equal size: one guesses later tokens from the tokens so far alone, the other is given h too.

What the second gains over the first, in cross-entropy on text neither was trained on, is an estimate of how much h knows
beyond the next token. Both are the same network (a two-layer MLP on the embeddings of the tokens since W_t and on h); for
the first h is replaced by zeros, so the number of weights is the same.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

MOST_LEARNED = 1024
"""Up to this many different tokens the heads learn their own vectors; beyond that the model's are used, frozen."""
OUTPUT_RANK = 128  # of the frozen output vectors, by principal components


@dataclass(frozen=True)
class Training:
    """How both heads are trained.

    Attributes:
        steps: most optimiser steps (Adam); training stops before when the validation loss has not fallen for `patience`
            looks, and the best weights are kept.
        batch: contexts a step.
        lr: learning rate, with cosine decay.
        weight_decay: decoupled weight decay.
        width: hidden units of the MLP.
        every: steps between two looks at the validation contexts.
        patience: looks.
        seed: of initial weights and batches.
    """

    steps: int = 600
    batch: int = 256
    lr: float = 1e-3
    weight_decay: float = 0.01
    width: int = 256
    every: int = 50
    patience: int = 4
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """What the heads read and write tokens with; None where they learn their own.

    Attributes:
        inputs: (tokens, e) the model's input vectors of the tokens that occur, or None.
        outputs: (tokens, r) its output vectors, or None.
        log_share: (tokens,) log of how often each is the target; what an untrained head predicts.
    """

    inputs: Float[Tensor, "tokens e"] | None
    outputs: Float[Tensor, "tokens r"] | None
    log_share: Float[Tensor, " tokens"]


def token_vectors(
    count: int,
    targets: Int[Tensor, " n"],
    inputs: Float[Tensor, "tokens e"] | None = None,
    outputs: Float[Tensor, "tokens d"] | None = None,
) -> TokenVectors:
    """Vectors for `count` tokens; those of the model (rows in their order) are used for large vocabularies."""
    shares = torch.bincount(targets, minlength=count).float() + 1.0
    log_share = (shares / shares.sum()).log()
    if count <= MOST_LEARNED:
        return TokenVectors(None, None, log_share)
    read = None if inputs is None else _scaled(inputs)
    write = None
    if outputs is not None:
        centred = (outputs - outputs.mean(0)).float()
        rank = min(OUTPUT_RANK, *centred.shape)
        # the leading principal components, from the small Gram matrix
        _, vectors = torch.linalg.eigh(centred.T @ centred)
        write = _scaled(centred @ vectors[:, -rank:])
    return TokenVectors(read, write, log_share)


def _scaled(rows: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Centred, of unit variance overall."""
    centred = rows.float() - rows.float().mean(0)
    return centred / centred.std().clamp(min=1e-12)


class DraftHead(nn.Module):
    """Logits of one later token from the tokens since W_t and (unless it is zeros) h.

    Args:
        vectors: how tokens are read and written.
        before: how many tokens it reads.
        dimension: entries of h.
        width: hidden units.
    """

    def __init__(self, vectors: TokenVectors, before: int, dimension: int, width: int):
        super().__init__()
        count = len(vectors.log_share)
        own = min(64, max(8, count))
        self.inputs = (
            nn.Embedding(count, own)
            if vectors.inputs is None
            else nn.Embedding.from_pretrained(vectors.inputs, freeze=True)
        )
        size = self.inputs.embedding_dim
        rank = own if vectors.outputs is None else vectors.outputs.shape[1]
        self.body = nn.Sequential(
            nn.Linear(before * size + dimension, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, rank),
        )
        self.outputs = nn.Parameter(
            torch.randn(count, rank) if vectors.outputs is None else vectors.outputs.clone(),
            requires_grad=vectors.outputs is None,
        )
        self.bias = nn.Parameter(vectors.log_share.clone())
        last = self.body[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # starts at the tokens' shares
        nn.init.zeros_(last.bias)

    def forward(self, before: Int[Tensor, "n before"], hidden: Float[Tensor, "n d"]) -> Float[Tensor, "n tokens"]:
        """Logits over the tokens that occur."""
        read = self.inputs(before).flatten(1)
        made = self.body(torch.cat([read, hidden], dim=1))
        return made @ self.outputs.T / math.sqrt(self.outputs.shape[1]) + self.bias


@dataclass(frozen=True, eq=False)
class DraftData:
    """Contexts of one part of the corpus, for one later token.

    Attributes:
        before: (n, j) the tokens W_t .. W_(t+j-1).
        target: (n,) the token W_(t+j).
        hidden: (n, d) h_t, standardised.
    """

    before: Int[Tensor, "n j"]
    target: Int[Tensor, " n"]
    hidden: Float[Tensor, "n d"]

    def __len__(self) -> int:
        return len(self.target)


def held_out_losses(
    train: DraftData,
    validation: DraftData,
    test: DraftData,
    vectors: TokenVectors,
    training: Training,
    *,
    with_hidden: bool,
    tell: Callable[[float], None] | None = None,
) -> Float[np.ndarray, " n"]:
    """Train one head and give its cross-entropy, in nats, on each test context.

    Args:
        train: contexts it learns from.
        validation: contexts that say when to stop.
        test: contexts it is judged on.
        vectors: how tokens are read and written.
        training: how it is trained.
        with_hidden: give it h; else zeros in its place.
        tell: called with the share of the steps that are done.

    Cost: steps * batch * (width * (e + d) + tokens * rank) multiplications, three times.
    """
    torch_seed = torch.Generator().manual_seed(training.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        head = DraftHead(vectors, train.before.shape[1], train.hidden.shape[1], training.width)
    weights = [p for p in head.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=training.lr, weight_decay=training.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, training.steps, eta_min=0.05 * training.lr)
    best, best_state, since = math.inf, copy.deepcopy(head.state_dict()), 0
    for step in range(training.steps):
        if step % training.every == 0:
            loss = float(_losses(head, validation, with_hidden).mean())
            if loss < best:
                best, best_state, since = loss, copy.deepcopy(head.state_dict()), 0
            else:
                since += 1
                if since >= training.patience:
                    break
            if tell is not None:
                tell(step / training.steps)
        rows = torch.randint(len(train), (min(training.batch, len(train)),), generator=torch_seed)
        hidden = train.hidden[rows] if with_hidden else torch.zeros_like(train.hidden[rows])
        objective = F.cross_entropy(head(train.before[rows], hidden), train.target[rows])
        optimiser.zero_grad(set_to_none=True)
        objective.backward()
        optimiser.step()
        schedule.step()
    else:
        if float(_losses(head, validation, with_hidden).mean()) < best:
            best_state = copy.deepcopy(head.state_dict())
    head.load_state_dict(best_state)
    if tell is not None:
        tell(1.0)
    return _losses(head, test, with_hidden).double().numpy()


@torch.no_grad()
def _losses(head: DraftHead, data: DraftData, with_hidden: bool, block: int = 2048) -> Float[Tensor, " n"]:
    parts = []
    for start in range(0, len(data), block):
        rows = slice(start, start + block)
        hidden = data.hidden[rows] if with_hidden else torch.zeros_like(data.hidden[rows])
        parts.append(F.cross_entropy(head(data.before[rows], hidden), data.target[rows], reduction="none"))
    return torch.cat(parts)


def standardised(hidden: Float[Tensor, "n d"], by: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """Hidden states with the mean and the standard deviations of others; a constant entry becomes 0."""
    spread = by.std(0)
    safe: Any = torch.where(spread > 1e-8 * spread.max().clamp(min=1e-30), spread, torch.inf)
    return ((hidden - by.mean(0)) / safe).float()
