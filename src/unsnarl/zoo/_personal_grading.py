"""Grading what a personalised generator makes: is it the subject, is it what was asked for, and what leaked from the photos.

The oracle reads the images, the identity encoder tells instances apart, and `clip-eval` gives the two scores that are usual
where no truth is known. No system that is graded ever sees any of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from unsnarl.arrays import check_range, check_same_length
from unsnarl.data.scenes import (
    FACING_KINDS,
    IDENTIFIER,
    Scene,
    SceneObject,
    Stated,
    photo,
    random_instance,
    relation_of,
)
from unsnarl.errors import DataError, UnknownNameError
from unsnarl.zoo._contrastive import image_embeddings, text_embeddings
from unsnarl.zoo._grading import _check_images, _mean, identity_vectors
from unsnarl.zoo._identity import crop_objects, photo_tensors
from unsnarl.zoo._oracle import OF_OBJECT, OF_SCENE, SceneReading, SeenObject
from unsnarl.zoo._scene_batches import token_ids
from unsnarl.zoo._tokenizer import scene_tokenizer

SIDE = 32  # pixels that clip-eval sees


@dataclass(frozen=True)
class PersonalScores:
    """How n images of a subject came out; nan where a number does not exist for an image.

    Attributes:
        found: whether the oracle sees an object of the subject's kind.
        identity: mean cosine to the references of the object of that kind that is most like them; 0 where there is none.
        margin: identity less the same number for the most similar wrong instance; 0 where there is none.
        fidelity: share of what was asked that the oracle confirms.
        clip_image: mean cosine of the images of `clip-eval` to the references.
        clip_text: cosine of image and caption, by `clip-eval`.
        background_leak: whether pattern and colour of the background are those of a training photo, though not asked for.
        pose_leak: whether the subject stands as in a training photo, though not asked to.
        second_leak: whether something that stood beside the subject in the photos is there, though not asked for.
    """

    found: Bool[np.ndarray, " n"]
    identity: Float[np.ndarray, " n"]
    margin: Float[np.ndarray, " n"]
    fidelity: Float[np.ndarray, " n"]
    clip_image: Float[np.ndarray, " n"]
    clip_text: Float[np.ndarray, " n"]
    background_leak: Float[np.ndarray, " n"]
    pose_leak: Float[np.ndarray, " n"]
    second_leak: Float[np.ndarray, " n"]

    def means(self, rows: Any = slice(None)) -> dict[str, float]:
        """The mean of each over the images (or some of them) for which it exists."""
        return {name: _mean(np.asarray(values, dtype=float)[rows]) for name, values in vars(self).items()}

    def by_prompt(self, images: Sequence[int]) -> dict[str, float]:
        """The mean of each over prompts that have so many images one after the other, each prompt with the same weight.

        Raises:
            DataError: another number of images.
        """
        if sum(images) != len(self.found):
            raise DataError(f"images sum to {sum(images)}, there are {len(self.found)}")
        ends = np.cumsum(images)[:-1]
        return {
            name: _mean(np.array([_mean(part) for part in np.split(np.asarray(values, dtype=float), ends)]))
            for name, values in vars(self).items()
        }


def score_personal(
    images: Float[Tensor, "n 3 side side"] | Any,
    instance: SceneObject,
    references: Sequence[Scene],
    asks: Sequence[Stated] | Sequence[Sequence[Stated]] = (),
    training_scenes: Sequence[Scene] = (),
    *,
    wrong: Sequence[Sequence[Scene]] = (),
    captions: Sequence[str] | None = None,
    pseudo_words: Sequence[str] = (IDENTIFIER,),
    beside: SceneObject | None = None,
    oracle: Any = None,
    identity: Any = None,
    clip: Any = None,
) -> PersonalScores:
    """Grade images of one subject.

    Args:
        images: in [-1, 1], of 32 or 64 pixels.
        instance: the subject. Only its kind is used: who it is, the references say.
        references: photos of the subject, the first object of each scene.
        asks: what each image must show besides the subject, as `PersonalPrompt.asks`: one list for all, or one an image. Factors of
            object 0 are the subject's, those of object 1 of something beside it.
        training_scenes: the photos that were learned from, for the leaks.
        wrong: for each instance that must not be mistaken for the subject its photos, best of the same kind.
        captions: the prompts, one an image, for `clip_text`.
        pseudo_words: left out of the captions.
        beside: a second subject that an asked relation is to, where `asks` names no kind of object 1.
        oracle: `load("zoo/oracle")` when absent.
        identity: `load("zoo/identity")` when absent.
        clip: `load("zoo/clip-eval")` when absent.

    Raises:
        DataError: images that are none, no references, or lists of different lengths.
        UnknownNameError: a factor that the oracle does not read.

    Cost: a forward pass of three small networks an image.
    """
    _check_images(images, "images")
    n = len(images)
    if not references:
        raise DataError("references must hold at least one photo of the subject")
    wishes = _wishes(asks, n)
    if captions is not None:
        check_same_length(images=images, captions=captions)
    from unsnarl.zoo._shelf import load

    oracle = load("oracle") if oracle is None else oracle
    identity = load("identity") if identity is None else identity
    clip = load("clip-eval") if clip is None else clip
    readings = oracle.read(images)
    right, rivals = photo_vectors(references, identity), [photo_vectors(scenes, identity) for scenes in wrong]
    subjects, same, margin = _subjects(images, readings, instance.kind, right, rivals, identity)
    rows = list(zip(readings, subjects, wishes, strict=True))
    return PersonalScores(
        found=np.array([one is not None for one in subjects]),
        identity=same,
        margin=margin,
        fidelity=np.array([_fidelity(*row, beside) for row in rows]),
        clip_image=_clip_image(images, references, clip),
        clip_text=_clip_text(images, captions, pseudo_words, clip),
        background_leak=np.array([_background_leak(*row, training_scenes) for row in rows]),
        pose_leak=np.array([_pose_leak(*row, training_scenes) for row in rows]),
        second_leak=np.array([_second_leak(*row, training_scenes) for row in rows]),
    )


def photo_vectors(scenes: Sequence[Scene], identity: Any) -> Float[Tensor, "n width"]:
    """Identity vectors of the first object of each scene, from its true box."""
    with torch.inference_mode():
        return identity(crop_objects(*photo_tensors(scenes)))


def between_instances(
    kind: str, references: Sequence[Scene], *, n: int = 64, seed: int = 0, identity: Any = None
) -> Float[np.ndarray, " n"]:
    """Identity scores of n other instances of a kind held against references, as `score_personal` would give them.

    What "not the subject" amounts to: their percentiles are what scores of a subject are compared with.

    Args:
        kind: of the subject.
        references: photos of it.
        n: random instances, one photo each.
        seed: of them.
        identity: `load("zoo/identity")` when absent.
    """
    check_range(n, "n", low=1, integer=True)
    if not references:
        raise DataError("references must hold at least one photo of the subject")
    from unsnarl.zoo._shelf import load

    identity = load("identity") if identity is None else identity
    others = [photo(random_instance(seed, number, kind=kind), seed, number) for number in range(n)]
    cosines = photo_vectors(others, identity) @ photo_vectors(references, identity).T
    return cosines.mean(1).cpu().numpy().astype(np.float64)


def _wishes(asks: Any, n: int) -> list[list[Stated]]:
    listed = list(asks)
    if listed and not isinstance(listed[0], Stated):
        check_same_length(images=range(n), asks=listed)
        wishes = [list(one) for one in listed]
    else:
        wishes = [listed] * n
    known = [*OF_SCENE, "relation", "kind", *OF_OBJECT]
    for wish in wishes:
        for stated in wish:
            if stated.factor not in known:
                raise UnknownNameError("factor that the oracle reads", stated.factor, known)
    return wishes


def _subjects(
    images: Tensor, readings: Sequence[SceneReading], kind: str, right: Tensor, rivals: list[Tensor], identity: Any
) -> tuple[list[SeenObject | None], np.ndarray, np.ndarray]:
    """In each image the object of a kind that is most like the references, how like it is, and its margin."""
    seen = [(i, one) for i, reading in enumerate(readings) for one in reading.objects if one.kind == kind]
    subjects: list[SeenObject | None] = [None] * len(readings)
    same, margin = np.zeros(len(readings)), np.zeros(len(readings)) if rivals else np.full(len(readings), math.nan)
    if not seen:
        return subjects, same, margin
    vectors = identity_vectors(images[[i for i, _ in seen]], [one for _, one in seen], identity)
    to_right = (vectors @ right.T).mean(1).tolist()
    to_wrong = torch.stack([(vectors @ other.T).mean(1) for other in rivals]).amax(0).tolist() if rivals else []
    for place, (i, one) in enumerate(seen):
        if subjects[i] is None or to_right[place] > same[i]:
            subjects[i], same[i] = one, to_right[place]
            if rivals:
                margin[i] = to_right[place] - to_wrong[place]
    return subjects, same, margin


def _others(reading: SceneReading, subject: SeenObject | None) -> list[SeenObject]:
    return [one for one in reading.objects if one is not subject]


def _fidelity(
    reading: SceneReading, subject: SeenObject | None, wish: Sequence[Stated], beside: SceneObject | None
) -> float:
    if not wish:
        return math.nan
    kind = next((s.value for s in wish if s.factor == "kind" and s.of), beside.kind if beside else None)
    color = next((s.value for s in wish if s.factor == "color" and s.of), None)
    there = [one for one in _others(reading, subject) if kind is None or one.kind == kind]
    second = next((one for one in there if one.color == color), there[0] if there else None)
    return sum(_confirmed(stated, reading, subject, second) for stated in wish) / len(wish)


def _confirmed(stated: Stated, reading: SceneReading, subject: SeenObject | None, second: SeenObject | None) -> bool:
    if stated.factor in OF_SCENE:
        return bool(getattr(reading, stated.factor) == stated.value)
    if stated.factor == "relation":
        if subject is None or second is None:
            return False
        return relation_of(second.x - subject.x, second.y - subject.y) == stated.value
    one = second if stated.of else subject
    return one is not None and getattr(one, stated.factor) == stated.value


def _asked(wish: Sequence[Stated], factor: str, of: int | None) -> str | None:
    return next((s.value for s in wish if s.factor == factor and s.of == of), None)


def _background_leak(
    reading: SceneReading, subject: SeenObject | None, wish: Sequence[Stated], scenes: Sequence[Scene]
) -> float:
    grounds = {(scene.pattern, scene.background) for scene in scenes}
    grounds -= {(_asked(wish, "pattern", None) or "", _asked(wish, "background", None) or "")}
    return float((reading.pattern, reading.background) in grounds) if grounds else math.nan


def _pose_leak(
    reading: SceneReading, subject: SeenObject | None, wish: Sequence[Stated], scenes: Sequence[Scene]
) -> float:
    if subject is None or not scenes or _asked(wish, "turn", 0) or _asked(wish, "facing", 0):
        return math.nan
    sided = subject.kind in FACING_KINDS  # of others one cannot see where they face
    poses = {(scene.objects[0].turn, scene.objects[0].facing if sided else "") for scene in scenes}
    return float((subject.turn, subject.facing if sided else "") in poses)


def _second_leak(
    reading: SceneReading, subject: SeenObject | None, wish: Sequence[Stated], scenes: Sequence[Scene]
) -> float:
    beside = {(one.kind, one.color) for scene in scenes for one in scene.objects[1:]}
    beside = {one for one in beside if one[0] != _asked(wish, "kind", 1)}
    if not beside:
        return math.nan
    return float(any((one.kind, one.color) in beside for one in _others(reading, subject)))


def _at_clip(images: Tensor, clip: Any) -> Tensor:
    small = functional.adaptive_avg_pool2d(images, SIDE) if images.shape[-1] != SIDE else images
    return functional.normalize(image_embeddings(clip, small), dim=1)


@torch.inference_mode()
def _clip_image(images: Tensor, references: Sequence[Scene], clip: Any) -> np.ndarray:
    shown = photo_tensors(references)[0]
    cosines = _at_clip(images, clip) @ _at_clip(shown, clip).T
    return cosines.mean(1).cpu().numpy().astype(np.float64)


@torch.inference_mode()
def _clip_text(images: Tensor, captions: Sequence[str] | None, pseudo_words: Sequence[str], clip: Any) -> np.ndarray:
    if captions is None:
        return np.full(len(images), math.nan)
    texts = [" ".join(word for word in text.split() if word not in pseudo_words) for text in captions]
    distinct = list(dict.fromkeys(texts))
    said = functional.normalize(text_embeddings(clip, token_ids(scene_tokenizer(), distinct)), dim=1)
    cosines = (_at_clip(images, clip) * said[[distinct.index(text) for text in texts]]).sum(1)
    return cosines.cpu().numpy().astype(np.float64)
