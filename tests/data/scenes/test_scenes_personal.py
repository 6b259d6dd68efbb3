from collections import Counter

import numpy as np
import pytest

from unsnarl.data.scenes import (
    HELD_OUT_COLORS,
    THINGS,
    held_out_in,
    joint_prompts,
    pairs,
    parse,
    personal_instance,
    render_scenes,
    single_prompts,
    solo,
    triples,
)
from unsnarl.data.scenes._held_out import PERSONAL, PERSONAL_PALETTES
from unsnarl.errors import OptionError

VERSIONS = ("varied", "confounded", "pose-confounded")
TOGETHER = (*pairs(), *triples())


def ground(scene):
    return scene.pattern, scene.background


def pose(scene):
    return scene.objects[0].facing, scene.objects[0].turn


def test_the_sets_have_their_sizes_and_two_for_development():
    for version in VERSIONS:
        sets = solo(version)
        assert len(sets) == 12
        assert all(len(p.photos) == 5 for p in sets)
        assert Counter(p.class_words[0] for p in sets) == dict.fromkeys(THINGS, 2)
    assert (len(pairs()), len(triples())) == (10, 4)
    assert all(len(p.photos) == 1 for p in TOGETHER)
    for sets in (solo(), pairs(), triples()):
        assert [p.development for p in sets] == [True, True] + [False] * (len(sets) - 2)


def test_the_instances_differ_and_are_the_same_in_every_photo():
    assert len({personal_instance(i).identity for i in range(len(PERSONAL))}) == len(PERSONAL) == 44
    assert len(PERSONAL_PALETTES) == 44
    for version in VERSIONS:
        for number, one in enumerate(solo(version)):
            assert {photo.objects[0].identity for photo in one.photos} == {personal_instance(number).identity}
    for one in TOGETHER:
        assert [o.identity for o in one.photos[0].objects] == [o.identity for o in one.instances]
        assert len(set(one.class_words)) == len(one.class_words)


def test_every_personal_thing_is_known_to_be_held_out():
    for one in (*solo(), *TOGETHER):
        for scene in one.photos:
            assert len([f for f in held_out_in(scene) if len(f) == 3]) == len(one.instances)


def test_varied_photos_share_neither_background_nor_pose():
    for one in solo("varied"):
        assert len({ground(p) for p in one.photos}) == 5
        assert len({pose(p) for p in one.photos}) == 5
        assert all(len(p.objects) == 1 for p in one.photos)


def test_confounded_photos_share_the_background_and_half_the_time_a_second_object():
    shares = []
    for one in solo("confounded"):
        assert len({(*ground(p), p.phase) for p in one.photos}) == 1
        assert len({pose(p) for p in one.photos}) == 5
        seconds = [p.objects[1] for p in one.photos if len(p.objects) == 2]
        assert len({(o.kind, o.color) for o in seconds}) == 1
        assert (seconds[0].kind, seconds[0].color) not in HELD_OUT_COLORS
        assert seconds[0].color not in (one.instances[0].color, one.photos[0].background)
        shares.append(len(seconds) / 5)
    assert np.mean(shares) == 0.5


def test_pose_confounded_photos_share_the_pose_and_not_the_background():
    for one in solo("pose-confounded"):
        assert len({(*pose(p), p.objects[0].tilt) for p in one.photos}) == 1
        assert one.photos[0].objects[0].turn != "upright"
        assert len({ground(p) for p in one.photos}) == 5


def test_instances_are_wholly_visible_and_large_enough():
    for version in VERSIONS:
        for one in solo(version):
            drawn = render_scenes(one.photos)
            np.testing.assert_array_equal(drawn.visible[:, 0], drawn.whole[:, 0])
            boxes = drawn.boxes()[:, 0]
            assert (np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= 10).all()
    for one in TOGETHER:
        drawn = render_scenes(one.photos)
        shares = drawn.visible.sum(axis=(2, 3), dtype=float) / drawn.whole.sum(axis=(2, 3), dtype=float)
        assert shares.min() > 0.93
        boxes = drawn.boxes()[0]
        assert (np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= 10).all()
    assert all(p.photos[0].relation is not None for p in pairs())


def test_recipes_give_the_same_photos_every_time():
    photos = [scene for one in (*solo("confounded"), *TOGETHER) for scene in one.photos]
    solo.cache_clear()
    pairs.cache_clear()
    triples.cache_clear()
    assert photos == [s for one in (*solo("confounded"), *pairs(), *triples()) for s in one.photos]


def test_prompts_ask_for_what_they_say_and_for_nothing_in_the_photos():
    for number, one in enumerate(solo()):
        subject = one.instances[0]
        prompts = single_prompts(subject)
        assert len(prompts) == 12
        grounds = {ground(p) for version in VERSIONS for p in solo(version)[number].photos}
        for prompt in prompts:
            asks = {factor: value for factor, of, value in prompt.asks if factor != "kind"}
            assert (asks.get("pattern"), asks.get("background")) not in grounds
            assert subject.color not in (asks.get("background"), asks.get("color"))
            parsed = parse(prompt.text(f"sks {subject.kind}"))
            read = {"relation": parsed.relation, "pattern": parsed.pattern, "style": parsed.style}
            read |= {"background": parsed.background, "size": parsed.objects[0].get("size")}
            if len(parsed.objects) == 2:
                read["color"] = parsed.objects[1]["color"]
                assert (parsed.objects[1]["kind"], read["color"]) not in HELD_OUT_COLORS
            assert asks == {name: value for name, value in read.items() if value is not None}
            assert len(prompt.text(f"sks {subject.kind}").split()) <= 22
    kinds = Counter(
        next(f for f in ("relation", "pattern", "size", "style", "color") if f in {a[0] for a in p.asks})
        for p in prompts
    )
    assert kinds == {"relation": 3, "pattern": 3, "size": 2, "style": 2, "color": 2}


def test_joint_prompts_name_every_subject():
    for one in TOGETHER:
        prompts = joint_prompts(one.instances)
        assert len(prompts) == 8
        assert len({p.template for p in prompts}) == 8
        for prompt in prompts:
            parsed = parse(prompt.text(*(f"sks {kind}" for kind in one.class_words)))
            assert sorted(o["kind"] for o in parsed.objects) == sorted(one.class_words)
            asks = {factor: value for factor, _, value in prompt.asks}
            assert asks.get("background") == parsed.background
            assert (parsed.pattern, parsed.background) != ground(one.photos[0])
            assert parsed.background not in {o.color for o in one.instances}
    assert prompts[0].text("<new1>", "<new2>", "<new3>", article=False) == "a photo of <new1> and <new2> and <new3>"


def test_seeds_are_fixed_and_differ_between_prompts():
    seeds = [s for p in (*single_prompts(personal_instance(0)), *joint_prompts(pairs()[0].instances)) for s in p.seeds]
    assert len(seeds) == len(set(seeds)) == 20 * 4
    assert single_prompts(personal_instance(0))[3].seeds == single_prompts(personal_instance(7))[3].seeds


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: solo("mixed"), "version='mixed'"),
        (lambda: personal_instance(44), "number=44"),
        (lambda: joint_prompts(solo()[0].instances), "got 1"),
        (lambda: single_prompts(personal_instance(0))[0].text(), "1 subject, got 0"),
        (lambda: joint_prompts(pairs()[0].instances)[0].text("sks cat"), "2 subjects, got 1"),
    ],
)
def test_bad_requests_are_refused(call, message):
    with pytest.raises(OptionError, match=message):
        call()
