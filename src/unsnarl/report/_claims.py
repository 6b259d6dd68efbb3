"""The outcome of a claim as a page, and the list of all claims."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unsnarl.claims._record import DECIDING
from unsnarl.claims._statistics import VERDICTS, overall, paired_gains
from unsnarl.errors import DataError, FileError
from unsnarl.files import check_readable
from unsnarl.report import _pairs
from unsnarl.report._page import check_target, data_uri, picture, write_page
from unsnarl.report._pairs import ClaimRow
from unsnarl.report._style import number

RULE = (
    "Each claim pits a system against its tuned baseline on the same data with the same budget, paired over seeds. It "
    "holds only when its gains pass the minimum effects that were stated beforehand, by the rule its page names."
)
CAPTION = (
    "Each line is a seed, each thick stroke a mean. At the right the mean gain with its 95% interval; the dashed line is the "
    "minimum effect."
)
PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}


def write_claim_page(record: Mapping[str, Any], to: Any, *, image: Any = None, alt: str | None = None) -> Path:
    """The page of one claim: the verdict in words, every seed as a line, all numbers, notes and versions.

    Args:
        record: the claim's JSON record: `slug`, `rows` and, where known, `title`, `statement`, `verdict`, `notes`,
            `machine`, `versions`, `date`.
        to: the file to write; its folder must exist.
        image: path of a picture (PNG, JPEG, GIF, WebP or SVG) to put into the page.
        alt: that picture in words.

    Returns:
        The path of the file.

    Raises:
        DataError: the record lacks a key or its numbers do not fit together.
        FileError: the file cannot be written, or `image` is missing or not a picture.
    """
    target = check_target(to)
    rows = _rows(record)
    verdict = _verdict(record, rows)
    title = str(record.get("title") or record["slug"])
    shown = {"uri": _embedded(image), "alt": alt or f"A picture made by {title}"} if image is not None else None
    facts = [(k, v) for k, v in (("date", record.get("date")), ("machine", record.get("machine"))) if v]
    facts = [(name, _plain(value)) for name, value in facts]
    facts += [(str(k), str(v)) for k, v in dict(record.get("versions") or {}).items()]
    return write_page(
        "claim.html",
        target,
        eyebrow="unsnarl claim",
        title=title,
        meta=[str(m) for m in (record["slug"] if title != record["slug"] else "", record.get("date")) if m],
        lead=_lead(verdict, rows),
        statement=str(record.get("statement") or ""),
        image=shown,
        rows=[_row_content(row) for row in rows],
        notes=_paragraphs(record.get("notes")),
        facts=facts,
        settings=[(str(k), _plain(v)) for k, v in dict(record.get("settings") or {}).items()],
        tuning=[_tuning(entry) for entry in record.get("tuning") or []],
    )


def claims_index(records: Iterable[Any], to: Any) -> Path:
    """One page that lists claims with their verdicts; each links to `<slug>.html` beside it.

    Args:
        records: claim records.
        to: the file to write; its folder must exist.

    Returns:
        The path of the file.

    Raises:
        DataError: a record lacks a key, or there is none.
        FileError: the file cannot be written.
    """
    target = check_target(to)
    claims: list[dict[str, Any]] = []
    for record in records:
        rows = _rows(record)
        central = [r for r, raw in zip(rows, record["rows"], strict=True) if raw.get("role", "central") == "central"]
        slug = str(record["slug"])
        claims.append(
            {
                "title": str(record.get("title") or slug),
                "link": f"{slug}.html" if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", slug) else "",
                "verdict": _verdict(record, rows),
                "lines": [
                    f"gain in {r.metric} {r.gain(r.mean)}"
                    + (f" [{r.gain(r.low)}, {r.gain(r.high)}]" if r.has_interval else "")
                    for r in central or rows
                ],
            }
        )
    if not claims:
        raise DataError("records is empty; there is no claim to list")
    counts = {verdict: sum(c["verdict"] == verdict for c in claims) for verdict in VERDICTS}
    return write_page(
        "claims.html",
        target,
        eyebrow="unsnarl claims",
        title="What was claimed, and what was measured",
        meta=[f"{len(claims):,} claim{'s' if len(claims) > 1 else ''}"],
        lead=_tally(counts, len(claims)),
        rule=RULE,
        claims=claims,
    )


def _rows(record: Any) -> list[ClaimRow]:
    if not isinstance(record, Mapping):
        raise DataError(f"a claim record must be a mapping, got {type(record).__name__}")
    for key in ("slug", "rows"):
        if not record.get(key):
            raise DataError(f"the claim record has no {key!r}")
    return [ClaimRow.of(row, f"row {i}") for i, row in enumerate(record["rows"])]


def _verdict(record: Mapping[str, Any], rows: list[ClaimRow]) -> str:
    """The record's own verdict, else that of its deciding rows together."""
    own = str(record.get("verdict") or "")
    if own in VERDICTS:
        return own
    roles = [raw.get("role", "central") for raw in record["rows"]]
    deciding = [row.verdict for row, role in zip(rows, roles, strict=True) if role in DECIDING]
    return overall(deciding or [row.verdict for row in rows])


