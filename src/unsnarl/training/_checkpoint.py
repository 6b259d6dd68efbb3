"""Checkpoints: one safetensors file with weights, optimiser state and step; written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unsnarl.errors import CheckpointError, FileError
from unsnarl.files import atomic_write, reason


def save_checkpoint(
    path: Path, module: nn.Module, optimizers: dict[str, torch.optim.Optimizer], step: int, digest: str
) -> None:
    """Write the state after `step` steps.

    Raises:
        FileError: the disk is full or the folder cannot be written; the previous checkpoint stays.
    """
    from safetensors.torch import save

    tensors = {f"module.{name}": value.detach().contiguous() for name, value in module.state_dict().items()}
    for phase, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimizer.{phase}.{index}.{key}"] = torch.as_tensor(value).detach().contiguous()
    data = save(tensors, metadata={"step": str(step), "digest": digest, "format": "unsnarl-checkpoint-1"})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make the folder {path.parent}: {reason(error)}") from None
    with atomic_write(path, "wb") as file:
        file.write(data)


def load_checkpoint(path: Path, module: nn.Module, optimizers: dict[str, torch.optim.Optimizer], digest: str) -> int:
    """Restore weights and optimisers; the number of steps done.

    Raises:
        CheckpointError: truncated or damaged file, another configuration, or other shapes.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("digest") != digest:
        raise CheckpointError(f"the checkpoint {path} belongs to a run with other settings; choose another run folder")
    state = {name.removeprefix("module."): t for name, t in tensors.items() if name.startswith("module.")}
    load_weights(module, state, path)
    for phase, optimizer in optimizers.items():
        prefix = f"optimizer.{phase}."
        restored: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                index, key = name.removeprefix(prefix).split(".", 1)
                restored.setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict({"state": restored, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(metadata["step"])


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and text metadata of a safetensors file.

    Raises:
        CheckpointError: missing, truncated or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is truncated or not a safetensors file ({str(error).splitlines()[0]}); delete it to start anew"
        ) from None


def load_weights(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Copy weights into a module of the same architecture.

    Raises:
        CheckpointError: names or shapes differ.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if len(str(error).splitlines()) > 1 else str(error)
        raise CheckpointError(f"the weights in {path} do not fit this model: {first}") from None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with atomic_write(path, "w") as file:
        file.write(text)
