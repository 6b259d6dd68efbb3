"""The command line: thin commands over the library; errors in one sentence, exit code 2."""

from __future__ import annotations

import json
import sys
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from unsnarl.errors import FileError, OptionError, UnknownNameError, UnsnarlError

app = typer.Typer(
    name="unsnarl",
    help="Measure, learn, explain and edit disentangled representations, with error bars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Bootstrap = Annotated[
    int | None,
    typer.Option(help="Half-samples for the 95% intervals; 0 for none. When left out: as many as a minute allows."),
]


def main() -> None:
    """Run a command; say what is wrong in one sentence where something is."""
    try:
        app(standalone_mode=False)
    except UnsnarlError as error:
        sys.stderr.write(f"unsnarl: {error}\n")
        sys.exit(2)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("unsnarl: stopped; a run with a folder continues where its last checkpoint is\n")
        sys.exit(130)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's own complaints about the words of the command line
            sys.stderr.write(f"unsnarl: {error.format_message()}\n")
            sys.exit(2)
        raise


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="systems, data, measures or claims; all when left out.")] = "all",
) -> None:
    """List the systems, data sets, measures and claims there are."""
    kinds = ("systems", "data", "measures", "claims")
    if what not in (*kinds, "all"):
        raise UnknownNameError("list", what, [*kinds, "all"])
    for kind in kinds if what == "all" else (what,):
        rows = _listing(kind)
        width = max(len(name) for name, _ in rows)
        typer.echo(f"{kind.capitalize()}")
        for name, text in rows:
            typer.echo(f"  {name:<{width}}  {text}")


def _listing(kind: str) -> list[tuple[str, str]]:
    from unsnarl import catalog

    if kind == "systems":
        learners = list(LEARNERS.items())
        return [(c.slug, f"{c.title} ({c.year})") for c in catalog.cards()] + learners
    if kind == "data":
        from unsnarl.data import data_sets

        return list(data_sets().items())
    if kind == "measures":
        return list(MEASURES.items())
    return [(slug, c.title) for c in catalog.cards() if c.claim for slug in (c.slug, *c.further_claims)]


LEARNERS = {
    "ae": "autoencoder",
    "vae": "variational autoencoder",
    "betavae": "beta-VAE",
    "betatcvae": "beta-TCVAE",
    "factorvae": "FactorVAE",
    "bioae": "biologically constrained autoencoder",
    "vqvae": "vector-quantized autoencoder",
    "infowgangp": "InfoWGAN-GP",
    "quantizedinfowgangp": "InfoWGAN-GP with quantized latents",
}
MEASURES = {
    "infomec": "modularity, explicitness, compactness from mutual information (Hsu et al. 2023)",
    "dci": "disentanglement, completeness, informativeness (Eastwood & Williams 2018)",
    "mutual_information_gap": "MIG (Chen et al. 2018)",
    "sap": "separated attribute predictability (Kumar et al. 2018)",
    "modularity_explicitness": "Ridgeway & Mozer 2018",
    "beta_vae_score": "Higgins et al. 2017",
    "factor_vae_score": "Kim & Mnih 2018",
    "irs": "interventional robustness (Suter et al. 2019)",
    "active_variables": "active, mixed and passive latents (Bonheme & Grzes 2023); needs --logvar",
}


@app.command()
def show(name: Annotated[str, typer.Argument(help="A system's slug, as `unsnarl list systems` prints it.")]) -> None:
    """Show one system: paper, idea, where it is, what was claimed and how that came out."""
    from unsnarl import catalog

    card = catalog.card(name)
    for label, value in (
        ("System", f"{card.title} ({card.slug})"),
        ("Paper", f"arXiv {card.arxiv}, {card.year}"),
        ("Family", card.family),
        ("Install", f"pip install 'unsnarl[{card.extra}]'" if card.extra else "part of the core"),
        ("In code", card.entry_point),
        ("Idea", card.summary),
        ("Claim", "; ".join(f"unsnarl claim {s}" for s in (card.slug, *card.further_claims)) if card.claim else "none"),
    ):
        typer.echo(f"{label + ':':<10}{value}")


