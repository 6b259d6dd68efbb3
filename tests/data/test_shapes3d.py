import numpy as np
import pytest

from unsnarl.data import _shapes3d as module
from unsnarl.data._shapes3d import (
    FLOOR,
    GRID,
    LAYERS,
    OBJECT,
    SHAPES,
    SKY,
    UNIT,
    WALL,
    WHITE,
    Shapes3D,
    hue_colors,
    render_shapes3d,
)
from unsnarl.errors import DataError, OptionError

SIZES = [10, 10, 10, 8, 4, 15]
FIRST = np.array([0, 3, 6, 4, 0, 7])


def scenes(count, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(s, size=count) for s in SIZES], axis=1)


def varied(column, start=FIRST):
    rows = np.tile(start, (SIZES[column], 1))
    rows[:, column] = np.arange(SIZES[column])
    return rows


def layers_of(scale, shape, orientation, image_size=64):
    scene = np.ravel_multi_index((scale, shape, orientation), SIZES[3:])
    return module._kept_layers(image_size, np.array([scene]))[scene].astype(np.int64)


def changed(rows):
    """Where any of the images differs from the first: boolean (height, width)."""
    x = render_shapes3d(rows)
    return (x != x[:1]).any(axis=(0, 1))


def test_grid_is_that_of_the_original():
    assert list(GRID) == ["floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"]
    assert [len(v) for v in GRID.values()] == SIZES
    np.testing.assert_allclose(GRID["object_hue"], np.linspace(0, 0.9, 10))
    assert (GRID["scale"][0], GRID["scale"][-1]) == (0.75, 1.25)
    assert (GRID["orientation"][0], GRID["orientation"][7], GRID["orientation"][-1]) == (-30, 0, 30)


def test_hues_are_the_pure_colours_of_hsv():
    expected = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert hue_colors(np.array([0.0, 1 / 3, 2 / 3])).tolist() == expected
    assert hue_colors(np.array([0.1])).tolist() == [[255, 153, 0]]


@pytest.mark.parametrize("image_size", [16, 64, 65])
def test_shape_and_dtype(image_size):
    x = render_shapes3d(scenes(3), image_size)
    assert x.shape == (3, 3, image_size, image_size)
    assert x.dtype == np.uint8


def test_same_factors_same_pixels_in_any_batch():
    rows = scenes(40)
    together = render_shapes3d(rows)
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_array_equal(render_shapes3d(rows[order]), together[order])
    for i in (0, 17, 39):
        np.testing.assert_array_equal(render_shapes3d(rows[i : i + 1])[0], together[i])


def test_large_pictures_are_rendered_without_the_store_to_the_same_pixels(monkeypatch):
    rows = scenes(12)
    kept = render_shapes3d(rows, 32)
    monkeypatch.setattr(module, "CACHE_BYTES", 3 * LAYERS * 2 * 32**2)  # room for three scenes at a time
    np.testing.assert_array_equal(render_shapes3d(rows, 32), kept)


