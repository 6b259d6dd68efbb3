import numpy as np
import pytest

from unsnarl.data._sprites import FACTORS, SHAPES, Sprites, render_sprites, sprite_grid
from unsnarl.errors import DataError, OptionError, UnknownNameError

SIZES = list(FACTORS.values())
MIDDLE = [0, 5, 0, 16, 16]


def row(**changes):
    values = dict(zip(FACTORS, MIDDLE, strict=True)) | changes
    return list(values.values())


def centroid(images):
    weight = images[:, 0].astype(float)
    total = weight.sum(axis=(1, 2))
    places = np.arange(images.shape[-1]) + 0.5
    return (weight.sum(axis=1) @ places) / total, (weight.sum(axis=2) @ places) / total


def test_default_grid_is_that_of_dsprites():
    grid = sprite_grid()
    assert [len(v) for v in grid.values()] == [3, 6, 40, 32, 32]
    np.testing.assert_allclose(grid["scale"], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert grid["orientation"][10] == 90
    assert (grid["pos_x"][0], grid["pos_x"][-1]) == (0, 1)


@pytest.mark.parametrize("antialias", [False, True])
def test_shape_dtype_and_values(antialias):
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(s, size=50) for s in SIZES], axis=1)
    x = render_sprites(rows, antialias=antialias)
    assert x.shape == (50, 1, 64, 64)
    assert x.dtype == np.uint8
    assert (set(np.unique(x)) == {0, 255}) != antialias
    for i in (0, 49):
        np.testing.assert_array_equal(render_sprites(rows[i : i + 1], antialias=antialias)[0], x[i])


def test_square_has_the_pixels_it_should():
    x = render_sprites(np.array([[0, 0, 0]]), factors={"pos_x": 2, "pos_y": 2, "hue": 2}, held={"scale": 1.0})
    # centre (16, 16), half a side 11: columns and rows 5 to 26, pure red
    expected = np.zeros((3, 64, 64), dtype=np.uint8)
    expected[0, 5:27, 5:27] = 255
    np.testing.assert_array_equal(x[0], expected)


@pytest.mark.parametrize("antialias", [False, True])
def test_square_turned_by_a_quarter_is_the_same_pixel_by_pixel(antialias):
    rows = np.array([row(orientation=o, pos_x=3, scale=2) for o in range(40)])
    x = render_sprites(rows, antialias=antialias)
    for quarter in (10, 20, 30):
        np.testing.assert_array_equal(x[:10], x[quarter : quarter + 10])
    assert len(np.unique(x[:10].reshape(10, -1), axis=0)) > 5


def test_ellipse_turned_by_a_half_is_the_same_and_the_heart_is_not():
    x = render_sprites(np.array([row(shape=s, orientation=o) for s in (1, 2) for o in (3, 23)]), antialias=True)
    np.testing.assert_array_equal(x[0], x[1])
    assert (x[2] != x[3]).sum() > 100


