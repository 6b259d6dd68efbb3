"""The entropy a network starts from, and how the scale of its first weights sets it (Liao et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from unsnarl.arrays import check_range
from unsnarl.errors import OptionError
from unsnarl.measures.monitor._evaluation import Evaluation

if TYPE_CHECKING:
    import pandas as pd


def initialization_entropies(
    model: nn.Module,
    layers: Sequence[str] | str,
    inputs: Any,
    *,
    scales: Sequence[float] = (0.01, 0.03, 0.1),
    sigma: float = 10.0,
    t: float = 1,
    kinds: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    limit: int = 1_000,
    pool: str = "auto",
    seed: int = 0,
) -> pd.DataFrame:
    """DSE of layers when the weights of the convolutions are drawn from N(0, s), for several s.

    At one fixed sigma a small s gives an entropy near 0 and a large one near log2 n; in the paper networks that start low
    learn faster. The weights are put back. The published sigma of 10 suits layers of the authors' size: choose one at
    which your range of s covers the range of the entropy. A median would take the scale out, so it is not allowed here.

    Args:
        model: any network.
        layers: as in `RepresentationMonitor`, whose "penultimate" is known here too.
        inputs: as in `RepresentationMonitor`.
        scales: standard deviations s, above 0. (The paper writes N(0, s); s is taken as the standard deviation.)
        sigma: kernel width, the same for all.
        t: diffusion time.
        kinds: the modules whose weights are drawn; their biases are kept.
        limit: look at so many inputs.
        pool: as in `RepresentationMonitor`.
        seed: of the weights.

    Returns:
        A data frame with one row a scale and layer: scale, layer, dse.

    Raises:
        OptionError: no scale, one that is not above 0, or a network without such modules.
        UnknownNameError, DataError: as `RepresentationMonitor`.

    Cost: a pass of the model and an entropy a scale.
    """
    import warnings

    import pandas as pd

    from unsnarl.information import EstimatorWarning
    from unsnarl.measures.monitor._monitor import RepresentationMonitor

    for scale in scales:
        check_range(scale, "scales", low=0, open_low=True)
    check_range(sigma, "sigma", low=0, open_low=True)
    modules: list[Any] = [module for module in model.modules() if isinstance(module, kinds)]
    if not modules or not len(scales):
        what = "scales is empty" if modules else f"the network has no {', '.join(k.__name__ for k in kinds)}"
        raise OptionError(f"{what}, so there is nothing to draw")
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    batches = Evaluation(inputs, limit=limit).batches
    monitor = RepresentationMonitor(
        model, names, batches, record="dse", sigma=sigma, t=t, limit=limit, pool=pool, seed=seed
    )
    kept = [module.weight.detach().clone() for module in modules]
    rows = []
    try:
        for scale in scales:
            generator = torch.Generator().manual_seed(seed)  # the same directions at every scale
            with torch.no_grad():
                for module in modules:
                    drawn = torch.randn(module.weight.shape, generator=generator) * scale
                    module.weight.copy_(drawn)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", EstimatorWarning)  # the ends are what is looked for
                found = monitor.measure(0)
            rows += [{"scale": float(scale), "layer": layer, "dse": numbers["dse"]} for layer, numbers in found.items()]
    finally:
        with torch.no_grad():
            for module, weight in zip(modules, kept, strict=True):
                module.weight.copy_(weight)
    return pd.DataFrame(rows)