def test_image_is_the_sum_of_layers_times_colours():
    rows = scenes(20)
    x = render_shapes3d(rows)
    for row, image in zip(rows, x, strict=True):
        layers = layers_of(*row[3:])
        total = sum(layers[k] * hue_colors(np.array([row[k] / 10]))[0].astype(int)[:, None, None] for k in range(3))
        total = total + layers[SKY] * np.array(module.SKY_RGB)[:, None, None] + layers[WHITE] * 255
        np.testing.assert_array_equal(image, (total + UNIT // 2) // UNIT)


def test_no_pixel_gets_more_light_than_it_can_show():
    render_shapes3d(scenes(400))
    layers, filled = module._layer_store(64)
    assert layers[filled].astype(int).sum(axis=1).max() <= UNIT


@pytest.mark.parametrize("shape", range(4))
@pytest.mark.parametrize(("column", "layer"), [(0, FLOOR), (1, WALL), (2, OBJECT)])
def test_a_hue_changes_its_own_surface_and_no_other_pixel(shape, column, layer):
    start = FIRST.copy()
    start[4] = shape
    coverage = layers_of(*start[3:])[layer]
    moved = changed(varied(column, start))
    assert not moved[coverage == 0].any()
    assert moved[coverage > UNIT // 50].all()
    assert 0.05 < moved.mean() < 0.6


def test_scale_and_shape_leave_the_far_background_alone():
    for column in (3, 4):
        moved = changed(varied(column))
        assert not moved[:12].any()  # the sky and the top of the walls
        assert moved.mean() < 0.5


def test_object_grows_with_scale():
    for shape in range(4):
        area = [np.count_nonzero(layers_of(scale, shape, 7)[OBJECT]) for scale in range(8)]
        assert (np.diff(area) > 0).all()
        assert area[-1] / area[0] == pytest.approx((1.25 / 0.75) ** 2, rel=0.25)


def test_object_stays_inside_and_stands_in_the_middle():
    for shape in range(4):
        for orientation in (0, 7, 14):
            rows, columns = np.nonzero(layers_of(7, shape, orientation)[OBJECT])
            assert rows.min() > 4
            assert rows.max() < 60
            assert abs((columns.min() + columns.max()) / 2 - 31.5) < 4


def test_the_four_shapes_differ_by_far():
    x = render_shapes3d(varied(4)).astype(int)
    for a in range(4):
        for b in range(a):
            assert (np.abs(x[a] - x[b]).max(axis=0) > 40).sum() > 60, (SHAPES[a], SHAPES[b])


def test_round_shapes_look_the_same_from_every_side_but_the_room_turns():
    for shape in (1, 2, 3):
        masks = [layers_of(4, shape, orientation)[OBJECT] > 0 for orientation in range(15)]
        assert all(np.array_equal(mask, masks[0]) for mask in masks)
    corner = [np.argmin(layers_of(0, 2, o)[WALL][18]) for o in range(15)]  # the corner is the darkest part of the wall
    assert (np.diff(corner) < 0).all() or (np.diff(corner) > 0).all()
    assert abs(corner[0] - corner[-1]) > 20


def test_cube_seen_from_the_corner_is_symmetric():
    mask = layers_of(4, 0, 7)[OBJECT] > 0
    np.testing.assert_array_equal(mask, mask[:, ::-1])


def test_sphere_outline_is_where_perspective_puts_it():
    # the outline of a ball of radius r at distance d spans the angle 2 asin(r / d)
    image_size, radius = 64, 0.6 * 1.25
    mask = layers_of(7, 2, 7)[OBJECT] > 0
    distance = np.hypot(module.EYE_DISTANCE, module.EYE_HEIGHT - radius)
    reach = np.tan(np.radians(module.FIELD_OF_VIEW) / 2)
    diameter = np.tan(np.arcsin(radius / distance)) / reach * image_size
    assert mask.any(axis=0).sum() == pytest.approx(diameter, abs=2)


def test_shadow_falls_away_from_the_lamp():
    floor = layers_of(4, 2, 7)[FLOOR]
    assert floor[43, 45] < 0.8 * floor[43, 18]  # right of the ball lies its shadow, left of it the lit floor


def test_all_corners_of_the_grid_render_and_differ():
    rows = np.stack(np.meshgrid(*[[0, s - 1] for s in SIZES], indexing="ij"), axis=-1).reshape(-1, 6)
    x = render_shapes3d(rows, 32)
    assert len(np.unique(x.reshape(len(x), -1), axis=0)) == 64


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((2, 5), dtype=int), "shape"),
        (np.zeros((2, 6)), "integers"),
        (np.array([[0, 0, 0, 8, 0, 0]]), "scale"),
        (np.array([[0, 0, -1, 0, 0, 0]]), "object_hue"),
    ],
)
def test_bad_indices_are_refused(rows, message):
    check = getattr(render_shapes3d, "__wrapped__", render_shapes3d)
    with pytest.raises(DataError, match=message):
        check(rows)


def test_bad_image_size_is_refused():
    with pytest.raises(OptionError, match="image_size"):
        render_shapes3d(scenes(1), 4)


def test_simulator_renders_exact_counterfactuals():
    rooms = Shapes3D(size=30, seed=3)
    assert tuple(rooms.observations.shape) == (30, 3, 64, 64)
    assert rooms.factor_names == list(GRID)
    assert rooms.factor_sizes == SIZES
    assert set(rooms.factors["shape"]) <= set(SHAPES)
    edited = rooms.intervene(slice(None), object_hue=0.5, shape="sphere")
    rows = rooms.indices_of(rooms.table)
    rows[:, 2], rows[:, 4] = 5, 2
    np.testing.assert_array_equal(edited.observations.numpy(), render_shapes3d(rows))
    np.testing.assert_array_equal(rooms.render(rooms.table).numpy(), rooms.observations.numpy())
    again = Shapes3D(size=30, seed=3)
    np.testing.assert_array_equal(again.observations.numpy(), rooms.observations.numpy())
