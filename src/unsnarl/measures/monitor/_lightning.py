"""The monitor as a callback of Lightning's trainer."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import Callback

from unsnarl.measures.monitor._history import MonitorHistory
from unsnarl.measures.monitor._monitor import RepresentationMonitor


class LightningRepresentationMonitor(RepresentationMonitor, Callback):
    """`RepresentationMonitor` that records at the start of training and after optimiser steps.

    The history goes into Lightning's checkpoints and comes back from them. With several processes the first one records;
    a module that is sharded over processes cannot be recorded by one.
    """

    _last = -1

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Record the state before the first step."""
        self._record(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record when the number of optimiser steps calls for it; once, where gradients are accumulated."""
        self._record(trainer, pl_module)

    def _record(self, trainer: Any, pl_module: Any) -> None:
        step = int(trainer.global_step)
        if trainer.is_global_zero and step != self._last:
            self._last = step
            self(step, pl_module if self.model is None else None)

    def state_dict(self) -> dict[str, Any]:
        """The rows, for Lightning's checkpoint."""
        return {"rows": list(self.history.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The rows of a checkpoint."""
        self.history = MonitorHistory(state_dict["rows"])
