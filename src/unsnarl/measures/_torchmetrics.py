"""The measures as a torchmetrics metric: fed batch by batch, on any number of processes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from unsnarl.arrays import check_range, to_numpy
from unsnarl.errors import DataError
from unsnarl.measures._measure import measure
from unsnarl.measures._measure_report import MeasureReport
from unsnarl.measures._measure_table import MEASURES, measure_names
from unsnarl.measures._scores import Score, Scores


class LatentFactorMetric(Metric):
    """Collects codes and factors over batches and computes any of the measures of `unsnarl.measure` on all of them.

    The measures need many observations at once, so nothing is computed per batch: calling the metric (`forward`) updates it and
    returns an empty dict. At most `max_observations` are kept, a uniform sample of all that were seen, whatever the batches and
    the processes: each observation draws a random key when it arrives, and those with the smallest keys stay.

    Args:
        names: measures to compute, as in `measure`; None computes all.
        factor_names: names of the columns of factors.
        kinds: "discrete" or "continuous" for all, by name, or one a column; inferred from all observations where absent.
        discrete: whether codes are categories, as in `measure`.
        factor_bins: cut continuous factors into this many bins for the measures that need discrete ones.
        max_observations: observations kept in each process and used in all; None keeps all.
        bootstrap: half samples for intervals, found in `.report`.
        seed: of the sample and of the measures.
        **options: of `torchmetrics.Metric`, such as `compute_on_cpu` or `sync_on_compute`.

    Attributes:
        report: the `MeasureReport` of the latest `compute`, with intervals, matrices and the finding.

    `compute` returns name -> tensor, such as "infomec_modularity", "dci_completeness" or "sap"; the names do not depend on the
    data, and what cannot be computed is nan, with a warning that says why; of a measure with a number for each factor their mean
    is logged. Each process needs at least one batch, and all must agree
    on the dtype of codes and factors; factors are numbers (category indices or values).

    Cost: O(max_observations * (latents + factors)) memory; `compute` costs as much as `measure`.

    Examples:
        >>> metric = LatentFactorMetric(["mig", "irs"], factor_names=["hue", "size"])
        >>> for seed in range(5):
        ...     factors = torch.randint(4, (200, 2), generator=torch.Generator().manual_seed(seed))
        ...     metric.update(factors.float(), factors)
        >>> {name: round(value.item(), 2) for name, value in metric.compute().items()}
        {'mig': 1.0, 'irs': 1.0}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    codes: list[Tensor] | Tensor
    factors: list[Tensor] | Tensor
    keys: list[Tensor] | Tensor
    seen: Tensor
    limit: Tensor

    def __init__(
        self,
        names: Iterable[str] | str | None = None,
        *,
        factor_names: Sequence[str] | None = None,
        kinds: Any = None,
        discrete: bool | None = None,
        factor_bins: int | None = None,
        max_observations: int | None = 10_000,
        bootstrap: int = 0,
        seed: int = 0,
        **options: Any,
    ):
        super().__init__(**options)
        if max_observations is not None:
            check_range(max_observations, "max_observations", low=2, integer=True)
        check_range(bootstrap, "bootstrap", low=0, integer=True)
        check_range(seed, "seed", low=0, integer=True)
        self.names = measure_names(names)
        self.factor_names = None if factor_names is None else list(factor_names)
        self.kinds = kinds
        self.discrete = discrete
        self.factor_bins = factor_bins
        self.max_observations = max_observations
        self.bootstrap = bootstrap
        self.seed = seed
        self.report: MeasureReport | None = None
        self.add_state("codes", default=[], dist_reduce_fx="cat")
        self.add_state("factors", default=[], dist_reduce_fx="cat")
        self.add_state("keys", default=[], dist_reduce_fx="cat")
        self.add_state("seen", default=torch.tensor(0), dist_reduce_fx="sum")
        # a state, so that a MetricCollection does not let metrics with different limits share their observations
        self.add_state("limit", default=torch.tensor(max_observations or 0), dist_reduce_fx="max")

    def update(self, codes: Shaped[Tensor, "batch *latent"], factors: Shaped[Tensor, "rows *factor"]) -> None:
        """Take in one batch.

        Args:
            codes: representation, shape (batch, latent); more axes are flattened.
            factors: factor values, shape (batch, factor) or (batch,).

        Raises:
            DataError: different lengths, no observations axis, or other widths than before.
        """
        if codes.ndim < 2 or factors.ndim < 1 or len(codes) != len(factors):
            raise DataError(
                f"codes must have shape (batch, latent) and factors (batch, factor) with one batch size, got "
                f"{tuple(codes.shape)} and {tuple(factors.shape)}"
            )
        if not len(codes):
            return
        codes, factors = codes.detach().flatten(1), factors.detach().reshape(len(factors), -1)
        held_codes, held_factors, held_keys = self._held()
        for new, held, name in ((codes, held_codes, "codes"), (factors, held_factors, "factors")):
            if held and held[0].shape[1] != new.shape[1]:
                raise DataError(f"{name} has {new.shape[1]} columns, but earlier batches had {held[0].shape[1]}")
        held_codes.append(codes)
        held_factors.append(factors)
        held_keys.append(self._draw_keys(len(codes)).to(codes.device))
        self.seen += len(codes)
        if self.max_observations is not None and sum(map(len, held_keys)) > 2 * self.max_observations:
            self._keep_smallest()

    def forward(self, *arguments: Any, **keywords: Any) -> dict[str, Tensor]:
        """Update without computing anything on the single batch."""
        self.update(*arguments, **keywords)
        return {}

    def compute(self) -> dict[str, Tensor]:
        """The numbers of all measures on the observations of all processes.

        Raises:
            DataError: nothing was collected, or codes or factors that no measure can use.
        """
        if not len(self.keys):
            raise DataError("LatentFactorMetric has no observations; call update(codes, factors) before compute()")
        codes, factors, keys = dim_zero_cat(self.codes), dim_zero_cat(self.factors), dim_zero_cat(self.keys)
        if self.max_observations is not None and len(keys) > self.max_observations:
            chosen = _smallest(keys, self.max_observations)
            codes, factors = codes[chosen], factors[chosen]
        self.report = measure(
            to_numpy(codes, "codes"),
            to_numpy(factors, "factors"),
            names=self.names,
            factor_names=self.factor_names,
            kinds=self.kinds,
            discrete=self.discrete,
            factor_bins=self.factor_bins,
            bootstrap=self.bootstrap,
            seed=self.seed,
        )
        for name, reason in self.report.skipped.items():
            warnings.warn(f"{name} is nan: {reason}", UserWarning, stacklevel=2)
        values = {}
        for name in self.names:
            scores = self.report.scores.get(name)
            for score in MEASURES[name].numbers:
                key = f"{name}_{score}" if len(MEASURES[name].numbers) > 1 else score
                number = math.nan if scores is None else _number(scores, score)
                values[key] = torch.tensor(number, dtype=torch.float32, device=self.device)
        return values

    def reset(self) -> None:
        """Forget all observations and the report."""
        super().reset()
        self.report = None

    def _held(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """The lists of what was collected (a loaded or merged state holds single tensors)."""
        for name in ("codes", "factors", "keys"):
            if isinstance(getattr(self, name), Tensor):
                setattr(self, name, [getattr(self, name)])
        return self.codes, self.factors, self.keys  # type: ignore[return-value]

    def _draw_keys(self, count: int) -> Shaped[Tensor, " count"]:
        """Random keys of the next observations, the same however they are cut into batches, others in each process."""
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        rank = torch.distributed.get_rank() if distributed else 0
        stream = np.random.Philox(key=[self.seed, rank])
        stream.advance(int(self.seen))  # one step gives four words; the first is used
        words = stream.random_raw(4 * count)[::4]
        return torch.from_numpy((words >> np.uint64(1)).astype(np.int64))

    def _keep_smallest(self) -> None:
        assert self.max_observations is not None
        chosen = _smallest(dim_zero_cat(self.keys), self.max_observations)
        for name in ("codes", "factors", "keys"):
            setattr(self, name, [dim_zero_cat(getattr(self, name))[chosen]])


def _number(scores: Scores | Score, name: str) -> float:
    """A number by its name in the table of measures; where there is one for each factor, their mean."""
    if isinstance(scores, Score):
        return float(scores)
    if name in scores:
        return float(scores[name])
    return float(np.mean([scores[full] for full in scores if full.partition(":")[0] == name]))


def _smallest(keys: Shaped[Tensor, " n"], count: int) -> Shaped[Tensor, " count"]:
    """Indices of the smallest keys, in the order of arrival."""
    return torch.topk(keys, count, largest=False).indices.sort().values
