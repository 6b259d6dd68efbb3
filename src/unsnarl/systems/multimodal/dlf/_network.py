"""The network of disentangled-language-focused fusion.

Symbols as in the code: modalities l (language), v (vision), a (audio), always in this order; x_m their projected sequences,
s_m specific and c_m shared sequences, r_m reconstructions, h_m and u_m vectors after the language-focused attractor.

    x_m = Conv1d(input_m)                                     no padding, no bias: T - k + 1 steps
    s_m = E_m(x_m),  c_m = E_c(x_m)                           three specific encoders, one shared
    r_m = Conv1x1([s_m; c_m]),  s'_m = E_m(r_m)               reconstruction and re-encoding
    C   = [read SA_l(c_l), read SA_v(c_v), read SA_a(c_a)]    y_c = w (C + W2 drop relu W1 C)
    h_l = read Mem_l(s_l),  h_v = read Mem_v(Cross_v(q = s_l, k = v = s_v)),  h_a likewise
    u_m = h_m + W2 drop relu W1 h_m                           y_m = w_m u_m
    F   = [sig(P_l u_l), sig(P_v u_v), sig(P_a u_a), sig(P_c C)]
    y   = w (F + W2 drop relu W1 F)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError
from unsnarl.nn._crossmodal import CrossmodalEncoder, quick_dropout

MODALITIES = ("l", "v", "a")
NAMES = {"l": "text", "v": "vision", "a": "audio"}
HEADS = ("final", "shared", *MODALITIES)
POOLS = ("last", "last_valid")
MEMORY_LAYERS = 3  # of what was attended across modalities; at least, in the official code

Sequences = Mapping[str, Tensor]
"""Modality -> (batch, time, features)."""


@dataclass
class DLFOutput:
    """What the network computes; every mapping is by modality, sequences are (batch, time, dim).

    Attributes:
        origin: x_m.
        specific: s_m.
        shared: c_m.
        read_shared: SA_m(c_m), read at one step, (batch, dim).
        focused: u_m, (batch, dim).
        fusion: the parts of F by "l", "v", "a" and "shared".
        heads: predictions (batch,) by "final", "shared", "l", "v", "a".
        masks: which steps of the projected sequences hold something, (batch, time).
        reconstructed: r_m; empty where losses were not asked for, like the next two.
        reencoded: s'_m.
        aligned: one vector (batch, dim) of each c_m, for the margin loss.
    """

    origin: dict[str, Tensor]
    specific: dict[str, Tensor]
    shared: dict[str, Tensor]
    read_shared: dict[str, Tensor]
    focused: dict[str, Tensor]
    fusion: dict[str, Tensor]
    heads: dict[str, Tensor]
    masks: dict[str, Tensor]
    reconstructed: dict[str, Tensor] = field(default_factory=dict)
    reencoded: dict[str, Tensor] = field(default_factory=dict)
    aligned: dict[str, Tensor] = field(default_factory=dict)


class ResidualMLP(nn.Module):
    """x + W2 dropout(relu(W1 x)).

    Args:
        dim: width of x.
        dropout: of the hidden layer.
        hidden: width of the hidden layer; `dim` when absent.
    """

    def __init__(self, dim: int, dropout: float = 0.0, hidden: int | None = None):
        super().__init__()
        self.first, self.second = nn.Linear(dim, hidden or dim), nn.Linear(hidden or dim, dim)
        self.dropout = dropout

    def forward(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        return x + self.second(quick_dropout(self.first(x).relu(), self.dropout, self.training))


class Projection(nn.Module):
    """The three modalities to one width by convolutions over time, and the masks that go with the windows.

    Args:
        dims: features of each modality.
        dim: the common width.
        kernel: steps of a window.
        text_dropout: of text features.
    """

    def __init__(self, dims: Mapping[str, int], dim: int, kernel: int, text_dropout: float = 0.0):
        super().__init__()
        self.kernel, self.text_dropout = kernel, text_dropout
        self.convolutions = nn.ModuleDict({m: nn.Conv1d(dims[m], dim, kernel, bias=False) for m in MODALITIES})

    def forward(self, inputs: Sequences) -> dict[str, Tensor]:
        """Modality -> (batch, time - kernel + 1, dim).

        Raises:
            DataError: a sequence shorter than the kernel.
        """
        out = {}
        for m in MODALITIES:
            x = inputs[m]
            if x.shape[1] < self.kernel:
                raise DataError(f"{NAMES[m]} has {x.shape[1]} steps, fewer than the kernel of {self.kernel}")
            if m == "l":
                x = quick_dropout(x, self.text_dropout, self.training)
            out[m] = self.convolutions[m](x.transpose(1, 2)).transpose(1, 2)
        return out

    def masks(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Which windows lie wholly in what holds something; in shorter samples, those that touch it."""
        return {m: _windows(masks[m], self.kernel) for m in MODALITIES}


