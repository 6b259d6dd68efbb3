from collections import Counter

import numpy as np
import pytest

from unsnarl.data.scenes import (
    FACING_KINDS,
    HELD_OUT_COLORS,
    HELD_OUT_STYLES,
    KINDS,
    PRIMITIVES,
    STYLES,
    THINGS,
    TURNS_OF,
    SceneStream,
    held_out_in,
    nearest_instance,
    personal_instance,
    photo,
    random_instance,
    render_scenes,
)
from unsnarl.data.scenes._draws import Draws, uniforms
from unsnarl.errors import OptionError, UnknownNameError

KNOWN = {
    "objects": [("cat", "red", "small"), ("orange", "orange", "small")],
    "x": 0.403476304704908,
    "caption": "a photo of a tilted red checked cat facing left and a small orange on a plain pink background even tick",
    "mean": 134.337,
}
MANY = SceneStream(seed=5).scenes(range(1200))


def test_a_scene_is_a_pure_function_of_seed_and_number():
    first, again = SceneStream(3), SceneStream(3)
    numbers = [299_999, 7, 123_456, 0]
    alone = [first[i] for i in numbers]
    assert again.scenes(numbers) == alone
    assert again[np.array(numbers)] == alone
    assert again[5:40:7] == [first[i] for i in range(5, 40, 7)]
    a, b = first.batch(range(20)), again.batch([19, 4])
    np.testing.assert_array_equal(a.drawn.images[[19, 4], :, :, :], b.drawn.images)
    assert [a.texts[19], a.texts[4]] == b.texts
    assert [s for s, _ in zip(again, range(3), strict=False)] == first[:3]


def test_other_seeds_and_numbers_give_other_scenes():
    scenes = [SceneStream(seed)[i] for seed in range(10) for i in range(10)]
    assert len(set(scenes)) == 100


def test_a_known_scene_stays_as_it_is():
    # so that weights trained on a stream stay comparable: change the drawing of scenes only with a new version of them
    scene = SceneStream(0)[1235]
    assert [(o.kind, o.color, o.size) for o in scene.objects] == KNOWN["objects"]
    assert scene.objects[0].x == pytest.approx(KNOWN["x"], abs=1e-12)
    assert SceneStream(0).captions([1235])[0].text == KNOWN["caption"]
    assert render_scenes(scene).images.mean() == pytest.approx(KNOWN["mean"], abs=0.02)


def test_random_numbers_are_uniform_and_independent():
    u = uniforms(1, 1, np.arange(4000), count=32)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.bincount((u.ravel() * 64).astype(int), minlength=64)
    expected = u.size / 64
    assert ((counts - expected) ** 2 / expected).sum() < 110  # chi-squared with 63 degrees of freedom, p = 0.0002
    corr = np.corrcoef(np.column_stack([u, uniforms(2, 1, np.arange(4000)), uniforms(1, 2, np.arange(4000))]).T)
    assert np.abs(corr - np.eye(len(corr))).max() < 0.08
    np.testing.assert_array_equal(uniforms(1, 1, np.array([9]), first=10, count=5), u[9:10, 10:15])
    draws = Draws(1, 1, 9)
    np.testing.assert_array_equal([draws.uniform() for _ in range(200)], uniforms(1, 1, np.array([9]), count=200)[0])


def test_held_out_pairs_and_personal_palettes_are_never_drawn():
    assert not any(held_out_in(scene) for scene in MANY)
    kinds = Counter((o.kind, o.color) for s in MANY for o in s.objects)
    for shape in PRIMITIVES:  # every other pair is
        for color in ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"):
            assert (kinds[shape, color] > 0) == ((shape, color) not in HELD_OUT_COLORS)
    styles = Counter((o.kind, s.style) for s in MANY for o in s.objects)
    for kind in (*PRIMITIVES, *THINGS):
        for style in STYLES[1:]:
            assert (styles[kind, style] > 0) == ((kind, style) not in HELD_OUT_STYLES)


def test_held_out_shares_are_about_a_tenth_and_a_twentieth():
    assert len(HELD_OUT_COLORS) / (8 * 8) == pytest.approx(0.1, abs=0.01)
    assert len(HELD_OUT_STYLES) / (14 * 4) == pytest.approx(0.05, abs=0.01)
    assert len({shape for shape, _ in HELD_OUT_COLORS}) == len({c for _, c in HELD_OUT_COLORS}) == 6


def test_the_stream_of_held_out_pairs_shows_one_in_every_scene():
    scenes = SceneStream(5, held_out="only").scenes(range(300))
    found = [held_out_in(s) for s in scenes]
    assert all(len(f) == 1 for f in found)
    assert {pair for f in found for pair in f} == HELD_OUT_COLORS | HELD_OUT_STYLES


