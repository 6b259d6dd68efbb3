"""The report on a model, a data set and scores: one page, with only the sections that its inputs allow."""

from __future__ import annotations

import importlib
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unsnarl.arrays import check_range, to_numpy
from unsnarl.errors import NotFittedError, OptionError, UnsnarlError
from unsnarl.report import _curves, _intervals
from unsnarl.report._grids import SHOWN, reconstruction, traversal
from unsnarl.report._heat_map import arrange, cell
from unsnarl.report._images import are_images, differences, png_bytes, reduced, tile, to_pixels
from unsnarl.report._origin import constructor_lines, environment, one_line, today, trained_lines
from unsnarl.report._page import Picture, check_target, data_uri, picture, write_page
from unsnarl.report._score_rows import Collected, collect
from unsnarl.report._style import clean, number, shade

MOST_TRAVERSALS = 24


def write_report(
    model: Any = None,
    data: Any = None,
    scores: Any = None,
    *,
    to: Any,
    title: str | None = None,
    command: str | None = None,
    seed: int = 0,
    measure_options: Mapping[str, Any] | None = None,
) -> Path:
    """Write one HTML file that says what was found, shows it, and tells how to get it again.

    The file holds everything it needs (no network), reads well on a phone, and follows the reader's light or dark mode.
    A section whose input is absent is left out; when the input is there but cannot be used, the page says why.
    `unsnarl.report(...)` is the same function.

    Args:
        model: a learner; `transform` gives the scores when none are passed, `traverse` the traversals, `reconstruct` the
            reconstructions, `history_` the training curves, `get_params` the configuration. What it lacks is left out.
        data: a `FactorDataset`, or observations alone.
        scores: a `MeasureReport`, `Scores`, a `Score`, or a dict of them by name. When absent, `unsnarl.measure` is run
            on the model's codes if the data has factors.
        to: the file to write. Its folder must exist; an old file is replaced only when the new one is complete.
        title: the heading; made from the model and the data when absent.
        command: the command or the lines of Python that led here, shown for copying; written from the model's
            parameters when absent.
        seed: chooses the observations that are shown.
        measure_options: keywords for `unsnarl.measure`, where it is run.

    Returns:
        The path of the file.

    Raises:
        OptionError: nothing to report on, or `to` is not a path.
        NotFittedError: the model has not learned anything yet.
        FileError: the file cannot be written; found out before any work where possible.

    Cost: one pass of the model over the data when scores are absent; else a few observations.
    """
    target = check_target(to)
    check_range(seed, "seed", low=0, integer=True)
    if model is None and data is None and scores is None:
        raise OptionError("a report needs a model, data or scores; all three are None")
    work = _Material(model, data, seed, measure_options or {})
    left_out: list[tuple[str, str]] = []
    found = _scores(work, scores, left_out)
    heat_maps = [] if found is None else [_heat_table(name, matrix) for name, matrix in found.matrices.items()]
    parts: dict[str, Any] = {
        "scores": None if found is None else _score_section(found),
        "heat_maps": heat_maps,
        "traversals": _attempt(_traversals, "Traversals", left_out, work, found),
        "reconstructions": _attempt(_reconstructions, "Reconstructions", left_out, work),
        "curves": _attempt(_training, "Training curves", left_out, work),
        "data": _attempt(_data_section, "The data", left_out, work),
    }
    names = {
        "scores": ("scores", "Scores"),
        "heat_maps": ("matrices", "Latents and factors"),
        "traversals": ("traversals", "Traversals"),
        "reconstructions": ("reconstructions", "Reconstructions"),
        "curves": ("training", "Training"),
        "data": ("data", "Data"),
    }
    sections = [names[key] for key, part in parts.items() if part]
    return write_page(
        "report.html",
        target,
        eyebrow="unsnarl report",
        title=title or _title(work, found),
        meta=_meta(work),
        finding=_finding(found, parts),
        sections=[*sections, ("reproduce", "Reproduce")],
        reproduce=_reproduce(work, found, command, scores is None),
        left_out=left_out,
        **parts,
    )


