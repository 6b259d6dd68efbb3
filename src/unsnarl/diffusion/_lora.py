"""LoRA on a host's denoiser by peft: attached, trained, written in the format of diffusers, and taken off again without a trace.

A linear map W of an attention layer becomes W + (alpha / rank) B A with A of shape (rank, in), drawn with standard deviation
1 / rank, and B of shape (out, rank), zero, so that nothing changes before training (Hu et al. 2021, arXiv 2106.09685).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.diffusion._hosts import Host
from unsnarl.errors import CheckpointError, FileError, MissingExtraError, OptionError
from unsnarl.files import atomic_write, reason
from unsnarl.training import read_tensors

WEIGHTS = "pytorch_lora_weights.safetensors"  # what `pipeline.load_lora_weights` looks for in a folder
METADATA = "lora_adapter_metadata"  # the entry of that file from which diffusers reads rank and alpha
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
# a joint transformer reads the text in layers of its own beside those for the image
JOINT_TARGETS = (*TARGETS, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


class Lora:
    """LoRA attached to all attention layers of a host, self and cross, whose weights are then the only ones that train.

    Args:
        host: whose denoiser is adapted, in place; it must hold no other adapter.
        rank: of the update.
        alpha: its scale times the rank; the rank when absent, which is a scale of 1.
        targets: ends of the names of the linear maps. When absent: queries, keys, values and outputs, which in a joint
            transformer are those of its text as well.
        name: of the adapter within peft.

    Attributes:
        host, rank, alpha, targets, name: as given.

    Raises:
        OptionError: the denoiser holds an adapter already, or no layer has such a name.
        MissingExtraError: peft is not installed.

    The first weights come from torch's global generator. 829,952 parameters at rank 4 on Stable Diffusion 2.1, 797,184 on 1.5.
    """

    def __init__(
        self,
        host: Host,
        *,
        rank: int = 4,
        alpha: float | None = None,
        targets: Sequence[str] | None = None,
        name: str = "unsnarl",
    ):
        check_range(rank, "rank", low=1, integer=True)
        check_range(rank if alpha is None else alpha, "alpha", low=0, open_low=True)
        known = JOINT_TARGETS if host.kind == "transformer" else TARGETS
        self.host, self.rank, self.name = host, int(rank), name
        self.alpha = float(rank if alpha is None else alpha)
        self.targets = tuple(known if targets is None else targets)
        denoiser = host.denoiser
        there = sorted(getattr(denoiser, "peft_config", {}))
        if there:
            raise OptionError(
                f"the denoiser already holds the adapter {there[0]!r}; take it off first (remove() of what attached it, or "
                "pipeline.unload_lora_weights(), after pipeline.fuse_lora() where its effect is to stay)"
            )
        self._learned_before = {key: p.requires_grad for key, p in denoiser.named_parameters()}
        config = _peft().LoraConfig(
            r=self.rank,
            lora_alpha=self.rank if self.alpha == self.rank else self.alpha,
            target_modules=list(self.targets),
            init_lora_weights="gaussian",
        )
        try:
            denoiser.add_adapter(config, adapter_name=name)
        except ValueError as error:
            denoiser._hf_peft_config_loaded = False
            if hasattr(denoiser, "peft_config"):
                del denoiser.peft_config
            if not any(key.endswith(self.targets) for key, _ in denoiser.named_modules()):
                raise OptionError(f"targets={list(self.targets)} name no layer of this denoiser") from error
            raise OptionError(f"targets={list(self.targets)} cannot be adapted: {error}") from error
        for p in self.parameters().values():
            if p.dtype in (torch.float16, torch.bfloat16):
                p.data = p.data.float()  # updates of 1e-4 are lost in half precision
        self.attached = True

    def parameters(self) -> dict[str, nn.Parameter]:
        """The matrices A and B by their names in a file of diffusers, such as "...attn1.to_q.lora_A.weight"."""
        found = {}
        for key, p in self.host.denoiser.named_parameters():
            for part in ("lora_A", "lora_B"):
                if f".{part}.{self.name}." in key:
                    found[key.replace(f".{part}.{self.name}.", f".{part}.")] = p
        return found

    @property
    def count(self) -> int:
        """How many numbers are learned."""
        return sum(p.numel() for p in self.parameters().values())

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """The host as it was, while this lasts."""
        self.host.denoiser.disable_adapters()
        try:
            yield
        finally:
            self.host.denoiser.enable_adapters()

    def remove(self) -> None:
        """Take it off: the denoiser has its own layers, names, weights and gradient flags again. A second call does nothing."""
        if not self.attached:
            return
        self.attached = False
        denoiser = self.host.denoiser
        denoiser.unload_lora()
        denoiser._hf_peft_config_loaded = False  # diffusers leaves None
        for key, p in denoiser.named_parameters():
            p.requires_grad_(self._learned_before.get(key, p.requires_grad))  # others may have come since

    # ---- saving ---------------------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write pytorch_lora_weights.safetensors, which `pipeline.load_lora_weights(folder)` of plain diffusers reads.

        Returns:
            The path of the file.

        Raises:
            FileError: the folder cannot be made or written.
        """
        from safetensors.torch import save

        prefix = _prefix(self.host)
        tensors = {f"{prefix}.{key}": p.detach().cpu().contiguous() for key, p in self.parameters().items()}
        config = self.host.denoiser.peft_config[self.name].to_dict()
        told = {f"{prefix}.{key}": sorted(v) if isinstance(v, set) else v for key, v in config.items()}
        metadata = {"format": "pt", METADATA: json.dumps(told, sort_keys=True, default=str)}
        where = Path(folder)
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the folder {where}: {reason(error)}") from None
        with atomic_write(where / WEIGHTS, "wb") as file:
            file.write(save(tensors, metadata=metadata))
        return where / WEIGHTS

    def read(self, path: str | os.PathLike[str]) -> Lora:
        """Take over the weights of a file, or of a folder that holds one.

        Raises:
            CheckpointError: missing, damaged, of another kind of denoiser, or of another rank.
        """
        tensors, _ = _read(path)
        prefix = _prefix(self.host)
        state = {key.removeprefix(f"{prefix}."): t for key, t in tensors.items() if key.startswith(f"{prefix}.")}
        own = self.parameters()
        if set(state) != set(own):
            raise CheckpointError(
                f"{os.fspath(path)} holds LoRA for {len(state) // 2} layers of a {prefix}, this one has {len(own) // 2}: "
                "another kind of host, or other targets"
            )
        for key, p in own.items():
            if p.shape != state[key].shape:
                raise CheckpointError(
                    f"{os.fspath(path)} does not fit: {key} is {tuple(state[key].shape)} there and {tuple(p.shape)} here"
                )
            p.data.copy_(state[key])
        return self

    @classmethod
    def load(cls, host: Host, path: str | os.PathLike[str], *, name: str = "unsnarl") -> Lora:
        """Attach LoRA with the rank, scale and weights of a file of diffusers, or of a folder that holds one.

        Raises:
            CheckpointError: missing, damaged, or not for this host.
        """
        tensors, metadata = _read(path)
        prefix = _prefix(host)
        firsts = [t for key, t in tensors.items() if key.startswith(f"{prefix}.") and key.endswith("lora_A.weight")]
        if not firsts:
            raise CheckpointError(f"{os.fspath(path)} holds no LoRA of a {prefix}")
        told = json.loads(metadata.get(METADATA, "{}"))
        names = {key.split(".lora_")[0] for key in tensors}
        targets = [t for t in JOINT_TARGETS if any(key.endswith("." + t) for key in names)]
        rank = len(firsts[0])
        lora = cls(host, rank=rank, alpha=told.get(f"{prefix}.lora_alpha", rank), targets=targets, name=name)
        try:
            return lora.read(path)
        except CheckpointError:
            lora.remove()
            raise


def _prefix(host: Host) -> str:
    return "unet" if host.kind == "unet" else "transformer"


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    where = Path(path)
    return read_tensors(where / WEIGHTS if where.is_dir() else where)


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("peft", "diffusion") from error
    return peft
