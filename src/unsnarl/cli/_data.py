"""Data sets that are made once and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unsnarl.cli._words import Seed
from unsnarl.errors import UnknownNameError

BUILT = ("trisent",)


def data(
    name: Annotated[str, typer.Argument(help="trisent: rated sentences, spoken and shown on a face.")],
    mode: Annotated[str, typer.Option(help="redundant or delivery; see docs/data_sentiment.md.")] = "redundant",
    size: Annotated[int, typer.Option(help="Utterances.")] = 3000,
    seed: Seed = 0,
    folder: Annotated[
        Path | None, typer.Option(help="Where it is kept; UNSNARL_CACHE or the user's cache when left out.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="The source distribution of vaderSentiment 3.3.2, if it is at hand.")
    ] = None,
    tokens: Annotated[bool, typer.Option(help="Also the frozen word vectors of all-MiniLM-L6-v2.")] = True,
    workers: Annotated[int, typer.Option(help="Threads that build.")] = 1,
) -> None:
    """Build a data set and keep it; a build that was stopped goes on where it was."""
    if name not in BUILT:
        raise UnknownNameError("data set that is built", name, list(BUILT))
    from unsnarl.data.sentiment import build_trisent
    from unsnarl.training import Progress

    bars: list[Progress] = []
    last = 0

    def show(done: int, total: int) -> None:
        nonlocal last
        if not bars or done < last:  # the vectors come after the utterances
            bars.append(Progress(total, "chunks of vectors" if bars else "chunks of utterances", start=done - 1))
        last = done
        bars[-1].update(done)

    try:
        where = build_trisent(
            mode, size, seed=seed, folder=folder, source=source, tokens=tokens, workers=workers, progress=show
        )
    finally:
        for bar in bars:
            bar.close()
    typer.echo(f"{name}, {mode}, {size:,} utterances: {where}")
