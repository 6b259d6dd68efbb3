"""Epiplexity of a data set: train networks of several sizes once over it, and price each at every step."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import Tensor

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.epiplexity._frontier import EpiplexityFrontier, network
from unsnarl.measures.epiplexity._prequential import FEWEST_POINTS, prequential_bits, warn_decayed
from unsnarl.measures.epiplexity._task import EpiplexityTask, log_points
from unsnarl.measures.epiplexity._tokens import CONTEXT, TokenReader, TokenRows, as_token_rows
from unsnarl.nn._gpt import GPT
from unsnarl.training import Run, train

SIZES = ((1, 32), (2, 64), (3, 128))
BATCH, WARMUP, EMA_STEPS = 64, 100, 50.0


def estimate_epiplexity(
    dataset: Any,
    sizes: Sequence[tuple[int, int]] | Any = SIZES,
    steps: int | None = None,
    *,
    method: Literal["requential", "prequential"] | str = "requential",
    test_tokens: float | None = None,
    scored: Any = None,
    context: int = CONTEXT,
    batch_size: int = BATCH,
    epochs: float = 1,
    held_out: int | None = None,
    max_kl: float | None = None,
    ema_steps: float = EMA_STEPS,
    lr: float = 0.03,
    vector_lr: float = 6e-4,
    warmup: int | None = None,
    schedule: Literal["constant", "linear"] | str = "constant",
    head_width: int = 64,
    tolerance: float = 0.02,
    seed: int = 0,
    run: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 500,
    fabric: Any = None,
    progress: bool = True,
    on_step: Callable[[int, int], None] | None = None,
) -> EpiplexityFrontier:
    """How much structure learners of bounded compute find in data, and how much stays random to them.

    For a program P that runs within a budget, |P| + E log2 1/P(X) is the length of a description of data X. Of the
    best program, S_T(X) = |P| is the structure the budget can absorb (epiplexity) and H_T(X) = E log2 1/P(X) what
    stays unpredictable (Finzi et al. 2026, arXiv 2601.03220). Programs are transformers of several sizes after every
    number of steps; |P| is what it takes to transmit their *training*, not their parameters:

    - "requential": a student trains only on tokens drawn from the moving average of a teacher, which trains on the
      data; |P| = (1 / ln 2) * sum over steps of KL(teacher || student) * tokens. The program is the student's average.
    - "prequential": |P| = (1 / ln 2) * integral (L_s - L_t) ds under the loss curve of a single network.

    Then K = |P| + D_test * (held-out loss on real targets, bits a token) against
    C = 6 * parameters * tokens trained on + 2 * parameters * D_test has a lower hull; S and H at a budget are those of
    the hull point, so of the shortest description rather than of the lowest loss.

    >>> from unsnarl.data.known._automata import CellularAutomaton
    >>> frontier = estimate_epiplexity(
    ...     CellularAutomaton(90, width=6, steps=1), [(1, 16)], steps=60, batch_size=8, test_tokens=1e4, progress=False)
    >>> found = frontier.at()
    >>> found.S + found.H == found.K, 0 <= found.H_per_token <= 1.1
    (True, True)

    Args:
        dataset: tokens as an array, an endless source or `TokenRows`; see `as_token_rows`. Files: `read_tokens`.
        sizes: (layers, width) of each network.
        steps: steps of each network; by default one pass over the data. A run with `max_kl` counts student steps, which
            is what its compute is made of; the teacher then makes fewer.
        method: how the program is priced.
        test_tokens: D_test, how many tokens the program is to describe; by default all scored tokens of the data. With
            more of them a better program pays for its length, so S grows.
        scored: mask of the tokens to predict, for a conditional Y|X.
        context: tokens in a row, for a stream.
        batch_size: rows a step.
        epochs: passes over the data; more than one is refused, since the loss on a row seen before prices nothing.
        held_out: rows kept for testing; by default those of 8,192 scored tokens, or a tenth.
        max_kl: the teacher waits while the last divergence (nats a token) exceeds this.
        ema_steps: memory of both moving averages, decay exp(-1 / ema_steps) a step.
        lr: rate of a matrix with one input (rates are `lr / fan in`).
        vector_lr: rate of embeddings and norms.
        warmup: steps of linear warm-up; by default 100, or a tenth of a short run.
        schedule: "constant" after the warm-up, or "linear" down to zero, which distorts the prequential area.
        head_width: of the attention.
        tolerance: share above the hull up to which a point counts as on it.
        seed: of weights, order of rows and draws.
        run: folder to log to and resume from, one sub-folder a size; None keeps everything in memory.
        checkpoint_every: steps between checkpoints.
        fabric: a launched `lightning.fabric.Fabric`, for accelerators.
        progress: show progress on stderr.
        on_step: called with the steps done and their number, over all sizes.

    Returns:
        The frontier, with every measured point behind it; a requential one has the prequential one of its teachers in
        `teachers`, at no further cost.

    Raises:
        DataError: data that are no tokens, or too few for the steps in one pass.
        OptionError: an option out of range, several epochs, fewer than 50 steps, or an endless source without `steps`
            or `test_tokens`.
        TrainingError: a loss is no longer finite.

    Warns:
        EstimatorWarning: the learning rate falls, or a curve ends before its plateau, so that S is a lower bound.

    Cost: 6 * parameters * tokens operations a network ("prequential"); about three times that, and drawing token by
    token, for "requential".
    """
    data = as_token_rows(dataset, scored=scored, context=context)
    check_choice(method, ("requential", "prequential"), "method")
    check_choice(schedule, ("constant", "linear"), "schedule")
    check_range(batch_size, "batch_size", low=1, integer=True)
    check_range(ema_steps, "ema_steps", low=0)
    check_range(epochs, "epochs", low=0, open_low=True)
    check_range(tolerance, "tolerance", low=0, high=1)
    if max_kl is not None:
        check_range(max_kl, "max_kl", low=0, open_low=True)
        if method == "prequential":
            raise OptionError("max_kl holds back a teacher for its student; method='prequential' has none")
    if epochs > 1:
        raise OptionError(
            f"epochs={epochs:g} is not allowed: neither a loss on rows seen before nor a teacher that learned them by "
            "heart prices a program; train once, on more data"
        )
    sizes = _check_sizes(sizes)
    reader = data.reader(batch_size=batch_size, seed=seed, held_out=held_out)
    steps = _check_steps(data, steps, reader.batches, batch_size)
    if test_tokens is None:
        if math.isinf(data.count):
            raise OptionError(f"test_tokens is not given, and {data.name} has no end; say how many tokens count")
        test_tokens = data.count * data.scored_per_row
    check_range(test_tokens, "test_tokens", low=1)
    if warmup is None:
        warmup = min(WARMUP, steps // 10)
    check_range(warmup, "warmup", low=0, integer=True)
    if schedule == "linear":
        warn_decayed()
    options: dict[str, Any] = {
        "student": method == "requential",
        "lr": lr,
        "vector_lr": vector_lr,
        "warmup": int(warmup),
        "decay": schedule == "linear",
        "ema_steps": ema_steps,
        "max_kl": max_kl,
    }
    settings = {"data": data.name, "digest": data.digest(), "steps": steps, "batch_size": batch_size, "seed": seed}
    settings |= {"held_out": len(reader.held_out), "head_width": head_width, **options}
    curves = []
    for number, (layers, width) in enumerate(sizes):
        model = GPT(data.vocabulary, data.length - 1, layers=layers, width=width, head_width=head_width, seed=seed)
        task = EpiplexityTask(model, data, steps=steps, points=log_points(steps), **options)
        config = {"system": "epiplexity", "layers": layers, "width": width, **settings}

        def tell(step: int, number: int = number) -> None:
            if on_step is not None:
                on_step(number * steps + step, len(sizes) * steps)

        _train(
            task,
            reader,
            seed=seed,
            run=None if run is None else Run(Path(run) / f"L{layers}-D{width}", config),
            fabric=fabric,
            checkpoint_every=checkpoint_every,
            progress=progress,
            label=f"{data.name}, {network({'layers': layers, 'width': width})} ({number + 1} of {len(sizes)})",
            tell=tell,
        )
        curves.append((layers, width, task))
    common = {"test_tokens": float(test_tokens), "vocabulary": data.vocabulary, "unit": data.unit, "name": data.name}
    common |= {"settings": settings | {"sizes": [list(s) for s in sizes]}}
    tokens = batch_size * data.scored_per_row
    found = EpiplexityFrontier.of(
        pd.concat(
            [_prequential(task, layers, width, tokens, test_tokens) for layers, width, task in curves],
            ignore_index=True,
        ),
        tolerance=tolerance,
        method="prequential",
        **common,
    )
    if method == "requential":
        found = EpiplexityFrontier.of(
            pd.concat(
                [_requential(task, layers, width, tokens, test_tokens) for layers, width, task in curves],
                ignore_index=True,
            ),
            tolerance=tolerance,
            method="requential",
            teachers=found,
            **common,
        )
    for note in found.notes:
        warnings.warn(note, EstimatorWarning, stacklevel=2)
    return found


def _train(task: EpiplexityTask, reader: TokenReader, *, tell: Callable[[int], None], **options: Any) -> None:
    """Train the networks of one size, measuring them on the held-out rows as they go."""

    def after(step: int) -> None:
        task.measure(step, reader.held_out.to(task.losses.device))
        tell(step)

    def batches(step: int) -> tuple[Tensor, ...]:
        return (reader(int(task.done)).to(task.losses.device),)  # a teacher that waits does not lose any rows

    train(task, batches, steps=task.steps, log_every=max(1, task.steps // 100), callbacks=[after], **options)


def _prequential(task: EpiplexityTask, layers: int, width: int, tokens: int, test: float) -> pd.DataFrame:
    """Points by the area under the teacher's losses: window means, whose area is exact."""
    done = task.teacher_steps.cpu().numpy()
    losses = task.losses.cpu().numpy()
    points = list(task.points)
    ends = done[np.asarray(points) - 1]
    fresh = np.flatnonzero(np.diff(ends, prepend=0))  # a teacher that waited has nothing new to log
    ends = ends[fresh]
    means = np.add.reduceat(losses[: ends[-1]], np.concatenate([[0], ends[:-1]])) / np.diff(ends, prepend=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimatorWarning)  # said once by the caller
        bits = prequential_bits(means, ends * tokens, logged="means")
    held_out = task.held_out[:, 0].cpu().numpy()[fresh]
    return _points(task, layers, width, np.asarray(points)[fresh], ends * tokens, bits, held_out, means, test)


