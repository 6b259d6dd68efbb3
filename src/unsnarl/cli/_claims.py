"""Published claims, run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


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