class _Material:
    """The model and the data, and what is asked of them more than once."""

    def __init__(self, model: Any, data: Any, seed: int, measure_options: Mapping[str, Any]):
        self.model, self.data, self.seed, self.measure_options = model, data, seed, measure_options
        self.observations = getattr(data, "observations", data)
        self.table = getattr(data, "table", None)
        self.count = 0 if data is None else len(data)

    def has(self, method: str) -> bool:
        return callable(getattr(self.model, method, None))

    @property
    def images(self) -> bool:
        return are_images(self.observations)

    def some(self, n: int) -> Any:
        """A few observations, spread over the data, the same for one seed."""
        rows = np.random.default_rng(self.seed).permutation(self.count)[:n]
        return self.observations[rows.tolist()]

    @property
    def factor_names(self) -> list[str] | None:
        return None if self.table is None else [str(n) for n in self.table.names]


def _attempt(section: Any, name: str, left_out: list[tuple[str, str]], *arguments: Any) -> Any:
    """A section, or None with the reason noted for the reader."""
    try:
        made = section(*arguments)
    except NotFittedError:
        raise
    except UnsnarlError as error:
        left_out.append((name, str(error)))
        return None
    if isinstance(made, str):  # a reason in words: the input is there, but not of a kind that can be shown
        left_out.append((name, made))
        return None
    return made


# ---- scores -----------------------------------------------------------------------------------------------------------


def _scores(work: _Material, scores: Any, left_out: list[tuple[str, str]]) -> Collected | None:
    if scores is not None:
        return collect(scores, work.factor_names)
    if work.model is None or work.data is None:
        return None
    if work.table is None:
        left_out.append(("Scores", "the data has no factors, and no scores were passed"))
        return None
    if not work.has("transform"):
        left_out.append(("Scores", f"{type(work.model).__name__} has no method transform"))
        return None
    measure = importlib.import_module("unsnarl.measures").measure
    return _attempt(
        lambda: collect(
            measure(work.model.transform(work.data), work.table, **work.measure_options), work.factor_names
        ),
        "Scores",
        left_out,
    )


def _score_section(found: Collected) -> dict[str, Any]:
    rows = [
        {
            "head": row.group if i == 0 or found.rows[i - 1].group != row.group else "",
            "score": row.score,
            "origin": row.origin,
            "chance": number(row.chance) if math.isfinite(row.chance) else "",
            "value": number(row.value) if math.isfinite(row.value) else "not defined",
            "interval": row.interval,
            "range": row.range,
            "meaning": _sentence(row.meaning),
        }
        for i, row in enumerate(found.rows)
    ]
    drawn, unit = _intervals.drawable(found.rows)
    shown: Picture | None = None
    if drawn:
        caption = "Dots are the scores on all observations"
        caption += ", bars their 95% intervals" if any(row.interval for row in drawn) else ""
        caption += ", upright strokes what codes with shuffled rows get" if any(row["chance"] for row in rows) else ""
        caption += "."
        if not any(row["interval"] for row in rows):
            caption += " No intervals were computed; the option bootstrap of unsnarl.measure gives them."
        off_scale = sum(math.isfinite(row.value) for row in found.rows) - len(drawn)
        if unit and off_scale:
            what = "numbers on other scales" if off_scale > 1 else "number on another scale"
            caption += f" {off_scale} {what} than 0 to 1: see the table."
        shown = picture(
            lambda width: _intervals.interval_plot(found, width=width),
            _intervals.describe(found.rows),
            caption,
        )
    return {
        "picture": shown,
        "rows": rows,
        "intervals": any(r["interval"] for r in rows),
        "ranges": any(r["range"] for r in rows),
        "chances": any(r["chance"] for r in rows),
        "meanings": any(r["meaning"] for r in rows),
        "skipped": found.skipped,
        "cautions": found.cautions,
    }


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".") if text else ""