def _requential(task: EpiplexityTask, layers: int, width: int, tokens: int, test: float) -> pd.DataFrame:
    """Points by the divergence summed up to each; the student's steps are all the run's, also while the teacher waits."""
    points = np.asarray(list(task.points))
    bits = np.cumsum(task.divergences.cpu().numpy() * tokens)[points - 1] / math.log(2)
    losses = np.concatenate([[0.0], np.nancumsum(task.losses.cpu().numpy())])
    done = task.teacher_steps.cpu().numpy()[points - 1]
    before = np.concatenate([[0], done[:-1]])
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (losses[done] - losses[before]) / (done - before)
    held_out = task.held_out[:, 1].cpu().numpy()
    return _points(task, layers, width, points, points * tokens, bits, held_out, means, test)


def _points(
    task: EpiplexityTask,
    layers: int,
    width: int,
    steps: np.ndarray,
    tokens: np.ndarray,
    bits: np.ndarray,
    held_out: np.ndarray,
    means: np.ndarray,
    test: float,
) -> pd.DataFrame:
    parameters = task.teacher.parameter_count
    bits = np.maximum(bits, 0.0)  # the noise of a loss that does not fall can make the estimate of a length negative
    random = test * held_out / math.log(2)
    return pd.DataFrame(
        {
            "layers": layers,
            "width": width,
            "parameters": parameters,
            "step": steps,
            "tokens": tokens,
            "compute": 6.0 * parameters * tokens + 2.0 * parameters * test,
            "S": bits,
            "H": random,
            "K": bits + random,
            "loss": held_out / math.log(2),
            "train_loss": means / math.log(2),
        }
    )