def _windows(mask: Bool[Tensor, "batch time"], kernel: int) -> Bool[Tensor, "batch window"]:
    windows = mask.unfold(1, kernel, 1)
    full = windows.all(-1)
    full = torch.where(full.any(1, keepdim=True), full, windows.any(-1))
    return torch.where(full.any(1, keepdim=True), full, torch.ones_like(full))  # nothing at all: read the last


def read(
    sequence: Float[Tensor, "batch time dim"], mask: Bool[Tensor, "batch time"], pool: str
) -> Float[Tensor, "batch dim"]:
    """The vector at the last step, or at the last that holds something."""
    if pool == "last":
        return sequence[:, -1]
    last = mask.shape[1] - 1 - mask.flip(1).int().argmax(1)
    return sequence[torch.arange(len(sequence), device=sequence.device), last]


class DLFNetwork(nn.Module):
    """The network of the module's docstring.

    The official model also builds heads and projections that are never used (`*_low`, `proj_cosine_*`, four more
    cross-attentions); they are left out here. It passes a modality that already has `dim` features on without its
    convolution, after which lengths no longer agree; here each modality is convolved.

    Args:
        dims: features of each modality, by "l", "v", "a".
        lengths: steps of each modality.
        dim: common width d.
        heads: attention heads, which divide `dim`.
        layers: blocks of an encoder; encoders after cross-attention have at least 3.
        kernel: steps of a convolution window.
        attention_dropout: by modality, for its encoders and for attention to it; memories use that of l.
        embedding_dropout: of scaled inputs with positions.
        text_dropout: of text features.
        output_dropout: of hidden layers of the residual MLPs.
        relu_dropout: of hidden layers of encoders.
        residual_dropout: of what blocks add.
        query: the modality that asks the others; "l" is the method.
        pool: which step is read: "last", or the "last_valid" that is no padding.
        padding: see `CrossmodalEncoder`.

    Raises:
        OptionError: heads that do not divide the width, or a value out of range.
        DataError: sequences shorter than the kernel.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        lengths: Mapping[str, int],
        *,
        dim: int = 50,
        heads: int = 10,
        layers: int = 2,
        kernel: int = 5,
        attention_dropout: Mapping[str, float] | None = None,
        embedding_dropout: float = 0.0,
        text_dropout: float = 0.0,
        output_dropout: float = 0.0,
        relu_dropout: float = 0.0,
        residual_dropout: float = 0.0,
        query: str = "l",
        pool: str = "last",
        padding: str = "zeros",
    ):
        super().__init__()
        check_choice(query, MODALITIES, "query")
        check_choice(pool, POOLS, "pool")
        check_range(kernel, "kernel", low=1, integer=True)
        for m in MODALITIES:
            if lengths[m] < kernel:
                raise DataError(f"{NAMES[m]} has {lengths[m]} steps, fewer than the kernel of {kernel}")
        rates = dict.fromkeys(MODALITIES, 0.0) | dict(attention_dropout or {})
        self.dim, self.query, self.pool = dim, query, pool
        self.others = tuple(m for m in MODALITIES if m != query)

        def encoder(m: str, depth: int) -> CrossmodalEncoder:
            return CrossmodalEncoder(
                dim,
                heads,
                depth,
                attention_dropout=rates[m],
                relu_dropout=relu_dropout,
                residual_dropout=residual_dropout,
                embedding_dropout=embedding_dropout,
                padding=padding,
            )

        self.project = Projection(dims, dim, kernel, text_dropout)
        self.specific = nn.ModuleDict({m: encoder(m, layers) for m in MODALITIES})
        self.shared = encoder("l", layers)
        self.reconstruct = nn.ModuleDict({m: nn.Linear(2 * dim, dim, bias=False) for m in MODALITIES})
        steps = {m: lengths[m] - kernel + 1 for m in MODALITIES}
        self.align = nn.ModuleDict({m: nn.Linear(steps[m] * dim, dim) for m in MODALITIES})
        self.shared_attention = nn.ModuleDict({m: encoder(m, layers) for m in MODALITIES})
        self.shared_mlp = ResidualMLP(3 * dim, output_dropout)
        self.shared_head = nn.Linear(3 * dim, 1)
        self.cross = nn.ModuleDict({m: encoder(m, layers) for m in self.others})
        depth = {m: layers if m == query else max(layers, MEMORY_LAYERS) for m in MODALITIES}
        self.memory = nn.ModuleDict({m: encoder("l", depth[m]) for m in MODALITIES})
        self.specific_mlp = nn.ModuleDict({m: ResidualMLP(dim, output_dropout) for m in MODALITIES})
        self.specific_head = nn.ModuleDict({m: nn.Linear(dim, 1) for m in MODALITIES})
        self.gates = nn.ModuleDict(
            {m: nn.Linear(dim, dim) for m in MODALITIES} | {"shared": nn.Linear(3 * dim, 3 * dim)}
        )
        self.fusion_mlp = ResidualMLP(6 * dim, output_dropout)
        self.fusion_head = nn.Linear(6 * dim, 1)

    def forward(self, inputs: Sequences, masks: Mapping[str, Tensor], *, losses: bool = True) -> DLFOutput:
        """Everything the losses need.

        Args:
            inputs: modality -> (batch, time, features).
            masks: modality -> (batch, time), True where a step holds something.
            losses: False leaves out what only the losses need: reconstruction, re-encoding, alignment.

        Cost: 17 encoders of sequences (14 without losses), O(time * dim^2 + time^2 * dim) a block and example.
        """
        x, windows = self.project(inputs), self.project.masks(masks)
        s = {m: self.specific[m](x[m], mask=windows[m]) for m in MODALITIES}
        c = self._encode_shared(x, windows)
        read_c = {m: read(self.shared_attention[m](c[m], mask=windows[m]), windows[m], self.pool) for m in MODALITIES}
        together = torch.cat([read_c[m] for m in MODALITIES], 1)
        u = {}
        for m in MODALITIES:
            h = self.memory[m](self.attract(m, s, windows), mask=windows[self.query])
            u[m] = self.specific_mlp[m](read(h, windows[self.query], self.pool))
        heads = {m: self.specific_head[m](u[m]).squeeze(1) for m in MODALITIES}
        heads["shared"] = self.shared_head(self.shared_mlp(together)).squeeze(1)
        fusion = {m: self.gates[m](u[m]).sigmoid() for m in MODALITIES}
        fusion["shared"] = self.gates["shared"](together).sigmoid()
        heads["final"] = self.fuse(fusion)
        out = DLFOutput(x, s, c, read_c, u, fusion, {name: heads[name] for name in HEADS}, windows)
        if losses:
            for m in MODALITIES:
                out.reconstructed[m] = self.reconstruct[m](torch.cat([s[m], c[m]], 2))
                out.reencoded[m] = self.specific[m](out.reconstructed[m], mask=windows[m])
                out.aligned[m] = self.align[m](c[m].flatten(1))
        return out

    def attract(self, m: str, s: Sequences, windows: Mapping[str, Tensor]) -> Tensor:
        """The specific sequence of a modality drawn into the query's: Cross_m(q = s_query, k = v = s_m)."""
        if m == self.query:
            return s[m]
        attended: Tensor = self.cross[m](s[self.query], s[m], mask=windows[self.query], key_mask=windows[m])
        return attended

    def fuse(self, fusion: Mapping[str, Tensor]) -> Float[Tensor, " batch"]:
        """The final prediction from the parts of F."""
        together = torch.cat([fusion[name] for name in (*MODALITIES, "shared")], -1)
        out: Tensor = self.fusion_head(self.fusion_mlp(together))
        return out.squeeze(-1)

    def _encode_shared(self, x: Sequences, windows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if len({x[m].shape[1] for m in MODALITIES}) > 1:
            return {m: self.shared(x[m], mask=windows[m]) for m in MODALITIES}
        c = self.shared(torch.cat([x[m] for m in MODALITIES]), mask=torch.cat([windows[m] for m in MODALITIES]))
        return dict(zip(MODALITIES, c.chunk(3), strict=True))