def _heat_table(title: str, matrix: pd.DataFrame) -> dict[str, Any]:
    arranged = arrange(matrix, argument=f"the matrix {title}")
    values = arranged.matrix.to_numpy(np.float64)
    rows = [
        (str(name), [(cell(float(v)), shade(float(v), arranged.scale)) for v in line])
        for name, line in zip(arranged.matrix.index, values, strict=True)
    ]
    return {
        "title": title,
        "columns": [str(c) for c in arranged.matrix.columns],
        "rows": rows,
        "sentence": arranged.sentence(),
    }


# ---- pictures of the model --------------------------------------------------------------------------------------------


def _strip(label: str, pixels: np.ndarray, alt: str, *, note: str = "", columns: int = SHOWN) -> dict[str, Any]:
    sheet = tile(pixels, columns, fill=True)
    return {
        "label": label,
        "note": note,
        "alt": alt,
        "uri": data_uri(png_bytes(sheet), "image/png"),
        "width": sheet.shape[1],
        "height": sheet.shape[0],
        "small": max(pixels.shape[1:3]) <= 32,
    }


def _traversals(work: _Material, found: Collected | None) -> Any:
    if work.model is None or work.data is None:
        return None
    if not work.has("traverse"):
        return f"{type(work.model).__name__} has no method traverse"
    if not work.images:
        return "the observations are not images of one size"
    if not work.has("transform"):
        return f"{type(work.model).__name__} has no method transform, so its latents cannot be counted"
    codes = to_numpy(work.model.transform(work.some(256)), "codes").astype(np.float64)
    total = codes.shape[1]
    matrix = next((m for m in found.matrices.values() if len(m) == total), None) if found is not None else None
    order, notes = np.argsort(-codes.std(axis=0), kind="stable"), [""] * total
    if matrix is not None:
        entries = np.nan_to_num(np.abs(matrix.to_numpy(np.float64)))
        shown = arrange(pd.DataFrame(entries), limit=total).matrix
        order = np.asarray(shown.index)
        for i in range(total):
            best = int(entries[i].argmax())
            notes[i] = (
                f"{clean(matrix.columns[best])} {cell(float(entries[i, best]))}" if entries[i, best] >= 0.005 else ""
            )
    strongest = order if matrix is None else np.argsort(-np.nan_to_num(entries).max(axis=1), kind="stable")
    kept = set(strongest[:MOST_TRAVERSALS].tolist())
    image = work.some(1)[0]
    strips = []
    for latent in (int(i) for i in order if int(i) in kept):
        alt = f"The model's output as latent {latent} alone runs from low to high" + (
            f"; its strongest factor is {notes[latent]}" if notes[latent] else ""
        )
        name = f"latent {latent}" if matrix is None else str(matrix.index[latent])
        strips.append(_strip(name, traversal(work.model, image, latent), alt, note=notes[latent]))
    sentence = "Each row is the model's output as one latent runs from low to high while the others stay as they are"
    if matrix is not None:
        sentence += "; beside its name, the factor it carries most"
    if total > len(strips):
        sentence += (
            f". The {len(strips)} most {'informative' if matrix is not None else 'varying'} of {total:,} latents"
        )
    return {"sentence": sentence + ".", "strips": strips}


def _reconstructions(work: _Material) -> Any:
    if work.model is None or work.data is None:
        return None
    if not work.has("reconstruct"):
        return f"{type(work.model).__name__} has no method reconstruct"
    if not work.images:
        return "the observations are not images of one size"
    inputs, outputs = reconstruction(work.model, work.some(SHOWN))
    gap, gain, mean = differences(inputs, outputs)
    brighter = f"brightened {gain:.2g} times" if gain > 1 else ""
    n = len(inputs)
    return {
        "sentence": f"On these {n} observations a pixel is off by {100 * mean:.2g}% of the full range on average.",
        "error": mean,
        "strips": [
            _strip("Input", inputs, f"{n} observations of the data"),
            _strip("Output", outputs, "What the model makes of each of them"),
            _strip("Difference", gap, "Where input and output differ; black means not at all", note=brighter),
        ],
    }


def _training(work: _Material) -> Any:
    history = getattr(work.model, "history_", None)
    if history is None:
        return None
    if not _curves.curve_columns(history)[1]:
        return "the history holds no number that was logged twice"
    return picture(
        lambda width: _curves.training_curves(history, width=width),
        _curves.describe(history),
        "At the right of each panel, the last value.",
    )


