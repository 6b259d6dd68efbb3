"""Parts of the zoo's own networks, and their weights on the disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.files import atomic_write
from unsnarl.training import load_weights, read_tensors, write_json


class ResidualBlock(nn.Module):
    """x plus twice (group norm, SiLU, 3 x 3 convolution) of x."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Float[Tensor, "n width rows columns"]) -> Float[Tensor, "n width rows columns"]:
        return x + self.body(x)


def write_network(network: nn.Module, folder: Path, config: dict[str, Any]) -> None:
    """A network as model.safetensors in half precision, and config.json.

    Raises:
        FileError: the folder cannot be written, or the disk is full.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    with atomic_write(folder / "model.safetensors", "wb") as file:
        file.write(save(state))
    write_json(folder / "config.json", config)


def average_writer(network: str) -> Callable[[Any, Mapping[str, Any], Path], None]:
    """What a recipe writes whose task has the average of one network: that average, named in its config."""

    def export(task: Any, models: Mapping[str, Any], folder: Path) -> None:
        write_network(task.average.module, folder, {"network": network})

    return export


def read_network(network: Any, folder: Path) -> Any:
    """Weights of `write_network` put into a network, in single precision.

    Raises:
        CheckpointError: a missing or damaged file.
    """
    tensors, _ = read_tensors(folder / "model.safetensors")
    load_weights(network, {name: t.float() for name, t in tensors.items()}, folder / "model.safetensors")
    return network.eval()
