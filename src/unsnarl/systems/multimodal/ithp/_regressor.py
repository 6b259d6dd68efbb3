"""ITHP: a host whose tokens are shifted by what a chain of bottlenecks perceives in them.

Xiao et al. 2024 (arXiv 2404.09403). Audio and vision are *detectors*: text is compressed into what foretells the voice, and
that into what foretells the face; the compressed state shifts the text's own vectors, from which the label is predicted.
Audio and vision are needed to learn and never to predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unsnarl.arrays import check_range
from unsnarl.errors import OptionError
from unsnarl.systems.multimodal.ithp._bottleneck import ITHP, level_scales, level_weights
from unsnarl.systems.multimodal.ithp._learner import ShiftedHostLearner


class ITHPRegressor(ShiftedHostLearner):
    """Predicts from a prime modality, with other modalities as teachers of what to keep of it.

    The state of the last bottleneck shifts the host's tokens, `LayerNorm(x0 + shift * W b)`; a pooler and a linear head
    follow. The loss is that of the task + 2 / (beta + gamma) times that of the bottlenecks (eq. 8), minimised by AdamW with a
    linear warm-up and decay. Defaults are those of the official code for CMU-MOSI; for MUStARD the paper's best are
    order=("vision", "text", "audio"), beta=32, gamma=8, task="classification".

    Args:
        host: text encoder that is fine-tuned: a name on the hub, a folder, or a module with its `tokenizer`; None where the
            prime modality comes as arrays, such as frozen token vectors (n, token, width).
        order: the prime modality, then the detectors in the order of the chain; as many as there are bottlenecks.
        task: "regression" or "classification".
        bottleneck_dims: width of each bottleneck.
        beta: weight of the first detector's distortion.
        gamma: weight of the second one's; a number for all further ones or a sequence.
        lam: weight of each further level against the one before.
        hidden: width of the hidden layers of encoders and decoders.
        dropout: dropout in them.
        output_dropout: dropout after the decoders' sigmoid, which biases what they foretell; as `dropout` when absent, as
            published; 0 if distortions are to be looked at.
        shift: weight of the shift.
        fusion_dropout: dropout after the shift.
        head_dropout: dropout before the head.
        pooler: "first" token as published, "mean" over the tokens, or "auto": the first with a text host, the mean for
            arrays. With "first" only the shift of [CLS] reaches the prediction, and its detector rows are zeros.
        normalize: how detectors come to [0, 1]: "train" by the range of each feature on the training data; "batch" as in the
            official code by the range of each batch as a whole, so that the loss depends on what else is in it; None not at all.
        noise: draw the states while training.
        max_pieces: length of a sentence in pieces; what is longer is cut.
        attend_pads: read pads and count them in rates and distortions, as the official code does.
        train_host: fine-tune the host; False takes its vectors as they are, computed once.
        tokenizer: that of a host that is a module.
        initializer_range: standard deviation of the first weights; None is torch's own start.
        standardize: learn labels with mean 0 and variance 1; the loss of the task then weighs alike on every scale.
        lr: peak learning rate.
        weight_decay: decay of weights other than biases and layer norms.
        warmup: share of the steps in which the learning rate rises.
        batch_size: observations a step.
        epochs: passes over the data.
        seed: seed of weights, batches, dropout and draws.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> text = rng.normal(size=(40, 6, 16))
        >>> audio, vision = text[:, :, :5] + rng.normal(size=(40, 6, 5)), text[:, :, :3]
        >>> model = ITHPRegressor(host=None, bottleneck_dims=(8, 4), lr=1e-2)
        >>> model = model.fit({"text": text, "audio": audio, "vision": vision}, text[:, :, 0].mean(1), steps=20)
        >>> model.predict(text=text).shape, model.transform(text=text, level=1).shape
        ((40,), (40, 4))
    """

    def __init__(
        self,
        host: Any = "microsoft/deberta-v3-base",
        order: Sequence[str] = ("text", "audio", "vision"),
        task: str = "regression",
        *,
        bottleneck_dims: Sequence[int] = (128, 64),
        beta: float = 8.0,
        gamma: float | Sequence[float] = 32.0,
        lam: float | Sequence[float] = 0.3,
        hidden: int = 256,
        dropout: float = 0.3,
        output_dropout: float | None = None,
        shift: float = 1.0,
        fusion_dropout: float = 0.5,
        head_dropout: float = 0.1,
        pooler: str = "auto",
        normalize: str | None = "train",
        noise: bool = True,
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
        self.beta = beta
        self.gamma = gamma
        self.lam = lam
        self.hidden = hidden
        self.dropout = dropout
        self.output_dropout = output_dropout
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

    def _make_fusion(self, width: int, dims: Sequence[int]) -> tuple[ITHP, int]:
        chain = ITHP(
            width,
            dims,
            self.bottleneck_dims,
            self.beta,
            self.gamma,
            self.lam,
            hidden=self.hidden,
            dropout=self.dropout,
            output_dropout=self.output_dropout,
        )
        return chain, chain.bottleneck_dims[-1]

    def _check_options(self) -> None:
        super()._check_options()
        levels = len(self.order) - 1
        if levels < 1 or len(self.bottleneck_dims) != levels:
            raise OptionError(
                f"order={tuple(self.order)!r} names {levels} detectors, but bottleneck_dims={tuple(self.bottleneck_dims)!r}; "
                "give one width for each detector, at least one"
            )
        if self.output_dropout is not None:
            check_range(self.output_dropout, "output_dropout", low=0, high=1)
        level_weights(levels, self.beta, self.gamma)
        level_scales(levels, self.lam)

    def _state_widths(self) -> tuple[int, ...]:
        return tuple(self.bottleneck_dims)