def _lead(verdict: str, rows: list[ClaimRow]) -> str:
    start = {
        "holds": "The claim holds.",
        "does not hold": "The claim does not hold.",
        "inconclusive": "The claim is neither confirmed nor refuted.",
    }[verdict]
    first = next((r for r in rows if r.verdict == verdict), rows[0])
    return f"{start} {first.sentence()}"


def _tally(counts: Mapping[str, int], total: int) -> str:
    lines = [f"{counts['holds']:,} of {total:,} claim{'s' if total > 1 else ''} hold{'s' if total == 1 else ''}"]
    if counts["does not hold"]:
        lines.append(f"{counts['does not hold']:,} do{'es' if counts['does not hold'] == 1 else ''} not")
    if counts["inconclusive"]:
        lines.append(f"{counts['inconclusive']:,} {'is' if counts['inconclusive'] == 1 else 'are'} inconclusive")
    return (", ".join(lines[:-1]) + " and " + lines[-1] if len(lines) > 1 else lines[0]) + "."


def _row_content(row: ClaimRow) -> dict[str, Any]:
    compare = "relative" if row.relative else "difference"
    gains = paired_gains(row.system, row.baseline, higher_is_better=row.higher_is_better, compare=compare).tolist()
    means = [float(np.mean(values)) for values in (row.baseline, row.system)]
    drawn = any(np.isfinite([*row.system, *row.baseline])) and np.isfinite(row.mean)
    return {
        "name": row.name,
        "metric": row.metric,
        "verdict": row.verdict,
        "beside": row.role not in DECIDING,
        "arms": (row.baseline_name, row.system_name),
        "sentence": row.sentence(),
        "better": "higher is better" if row.higher_is_better else "lower is better",
        "minimum": row.gain(row.minimum_effect),
        "rule": row.rule,
        "seeds": [
            (str(seed), number(b), number(s), row.gain(g))
            for seed, b, s, g in zip(row.seeds, row.baseline, row.system, gains, strict=True)
        ],
        "means": [number(means[0]), number(means[1]), row.gain(row.mean)],
        "interval": f"[{row.gain(row.low)}, {row.gain(row.high)}]" if row.has_interval else "no interval",
        "picture": picture(lambda width: _pairs.draw(row, width), _pairs.describe(row), CAPTION) if drawn else None,
    }


def _paragraphs(notes: Any) -> list[str]:
    lines = [notes] if isinstance(notes, str) else [str(n) for n in notes or []]
    return [part.strip() for line in lines for part in line.split("\n") if part.strip()]


def _tuning(entry: Mapping[str, Any]) -> tuple[str, str]:
    """What was chosen for an arm, and out of how many."""
    chosen = _plain(entry.get("chosen")) if entry.get("chosen") else "nothing: no setting gave a number"
    tried, seeds = len(entry.get("tried") or []), len(entry.get("seeds") or [])
    how = (
        f", the best of {tried:,} setting{'s' if tried != 1 else ''} on {seeds:,} other seed{'s' if seeds != 1 else ''}"
    )
    return str(entry.get("arm", "")), chosen + (how if tried else "")


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)


def _embedded(path: Any) -> str:
    content = check_readable(path).read_bytes()
    for start, kind in PICTURES.items():
        if content.startswith(start):
            return data_uri(content, kind)
    if re.match(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg\b", content, re.DOTALL):
        return data_uri(content, "image/svg+xml")  # inside <img>, where no browser runs a script of it
    raise FileError(f"image={path} is not a PNG, JPEG, GIF, WebP or SVG picture")
