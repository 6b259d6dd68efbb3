"""The personal sets: instances no stream shows, a few photos of each, and the prompts asked of whoever learns them.

They are recipes: factors and seeds, from which the same images come every time. Two of each set are for choosing
settings (`development`); scores are taken on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from unsnarl.arrays import check_choice, check_range
from unsnarl.data.scenes import _draws as numbers
from unsnarl.data.scenes import _words as words
from unsnarl.data.scenes._captions import Stated
from unsnarl.data.scenes._compose import place
from unsnarl.data.scenes._draws import Draws, uniforms
from unsnarl.data.scenes._held_out import HELD_OUT_COLORS, PAIRS, PERSONAL, SOLO, TRIPLES
from unsnarl.data.scenes._scene import Scene, SceneObject
from unsnarl.data.scenes._things import BODY_NUMBERS
from unsnarl.errors import OptionError

SEED = 2024  # of bodies and photos
VERSIONS = ("varied", "confounded", "pose-confounded")
PHOTOS = 5
DEVELOPMENT = 2  # the first instances, pairs and triples
SAMPLES = 4  # images asked for each prompt

POSES = (("right", "upright"), ("left", "upright"), ("right", "tilted"), ("left", "upside down"), ("left", "tilted"))
PHOTO_SIZES = ("medium", "large", "medium", "small", "large")
SECOND_KINDS = ("square", "cross", "diamond", "triangle", "star", "heart")

# Backgrounds that prompts ask for: two colours each, of which the one is taken that the subject does not have. No photo
# has any of them (no pair or triple has even the pattern), so that a photo's background in an answer is always a leak.
ASKED_GROUNDS = (("striped", ("blue", "yellow")), ("dotted", ("green", "pink")), ("wavy", ("orange", "purple")))
# the first photo of each pair and triple that hides (almost) nothing and has no background that is asked for
PAIR_PHOTOS = (10, 4, 2, 140, 51, 1, 7, 15, 15, 16)
TRIPLE_PHOTOS = (29, 7, 35, 0)

_Made = list[tuple[str, tuple[Stated, ...]]]
_ASKED = frozenset((pattern, color) for pattern, colors in ASKED_GROUNDS for color in colors)


@dataclass(frozen=True)
class PersonalSet:
    """One thing, or two or three, with the photos that show it.

    Args:
        name: such as "solo 3".
        instances: the things, in the order of the captions.
        photos: the scenes; `render_scenes` makes images and masks of them.
        development: whether it is for choosing settings and not for scores.
    """

    name: str
    instances: tuple[SceneObject, ...]
    photos: tuple[Scene, ...]
    development: bool

    @property
    def class_words(self) -> tuple[str, ...]:
        """The class word of each instance."""
        return tuple(one.kind for one in self.instances)


@dataclass(frozen=True)
class PersonalPrompt:
    """A prompt with places for the subjects, what it asks for, and the seeds of its images.

    `asks` is what an answer must show besides the subjects; factors with `of` = 1 are about the second object of a
    single prompt. The seeds are the same for every system and baseline.
    """

    template: str
    asks: tuple[Stated, ...]
    seeds: tuple[int, ...]

    def text(self, *subjects: str, article: bool = True) -> str:
        """The prompt about subjects such as "sks cat"; without their articles for subjects such as "<new1>".

        Examples:
            >>> prompt = single_prompts(solo()[0].instances[0])[0]
            >>> prompt.text("sks cat")
            'a photo of a sks cat on a striped blue background'
            >>> prompt.text("<new1>", article=False)
            'a photo of <new1> on a striped blue background'
        """
        places = self.template.count("{")
        if len(subjects) != places:
            raise OptionError(f"this prompt is about {places} subject{'s' * (places > 1)}, got {len(subjects)}")
        template = self.template
        for k in range(places):
            if not article:
                template = template.replace(f"a {{{k}}}", f"{{{k}}}")
        return template.format(*subjects)


@lru_cache
def personal_instance(number: int) -> SceneObject:
    """The identity of personal instance `number`: 0 to 11 solo, then those of the pairs and of the triples."""
    check_range(number, "number", low=0, high=len(PERSONAL) - 1, integer=True)
    kind, color, accent, texture = PERSONAL[number].split()
    body = uniforms(SEED, numbers.PERSONAL, np.array([number]), count=BODY_NUMBERS)[0]
    return SceneObject(kind, color, accent, texture, tuple(body.tolist()))


@lru_cache
def solo(version: str = "varied") -> tuple[PersonalSet, ...]:
    """12 instances with 5 photos each.

    Args:
        version: "varied": five poses before five backgrounds. "confounded": five poses before one background, and in
            every other photo the same second object. "pose-confounded": one pose before five backgrounds.

    Raises:
        OptionError: another version.
    """
    check_choice(version, VERSIONS, "version")
    return tuple(_solo(n, version) for n in range(len(SOLO)))


def _solo(n: int, version: str) -> PersonalSet:
    one = personal_instance(n)
    draws = Draws(SEED, numbers.PERSONAL, 1000 + n)
    grounds = [(p, c) for p in words.PATTERNS for c in words.COLOR_NAMES if c != one.color and (p, c) not in _ASKED]
    grounds = draws.shuffled(grounds)[:PHOTOS]
    poses, sizes = draws.shuffled(POSES), draws.shuffled(PHOTO_SIZES)
    fixed = ("left" if draws.chance(0.5) else "right", ("tilted", "upside down")[n % 2])
    tilt, phase = draws.uniform(20.0, 30.0), (draws.uniform(), draws.uniform())
    colors = [c for c in words.COLOR_NAMES if c not in (one.color, one.accent, grounds[0][1])]
    while True:
        second = SceneObject(draws.one_of(SECOND_KINDS), draws.one_of(colors))
        if (second.kind, second.color) not in HELD_OUT_COLORS:
            break
    photos = []
    for j in range(PHOTOS):
        pins: dict[str, Any] = dict(zip(("facing", "turn"), poses[j], strict=True))
        pins["pattern"], pins["background"] = grounds[j]
        shown, size = [one], [sizes[j]]
        if version == "confounded":
            pins["pattern"], pins["background"] = grounds[0]
            pins["phase"] = phase
            if (j + n) % 2 == 0:
                shown, size = [one, second], ["medium", "small"]
        elif version == "pose-confounded":
            pins["facing"], pins["turn"], pins["tilt"] = *fixed, tilt
        scene = place(shown, Draws(SEED, numbers.PHOTO, n * PHOTOS + j), pins=pins, sizes=size)
        photos.append(replace(scene, order=tuple(range(len(shown)))[::-1]))  # the instance in front
    return PersonalSet(f"solo {n}", (one,), tuple(photos), n < DEVELOPMENT)


@lru_cache
def pairs() -> tuple[PersonalSet, ...]:
    """10 single photos of two instances of different kinds, side by side or one over the other, all of both visible."""
    return tuple(_together("pair", n, [len(SOLO) + 2 * n + k for k in range(2)]) for n in range(len(PAIRS)))


@lru_cache
def triples() -> tuple[PersonalSet, ...]:
    """4 single photos of three instances of different kinds, all of them visible."""
    first = len(SOLO) + 2 * len(PAIRS)
    return tuple(_together("triple", n, [first + 3 * n + k for k in range(3)]) for n in range(len(TRIPLES)))


def _together(name: str, n: int, members: Sequence[int]) -> PersonalSet:
    shown = tuple(personal_instance(m) for m in members)
    if len(shown) == 3:
        sizes, number = ["small"] * 3, TRIPLE_PHOTOS[n]
    else:
        sizes, number = [["medium", "small"], ["small", "medium"]][n % 2], PAIR_PHOTOS[n]
    scene = place(shown, Draws(SEED, numbers.PHOTO, 10_000 + 1000 * members[0] + number), sizes=sizes)
    scene = replace(scene, objects=tuple(replace(one, turn="upright") for one in scene.objects))
    return PersonalSet(f"{name} {n}", shown, (scene,), n < DEVELOPMENT)


def single_prompts(subject: SceneObject) -> tuple[PersonalPrompt, ...]:
    """12 prompts about one subject: 3 backgrounds, 3 relations, 2 sizes, 2 styles, 2 colours of a second object.

    They are the same for every subject, but for colours that would be its own or would be held out.
    """
    made: _Made = []
    for pattern, colors in ASKED_GROUNDS:
        color = _other(colors, [subject.color])
        asks = Stated("pattern", None, pattern), Stated("background", None, color)
        made.append((f"a photo of a {{0}} on a {pattern} {color} background", asks))
    for relation, kind, colors in (
        ("left of", "circle", ("yellow", "green")),
        ("right of", "star", ("red", "cyan")),
        ("below", "heart", ("purple", "green")),
    ):
        color = _other(colors, [subject.color])
        second = Stated("kind", 1, kind), Stated("color", 1, color)
        made.append((f"a photo of a {{0}} {relation} a {color} {kind}", (Stated("relation", None, relation), *second)))
    for size in ("small", "large"):
        made.append((f"a photo of a {size} {{0}}", (Stated("size", 0, size),)))
    for style in ("pastel", "sketch"):
        made.append((f"a photo of a {{0}} in {style} style", (Stated("style", None, style),)))
    for kind, colors in (("square", ("pink", "cyan")), ("ring", ("blue", "yellow"))):
        color = _other(colors, [subject.color])
        made.append((f"a photo of a {{0}} and a {color} {kind}", (Stated("kind", 1, kind), Stated("color", 1, color))))
    return _prompts(made, 0)


def joint_prompts(subjects: Sequence[SceneObject]) -> tuple[PersonalPrompt, ...]:
    """8 prompts about two or three subjects together: plain, in other orders or relations, on backgrounds, in styles.

    Raises:
        OptionError: not two or three subjects.
    """
    if len(subjects) not in (2, 3):
        raise OptionError(f"joint prompts are about 2 or 3 subjects, got {len(subjects)}")
    orders = [(0, 1), (1, 0)] if len(subjects) == 2 else [(0, 1, 2), (2, 0, 1), (1, 2, 0)]
    listed = [" and ".join(f"a {{{k}}}" for k in order) for order in orders]
    made: _Made = [(f"a photo of {them}", ()) for them in listed]
    if len(subjects) == 2:
        for relation in ("left of", "above"):
            made.append((f"a photo of a {{0}} {relation} a {{1}}", (Stated("relation", None, relation),)))
    for pattern, colors in ASKED_GROUNDS if len(subjects) == 3 else ASKED_GROUNDS[:2]:
        color = _other((*colors, *words.COLOR_NAMES), [one.color for one in subjects])
        asks = Stated("pattern", None, pattern), Stated("background", None, color)
        made.append((f"a photo of {listed[0]} on a {pattern} {color} background", asks))
    for style in ("pastel", "sketch"):
        made.append((f"a photo of {listed[0]} in {style} style", (Stated("style", None, style),)))
    return _prompts(made, 100)


def _other(colors: Sequence[str], taken: Sequence[str]) -> str:
    return next(color for color in colors if color not in taken)


def _prompts(made: _Made, first: int) -> tuple[PersonalPrompt, ...]:
    return tuple(PersonalPrompt(template, asks, _seeds(first + number)) for number, (template, asks) in enumerate(made))


def _seeds(prompt: int) -> tuple[int, ...]:
    return tuple(1000 * (prompt + 1) + k for k in range(SAMPLES))
