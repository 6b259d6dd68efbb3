"""Disentangled-language-focused fusion, DLF (Wang, Zhou, Wu, Chen & Hu 2025, AAAI, arXiv 2412.12225).

The idea: what a sentence says, how it is said and the face that says it overlap, and language says most. So each modality
is taken apart into what is its own and what it shares with the others; the own parts of voice and face are drawn into
language by attention whose queries are words; and the prediction is supervised before as well as after they are fused.

The network is in `_network.py`, the losses in `_losses.py`, each with its equations. Training: Adam, gradients summed over
`accumulate` batches and clipped element by element after each, learning rate halved when the validation error stays, best
epoch kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.systems.multimodal.dlf._explain import DLFExplanation, explain_fusion
from unsnarl.systems.multimodal.dlf._fusion_learner import FusionLearner
from unsnarl.systems.multimodal.dlf._fusion_task import FusionTask
from unsnarl.systems.multimodal.dlf._losses import LossWeights, dlf_losses
from unsnarl.systems.multimodal.dlf._modalities import LETTERS, read_labels
from unsnarl.systems.multimodal.dlf._network import HEADS, MODALITIES, DLFNetwork

PRESETS: dict[str, dict[str, Any]] = {
    "mosi": {},
    "mosei": {
        "kernel": 3,
        "attention_dropout": 0.5,
        "attention_dropout_audio": 0.0,
        "attention_dropout_vision": 0.0,
        "embedding_dropout": 0.0,
        "text_dropout": 0.1,
        "row": 10,
    },
}
STAGES = ("disentangled", "fused")
COLUMNS = (
    "loss",
    "task",
    *(f"task_{head}" for head in HEADS),
    "reconstruction",
    "specific",
    "orthogonality",
    "margin",
)


class DLFTask(FusionTask):
    """The network trained on L of `dlf_losses`.

    Args:
        network: the network.
        weights: of the losses.
        options: those of `FusionTask`.
    """

    network: DLFNetwork
    columns = COLUMNS

    def __init__(self, network: DLFNetwork, *, weights: LossWeights | None = None, **options: Any):
        super().__init__(network, **options)
        self.weights = weights or LossWeights()

    def losses(self, *tensors: Tensor) -> dict[str, Tensor]:
        """Every term for one batch of values, masks and labels."""
        return dlf_losses(self.outputs(*tensors[:6], losses=True), tensors[6], self.weights)


class DLF(FusionLearner):
    """Regression on text, audio and vision sequences, with specific and shared parts, focused on language.

    The defaults are those of the official code for CMU-MOSI; `DLF.preset("mosei")` has the others.

    Args:
        text_encoder: a name on the hub or a folder of a transformers encoder, a `TextHost`, any module that maps the text
            to (batch, time, width), or None where text comes as vectors (frozen).
        dims: features of text, audio and vision, as three numbers or a mapping; what the data have when absent. Of text,
            the width of the vectors.
        d: width of everything inside.
        heads: attention heads; they divide `d`.
        layers: blocks of an encoder.
        kernel: steps of a convolution window; `time - kernel + 1` steps are left.
        attention_dropout: of language encoders, the shared encoder and memories.
        attention_dropout_audio: of encoders of audio and attention to it.
        attention_dropout_vision: of encoders of vision and attention to it.
        embedding_dropout: of scaled inputs with positions.
        text_dropout: of text vectors.
        output_dropout: of hidden layers of the residual MLPs.
        relu_dropout: of hidden layers of encoders.
        residual_dropout: of what blocks add.
        query: the modality whose words ask the others; "text" is the method, others are ablations.
        pool: "last" reads the last step, as published, padding or not; "last_valid" the last that holds something.
        padding: "zeros" (published), "mask" or "none": see `CrossmodalEncoder`.
        aligned: whether the modalities have one row for the same word; False allows them different numbers of steps.
        row: numbers in a row of the orthogonality loss; `d` when absent.
        regularization: weight of all loss terms but the task's.
        similarity: weight of the margin and orthogonality losses within it.
        reconstruction: factor of the reconstruction loss; 0 takes a term out, here and below.
        specific: factor of the re-encoding loss.
        margin: factor of the label margin loss.
        orthogonality: factor of the orthogonality loss.
        slope: margin a unit of label distance.
        finetune: whether the text encoder learns too.
        tokenizer: of a text encoder that is a module.
        label_range: labels outside are refused; None allows all.
        lr: learning rate of Adam, for the text encoder as well. Gradients are summed, not averaged, over the accumulated
            batches; Adam divides that factor out again, but `clip_value` does not, and there are fewer steps an epoch.
        batch_size: observations a batch; the losses are means over it.
        accumulate: batches a step.
        leftover: "drop" discards the batches of an epoch that make no whole step, as published; "step" uses them.
        clip_value: bound of the summed gradients, element by element, after each batch.
        patience: epochs without a lower validation error before the learning rate is halved.
        early_stop: epochs since the best one after which training stops.
        epochs: most epochs; the official loop has no such bound.
        validation_fraction: share held out where `fit` gets no validation data.
        seed: seed of weights, batches, dropout and the held-out share.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> text, audio, vision = (rng.normal(size=(40, 8, n)).astype("float32") for n in (6, 3, 4))
        >>> y = np.clip(text[:, :, 0].mean(1) + audio[:, :, 0].mean(1), -3, 3)
        >>> model = DLF(None, d=6, heads=2, kernel=3, batch_size=8, accumulate=2, epochs=2, pool="last_valid")
        >>> model = model.fit(text, audio, vision, y)
        >>> model.predict({"text": text, "audio": audio, "vision": vision}).shape
        (40,)
        >>> {part: sorted(codes) for part, codes in model.transform(text, audio, vision).items()}
        {'specific': ['a', 'l', 'v'], 'shared': ['a', 'l', 'v']}
    """

    task_: DLFTask
    uses_label_groups = True

    def __init__(
        self,
        text_encoder: Any = "bert-base-uncased",
        dims: Any = None,
        d: int = 50,
        heads: int = 10,
        *,
        layers: int = 2,
        kernel: int = 5,
        attention_dropout: float = 0.3,
        attention_dropout_audio: float = 0.2,
        attention_dropout_vision: float = 0.0,
        embedding_dropout: float = 0.2,
        text_dropout: float = 0.5,
        output_dropout: float = 0.5,
        relu_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        query: str = "text",
        pool: str = "last",
        padding: str = "zeros",
        aligned: bool = True,
        row: int | None = None,
        regularization: float = 0.1,
        similarity: float = 0.1,
        reconstruction: float = 1.0,
        specific: float = 1.0,
        margin: float = 1.0,
        orthogonality: float = 1.0,
        slope: float = 0.15,
        finetune: bool = True,
        tokenizer: Any = None,
        label_range: Any = (-3.0, 3.0),
        lr: float = 1e-4,
        batch_size: int = 16,
        accumulate: int = 10,
        leftover: str = "drop",
        clip_value: float | None = 0.6,
        patience: int = 5,
        early_stop: int = 10,
        epochs: int = 200,
        validation_fraction: float = 0.1,
        seed: int = 0,
    ):
        self.text_encoder = text_encoder
        self.dims = dims
        self.d = d
        self.heads = heads
        self.layers = layers
        self.kernel = kernel
        self.attention_dropout = attention_dropout
        self.attention_dropout_audio = attention_dropout_audio
        self.attention_dropout_vision = attention_dropout_vision
        self.embedding_dropout = embedding_dropout
        self.text_dropout = text_dropout
        self.output_dropout = output_dropout
        self.relu_dropout = relu_dropout
        self.residual_dropout = residual_dropout
        self.query = query
        self.pool = pool
        self.padding = padding
        self.aligned = aligned
        self.row = row
        self.regularization = regularization
        self.similarity = similarity
        self.reconstruction = reconstruction
        self.specific = specific
        self.margin = margin
        self.orthogonality = orthogonality
        self.slope = slope
        self.finetune = finetune
        self.tokenizer = tokenizer
        self.label_range = label_range
        self.lr = lr
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.leftover = leftover
        self.clip_value = clip_value
        self.patience = patience
        self.early_stop = early_stop
        self.epochs = epochs
        self.validation_fraction = validation_fraction
        self.seed = seed

    @classmethod
    def preset(cls, name: str, **options: Any) -> DLF:
        """A learner with the official hyperparameters for "mosi" or "mosei", and any others given.

        >>> DLF.preset("mosei", text_encoder=None).kernel
        3
        """
        check_choice(name, tuple(PRESETS), "name")
        return cls(**{**PRESETS[name], **options})

    def _make_task(self, facts: dict[str, Any]) -> DLFTask:
        network = DLFNetwork(
            facts["dims"],
            facts["lengths"],
            dim=self.d,
            heads=self.heads,
            layers=self.layers,
            kernel=self.kernel,
            attention_dropout={
                "l": self.attention_dropout,
                "v": self.attention_dropout_vision,
                "a": self.attention_dropout_audio,
            },
            embedding_dropout=self.embedding_dropout,
            text_dropout=self.text_dropout,
            output_dropout=self.output_dropout,
            relu_dropout=self.relu_dropout,
            residual_dropout=self.residual_dropout,
            query=LETTERS[self.query],
            pool=self.pool,
            padding=self.padding,
        )
        weights = LossWeights(
            self.regularization,
            self.similarity,
            self.reconstruction,
            self.specific,
            self.margin,
            self.orthogonality,
            self.d if self.row is None else self.row,
            self.slope,
        )
        return DLFTask(
            network,
            weights=weights,
            encoder=self._encoder(facts),
            dims=facts["dims"],
            lengths=facts["lengths"],
            lr=self.lr,
            batch_size=self.batch_size,
            clip_value=self.clip_value,
        )

    def _check_options(self) -> None:
        super()._check_options()
        for name in ("d", "heads", "layers"):
            check_range(getattr(self, name), name, low=1, integer=True)
        if self.d % self.heads:
            raise OptionError(f"d={self.d} must be a multiple of heads={self.heads}")
        check_choice(self.query, tuple(LETTERS), "query")
        if self.row is not None and (self.row < 1 or self.d % self.row):
            raise OptionError(f"row={self.row} must divide d={self.d}")
        for name in ("text_dropout", "output_dropout"):
            check_range(getattr(self, name), name, low=0, high=1)
        for name in ("regularization", "similarity", "reconstruction", "specific", "margin", "orthogonality", "slope"):
            check_range(getattr(self, name), name, low=0)

    # ---- using ----------------------------------------------------------------------------------------------------

    def predict_all(
        self, text: Any, audio: Any = None, vision: Any = None, *, mask: Any = None
    ) -> dict[str, Float[np.ndarray, " n"]]:
        """The predictions of all five heads: "final" (what `predict` gives), "shared", and "l", "v", "a" of u_m.

        The heads other than "final" are there to be supervised; a modality's head has seen language too, since its
        vector is language that attended to the modality.

        Raises:
            NotFittedError: before `fit`.
            DataError: sequences of other lengths or features than those fitted.
        """
        self._check_fitted()
        data = self._read_checked(text, audio, vision, mask)
        heads = self._each(data, lambda *tensors: self.task_.outputs(*tensors).heads)
        return {name: values.numpy() for name, values in heads.items()}

    def transform(
        self, text: Any, audio: Any = None, vision: Any = None, *, mask: Any = None, stage: str = "disentangled"
    ) -> dict[str, dict[str, Float[np.ndarray, "n dim"]]]:
        """Specific and shared vectors of each modality.

        Args:
            text: as in `predict`, like the other modalities.
            audio: see there.
            vision: see there.
            mask: see there.
            stage: "disentangled": means over the steps that hold something of s_m and c_m, before modalities meet. "fused":
                u_m and the vectors of C, which the heads read; there u_v and u_a hold language as well.

        Returns:
            {"specific": {"l", "v", "a"}, "shared": {"l", "v", "a"}}, each (n, d).
        """
        self._check_fitted()
        check_choice(stage, STAGES, "stage")

        def vectors(*tensors: Tensor) -> dict[str, dict[str, Tensor]]:
            out = self.task_.outputs(*tensors)
            if stage == "fused":
                return {"specific": out.focused, "shared": out.read_shared}
            return {
                "specific": {m: _mean(out.specific[m], out.masks[m]) for m in MODALITIES},
                "shared": {m: _mean(out.shared[m], out.masks[m]) for m in MODALITIES},
            }

        parts = self._each(self._read_checked(text, audio, vision, mask), vectors)
        return {part: {m: x.numpy() for m, x in by_modality.items()} for part, by_modality in parts.items()}

    def loss_terms(
        self, text: Any, audio: Any = None, vision: Any = None, y: Any = None, *, mask: Any = None
    ) -> dict[str, float]:
        """Every term of the loss, without dropout, averaged over batches of `batch_size` in the order of the data.

        Returns:
            The names of `dlf_losses`; unweighted but for "task" and "loss".
        """
        self._check_fitted()
        if isinstance(text, Mapping) and y is None:
            audio, y = None, audio
        data = self._read_checked(text, audio, vision, mask)
        labels = read_labels(y, len(data), self.label_range)
        weighted: list[dict[str, Tensor]] = []

        def batch(*tensors: Tensor) -> Tensor:
            weighted.append(
                {name: value.cpu() * len(tensors[0]) for name, value in self.task_.losses(*tensors).items()}
            )
            return tensors[0][:0]

        self._each(data, batch, labels, rows=self.batch_size)
        return {name: float(torch.stack([w[name] for w in weighted]).sum()) / len(data) for name in weighted[0]}

    def explain(
        self, text: Any, audio: Any = None, vision: Any = None, *, mask: Any = None, words: Any = None
    ) -> DLFExplanation:
        """What each prediction rests on: parts of the fusion, modalities, heads, and the attention of words.

        Args:
            text: as in `predict`, like the other modalities.
            audio: see there.
            vision: see there.
            mask: see there.
            words: the words of each sample, to name steps in the tables; the text itself where it is lists of words.

        Returns:
            See `DLFExplanation`.

        Cost: 16 passes through the fusion MLP and 8 through the network.
        """
        self._check_fitted()
        given = text.get("text") if isinstance(text, Mapping) else text
        if words is None and isinstance(given, list | tuple) and not isinstance(given[0], str):
            words = given
        data = self._read_checked(text, audio, vision, mask)
        if words is not None and len(words) != len(data):
            raise DataError(f"words has {len(words)} samples, but the data have {len(data)}")
        explained = self._each(data, lambda *tensors: explain_fusion(self.task_, *tensors), rows=64)
        return DLFExplanation.of(explained, words=words, kernel=self.kernel, query=LETTERS[self.query])


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    weight = mask[:, :, None].to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1).clamp_min(1)
