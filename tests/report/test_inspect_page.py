"""The page of an inspected language model: its sections, what stands in them, and that nothing of the texts gets through."""

from __future__ import annotations

import html

import numpy as np
import pytest
from report_fakes import EVIL, Parsed, embedded

from unsnarl.errors import FileError, OptionError
from unsnarl.measures._scores import Score
from unsnarl.measures.language._alignment import SpectralAlignment
from unsnarl.measures.language._entropy import EntropyConvergence, PinskerCheck
from unsnarl.measures.language._language_report import DescribedContext, LanguageReport
from unsnarl.measures.language._metric import metric_spectrum
from unsnarl.report._inspect import binned, certainty_plot, kernel_plot, spectrum_plot, write_inspect_page


class Features:
    F, N, psi, D, l1, fvu, l0 = 900.5, 576, 1.56, 1152, 0.1, 0.42, 88.0
    problems = ("the autoencoder leaves 42% of the variance unexplained (more than 30%)",)


def made(text="the cat sat", model="tiny", **changes):
    rng = np.random.default_rng(0)
    context = DescribedContext(text, " on\n", text, 0.91, 0.2, 0.1)
    kernel = np.exp(-np.abs(rng.normal(size=(9, 9))))
    found = {
        "numbers": {
            "entropy": 2.0,
            "nll": 2.5,
            "calibration_gap": 0.5,
            "trace": 0.1,
            "effective_rank": 3.2,
            "cka": 0.7,
            "features": 900.5,
            "surplus_2": 0.4,
            "reference_kl": 0.2,
        },
        "intervals": {"entropy": (1.9, 2.1)},
        "spectrum": metric_spectrum(np.diag([4.0, 2.0, 1.0, 0.5])),
        "alignment": SpectralAlignment(0.7, 0.6, np.array([0.5]), 0.6, 0.02, 0.05, 300),
        "kernel": (kernel + kernel.T) / 2,
        "kernel_kind": "bc",
        "kernel_source": model,
        "kernel_contexts": [context] * 9,
        "certain": [context],
        "uncertain": [context],
        "entropies": rng.exponential(size=700),
        "nlls": rng.exponential(size=700),
        "surplus": [
            Score(
                0.4,
                name="surplus_2",
                interval=(0.3, 0.5),
                extra={
                    "ce_without": 4.0,
                    "ce_with": 3.6,
                    "steps": np.array([0.4]),
                    "ceiling": 10.8,
                    "contexts": 2_000,
                    "training_contexts": 9_000,
                },
            )
        ],
        "superposition": Features(),
        "checks": {
            "entropy": EntropyConvergence(2.0, 1.9, 0.1, 0.2, 2.1),
            "pinsker": PinskerCheck(0.2, 0.1, 0.05, 0.5, 0.25, True),
        },
        "left_out": {"rayleigh": "too few contexts"},
        "notes": ["a note"],
        "timings": {"reading": 3.0},
        "settings": {"model": model, "contexts": 700, "texts": 30, "dimension": 4, "order": 0.5, "softcap": None},
        **changes,
    }
    return LanguageReport(**found)


