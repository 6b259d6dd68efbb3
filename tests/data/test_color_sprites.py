"""Coloured sprites: pixels that can be counted by hand, factors that do what they say, draws that are distributed as told."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from unsnarl.data._color_sprites import (
    NAMES,
    RANGES,
    ColorSprites,
    draw_sprites,
    render_color_sprites,
    sprite_rows,
    sprite_table,
)
from unsnarl.data._sprites import SHAPES
from unsnarl.errors import DataError, OptionError, UnknownNameError

MIDDLE = {"shape": 0, "hue": 0.0, "size": 1.0, "orientation": 0.0, "x": 0.5, "y": 0.5, "background": 0.2}


def row(**changes):
    return np.array([list((MIDDLE | changes).values())], dtype=float)


def cover(image):
    """The share of each pixel that is sprite, from the red of a red sprite on grey."""
    grey, red = round(255 * 0.2), 255 * 0.95
    return (image[0].astype(float) - grey) / (red - grey)


def test_a_square_has_the_pixels_and_colours_it_should():
    image = render_color_sprites(row())[0]
    assert image.shape == (3, 32, 32)
    # the centre is at 16, half a side 5.5 pixels: columns 11 to 20 are full, 10 and 21 half covered
    assert image[:, 16, 16].tolist() == [242, 36, 36]  # 255 * 0.95 and 255 * 0.1425
    assert image[:, 0, 0].tolist() == [51, 51, 51]
    assert image[:, 16, 11].tolist() == image[:, 20, 16].tolist() == [242, 36, 36]
    assert image[0, 16, 10] == image[0, 16, 21] == round((242.25 + 51) / 2)
    assert image[0, 16, 9] == 51


def test_x_goes_right_y_goes_down_and_by_the_pixels_told():
    for name, axis in (("x", 0), ("y", 1)):
        places = []
        for value in (0.0, 0.25, 1.0):
            weight = cover(render_color_sprites(row(shape=1, **{name: value}))[0]).sum(axis)
            places.append(weight @ (np.arange(32) + 0.5) / weight.sum())
        assert places == pytest.approx([10.88, 10.88 + 0.25 * 10.24, 10.88 + 10.24], abs=0.08)


def test_size_scales_the_area_of_every_shape():
    for shape in range(3):
        small, large = (cover(render_color_sprites(row(shape=shape, size=s))[0]).sum() for s in (0.7, 1.25))
        assert large / small == pytest.approx((1.25 / 0.7) ** 2, rel=0.06)
        assert large == pytest.approx((1.25 * 11) ** 2, rel=0.06)


def test_orientation_turns_counter_clockwise_and_no_two_angles_look_the_same():
    turned = cover(render_color_sprites(row(shape=1, orientation=30.0))[0])
    rows, columns = np.mgrid[:32, :32] + 0.5
    up_right = turned[(rows < 16) & (columns > 16)].sum()
    assert up_right > 1.5 * turned[(rows > 16) & (columns > 16)].sum()
    for shape in range(3):
        angles = np.linspace(-35, 35, 15)
        drawn = render_color_sprites(np.concatenate([row(shape=shape, orientation=a) for a in angles])).astype(float)
        apart = np.abs(drawn[:, None] - drawn[None]).sum((2, 3, 4)) + 1e9 * np.eye(15)
        assert apart.min() > 1000


def test_the_hue_is_a_circle_and_touches_the_sprite_alone():
    drawn = render_color_sprites(np.concatenate([row(hue=h) for h in (0.0, 1.0, 1 / 3)]))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    changed = (drawn[0] != drawn[2]).any(0)
    assert changed[16, 16]
    assert not changed[:8].any()


def test_the_largest_sprites_stay_inside_and_a_batch_changes_nothing():
    rows = np.concatenate(
        [
            row(shape=s, size=1.25, x=x, y=y, orientation=o)
            for s in range(3)
            for x in (0, 1)
            for y in (0, 1)
            for o in (-35, 20)
        ]
    )
    drawn = render_color_sprites(rows)
    edge = np.concatenate([drawn[:, :, 0], drawn[:, :, -1], drawn[:, :, :, 0], drawn[:, :, :, -1]], axis=-1)
    assert (edge == 51).all()
    np.testing.assert_array_equal(render_color_sprites(rows[5:6])[0], drawn[5])


def test_draws_are_uniform_and_independent():
    rows = draw_sprites(20_000, np.random.default_rng(0))
    for column, (low, high) in enumerate(RANGES.values(), start=1):
        counts, _ = np.histogram(rows[:, column], bins=10, range=(low, high))
        assert counts.sum() == 20_000
        assert np.abs(counts - 2000).max() < 200
    assert np.abs(np.bincount(rows[:, 0].astype(int)) - 20_000 / 3).max() < 300
    ranks = spearmanr(rows).statistic
    assert np.abs(ranks - np.eye(7)).max() < 0.03


def test_correlated_draws_have_the_correlation_and_stay_uniform():
    rows = draw_sprites(20_000, np.random.default_rng(0), {("hue", "size"): 0.8, ("shape", "x"): -0.6})
    ranks = spearmanr(rows).statistic
    expected = 6 / np.pi * np.arcsin(0.4)  # Spearman's of a Gaussian copula of 0.8
    assert ranks[NAMES.index("hue"), NAMES.index("size")] == pytest.approx(expected, abs=0.015)
    assert ranks[0, NAMES.index("x")] < -0.5
    assert abs(ranks[NAMES.index("hue"), NAMES.index("x")]) < 0.03
    counts, _ = np.histogram(rows[:, NAMES.index("size")], bins=10)
    assert np.abs(counts - 2000).max() < 200


@pytest.mark.parametrize(
    ("correlate", "error", "message"),
    [
        ({("hue", "sise"): 0.5}, UnknownNameError, "size"),
        ({("hue", "hue"): 0.5}, OptionError, "two different"),
        ({("hue", "size"): 1.5}, OptionError, r"at most 1"),
        ({("hue", "size"): 0.9, ("size", "x"): 0.9, ("hue", "x"): -0.9}, OptionError, "contradict"),
    ],
)
def test_bad_correlations_get_one_sentence(correlate, error, message):
    with pytest.raises(error, match=message):
        draw_sprites(10, np.random.default_rng(0), correlate)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (row(size=2.0), "size must be from 0.7 to 1.25, got 2 in row 0"),
        (row(shape=3), "whole number below 3"),
        (row(shape=0.5), "whole number"),
        (row(hue=np.nan), "NaN"),
        (np.zeros((2, 6)), "shape"),
    ],
)
def test_bad_factors_get_one_sentence(rows, message):
    with pytest.raises(DataError, match=message):
        render_color_sprites(rows)


def test_counterfactuals_change_one_factor():
    sprites = ColorSprites(50, seed=3)
    assert isinstance(sprites.observations, torch.Tensor)
    assert sprites.observations.dtype == torch.uint8
    assert torch.equal(sprites.render(sprites.factors), sprites.observations)
    other = sprites.intervene(slice(0, 10), shape="heart", background=np.linspace(0.1, 0.6, 10))
    for name in NAMES:
        same = (other.factors[name].to_numpy() == sprites.factors[name].to_numpy()[:10]).all()
        assert same == (name not in ("shape", "background"))
    assert set(other.factors["shape"]) == {"heart"}
    assert torch.equal(other.observations, sprites.render(other.factors))
    assert sprites.subset([3, 4]).intervene(0, x=0.0).factors["y"][0] == sprites.factors["y"][3]
    assert len(sprites.sample(7, seed=1)) == 7


def test_the_same_seed_draws_the_same_sprites():
    assert torch.equal(ColorSprites(20, seed=4).observations, ColorSprites(20, seed=4).observations)
    assert not torch.equal(ColorSprites(20, seed=4).observations, ColorSprites(20, seed=5).observations)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({}, OptionError, "at least one"),
        ({"colour": 0.5}, UnknownNameError, "colour"),
        ({"shape": "cube"}, UnknownNameError, "cube"),
        ({"hue": 1.5}, DataError, "hue must be from 0 to 1"),
        ({"hue": [0.1, 0.2, 0.3]}, DataError, "3 values for 2"),
        ({"hue": "red"}, DataError, "numbers"),
    ],
)
def test_bad_interventions_get_one_sentence(changes, error, message):
    with pytest.raises(error, match=message):
        ColorSprites(4).intervene([0, 1], **changes)


def test_a_table_and_rows_are_the_same_thing():
    rows = draw_sprites(30, np.random.default_rng(1))
    table = sprite_table(rows)
    np.testing.assert_array_equal(sprite_rows(table), rows)
    assert table.levels["shape"].tolist() == sorted(SHAPES)
    with pytest.raises(UnknownNameError, match="factor"):
        sprite_rows(table.values.drop(columns="size"))
