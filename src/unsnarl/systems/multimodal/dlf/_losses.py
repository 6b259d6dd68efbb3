"""The losses of disentangled-language-focused fusion, each under its own name.

L_task = |y - t| + |y_c - t| + 3 |y_l - t| + |y_v - t| + |y_a - t|       mean absolute errors
L_r = sum_m MSE(r_m, x_m)                  the two parts together say all that was heard
L_s = sum_m MSE(s_m, s'_m)                 and what was put together can be taken apart again
L_o = sum_m mean max(0, cos(s_m, c_m))     over rows of `row` numbers
L_m = label margin loss of the 3 B vectors align_m(c_m)
L   = L_task + regularization (L_r + L_s + similarity (L_m + L_o))
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from unsnarl.objectives._margin import label_margin_loss
from unsnarl.objectives._orthogonality import orthogonality_loss
from unsnarl.systems.multimodal.dlf._network import HEADS, MODALITIES, DLFOutput

TASK_WEIGHTS = {"final": 1.0, "shared": 1.0, "l": 3.0, "v": 1.0, "a": 1.0}


@dataclass(frozen=True)
class LossWeights:
    """How much each term counts; the defaults are the official code's.

    Attributes:
        regularization: weight of all terms but the task's.
        similarity: weight of L_m and L_o within it.
        reconstruction: factor of L_r; 0 takes a term out, here and below.
        specific: factor of L_s.
        margin: factor of L_m.
        orthogonality: factor of L_o.
        row: numbers in a row of L_o; 50 for CMU-MOSI, 10 for CMU-MOSEI.
        slope: margin of L_m a unit of label distance.
    """

    regularization: float = 0.1
    similarity: float = 0.1
    reconstruction: float = 1.0
    specific: float = 1.0
    margin: float = 1.0
    orthogonality: float = 1.0
    row: int = 50
    slope: float = 0.15


def dlf_losses(
    output: DLFOutput, y: Float[Tensor, " batch"], weights: LossWeights | None = None
) -> dict[str, Float[Tensor, ""]]:
    """All terms, and their weighted sum as "loss".

    Args:
        output: of a network that was asked for what the losses need.
        y: labels.
        weights: see `LossWeights`.

    Returns:
        "task_final", "task_shared", "task_l", "task_v", "task_a" (unweighted), "task" (their weighted sum),
        "reconstruction", "specific", "orthogonality", "margin" (unweighted), "loss".

    Cost: linear in the output, and O(pairs of equal label * batch) for the margin loss.
    """
    weights = weights or LossWeights()
    terms = {f"task_{head}": F.l1_loss(output.heads[head], y) for head in HEADS}
    terms["task"] = _sum([weight * terms[f"task_{head}"] for head, weight in TASK_WEIGHTS.items()])
    terms["reconstruction"] = _sum([F.mse_loss(output.reconstructed[m], output.origin[m]) for m in MODALITIES])
    terms["specific"] = _sum([F.mse_loss(output.specific[m], output.reencoded[m]) for m in MODALITIES])
    terms["orthogonality"] = _sum(
        [orthogonality_loss(output.specific[m], output.shared[m], width=weights.row) for m in MODALITIES]
    )
    vectors = torch.cat([output.aligned[m] for m in MODALITIES])
    terms["margin"] = label_margin_loss(vectors, y.repeat(len(MODALITIES)), slope=weights.slope)
    alike = weights.margin * terms["margin"] + weights.orthogonality * terms["orthogonality"]
    kept = weights.reconstruction * terms["reconstruction"] + weights.specific * terms["specific"]
    terms["loss"] = terms["task"] + weights.regularization * (kept + weights.similarity * alike)
    return terms


def _sum(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).sum()
