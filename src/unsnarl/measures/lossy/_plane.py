"""The information plane of a network in training: what each layer knows of the input and of the label, epoch by epoch.

Butakov et al. 2024 (arXiv 2305.08013), after Shwartz-Ziv and Tishby 2017 (arXiv 1703.00810). In a deterministic network I(X; L) is
infinite or says only how the estimator bins; so the network is a `StochasticNet`, with noise on every layer's input in
training *and* in evaluation, and nothing is binned.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range, check_same_length, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.information._categories import category_columns, row_codes
from unsnarl.information._weighted_entropy import MOST_DIMENSIONS, check_enough
from unsnarl.measures.lossy._compressors import is_fitted, make_compressor
from unsnarl.measures.lossy._lossy import code_information, holds_labels
from unsnarl.measures.lossy._smoothing import smooth_curve
from unsnarl.nn._noise import StochasticNet
from unsnarl.nn._recorder import find_layers, record_activations
from unsnarl.training import as_input

if TYPE_CHECKING:
    import pandas as pd

PROBE = 64  # inputs that are run twice to see whether there is noise at all


class PlanePoint(NamedTuple):
    """One layer at one epoch: I(X; L) and I(L; Y) in nats with their standard errors."""

    i_xl: float
    i_xl_error: float
    i_ly: float
    i_ly_error: float


class InformationPlane:
    """I(X; L) and I(L; Y) of chosen layers, recorded whenever `update(epoch)` is called while a network trains.

    X is compressed once; each layer anew at every update (by principal components as published). I(L; Y) with labels is
    h(L) - sum_y p_y h(L | y).

    Train `plane.model`, not the network that was passed: it is the same network with noise on every layer's input. A network that is
    trained without the noise and only measured with it says how it would have done in a noise it never met.

    Args:
        model: a `StochasticNet`, or any network, which is wrapped in one.
        layers: names or modules of the network.
        sigma: noise of the wrapper; ignored (and best left out) where model is a `StochasticNet`.
        x: n inputs, such as the test images (10,000 in the paper).
        y: their labels, or numbers (n, columns).
        x_compressor: of X, see `LossyMutualInformation`; a fitted `AutoencoderCompressor` is best.
        layer_compressor: of the layers: "pca", "ae" (slow: one a layer and update), "first", "identity", a function or an object.
        dim: numbers in each code, of X and of a layer; or two, for X and for the layers.
        entropy: "kl" or "kde", as in `LossyMutualInformation`.
        k: neighbours, as there.
        weights: "spread" or, as published with k=5, "nearest", as there.
        relative: kind of noise of the wrapper.
        batch_size: inputs a forward pass.
        seed: of the noise and of autoencoders.

    Raises:
        DataError: different lengths, too few inputs.
        OptionError, UnknownNameError: an option out of range, a layer that does not exist.

    Examples:
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
        >>> x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
        >>> plane = InformationPlane(net, ["0"], sigma=0.1, x=x, y=(x[:, 0] > 0).astype(int), x_compressor="identity", dim=2)
        >>> bool(plane.update(0)["0"].i_ly > 0.3)
        True
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str | nn.Module] | str | nn.Module,
        sigma: float = 1e-3,
        *,
        x: Any,
        y: Any,
        x_compressor: Any = "ae",
        layer_compressor: Any = "pca",
        dim: int | tuple[int, int] = 4,
        entropy: Literal["kl", "kde"] | str = "kl",
        k: int | None = None,
        weights: Literal["spread", "nearest"] | str = "spread",
        relative: bool = True,
        batch_size: int = 512,
        seed: int = 0,
    ):
        check_range(batch_size, "batch_size", low=1, integer=True)
        check_choice(entropy, ("kl", "kde"), "entropy")
        check_choice(weights, ("spread", "nearest"), "weights")
        dims = dim if isinstance(dim, tuple) else (dim, dim)
        if len(dims) != 2:
            raise OptionError(f"dim={dim!r} must be one number, or two for X and the layers")
        for one in dims:
            check_range(one, "dim", low=1, high=MOST_DIMENSIONS, integer=True)
        self.model = model if isinstance(model, StochasticNet) else StochasticNet(model, sigma, relative, seed=seed)
        self._modules = find_layers(self.model.model, layers)
        self.layers = list(self._modules)
        self.dims = dims
        self._options: dict[str, Any] = {"entropy": entropy, "k": k, "weights": weights}
        self.batch_size, self.seed = int(batch_size), seed
        self._x, self._x_compressor, self._layer_compressor = x, x_compressor, layer_compressor
        y = to_numpy(y, "y")
        if y.ndim == 1 and not holds_labels(y):
            y = y[:, None]
        self._labels = row_codes(category_columns(y, "y")[0])[0] if holds_labels(y) else y.astype(np.float64)
        n = check_same_length(x=x, y=y)
        if entropy == "kl":
            check_enough(n, k, "x")
        self._codes: np.ndarray | None = None
        self._rows: list[dict[str, Any]] = []

    def update(self, epoch: float) -> dict[str, PlanePoint]:
        """Measure every layer as the network is now.

        Args:
            epoch: what the time axis shows; larger than at the last update.

        Returns:
            Layer -> (I(X; L), its error, I(L; Y), its error); nan where a layer cannot be measured.

        Raises:
            OptionError: an epoch that does not come after the last one.

        Warns:
            EstimatorWarning: a layer whose activations do not change from pass to pass (the network is deterministic: I(X; L) is
                infinite); one that cannot be measured, with the reason, such as units that are all off.

        Cost: two passes of the inputs, and per layer a PCA and entropies in 2 dim dimensions, some seconds for 10,000 inputs.
        """
        check_range(epoch, "epoch")
        if self._rows and epoch <= self._rows[-1]["epoch"]:
            raise OptionError(
                f"epoch={epoch!r} must be larger than that of the last update, {self._rows[-1]['epoch']!r}"
            )
        if self._codes is None:
            self._codes = self._compress_inputs()
            self._warn_of_determinism()
        found: dict[str, PlanePoint] = {}
        for name, values in self._activations(slice(None)).items():
            try:
                found[name] = self._measure(values)
            except DataError as error:
                found[name] = PlanePoint(*(math.nan,) * 4)
                warnings.warn(f"layer {name!r} at epoch {epoch:g}: {error}", EstimatorWarning, stacklevel=2)
        self._rows += [{"epoch": epoch, "layer": name, **point._asdict()} for name, point in found.items()]
        return found

    def _compress_inputs(self) -> np.ndarray:
        compressor = make_compressor(self._x_compressor, self.dims[0], self.seed, "x_compressor")
        if not is_fitted(compressor):
            compressor.fit(self._x)
        return np.asarray(compressor.transform(self._x), dtype=np.float64)

    def _measure(self, values: np.ndarray) -> PlanePoint:
        compressor = make_compressor(self._layer_compressor, self.dims[1], self.seed, "layer_compressor")
        if values.shape[1] <= self.dims[1] and isinstance(self._layer_compressor, str):
            compressor = make_compressor("identity", self.dims[1], self.seed, "layer_compressor")
        codes = compressor.fit(values).transform(values)
        assert self._codes is not None
        with_input = code_information(self._codes, codes, **self._options)
        with_label = code_information(codes, self._labels, **self._options)
        return PlanePoint(*with_input, *with_label)

    def _activations(self, rows: slice) -> dict[str, np.ndarray]:
        inputs = torch.as_tensor(to_numpy(self._x, "x")[rows])
        batches: list[Tensor] = [as_input(part) for part in inputs.split(self.batch_size)]
        seen = record_activations(self.model, batches, list(self._modules.values()))
        names = {id(module): name for name, module in self.model.named_modules()}
        return {name: seen[names[id(module)]].flatten(1).double().numpy() for name, module in self._modules.items()}

    def _warn_of_determinism(self) -> None:
        once, again = self._activations(slice(PROBE)), self._activations(slice(PROBE))
        fixed = [name for name in once if np.array_equal(once[name], again[name])]
        if fixed:
            warnings.warn(
                f"the activations of {', '.join(map(repr, fixed))} do not change from pass to pass: of a deterministic layer I(X; L) "
                "is infinite, and what is estimated depends on the sample alone; set sigma above 0 (relative noise adds nothing to "
                "activations that are exactly zero: relative=False)",
                EstimatorWarning,
                stacklevel=3,
            )

    def table(self, *, smooth: bool = False) -> pd.DataFrame:
        """All measurements: columns epoch, layer, i_xl, i_xl_error, i_ly, i_ly_error (nats).

        Args:
            smooth: smooth i_xl and i_ly of each layer over the updates, see `smooth_curve`; raw values stay available.

        Raises:
            DataError: nothing was measured yet.
        """
        import pandas as pd

        if not self._rows:
            raise DataError("the plane is empty; call update(epoch) first")
        table = pd.DataFrame(self._rows)
        if smooth:
            for column in ("i_xl", "i_ly"):
                table[column] = table.groupby("layer", sort=False)[column].transform(
                    lambda v: smooth_curve(v.to_numpy())
                )
        return table

    def plot(self, to: str | os.PathLike[str] | None = None, *, smooth: bool = True) -> Any:
        """One panel a layer: its path through the plane, coloured by epoch; raw measurements as dots behind it.

        Args:
            to: image file to write.
            smooth: draw the smoothed path (`smooth_curve`), or the raw one.

        Returns:
            The matplotlib figure.

        Raises:
            DataError: nothing was measured yet.
        """
        from matplotlib.collections import LineCollection
        from matplotlib.figure import Figure

        raw, path = self.table(), self.table(smooth=smooth)
        figure = Figure(figsize=(3.1 * len(self.layers) + 0.9, 3.2), layout="constrained")
        axes = figure.subplots(1, len(self.layers), squeeze=False, sharey=True)[0]
        low, high = raw["epoch"].min(), max(raw["epoch"].max(), raw["epoch"].min() + 1e-9)
        lines: Any = None
        for axis, layer in zip(axes, self.layers, strict=True):
            dots, curve = (t[t["layer"] == layer] for t in (raw, path))
            axis.scatter(
                dots["i_xl"], dots["i_ly"], c=dots["epoch"], s=9, alpha=0.35, linewidths=0, vmin=low, vmax=high
            )
            places = curve[["i_xl", "i_ly"]].to_numpy()
            pieces = np.stack([places[:-1], places[1:]], axis=1)
            lines = LineCollection(list(pieces), array=curve["epoch"].to_numpy()[1:], linewidths=1.8)
            lines.set_clim(low, high)
            axis.add_collection(lines)
            axis.set_title(layer, fontsize=10)
            axis.set_xlabel("I(X; L), nats")
        axes[0].set_ylabel("I(L; Y), nats")
        figure.colorbar(lines, ax=list(axes), label="epoch")
        if to is not None:
            figure.savefig(to, dpi=120)
        return figure
