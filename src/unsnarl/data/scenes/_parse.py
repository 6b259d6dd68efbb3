"""Reading a caption back: which factors it states, and which words could mean more than one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unsnarl.data.scenes import _words as words
from unsnarl.errors import DataError

_PLAIN_WORD = {other: word for word, other in words.SYNONYMS.items()}
_PHRASES: dict[tuple[str, ...], tuple[str, str]] = {
    ("very", "small"): ("size", "very small"),
    ("far", "away"): ("size", "very small"),
    ("zoomed", "in"): ("size", "huge"),
    ("close", "up"): ("size", "huge"),
    ("upside", "down"): ("turn", "upside down"),
    ("facing", "left"): ("facing", "left"),
    ("facing", "right"): ("facing", "right"),
    ("left", "of"): ("relation", "left of"),
    ("right", "of"): ("relation", "right of"),
    ("above",): ("relation", "above"),
    ("below",): ("relation", "below"),
    ("small",): ("size", "small"),
    ("large",): ("size", "large"),
    ("tilted",): ("turn", "tilted"),
}
_WORDS = {
    "color": words.COLOR_NAMES,
    "texture": words.TEXTURES[1:],
    "pattern": words.PATTERNS,
    "style": words.STYLES[1:],
    "kind": (*words.PRIMITIVES, *words.THINGS),
    "parity": words.PARITIES,
    "beat": words.BEATS,
}
for _factor, _values in _WORDS.items():
    for _value in _values:
        _PHRASES[_value,] = _factor, _value

_JOINING = ("and", "on", "in", "style")
_IGNORED = ("photo", "of", "pose")
_OF_OBJECT = ("size", "turn", "color", "texture", "facing")


@dataclass(frozen=True)
class Parsed:
    """What a caption states.

    Args:
        objects: for each named object its stated factors, such as `{"kind": "cat", "color": "red"}`.
        relation: of the first object to the second.
        pattern: of the background.
        background: colour of the background.
        style: of the image.
        parity: "odd" or "even".
        beat: "tick" or "tock".
        loose: stated factors of which the caption does not say whose they are, as (factor, value): a lone "red".
        ambiguous: words with two readings here: a lone "orange" is the colour or the fruit.
    """

    objects: tuple[dict[str, str], ...] = ()
    relation: str | None = None
    pattern: str | None = None
    background: str | None = None
    style: str | None = None
    parity: str | None = None
    beat: str | None = None
    loose: tuple[tuple[str, str], ...] = ()
    ambiguous: tuple[str, ...] = ()

    @property
    def frame(self) -> str | None:
        """Colour of the frame, where both of its words are there."""
        if self.parity is None or self.beat is None:
            return None
        return "white" if (self.parity == "odd") != (self.beat == "tock") else "black"


def parse(caption: str) -> Parsed:
    """The factors a caption states, synonyms resolved.

    Raises:
        DataError: a word that is not in the vocabulary.

    Examples:
        >>> told = parse("a photo of a crimson cat left of an orange on a striped blue background odd tick")
        >>> told.objects, told.relation, told.background, told.frame
        (({'kind': 'cat', 'color': 'red'}, {'kind': 'orange'}), 'left of', 'blue', 'white')
        >>> parse("orange").ambiguous, parse("red").loose
        (('orange',), (('color', 'red'),))
    """
    known = set(words.vocabulary())
    tokens = caption.split()
    for token in tokens:
        if token not in known:
            raise DataError(f"caption holds {token!r}, which is not a word of these scenes")
    reader = _Reader()
    at = 0
    while at < len(tokens):
        pair = tuple(_PLAIN_WORD.get(t, t) for t in tokens[at : at + 2])
        if pair in _PHRASES and len(pair) == 2:
            reader.take(*_PHRASES[pair])
            at += 2
            continue
        if pair[:1] in _PHRASES:
            reader.take(*_PHRASES[pair[:1]])
        elif pair[0] == "background":
            reader.ground()
        elif pair[0] in ("a", "an"):
            reader.article(pair[0])
        elif pair[0] in _JOINING:
            reader.flush()
        elif pair[0] == "photo":
            reader.prefix()
        at += 1
    reader.flush()
    return reader.result()


class _Reader:
    """Gathers adjectives until a noun, the background or the end of the phrase says whose they are."""

    def __init__(self) -> None:
        self.objects: list[dict[str, str]] = []
        self.scene: dict[str, str] = {}
        self.waiting: list[tuple[str, str]] = []
        self.loose: list[tuple[str, str]] = []
        self.ambiguous: list[str] = []
        self.began = False  # an article opened this phrase
        self.first: dict[str, str] = {}  # what a prefix says of the first object
        self.joined = False  # the last thing read is an object to which "facing left" belongs

    def article(self, _: str) -> None:
        self.flush()
        self.began = True

    def take(self, factor: str, value: str) -> None:
        if factor in ("style", "parity", "beat"):
            self.scene[factor] = value
        elif factor == "relation":
            self.flush()
            self.scene["relation"] = value
        elif factor == "kind":
            self._object(value)
        elif factor == "facing" and self.joined and not self.waiting:
            self.objects[-1]["facing"] = value
        else:
            self.waiting.append((factor, value))
            self.joined = False

    def prefix(self) -> None:
        for factor, value in self.waiting:
            if factor == "size":
                self.first[factor] = value
        self.waiting, self.began = [], False

    def ground(self) -> None:
        for factor, value in self._nearest():
            if factor in ("pattern", "color"):
                self.scene["background" if factor == "color" else factor] = value
            else:
                self.loose.append((factor, value))
        self.waiting, self.began, self.joined = [], False, False

    def _nearest(self) -> list[tuple[str, str]]:
        """The waiting factors; of two of the same kind ("red blue cat") the nearer one, the other is loose."""
        last = dict(self.waiting)
        self.loose += [(factor, value) for factor, value in self.waiting if last[factor] != value]
        return list(last.items())

    def flush(self) -> None:
        if self.waiting and self.waiting[-1] == ("color", words.FRUIT) and self.began:
            self.waiting.pop()
            self._object(words.FRUIT)  # "an orange" is the fruit, "an orange cat" the colour
        for factor, value in self.waiting:
            if (factor, value) == ("color", words.FRUIT):
                self.ambiguous.append(value)
            elif factor == "pattern":
                self.scene[factor] = value
            else:
                self.loose.append((factor, value))
        self.waiting, self.began, self.joined = [], False, False

    def _object(self, kind: str) -> None:
        known = {"kind": kind}
        for factor, value in self._nearest():
            if factor in _OF_OBJECT:
                known[factor] = value
            else:
                self.scene[factor] = value
        self.objects.append(known)
        self.waiting, self.began, self.joined = [], False, True

    def result(self) -> Parsed:
        if self.first:
            if self.objects:
                self.objects[0] = self.objects[0] | self.first
            else:
                self.loose += self.first.items()
        told: dict[str, Any] = dict(self.scene)
        return Parsed(tuple(self.objects), loose=tuple(self.loose), ambiguous=tuple(self.ambiguous), **told)
