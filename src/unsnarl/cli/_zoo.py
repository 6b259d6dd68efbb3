"""The zoo's models: what there is, one of them, training and checking them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

zoo = typer.Typer(help="Small text-to-image models and their graders.", no_args_is_help=True, rich_markup_mode=None)
Trained = Annotated[
    Path | None, typer.Option(help="A folder of your own trainings by name, looked into before the shipped weights.")
]


@zoo.command("list")
def list_(trained: Trained = None) -> None:
    """List the models, whether their weights are there, and how big they are."""
    from unsnarl.errors import FileError
    from unsnarl.zoo import recipes
    from unsnarl.zoo._recipe import find_folder

    rows = []
    for name, one in recipes().items():
        try:
            folder = find_folder(name, trained)
            size = f"{sum(p.stat().st_size for p in folder.rglob('*') if p.is_file()) / 2**20:.1f} MiB"
        except FileError:
            size = "no weights"
        rows.append((name, size, one.summary))
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, size, summary in rows:
        typer.echo(f"{name:<{widths[0]}}  {size:>{widths[1]}}  {summary}")


@zoo.command()
def show(name: Annotated[str, typer.Argument(help="A model's name.")], trained: Trained = None) -> None:
    """Show a model's card: what it is, how it was trained, its gates."""
    from unsnarl.zoo import recipe
    from unsnarl.zoo._card import card_text
    from unsnarl.zoo._recipe import find_folder

    one = recipe(name)
    folder = find_folder(one.name, trained)
    typer.echo(card_text(one, folder).split("---\n", 2)[2].strip())
    typer.echo(f"\nWeights: {folder}")


@zoo.command()
def train(
    name: Annotated[str, typer.Argument(help="A model's name.")],
    to: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run; runs/zoo/NAME when left out. Models it stands on are looked for beside it."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Fewer or more than the recipe's.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = True,
) -> None:
    """Train a model by its recipe; a training that was stopped goes on where it was."""
    from unsnarl.zoo import train_model

    typer.echo(f"{name}: {train_model(name, to, steps=steps, resume=resume)}")


@zoo.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all that are there when left out.")] = None,
    trained: Trained = None,
    share: Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of the observations, for a quick look.")] = 1.0,
    record: Annotated[bool, typer.Option(help="Write the gates beside the weights, where claims look.")] = False,
) -> None:
    """Measure the gates of models: whether images show what prompts say, and whether graders can be trusted.

    All take about half an hour a generator on one core; exit code 1 if a gate is not met.
    """
    from unsnarl.claims.gates import check_zoo
    from unsnarl.training import Progress

    bars: dict[tuple[str, str], Progress] = {}

    def report(model: str, what: str, done: int, total: int) -> None:
        key = (model, what)
        if key not in bars:
            for bar in bars.values():
                bar.close()
            bars[key] = Progress(total, f"{model}: {what}")
        bars[key].update(done)

    try:
        found = check_zoo(names, trained=trained, share=share, record=record, report=report)
    finally:
        for bar in bars.values():
            bar.close()
    missed = 0
    for model, gates in found.items():
        if isinstance(gates, str) or not gates:
            typer.echo(f"{model}: {gates or 'no gates of its own'}")
            continue
        typer.echo(model)
        width = max(len(gate.name) for gate in gates)
        for gate in gates:
            missed += not gate.met
            mark = ("met" if gate.met else "NOT MET") if gate.asked else ""
            error = "" if gate.error != gate.error else f"+- {gate.error:.3f}"
            typer.echo(f"  {gate.name:<{width}}  {gate.value:6.3f} {error:<9}  {gate.asked:<13} {mark}".rstrip())
    if missed:
        typer.echo(f"{missed} gate{'s' * (missed > 1)} not met")
        raise typer.Exit(1)
