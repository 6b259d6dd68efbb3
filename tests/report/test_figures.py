"""The pictures as matplotlib figures: what is drawn, and that nothing global is touched."""

from __future__ import annotations

import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from report_fakes import EVIL, FakeMeasureReport, Shifter, squares

from unsnarl.errors import DataError, OptionError
from unsnarl.report import (
    _style,
    contact_sheet,
    heat_map,
    interval_plot,
    reconstruction_grid,
    training_curves,
    traversal_grid,
)
from unsnarl.report._heat_map import arrange
from unsnarl.report._images import differences, tile, to_pixels


def texts(axes) -> list[str]:
    return [t.get_text() for t in axes.texts]


def test_latents_are_grouped_by_factor_and_sorted_by_strength():
    matrix = pd.DataFrame(
        [[0.1, 0.3], [0.9, 0.0], [0.0, 0.0], [0.5, 0.2], [0.0, 0.8]], index=list("abcde"), columns=["hue", "scale"]
    )
    assert list(arrange(matrix).matrix.index) == ["b", "d", "e", "a", "c"]
    kept = arrange(matrix, limit=3)
    assert list(kept.matrix.index) == ["b", "d", "e"]
    assert kept.left_out == 2
    assert kept.scale == 0.9


def test_arrange_takes_missing_and_negative_entries():
    arranged = arrange(np.array([[np.nan, 0.1], [-0.9, 0.2]]))
    assert arranged.matrix.index.tolist() == [1, 0]
    assert arranged.scale == 0.9


def test_heat_map_writes_every_entry():
    figure = heat_map(np.array([[0.9, 0.001], [0.25, -1.5]]), factors=["hue", EVIL], title="information")
    axes = figure.axes[0]
    assert texts(axes) == ["0.25", "−1.50", "0.90", "0"] or texts(axes) == ["0.90", "0", "0.25", "−1.50"]
    labels = [t.get_text() for t in axes.get_xticklabels()]
    assert labels[0] == "hue"
    assert "<script" in labels[1]
    drawn = _style.svg(figure)
    assert "&lt;script" in drawn
    assert "<script" not in drawn


@pytest.mark.parametrize(("shape", "rows"), [((64, 8), 40), ((384, 10), 40), ((3, 40), 3), ((1, 1), 1)])
def test_heat_map_of_any_size_is_legible(shape, rows):
    figure = heat_map(np.random.default_rng(0).uniform(size=shape))
    axes = figure.axes[0]
    assert len(axes.get_yticklabels()) == rows
    box = axes.get_window_extent()
    assert box.height / rows / figure.dpi >= 0.26  # inches a row
    assert box.width / shape[1] / figure.dpi >= 0.29
    said = " ".join(t.get_text() for t in figure.texts)
    assert ("most informative of" in said) == (shape[0] > 40)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros(3), "2-D"),
        (np.zeros((0, 3)), "at least|shape"),
        (pd.DataFrame({"a": ["x"]}), "must hold numbers"),
        ([["a", "b"]], "must hold numbers"),
    ],
)
def test_heat_map_refuses(matrix, message):
    with pytest.raises(DataError, match=message):
        heat_map(matrix)


def test_heat_map_refuses_wrong_names_and_options():
    with pytest.raises(DataError, match="factors names 1 factors, but the matrix has 2"):
        heat_map(np.eye(2), factors=["one"])
    with pytest.raises(OptionError, match="look='pink'"):
        heat_map(np.eye(2), look="pink")
    with pytest.raises(OptionError, match="limit=0"):
        heat_map(np.eye(2), limit=0)


def test_interval_plot_draws_value_and_whisker():
    table = pd.DataFrame({"score": ["a", "b"], "value": [0.3, 0.6], "low": [0.2, np.nan], "high": [0.45, np.nan]})
    axes = interval_plot(table).axes[0]
    dots = sorted(float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o")
    assert dots == [0.3, 0.6]
    whiskers = [tuple(line.get_xdata()) for line in axes.lines if line.get_linewidth() > 2]
    assert whiskers == [(0.2, 0.45)]
    assert axes.get_xlim() == (0, 1)
    assert "0.300 [0.200, 0.450]" in texts(axes)
    assert "0.600" in texts(axes)


@pytest.mark.parametrize("width", [3.73, 7.2])
def test_interval_plot_keeps_the_shared_scale_apart_from_others(width):
    axes = interval_plot(FakeMeasureReport(), width=width).axes[0]
    assert sum(line.get_marker() == "o" for line in axes.lines) == 5  # the nats are left to the table
    assert interval_plot({"nats": 3.2, "more": 7.5}, width=width).axes[0].get_xlim()[1] > 7.5


def test_interval_plot_reaches_to_negative_scores():
    table = pd.DataFrame({"score": ["r2"], "value": [-0.15], "range": ["up to 1"]})
    assert interval_plot(table).axes[0].get_xlim() == (-0.15, 1)


def test_chance_is_marked():
    table = pd.DataFrame({"score": ["mig"], "value": [0.5], "chance": [0.07]})
    strokes = [line.get_xdata()[0] for line in interval_plot(table).axes[0].lines if line.get_marker() == "|"]
    assert strokes == [0.07]


def test_interval_plot_refuses_nothing_finite():
    with pytest.raises(DataError, match="no finite value"):
        interval_plot({"a": float("nan")})


def test_training_curves_one_panel_a_number():
    history = pd.DataFrame(
        {
            "step": [0, 10, 20, 30],
            "loss": [1000.0, 100.0, 10.0, 1.0],
            "kl": [-1.0, 0.0, np.nan, 2.0],
            "once": [1.0, np.nan, np.nan, np.nan],
            "note": ["a", "b", "c", "d"],
            "seconds": [0.0, 1.0, 2.0, 3.0],
        }
    )
    axes = [a for a in training_curves(history).axes if a.get_visible()]
    assert [a.get_title(loc="left") for a in axes] == ["loss", "kl"]
    assert [a.get_yscale() for a in axes] == ["log", "linear"]
    assert axes[1].lines[0].get_xdata().tolist() == [0, 10, 30]


def test_training_curves_balance_and_smooth():
    steps = np.arange(200)
    figure = training_curves({"step": steps} | {f"loss {i}": np.sin(steps / 9) for i in range(4)})
    spec = figure.axes[0].get_gridspec()
    assert (spec.nrows, spec.ncols) == (2, 2)
    assert len(figure.axes[0].lines) == 2
    assert len(training_curves({f"c{i}": [1.0, 2.0] for i in range(30)}).axes) == 12


@pytest.mark.parametrize("history", [{"step": [0, 1]}, [], {"step": [0, 1], "loss": [np.nan, 1.0]}, 5])
def test_training_curves_refuse(history):
    with pytest.raises(DataError, match="history"):
        training_curves(history)


def test_contact_sheet_places_images():
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 1, 4, 6) * 50
    shown = np.asarray(contact_sheet(images, 3).axes[0].get_images()[0].get_array())
    assert shown.shape == (4 * 2 + 2, 6 * 3 + 4, 4)
    assert shown[0, 8, 0] == 50
    assert shown[9, 0, 0] == 150
    assert shown[9, 21, 3] == 0  # no sixth image
    assert len(contact_sheet(images, 3, titles=list("abcde")).axes) == 5


