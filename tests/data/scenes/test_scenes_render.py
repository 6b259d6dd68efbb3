import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from unsnarl.data.scenes import (
    KINDS,
    PATTERNS,
    SIZES,
    STYLES,
    THINGS,
    Scene,
    SceneObject,
    SceneStream,
    from_signed,
    random_instance,
    render_scenes,
    to_signed,
)
from unsnarl.errors import DataError, OptionError, UnknownNameError

STREAM = SceneStream(seed=11).scenes(range(300))
DRAWN = render_scenes(STREAM)


def pair(**changes):
    cat = SceneObject("cat", "red", "yellow", x=0.35, y=0.5)
    heart = SceneObject("heart", "purple", x=0.6, y=0.5)
    return Scene((cat, heart), "checkered", "cyan", **changes)


def differing(before, after):
    return (before.images != after.images).any(axis=1)


def touched(*drawings, k):
    """Pixels that object k of any of the drawings touches."""
    return np.any([d.whole[:, k] > 0 for d in drawings], axis=0)


def test_shapes_and_types():
    assert DRAWN.images.shape == (300, 3, 32, 32)
    assert DRAWN.images.dtype == np.uint8
    assert DRAWN.visible.shape == DRAWN.whole.shape == (300, 3, 32, 32)
    large = render_scenes(STREAM[:5], 64)
    assert large.images.shape == (5, 3, 64, 64)
    empty = render_scenes(Scene((), "striped", "green"))
    assert empty.visible.shape == (1, 0, 32, 32)
    assert render_scenes([]).images.shape == (0, 3, 32, 32)


def test_a_scene_has_the_same_pixels_in_any_batch():
    for i in (0, 17, 299):
        alone = render_scenes(STREAM[i])
        np.testing.assert_array_equal(alone.images[0], DRAWN.images[i])
        objects = len(STREAM[i].objects)
        np.testing.assert_array_equal(alone.visible[0], DRAWN.visible[i, :objects])
        assert not DRAWN.visible[i, objects:].any()


def test_twice_the_size_shows_the_same_picture():
    plain = [s for s in STREAM if s.style != "mosaic" and s.frame is None][:60]
    small = render_scenes(plain).images.astype(float)
    large = render_scenes(plain, 64).images.reshape(len(plain), 3, 32, 2, 32, 2).mean(axis=(3, 5))
    assert np.abs(small - large).mean() < 4


