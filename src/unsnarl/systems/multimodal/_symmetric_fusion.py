"""Fusion of three sequences in which no modality comes first: baselines for DLF, from the same encoders.

`SequenceConcat` has what DLF has up to the last MLP, without its ideas: specific encoders E_m and a shared one E_c read
each x_m, memories read the specific sequences, and all vectors are concatenated. There is no cross-attention, no
reconstruction, no loss but that of the prediction.

    F = [read Mem_l(s_l), read Mem_v(s_v), read Mem_a(s_a), read SA_l(c_l), read SA_v(c_v), read SA_a(c_a)]

`SymmetricMulT` is the multimodal transformer (Tsai et al. 2019, arXiv 1906.00295): each modality asks each of the other two,
six cross-attentions in all, and a memory of width 2d reads the two answers side by side.

    F = [read Mem_m([Cross_mn(q = x_m, k = v = x_n), Cross_mo(q = x_m, k = v = x_o)]) for m in l, v, a]

Both predict y = w (F + W2 drop relu W1 F), F of width 6d, and learn from the mean absolute error as DLF does: the same
optimiser, accumulation, validation, stopping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_range
from unsnarl.errors import OptionError
from unsnarl.nn._crossmodal import CrossmodalEncoder
from unsnarl.systems.multimodal.dlf._fusion_learner import FusionLearner
from unsnarl.systems.multimodal.dlf._fusion_task import FusionTask
from unsnarl.systems.multimodal.dlf._network import MODALITIES, Projection, ResidualMLP, Sequences, read


@dataclass
class FusionOutput:
    """The fused vector (batch, 6 dim) and the prediction (batch,) under "final"."""

    fused: Tensor
    heads: dict[str, Tensor]


class FusionTaskL1(FusionTask):
    """Mean absolute error of the prediction."""

    columns = ("loss",)

    def losses(self, *tensors: Tensor) -> dict[str, Tensor]:
        """The error of one batch."""
        return {"loss": F.l1_loss(self.outputs(*tensors[:6]).heads["final"], tensors[6])}


class _FusionNetwork(nn.Module):
    """Projection, then whatever `_fuse` makes of it, then the MLP that predicts."""

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        dim: int,
        heads: int,
        kernel: int,
        attention_dropout: Mapping[str, float],
        text_dropout: float,
        output_dropout: float,
        embedding_dropout: float,
        pool: str,
        padding: str,
        hidden: int | None,
    ):
        super().__init__()
        self.pool = pool
        self._rates, self._heads = dict(attention_dropout), heads
        self._encoding: dict[str, Any] = {"embedding_dropout": embedding_dropout, "padding": padding}
        self.project = Projection(dims, dim, kernel, text_dropout)
        self.fusion_mlp = ResidualMLP(6 * dim, output_dropout, hidden)
        self.fusion_head = nn.Linear(6 * dim, 1)

    def _encoder(self, m: str, dim: int, layers: int) -> CrossmodalEncoder:
        return CrossmodalEncoder(dim, self._heads, layers, attention_dropout=self._rates[m], **self._encoding)

    def _fuse(self, x: Sequences, windows: Mapping[str, Tensor]) -> list[Tensor]:
        raise NotImplementedError

    def forward(self, inputs: Sequences, masks: Mapping[str, Tensor], *, losses: bool = True) -> FusionOutput:
        """The fused vector and the prediction, for modality -> (batch, time, features) and masks."""
        fused = torch.cat(self._fuse(self.project(inputs), self.project.masks(masks)), 1)
        return FusionOutput(fused, {"final": self.fusion_head(self.fusion_mlp(fused)).squeeze(1)})


class SequenceConcatNetwork(_FusionNetwork):
    """The network of `SequenceConcat`; `memory_layers` by modality."""

    def __init__(self, dims: Mapping[str, int], *, layers: int, memory_layers: int, dim: int, **options: Any):
        super().__init__(dims, dim=dim, **options)
        depth = {"l": layers, "v": memory_layers, "a": memory_layers}
        self.specific = nn.ModuleDict({m: self._encoder(m, dim, layers) for m in MODALITIES})
        self.shared = self._encoder("l", dim, layers)
        self.memory = nn.ModuleDict({m: self._encoder("l", dim, depth[m]) for m in MODALITIES})
        self.shared_attention = nn.ModuleDict({m: self._encoder(m, dim, layers) for m in MODALITIES})

    def _fuse(self, x: Sequences, windows: Mapping[str, Tensor]) -> list[Tensor]:
        own, common = [], []
        for m in MODALITIES:
            s = self.specific[m](x[m], mask=windows[m])
            own.append(read(self.memory[m](s, mask=windows[m]), windows[m], self.pool))
            c = self.shared(x[m], mask=windows[m])
            common.append(read(self.shared_attention[m](c, mask=windows[m]), windows[m], self.pool))
        return own + common


class SymmetricMulTNetwork(_FusionNetwork):
    """The network of `SymmetricMulT`."""

    def __init__(self, dims: Mapping[str, int], *, layers: int, memory_layers: int, dim: int, **options: Any):
        super().__init__(dims, dim=dim, **options)
        pairs = [(m, n) for m in MODALITIES for n in MODALITIES if m != n]
        self.cross = nn.ModuleDict({m + n: self._encoder(n, dim, layers) for m, n in pairs})
        self.memory = nn.ModuleDict({m: self._encoder("l", 2 * dim, memory_layers) for m in MODALITIES})

    def _fuse(self, x: Sequences, windows: Mapping[str, Tensor]) -> list[Tensor]:
        out = []
        for m in MODALITIES:
            others = [n for n in MODALITIES if n != m]
            answers = [self.cross[m + n](x[m], x[n], mask=windows[m], key_mask=windows[n]) for n in others]
            memory = self.memory[m](torch.cat(answers, 2), mask=windows[m])
            out.append(read(memory, windows[m], self.pool))
        return out


class SequenceConcat(FusionLearner):
    """The encoders of DLF with plain concatenation and an MLP, trained on the prediction alone.

    Args:
        text_encoder: as in `DLF`, like all that is not named here.
        dims: see there.
        d: see there.
        heads: see there.
        layers: blocks of an encoder.
        memory_layers: blocks of the memories; of the language memory `layers` in `SequenceConcat`.
        hidden: width of the last MLP's hidden layer; 6 d when absent. A way to give models equally many parameters.
        options: `text_dropout`, `lr`, `accumulate`, ... as keywords, see `DLF`.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> text, audio, vision = (rng.normal(size=(40, 8, n)).astype("float32") for n in (6, 3, 4))
        >>> y = np.clip(text[:, :, 0].mean(1) + audio[:, :, 0].mean(1), -3, 3)
        >>> model = SequenceConcat(None, d=6, heads=2, kernel=3, batch_size=8, accumulate=2, epochs=2)
        >>> model.fit(text, audio, vision, y).predict(text, audio, vision).shape
        (40,)
    """

    network_class: Any = SequenceConcatNetwork

    def __init__(
        self,
        text_encoder: Any = "bert-base-uncased",
        dims: Any = None,
        d: int = 50,
        heads: int = 10,
        *,
        layers: int = 2,
        memory_layers: int = 3,
        hidden: int | None = None,
        kernel: int = 5,
        attention_dropout: float = 0.3,
        attention_dropout_audio: float = 0.2,
        attention_dropout_vision: float = 0.0,
        embedding_dropout: float = 0.2,
        text_dropout: float = 0.5,
        output_dropout: float = 0.5,
        pool: str = "last",
        padding: str = "zeros",
        aligned: bool = True,
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
        self.memory_layers = memory_layers
        self.hidden = hidden
        self.kernel = kernel
        self.attention_dropout = attention_dropout
        self.attention_dropout_audio = attention_dropout_audio
        self.attention_dropout_vision = attention_dropout_vision
        self.embedding_dropout = embedding_dropout
        self.text_dropout = text_dropout
        self.output_dropout = output_dropout
        self.pool = pool
        self.padding = padding
        self.aligned = aligned
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

    def _make_task(self, facts: dict[str, Any]) -> FusionTaskL1:
        network = self.network_class(
            facts["dims"],
            dim=self.d,
            heads=self.heads,
            layers=self.layers,
            memory_layers=self.memory_layers,
            hidden=self.hidden,
            kernel=self.kernel,
            attention_dropout={
                "l": self.attention_dropout,
                "v": self.attention_dropout_vision,
                "a": self.attention_dropout_audio,
            },
            embedding_dropout=self.embedding_dropout,
            text_dropout=self.text_dropout,
            output_dropout=self.output_dropout,
            pool=self.pool,
            padding=self.padding,
        )
        return FusionTaskL1(
            network,
            encoder=self._encoder(facts),
            dims=facts["dims"],
            lengths=facts["lengths"],
            lr=self.lr,
            batch_size=self.batch_size,
            clip_value=self.clip_value,
        )

    def _check_options(self) -> None:
        super()._check_options()
        for name in ("d", "heads", "layers", "memory_layers"):
            check_range(getattr(self, name), name, low=1, integer=True)
        if self.d % self.heads:
            raise OptionError(f"d={self.d} must be a multiple of heads={self.heads}")
        if self.hidden is not None:
            check_range(self.hidden, "hidden", low=1, integer=True)

    def transform(
        self, text: Any, audio: Any = None, vision: Any = None, *, mask: Any = None
    ) -> Float[np.ndarray, "n fused"]:
        """The fused vectors, (n, 6 d): six parts of d, in the order of the module's docstring."""
        self._check_fitted()
        data = self._read_checked(text, audio, vision, mask)
        fused: Tensor = self._each(data, lambda *tensors: self.task_.outputs(*tensors).fused)
        return fused.numpy()


class SymmetricMulT(SequenceConcat):
    """The multimodal transformer: all six cross-attentions; keywords as in `SequenceConcat`."""

    network_class = SymmetricMulTNetwork
