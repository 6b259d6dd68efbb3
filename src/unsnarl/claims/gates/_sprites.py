"""Gates of the generators of sprites and of what reads them, as `Gate`s; the numbers are those of `unsnarl.zoo.gan_gates`."""

from __future__ import annotations

import math
from typing import Any

from unsnarl.claims.gates._gate import Gate
from unsnarl.zoo._gan_gates import GATES, gan_gates
from unsnarl.zoo._gan_recipe import CORRELATED

OF_REGRESSORS = ("regressors: ", "renders: ", "degraded renders: ")


def sprite_gates(name: str, model: Any, regressors: Any, n: int) -> list[Gate]:
    """The gates of a generator of sprites, or of the regressors.

    Args:
        name: of the model.
        model: a `Generator` or the `FactorRegressors`.
        regressors: that read the images.
        n: images of each kind.
    """
    of_regressors = name == "gan-regressors"
    models = {"gan-regressors": regressors} | ({} if of_regressors else {name: model})
    correlate = CORRELATED if name == "gan-correlated-32" else None
    out = []
    for what, value in gan_gates(models, n=n, name=name, correlate=correlate).items():
        if what.startswith(OF_REGRESSORS) != of_regressors:
            continue
        bar, side = GATES.get(what, (None, ""))
        low, high = (
            bar if side == which and bar is not None else sign * math.inf
            for which, sign in (("least", -1), ("most", 1))
        )
        out.append(Gate(name, what.removeprefix("gan: ").removeprefix("regressors: "), value, low, high, n))
    return out
