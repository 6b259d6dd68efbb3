"""Files in the order of the structure that a learner of bounded compute finds in them."""

from __future__ import annotations

import gzip
import math
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.epiplexity._estimate import estimate_epiplexity
from unsnarl.measures.epiplexity._frontier import Epiplexity, EpiplexityFrontier, common_budget
from unsnarl.measures.epiplexity._prequential import FEWEST_POINTS
from unsnarl.measures.epiplexity._sources import BYTES, read_tokens
from unsnarl.measures.epiplexity._tokens import TokenRows

SIZES = ((1, 32), (2, 64))
TOKENS, CONTEXT = 1_000_000, 64
_STEPS_AIMED_AT = 500  # a small set teaches more in many steps of few rows; but drawing few rows at a time takes long
_SMALLEST_BATCH, _LARGEST_BATCH = 8, 64


@dataclass(frozen=True, eq=False)
class EpiplexityRanking:
    """Data sets, the one with the most structure first.

    Attributes:
        frontiers: name -> frontier, most structure first.
        budget: the compute at which they are compared, floating-point operations.
        compressed: name -> what gzip makes of the data, bits a token.
        settings: the options that decide the numbers.
    """

    frontiers: dict[str, EpiplexityFrontier]
    budget: float
    compressed: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def at_budget(self) -> dict[str, Epiplexity]:
        """Name -> structure and randomness at the common budget."""
        return {name: frontier.at(self.budget) for name, frontier in self.frontiers.items()}

    def table(self) -> pd.DataFrame:
        """One row a set, most structure first.

        Columns: `data`; `S`, bits of structure; `H`, bits a token that stay unpredictable; `K`, bits of both together
        in all test tokens; `layers`, `width`, `step` of the best program; `loss`, the lowest held-out loss of any
        program (bits a token); `gzip`, bits a token; `lower_bound`, whether S is only that.
        """
        rows = []
        for name, found in self.at_budget().items():
            rows.append(
                {
                    "data": name,
                    "S": found.S,
                    "H": found.H_per_token,
                    "K": found.K,
                    "layers": found.size[0],
                    "width": found.size[1],
                    "step": found.step,
                    "loss": float(self.frontiers[name].points["loss"].min()),
                    "gzip": self.compressed.get(name, math.nan),
                    "lower_bound": found.lower_bound,
                }
            )
        return pd.DataFrame(rows)

    @property
    def finding(self) -> list[str]:
        """Sentences in plain language, the clearest first."""
        found = self.at_budget()
        (first, best), *others = found.items()
        sentences = []
        if not others:
            sentences.append(f"{first} has {bits(best.S)} of structure for this budget.")
        else:
            second, next_best = others[0]
            times = f", {best.S / next_best.S:.2g} times as much as {second}" if next_best.S > 0 else f", then {second}"
            sentences.append(f"{first} has the most structure for this budget: {bits(best.S)}{times}.")
        sentences += [
            f"{name}: {bits(one.S)} of structure, and {one.H_per_token:.3g} bits a token that stay unpredictable."
            for name, one in found.items()
        ]
        largest = max(self.compressed, key=lambda name: self.compressed[name], default=first)
        if others and largest != first:
            sentences.append(f"gzip leaves {largest} the largest, which measures randomness rather than structure.")
        weak = [name for name, one in found.items() if one.lower_bound]
        if weak:
            sentences.append(
                f"The curve of {', '.join(weak)} ends before its plateau, so S is a lower bound there: more data or more "
                "steps would find more."
            )
        return sentences

    def plot(self, *, width: float = 9.0) -> Any:
        """K, S and H of all sets over compute; a matplotlib figure."""
        from matplotlib.figure import Figure

        from unsnarl.measures.epiplexity._plot import draw_frontiers

        figure = Figure(figsize=(width, 0.42 * width), layout="constrained")
        draw_frontiers(figure, list(self.frontiers.values()))
        return figure

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values; what is not finite becomes None."""
        rows = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
            for row in self.table().to_dict("records")
        ]
        return {"budget": self.budget, "finding": self.finding, "ranking": rows, "settings": self.settings}


def rank_files(
    paths: Sequence[str | os.PathLike[str]] | Any,
    *,
    sizes: Sequence[tuple[int, int]] | Any = SIZES,
    steps: int | None = None,
    method: str = "requential",
    test_tokens: float | None = None,
    context: int = CONTEXT,
    tokenizer: Any = BYTES,
    color: bool = False,
    tokens: int = TOKENS,
    batch_size: int | None = None,
    seed: int = 0,
    run: str | os.PathLike[str] | None = None,
    progress: bool = True,
    on_step: Callable[[int, int], None] | None = None,
    **options: Any,
) -> EpiplexityRanking:
    """Rank files by the structure that learners of one common compute budget find in them.

    All files are measured alike: the same networks, rows a step, steps and test tokens; the shortest file decides how
    many steps there are. See `estimate_epiplexity` for what is measured.

    Args:
        paths: text (or any file, read as bytes), token arrays (.npy, .npz), images or folders of images (bytes of
            their pixels).
        sizes: (layers, width) of each network.
        steps: steps of each network; by default as many as the shortest file allows in one pass.
        method: "requential", or "prequential", which takes a third of the time or less.
        test_tokens: how many tokens each program is to describe; by default as many as it is trained on.
        context: tokens in a row.
        tokenizer: of text: "bytes", or a name, folder or object as transformers has them.
        color: images in colour rather than grey.
        tokens: read no more than so many tokens of a file.
        batch_size: rows a step; by default 8 to 64, so that there are some 500 steps.
        seed: of everything random.
        run: folder in which every network is logged, and resumed after an interruption.
        progress: show progress on stderr.
        on_step: called with the steps done and their number, over all files.
        **options: further options of `estimate_epiplexity`.

    Returns:
        The ranking, most structure first.

    Raises:
        FileError: a file is missing, empty, damaged.
        DataError: a file too short for 50 steps, or files whose tokens are of different kinds.
        OptionError: no file, the same twice, or an option out of range.
        MissingExtraError: a tokenizer by name without transformers.

    Warns:
        EstimatorWarning: token arrays whose largest tokens differ more than twofold.

    Cost: that of `estimate_epiplexity` for every file and size; about three minutes a file of 1 MB with the defaults
    on one core of a laptop, half a minute with "prequential".
    """
    check_choice(method, ("requential", "prequential"), "method")
    check_range(tokens, "tokens", low=2, integer=True)
    names = _names(paths)
    sets = [read_tokens(path, context=context, tokenizer=tokenizer, color=color, limit=int(tokens)) for path in paths]
    sets = _alike(sets)
    fewest = min(sets, key=lambda s: s.training_rows())
    if batch_size is None:
        aimed = fewest.training_rows() / _STEPS_AIMED_AT
        batch_size = int(np.clip(2 ** round(math.log2(max(aimed, 1))), _SMALLEST_BATCH, _LARGEST_BATCH))
    check_range(batch_size, "batch_size", low=1, integer=True)
    most = int(fewest.training_rows() // batch_size)
    if most < FEWEST_POINTS:
        raise DataError(
            f"{fewest.name} has {fewest.count:,.0f} rows of {fewest.length} tokens, enough for {most} steps of {batch_size}; "
            f"at least {FEWEST_POINTS} are needed: give a longer file, or a smaller context= or batch_size="
        )
    steps = most if steps is None else steps
    if test_tokens is None:
        test_tokens = float(min(s.scored_per_row for s in sets) * batch_size * steps)
    frontiers: dict[str, EpiplexityFrontier] = {}
    compressed: dict[str, float] = {}
    for place, (name, data) in enumerate(zip(names, sets, strict=True)):

        def tell(done: int, of: int, place: int = place) -> None:
            if on_step is not None:
                on_step(place * of + done, len(sets) * of)

        folder = None if run is None else Path(run) / f"{_plain(name)}-{data.digest()[:8]}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EstimatorWarning)  # the ranking says it once, for all files
            frontiers[name] = estimate_epiplexity(
                _renamed(data, name),
                sizes,
                steps,
                method=method,
                test_tokens=test_tokens,
                batch_size=batch_size,
                seed=seed,
                run=folder,
                progress=progress,
                on_step=tell,
                **options,
            )
        compressed[name] = _compressed(data)
    budget = common_budget(list(frontiers.values()))
    order = sorted(frontiers, key=lambda name: -frontiers[name].at(budget).S)
    settings = {"sizes": [list(s) for s in sizes], "steps": steps, "batch_size": batch_size, "method": method}
    settings |= {"context": context, "test_tokens": test_tokens, "vocabulary": sets[0].vocabulary, "seed": seed}
    return EpiplexityRanking({name: frontiers[name] for name in order}, budget, compressed, settings | options)


def bits(amount: float) -> str:
    """A number of bits for reading.

    >>> bits(950), bits(12_340), bits(-3.2e6)
    ('950 bits', '12.3 kilobits', '−3.2 megabits')
    """
    sign, size = "−" if amount < 0 else "", abs(amount)
    for limit, unit, name in ((1e9, 1e9, "gigabits"), (1e6, 1e6, "megabits"), (1e3, 1e3, "kilobits")):
        if size >= limit:
            return f"{sign}{size / unit:.3g} {name}"
    return f"{sign}{size:.3g} bits"


def _names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """A short name for each file; its whole path where two share one."""
    if isinstance(paths, str | os.PathLike) or not len(paths):
        raise OptionError(f"paths={paths!r} must be a list with at least one file")
    whole = [os.fspath(path) for path in paths]
    if len(set(whole)) < len(whole):
        twice = next(path for path in whole if whole.count(path) > 1)
        raise OptionError(f"paths names {twice} twice")
    short = [Path(path).name or path for path in whole]
    return [path if short.count(name) > 1 else name for name, path in zip(short, whole, strict=True)]


def _alike(sets: list[TokenRows]) -> list[TokenRows]:
    """Sets of one kind of token, for models of one vocabulary."""
    kinds = {data.unit: data.name for data in sets}
    if len(kinds) > 1:
        (one, first), (two, second), *_ = kinds.items()
        raise DataError(
            f"{first} is read as {one} but {second} as {two}, so their bits a token mean different things; "
            "rank files of one kind (text and images as bytes, or token arrays by one tokenizer)"
        )
    sizes = [data.vocabulary for data in sets]
    if max(sizes) > 2 * min(sizes):
        warnings.warn(
            f"the tokens go up to {min(sizes) - 1:,} in one file and {max(sizes) - 1:,} in another; structure compares only "
            "between files made by one tokenizer",
            EstimatorWarning,
            stacklevel=3,
        )
    return [data.with_vocabulary(max(sizes)) for data in sets]


def _renamed(data: TokenRows, name: str) -> TokenRows:
    from dataclasses import replace

    return replace(data, name=name)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[-40:] or "data"


def _compressed(data: TokenRows) -> float:
    """What gzip makes of the tokens, in bits a token."""
    assert data.rows is not None  # files have ends
    rows = data.rows.astype(np.uint8 if data.vocabulary <= 256 else "<u4")
    return 8.0 * len(gzip.compress(np.ascontiguousarray(rows).tobytes(), mtime=0)) / rows.size