@app.command()
def measure(
    codes: Annotated[Path, typer.Argument(help="Codes, one row an observation: .npy, .npz, .csv, .tsv, .parquet.")],
    factors: Annotated[Path, typer.Option(help="Factors, one named column each: .csv, .tsv, .parquet, .npz, .npy.")],
    to: Annotated[Path | None, typer.Option(help="Write an HTML report here.")] = None,
    json_to: Annotated[Path | None, typer.Option("--json", help="Write all numbers as JSON here.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="A measure to run (repeatable); all when left out.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="NAME=discrete or NAME=continuous, to override what was inferred.")
    ] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="A factor to ignore (repeatable).")] = None,
    factor_bins: Annotated[
        int | None, typer.Option(help="Cut continuous factors into this many bins for measures that need it.")
    ] = None,
    discrete: Annotated[
        bool | None, typer.Option("--discrete/--continuous", help="Whether codes are categories; inferred otherwise.")
    ] = None,
    logvar: Annotated[
        Path | None, typer.Option(help="Log-variances of a Gaussian encoder, same shape as the codes.")
    ] = None,
    missing: Annotated[str, typer.Option(help="raise, or drop the rows in which a factor is missing.")] = "raise",
    key: Annotated[str | None, typer.Option(help="Which array of an .npz of codes.")] = None,
    bootstrap: Bootstrap = None,
    baseline: Annotated[bool, typer.Option(help="Also score shuffled codes: the chance level.")] = False,
    seed: Seed = 0,
) -> None:
    """Score codes that you already have against factors that you already know."""
    from unsnarl.arrays import check_same_length
    from unsnarl.data import read_codes, read_factors

    _writable(to, json_to)
    if missing not in ("raise", "drop"):
        raise OptionError(f"--missing {missing!r} is not allowed; choose raise or drop")
    kinds = dict(_pair(text, "--kind") for text in kind or []) or None
    table = read_factors(factors, kinds=kinds, missing="keep" if missing == "drop" else "raise")
    values, names = read_codes(codes, key=key)
    check_same_length(**{codes.name: values, factors.name: table})
    variances = None if logvar is None else read_codes(logvar)[0]
    if leave_out:
        table.select(leave_out)  # complains about unknown names
        table = table.select([n for n in table.names if n not in leave_out])
    if missing == "drop":
        table, keep = table.without_missing()
        values = values[keep]
        variances = None if variances is None else variances[keep]
    table.require_varying()
    report = _measured(
        values,
        table,
        bootstrap,
        names=only or None,
        discrete=discrete,
        factor_bins=factor_bins,
        latent_names=names,
        seed=seed,
        logvar=variances,
        baseline=baseline,
    )
    if json_to is not None:
        _write_json(json_to, report.to_dict())
    if to is not None:
        from unsnarl.report import write_report

        write_report(scores=report, to=to, title=f"What is in {codes.name}", command=_command())
        typer.echo(f"\nReport: {to}")


@app.command()
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
    """Train a learner on data, measure it and write a report."""
    learner = _learner(system)
    options = {name: _value(text) for name, text in (_pair(t, "--data-option") for t in data_option or [])}
    if size is not None:
        options["size"] = size
    params = {name: _value(text) for name, text in (_pair(t, "--set") for t in set_ or [])}
    folder = out or Path("runs") / f"{system.lower()}-{Path(data).stem}"
    _train_and_report(
        learner, data, options, params, folder, steps, seed, folder / "report.html", bootstrap, resume, _command()
    )


@app.command()
def demo(
    to: Annotated[Path, typer.Option(help="The report to write.")] = Path("report.html"),
    steps: Annotated[int, typer.Option(help="Gradient steps.")] = 5000,
    seed: Seed = 0,
) -> None:
    """Train QLAE on rendered rooms, measure it and write a report: the library in a few minutes."""
    from unsnarl.systems.latents import QLAE

    _writable(to)
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

    _writable(to if to.parent != folder else None)
    try:
        model = learner(**params, seed=seed)
    except TypeError:
        known = sorted(learner().get_params())
        unknown = [name for name in params if name not in known]
        if not unknown:
            raise
        raise UnknownNameError("hyperparameter", unknown[0], known) from None
    observations = load(data, **options)
    model.fit(observations.train, steps=steps, run=folder, resume=resume, progress=True, checkpoint_every=500)
    test = observations.test
    scores = None
    if test.table is not None:
        typer.echo("Measuring.")
        keep = slice(0, rows)
        codes = model.transform(test)[keep]
        scores = _measured(codes, test.table.rows(keep), bootstrap, seed=seed)
    write_report(model, test, scores, to=to, command=command)
    typer.echo(f"\nReport: {to}")


