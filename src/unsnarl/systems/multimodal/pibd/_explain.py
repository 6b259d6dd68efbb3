"""What a prediction rests on: prototypes, kept instances, and what each modality says without the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unsnarl.objectives._hazard import hazard_risk, hazard_survival
from unsnarl.systems.multimodal.pibd._bottleneck import Selection
from unsnarl.systems.multimodal.pibd._inputs import Patients

OTHER = {"histology": "genomics", "genomics": "histology"}


class Kept(NamedTuple):
    """Instances of one patient and modality that the bottleneck keeps, the most similar first.

    Attributes:
        indices: which instances, each once.
        scores: cosine with the nearest prototype, in [-1, 1].
        cells: that prototype: y for the event seen in time bin y, y + n_bins for a patient censored in it.
    """

    indices: Int[np.ndarray, " _"]
    scores: Float[np.ndarray, " _"]
    cells: Int[np.ndarray, " _"]


@dataclass(frozen=True, repr=False)
class PatientExplanation:
    """What one patient's prediction rests on.

    Attributes:
        name: of the patient.
        risk: minus the sum of the survival curve; larger is worse.
        survival: probability of living past each time bin.
        prototypes: one row a modality and prototype: `time` and `outcome` say what it stands for, `similarity` is the mean of the
            k largest cosines of the patient's instances with it, `votes` the share of the kept scores that are its own,
            `chosen` marks the patient's prototype. A modality that the patient lacks has no rows.
        sure: modality -> votes of the chosen prototype, in (0, 1]; a share near 1 / (2 n_bins) is a guess.
        influence: modality -> its share in the common token, by weight and precision; they sum to 1.
        kept: modality -> the instances that were kept.
        pathways: names of the pathways, which `kept["genomics"].indices` counts.
        risk_alone: modality -> the risk if only this modality were known.
    """

    name: str
    risk: float
    survival: Float[np.ndarray, " bins"]
    prototypes: pd.DataFrame
    sure: dict[str, float]
    influence: dict[str, float]
    kept: dict[str, Kept]
    pathways: list[str]
    risk_alone: dict[str, float]

    def __repr__(self) -> str:
        lines = [f"{self.name}: risk {self.risk:.2f}, survival {' '.join(f'{s:.2f}' for s in self.survival)}"]
        for modality, sure in self.sure.items():
            rows = self.prototypes[self.prototypes["modality"] == modality]
            chosen = rows[rows["chosen"]].iloc[0]
            kept = self.kept[modality]
            names = [self.pathways[i] if modality == "genomics" else str(i) for i in kept.indices[:4]]
            lines.append(
                f"  {modality}: like {chosen['outcome']} in {chosen['time']} ({sure:.0%} of votes, cosine "
                f"{chosen['similarity']:.2f}; alone risk {self.risk_alone[modality]:.2f}; {self.influence[modality]:.0%} of the "
                f"common token); kept {len(kept.indices)}: {', '.join(names)}{', ...' if len(kept.indices) > 4 else ''}"
            )
        return "\n".join(lines)


def selections(model: Any, patients: Patients) -> list[dict[str, Kept]]:
    """What both bottlenecks keep of each patient."""
    found: list[dict[str, Kept]] = [{} for _ in range(len(patients))]
    for rows, inputs in model._parts(patients):
        with torch.inference_mode():
            for modality, selection in _compare(model.task_, inputs).items():
                for row, kept in zip(rows, _kept(selection), strict=True):
                    found[row][modality] = kept
    return found


def explain_patients(model: Any, patients: Patients) -> list[PatientExplanation]:
    """One explanation a patient."""
    edges = model.time_edges_
    times = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    pathways = list(model.facts_["reader"]["pathways"])
    made: list[Any] = [None] * len(patients)
    for rows, inputs in model._parts(patients):
        with torch.inference_mode():
            bags, counts, genes, has_genes = inputs
            compared = _compare(model.task_, inputs)
            logits = model.task_.logits(*inputs)
            alone = {  # those who lack one modality already have only the other
                "histology": model.task_.logits(bags, counts, genes, has_genes & (counts == 0)),
                "genomics": model.task_.logits(bags, counts.where(~has_genes, 0), genes, has_genes),
            }
            present = {"histology": counts > 0, "genomics": has_genes}
            influence = _influence(model.task_.network, compared, torch.stack(list(present.values())))
            risks, curves = hazard_risk(logits), hazard_survival(logits)
            kept = {modality: _kept(selection) for modality, selection in compared.items()}
            similar = {m: _similarity(getattr(model.task_.network, m), s) for m, s in compared.items()}
        for i, row in enumerate(rows):
            there = [m for m in compared if bool(present[m][i])]
            tables = [_table(m, compared[m], similar[m], i, times) for m in there]
            made[row] = PatientExplanation(
                name=patients.names[row],
                risk=float(risks[i]),
                survival=curves[i].cpu().numpy(),
                prototypes=pd.concat(tables, ignore_index=True),
                sure={m: float(compared[m].votes[i, compared[m].cell[i]]) for m in there},
                influence={m: float(influence[k, i]) for k, m in enumerate(compared) if m in there},
                kept={m: kept[m][i] for m in there},
                pathways=pathways,
                risk_alone={m: float(hazard_risk(alone[m])[i]) for m in there},
            )
    return made


def _compare(task: Any, inputs: tuple[Tensor, ...]) -> dict[str, Selection]:
    """Both bottlenecks on whole bags."""
    network, (bags, counts, genes, has_genes) = task.network, inputs
    bags, counts, genes = task.scaler(bags, counts, genes)
    noise = network.test_noise(bags.device)
    vectors = network.pathways(genes.where(has_genes[:, None], 0.0))
    genomics = network.genomics(vectors, has_genes[:, None].expand(vectors.shape[:2]), None, noise)
    noise = network.test_noise(bags.device)
    mask = torch.arange(bags.shape[1], device=bags.device) < counts[:, None]
    return {"histology": network.histology(bags, mask, None, noise), "genomics": genomics}


def _kept(selection: Selection) -> list[Kept]:
    scores, cells = (part.cpu().numpy() for part in selection.attention.max(2))
    indices, there = selection.indices.cpu().numpy(), selection.token_mask.cpu().numpy()
    found = []
    for row in range(len(indices)):
        unique = np.unique(indices[row][there[row]])
        unique = unique[np.argsort(-scores[row, unique], kind="stable")]
        found.append(Kept(unique, scores[row, unique], cells[row, unique]))
    return found


def _similarity(bottleneck: Any, selection: Selection) -> Float[Tensor, "batch cell"]:
    """Mean of the k largest cosines with each prototype."""
    counts = torch.isfinite(selection.attention[..., 0]).sum(1)
    return bottleneck.top_means(selection.attention, bottleneck.kept(counts))


def _influence(network: Any, compared: dict[str, Selection], present: Tensor) -> Float[Tensor, "modality batch"]:
    spread = torch.stack([s.deviation for s in compared.values()])
    variances = spread if network.experts_as == "published" else spread.square()
    weighted = (network.experts.weights[:, None, None] / (variances + network.experts.eps)) * present[..., None]
    return (weighted / weighted.sum(0)).mean(2)


def _table(modality: str, selection: Selection, similar: Tensor, row: int, times: list[str]) -> pd.DataFrame:
    cells = np.arange(2 * len(times))
    return pd.DataFrame(
        {
            "modality": modality,
            "time": [times[c % len(times)] for c in cells],
            "outcome": np.where(cells < len(times), "event", "censored"),
            "similarity": similar[row].cpu().numpy(),
            "votes": selection.votes[row].cpu().numpy(),
            "chosen": cells == int(selection.cell[row]),
        }
    )