@pytest.mark.parametrize("size", list(SIZES)[:4])
def test_a_circle_has_the_area_of_its_diameter(size):
    circle = SceneObject("circle", "red", size=size)
    area = render_scenes(Scene((circle,))).visible.sum() / 255
    assert area == pytest.approx(np.pi * (0.49 * 32 * circle.diameter) ** 2, rel=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_no_object_is_under_ten_pixels_and_sizes_do_not_overlap(kind):
    spans = {}
    for size in list(SIZES)[:4]:
        spans[size] = []
        for i in range(6):
            one = random_instance(5, i, kind) if kind in THINGS else SceneObject(kind, "red")
            box = render_scenes(Scene((replace(one, size=size, size_at=i / 5),))).boxes()[0, 0]
            spans[size].append(max(box[2] - box[0], box[3] - box[1]))
    assert min(spans["very small"]) >= 9  # a tip that fills less than half a pixel is not in the mask
    assert np.mean(spans["very small"]) >= 10
    means = [np.mean(v) for v in spans.values()]
    assert all(b > 1.15 * a for a, b in itertools.pairwise(means))


@pytest.mark.parametrize("kind", THINGS)
def test_left_mirrors_right_and_upside_down_mirrors_upright(kind):
    for i in range(3):
        one = random_instance(2, i, kind)
        right, left, down = (
            render_scenes(Scene((replace(one, **c),))).images[0].astype(float)
            for c in ({}, {"facing": "left"}, {"turn": "upside down"})
        )
        np.testing.assert_allclose(left[:, :, ::-1], right, atol=24)  # a sample on an edge may fall to either side
        assert np.abs(left[:, :, ::-1] - right).mean() < 0.1
        assert np.abs(down[:, ::-1] - right).mean() < 0.1
        if kind != "tree":
            assert np.abs(left - right).mean() > 1


def test_a_mask_is_where_taking_the_object_away_changes_the_image():
    checked = 0
    for i, scene in enumerate(STREAM[:150]):
        for k in range(len(scene.objects)):
            seen = DRAWN.visible[i, k]
            without = render_scenes(scene.without(k)).images[0]
            change = np.abs(DRAWN.images[i].astype(int) - without).max(axis=0)
            assert not change[seen == 0].any()
            full = seen == 255
            checked += int(full.sum())
            if scene.style == "none":
                assert (change[full] > 0).mean() > 0.97  # an object may show its background's colour at a spot
    assert checked > 8_000


def test_what_is_in_front_hides_what_is_behind():
    front_first = render_scenes(pair(order=(1, 0)))
    heart_first = render_scenes(pair(order=(0, 1)))
    np.testing.assert_array_equal(front_first.whole, heart_first.whole)
    np.testing.assert_array_equal(front_first.visible[:, 0], front_first.whole[:, 0])
    np.testing.assert_array_equal(heart_first.visible[:, 1], heart_first.whole[:, 1])
    assert front_first.visible[:, 1].sum() < front_first.whole[:, 1].sum()
    total = DRAWN.visible.astype(int).sum(axis=1)
    assert total.max() <= 255 + 3  # rounded up once an object


CHANGES = {
    "color": ["green", "blue"],
    "accent": ["pink", "green"],
    "texture": ["plain", "checked"],
    "kind": ["robot", "star"],
    "size": ["very small", "medium"],
    "size_at": [0.0, 1.0],
    "facing": ["left", "right"],
    "turn": ["tilted", "upside down"],
    "tilt": [-30.0, 30.0],
    "x": [0.4, 0.6],
    "y": [0.4, 0.6],
    "body": [(0.1, 0.9, 0.2, 0.8, 0.3, 0.7), (0.9, 0.1, 0.8, 0.2, 0.7, 0.3)],
}


@pytest.mark.parametrize("factor", list(CHANGES))
def test_changing_an_object_changes_no_pixel_outside_its_masks(factor):
    for k in (0, 1):
        scenes = [s for s in STREAM if len(s.objects) > k][:90]
        values = [next(v for v in CHANGES[factor] if getattr(s.objects[k], factor) != v) for s in scenes]
        changed = [s.intervene(of=k, **{factor: v}) for s, v in zip(scenes, values, strict=True)]
        before, after = render_scenes(scenes), render_scenes(changed)
        outside = ~touched(before, after, k=k)
        assert not differing(before, after)[outside].any()
        others = [j for j in range(before.whole.shape[1]) if j != k]
        np.testing.assert_array_equal(before.whole[:, others], after.whole[:, others])
        if factor in ("color", "kind", "size", "x", "y"):
            assert differing(before, after).any(axis=(1, 2)).all()
        if factor in ("color", "accent", "texture"):
            np.testing.assert_array_equal(before.visible, after.visible)
        for a, b in zip(scenes, changed, strict=True):
            assert b.intervene(of=k, **{factor: getattr(a.objects[k], factor)}) == a


@pytest.mark.parametrize(("factor", "value"), [("pattern", "wavy"), ("background", "pink"), ("phase", (0.9, 0.4))])
def test_changing_the_background_changes_no_pixel_that_is_all_object(factor, value):
    scenes = [s for s in STREAM if s.style != "mosaic"][:150]
    before, after = render_scenes(scenes), render_scenes([s.intervene(**{factor: value}) for s in scenes])
    covered = (before.visible == 255).any(axis=1)
    assert covered.sum() > 2000
    assert not differing(before, after)[covered].any()
    np.testing.assert_array_equal(before.visible, after.visible)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_changes_the_look_and_not_the_masks(style):
    scenes = [s for s in STREAM if s.style == "none"][:40]
    before, after = render_scenes(scenes), render_scenes([s.intervene(style=style) for s in scenes])
    if style == "none":
        np.testing.assert_array_equal(before.images, after.images)
        return
    assert differing(before, after).mean() > 0.6
    if style != "mosaic":
        np.testing.assert_array_equal(before.whole, after.whole)
    else:  # shares are those of the stones
        stones = before.whole.reshape(40, -1, 16, 2, 16, 2).astype(float).mean(axis=(3, 5))
        np.testing.assert_allclose(after.whole[:, :, ::2, ::2], stones, atol=1.1)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [32, 64])