@app.command()
def claim(
    slug: Annotated[str, typer.Argument(help="A system's slug; `unsnarl list claims`.")],
    seeds: Annotated[int, typer.Option(help="Number of seeds.")] = 5,
    engine: Annotated[str, typer.Option(help="local, processes, ray or dask.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Processes at once; as many as cores when left out.")] = None,
    tune: Annotated[bool, typer.Option(help="Choose hyperparameters anew, on seeds the claim does not use.")] = True,
    quick: Annotated[bool, typer.Option(help="A smoke test at a small scale; nothing is recorded.")] = False,
    runs: Annotated[Path, typer.Option(help="Folder of resumable runs.")] = Path("runs"),
    records: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("docs/claims"),
) -> None:
    """Run a published claim again, with error bars, and record what comes out."""
    from unsnarl.claims import read_record, run_claim, write_record
    from unsnarl.report import claims_index, write_claim_page

    record = run_claim(
        slug, seeds=seeds, engine=engine, workers=workers, tune=tune, quick=quick, runs=runs, records=records
    )
    for row in record["rows"]:
        d = row["difference"]
        interval = "" if d["low"] is None else f" [{d['low']:.3g}, {d['high']:.3g}]"
        typer.echo(f"{row['name']}: {row['metric']} {d['mean']:+.3g}{interval}: {row['verdict']}")
    if not quick:
        path = write_record(record, records)
        page = path.with_suffix(".html")
        write_claim_page(record, page)
        claims_index([read_record(found) for found in sorted(records.glob("*.json"))], records / "index.html")
        typer.echo(f"\nRecord: {path}\nPage:   {page}")


@app.command()
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

    _writable(to)
    config = run_folder / "config.json"
    try:
        system = json.loads(config.read_text(encoding="utf-8"))["system"]
    except (OSError, ValueError, KeyError, TypeError):
        raise FileError(f"{run_folder} holds no saved model (no readable config.json)") from None
    options = {name: _value(text) for name, text in (_pair(t, "--data-option") for t in data_option or [])}
    if size is not None:
        options["size"] = size
    model = _learner(system).from_pretrained(str(run_folder))
    write_report(model, load(data, **options).test, to=to, command=_command())
    typer.echo(f"Report: {to}")


def _learner(name: str) -> Any:
    from unsnarl.systems import latents

    known = {n.lower(): n for n in latents.__all__ if n != "LatentLearner"}
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in known:
        raise UnknownNameError("learner", name, sorted(known))
    return getattr(latents, known[plain])


def _pair(text: str, option: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise OptionError(f"{option} {text!r} must have the form NAME=VALUE")
    return name.strip(), value.strip()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def _writable(*paths: Path | None) -> None:
    """Complain about a place that cannot be written before the long work, not after."""
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            raise FileError(f"{path} is a directory; name a file in it, such as {path / 'report.html'}")
        if not path.parent.is_dir():
            raise FileError(f"the directory {path.parent} does not exist; make it first")


def _write_json(path: Path, value: Any) -> None:
    from unsnarl.files import atomic_write

    with atomic_write(path, "w") as file:
        file.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _tell(measure: str, done: float, total: int) -> None:
    """Which measure is at work, on a terminal."""
    if sys.stderr.isatty():
        text = f"measuring: {measure}, {100 * done / total:.0f}% done" if done < total else ""
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _measured(codes: Any, table: Any, bootstrap: int | None, **options: Any) -> Any:
    """Scores, printed; with intervals as far as a minute allows when `bootstrap` is None."""
    from time import monotonic

    from unsnarl.measures import measure as measure_all

    began = monotonic()
    report = measure_all(codes, table, bootstrap=bootstrap or 0, progress=_tell, **options)
    advice = ""
    if bootstrap is None:
        seconds = monotonic() - began
        affordable = min(200, int(60 / (0.5 * seconds)))
        if affordable >= 20:
            report = measure_all(codes, table, bootstrap=affordable, progress=_tell, **options)
        else:
            minutes = 20 * 0.5 * seconds / 60
            advice = f"\nFor 95% intervals add --bootstrap 20 (about {minutes:.0f} minutes)."
    _print_scores(report)
    if advice:
        typer.echo(advice)
    return report


def _command() -> str:
    import shlex

    return "unsnarl " + " ".join(shlex.quote(word) for word in sys.argv[1:])


def _print_scores(report: Any) -> None:
    """The finding, then the table of numbers."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print()
    for sentence in report.finding:
        console.print(escape(sentence))
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns: tuple[str, ...] = ("measure", "score", "value", "95% interval", "what it means")
    columns = columns if console.width >= 110 else columns[:4]
    for name in columns:
        table.add_column(name, overflow="fold")
    frame = report.table()
    for row in frame[frame["value"].notna()].to_dict("records"):
        interval = "" if isnan(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}"
        cells = (row["measure"], row["score"], f"{row['value']:.3f}", interval, row["meaning"])
        table.add_row(*(escape(str(c)) for c in cells[: len(columns)]))
    console.print(table)
    for name, reason in report.skipped.items():
        reason = reason.replace("factor_bins=10", "--factor-bins 10").replace("kinds=", "--kind NAME=discrete")
        console.print(escape(f"{name} was left out: {reason}"))
