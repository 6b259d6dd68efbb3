"""A monitor of what layers hold while a network trains (Liao et al. 2023, section on training; and others' quantities)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int
from torch import nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.measures.monitor._evaluation import POOLS, Evaluation, penultimate
from unsnarl.measures.monitor._history import MonitorHistory
from unsnarl.measures.monitor._quantities import (
    QUANTITIES,
    check_labels,
    feature_numbers,
    plane_numbers,
    spectral_numbers,
)
from unsnarl.nn._recorder import find_layers

if TYPE_CHECKING:
    import pandas as pd

_SPECTRAL = ("dse", "dsmi_labels", "dsmi_inputs")


class RepresentationMonitor:
    """Records over training steps what chosen layers make of a fixed set of inputs.

    Call it with the number of steps done, from a loop of your own or as one of the `callbacks=` of this library's
    training, or give it to a Lightning `Trainer(callbacks=[monitor])` (it is a Lightning `Callback` if
    `lightning.pytorch` was imported before the monitor was made). It leaves the network's mode and all random numbers
    of the training as they were.

    | record               | columns                                                   | unit |
    |----------------------|-----------------------------------------------------------|------|
    | "dse"                | dse                                                       | bits |
    | "dsmi_labels"        | dsmi_labels, dsmi_labels_se                               | bits |
    | "dsmi_inputs"        | dsmi_inputs, dsmi_inputs_se (ten clusters of the inputs)  | bits |
    | "information_plane"  | mi_inputs, mi_labels and their _se, by lossy compression  | nats |
    | "effective_features" | effective_features, features_per_neuron                   |      |

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    >>> monitor = RepresentationMonitor(net, "1", x, (x[:, 0] > 0).long(), every=10)
    >>> for step in range(21):
    ...     monitor(step)  # after this many steps
    >>> monitor.table()[["step", "layer"]].values.tolist()
    [[0, '1'], [10, '1'], [20, '1']]

    Args:
        model: any network; or the name of an image classifier of the Hugging Face hub or a folder of one, see
            `load_vision_model`; or None for the module that Lightning trains.
        layers: names as `model.named_modules()` gives them; "penultimate" is what the last linear layer reads.
        inputs: a tensor or array (n, ...); or batches: tensors, pairs (inputs, labels) or dictionaries.
        labels: n classes or numbers, where they do not come with the batches.
        record: what to record, see the table; by default DSE, and the two DSMI where there is what they need.
        every: record at steps that are a multiple of this.
        sigma: kernel width of the spectral quantities: "median" (of each layer at each record, so that the layer's scale
            does not count), "first" (that of the first record, kept), or a number; the width used is in column `sigma`.
        t: diffusion time.
        operator: as in `diffusion_spectral_entropy`.
        limit: look at so many inputs, the first ones.
        pool: what to do with several places of an input: "mean" over them (also "auto"), "first" (the class token), or
            "flatten".
        repeats: random subsets a category in DSMI.
        clusters: categories of the inputs for "dsmi_inputs"; clustered from the inputs by default, once.
        noise: Gaussian noise for the information plane, in root mean squares of the layer. Without noise the
            information of a deterministic layer with its input is infinite.
        information_options: keywords of `LossyMutualInformation`.
        feature_options: keywords of `measure_activations`, such as `epochs=` or a trained `sae=`.
        path: a .json or .csv file that is written at every record. If it exists, its rows are kept up to the first
            step recorded now, so a run that goes on from a checkpoint goes on with its curves.
        seed: of everything random.

    Raises:
        UnknownNameError: the network has no layer of that name.
        OptionError: an unknown quantity, pool or sigma, or a number out of range.
        DataError: too few inputs, labels that are missing or of another number.
        MissingExtraError: a model by name without transformers.

    Cost a record: one pass of the model over the inputs, and with the default limit well under a second a layer for the
    spectral quantities; the other two take seconds.
    """

    def __new__(cls, *arguments: Any, **keywords: Any) -> RepresentationMonitor:
        """An instance that is a Lightning `Callback` too, where Lightning's trainer is in use."""
        if cls is RepresentationMonitor and "lightning.pytorch" in sys.modules:
            from unsnarl.measures.monitor._lightning import LightningRepresentationMonitor

            cls = LightningRepresentationMonitor
        return super().__new__(cls)

    def __init__(
        self,
        model: nn.Module | str | None,
        layers: Sequence[str] | str,
        inputs: Any,
        labels: Any | None = None,
        *,
        record: Sequence[str] | str | None = None,
        every: int = 100,
        sigma: float | str = "median",
        t: float = 1,
        operator: str = "symmetric",
        limit: int = 1_000,
        pool: str = "auto",
        repeats: int = 5,
        clusters: Any | None = None,
        noise: float = 1e-3,
        information_options: Mapping[str, Any] | None = None,
        feature_options: Mapping[str, Any] | None = None,
        path: str | Path | None = None,
        seed: int = 0,
    ):
        from unsnarl.information._diffusion_spectral import OPERATORS

        check_range(every, "every", low=1, integer=True)
        check_range(t, "t", low=0, open_low=True)
        check_range(noise, "noise", low=0)
        check_range(repeats, "repeats", low=1, integer=True)
        check_range(seed, "seed", low=0, integer=True)
        check_choice(operator, OPERATORS, "operator")
        check_choice(pool, POOLS, "pool")
        if isinstance(sigma, str):
            check_choice(sigma, ("median", "first"), "sigma")
        else:
            check_range(sigma, "sigma", low=0, open_low=True)
        if isinstance(model, str):
            from unsnarl.measures.monitor._hub import load_vision_model

            model = load_vision_model(model)[0]
        assert not isinstance(model, str)
        self.model: nn.Module | None = model
        self.layers = (layers,) if isinstance(layers, str) else tuple(layers)
        if not self.layers:
            raise OptionError("layers is empty; name at least one layer")
        if model is not None:
            self._sides(model)
        self.evaluation = Evaluation(inputs, labels, limit=limit)
        self.record = self._chosen(record)
        self.every, self.sigma, self.t, self.operator, self.pool = int(every), sigma, float(t), operator, pool
        self.repeats, self.noise, self.seed = int(repeats), float(noise), int(seed)
        self.information_options = dict(information_options or {})
        self.feature_options = {"progress": False, "seed": self.seed, **(feature_options or {})}
        self.labels = self._categories()
        self.clusters = self._clusters(clusters)
        self.path = None if path is None else Path(path)
        self.history = MonitorHistory()
        if self.path is not None:
            self.history = MonitorHistory.load(self.path) if self.path.exists() else self.history
            self.history.save(self.path)  # an unwritable place is met before training, not after
        self._widths: dict[str, float] = {}

    def __call__(self, step: int, model: nn.Module | None = None) -> None:
        """Record if the number of steps done is a multiple of `every` and was not recorded yet.

        Args:
            step: number of steps done.
            model: the network, where none was given.
        """
        if step % self.every == 0:
            self.measure(step, model)

    def measure(self, step: int, model: nn.Module | None = None) -> dict[str, dict[str, float]]:
        """Record now, whatever `every` says; rows of this and later steps are replaced.

        Returns:
            Layer -> quantity -> number.

        Raises:
            DataError: no network was given, or activations that are not finite.
        """
        check_range(step, "step", low=0, integer=True)
        model = model if model is not None else self.model
        if model is None:
            raise DataError("the monitor was made without a model; call monitor(step, model)")
        sides = self._sides(model)
        values = self.evaluation.activations(model, {name: side for name, (_, side) in sides.items()}, self.pool)
        found = {shown: self._numbers(shown, values[name]) for name, (shown, _) in sides.items()}
        self.history.rewind(step)
        for layer, numbers in found.items():
            self.history.add(step=step, layer=layer, **numbers)
        if self.path is not None:
            self.history.save(self.path)
        return found

    def table(self) -> pd.DataFrame:
        """The history as a data frame: one row a step and layer."""
        return self.history.table()

    def save(self, path: str | Path) -> None:
        """Write the history to a .json or .csv file; `MonitorHistory.load` reads it."""
        self.history.save(path)

    def plot(self, path: str | Path | None = None, *, quantities: Sequence[str] | None = None) -> Any:
        """Draw the curves, see `MonitorHistory.plot`."""
        return self.history.plot(path, quantities=quantities)

    def _numbers(self, layer: str, values: np.ndarray) -> dict[str, float]:
        numbers: dict[str, float] = {}
        if set(self.record) & set(_SPECTRAL):
            numbers |= spectral_numbers(
                values,
                self._width(layer, values),
                record=self.record,
                t=self.t,
                operator=self.operator,
                repeats=self.repeats,
                labels=self.labels,
                clusters=self.clusters,
            )
        if "information_plane" in self.record:
            assert self.labels is not None  # checked when the monitor was made
            inputs = self.evaluation.inputs()
            options = self.information_options
            numbers |= plane_numbers(values, inputs, self.labels, noise=self.noise, seed=self.seed, options=options)
        if "effective_features" in self.record:
            numbers |= feature_numbers(values, options=self.feature_options)
        return numbers

    def _width(self, layer: str, values: np.ndarray) -> float:
        from unsnarl.information._kernel import median_distance

        if not isinstance(self.sigma, str):
            return float(self.sigma)
        if self.sigma == "first" and layer in self._widths:
            return self._widths[layer]
        earlier = [row["sigma"] for row in self.history.rows if row["layer"] == layer and "sigma" in row]
        if self.sigma == "first" and earlier:
            self._widths[layer] = earlier[0]
        else:
            self._widths[layer] = median_distance(values) / 2**0.5
        return self._widths[layer]

    def _sides(self, model: nn.Module) -> dict[str, tuple[str, str]]:
        """Name of the module -> the name shown, and the side that is recorded."""
        sides: dict[str, tuple[str, str]] = {}
        for layer in self.layers:
            if layer == "penultimate" and layer not in dict(model.named_modules()):
                sides[penultimate(model)] = (layer, "input")
            else:
                sides[next(iter(find_layers(model, layer)))] = (layer, "output")
        if len(sides) < len(self.layers):
            raise OptionError(f"layers={list(self.layers)} names one layer twice")
        return sides

    def _chosen(self, record: Sequence[str] | str | None) -> tuple[str, ...]:
        if record is None:
            possible = {"dse": True, "dsmi_labels": self.evaluation.labels is not None, "dsmi_inputs": True}
            return tuple(name for name, there in possible.items() if there)
        chosen = (record,) if isinstance(record, str) else tuple(record)
        for name in chosen:
            check_choice(name, QUANTITIES, "record")
        if not chosen:
            raise OptionError("record is empty; choose " + ", ".join(map(repr, QUANTITIES)))
        check_labels(chosen, self.evaluation.labels)
        return chosen

    def _categories(self) -> Int[np.ndarray, "n"] | None:
        from unsnarl.information._diffusion_mi import reference_categories

        labels = self.evaluation.labels
        if labels is None or not {"dsmi_labels", "information_plane"} & set(self.record):
            return None
        return reference_categories(labels, argument="labels", seed=self.seed)

    def _clusters(self, clusters: Any | None) -> Int[np.ndarray, "n"] | None:
        from unsnarl.information._diffusion_mi import categories_of

        if "dsmi_inputs" not in self.record:
            return None
        inputs = None if clusters is not None else self.evaluation.inputs()
        many = min(10, self.evaluation.n)
        return categories_of(self.evaluation.n, inputs, clusters, "vectors", many, self.seed, "inputs")
