"""The verbs of learners that predict survival from a bag of instances and a table of pathways."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.data.survival._survival_data import SurvivalData
from unsnarl.errors import DataError, OptionError
from unsnarl.measures.survival._bins import bin_times, time_bins
from unsnarl.objectives._hazard import hazard_nll, hazard_risk, hazard_survival
from unsnarl.systems._learner import Callback, Learner, fingerprint
from unsnarl.systems.multimodal.pibd._batches import PatientBatches, pad
from unsnarl.systems.multimodal.pibd._best_weights import BestWeights
from unsnarl.systems.multimodal.pibd._inputs import BAG_SCALINGS, GENE_SCALINGS, Patients, Reader

MONITORS = ("loss", "concordance")
INSTANCES = 2**15  # at prediction, instances of one part


class BagSurvivalLearner(Learner):
    """Bags and pathways of patients -> hazards of time bins.

    A subclass stores its hyperparameters and builds a `SurvivalTask` in `_make_task` from `facts`, whose "reader" holds
    the sizes of the inputs.
    """

    n_bins: int
    batch_size: int
    epochs: int
    lr: float
    balanced: bool
    max_patches: int | None
    bag_scaling: str
    gene_scaling: str
    modalities: tuple[str, str] | None
    clusters: int
    validation_fraction: float
    monitor: str
    alpha_surv: float

    # ---- learning -------------------------------------------------------------------------------------------------

    def fit(
        self,
        bags: Any,
        pathways: Any = None,
        time: Any = None,
        event: Any = None,
        *,
        validation: Any = None,
        epochs: int | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 1000,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
        fabric: Any = None,
    ) -> Any:
        """Learn from patients; scales, time bins and, where no pathways are given, gene clusters come from these alone.

        Args:
            bags: a `SurvivalData`, which brings the other three; or one (n_i, features) array a patient, as many instances as
                there are, None for a patient without a bag.
            pathways: name -> (n, genes), or a list of such tables; a patient without genes has NaN in all of them.
            time: until the event or the last visit, any unit, at least 0; or scikit-survival's structured array.
            event: True where the event was seen, False where the patient was censored.
            validation: further patients, a `SurvivalData` or (bags, pathways, time, event); after every epoch the learner is
                tried on them, and the weights of the best epoch are kept. Otherwise `validation_fraction` of the patients
                are set aside for this.
            epochs: passes over the patients; the constructor's when absent.
            run: folder for config, metrics and checkpoints; a run that was interrupted continues where it was.
            resume: False starts over in a folder that holds a run.
            log_every: log the losses every so many steps.
            checkpoint_every: write a checkpoint every so many steps.
            progress: show progress and the time left.
            callbacks: each is called as `callback(step, model)` at step 0 and after every step.
            fabric: a launched `lightning.fabric.Fabric` for other devices, precisions or several processes.

        Returns:
            This learner, fitted. `cells_` counts the patients of each time bin, with event and censored; `validation_`
            holds the score of each epoch on validation patients, lower is better.

        Raises:
            DataError: lengths differ, NaN, a pathway without genes, a time bin without an event, a bag smaller than the number
                of instances to keep, a modality that nobody has.
            OptionError: a hyperparameter out of range.

        Warns:
            UserWarning: more than 95% of the patients had the event (are the flags of event and censorship swapped?), or
                fewer than 5%.
        """
        self._check_options()
        epochs = self.epochs if epochs is None else epochs
        check_range(epochs, "epochs", low=1, integer=True)
        chosen = None if self.modalities is None else (self.modalities[0], self.modalities[1])
        reader = Reader.of(bags, pathways, modalities=chosen, clusters=self.clusters)
        patients = reader.read(bags, pathways, time, event, outcome=True)
        held_out = self._validation(reader, validation)
        if held_out is None and self.validation_fraction > 0:
            kept, aside = _split(patients, self.validation_fraction, self.seed)
            patients, held_out = patients.subset(kept), patients.subset(aside)
        assert patients.time is not None
        assert patients.event is not None
        self._check_patients(patients)
        time_bin, edges = time_bins(patients.time, patients.event, self.n_bins)
        cells = [
            np.bincount(time_bin[patients.event == seen], minlength=self.n_bins).tolist() for seen in (True, False)
        ]
        lacking = [bool((patients.counts == 0).any()), bool((~patients.has_genes).any())]
        facts = {
            "reader": reader.to_facts(),
            "edges": [float(edge) for edge in edges],
            "cells": cells,
            "lacking": lacking,
        }
        task = self._build(facts)
        task.scaler.learn(patients)
        ranks: dict[str, Any] = {}
        if fabric is not None:
            ranks = {"device": fabric.device, "rank": fabric.global_rank, "world_size": fabric.world_size}
            task.to(fabric.device)
        batches = PatientBatches(
            patients,
            time_bin,
            batch_size=self.batch_size,
            balanced=self.balanced,
            max_patches=self.max_patches,
            seed=self.seed,
            **ranks,
        )
        steps = int(epochs) * batches.steps_per_epoch
        if held_out is not None:
            task.best = BestWeights(task.network, int(epochs))
            callbacks = [self._watch(held_out, edges, batches.steps_per_epoch), *callbacks]
        digest = fingerprint(patients.genes, patients.counts, np.concatenate(patients.bags[:50]), patients.time)
        self._train(
            task,
            facts,
            batches,
            steps=steps,
            data=digest,
            run=run,
            resume=resume,
            callbacks=callbacks,
            fabric=fabric,
            log_every=log_every,
            checkpoint_every=checkpoint_every,
            progress=progress,
        )
        if held_out is not None:
            scores = task.best.scores.tolist()
            self.validation_ = pd.DataFrame({"epoch": range(len(scores)), "score": scores})
            task.best.restore(task.network)
            del task.best
        self._represent_absent(patients, lacking)
        return self

    def _check_options(self) -> None:
        for name in ("n_bins", "z_dim", "batch_size", "epochs", "clusters"):
            check_range(getattr(self, name), name, low=2 if name == "n_bins" else 1, integer=True)
        check_range(self.lr, "lr", low=0, open_low=True)
        check_range(self.alpha_surv, "alpha_surv", low=0, high=1)
        check_range(self.validation_fraction, "validation_fraction", low=0, high=0.9)
        check_range(self.seed, "seed", integer=True)
        check_choice(self.monitor, MONITORS, "monitor")
        check_choice(self.bag_scaling, BAG_SCALINGS, "bag_scaling")
        check_choice(self.gene_scaling, GENE_SCALINGS, "gene_scaling")
        if self.max_patches is not None:
            check_range(self.max_patches, "max_patches", low=1, integer=True)
        if self.modalities is not None and len(self.modalities) != 2:
            raise OptionError(f"modalities={self.modalities!r} must name two, that of the bags and that of the genes")

    def _check_patients(self, patients: Patients) -> None:
        assert patients.event is not None
        for there, what in ((patients.counts > 0, "a bag"), (patients.has_genes, "genes")):
            if not there.any():
                raise DataError(f"no patient has {what}; fit needs patients with both modalities")
        rate = float(patients.event.mean())
        if rate < 0.05:
            warnings.warn(
                f"only {rate:.1%} of the patients had the event; if the flag says who was censored, pass 1 - flag",
                UserWarning,
                stacklevel=3,
            )

    def _validation(self, reader: Reader, validation: Any) -> Patients | None:
        if validation is None:
            return None
        if isinstance(validation, SurvivalData):
            return reader.read(validation, outcome=True)
        if not isinstance(validation, tuple | list) or len(validation) not in (3, 4):
            raise OptionError("validation must be a SurvivalData or (bags, pathways, time, event)")
        return reader.read(*validation, outcome=True)

    def _watch(self, patients: Patients, edges: np.ndarray, every: int) -> Callback:
        """After each epoch: how good the model is on patients it does not learn from."""
        assert patients.event is not None
        where = torch.from_numpy(bin_times(patients.time, edges)), torch.from_numpy(patients.event)

        def watch(step: int, _: Any) -> None:
            if step % every:
                return
            self.task_.eval()
            logits = self._map(patients, self.task_.logits)
            self.task_.train()
            if self.monitor == "loss":
                score = float(hazard_nll(logits, *where, alpha=self.alpha_surv))
            else:
                score = -_concordance(patients, hazard_risk(logits).numpy())
            self.task_.best.offer(self.task_.network, step // every, score)

        return watch

    def _represent_absent(self, patients: Patients, lacking: list[bool]) -> None:
        """Where training met no patient without a modality, the mean embedding of the others stands in for it later."""
        if all(lacking):
            return
        embeddings = self._map(patients, self.task_.embeddings)
        with torch.no_grad():
            for place, name in enumerate(("histology", "genomics")):
                if not lacking[place]:
                    self.task_.network.absent[place] = embeddings[name].mean(0)

    # ---- using ----------------------------------------------------------------------------------------------------

    @property
    def cells_(self) -> pd.DataFrame:
        """Patients of each time bin, with the event and censored, as training saw them."""
        self._check_fitted()
        edges = self.time_edges_
        names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
        counts = np.array(self.facts_["cells"]).T
        return pd.DataFrame(counts, index=pd.Index(names, name="time"), columns=["event", "censored"])

    @property
    def time_edges_(self) -> Float[np.ndarray, " edge"]:
        """The n_bins + 1 edges of the time bins: quartiles (or other quantiles) of the times of events in training."""
        self._check_fitted()
        return np.array(self.facts_["edges"])

    def predict_survival(self, bags: Any, pathways: Any = None) -> Float[np.ndarray, "n bins"]:
        """Probability of living past each time bin, falling from left to right.

        A patient may lack one modality: a bag of None, or NaN in all genes; `bags=None` or `pathways=None` where all do. The
        product of experts then has one expert, and what is missing from the embeddings is replaced: by vectors learned
        from the training patients that lacked it too or, if there were none, by the mean of the training patients.

        Args:
            bags: a `SurvivalData`, or bags as in `fit`.
            pathways: as in `fit`.

        Raises:
            NotFittedError: before `fit`.
            DataError: other features or genes than in `fit`, NaN, or a patient with neither modality.

        Cost: memory for about 32,000 instances at a time.
        """
        return hazard_survival(self._logits(bags, pathways)).numpy()

    def risk(self, bags: Any, pathways: Any = None) -> Float[np.ndarray, " n"]:
        """One number a patient, larger for an earlier event: minus the sum of the survival curve, in [-n_bins, 0]."""
        return hazard_risk(self._logits(bags, pathways)).numpy()

    def predict(self, bags: Any, pathways: Any = None) -> Float[np.ndarray, " n"]:
        """The same as `risk`, as scikit-survival's `predict` does."""
        return self.risk(bags, pathways)

    def score(self, bags: Any, pathways: Any = None, time: Any = None, event: Any = None) -> float:
        """Harrell's concordance index of the risk: 0.5 for a guess, 1 for the right order of all comparable pairs."""
        patients = self._patients(bags, pathways, time, event, outcome=True)
        return _concordance(patients, hazard_risk(self._map(patients, self.task_.logits)).numpy())

    def embed(self, bags: Any, pathways: Any = None) -> dict[str, Float[np.ndarray, "n z"]]:
        """The embeddings that the hazards are computed from: "histology", "genomics" and, where there is one, "common"."""
        embeddings = self._map(self._patients(bags, pathways), self.task_.embeddings)
        return {name: values.numpy() for name, values in embeddings.items()}

    def _logits(self, bags: Any, pathways: Any) -> Tensor:
        return self._map(self._patients(bags, pathways), self.task_.logits)

    def _patients(
        self, bags: Any, pathways: Any = None, time: Any = None, event: Any = None, *, outcome: bool = False
    ) -> Patients:
        self._check_fitted()
        reader = Reader.from_facts(self.facts_["reader"])
        return reader.read(bags, pathways, time, event, outcome=outcome)

    def _map(self, patients: Patients, function: Callable[..., Any]) -> Any:
        """A function of (bags, counts, genes, has_genes), a few patients at a time, rows in the order of the patients."""
        rows, parts = [], []
        with torch.inference_mode():
            for row, inputs in self._parts(patients):
                rows.append(row)
                parts.append(_on_cpu(function(*inputs)))
        back = torch.from_numpy(np.argsort(np.concatenate(rows), kind="stable"))
        if isinstance(parts[0], dict):
            return {name: torch.cat([part[name] for part in parts])[back] for name in parts[0]}
        return torch.cat(parts)[back]

    def _parts(self, patients: Patients) -> Iterator[tuple[np.ndarray, tuple[Tensor, ...]]]:
        """Rows of a few patients and their inputs (bags, counts, genes, has_genes), bags of like sizes together."""
        counts = patients.counts
        order = np.argsort(counts, kind="stable")
        genes, has_genes = torch.from_numpy(patients.genes), torch.from_numpy(patients.has_genes)
        device = next(self.task_.parameters()).device
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and (stop + 1 - start) * max(1, counts[order[stop]]) <= INSTANCES:
                stop += 1
            rows = order[start:stop]
            bags = pad([patients.bags[i] for i in rows], int(counts[rows].max()))
            inputs = (bags, torch.from_numpy(counts[rows]), genes[rows], has_genes[rows])
            yield rows, tuple(t.to(device) for t in inputs)
            start = stop


def _on_cpu(value: Any) -> Any:
    return {name: t.cpu() for name, t in value.items()} if isinstance(value, dict) else value.cpu()


def _split(patients: Patients, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and rows to set aside, with the same share of events."""
    assert patients.event is not None
    rng = np.random.default_rng(seed)
    aside = []
    for seen in (True, False):
        rows = rng.permutation(np.flatnonzero(patients.event == seen))
        aside.append(rows[: round(fraction * len(rows))])
    chosen = np.sort(np.concatenate(aside))
    if not patients.event[chosen].any():
        raise DataError(f"validation_fraction={fraction:g} sets no patient with an event aside; there are too few")
    return np.setdiff1d(np.arange(len(patients)), chosen), chosen


def _concordance(patients: Patients, risk: np.ndarray) -> float:
    from unsnarl.measures.survival import concordance

    return float(concordance(patients.time, patients.event, risk))
