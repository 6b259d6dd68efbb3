"""Pages of claims: the verdict in words, the seeds, the index, bad records."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_fakes import EVIL, Parsed, claim, embedded

from unsnarl.errors import DataError, FileError
from unsnarl.report import claims_index, heat_map, paired_plot, write_claim_page


def test_a_claim_that_holds(page):
    assert write_claim_page(claim(), page) == page
    got = Parsed(page)
    finding = got.text[got.text.index("The verdict") :]
    assert finding.startswith("The verdict The claim holds. The gain in InfoM of the system over the baseline is 0.188")
    assert "(mean of 5 seeds; 95% interval 0.131 to 0.245, wholly above the minimum effect of 0.100)" in finding
    assert "0.410 0.610 0.200" in got.text
    assert "0.440 0.580 0.140" in got.text
    assert "The effect appears once" in got.text
    assert "torch 2.8.0" in got.text
    assert "a small one" in got.text
    assert len(embedded(got, "image/svg+xml")) == 4
    assert all(a["alt"] for a in got.all("img"))


@pytest.mark.parametrize(
    ("changes", "lead"),
    [
        ({"verdict": "does not hold", "difference": {"mean": 0.02, "low": -0.01, "high": 0.05}}, "The claim does not hold."),
        ({"verdict": "inconclusive", "difference": {"mean": 0.1, "low": -0.01, "high": 0.25}}, "neither confirmed nor refuted"),
        ({"difference": {"mean": 0.18, "low": 0.05, "high": 0.3}}, "wholly above zero, with a mean that reaches"),
        (
            {"verdict": "inconclusive", "system": [0.6, None, 0.6, 0.6, 0.6]},
            "but 1 of 5 seeds gave no number, so nothing can be concluded",
        ),
        (
            {"verdict": "inconclusive", "difference": {"mean": None, "low": None, "high": None}, "system": [None] * 5},
            "could not be computed",
        ),
        (
            {"seeds": [0], "system": [1.0], "baseline": [0.5], "difference": {"mean": 0.5, "low": None, "high": None},
             "verdict": "inconclusive"},
            "with 1 seed; without an interval nothing can be concluded",
        ),
        ({"minimum_effect": -0.05, "difference": {"mean": 0.01, "low": -0.02, "high": 0.04}}, "effect of −0.050"),
    ],
)  # fmt: skip
def test_every_outcome_has_its_sentence(changes, lead, page):
    write_claim_page(claim(**changes), page)
    assert lead in Parsed(page).text


def test_relative_gains_and_errors(page):
    changes = {
        "metric": "error", "higher_is_better": False, "compare": "relative", "system": [3.0, 2.0], "baseline": [4.0, 4.0],
        "seeds": [7, 8], "minimum_effect": 0.25, "difference": {"mean": 0.375, "low": 0.3, "high": 0.45},
        "system_arm": "QLAE", "baseline_arm": "AE",
    }  # fmt: skip
    write_claim_page(claim(**changes), page)
    text = Parsed(page).text
    assert "gain in error of QLAE over AE is 37.5%" in text
    assert "minimum effect of 25.0%" in text
    assert "7 4.000 3.000 25.0%" in text
    assert "8 4.000 2.000 50.0%" in text
    assert "lower is better" in text


def test_rows_beside_the_claim_do_not_decide(page):
    record = claim()
    record["rows"].append(claim(name="without decay", role="ablation", verdict="does not hold")["rows"][0])
    write_claim_page(record, page)
    text = Parsed(page).text
    assert "The claim holds." in text
    assert "it does not decide it" in text
    record["rows"][1]["role"] = "guard"
    write_claim_page(record, page)
    assert "The claim does not hold." in Parsed(page).text


def test_settings_tuning_and_title(page):
    record = claim() | {
        "title": "QLAE on squares",
        "statement": "Quantized latents are more modular.",
        "settings": {"steps": 500, "arms": {"QLAE": {"weight_decay": 0.5}}},
        "tuning": [{"arm": "QLAE", "chosen": {"weight_decay": 0.5}, "tried": [1, 2, 3], "seeds": [100]}],
    }
    write_claim_page(record, page)
    text = Parsed(page).text
    assert "QLAE on squares" in text
    assert "Quantized latents are more modular." in text
    assert "steps 500" in text
    assert "weight_decay 0.5, the best of 3 settings on 1 other seed" in text


def test_a_picture_goes_into_the_page(page, tmp_path):
    for name in ("p.png", "p.svg", "p.jpg"):
        heat_map(np.eye(2)).savefig(tmp_path / name)
        write_claim_page(claim(), page, image=tmp_path / name, alt="two latents")
        shown = Parsed(page).all("img")[0]
        assert shown["alt"] == "two latents"
        assert shown["src"].startswith("data:image/")
    (tmp_path / "p.txt").write_text("<html><svg>")
    with pytest.raises(FileError, match="not a PNG, JPEG, GIF, WebP or SVG"):
        write_claim_page(claim(), page, image=tmp_path / "p.txt")
    with pytest.raises(FileError, match="there is no file"):
        write_claim_page(claim(), page, image=tmp_path / "absent.png")


def test_claims_are_escaped(page):
    record = claim(EVIL, name=EVIL, metric=EVIL, system_arm=EVIL) | {
        "notes": EVIL,
        "versions": {EVIL: EVIL},
        "title": EVIL,
    }
    for write in (write_claim_page, lambda record, to: claims_index([record], to)):
        write(record, page)
        got = Parsed(page)
        assert EVIL not in got.source
        assert len(got.all("script")) == 1
    assert got.all("a") == []  # such a slug is no file name


def test_index(page):
    records = [
        claim("qlae"),
        claim("dts", verdict="does not hold", difference={"mean": 0.01, "low": -0.01, "high": 0.03}),
        claim("latte", verdict="inconclusive", difference={"mean": 0.1, "low": 0.0, "high": 0.2}),
    ]
    claims_index(records, page)
    got = Parsed(page)
    assert "1 of 3 claims hold, 1 does not and 1 is inconclusive." in got.text
    assert [a["href"] for a in got.all("a")] == ["qlae.html", "dts.html", "latte.html"]
    assert "gain in InfoM 0.188 [0.131, 0.245]" in got.text
    with pytest.raises(DataError, match="records is empty"):
        claims_index([], page)


def test_paired_plot_draws_every_seed():
    row = claim()["rows"][0]
    pairs, effect = paired_plot(row).axes
    lines = [tuple(line.get_ydata()) for line in pairs.lines if len(line.get_xdata()) == 2 and line.get_linewidth() < 2]
    assert lines == list(zip(row["baseline"], row["system"], strict=True))
    assert any(tuple(line.get_ydata()) == (0.131, 0.245) for line in effect.lines)
    shaded = effect.patches[0].get_extents().transformed(effect.transData.inverted())
    assert math.isclose(shaded.y0, 0.1, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], "must be a mapping"),
        ({"rows": [1]}, "no 'slug'"),
        ({"slug": "a", "rows": []}, "no 'rows'"),
        ({"slug": "a", "rows": [3]}, "row 0 of the claim record is a int"),
        (claim(baseline=[1.0]), "5 numbers of the system, 1 of the baseline and 5 seeds"),
        (claim(baseline="12345"), "baseline of row 0 of the claim record must be a list of numbers"),
        (claim(system=["x"] * 5), "'x' where a number is expected"),
        (claim(verdict="yes"), "verdict='yes' of row 0 is not allowed"),
        (claim(difference=0.2), "difference of row 0 must be a mapping"),
    ],
)
def test_bad_records(record, message, page):
    with pytest.raises(DataError, match=message):
        claims_index([record], page)
    assert not page.exists()


def test_a_row_judged_by_its_mean_says_what_it_fell_short_of(tmp_path):
    record = claim()
    row = record["rows"][0]
    row |= {"minimum_effect": 0.1, "difference": {"mean": 0.12, "low": -0.02, "high": 0.23}, "verdict": "inconclusive"}
    row |= {"rule": "mean beyond minimum, interval beyond zero"}
    page = write_claim_page(record, tmp_path / "claim.html").read_text()
    assert "which reaches below zero, though the mean passes the minimum effect of 0.100" in page
    assert "Rule: mean beyond minimum, interval beyond zero." in page