def test_the_frame_is_an_exact_ring(style, size):
    base = pair(style=style)
    plain = render_scenes(base, size)
    ring = np.ones((size, size), dtype=bool)
    ring[size // 16 : -size // 16, size // 16 : -size // 16] = False
    for parity, beat, color in (("odd", "tick", 255), ("odd", "tock", 0), ("even", "tick", 0), ("even", "tock", 255)):
        scene = base.intervene(parity=parity, beat=beat)
        assert scene.frame == ("white" if color else "black")
        drawn = render_scenes(scene, size)
        assert (drawn.images[0][:, ring] == color).all()
        np.testing.assert_array_equal(drawn.images[0][:, ~ring], plain.images[0][:, ~ring])
        assert not drawn.visible[0][:, ring].any()


def test_objects_of_the_stream_keep_off_the_frame():
    ring = np.ones((32, 32), dtype=bool)
    ring[2:-2, 2:-2] = False
    for scene, whole in zip(STREAM, DRAWN.whole, strict=True):
        for one, cover in zip(scene.objects, whole, strict=False):
            if one.size in ("very small", "small", "medium") and scene.style != "mosaic":
                assert not cover[ring].any()


@pytest.mark.parametrize("relation", ["left of", "right of", "above", "below"])
def test_relations_are_changed_and_read_back(relation):
    scenes = [s for s in STREAM if s.relation is not None]
    assert len(scenes) > 70
    for scene in scenes:
        turned = scene.intervene(relation=relation)
        assert turned.relation == relation
        assert turned.objects[2:] == scene.objects[2:]
        a, b = (np.hypot(s.objects[0].x - s.objects[1].x, s.objects[0].y - s.objects[1].y) for s in (scene, turned))
        assert a == pytest.approx(b)
        if scene.relation == relation:
            assert turned == scene


def test_the_relation_is_where_the_masks_are():
    for scene, visible in zip(STREAM, DRAWN.whole, strict=True):
        if scene.relation is None or len(scene.objects) != 2:
            continue
        rows, columns = np.mgrid[:32, :32]
        centers = [((m * columns).sum() / m.sum(), (m * rows).sum() / m.sum()) for m in visible[:2].astype(float)]
        dx, dy = centers[1][0] - centers[0][0], centers[1][1] - centers[0][1]
        axis = {"left of": dx, "right of": -dx, "above": dy, "below": -dy}[scene.relation]
        assert axis > 4


def test_boxes_and_masks():
    drawn = render_scenes(pair())
    for k in range(2):
        left, top, right, bottom = drawn.boxes()[0, k]
        mask = drawn.masks()[0, k]
        assert mask[top:bottom, left:right].sum() == mask.sum() > 60
        assert mask[top, left:right].any()
        assert mask[top:bottom, right - 1].any()
    touching = drawn.masks("whole", 1e-9)[0, 0]
    np.testing.assert_array_equal(touching, drawn.whole[0, 0] > 0)
    assert (render_scenes(STREAM[:40]).boxes()[~DRAWN.masks()[:40].any(axis=(2, 3))] == 0).all()
    with pytest.raises(OptionError, match="at_least"):
        drawn.masks(at_least=0.0)
    with pytest.raises(OptionError, match="visible"):
        drawn.masks("hidden")


def test_patterns_and_colours_differ():
    grounds = [Scene((), p, c) for p in PATTERNS for c in ("red", "orange", "yellow", "green", "cyan", "blue")]
    flat = render_scenes(grounds).images.reshape(len(grounds), -1).astype(int)
    gaps = np.abs(flat[:, None] - flat[None]).mean(axis=2)
    assert gaps[~np.eye(len(grounds), dtype=bool)].min() > 6


def test_signed_images_and_back():
    signed = to_signed(DRAWN.images)
    assert signed.dtype == torch.float32
    assert signed.min() >= -1
    assert signed.max() <= 1
    np.testing.assert_array_equal(from_signed(signed).numpy(), DRAWN.images)
    assert from_signed(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "dog"}, "kind='dog'"),
        ({"color": "crimson"}, "color='crimson'"),
        ({"size": "tiny"}, "size='tiny'"),
        ({"x": 1.5}, "x=1.5"),
        ({"y": float("nan")}, "y=nan"),
        ({"tilt": 90.0}, "tilt=90"),
        ({"body": (0.5,) * 5}, "6 numbers"),
        ({"body": (2.0,) * 6}, "6 numbers"),
        ({"turn": "sideways"}, "turn='sideways'"),
    ],
)
def test_bad_objects_are_refused(changes, message):
    with pytest.raises(OptionError, match=message):
        SceneObject(**({"kind": "cat", "color": "red"} | changes))


def test_bad_scenes_are_refused():
    one = SceneObject("cat", "red")
    for options, message in [
        ({"pattern": "zigzag"}, "pattern='zigzag'"),
        ({"style": "cubist"}, "style='cubist'"),
        ({"parity": "odd"}, "go together"),
        ({"phase": (0.0, 2.0)}, "phase"),
        ({"order": (1,)}, "order"),
    ]:
        with pytest.raises(OptionError, match=message):
            Scene((one,), **options)
    with pytest.raises(OptionError, match="at most 3"):
        Scene((one,) * 4)
    with pytest.raises(OptionError, match="image_size=48"):
        render_scenes(Scene((one,)), 48)
    with pytest.raises(DataError, match=r"scenes\[1\] is a str"):
        render_scenes([Scene((one,)), "cat"])


def test_bad_interventions_are_refused():
    scene = pair()
    with pytest.raises(OptionError, match="at least one factor"):
        scene.intervene()
    with pytest.raises(UnknownNameError, match="colour"):
        scene.intervene(colour="red")
    with pytest.raises(OptionError, match="of=2"):
        scene.intervene(of=2, color="red")
    with pytest.raises(OptionError, match="relation='near'"):
        scene.intervene(relation="near")
    with pytest.raises(OptionError, match="no clear relation"):
        scene.without(1).intervene(relation="above")
    with pytest.raises(OptionError, match="which=5"):
        scene.without(5)
