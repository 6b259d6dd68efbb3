"""Captions: the grammar that says what a scene shows, whole or in part.

    a photo of a [size] [turn] [style] [colour] [texture] X [facing left] [left of a Y | and a Y [and a Z]]
        on a [pattern] [colour] background [in S style] [odd tick]

A caption is built as a row of units, each a factor with the words that say it. A sub-caption keeps some of the units, a
wording that is too long loses the least important ones, and what a caption states is read from the units that are left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from unsnarl.arrays import check_range
from unsnarl.data.scenes import _words as words
from unsnarl.data.scenes._draws import Draws
from unsnarl.data.scenes._scene import Scene, SceneObject
from unsnarl.errors import OptionError

MOST_TOKENS = 24  # with the tokens for begin and end
MOST_WORDS = MOST_TOKENS - 2

EMPTY_SHARE, SUB_SHARE = 0.1, 0.4
SUB_FORMS = (("unit", 0.4), ("units", 0.3), ("phrases", 0.3))

FULL, SUB, EMPTY = "full", "sub", "empty"

# how often a factor is said where it is there to be said
SHARES = {
    "size": 0.75,
    "turn": 0.75,
    "facing": 0.5,
    "color": 0.85,
    "texture": 0.8,
    "relation": 0.7,
    "pattern": 0.85,
    "background": 0.9,
    "ground": 0.8,
    "style": 0.9,
    "frame": 0.95,
}
STYLE_FIRST_SHARE = 0.3  # "a neon cat" and not "a cat in neon style"
POSE_SHARE = 0.2  # "a tilted pose cat"
PREFIX_SHARE = 0.5  # "a far away photo of a cat" and not "a photo of a very small cat"
BARE_SHARE = 0.5  # phrases of a sub-caption without "a photo of"

# factors in the order in which a caption that is too long loses them; the objects are tried from the last to the first
LOSES = ("facing", "turn", "texture", "size", "color")


class Unit(NamedTuple):
    """A few words that say one factor, or that only join others (`factor` is then None)."""

    phrase: str
    factor: str | None
    of: int | None
    value: str | None
    text: str


class Stated(NamedTuple):
    """One thing a caption says: a factor, the object it is about (None for the scene), and its value."""

    factor: str
    of: int | None
    value: str


@dataclass(frozen=True)
class Caption:
    """A caption, its form ("full", "sub" or "empty"), and what it states of the scene."""

    text: str
    form: str = FULL
    stated: tuple[Stated, ...] = ()

    def __str__(self) -> str:
        return self.text


@dataclass
class Wording:
    """What to say of a scene and how.

    Args:
        say: names of factors: "size", "turn", "facing", "color", "texture" followed by the object's number ("color0"),
            "relation", "pattern", "background", "style", "frame"; objects are always named.
        objects: how many objects are named.
        synonyms: words to replace by their synonym.
        style_first: the style before the first noun.
        prefix: one of the prefixes, where it fits the size of the first object.
        pose: say "pose" before the noun after a turn.
    """

    say: Collection[str]
    objects: int = 3
    synonyms: Mapping[str, str] = field(default_factory=dict)
    style_first: bool = False
    prefix: str | None = None
    pose: bool = False


EVERYTHING = tuple(
    [f"{name}{k}" for k in range(3) for name in ("size", "turn", "facing", "color", "texture")]
    + ["relation", "pattern", "background", "style", "frame"]
)


def describe(scene: Scene, say: Collection[str] = EVERYTHING, *, objects: int = 3) -> Caption:
    """A caption without chance: every factor of `say` that the scene has, cut to 22 words (24 tokens with both ends).

    Args:
        scene: what is described.
        say: the factors, see `Wording`.
        objects: how many of the objects are named.

    Raises:
        OptionError: a name that is not a factor of a caption.

    Examples:
        >>> from unsnarl.data.scenes import Scene, SceneObject
        >>> scene = Scene((SceneObject("cat", "red", x=0.3, size="small"), SceneObject("tree", "blue", x=0.7)), "striped")
        >>> describe(scene).text
        'a photo of a small red cat facing right left of a blue tree on a striped blue background'
        >>> describe(scene, ["color0"], objects=1).text
        'a photo of a red cat'
    """
    for name in say:
        if name not in EVERYTHING:
            raise OptionError(f"say holds {name!r}; choose from {', '.join(EVERYTHING)}")
    check_range(objects, "objects", low=1, integer=True)
    return _caption(_fitted(scene, Wording(say, objects)), FULL)


def draw_caption(scene: Scene, draws: Draws) -> Caption:
    """A random caption: 10 % empty, 40 % sub-captions, else a full one that says most of the factors."""
    form = draws.weighted(((EMPTY, EMPTY_SHARE), (SUB, SUB_SHARE), (FULL, 1.0 - EMPTY_SHARE - SUB_SHARE)))
    if form == EMPTY:
        return Caption("", EMPTY)
    units = _fitted(scene, _draw_wording(scene, draws))
    return _caption(_part(units, draws) if form == SUB else units, form)


def _draw_wording(scene: Scene, draws: Draws) -> Wording:
    say = {name for name in EVERYTHING if draws.chance(SHARES[name.rstrip("012")])}
    if not draws.chance(SHARES["ground"]):
        say -= {"pattern", "background"}
    named = len(scene.objects)
    if named > 1 and draws.chance(0.1):
        named -= 1
    synonyms = {word: other for word, other in words.SYNONYMS.items() if draws.chance(words.SYNONYM_SHARE)}
    prefix = None
    if scene.objects and draws.chance(PREFIX_SHARE):
        size = scene.objects[0].size
        if size == "huge":
            prefix = draws.one_of(words.NEAR_PREFIXES)
        elif size == "very small" and len(scene.objects) == 1:
            prefix = draws.one_of(words.FAR_PREFIXES)
    return Wording(say, named, synonyms, draws.chance(STYLE_FIRST_SHARE), prefix, draws.chance(POSE_SHARE))


def _fitted(scene: Scene, wording: Wording) -> list[Unit]:
    """The units of a wording, without the least important ones where it would be too long."""
    say = set(wording.say)
    losses = [f"{name}{k}" for name in LOSES for k in (2, 1)] + [f"{name}0" for name in LOSES[:3]] + ["pattern"]
    losses += ["size0", "color0"]
    while True:
        units = _units(scene, wording, say)
        if len(" ".join(u.text for u in units).split()) <= MOST_WORDS or not losses:
            return units
        say.discard(losses.pop(0))


def _units(scene: Scene, wording: Wording, say: set[str]) -> list[Unit]:
    out: list[Unit] = []
    shown = scene.objects[: wording.objects]
    style = scene.style if scene.style != "none" and "style" in say else None
    style_first = wording.style_first and style is not None and bool(shown)
    if wording.prefix is not None:
        out.append(Unit("lead", "size", 0, shown[0].size, wording.prefix))
        out.append(Unit("lead", None, None, None, "photo of"))
    else:
        out.append(Unit("lead", None, None, None, "a photo of"))
    relation = scene.relation if "relation" in say and len(shown) == 2 else None
    for k, one in enumerate(shown):
        if k and relation and k == 1:
            out.append(Unit("object1", "relation", 0, relation, relation))
        elif k:
            out.append(Unit(f"object{k}", None, None, None, "and"))
        out += _noun_phrase(one, k, wording, say, style if style_first and k == 0 else None)
    told = [(f, v) for f, v in (("pattern", scene.pattern), ("background", scene.background)) if f in say]
    if told:
        joined = words.article(told[0][1])
        out.append(Unit("ground", None, None, None, f"on {joined}" if shown else joined))
        out += [Unit("ground", name, None, value, wording.synonyms.get(value, value)) for name, value in told]
        out.append(Unit("ground", None, None, None, "background"))
    if style is not None and not style_first:
        out.append(Unit("style", None, None, None, "in"))
        out.append(Unit("style", "style", None, style, style))
        out.append(Unit("style", None, None, None, "style"))
    if scene.parity is not None and scene.beat is not None and "frame" in say:
        out.append(Unit("frame", "parity", None, scene.parity, scene.parity))
        out.append(Unit("frame", "beat", None, scene.beat, scene.beat))
    return out


def _noun_phrase(one: SceneObject, k: int, wording: Wording, say: set[str], style: str | None) -> list[Unit]:
    phrase, told = f"object{k}", []
    if f"size{k}" in say and one.size not in ("medium", "huge") and not (k == 0 and wording.prefix):
        told.append(("size", one.size))
    if f"turn{k}" in say and one.turn != "upright":
        told.append(("turn", one.turn))
    if style is not None:
        told.append(("style", style))
    if f"color{k}" in say and one.kind != words.FRUIT:
        told.append(("color", one.color))
    if f"texture{k}" in say and one.texture != "plain":
        told.append(("texture", one.texture))
    units = []
    for name, value in told:
        units.append(Unit(phrase, name, None if name == "style" else k, value, wording.synonyms.get(value, value)))
        if name == "turn" and wording.pose:
            units.append(Unit(phrase, None, None, None, "pose"))
    units.append(Unit(phrase, "kind", k, one.kind, wording.synonyms.get(one.kind, one.kind)))
    if f"facing{k}" in say and one.kind in words.FACING_KINDS:
        units.append(Unit(phrase, "facing", k, one.facing, f"facing {one.facing}"))
    return [Unit(phrase, None, None, None, words.article(units[0].text)), *units]


def _part(units: list[Unit], draws: Draws) -> list[Unit]:
    """A sub-caption: one unit, a few units in their order, or some of the phrases."""
    telling = [i for i, u in enumerate(units) if u.factor is not None]
    form = draws.weighted(SUB_FORMS)
    if form == "unit" or (form == "units" and len(telling) < 3):
        return [units[draws.one_of(telling)]]
    if form == "units":
        return _bare([units[i] for i in sorted(draws.shuffled(telling)[: 2 + draws.below(min(3, len(telling) - 2))])])
    phrases = list(dict.fromkeys(u.phrase for u in units if u.phrase != "lead"))
    chosen = set(draws.shuffled(phrases)[: 1 + draws.below(max(1, len(phrases) - 1))])
    out = [u for u in units if u.phrase in chosen]
    # a second object that lost the first also loses the word that joined them
    while out and out[0].text in ("and", *words.RELATIONS):
        out = out[1:]
    if out[0].phrase.startswith("object") and not draws.chance(BARE_SHARE):
        lead = [u for u in units if u.phrase == "lead"]  # a prefix is about the first object
        out = (lead if out[0].phrase == "object0" else [lead[-1]._replace(text="a photo of")]) + out
    return out


def _bare(units: list[Unit]) -> list[Unit]:
    """Units without the words that join them, and without those that would then be read of something else."""
    units = [u for u in units if u.text != words.FRUIT or u.factor != "kind"] or units  # "orange cat" of the two
    nouns = {u.of for u in units if u.factor == "kind"}
    about = [u.of for u in units if u.of is not None and u.factor != "relation"]
    kept = nouns or set(about[:1])
    colored = any(u.factor == "color" and u.of in kept for u in units)
    out = []
    for unit in units:
        if unit.factor == "relation":
            if len(nouns) < 2:
                continue
        elif unit.of is not None and unit.of not in kept:
            continue  # "yellow house" of a yellow cat and a house
        if unit.factor == "background":
            if colored and not nouns:
                continue
            unit = unit._replace(text=f"{unit.text} background")
        out.append(unit)
    return out or units[:1]


def _caption(units: list[Unit], form: str) -> Caption:
    stated = tuple(Stated(u.factor, u.of, str(u.value)) for u in units if u.factor is not None)
    return Caption(" ".join(u.text for u in units), form, stated)