def test_the_whole_page(page):
    assert write_inspect_page(made(), page, command="unsnarl inspect tiny --texts a.txt") == page
    got = Parsed(page)
    assert got.sections == [
        "numbers",
        "certainty",
        "spectrum",
        "kernel",
        "surplus",
        "superposition",
        "checks",
        "notes",
        "settings",
    ]
    assert "<title>tiny</title>" in got.source
    assert got.text.index("as unsure of the next token as among 7.4 equally likely") < got.text.index("All numbers")
    assert "2.000 [1.900, 2.100]" in got.text
    assert "It is surer than it is right: what came costs 0.50 nats more than it expects." in got.text
    assert "Rayleigh share : too few contexts" in got.text
    assert "How random the head is" in got.text
    assert "surplus of 2 tokens" in got.text
    assert "9,000 to learn from" in got.text
    assert "42% of the variance unexplained" in got.text
    assert "Both bounds of theorem 7.1 are kept" in got.text
    assert "unsnarl inspect tiny --texts a.txt" in got.text
    assert " on↵" in got.text  # a line break in a token can be seen
    assert "a note" in got.text
    assert all(a.get("alt") for a in got.all("img"))
    assert all(a["href"].startswith("#") for a in got.all("a"))
    ids = {a["id"] for a in got.all("section")}
    assert {a["href"][1:] for a in got.all("a")} <= ids
    drawn = embedded(got, "image/svg+xml")
    assert len(drawn) == 12  # three pictures, for phone and desktop, light and dark
    assert len(set(drawn)) == 12
    assert page.stat().st_size < 2_000_000


def test_names_and_texts_are_escaped(page):
    report = made(text=EVIL, model=EVIL, notes=[EVIL], left_out={EVIL: EVIL})
    write_inspect_page(report, page, command=EVIL)
    got = Parsed(page)
    assert EVIL not in got.source
    assert html.escape(EVIL) in got.source
    assert len(got.all("script")) == 1
    assert got.text.count(EVIL) > 5  # as text, whole
    assert not any(b"<script" in drawn for drawn in embedded(got, "image/svg+xml"))


def test_awkward_tokens(page):
    texts = ["bad\x00name", "lone \ud800 surrogate", "", " ", "日本語", "$\\frac{1}{0}$"]
    contexts = [DescribedContext(t, t, t, 0.5, 1.0, 1.0) for t in texts]
    write_inspect_page(made(certain=contexts, uncertain=contexts, kernel_contexts=contexts), page)
    got = Parsed(page)
    assert "\x00" not in got.source
    assert "bad\ufffdname" in got.text
    assert "日本語" in got.text
    assert "“ ”" in got.text  # a token of white space can be seen


def test_sections_that_have_nothing_are_absent(page):
    write_inspect_page(made(surplus=[], superposition=None, checks={}, notes=[], left_out={}, intervals={}), page)
    got = Parsed(page)
    assert got.sections == ["numbers", "certainty", "spectrum", "kernel", "settings"]
    assert "Not measured" not in got.text
    assert "interval" not in got.text


def test_the_same_report_gives_the_same_page(tmp_path):
    first, second = (write_inspect_page(made(), tmp_path / n) for n in ("a.html", "b.html"))
    assert first.read_bytes() == second.read_bytes()


def test_bad_input(tmp_path, page):
    with pytest.raises(OptionError, match="report must be a LanguageReport, got dict"):
        write_inspect_page({}, page)
    with pytest.raises(FileError, match="it is a folder"):
        write_inspect_page(made(), tmp_path)
    with pytest.raises(OptionError, match="must be the path"):
        write_inspect_page(made(), None)
    assert not page.exists()


def test_the_pictures_show_the_numbers():
    axes = spectrum_plot([4.0, 2.0, 1.0, 0.0]).axes
    assert axes[0].lines[0].get_ydata().tolist() == [4, 2, 1]  # a zero has no logarithm
    assert axes[1].lines[0].get_ydata().tolist() == pytest.approx([4 / 7, 6 / 7, 1, 1])
    shares = np.array([4, 2, 1]) / 7
    assert axes[0].lines[1].get_xdata()[0] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    middle, mean = binned(np.arange(24.0), np.arange(24.0) ** 2)
    assert len(middle) == 12
    assert middle[0] == 0.5
    assert mean[1] == (4 + 9) / 2
    scatter = certainty_plot(np.arange(24.0), np.arange(24.0)).axes[0]
    assert scatter.lines[1].get_xdata().tolist() == middle.tolist()
    assert kernel_plot(np.eye(3), look="dark").axes[0].images[0].get_array().tolist() == np.eye(3).tolist()