def test_shares_of_the_stream():
    n = len(MANY)
    counts = Counter(len(s.objects) for s in MANY)
    assert counts[1] / n == pytest.approx(0.55, abs=0.03)
    assert counts[3] / n == pytest.approx(0.06, abs=0.015)
    assert sum(s.frame is not None for s in MANY) / n == pytest.approx(0.2, abs=0.02)
    framed = Counter((s.parity, s.beat) for s in MANY if s.frame)
    assert all(c == pytest.approx(sum(framed.values()) / 4, rel=0.25) for c in framed.values())
    relations = Counter(s.relation for s in MANY if len(s.objects) == 2)
    assert all(relations[r] / counts[2] > 0.17 for r in ("left of", "right of", "above", "below"))
    kinds = Counter(o.kind for s in MANY for o in s.objects)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) / sum(kinds.values()) > 0.03


def test_scenes_can_be_seen_and_said():
    for scene in MANY:
        assert len({o.kind for o in scene.objects}) == len(scene.objects)
        for one in scene.objects:
            assert one.color != scene.background
            assert one.accent != one.color
            assert one.turn in TURNS_OF[one.kind]
            if one.kind in PRIMITIVES:
                assert one.facing == "right"
            if one.kind == "orange":
                assert (one.color, one.texture) == ("orange", "plain")
    assert set(FACING_KINDS) <= set(THINGS)


def test_objects_are_mostly_visible():
    drawn = render_scenes(MANY[:500])
    whole, seen = (a.sum(axis=(2, 3), dtype=float) for a in (drawn.whole, drawn.visible))
    shares = seen[whole > 0] / whole[whole > 0]
    assert (shares < 0.6).mean() < 0.01
    assert (shares < 0.98).mean() > 0.03  # but things do lie in front of others
    assert shares.min() > 0.25


def test_counterfactuals_of_a_stream():
    stream = SceneStream(5)
    before, after = stream.batch(range(30)), stream.intervene(range(30), background="pink")
    assert all(s.background == "pink" for s in after.scenes)
    assert [s.objects for s in before.scenes] == [s.objects for s in after.scenes]
    said = [(a, b) for a, b in zip(before.texts, after.texts, strict=True) if a != b]
    assert said
    assert all(b == a.replace(a_word, "pink") for a, b in said for a_word in set(a.split()) - set(b.split()))


def test_instances_are_shown_again_in_other_photos():
    cat = random_instance(9, 4, "cat")
    assert cat == random_instance(9, 4, "cat")
    photos = [photo(cat, 1, i) for i in range(60)]
    assert {p.objects[0].identity for p in photos} == {cat.identity}
    for values in (
        {p.background for p in photos},
        {p.pattern for p in photos},
        {p.objects[0].size for p in photos},
        {(p.objects[0].facing, p.objects[0].turn) for p in photos},
    ):
        assert len(values) > 4
    assert cat.color not in {p.background for p in photos}
    pinned = [photo(cat, 1, i, pattern="dotted", background="blue", turn="tilted", tilt=22.0) for i in range(9)]
    assert {(p.pattern, p.background, p.objects[0].turn, p.objects[0].tilt) for p in pinned} == {
        ("dotted", "blue", "tilted", 22.0)
    }
    both = photo((cat, random_instance(9, 5, "house")), 1, 0, sizes=("medium", "small"))
    assert [o.size for o in both.objects] == ["medium", "small"]
    assert len({random_instance(9, i).body for i in range(50)}) == 50


def test_no_training_scene_is_near_a_personal_instance():
    distance, nearest = nearest_instance(personal_instance(0), SceneStream(5), range(200))
    assert nearest is not None
    assert nearest.kind == "cat"
    assert distance > 1.0
    one = next(o for s in SceneStream(5).scenes(range(100)) for o in s.objects if o.kind == "fish")
    assert nearest_instance(one, SceneStream(5), range(100))[0] == 0.0
    assert nearest_instance(one, SceneStream(5), [])[0] == float("inf")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SceneStream(-1), "seed=-1"),
        (lambda: SceneStream(0, held_out="sometimes"), "held_out='sometimes'"),
        (lambda: SceneStream(0, image_size=28), "image_size=28"),
        (lambda: SceneStream(0)[-1], "must not be negative"),
        (lambda: SceneStream(0)[3:], "has no end"),
        (lambda: SceneStream(0).scenes([0.5]), "must be integers"),
        (lambda: SceneStream(0).scenes([[1, 2]]), "1-D"),
        (lambda: SceneStream(0).captions([1, 2], []), "0 scenes were given for 2"),
        (lambda: random_instance(0, 0, "circle"), "kind='circle'"),
        (lambda: random_instance(0, -2), "index=-2"),
        (lambda: photo([], 0, 0), "instances must be"),
        (lambda: photo(random_instance(0, 0), 0, 0, sizes=("small", "large")), "2 words for 1"),
        (lambda: photo(random_instance(0, 0), 0, 0, background="grey"), "background='grey'"),
        (lambda: photo(random_instance(0, 0), 0, 0, style="cubist"), "style='cubist'"),
    ],
)
def test_bad_options_are_refused(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_unknown_pins_are_refused():
    with pytest.raises(UnknownNameError, match="backdrop"):
        photo(random_instance(0, 0), 0, 0, backdrop="red")
