"""What a monitor can record of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from unsnarl.errors import DataError

Rows = Float[np.ndarray, "n width"]

QUANTITIES = ("dse", "dsmi_labels", "dsmi_inputs", "information_plane", "effective_features")
NEEDS_LABELS = ("dsmi_labels", "information_plane")


def spectral_numbers(
    values: Rows,
    sigma: float,
    *,
    record: tuple[str, ...],
    t: float,
    operator: str,
    repeats: int,
    labels: Int[np.ndarray, "n"] | None,
    clusters: Int[np.ndarray, "n"] | None,
) -> dict[str, float]:
    """DSE, DSMI with the labels and DSMI with the inputs (through their clusters), all at one sigma, in bits."""
    from unsnarl.information._diffusion_mi import diffusion_spectral_mi
    from unsnarl.information._diffusion_spectral import diffusion_spectral_entropy

    numbers: dict[str, float] = {"sigma": sigma}
    if "dse" in record:
        numbers["dse"] = float(diffusion_spectral_entropy(values, sigma, t, operator))
    for name, categories in (("dsmi_labels", labels), ("dsmi_inputs", clusters)):
        if name in record:
            mi = diffusion_spectral_mi(values, None, sigma, t, repeats, clusters=categories, operator=operator).mi
            numbers[name], numbers[f"{name}_se"] = float(mi), mi.standard_error
    return numbers


def plane_numbers(
    values: Rows,
    inputs: Float[np.ndarray, "n input"],
    labels: Int[np.ndarray, "n"],
    *,
    noise: float,
    seed: int,
    options: Mapping[str, Any],
) -> dict[str, float]:
    """I(inputs; layer) and I(layer; labels) in nats by lossy compression, with their standard errors.

    A deterministic layer is a function of the input, so that their information is infinite; Gaussian noise of `noise`
    times the layer's root mean square is added first. Both sides are compressed by PCA unless options say otherwise.
    """
    from unsnarl.measures.lossy import LossyMutualInformation

    size = float(np.sqrt(np.mean(values**2)))
    noisy = values + noise * size * np.random.default_rng(seed).standard_normal(values.shape)
    numbers: dict[str, float] = {}
    with torch.random.fork_rng(devices=[]):
        for name, one, other, second in (
            ("mi_inputs", inputs, noisy, "pca"),
            ("mi_labels", noisy, labels, "identity"),
        ):
            settings = {"x_compressor": "pca", "y_compressor": second, **options}
            if name == "mi_labels":
                settings["y_compressor"] = "identity"
            estimate, error = LossyMutualInformation(**settings).fit(one, other).estimate()
            numbers[name], numbers[f"{name}_se"] = float(estimate), float(error)
    return numbers


def feature_numbers(values: Rows, *, options: Mapping[str, Any]) -> dict[str, float]:
    """Effective features of the layer's sparse code, and how many share a neuron.

    An autoencoder is trained on the values at every record, or `sae=` among the options is used throughout.
    """
    from unsnarl.measures.superposition import measure_activations

    with torch.random.fork_rng(devices=[]):
        result = measure_activations(torch.from_numpy(values).float(), **options)
    return {"effective_features": float(result.F), "features_per_neuron": float(result.psi)}


def check_labels(record: tuple[str, ...], labels: np.ndarray | None) -> None:
    """Refuse quantities that need labels where there are none.

    Raises:
        DataError: names them.
    """
    wanting = [name for name in record if name in NEEDS_LABELS]
    if wanting and labels is None:
        raise DataError(f"record={', '.join(map(repr, wanting))} needs labels; give labels= or batches with labels")
