"""The grading of personalised images, by an oracle that knows the truth."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from unsnarl.data.scenes import Scene, SceneObject, Stated, render_scenes, single_prompts, solo, to_signed
from unsnarl.errors import DataError, OptionError, UnknownNameError
from unsnarl.zoo._identity import crop_objects
from unsnarl.zoo._oracle import SceneReading, SeenObject
from unsnarl.zoo._personal_grading import between_instances, photo_vectors, score_personal

transformers = pytest.importorskip("transformers")


class Truth:
    """An oracle that reads what scenes say."""

    def __init__(self, scenes):
        self.scenes = scenes

    def read(self, images):
        assert len(images) == len(self.scenes)
        return [
            SceneReading(tuple(seen(o) for o in s.objects), s.pattern, s.background, s.style, s.frame or "none")
            for s in self.scenes
        ]


def seen(o):
    return SeenObject(o.kind, o.color, o.texture, o.size, o.turn, o.facing, o.x, o.y, o.diameter, 0.9)


def by_colour(crops):
    """Who an object is, by the mean colour of the middle of the crop."""
    return torch.nn.functional.normalize(crops[:, :, 8:16, 8:16].mean((2, 3)) + 1e-3, dim=1)


@pytest.fixture(scope="module")
def clip():
    from unsnarl.zoo._contrastive import clip_config
    from unsnarl.zoo._tokenizer import scene_tokenizer

    torch.manual_seed(0)
    config = clip_config(scene_tokenizer(), width=16, text_layers=1, vision_layers=1, heads=2, patch=8, projection=16)
    return transformers.CLIPModel(config).eval()


def images_of(scenes, side=32):
    return to_signed(render_scenes(scenes, side).images)


RED = SceneObject("house", "red", "red", x=0.35, y=0.5, size="large")
BLUE = replace(RED, color="blue", accent="blue", x=0.75)
PHOTOS = [Scene((RED,), "plain", "yellow"), Scene((replace(RED, x=0.6),), "striped", "green")]
TRAINING = [
    Scene((RED, SceneObject("star", "cyan", x=0.8, size="small")), "checkered", "pink"),
    Scene((replace(RED, turn="tilted"),), "checkered", "pink"),
]


def score(scenes, asks=(), clip=None, **options):
    given = {"oracle": Truth(scenes), "identity": by_colour, "clip": clip, **options}
    return score_personal(images_of(scenes), RED, PHOTOS, asks, TRAINING, **given)


def test_identity_is_that_of_the_object_most_like_the_references_and_0_without_one(clip):
    scenes = [
        Scene((RED,), "wavy", "cyan"),
        Scene((BLUE, replace(RED, x=0.25)), "wavy", "cyan"),  # the surer one is another house
        Scene((BLUE,), "wavy", "cyan"),
        Scene((SceneObject("circle", "red"),), "wavy", "cyan"),
    ]
    wrong = [[Scene((BLUE,), "plain", "yellow")]]
    scores = score(scenes, clip=clip, wrong=wrong)
    references = photo_vectors(PHOTOS, by_colour)

    def like(scene, k, vectors):
        one = scene.objects[k]
        side = torch.tensor([1.15 * max(one.diameter, 0.2)])
        crop = crop_objects(images_of([scene]), torch.tensor([[one.x, one.y]]), side)
        return float((by_colour(crop) @ vectors.T).mean())

    expected = [like(scenes[0], 0, references), like(scenes[1], 1, references), like(scenes[2], 0, references), 0.0]
    assert scores.identity.tolist() == pytest.approx(expected, abs=1e-5)
    assert expected[0] > 0.9
    assert expected[1] > expected[2] + 0.5
    assert scores.found.tolist() == [True, True, True, False]
    others = photo_vectors(wrong[0], by_colour)
    assert scores.margin[0] == pytest.approx(expected[0] - like(scenes[0], 0, others), abs=1e-5)
    assert scores.margin[2] < -0.5
    assert scores.margin[3] == 0
    assert np.isnan(score(scenes, clip=clip).margin).all()


def test_fidelity_is_the_share_of_what_was_asked(clip):
    prompts = single_prompts(RED)
    assert [p.asks[0].factor for p in prompts] == ["pattern"] * 3 + ["relation"] * 3 + ["size"] * 2 + ["style"] * 2 + [
        "kind"
    ] * 2
    told = {f: v for f, _, v in prompts[0].asks}
    ground = Scene((RED,), told["pattern"], told["background"])
    half = replace(ground, background="purple")
    (_, kind, color) = (s.value for s in prompts[3].asks)
    circle = SceneObject(kind, color, x=0.85)
    right = Scene((replace(RED, x=0.25), circle))
    turned = Scene((replace(RED, x=0.85), replace(circle, x=0.2)))
    wrong_color = Scene((replace(RED, x=0.25), replace(circle, color="purple")))
    small = Scene((replace(RED, size="small"),))
    scenes = [
        ground,
        half,
        right,
        turned,
        wrong_color,
        Scene((circle,)),
        small,
        Scene((RED,)),
        Scene((RED,), style="pastel"),
    ]
    asks = [prompts[i].asks for i in (0, 0, 3, 3, 3, 3, 6, 6, 8)]
    fidelity = score(scenes, asks, clip=clip).fidelity
    assert fidelity.tolist() == pytest.approx([1, 0.5, 1, 2 / 3, 2 / 3, 2 / 3, 1, 0, 1])
    assert math.isnan(score([ground], clip=clip).fidelity[0])


def test_a_second_subject_is_the_other_end_of_a_relation(clip):
    fish = SceneObject("fish", "blue", x=0.85)
    scene = Scene((replace(RED, x=0.2), fish))
    asks = (Stated("relation", None, "left of"),)
    assert score([scene], asks, clip=clip, beside=fish).fidelity[0] == 1
    assert score([scene.intervene(relation="above")], asks, clip=clip, beside=fish).fidelity[0] == 0


def test_leaks_are_what_the_photos_showed_and_nobody_asked_for(clip):
    asks = [Stated("pattern", None, "checkered"), Stated("background", None, "pink")]
    star = SceneObject("star", "cyan", x=0.8)
    scenes = [
        Scene((RED,), "checkered", "pink"),
        Scene((RED,), "checkered", "blue"),  # half of it is no leak
        Scene((replace(RED, turn="upside down"), star), "wavy", "blue"),
        Scene((star,), "wavy", "blue"),
        Scene((RED, replace(star, color="red")), "wavy", "blue"),
    ]
    scores = score(scenes, clip=clip)
    assert scores.background_leak.tolist() == [1, 0, 0, 0, 0]
    assert scores.second_leak.tolist() == [0, 0, 1, 1, 0]
    assert scores.pose_leak[:3].tolist() == [1, 1, 0]
    assert math.isnan(scores.pose_leak[3])  # no subject, no pose
    asked = score(scenes[:1], asks, clip=clip)
    assert math.isnan(asked.background_leak[0])  # it was asked for
    assert asked.means()["fidelity"] == 1.0
    assert math.isnan(score(scenes[:1], [Stated("turn", 0, "upright")], clip=clip).pose_leak[0])
    assert math.isnan(score([scenes[2]], [Stated("kind", 1, "star")], clip=clip).second_leak[0])
    none = score_personal(images_of(scenes), RED, PHOTOS, oracle=Truth(scenes), identity=by_colour, clip=clip).means()
    assert all(math.isnan(none[f"{name}_leak"]) for name in ("background", "pose", "second"))
    assert scores.means(np.array([True, True, False, False, False]))["background_leak"] == 0.5
    halves = [np.mean(part) for part in (scores.background_leak[:1], scores.background_leak[1:])]
    assert scores.by_prompt([1, 4])["background_leak"] == pytest.approx(np.mean(halves))
    with pytest.raises(DataError, match="sum to 3"):
        scores.by_prompt([1, 2])


def test_facing_counts_only_where_it_can_be_seen(clip):
    turned = [Scene((replace(RED, facing="left"),))]
    assert score(turned, clip=clip).pose_leak[0] == 1  # nobody sees where a house faces
    cat = SceneObject("cat", "red")
    scores = score_personal(
        images_of([Scene((replace(cat, facing="left"),))]),
        cat,
        [Scene((cat,))],
        (),
        [Scene((cat,))],
        oracle=Truth([Scene((replace(cat, facing="left"),))]),
        identity=by_colour,
        clip=clip,
    )
    assert scores.pose_leak[0] == 0


def test_clip_scores_by_hand(clip):
    from unsnarl.zoo._scene_batches import token_ids
    from unsnarl.zoo._tokenizer import scene_tokenizer

    scenes = [Scene((RED,), "wavy", "cyan"), Scene((BLUE,), "plain", "pink")]
    captions = ["a sks house", "a blue house"]
    scores = score(scenes, clip=clip, captions=captions)
    with torch.no_grad():
        shown, kept = (
            torch.nn.functional.normalize(
                clip.visual_projection(clip.vision_model(pixel_values=images_of(s)).pooler_output), dim=1
            )
            for s in (scenes, PHOTOS)
        )
        ids = token_ids(scene_tokenizer(), ["a house", "a blue house"])
        said = torch.nn.functional.normalize(clip.text_projection(clip.text_model(input_ids=ids).pooler_output), dim=1)
    assert scores.clip_image.tolist() == pytest.approx((shown @ kept.T).mean(1).tolist(), abs=1e-5)
    assert scores.clip_text.tolist() == pytest.approx((shown * said).sum(1).tolist(), abs=1e-5)
    large = score_personal(
        images_of(scenes, 64), RED, PHOTOS, oracle=Truth(scenes), identity=by_colour, clip=clip, captions=captions
    )
    assert large.clip_image.tolist() == pytest.approx(scores.clip_image.tolist(), abs=0.1)
    assert np.isnan(score(scenes, clip=clip).clip_text).all()


def test_other_instances_are_what_a_score_is_held_against():
    one = solo()[2]
    found = between_instances("house", one.photos, n=12, identity=by_colour)
    assert found.shape == (12,)
    own = (photo_vectors(one.photos, by_colour) @ photo_vectors(one.photos, by_colour).T).mean()
    assert float(np.mean(found)) < float(own)
    assert np.array_equal(found, between_instances("house", one.photos, n=12, identity=by_colour))


def test_bad_input_gets_one_sentence(clip):
    scenes = [Scene((RED,))]
    images = images_of(scenes)
    given = {"oracle": Truth(scenes), "identity": by_colour, "clip": clip}
    with pytest.raises(DataError, match="references"):
        score_personal(images, RED, [], **given)
    with pytest.raises(DataError, match="asks has 2"):
        score_personal(images, RED, PHOTOS, [(), ()], **given)
    with pytest.raises(DataError, match="captions has 2"):
        score_personal(images, RED, PHOTOS, captions=["a", "a"], **given)
    with pytest.raises(UnknownNameError, match="parity"):
        score_personal(images, RED, PHOTOS, [Stated("parity", None, "odd")], **given)
    with pytest.raises(DataError, match=r"\[-1, 1\]"):
        score_personal(images * 4, RED, PHOTOS, **given)
    with pytest.raises(DataError, match="references"):
        between_instances("house", [], identity=by_colour)
    with pytest.raises(OptionError, match="n=0"):
        between_instances("house", PHOTOS, n=0, identity=by_colour)
