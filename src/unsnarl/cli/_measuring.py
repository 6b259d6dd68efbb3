"""Scores of codes against factors, printed and reported."""

from __future__ import annotations

import sys
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from unsnarl.cli._words import Bootstrap, Seed, check_writable, command_line, pair, write_json
from unsnarl.errors import OptionError


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

    check_writable(to, json_to)
    if missing not in ("raise", "drop"):
        raise OptionError(f"--missing {missing!r} is not allowed; choose raise or drop")
    kinds = dict(pair(text, "--kind") for text in kind or []) or None
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
    report = measured(
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
        write_json(json_to, report.to_dict())
    if to is not None:
        from unsnarl.report import write_report

        write_report(scores=report, to=to, title=f"What is in {codes.name}", command=command_line())
        typer.echo(f"\nReport: {to}")


def _tell(measure: str, done: float, total: int) -> None:
    """Which measure is at work, on a terminal."""
    if sys.stderr.isatty():
        text = f"measuring: {measure}, {100 * done / total:.0f}% done" if done < total else ""
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def measured(codes: Any, table: Any, bootstrap: int | None, **options: Any) -> Any:
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
    print_scores(report)
    if advice:
        typer.echo(advice)
    return report


def print_scores(report: Any) -> None:
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
