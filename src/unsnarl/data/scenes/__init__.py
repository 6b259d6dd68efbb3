"""Captioned scenes: images of a few objects with every factor, mask and word known.

For small text-to-image models and for grading what edits of them do: streams of scenes that are a pure function of seed
and number, captions from a small grammar, exact counterfactuals, pairs that are never shown, and personal sets.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.data.scenes._captions import Caption as Caption
    from unsnarl.data.scenes._captions import Stated as Stated
    from unsnarl.data.scenes._captions import describe as describe
    from unsnarl.data.scenes._grid import Scenes as Scenes
    from unsnarl.data.scenes._held_out import HELD_OUT_COLORS as HELD_OUT_COLORS
    from unsnarl.data.scenes._held_out import HELD_OUT_STYLES as HELD_OUT_STYLES
    from unsnarl.data.scenes._held_out import held_out_in as held_out_in
    from unsnarl.data.scenes._parse import Parsed as Parsed
    from unsnarl.data.scenes._parse import parse as parse
    from unsnarl.data.scenes._personal import PersonalPrompt as PersonalPrompt
    from unsnarl.data.scenes._personal import PersonalSet as PersonalSet
    from unsnarl.data.scenes._personal import joint_prompts as joint_prompts
    from unsnarl.data.scenes._personal import pairs as pairs
    from unsnarl.data.scenes._personal import personal_instance as personal_instance
    from unsnarl.data.scenes._personal import single_prompts as single_prompts
    from unsnarl.data.scenes._personal import solo as solo
    from unsnarl.data.scenes._personal import triples as triples
    from unsnarl.data.scenes._render import RenderedScenes as RenderedScenes
    from unsnarl.data.scenes._render import from_signed as from_signed
    from unsnarl.data.scenes._render import render_scenes as render_scenes
    from unsnarl.data.scenes._render import to_signed as to_signed
    from unsnarl.data.scenes._scene import Scene as Scene
    from unsnarl.data.scenes._scene import SceneObject as SceneObject
    from unsnarl.data.scenes._scene import relation_of as relation_of
    from unsnarl.data.scenes._stream import SceneBatch as SceneBatch
    from unsnarl.data.scenes._stream import SceneStream as SceneStream
    from unsnarl.data.scenes._stream import nearest_instance as nearest_instance
    from unsnarl.data.scenes._stream import photo as photo
    from unsnarl.data.scenes._stream import random_instance as random_instance
    from unsnarl.data.scenes._things import BODY as BODY
    from unsnarl.data.scenes._words import COLORS as COLORS
    from unsnarl.data.scenes._words import FACING_KINDS as FACING_KINDS
    from unsnarl.data.scenes._words import FACINGS as FACINGS
    from unsnarl.data.scenes._words import IDENTIFIER as IDENTIFIER
    from unsnarl.data.scenes._words import KINDS as KINDS
    from unsnarl.data.scenes._words import PATTERNS as PATTERNS
    from unsnarl.data.scenes._words import PRIMITIVES as PRIMITIVES
    from unsnarl.data.scenes._words import RELATIONS as RELATIONS
    from unsnarl.data.scenes._words import SIZES as SIZES
    from unsnarl.data.scenes._words import STYLES as STYLES
    from unsnarl.data.scenes._words import SYNONYMS as SYNONYMS
    from unsnarl.data.scenes._words import TEXTURES as TEXTURES
    from unsnarl.data.scenes._words import THINGS as THINGS
    from unsnarl.data.scenes._words import TURNS as TURNS
    from unsnarl.data.scenes._words import TURNS_OF as TURNS_OF
    from unsnarl.data.scenes._words import vocabulary as vocabulary

_WORDS = ("COLORS", "IDENTIFIER", "KINDS", "PATTERNS", "PRIMITIVES", "RELATIONS", "SIZES", "STYLES", "SYNONYMS")
_PERSONAL = ("PersonalPrompt", "PersonalSet", "joint_prompts", "pairs", "personal_instance", "single_prompts", "solo")

__getattr__, __dir__, __all__ = attach(
    __name__,
    dict.fromkeys(
        (*_WORDS, "FACINGS", "FACING_KINDS", "TEXTURES", "THINGS", "TURNS", "TURNS_OF", "vocabulary"), "._words"
    )
    | {"BODY": "._things", "Scenes": "._grid"}
    | dict.fromkeys(("Scene", "SceneObject", "relation_of"), "._scene")
    | dict.fromkeys(("RenderedScenes", "from_signed", "render_scenes", "to_signed"), "._render")
    | dict.fromkeys(("Caption", "Stated", "describe"), "._captions")
    | dict.fromkeys(("Parsed", "parse"), "._parse")
    | dict.fromkeys(("HELD_OUT_COLORS", "HELD_OUT_STYLES", "held_out_in"), "._held_out")
    | dict.fromkeys(("SceneBatch", "SceneStream", "nearest_instance", "photo", "random_instance"), "._stream")
    | dict.fromkeys((*_PERSONAL, "triples"), "._personal"),
)