def _check_sizes(sizes: Any) -> list[tuple[int, int]]:
    try:
        pairs = [(int(layers), int(width)) for layers, width in sizes]
    except (TypeError, ValueError):
        raise OptionError(
            f"sizes={json.dumps(sizes, default=str)} must be pairs (layers, width), such as [(1, 32), (2, 64)]"
        ) from None
    if not pairs or len(set(pairs)) < len(pairs):
        raise OptionError(f"sizes={pairs} must name at least one size, each once")
    for layers, width in pairs:
        check_range(layers, "layers of sizes", low=1, integer=True)
        check_range(width, "width of sizes", low=1, integer=True)
    return pairs


def _check_steps(data: TokenRows, steps: int | None, batches: float, batch_size: int) -> int:
    if steps is None:
        if math.isinf(batches):
            raise OptionError(f"steps is not given, and {data.name} has no end; say how long to train")
        steps = int(batches)
    check_range(steps, "steps", low=0, integer=True)
    if steps > batches:
        raise DataError(
            f"{data.name} has {data.count:,.0f} rows, enough for {batches:,.0f} steps of {batch_size} beside those held out, "
            f"but steps={steps:,} needs several passes, over which no loss prices a program; lower steps or add data"
        )
    if steps < FEWEST_POINTS:
        hint = " (a smaller batch_size= or context= gives more)" if not math.isinf(batches) else ""
        raise OptionError(
            f"steps={steps} is too few: a curve of fewer than {FEWEST_POINTS} points is no code length{hint}"
        )
    return int(steps)
