"""What it takes to make one model of the zoo, and to have it back: a recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsnarl.errors import FileError
from unsnarl.training import Run, Task, stream_seed, train

Batches = Callable[[int], tuple[Tensor, ...]]
SHELF = Path(__file__).parent / "weights"  # what is shipped with the package
MODEL = "model"  # the folder inside a run's folder that the finished model is written to


@dataclass(frozen=True)
class Recipe:
    """How a model of the zoo is trained, written and read.

    Attributes:
        name: as in `unsnarl.zoo.load(name)`.
        summary: what it is, in a line.
        make: (models it stands on, steps) -> its `Task`, untrained; called with torch seeded.
        batches: models it stands on -> step -> batch.
        export: (task, models it stands on, folder) -> writes the finished model in the format of its library.
        load: folder -> the model.
        steps: gradient steps.
        batch_size: observations a step.
        seed: of weights, noise and data.
        needs: names of the models it stands on.
        data: what it learns from, in a few words, for the model's card.
        settings: what else determines the numbers, for the run's configuration and the model's card.
    """

    name: str
    summary: str
    make: Callable[[Mapping[str, Any], int], Task]
    batches: Callable[[Mapping[str, Any]], Batches]
    export: Callable[[Any, Mapping[str, Any], Path], None]
    load: Callable[[Path], Any]
    steps: int
    batch_size: int
    seed: int = 0
    needs: tuple[str, ...] = ()
    data: str = "the captioned scenes of `unsnarl.data.scenes`"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def train(
        self,
        models: Mapping[str, Any],
        folder: str | os.PathLike[str],
        *,
        steps: int | None = None,
        resume: bool = True,
        checkpoint_every: int = 100,
        progress: bool = True,
    ) -> Path:
        """Train in a run's folder, from its last checkpoint if it has one, and write the finished model.

        Args:
            models: those named by `needs`.
            folder: of the run.
            steps: fewer or more than the recipe's.
            resume: False starts over.
            checkpoint_every: steps between checkpoints.
            progress: show progress.

        Returns:
            The folder of the model.
        """
        total = self.steps if steps is None else steps
        config = {"zoo": self.name, "seed": self.seed, "batch_size": self.batch_size, "planned_steps": total}
        run = Run(folder, config | dict(self.settings), resume=resume)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(self.seed, 0))
            task = self.make(models, total)
        train(
            task,
            self.batches(models),
            steps=total,
            seed=self.seed,
            run=run,
            log_every=20,
            checkpoint_every=checkpoint_every,
            progress=progress,
            label=self.name,
        )
        where = Path(folder) / MODEL
        where.mkdir(parents=True, exist_ok=True)
        from unsnarl.zoo._card import GATES, write_card, write_curve

        (where / GATES).unlink(missing_ok=True)  # measured on what is replaced
        self.export(task.eval(), models, where)
        write_curve(run.history(), where)
        write_card(self, where)
        return where


def find_folder(name: str, trained: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a finished model: a run's of one's own training if it is there, else the shipped one.

    Args:
        name: of the model.
        trained: a folder that holds runs by name, such as "runs/zoo".

    Raises:
        FileError: there is neither.
    """
    places = [Path(trained) / name / MODEL] if trained is not None else []
    for place in [*places, SHELF / name]:
        if place.is_dir() and any(place.iterdir()):
            return place
    raise FileError(f"the weights of zoo/{name} are not there; train them: unsnarl.zoo.train_model({name!r})")
