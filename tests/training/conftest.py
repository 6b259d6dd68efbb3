"""A run folder of a very small task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from small_runs import CONFIG, batches, task_of

from unsnarl.training import Run, train

torch.set_num_threads(1)  # threads only get in each other's way on networks this small


@pytest.fixture
def short_run(tmp_path):
    """A function that trains a small task in a run folder, and gives the task and its history."""

    def run(
        kind: str = "QLAE", steps: int = 20, folder: str = "run", **options: Any
    ) -> tuple[Any, list[dict[str, Any]]]:
        options = {"log_every": 3, "checkpoint_every": 5, "progress": False} | options
        task = options.pop("task", None) or task_of(kind)
        where = Run(tmp_path / folder, options.pop("config", CONFIG))
        return task, train(task, batches(), steps=steps, run=where, **options)

    return run