def test_contact_sheet_refuses():
    with pytest.raises(DataError, match="shape"):
        contact_sheet(np.zeros((3, 8, 8)))
    with pytest.raises(DataError, match="dtype int64"):
        contact_sheet(np.zeros((3, 1, 8, 8), int))
    with pytest.raises(DataError, match="titles has 1 entries for 3 images"):
        contact_sheet(np.zeros((3, 1, 8, 8)), titles=["a"])
    with pytest.raises(OptionError, match="columns=0"):
        contact_sheet(np.zeros((3, 1, 8, 8)), 0)


def test_grids_of_a_model():
    model, data = Shifter(), squares(10)
    figure = traversal_grid(model, data.observations)
    assert len(figure.axes) == 4
    assert figure.texts[0].get_text() == "latent 0"
    assert len(traversal_grid(model, data.observations[0], [2], n_values=3).axes) == 1
    figure = reconstruction_grid(model, data.observations[:3])
    assert [t.get_text() for t in figure.texts][:2] == ["input", "output"]
    with pytest.raises(OptionError, match="model=object has no method traverse"):
        traversal_grid(object(), data.observations, [0])
    with pytest.raises(OptionError, match="model=object has no method reconstruct"):
        reconstruction_grid(object(), data.observations)
    model.traverse = lambda *_, **__: torch.zeros(9, 3, 32, 32)
    with pytest.raises(DataError, match="9 images instead of up to 7"):
        traversal_grid(model, data.observations, [0])


def test_pixels():
    grey = to_pixels(np.array([[[[0.0, 0.5], [1.0, 2.0]]]]))
    assert grey.shape == (1, 2, 2, 3)
    assert grey[0, :, :, 0].tolist() == [[0, 128], [255, 255]]
    gap, gain, mean = differences(grey, grey)
    assert gap.max() == 0
    assert gain == 1
    assert mean == 0
    assert tile(grey, 3, fill=True).shape == (2, 10, 4)
    assert tile(grey, 3).shape == (2, 2, 4)


def test_nothing_global_is_touched():
    before = dict(matplotlib.rcParams)
    for figure in (heat_map(np.eye(3)), interval_plot({"a": 0.5}), training_curves({"a": [1.0, 2.0]})):
        _style.svg(figure)
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not matplotlib.pyplot.get_fignums()


def test_names_are_no_formulas_even_when_drawn_later(tmp_path):
    name = r"$\frac{1}"
    for figure in (
        heat_map(np.eye(2), latents=[name, "b"], factors=[name, "c"], title=name),
        interval_plot({name: 0.3}, title=name),
        training_curves({name: [1.0, 2.0]}),
        contact_sheet(np.zeros((2, 1, 4, 4)), titles=[name, name]),
    ):
        figure.savefig(tmp_path / "later.png")  # outside our settings: math would be parsed now, and fail


def test_the_same_picture_gives_the_same_bytes():
    one, two = (_style.svg(interval_plot({"a": 0.5, "b": 0.25})) for _ in range(2))
    assert one == two
    assert "font-family: system-ui, " in one or "px system-ui, " in one


def test_contrast_of_both_themes():
    for name, colours in _style.THEMES.items():
        for ground in (colours.surface, colours.raised):
            for text in (colours.ink, colours.muted, colours.accent, colours.second):
                assert _style.contrast(text, ground) >= 4.5, (name, text, ground)
        shades = _style.variables(name)
        for step in range(1, _style.STEPS + 1):
            for sign in "pn":
                assert _style.contrast(shades[f"{sign}{step}"], shades[f"{sign}{step}-ink"]) >= 4.5


def test_shades_and_dark_colours():
    assert [_style.shade(v, 1.0) for v in (0.0, 0.01, 0.5, 1.0, 9.0, -0.5, np.nan)] == [
        "",
        "",
        "p10",
        "p20",
        "p20",
        "n10",
        "",
    ]
    drawn = _style.svg(interval_plot({"a": 0.5}))
    light, dark = _style.THEMES["light"], _style.THEMES["dark"]
    assert light.accent in drawn
    assert light.accent not in _style.darkened(drawn)
    assert dark.accent in _style.darkened(drawn)