@pytest.mark.parametrize("shape", range(3))
def test_area_follows_the_square_of_the_scale(shape):
    x = render_sprites(np.array([row(shape=shape, scale=s) for s in range(6)]), antialias=True)
    area = x.sum(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(area, area[-1] * sprite_grid()["scale"] ** 2, rtol=0.02)


def test_the_shapes_have_nearly_the_same_area_but_differ():
    x = render_sprites(np.array([row(shape=s) for s in range(3)]), antialias=True)
    area = x.sum(axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(area, 484, rtol=0.04)  # 22 x 22
    for a in range(3):
        for b in range(a):
            assert (x[a] != x[b]).sum() > 80


@pytest.mark.parametrize("shape", range(3))
@pytest.mark.parametrize("orientation", [0, 7])
def test_position_moves_the_centroid_by_the_right_number_of_pixels(shape, orientation):
    places = 64 * (0.25 + 0.5 * np.linspace(0, 1, 32))
    for name in ("pos_x", "pos_y"):
        rows = np.array([row(shape=shape, orientation=orientation, **{name: j}) for j in range(32)])
        moved, kept = centroid(render_sprites(rows, antialias=True))[:: 1 if name == "pos_x" else -1]
        np.testing.assert_allclose(moved, places, atol=0.1)
        np.testing.assert_allclose(kept, 64 * (0.25 + 0.5 * 16 / 31), atol=0.1)
        moved, _ = centroid(render_sprites(rows))[:: 1 if name == "pos_x" else -1]
        np.testing.assert_allclose(moved, places, atol=0.5)


@pytest.mark.parametrize("image_size", [32, 64, 50])
def test_sprites_stay_inside(image_size):
    rows = np.array([[s, 5, o, x, y] for s in range(3) for o in range(40) for x in (0, 31) for y in (0, 31)])
    area = render_sprites(rows, image_size, antialias=True).sum(axis=(1, 2, 3)) / 255
    middle = render_sprites(
        np.array([[s, 5, o, 16, 16] for s in range(3) for o in range(40)]), image_size, antialias=True
    )
    np.testing.assert_allclose(area, np.repeat(middle.sum(axis=(1, 2, 3)) / 255, 4), rtol=0.02)


def test_angles_turn_counter_clockwise():
    x = render_sprites(np.array([[0], [1]]), factors={"orientation": [0, 45]}, held={"shape": "ellipse"})
    first, turned = x[:, 0] > 0
    assert first[32, 42]  # the long axis lies flat
    assert not first[25, 39]
    assert turned[25, 39]  # up to the right
    assert not turned[39, 39]


def test_hue_changes_the_colour_and_not_the_mask():
    options = {"factors": {"hue": 8, "shape": 3}, "antialias": True}
    x = render_sprites(np.array([[h, s] for s in range(3) for h in range(8)]), **options)
    assert x.shape == (24, 3, 64, 64)
    masks = x.max(axis=1).reshape(3, 8, 64, 64)
    np.testing.assert_array_equal(masks, np.repeat(masks[:, :1], 8, axis=1))
    assert len(np.unique(x[:8, :, 32, 32], axis=0)) == 8


def test_full_small_grid_has_no_two_equal_images():
    squares = Sprites(None, image_size=32, factors={"pos_x": 8, "pos_y": 8, "hue": 8, "scale": 4})
    assert tuple(squares.observations.shape) == (2048, 3, 32, 32)
    assert squares.factor_names == ["pos_x", "pos_y", "hue", "scale"]
    flat = squares.observations.numpy().reshape(2048, -1)
    assert len(np.unique(flat, axis=0)) == 2048


def test_all_corners_of_the_grid_render():
    rows = np.stack(np.meshgrid(*[[0, s - 1] for s in SIZES], indexing="ij"), axis=-1).reshape(-1, 5)
    x = render_sprites(rows)
    assert (x.reshape(32, -1) > 0).any(axis=1).all()


@pytest.mark.parametrize(
    ("factors", "error", "message"),
    [
        ({"color": 3}, UnknownNameError, "color"),
        ({"shape": 4}, OptionError, "shape"),
        ({"shape": ["square", "star"]}, OptionError, "star"),
        ({"shape": "heart"}, OptionError, "held"),
        ({"scale": [0.5, 1.5]}, OptionError, "scale"),
        ({"scale": [0.5, 0.5]}, OptionError, "different"),
        ({"pos_x": 1}, OptionError, "pos_x"),
        ({"pos_x": [0.5]}, OptionError, "two or more"),
        ({"orientation": [0, float("nan")]}, OptionError, "orientation"),
        ({}, OptionError, "no factor"),
    ],
)
def test_bad_factors_are_refused(factors, error, message):
    with pytest.raises(error, match=message):
        sprite_grid(factors)


def test_bad_held_values_are_refused():
    with pytest.raises(OptionError, match="vary or be held"):
        Sprites(2, held={"shape": "heart"})
    with pytest.raises(OptionError, match="pos_x"):
        Sprites(2, factors={"pos_y": 3}, held={"pos_x": 2.0})
    with pytest.raises(UnknownNameError, match="size"):
        Sprites(2, factors={"pos_y": 3}, held={"size": 1.0})
    with pytest.raises(DataError, match="pos_y=3"):
        render_sprites(np.array([[3]]), factors={"pos_y": 3})


def test_simulator_renders_exact_counterfactuals():
    sprites = Sprites(20, seed=1)
    edited = sprites.intervene(slice(None), shape="heart", orientation=90.0)
    rows = sprites.indices_of(sprites.table)
    rows[:, 0], rows[:, 2] = SHAPES.index("heart"), 10
    np.testing.assert_array_equal(edited.observations.numpy(), render_sprites(rows))
    np.testing.assert_array_equal(sprites.render(sprites.table).numpy(), sprites.observations.numpy())
