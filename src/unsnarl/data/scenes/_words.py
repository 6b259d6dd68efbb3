"""The words of the scenes: kinds of objects, colours, textures, sizes, poses, backgrounds, styles, and what each is drawn as."""

from __future__ import annotations

PRIMITIVES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart")
THINGS = ("cat", "fish", "house", "robot", "tree", "cup")
FRUIT = "orange"  # the homonym: a colour, and a fruit with a leaf
KINDS = (*PRIMITIVES, *THINGS, FRUIT)

COLORS = {
    "red": (216, 32, 40),
    "orange": (248, 132, 16),
    "yellow": (250, 222, 48),
    "green": (44, 156, 66),
    "cyan": (64, 206, 222),
    "blue": (36, 78, 208),
    "purple": (128, 52, 178),
    "pink": (246, 122, 194),
}
COLOR_NAMES = tuple(COLORS)
SHADE = "shade"  # an accent that is a lighter or darker shade of the object's own colour; what primitives have

TEXTURES = ("plain", "spotted", "banded", "checked")
FACINGS = ("right", "left")
TURNS = ("upright", "tilted", "upside down")
PATTERNS = ("plain", "striped", "checkered", "dotted", "wavy", "gradient")
STYLES = ("none", "sketch", "pastel", "neon", "mosaic")
RELATIONS = ("left of", "right of", "above", "below")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

# Diameters as shares of the image's width, lowest and highest; at 32 pixels 10.5 to 12, 13.2 to 14.8, 16.5 to 19,
# 22 to 25 and 29 to 34. Nothing is under 10 pixels, because it would vanish on an 8 x 8 attention map.
SIZES = {
    "very small": (10.5 / 32, 12.0 / 32),
    "small": (13.2 / 32, 14.8 / 32),
    "medium": (16.5 / 32, 19.0 / 32),
    "large": (22.0 / 32, 25.0 / 32),
    "huge": (29.0 / 32, 34.0 / 32),  # reaches out of the picture; said by the prefixes "zoomed in" and "close up"
}
SIZE_NAMES = tuple(SIZES)

PARITIES = ("odd", "even")
BEATS = ("tick", "tock")

SYNONYMS = {"red": "crimson", "circle": "disc", "house": "home"}
SYNONYM_SHARE = 0.25

FACING_KINDS = ("cat", "fish", "robot", "cup")  # those of which one can see where they face
# how each kind may be turned so that a person sees it
_TURNABLE: dict[tuple[str, ...], tuple[str, ...]] = {
    ("circle", "ring", FRUIT): ("upright",),
    ("square", "diamond", "cross"): ("upright", "tilted"),
    ("triangle", "star", "heart", *THINGS): TURNS,
}
TURNS_OF = {kind: turns for kinds, turns in _TURNABLE.items() for kind in kinds}

FAR_PREFIXES = ("very small", "a far away")
NEAR_PREFIXES = ("zoomed in", "close up")

IDENTIFIER = "sks"  # never in a caption: a free word for what is personal

_GRAMMAR = "a an photo of and on in style background facing pose very far away zoomed close up upside down left right"


def vocabulary() -> list[str]:
    """Every word a caption can hold, sorted, and the free word "sks" for personal things; give each one token.

    Examples:
        >>> words = vocabulary()
        >>> len(words), words[:4], "crimson" in words
        (69, ['a', 'above', 'an', 'and'], True)
    """
    words = {*_GRAMMAR.split(), *KINDS, *COLORS, *TEXTURES[1:], *PATTERNS, *STYLES[1:], *PARITIES, *BEATS}
    words |= {"tilted", "small", "large", "above", "below", IDENTIFIER, *SYNONYMS.values()}
    return sorted(words)


def article(word: str) -> str:
    """The indefinite article before a word.

    Examples:
        >>> article("orange"), article("upside"), article("cat")
        ('an', 'an', 'a')
    """
    return "an" if word[:1] in "aeiou" else "a"
