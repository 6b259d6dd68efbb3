"""The pages as a phone and a desktop show them, in a headless Chromium (skipped where there is none)."""

from __future__ import annotations

from pathlib import Path

import headless_browser
import pytest
from report_fakes import EVIL, FakeMeasureReport, Shifter, claim, squares

from unsnarl.measures import Scores
from unsnarl.report import claims_index, write_claim_page, write_report

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
EXECUTABLE = headless_browser.find()

pytestmark = pytest.mark.skipif(
    EXECUTABLE is None, reason="needs a browser: apt-get install chromium (Debian package 'chromium')"
)


@pytest.fixture(scope="module")
def chromium():
    opened = headless_browser.Browser(str(EXECUTABLE))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    names = ("across", EVIL, "a_name_without_any_space_that_is_much_longer_than_a_phone_is_wide_" * 2)
    long = Scores({names[2]: 0.4, EVIL: 0.3}, intervals={EVIL: (0.2, 0.4)}, measure="m" * 60)
    model = Shifter()
    model.get_params = lambda: {"path": "x" * 300, "seed": 1}
    record = claim(name=names[2], metric=EVIL) | {"settings": {names[2]: names[2]}, "statement": names[2]}
    many = FakeMeasureReport(384, tuple(f"attribute {i}" for i in range(60)))
    return {
        "report": write_report(model, squares(names=names), FakeMeasureReport(4, names), to=folder / "report.html"),
        "odd": write_report(
            model, squares(names=names), {"a": many, EVIL: long}, to=folder / "odd.html", title=names[2]
        ),
        "claim": write_claim_page(record, folder / "claim.html"),
        "claims": claims_index([record, claim("dts")], folder / "claims.html"),
    }


@pytest.mark.parametrize("name", ["report", "odd", "claim", "claims"])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("screen", [PHONE, DESKTOP])
def test_page(chromium, pages, name, dark, screen):
    chromium.open(pages[name], **screen, dark=dark)
    assert chromium.ask("document.querySelector('.eyebrow').textContent").startswith("unsnarl")
    assert chromium.ask("document.documentElement.scrollWidth") <= screen["width"]
    wide = """[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
        && !e.closest('.scroll, pre, picture')).map(e => e.outerHTML.slice(0, 80))"""
    assert chromium.ask(wide) == []
    broken = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth, () => 0)))"
    sizes = chromium.ask(broken)
    assert all(size > 0 for size in sizes)
    assert len(sizes) == {"report": 10, "odd": 10, "claim": 1, "claims": 0}[name]
    assert chromium.complaints() == []
    assert chromium.requests() == [pages[name].resolve().as_uri()]  # the page itself and nothing else


@pytest.mark.parametrize("name", ["report", "claim", "claims"])
def test_the_finding_is_read_first(chromium, pages, name):
    chromium.open(pages[name], **PHONE)
    lead = chromium.ask(
        "(() => { const b = document.querySelector('main .lead').getBoundingClientRect();"
        "return [b.top, b.bottom, document.querySelector('main').firstElementChild.className] })()"
    )
    assert 0 < lead[0] < 300
    assert lead[1] < PHONE["height"]
    assert lead[2] == "finding"
    first = chromium.ask("document.querySelector('main').innerText.trim().split('\\n').filter(Boolean)[1]")
    assert first.startswith({"report": "Nearly separate", "claim": "The claim holds.", "claims": "2 of 2 claims"}[name])


def test_pictures_follow_screen_and_scheme(chromium, pages):
    chosen = set()
    for screen in (PHONE, DESKTOP):
        for dark in (False, True):
            chromium.open(pages["report"], **screen, dark=dark)
            chosen.add(chromium.ask("document.querySelector('#scores img').currentSrc"))
            background = chromium.ask("getComputedStyle(document.body).backgroundColor")
            assert background == ("rgb(20, 23, 27)" if dark else "rgb(252, 251, 249)")
            shown = chromium.ask("document.querySelector('#scores img').getBoundingClientRect().width")
            natural = chromium.ask("document.querySelector('#scores img').naturalWidth")
            assert shown == pytest.approx(natural, abs=2)  # drawn for this width, so letters keep their size
    assert len(chosen) == 4


def test_letters_are_large_enough_on_a_phone(chromium, pages):
    chromium.open(pages["report"], **PHONE)
    smallest = chromium.ask(
        "Math.min(...[...document.querySelectorAll('main *')].filter(e => [...e.childNodes].some("
        "n => n.nodeType === 3 && n.data.trim())).map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12


def test_the_copy_button_and_the_policy(chromium, pages):
    chromium.open(pages["report"], **PHONE)
    assert chromium.ask("document.querySelector('button.copy').hidden") is False
    chromium.ask("document.querySelector('button.copy').click()")
    label = chromium.ask(
        "new Promise(r => setTimeout(() => r(document.querySelector('button.copy').textContent), 200))"
    )
    assert label in ("Copied", "Selected: press Ctrl+C")
    # a script that slipped through would still not run: the policy knows ours only
    chromium.ask(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.slipped = 1';"
        "document.body.append(s) })()"
    )
    assert chromium.ask("window.slipped === undefined")
