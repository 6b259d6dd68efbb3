"""The page of an explained prediction: what stands on it, escaped, for classifiers with and without heat maps."""

from __future__ import annotations

import html

import numpy as np
import pytest
from report_fakes import EVIL

from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.report._prototype_page import bars, overlaid, write_explanation_page


def likened(**changes):
    """What a network that compares places of an image would hand over."""
    rng = np.random.default_rng(0)
    heat = np.zeros((5, 5))
    heat[1, 3] = 2.0
    shown = {
        "name": "prototype 7",
        "class": EVIL,
        "image": rng.random((3, 6, 6)),
        "scores": {"similarity": 3.25, "weight": 1.5},
        "note": "from training image 12",
        "heat_map": heat,
        "box": (2, 8, 10, 18),
        "importance": {"hue": 0.8, "texture": -0.1},
    }
    return {"prediction": EVIL, "prototypes": [shown | changes]}


def decoded():
    """What a network whose prototypes can be decoded would."""
    rng = np.random.default_rng(1)
    return {
        "prediction": "3",
        "prototypes": [{"name": "mean prototype", "image": rng.random((1, 8, 8))}],
        "probabilities": {"3": 0.75, "8": 0.25},
        "words": ["It looks like a three.", "Do not trust it."],
        "reconstruction": rng.random((1, 8, 8)),
        "samples": rng.random((5, 1, 8, 8)),
        "samples_name": "draws of class 3",
        "votes": {"3": -1.0, "8": 2.5},
        "votes_name": "lead over 8, in logits",
        "uncertainty": [
            {"name": "epistemic", "value": 0.1234, "meaning": "disagreement"},
            {"name": "overlap", "value": float("nan")},
        ],
    }


SAMPLE = np.random.default_rng(2).random((3, 20, 20))


def test_a_page_with_heat_maps(tmp_path):
    target = write_explanation_page(SAMPLE, likened(), tmp_path / "page.html")
    text = target.read_text()
    assert EVIL not in text
    assert html.escape(EVIL) in text
    assert "similarity 3.250" in text
    assert "weight 1.500" in text
    assert "from training image 12" in text
    assert "where the sample resembles it" in text
    assert "rows 2 to 7, columns 10 to 17" in text
    assert "Why prototype 7 looks alike: hue 0.800, texture −0.100." in text
    assert "http-equiv" in text
    assert "https://" not in text.replace("http://www.w3.org", "")
    assert "How sure" not in text
    assert "Probabilities" not in text


def test_a_page_with_decoded_prototypes(tmp_path):
    class Explained:
        def to_page(self):
            return decoded()

    text = write_explanation_page(SAMPLE[0], Explained(), tmp_path / "page.html", title="Why three").read_text()
    for part in (
        "Why three",
        "It looks like a three.",
        "<li>Do not trust it.</li>",
        "What its code keeps",
        "Draws of class 3",
        "5 draws of class 3",
        "Lead over 8, in logits.",
        "Probability of each class: 3 0.750, 8 0.250.",
        "lead over 8, in logits: 8 2.500, 3 −1.000.",
        "Disagreement",
        "0.123",
        "not defined",
    ):
        assert part in text, part
    assert "where the sample resembles it" not in text


def test_the_heat_map_marks_its_highest_place_and_the_box_its_part():
    grey = np.full((16, 16, 3), 100, np.uint8)
    heat = np.zeros((16, 16))
    heat[4, 12] = 5.0
    shown = overlaid(grey, heat)
    assert shown.shape == (128, 128, 3)
    change = np.abs(shown.astype(int) - 100).sum(2)
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert (row // 8, column // 8) == (4, 12)
    assert change[64:, :64].max() == 0
    boxed = overlaid(grey, None, (4, 8, 2, 10))
    assert (boxed[32, 16:80] == 0).all()
    assert (boxed[34, 20:70] == 255).all()
    assert (boxed[40:60, 30:70] == 100).all()
    assert (boxed[:30] == 100).all()
    flat = overlaid(grey, np.full((3, 3), 7.0))
    assert (flat == 100).all()  # a constant map marks nothing


def test_bars_go_both_ways():
    figure = bars({"a": 2.0, "b": -1.0})
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == [2.0, -1.0]
    assert [t.get_text() for t in figure.axes[0].texts] == ["2.000", "−1.000"]
    low, high = figure.axes[0].get_xlim()
    assert low < -1.0
    assert high > 2.0


def test_only_the_largest_of_many_are_drawn(tmp_path):
    many = decoded() | {"votes": {f"p{i}": float(i) for i in range(30)}}
    text = write_explanation_page(SAMPLE, many, tmp_path / "page.html").read_text()
    assert "18 smaller ones left out." in text
    assert "p29 29.00" in text
    assert "p17 17.00" not in text


@pytest.mark.parametrize(
    ("explanation", "message"),
    [
        ("three", "is a str"),
        ({"prediction": "3"}, "no entry 'prototypes'"),
        ({"prediction": "3", "prototypes": []}, "is empty"),
        (likened() | {"colour": 1}, "has the entry 'colour'"),
        (likened(size=3), "prototype 0 has the entry 'size'"),
        ({"prediction": "3", "prototypes": [{"name": "a"}]}, "no entry 'image'"),
    ],
)
def test_explanations_that_lack_something_are_refused(tmp_path, explanation, message):
    with pytest.raises(OptionError, match=message):
        write_explanation_page(SAMPLE, explanation, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("sample", "explanation", "message"),
    [
        (np.zeros(5), likened(), "one image"),
        (SAMPLE, likened(image=np.zeros((2, 6, 6))), "image of prototype 0"),
        (SAMPLE, likened(heat_map=np.full((4, 4), np.nan)), "finite"),
        (SAMPLE, likened(heat_map=np.zeros(4)), "heat_map"),
        (SAMPLE, likened(box=(0, 21, 0, 5)), "outside the sample"),
        (SAMPLE, likened(box=(3, 3, 0, 5)), "outside the sample"),
    ],
)
def test_pictures_that_are_none_are_refused(tmp_path, sample, explanation, message):
    with pytest.raises(DataError, match=message):
        write_explanation_page(sample, explanation, tmp_path / "page.html")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        write_explanation_page(SAMPLE, likened(), tmp_path / "no" / "page.html")
