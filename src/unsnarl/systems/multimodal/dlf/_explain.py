"""What a prediction of DLF rests on.

Contributions are Shapley values, exact since there are few players: a player that is out is set to its mean over the
training data, and a player's value is its average effect on the final prediction over all orders of coming in. They add up
to the prediction minus the prediction with all out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.systems.multimodal.dlf._fusion_task import FusionTask
from unsnarl.systems.multimodal.dlf._network import MODALITIES, NAMES, POOLS

PARTS = (*MODALITIES, "shared")


@dataclass(eq=False)
class DLFExplanation:
    """What predictions rest on; arrays have one row a sample.

    Attributes:
        prediction: the final prediction.
        base: the prediction where all parts of the fusion are the ones of the mean sample.
        parts: contribution of "l", "v", "a" (the gated u_m) and "shared" (the gated C) at the last MLP; they add up to
            `prediction - base`.
        modality_base: the prediction where all three modalities are their training means.
        modalities: contribution of "text", "vision" and "audio" as inputs, through the whole network; they add up to
            `prediction - modality_base`.
        heads: what each head says: "final", "shared", "l", "v", "a".
        attention: by modality that is asked ("audio", "vision"), how much the step that is read takes from each of its steps: weights of the
            cross-attention, averaged over blocks and heads; rows sum to 1.
        attention_map: the same for every step that asks, (n, time, steps asked).
        words: the words of each sample, where they are known.
        kernel: how many words a step covers: step t covers the words t to t + kernel - 1.
        query: the modality that asks.
    """

    prediction: Float[np.ndarray, " n"]
    base: Float[np.ndarray, " n"]
    parts: dict[str, Float[np.ndarray, " n"]]
    modality_base: Float[np.ndarray, " n"]
    modalities: dict[str, Float[np.ndarray, " n"]]
    heads: dict[str, Float[np.ndarray, " n"]]
    attention: dict[str, Float[np.ndarray, "n time"]]
    attention_map: dict[str, Float[np.ndarray, "n query time"]]
    words: Sequence[Sequence[str]] | None = None
    kernel: int = 1
    query: str = "l"

    @classmethod
    def of(cls, values: Mapping[str, Any], **options: Any) -> DLFExplanation:
        """From the tensors of `explain_fusion`."""
        arrays: dict[str, Any] = {
            name: {k: t.numpy() for k, t in v.items()} if isinstance(v, dict) else v.numpy()
            for name, v in values.items()
        }
        return cls(**(arrays | options))

    def __len__(self) -> int:
        return len(self.prediction)

    def table(self) -> pd.DataFrame:
        """One row a sample: prediction, heads, contributions of modalities and of the parts of the fusion."""
        columns: dict[str, np.ndarray] = {"prediction": self.prediction}
        columns |= {f"head {name}": values for name, values in self.heads.items() if name != "final"}
        columns |= {f"from {name}": values for name, values in self.modalities.items()}
        columns |= {f"part {name}": values for name, values in self.parts.items()}
        return pd.DataFrame(columns)

    def words_heard(self, sample: int) -> pd.DataFrame:
        """One row a step of one sample: the words it covers, and the attention the prediction pays to it by modality.

        Raises:
            OptionError: there is no such sample.
        """
        check_range(sample, "sample", low=0, high=len(self) - 1, integer=True)
        longest = max(weights.shape[1] for weights in self.attention.values())
        words = list(self.words[sample]) if self.words is not None else []
        rows = pd.DataFrame({"step": range(longest)})
        if words:
            rows["words"] = [" ".join(words[t : t + self.kernel]) for t in range(longest)]
        for name, weights in self.attention.items():
            rows[name] = pd.Series(weights[sample])
        return rows[rows["words"] != ""] if words else rows


def explain_fusion(task: FusionTask, *tensors: Tensor) -> dict[str, Any]:
    """Contributions and attention for values and masks of the three modalities.

    Args:
        task: with a `DLFNetwork`, and the mean sequences of its training data.
        tensors: values, then masks, each in the order l, v, a.
    """
    network: Any = task.network
    inputs = task.inputs(*tensors[:3])
    masks = dict(zip(MODALITIES, tensors[3:], strict=True))
    out = network(inputs, masks, losses=False)
    means = {m: mean.expand(len(inputs[m]), -1, -1) for m, mean in task.means.items()}
    full = {m: torch.ones_like(masks[m]) for m in MODALITIES}

    def predict(present: frozenset[str]) -> Tensor:
        mixed = {m: inputs[m] if m in present else means[m] for m in MODALITIES}
        final: Tensor = network(mixed, masks if present else full, losses=False).heads["final"]
        return final

    by_modality, modality_base = shapley(predict, MODALITIES)
    typical = network(
        {m: mean[None] for m, mean in task.means.items()}, {m: f[:1] for m, f in full.items()}, losses=False
    )

    def fuse(present: frozenset[str]) -> Tensor:
        mixed = {p: out.fusion[p] if p in present else typical.fusion[p].expand_as(out.fusion[p]) for p in PARTS}
        fused: Tensor = network.fuse(mixed)
        return fused

    by_part, base = shapley(fuse, PARTS)
    windows, query = out.masks, network.query
    attention, maps = {}, {}
    for m in network.others:
        weights = network.cross[m].attention(
            out.specific[query], out.specific[m], mask=windows[query], key_mask=windows[m]
        )
        maps[NAMES[m]] = weights.mean((1, 2))
        attention[NAMES[m]] = _read_rows(maps[NAMES[m]], windows[query], network.pool)
    return {
        "prediction": out.heads["final"],
        "base": base,
        "parts": by_part,
        "modality_base": modality_base,
        "modalities": {NAMES[m]: values for m, values in by_modality.items()},
        "heads": out.heads,
        "attention": attention,
        "attention_map": maps,
    }


def shapley(value: Callable[[frozenset[str]], Tensor], players: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    """Exact Shapley values: each player's mean effect over all orders in which players can come in.

    Args:
        value: what a set of players achieves; called once for each of the 2^players sets.
        players: their names.

    Returns:
        (by player, the value of nobody); the players' values add up to the value of all minus that of nobody.

    Examples:
        >>> worth = {"": 0.0, "a": 1.0, "b": 2.0, "ab": 5.0}
        >>> by, _ = shapley(lambda group: torch.tensor(worth["".join(sorted(group))]), ["a", "b"])
        >>> by["a"].item(), by["b"].item()
        (2.0, 3.0)
    """
    n = len(players)
    groups = [frozenset(g) for size in range(n + 1) for g in combinations(players, size)]
    worth = {group: value(group) for group in groups}
    out = {}
    for player in players:
        effects = [
            math.factorial(len(g))
            * math.factorial(n - len(g) - 1)
            / math.factorial(n)
            * (worth[g | {player}] - worth[g])
            for g in groups
            if player not in g
        ]
        out[player] = torch.stack(effects).sum(0)
    return out, worth[frozenset()]


def _read_rows(weights: Tensor, mask: Tensor, pool: str) -> Tensor:
    if pool == POOLS[0]:
        return weights[:, -1]
    last = mask.shape[1] - 1 - mask.flip(1).int().argmax(1)
    return weights[torch.arange(len(weights), device=weights.device), last]
