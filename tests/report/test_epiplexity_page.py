"""The page of an epiplexity ranking."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_fakes import EVIL, Parsed, embedded

from unsnarl.errors import FileError, OptionError
from unsnarl.measures.epiplexity import EpiplexityFrontier, EpiplexityRanking
from unsnarl.report._epiplexity import draw, write_epiplexity_page


def frontier(name: str, structure: float, *, early: bool = False) -> EpiplexityFrontier:
    step = np.arange(1, 61)
    learned = step / 60 if early else 1 - np.exp(-step / 8)
    rows = []
    for width in (32, 64):
        s, h = structure * learned * width / 64, 80_000 - 50_000 * learned
        rows.append(
            pd.DataFrame(
                {
                    "layers": 1 + (width > 32), "width": width, "parameters": width * 100, "step": step, "tokens": step * 100,
                    "compute": width * 1e6 * (10.0 + step), "S": s, "H": h, "K": s + h, "loss": h / 1e4, "train_loss": h / 1e4,
                }
            )
        )  # fmt: skip
    points = pd.concat(rows, ignore_index=True)
    return EpiplexityFrontier.of(
        points, tolerance=0.02, method="requential", test_tokens=1e4, vocabulary=256, unit="bytes", name=name
    )


def ranking(*names: str) -> EpiplexityRanking:
    found = {name: frontier(name, 20_000 / (i + 1), early=i == 1) for i, name in enumerate(names)}
    budget = min(f.largest_budget for f in found.values())
    gzip = {name: 2.0 + i for i, name in enumerate(names)}
    return EpiplexityRanking(found, budget, gzip, {"steps": 60, "test_tokens": 1e4, "sizes": [[1, 32], [2, 64]]})


def test_the_page_says_who_has_the_most_structure(page):
    assert write_epiplexity_page(ranking("stories.txt", "code.py"), page) == page
    got = Parsed(page)
    finding = got.text[got.text.index("In short") :]
    assert finding.startswith("In short stories.txt has the most structure for this budget: ")
    assert "gzip leaves code.py the largest" in got.text
    assert "The curve of code.py ends before its plateau" in got.text
    assert "at least" in got.text
    assert "steps 60" in got.text
    assert "1 x 32, 2 x 64" in got.text
    assert len(embedded(got, "image/svg+xml")) == 4
    alt = got.all("img")[0]["alt"]
    assert "stories.txt ends at" in alt
    assert "kilobits of structure" in alt


def test_the_page_of_one_frontier(page):
    write_epiplexity_page(frontier("alone", 30_000), page)
    text = Parsed(page).text
    assert "alone has" in text
    assert "of structure for this budget" in text
    assert "What there is to learn in alone" in text
    write_epiplexity_page(frontier("alone", 30_000), page, title="Mine")
    assert "Mine" in Parsed(page).text


def test_names_are_escaped(page):
    write_epiplexity_page(ranking(EVIL, "b"), page, title=EVIL)
    content = page.read_text(encoding="utf-8")
    assert EVIL not in content
    assert "&lt;script&gt;alert(1)" in content


def test_many_sets_fit_on_a_phone_and_a_page():
    many = ranking(*(f"a rather long name of a file {i}.txt" for i in range(9)))
    for width in (3.73, 7.2):
        figure = draw(many, width)
        figure.canvas.draw()
        assert len(figure.axes) == 3
        for axes in figure.axes:
            assert axes.get_window_extent().height > 40


def test_what_cannot_be_written(page, tmp_path):
    with pytest.raises(OptionError, match="result is a dict"):
        write_epiplexity_page({}, page)
    with pytest.raises(FileError, match="does not exist"):
        write_epiplexity_page(ranking("a", "b"), tmp_path / "no" / "page.html")
    with pytest.raises(OptionError, match="to=None"):
        write_epiplexity_page(ranking("a", "b"), None)
