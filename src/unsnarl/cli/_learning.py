"""Training learners, and reports of what they learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unsnarl.cli._measuring import measured
from unsnarl.cli._words import Bootstrap, Seed, check_writable, command_line, pair, value_of
from unsnarl.errors import FileError, OptionError, UnknownNameError


def run(
    system: Annotated[str, typer.Argument(help="A learner, as `unsnarl list systems` prints it.")],
    data: Annotated[str, typer.Option(help="A data set's name (`unsnarl list data`) or a file.")],
    size: Annotated[int | None, typer.Option(help="Observations to draw, for simulators and large files.")] = None,
    data_option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the data set (repeatable).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE hyperparameter (repeatable).")] = None,
    steps: Annotated[int | None, typer.Option(help="Gradient steps.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/SYSTEM-DATA when left out.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue a run that was interrupted.")] = True,
    bootstrap: Bootstrap = None,
    seed: Seed = 0,
) -> None:
    """Train a learner on data, measure it and write a report; of survival learners the report is cross-validated."""
    survival = _survival_learner(system)
    learner = _learner(system) if survival is None else survival
    options = {name: value_of(text) for name, text in (pair(t, "--data-option") for t in data_option or [])}
    if size is not None:
        options["size"] = size
    params = {name: value_of(text) for name, text in (pair(t, "--set") for t in set_ or [])}
    folder = out or Path("runs") / f"{system.lower()}-{Path(data).stem}"
    if survival is not None:
        _report_survival(survival, data, options, params, folder, steps, seed, command_line())
        return
    _train_and_report(
        learner, data, options, params, folder, steps, seed, folder / "report.html", bootstrap, resume, command_line()
    )


def demo(
    to: Annotated[Path, typer.Option(help="The report to write.")] = Path("report.html"),
    steps: Annotated[int, typer.Option(help="Gradient steps.")] = 5000,
    seed: Seed = 0,
) -> None:
    """Train QLAE on rendered rooms, measure it and write a report: the library in a few minutes."""
    from unsnarl.systems.latents import QLAE

    check_writable(to)
    typer.echo("Training a quantized-latent autoencoder on 20,000 rendered rooms of 32 x 32 pixels.")
    _train_and_report(
        QLAE,
        "shapes3d",
        DEMO_DATA,
        {**DEMO_MODEL},
        Path("runs/demo"),
        steps,
        seed,
        to,
        20,
        True,
        "unsnarl demo",
        rows=2000,
    )


def _report_survival(
    learner: Any,
    data: str,
    options: dict[str, Any],
    params: dict[str, Any],
    folder: Path,
    steps: int | None,
    seed: int,
    command: str,
) -> None:
    """Cross-validate a survival learner beside the usual baselines, and write the report."""
    from unsnarl.data.survival import load_survival
    from unsnarl.report import write_survival_report
    from unsnarl.training import Progress

    if steps is not None:
        raise OptionError(f"{learner.__name__} trains for epochs, not steps; set them with --set epochs=30")
    model = _made(learner, params, seed)
    patients = load_survival(data, **{name: tuple(v) if isinstance(v, list) else v for name, v in options.items()})
    folder.mkdir(parents=True, exist_ok=True)
    bars: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(Progress(total, "fits", start=done - 1))
        bars[0].update(done)

    try:
        page = write_survival_report(model, patients, folder / "report.html", command=command, seed=seed, progress=show)
    finally:
        for bar in bars:
            bar.close()
    typer.echo(f"\nReport: {page}")


def _made(learner: Any, params: dict[str, Any], seed: int) -> Any:
    """A learner with hyperparameters; an unknown one is named."""
    try:
        return learner(**params, seed=seed)
    except TypeError:
        known = sorted(learner().get_params())
        unknown = [name for name in params if name not in known]
        if not unknown:
            raise
        raise UnknownNameError("hyperparameter", unknown[0], known) from None


DEMO_DATA: dict[str, Any] = {"size": 20_000, "image_size": 32}
DEMO_MODEL: dict[str, Any] = {
    "latents": 12,
    "levels": 10,
    "network": "laptop",
    "batch_size": 64,
}


def _train_and_report(
    learner: Any,
    data: str,
    options: dict[str, Any],
    params: dict[str, Any],
    folder: Path,
    steps: int | None,
    seed: int,
    to: Path,
    bootstrap: int | None,
    resume: bool,
    command: str,
    rows: int = 5000,
) -> None:
    from unsnarl.data import load
    from unsnarl.report import write_report

    check_writable(to if to.parent != folder else None)
    model = _made(learner, params, seed)
    observations = load(data, **options)
    model.fit(observations.train, steps=steps, run=folder, resume=resume, progress=True, checkpoint_every=500)
    test = observations.test
    scores = None
    if test.table is not None:
        typer.echo("Measuring.")
        keep = slice(0, rows)
        codes = model.transform(test)[keep]
        scores = measured(codes, test.table.rows(keep), bootstrap, seed=seed)
    write_report(model, test, scores, to=to, command=command)
    typer.echo(f"\nReport: {to}")


def report(
    run_folder: Annotated[Path, typer.Argument(help="A folder that save_pretrained wrote.")],
    data: Annotated[str, typer.Option(help="A data set's name or a file.")],
    size: Annotated[int | None, typer.Option(help="Observations to draw.")] = None,
    data_option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for the data set (repeatable).")] = None,
    to: Annotated[Path, typer.Option(help="The report to write.")] = Path("report.html"),
) -> None:
    """Write the report of a saved model on some data."""
    from unsnarl.data import load
    from unsnarl.report import write_report

    check_writable(to)
    config = run_folder / "config.json"
    try:
        system = json.loads(config.read_text(encoding="utf-8"))["system"]
    except (OSError, ValueError, KeyError, TypeError):
        raise FileError(f"{run_folder} holds no saved model (no readable config.json)") from None
    options = {name: value_of(text) for name, text in (pair(t, "--data-option") for t in data_option or [])}
    if size is not None:
        options["size"] = size
    model = _learner(system).from_pretrained(str(run_folder))
    write_report(model, load(data, **options).test, to=to, command=command_line())
    typer.echo(f"Report: {to}")


SURVIVAL = {"pibd": "PIBD", "latefusionsurvival": "LateFusionSurvival"}


def _survival_learner(name: str) -> Any:
    """The survival learner of a name, or None."""
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in SURVIVAL:
        return None
    from unsnarl.systems import multimodal

    return getattr(multimodal, SURVIVAL[plain])


def _learner(name: str) -> Any:
    from unsnarl.systems import latents

    known = {n.lower(): n for n in latents.__all__ if n != "LatentLearner"}
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in known:
        raise UnknownNameError("learner", name, sorted([*known, *SURVIVAL]))
    return getattr(latents, known[plain])