def _data_section(work: _Material) -> Any:
    if work.data is None:
        return None
    table = work.table
    shape = tuple(getattr(work.observations, "shape", ()))[1:]
    kind = f"of shape {' × '.join(str(s) for s in shape)}" if shape else ""
    sentence = f"{work.count:,} observations {kind}".strip() + (
        f" with {len(table.names)} factor{'s' if len(table.names) != 1 else ''}." if table is not None else "."
    )
    sheet = None
    if work.images:
        shown = reduced(to_pixels(work.some(2 * SHOWN), "observations"))
        sheet = _strip("A few of them", shown, f"{len(shown)} observations drawn at random")
    factors = [] if table is None else [_factor_row(table, name) for name in table.names]
    return {"sentence": sentence, "sheet": sheet, "factors": factors}


def _factor_row(table: Any, name: str) -> dict[str, str]:
    if table.kinds[name] == "discrete":
        levels = [v.item() if hasattr(v, "item") else v for v in table.levels[name]]
        texts = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in levels]
        listed = ", ".join(texts[:8]) + (f", … ({len(texts):,} values)" if len(texts) > 8 else "")
    else:
        column = table.column(name)
        listed = f"{number(float(np.nanmin(column)))} to {number(float(np.nanmax(column)))}"
    return {"name": name, "kind": table.kinds[name], "listed": listed}


# ---- words ------------------------------------------------------------------------------------------------------------


def _finding(found: Collected | None, parts: Mapping[str, Any]) -> list[str]:
    lines = [] if found is None else list(found.finding)
    rebuilt = parts["reconstructions"]
    if rebuilt:
        lines.append(f"A reconstructed pixel is off by {100 * rebuilt['error']:.2g}% of the full range on average.")
    if not lines and parts["data"]:
        lines.append(parts["data"]["sentence"])
    return lines


def _title(work: _Material, found: Collected | None) -> str:
    name = "" if work.model is None else type(work.model).__name__
    where = _data_name(work)
    if name and where:
        return f"{name} on {where}"
    return name or where or ("Scores" if found is not None else "Report")


def _data_name(work: _Material) -> str:
    kind = type(work.data).__name__ if work.data is not None else ""
    return "" if kind in ("", "Tensor", "ndarray", "FactorDataset", "list") else kind


def _meta(work: _Material) -> list[str]:
    meta = []
    if work.count:
        meta.append(f"{work.count:,} observations")
    if work.table is not None:
        meta.append(f"{len(work.table.names)} factor{'s' if len(work.table.names) != 1 else ''}")
    return [*meta, today()]


def _reproduce(work: _Material, found: Collected | None, command: str | None, measured: bool) -> dict[str, Any]:
    params = work.model.get_params() if work.has("get_params") else {}
    lines: list[str] = []
    if command is not None:
        lines.append(command.strip())
    else:
        lines.append("import unsnarl")
        if work.model is not None:
            lines += [*constructor_lines(work.model, params), *trained_lines(work.model)]
        if work.data is not None:
            what = one_line(work.data) if work.table is not None else f"{work.count:,} observations"
            lines += textwrap.wrap(f"data = ...  # {what}", 76, subsequent_indent="#   ", break_on_hyphens=False)
        arguments = [a for a, part in (("model", work.model), ("data", work.data)) if part is not None]
        if found is not None and measured:
            options = "".join(f", {k}={one_line(v)}" for k, v in work.measure_options.items())
            lines.append(f"scores = unsnarl.measure(model.transform(data), data.factors{options})")
        named = ", ".join([*arguments, *(["scores"] if found is not None and "data" in arguments else [])])
        if found is not None and "data" not in arguments:
            named = ", ".join([*arguments, "scores=scores"])
        lines.append(f'unsnarl.report({named}, to="report.html")')
    seed = next((params[k] for k in ("seed", "random_state") if k in params), None)
    told = {} if seed is None else {"seed": seed}
    return {"text": "\n".join(clean(line) for line in lines), "facts": environment(told)}
