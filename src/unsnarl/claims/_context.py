"""What an arm is given beside its seed: a folder, a way to tell how far it is, a scale, and data it shares."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unsnarl.arrays import check_range
from unsnarl.errors import OptionError
from unsnarl.files import atomic_write

HEARTBEAT = "progress.json"


@dataclass
class Context:
    """One run's surroundings.

    A claim's tests can make one themselves: `Context(tmp_path, quick=True)`.

    Attributes:
        folder: this run's own folder; training that checkpoints here resumes after an interruption. It is new whenever
            the arm's code, options or seed change.
        arm: name of the arm.
        seed: the run's seed.
        quick: a smoke test whose numbers are never recorded.
        fingerprint: digest of the code the run depends on.
        common: the folder of what runs share; `shared` and `arrays` look after it.
    """

    folder: Path
    arm: str = ""
    seed: int = 0
    quick: bool = False
    fingerprint: str = ""
    common: Path | None = None
    _told: float = field(default=-math.inf, init=False, repr=False)
    _started: float = field(default_factory=time.time, init=False, repr=False)

    def steps(self, full: int, quick: int | None = None) -> int:
        """A number of steps (or samples, epochs): `full`, or in a quick run `quick`, a hundredth where not given.

        Examples:
            >>> Context(Path("run")).steps(5_000), Context(Path("run"), quick=True).steps(5_000)
            (5000, 50)
        """
        check_range(full, "full", low=1, integer=True)
        if not self.quick:
            return full
        return min(full, max(2, full // 100) if quick is None else quick)

    def report(self, done: float, total: float, **numbers: float) -> None:
        """Tell how far the run is, for the display and its estimate of the time left; cheap enough for every step.

        Args:
            done: steps, epochs or anything that grows evenly with time.
            total: what `done` ends at.
            **numbers: shown beside, such as `loss=0.3`.
        """
        now = time.monotonic()
        if now - self._told < 1.0 and done < total:
            return
        self._told = now
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.folder / HEARTBEAT, "w") as file:
            shown = {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
            share = min(1.0, done / total) if total > 0 else 0.0
            json.dump({"started": self._started, "share": share, "numbers": shown}, file)

    def shared(self, name: str, build: Callable[[Path], Any], **key: Any) -> Path:
        """A folder that is made once and read by every run that asks for it, such as a host model all arms start from.

        Runs that ask while it is being made wait. It is made again when the arms' code or `key` changes.

        Args:
            name: what it is.
            build: called with an empty folder to fill; when it raises, nothing is kept.
            **key: what it depends on, such as `seed=seed`; plain JSON values.

        Returns:
            The filled folder; treat it as read-only.
        """
        from filelock import FileLock

        from unsnarl.claims._claim import check_options

        if not name.replace("-", "").replace("_", "").isalnum():
            raise OptionError(f"name={name!r} must be letters, digits, - and _")
        key = check_options(key, f"the key of {name!r}")
        text = json.dumps([key, self.fingerprint, self.quick], sort_keys=True)
        common = self.common if self.common is not None else self.folder / "shared"
        target = common / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
        if target.is_dir():
            return target
        common.mkdir(parents=True, exist_ok=True)
        with FileLock(str(target) + ".lock"):
            if not target.is_dir():
                unfinished = target.with_name(target.name + ".unfinished")
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                build(unfinished)
                os.replace(unfinished, target)
        return target

    def arrays(self, name: str, build: Callable[[], Mapping[str, Any]], **key: Any) -> dict[str, np.ndarray]:
        """Arrays that are made once and read by every run that asks for them, such as rendered observations.

        They are mapped from disk, so that parallel runs share the memory; writing to them changes this run's copy only.

        Args:
            name: what they are.
            build: returns name -> array.
            **key: what they depend on, such as `seed=seed, size=10_000`.
        """

        def save(folder: Path) -> None:
            for part, values in build().items():
                with atomic_write(folder / f"{part}.npy") as file:
                    np.save(file, np.asarray(values), allow_pickle=False)

        folder = self.shared(name, save, **key)
        return {path.stem: _mapped(path) for path in sorted(folder.glob("*.npy"))}


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
    except ValueError:  # an empty array cannot be mapped
        return np.asarray(np.load(path, allow_pickle=False))
