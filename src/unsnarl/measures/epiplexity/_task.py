"""The two ways to price a learner: a teacher that trains on real data, and a student that hears only the teacher.

Prequential: the teacher alone; its loss curve is kept. Requential: each step the teacher trains on real rows, then a
student that started as its twin trains on rows in which every scored token is drawn from the teacher's moving average
(temperature 1, unscored tokens real). Before the student's update the divergence KL(teacher || student) of the drawn
tokens is added up: so many nats let a receiver who runs the same student draw the same tokens (relative entropy
coding), and with them the whole training of the student.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional as F

from unsnarl.measures.epiplexity._tokens import TokenRows
from unsnarl.nn._gpt import GPT, gpt_parameter_groups
from unsnarl.training import Task
from unsnarl.training._ema import EMA

BETAS = (0.9, 0.95)
EPSILON = 1e-20  # the zero-initialised layers give the others gradients too small for the usual 1e-8
CLIP_NORM = 1.0
_EVALUATED = 4096  # scored positions of held-out rows at a time, times the vocabulary


class EpiplexityTask(Task):
    """Teacher and, for the requential method, student; all curves are buffers, so they are saved and resumed.

    Args:
        model: the network both start from.
        data: vocabulary and mask of the rows.
        steps: length of the curves.
        points: the steps after which the networks are measured on held-out rows, in order.
        student: whether there is a student.
        lr: rate of a matrix with one input.
        vector_lr: rate of embeddings and norms.
        warmup: steps over which both rates rise linearly.
        decay: fall to zero, linearly, after the warm-up; distorts the prequential area.
        ema_steps: memory of the moving averages.
        max_kl: while the last divergence (nats a token) exceeds it, the teacher waits.

    Attributes:
        losses: the teacher's loss at each of its steps (nats a token, before the update).
        divergences: KL(teacher || student) at each step (nats a token).
        teacher_steps: the teacher's steps after each step of the run.
        held_out: real held-out loss of teacher and student average at each point (nats a token).
    """

    losses: Tensor
    divergences: Tensor
    teacher_steps: Tensor
    held_out: Tensor
    done: Tensor

    def __init__(
        self,
        model: GPT,
        data: TokenRows,
        *,
        steps: int,
        points: Sequence[int],
        student: bool = True,
        lr: float = 0.03,
        vector_lr: float = 6e-4,
        warmup: int = 100,
        decay: bool = False,
        ema_steps: float = 50.0,
        max_kl: float | None = None,
    ):
        super().__init__()
        self.steps, self.points, self.data = steps, {p: i for i, p in enumerate(points)}, data
        self.lr, self.vector_lr, self.warmup, self.decay, self.max_kl = lr, vector_lr, warmup, decay, max_kl
        self.teacher = model
        self.has_student = student
        if student:
            self.student = copy.deepcopy(model)
            self.teacher_average, self.student_average = EMA(model, ema_steps), EMA(model, ema_steps)
        empty = torch.full((steps,), math.nan, dtype=torch.float64)
        self.register_buffer("losses", empty)
        self.register_buffer("divergences", empty.clone())
        self.register_buffer("teacher_steps", torch.zeros(steps, dtype=torch.int64))
        self.register_buffer("held_out", torch.full((len(points), 2), math.nan, dtype=torch.float64))
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))  # the teacher's steps so far
        rest = torch.from_numpy(data.scored[data.first :].copy())
        self._columns: Any = slice(None) if rest.all() else rest.nonzero().flatten()
        self._factor = 1.0

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam with the network's own rates; warm-up and clipping over all groups come before each of its steps."""
        made = {"teacher": self._optimizer(self.teacher)}
        if self.has_student:
            self.teacher_average.follow(self.teacher, made["teacher"])
            made["student"] = self._optimizer(self.student)
            self.student_average.follow(self.student, made["student"])
        return made

    def schedule(self, step: int) -> Sequence[str]:
        """Both phases; the student's alone while it is too far behind."""
        if not self.has_student:
            return ("teacher",)
        if self.max_kl is not None and step and float(self.divergences[step - 1]) > self.max_kl:
            return ("student",)
        return ("teacher", "student")

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss of one network on one batch of rows, nats a scored token."""
        rows = batch[0]
        if phase == "teacher":
            done = int(self.done)
            self._factor = self._rate(done)
            loss = self.loss(self.teacher, rows)
            self.losses[done] = loss.detach()
            self.done += 1
            if not self.has_student:
                self.teacher_steps[step] = self.done
            return {"loss": loss}
        self._factor = self._rate(max(int(self.done) - 1, 0))  # both networks are at the same place of the schedule
        self.teacher_steps[step] = self.done
        drawn = torch.from_numpy(self.data.scored.copy()).to(rows.device).expand_as(rows).clone()
        drawn[:, 0] = False
        heard, said = self.teacher_average.module.sample(rows, drawn, generator=generator)  # type: ignore[operator]
        logits = self.student(heard[:, :-1], self.data.first - 1)[:, self._columns]
        loss = F.cross_entropy(logits.flatten(0, 1), heard[:, self.data.first :][:, self._columns].flatten())
        divergence = mean_kl(said[:, self._columns], logits.detach())
        self.divergences[step] = divergence
        return {"loss": loss, "kl": divergence}

    def loss(self, model: Any, rows: Integer[Tensor, "batch length"]) -> Float[Tensor, ""]:
        """Mean negative log-likelihood of the scored tokens, nats."""
        logits = model(rows[:, :-1], self.data.first - 1)[:, self._columns]
        return F.cross_entropy(logits.flatten(0, 1), rows[:, self.data.first :][:, self._columns].flatten())

    @torch.no_grad()
    def measure(self, step: int, rows: Integer[Tensor, "held_out length"]) -> None:
        """Keep the losses on held-out rows if this step is one of the points."""
        if step in self.points:
            place = self.points[step]
            self.held_out[place, 0] = self.evaluate(self.teacher, rows)
            if self.has_student:
                self.held_out[place, 1] = self.evaluate(self.student_average, rows)

    @torch.no_grad()
    def evaluate(self, model: Any, rows: Integer[Tensor, "held_out length"]) -> float:
        """The loss over many rows, some at a time."""
        size = max(1, _EVALUATED * 64 // (self.data.length * max(64, self.data.vocabulary)))
        total = sum(float(self.loss(model, part)) * len(part) for part in rows.split(size))
        return total / len(rows)

    def _rate(self, done: int) -> float:
        if done < self.warmup:
            return (done + 1) / self.warmup
        return (self.steps - done) / max(self.steps - self.warmup, 1) if self.decay else 1.0

    def _optimizer(self, model: GPT) -> torch.optim.Optimizer:
        groups = gpt_parameter_groups(model, lr=self.lr, vector_lr=self.vector_lr)
        for group in groups:
            group["peak"] = group["lr"]
        optimizer = torch.optim.Adam(groups, betas=BETAS, eps=EPSILON, fused=True)
        optimizer.register_step_pre_hook(self._before_step)
        return optimizer

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        weights = []
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * self._factor
            weights += group["params"]
        torch.nn.utils.clip_grad_norm_(weights, CLIP_NORM)


def mean_kl(
    teacher: Float[Tensor, "batch time vocabulary"], student: Float[Tensor, "batch time vocabulary"]
) -> Float[Tensor, ""]:
    """KL(teacher || student) of two sets of logits, mean over all tokens; nats."""
    p, q = torch.log_softmax(teacher, dim=-1), torch.log_softmax(student, dim=-1)
    return (p.exp() * (p - q)).sum(dim=-1).mean()


def log_points(steps: int) -> list[int]:
    """When to measure: some 70 steps, evenly and, as the curve is steep there, at the start; all of a short run."""
    import numpy as np

    if steps <= 60:
        return list(range(1, steps + 1))
    even, early = np.linspace(steps / 50, steps, 50), np.geomspace(1, steps, 30)
    return sorted({round(float(s)) for s in (*even, *early)})
