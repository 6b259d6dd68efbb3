"""Which encoder and decoder fit an observation: one description for every latent-variable system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import OptionError
from unsnarl.nn._conv import ConvDecoder, ConvEncoder, StyleDecoder
from unsnarl.nn._dense import DenseDecoder, DenseEncoder


@dataclass(frozen=True)
class Architecture:
    """Encoder and decoder sizes.

    Args:
        kind: "conv" for images, "dense" for anything (flattened).
        widths: channels of each octave; the image is halved that many times ("conv" only).
        depth: convolutions an octave ("conv" only).
        hidden: widths of the dense layers.
        decoder: "style" (AdaIN from a learned constant) or "plain" ("conv" only).
    """

    kind: str = "conv"
    widths: Sequence[int] = (32, 64, 128, 256)
    depth: int = 3
    hidden: Sequence[int] = (256, 256)
    decoder: str = "style"

    def __post_init__(self) -> None:
        check_choice(self.kind, ("conv", "dense"), "kind")
        check_choice(self.decoder, ("style", "plain"), "decoder")
        check_range(self.depth, "depth", low=1, integer=True)
        object.__setattr__(self, "depth", int(self.depth))
        for name in ("widths", "hidden"):
            sizes = tuple(getattr(self, name))
            if not sizes and (name, self.kind) != ("widths", "dense"):
                raise OptionError(f"{name} is empty; give at least one width")
            for size in sizes:
                check_range(size, f"a width in {name}", low=1, integer=True)
            object.__setattr__(self, name, tuple(int(size) for size in sizes))

    def encoder(self, shape: Sequence[int], out_size: int) -> ConvEncoder | DenseEncoder:
        """An encoder of observations of `shape` into `out_size` numbers."""
        if self.kind == "dense":
            return DenseEncoder(shape, out_size, self.hidden)
        return ConvEncoder(shape, out_size, self.widths, self.depth, self.hidden)

    def make_decoder(self, latent_size: int, shape: Sequence[int]) -> nn.Module:
        """A decoder of latents into observations of `shape` (logits for images)."""
        if self.kind == "dense":
            return DenseDecoder(latent_size, shape, self.hidden)
        kind = StyleDecoder if self.decoder == "style" else ConvDecoder
        return kind(latent_size, shape, self.widths, self.depth, self.hidden)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


ARCHITECTURES = {
    "published": Architecture(),
    "published-small": Architecture(widths=(64, 128, 256, 512), depth=1, hidden=(512,)),
    "published-dense": Architecture(kind="dense", hidden=(2048, 2048, 2048, 2048)),
    "laptop": Architecture(widths=(16, 32, 48, 64), depth=1),
    "laptop-dense": Architecture(kind="dense"),
}


def find_architecture(choice: str | Architecture | dict[str, Any], shape: Sequence[int]) -> Architecture:
    """The architecture a name stands for; "auto" is "published" for images and "laptop-dense" for tables.

    Raises:
        OptionError: an unknown name.
    """
    if isinstance(choice, Architecture):
        return choice
    if isinstance(choice, dict):
        return Architecture(**choice)
    check_choice(choice, ("auto", *ARCHITECTURES), "network")
    if choice == "auto":
        choice = "published" if len(shape) == 3 else "laptop-dense"
    return ARCHITECTURES[choice]
