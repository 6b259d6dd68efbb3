"""A run: a folder with config.json, metrics.jsonl and checkpoint/, which resumes to the same numbers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import IO, Any

from unsnarl.errors import CheckpointError, FileError
from unsnarl.files import atomic_write, reason
from unsnarl.training._checkpoint import write_json


class Run:
    """The folder of one training run.

    Args:
        folder: made if absent.
        config: everything that determines the numbers except how long to train; JSON values.
        resume: continue what the folder holds; False starts over in it.

    Raises:
        CheckpointError: the folder holds a run with another configuration.
        FileError: the folder cannot be made or is a file.
    """

    def __init__(self, folder: str | os.PathLike[str], config: dict[str, Any], *, resume: bool = True):
        self.folder = Path(folder)
        self.config = json.loads(json.dumps(config, sort_keys=True, default=str))
        self.digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:16]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make the run folder {self.folder}: {reason(error)}") from None
        if resume and self.checkpoint_path.exists():
            self._check_same_config()
        else:
            for old in (self.checkpoint_path, self.metrics_path):
                old.unlink(missing_ok=True)
            write_json(self.config_path, self.config)
        self._log: IO[str] | None = None

    @property
    def config_path(self) -> Path:
        """config.json."""
        return self.folder / "config.json"

    @property
    def metrics_path(self) -> Path:
        """metrics.jsonl: one JSON object a logged step."""
        return self.folder / "metrics.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        """The latest good checkpoint."""
        return self.folder / "checkpoint" / "state.safetensors"

    def _check_same_config(self) -> None:
        try:
            old = json.loads(self.config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise CheckpointError(f"{self.config_path} is missing or damaged, so the run cannot be resumed") from None
        if old != self.config:
            changed = sorted(k for k in {*old, *self.config} if old.get(k) != self.config.get(k))
            changed.sort(key=lambda name: name != "system")  # what matters most comes first
            texts = [f"{k}: {old.get(k)!r} there, {self.config.get(k)!r} here" for k in changed[:3]]
            raise CheckpointError(
                f"{self.folder} holds a run with other settings ({'; '.join(texts)}); "
                "choose another folder or pass resume=False to start over"
            )

    def history(self) -> list[dict[str, Any]]:
        """The logged metrics; a last line cut short by a crash is ignored."""
        if not self.metrics_path.exists():
            return []
        rows = []
        for line in self.metrics_path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop what was logged after `step`, so that a resumed run logs each step once."""
        rows = [row for row in self.history() if row["step"] <= step]
        self.close()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        with atomic_write(self.metrics_path, "w") as file:
            file.write(text)
        return rows

    def log(self, row: dict[str, Any]) -> None:
        """Append one row to metrics.jsonl, visible at once."""
        try:
            if self._log is None:
                self._log = open(self.metrics_path, "a", encoding="utf-8")  # noqa: SIM115
            self._log.write(json.dumps(row) + "\n")
            self._log.flush()
        except OSError as error:
            raise FileError(f"cannot write {self.metrics_path}: {reason(error)}") from None

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            with contextlib.suppress(OSError):  # what could not be written was reported by `log`
                self._log.close()
            self._log = None
