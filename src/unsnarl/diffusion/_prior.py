"""Images of a class as a host makes them before it is tuned, made once.

Prior preservation holds a tuned host to them (DreamBooth; Ruiz et al. 2022, arXiv 2208.12242, section 3.2).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.arrays import check_range
from unsnarl.diffusion._hosts import Host
from unsnarl.errors import DataError
from unsnarl.files import atomic_write

SEEN = 64  # numbers of each weight that tell one host from another


class PriorCache:
    """Images of one prompt, made part by part and kept.

    Args:
        host: that makes them, as it is at the first call.
        prompt: such as "a photo of a cat".
        n: images.
        folder: where they are kept, in a folder of their own for each host, prompt and settings; in memory only when absent. What a
            stopped process made is not made again.
        seed: image i is made with seed + i.
        steps: of sampling.
        guidance: of sampling.
        rows: images at a time.

    Raises:
        OptionError: n or rows below 1.
    """

    def __init__(
        self,
        host: Host,
        prompt: str,
        n: int = 200,
        *,
        folder: str | Path | None = None,
        seed: int = 0,
        steps: int = 25,
        guidance: float = 3.0,
        rows: int = 16,
    ):
        check_range(n, "n", low=1, integer=True)
        check_range(rows, "rows", low=1, integer=True)
        self.host, self.prompt, self.n, self.seed = host, prompt, n, seed
        self.steps, self.guidance, self.rows = steps, guidance, rows
        self.folder = None if folder is None else Path(folder) / self._key()
        self._images: Tensor | None = None
        self._latents: Tensor | None = None

    def images(self) -> Float[Tensor, "n 3 height width"]:
        """All images, in [-1, 1], with 256 levels."""
        if self._images is None:
            parts = [self._part(start) for start in range(0, self.n, self.rows)]
            self._images = torch.cat(parts)[: self.n].float() / 127.5 - 1
        return self._images

    def latents(self) -> Float[Tensor, "n c h w"]:
        """All images as latents of the host."""
        if self._latents is None:
            images = self.images()
            self._latents = torch.cat([self.host.encode_images(part) for part in images.split(self.rows)])
        return self._latents

    def _key(self) -> str:
        told = hashlib.sha256()
        settings = [self.prompt, self.seed, self.steps, self.guidance, self.rows]
        told.update(json.dumps(settings).encode())
        for name, value in self.host.denoiser.state_dict().items():
            told.update(f"{name} {tuple(value.shape)}".encode())
            told.update(value.flatten()[:SEEN].float().cpu().numpy().tobytes())
        return told.hexdigest()[:16]

    def _part(self, start: int) -> Tensor:
        path = None if self.folder is None else self.folder / f"{start:06d}.npy"
        if path is not None and path.is_file():
            kept = np.load(path, allow_pickle=False)
            if kept.dtype != np.uint8 or kept.ndim != 4 or len(kept) != self.rows:
                raise DataError(f"{path} is no part of {self.rows} images of a prior cache; remove its folder")
            return torch.from_numpy(kept)
        # in memory nothing is asked to fit another number of images later
        last = start + self.rows if path is not None else min(start + self.rows, self.n)
        seeds = [self.seed + i for i in range(start, last)]
        made = self.host.generate(self.prompt, seeds=seeds, steps=self.steps, guidance=self.guidance, rows=self.rows)
        bytes_ = ((made + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path, "wb") as file:
                np.save(file, bytes_.numpy())
        return bytes_
