"""Two plain ways to predict from several modalities, of the same size as `ITHPRegressor`: baselines to hold it against.

Both share its host, residual shift, pooler, head and schedule; what differs is the state that shifts the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.systems.multimodal.ithp._bottleneck import ITHP
from unsnarl.systems.multimodal.ithp._host_shift import Fused, ShiftedHostTask
from unsnarl.systems.multimodal.ithp._learner import ShiftedHostLearner


class ConcatTask(ShiftedHostTask):
    """The state is a network's answer to token and detectors side by side."""

    reads_detectors = True

    def fuse(
        self,
        tokens: Tensor,
        detectors: Sequence[Tensor] | None,
        mask: Tensor,
        observed: Sequence[Tensor] | None,
        *,
        sample: bool,
        generator: torch.Generator | None,
    ) -> Fused:
        """States of tokens and detectors; nothing is sampled and nothing is foreseen."""
        state = torch.cat([tokens, *(detectors or ())], dim=2)
        states = []
        for layer in self.fusion.children():
            state = layer(state)
            states.append(state)
        return Fused(states)


class PrimeTask(ShiftedHostTask):
    """The chain of `ITHP` as a plain network: no rate, no distortion, no detector."""

    def fuse(
        self,
        tokens: Tensor,
        detectors: Sequence[Tensor] | None,
        mask: Tensor,
        observed: Sequence[Tensor] | None,
        *,
        sample: bool,
        generator: torch.Generator | None,
    ) -> Fused:
        """States of tokens; detectors are not looked at."""
        assert isinstance(self.fusion, ITHP)
        out = self.fusion(tokens, sample=sample, generator=generator)
        return Fused(out.b)


class _Plain(ShiftedHostLearner):
    """The hyperparameters that both baselines have."""

    def __init__(
        self,
        host: Any = "microsoft/deberta-v3-base",
        order: Sequence[str] = ("text", "audio", "vision"),
        task: str = "regression",
        *,
        bottleneck_dims: Sequence[int] = (128, 64),
        hidden: int = 256,
        dropout: float = 0.3,
        shift: float = 1.0,
        fusion_dropout: float = 0.5,
        head_dropout: float = 0.1,
        pooler: str = "auto",
        normalize: str | None = "standard",
        noise: bool = False,
        max_pieces: int = 50,
        attend_pads: bool = False,
        train_host: bool = True,
        tokenizer: Any = None,
        initializer_range: float | None = 0.02,
        standardize: bool = False,
        lr: float = 1e-5,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        batch_size: int = 8,
        epochs: int = 30,
        seed: int = 0,
    ):
        self.host = host
        self.order = order
        self.task = task
        self.bottleneck_dims = bottleneck_dims
        self.hidden = hidden
        self.dropout = dropout
        self.shift = shift
        self.fusion_dropout = fusion_dropout
        self.head_dropout = head_dropout
        self.pooler = pooler
        self.normalize = normalize
        self.noise = noise
        self.max_pieces = max_pieces
        self.attend_pads = attend_pads
        self.train_host = train_host
        self.tokenizer = tokenizer
        self.initializer_range = initializer_range
        self.standardize = standardize
        self.lr = lr
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.batch_size = batch_size
        self.epochs = epochs
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        for width in self.bottleneck_dims:
            check_range(width, "bottleneck_dims", low=1, integer=True)

    def _state_widths(self) -> tuple[int, ...]:
        return tuple(self.bottleneck_dims)


class ConcatFusionRegressor(_Plain):
    """Every token's vector and its detectors side by side, through a network, as the shift of the host.

    For each width of `bottleneck_dims`: Linear - ReLU - dropout - Linear. It needs every modality to predict, reads what the
    detectors say at once, and keeps whatever helps, the speaker's voice as well as the mood.

    Args:
        host: as in `ITHPRegressor`, like all that are not named here.
        order: the modalities; the first has the tokens that are shifted.
        task: "regression" or "classification".
        bottleneck_dims: widths of the states; the last one shifts the host.
        normalize: scale of the other modalities: "standard" gives each feature mean 0 and variance 1 on the training words, so
            that it counts beside the tokens; or as in `ITHPRegressor`.
        noise: without meaning here, there is nothing to draw.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = {"text": rng.normal(size=(30, 4, 8)), "audio": rng.normal(size=(30, 4, 3))}
        >>> model = ConcatFusionRegressor(None, ("text", "audio"), bottleneck_dims=(4,)).fit(x, rng.normal(size=30), steps=5)
        >>> model.predict(x).shape
        (30,)
    """

    task_class = ConcatTask
    normalizations = ("standard", "train", "batch", None)

    def _make_fusion(self, width: int, dims: Sequence[int]) -> tuple[nn.Module, int]:
        layers, size = [], width + sum(dims)
        for state in self.bottleneck_dims:
            layers.append(
                nn.Sequential(
                    nn.Linear(size, self.hidden), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(self.hidden, state)
                )
            )
            size = state
        return nn.Sequential(*layers), size


class PrimeOnlyRegressor(_Plain):
    """`ITHPRegressor` with beta = gamma = 0 and without rates: the same networks on the prime modality alone.

    Args:
        host: as in `ITHPRegressor`, like all that are not named here.
        order: the first is the prime modality; the others are not looked at and may be left out.
        task: "regression" or "classification".
        bottleneck_dims: widths of the chain's states.
        normalize: without meaning here.
        noise: draw the states while training; the means are taken when absent.
    """

    task_class = PrimeTask
    normalizations = ("standard", "train", "batch", None)

    def fit(self, X: Any, y: Any = None, **options: Any) -> Any:
        """Learn from the prime modality and labels; see `ITHPRegressor.fit`. `unlabelled` would add nothing."""
        return super().fit(X, y, **options)

    def _features(self, found: Any, *, fitting: bool) -> dict[str, Any]:
        return {}

    def _make_fusion(self, width: int, dims: Sequence[int]) -> tuple[nn.Module, int]:
        # decoders of one output each, which nothing asks: the chain wants detectors to name its levels by
        chain = ITHP(
            width, [1] * len(self.bottleneck_dims), self.bottleneck_dims, 0, 0, hidden=self.hidden, dropout=self.dropout
        )
        chain.decoders.requires_grad_(False)
        return chain, chain.bottleneck_dims[-1]
