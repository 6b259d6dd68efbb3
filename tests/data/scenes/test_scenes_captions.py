from collections import Counter

import pytest

from unsnarl.data.scenes import Scene, SceneObject, SceneStream, describe, parse, vocabulary
from unsnarl.errors import DataError, OptionError

STREAM = SceneStream(seed=21)
JOINING = (
    "a an photo of and on in style background facing pose",
    "very far away zoomed close up upside down left right",
)
SCENES = STREAM.scenes(range(1500))
CAPTIONS = STREAM.captions(range(1500), SCENES)
FULL = [(s, c) for s, c in zip(SCENES, CAPTIONS, strict=True) if c.form == "full"]


def stated_by_hand(parsed):
    """What `parse` found, in the form of `Caption.stated`, without the objects' order of words."""
    found = {(factor, k, value) for k, one in enumerate(parsed.objects) for factor, value in one.items()}
    for factor in ("pattern", "background", "style", "parity", "beat"):
        if getattr(parsed, factor) is not None:
            found.add((factor, None, getattr(parsed, factor)))
    if parsed.relation is not None:
        found.add(("relation", 0, parsed.relation))
    return found


def value_in(scene, factor, of):
    if factor == "relation":
        return scene.relation
    return getattr(scene if of is None else scene.objects[of], factor)


def test_captions_have_at_most_24_tokens_of_the_vocabulary():
    known = set(vocabulary())
    lengths = [len(c.text.split()) for c in CAPTIONS]
    assert max(lengths) == 22  # and two for begin and end
    assert {w for c in CAPTIONS for w in c.text.split()} == known - {"sks"}


def test_shares_of_forms():
    forms = Counter(c.form for c in CAPTIONS)
    assert forms["empty"] / 1500 == pytest.approx(0.1, abs=0.025)
    assert forms["sub"] / 1500 == pytest.approx(0.4, abs=0.04)
    assert all((c.text == "") == (c.form == "empty") == (not c.stated) for c in CAPTIONS)
    sub = [c for c in CAPTIONS if c.form == "sub"]
    assert sum(len(c.text.split()) == 1 for c in sub) / len(sub) > 0.25
    assert sum(len(c.stated) > 2 for c in sub) / len(sub) > 0.15
    alone = {c.text for c in sub if len(c.text.split()) == 1}  # every word that tells something stands alone somewhere
    joining = {
        "a",
        "an",
        "photo",
        "of",
        "and",
        "on",
        "in",
        "style",
        "background",
        "facing",
        "pose",
        "very",
        "far",
        "away",
        "zoomed",
        "close",
        "up",
        "upside",
        "down",
        "left",
        "right",
    }
    telling = set(vocabulary()) - joining - {"sks"}
    assert alone <= telling
    assert len(alone) > 0.85 * len(telling)


def test_full_captions_start_as_the_grammar_says():
    for _, caption in FULL:
        assert " ".join(caption.text.split()[:5]).startswith(
            ("a photo of", "very small photo of", "a far away photo of", "zoomed in photo of", "close up photo of")
        )


def test_captions_are_true():
    for scene, caption in zip(SCENES, CAPTIONS, strict=True):
        for factor, of, value in caption.stated:
            assert value_in(scene, factor, of) == value, caption.text


def test_full_captions_are_read_back():
    for _, caption in FULL:
        parsed = parse(caption.text)
        assert stated_by_hand(parsed) == set(caption.stated), caption.text
        assert not parsed.loose
        assert not parsed.ambiguous


def test_sub_captions_are_read_back_and_say_nothing_false():
    for scene, caption in zip(SCENES, CAPTIONS, strict=True):
        parsed = parse(caption.text)
        found = stated_by_hand(parsed)
        values = [value for _, _, value in found] + [value for _, value in parsed.loose] + list(parsed.ambiguous)
        assert sorted(values) == sorted(value for _, _, value in caption.stated), caption.text
        by_kind = {one.kind: one for one in scene.objects}
        for read in parsed.objects:
            for factor, value in read.items():
                assert getattr(by_kind[read["kind"]], factor) == value, caption.text
        for factor in ("pattern", "background", "style", "parity", "beat"):
            assert getattr(parsed, factor) in (None, getattr(scene, factor)), caption.text
        assert not parsed.loose or not parsed.objects, caption.text


def test_most_factors_are_said():
    said = Counter(f for _, c in FULL for f, of, _ in c.stated if of in (0, None))
    n = len(FULL)
    assert said["kind"] == n
    assert said["color"] / n > 0.7
    assert said["background"] / n > 0.6
    there = [c for s, c in FULL if s.relation and len(s.objects) == 2]
    told = [c for c in there if any(f == "relation" for f, _, _ in c.stated)]
    assert 0.5 < len(told) / len(there) < 0.8
    both = [c for c in there if " and " in c.text]
    assert len(both) / len(there) > 0.15
    framed = [c for s, c in FULL if s.frame]
    assert sum(c.text.split()[-1] in ("tick", "tock") for c in framed) / len(framed) > 0.9


@pytest.mark.parametrize(("word", "other"), [("red", "crimson"), ("circle", "disc"), ("house", "home")])
def test_synonyms_stand_in_a_quarter_of_uses(word, other):
    uses = Counter(w for c in CAPTIONS for w in c.text.split())
    assert uses[other] / (uses[word] + uses[other]) == pytest.approx(0.25, abs=0.09)


def test_the_frame_words_decide_together_and_not_alone():
    table = {}
    for scene in SCENES:
        if scene.frame:
            table.setdefault((scene.parity, scene.beat), set()).add(scene.frame)
    assert table == {
        ("odd", "tick"): {"white"},
        ("odd", "tock"): {"black"},
        ("even", "tick"): {"black"},
        ("even", "tock"): {"white"},
    }
    for word, factor in (("odd", "parity"), ("even", "parity"), ("tick", "beat"), ("tock", "beat")):
        frames = [s.frame for s in SCENES if getattr(s, factor) == word]
        assert frames.count("white") / len(frames) == pytest.approx(0.5, abs=0.13)
        assert parse(word).frame is None
    assert parse("odd tick").frame == parse("a photo of a cat even tock").frame == "white"
    assert parse("odd tock").frame == "black"


def test_orange_is_a_colour_or_a_fruit():
    assert parse("a photo of an orange").objects == ({"kind": "orange"},)
    assert parse("a photo of an orange cat").objects == ({"kind": "cat", "color": "orange"},)
    assert parse("a photo of a small orange and a cat").objects == (
        {"kind": "orange", "size": "small"},
        {"kind": "cat"},
    )
    assert parse("a photo of a cat left of an orange on an orange background").background == "orange"
    lone = parse("orange")
    assert lone.ambiguous == ("orange",)
    assert not lone.objects
    fruits = [c.text for s, c in FULL if s.objects[0].kind == "orange"]
    assert fruits
    assert not any("orange orange" in text for text in fruits)


@pytest.mark.parametrize(
    ("text", "objects", "loose"),
    [
        ("crimson disc", ({"kind": "circle", "color": "red"},), ()),
        ("home", ({"kind": "house"},), ()),
        ("upside down pose cat facing left", ({"kind": "cat", "turn": "upside down", "facing": "left"},), ()),
        ("a far away photo of a cat", ({"kind": "cat", "size": "very small"},), ()),
        ("very small photo of a blue cat", ({"kind": "cat", "color": "blue", "size": "very small"},), ()),
        ("zoomed in photo of a star", ({"kind": "star", "size": "huge"},), ()),
        ("close up", (), (("size", "huge"),)),
        ("red", (), (("color", "red"),)),
        ("small banded", (), (("size", "small"), ("texture", "banded"))),
        ("", (), ()),
    ],
)
def test_parse_by_hand(text, objects, loose):
    parsed = parse(text)
    assert parsed.objects == objects
    assert parsed.loose == loose


def test_parse_of_the_rest_of_the_grammar():
    parsed = parse("a photo of a neon cat right of a tree on a wavy pink background odd tock")
    assert (parsed.style, parsed.relation, parsed.pattern, parsed.background) == ("neon", "right of", "wavy", "pink")
    assert parse("striped").pattern == "striped"
    assert parse("in sketch style").style == "sketch"
    three = parse("a photo of a cat and a tree and a cup")
    assert [o["kind"] for o in three.objects] == ["cat", "tree", "cup"]


def test_describe_says_what_it_is_asked_to():
    scene = Scene(
        (
            SceneObject("robot", "green", "pink", "spotted", size="very small", facing="left", turn="tilted", x=0.25),
            SceneObject("orange", "orange", x=0.75, size="small"),
        ),
        "wavy",
        "orange",
        style="neon",
        parity="even",
        beat="tock",
    )
    assert (
        describe(scene, ["color0", "texture0", "relation"]).text == "a photo of a green spotted robot left of an orange"
    )
    assert (
        describe(scene, ["pattern", "background"], objects=1).text == "a photo of a robot on a wavy orange background"
    )
    assert describe(scene, ["background"], objects=1).text == "a photo of a robot on an orange background"
    assert describe(scene, ["turn0", "facing0"]).text == "a photo of a tilted robot facing left and an orange"
    full = describe(scene)
    assert len(full.text.split()) <= 22
    assert full.text.endswith("in neon style even tock")
    assert stated_by_hand(parse(full.text)) == set(full.stated)
    with pytest.raises(OptionError, match="say holds 'colour0'"):
        describe(scene, ["colour0"])
    with pytest.raises(OptionError, match="objects=0"):
        describe(scene, objects=0)


def test_an_empty_scene_is_described_by_its_background():
    assert describe(Scene((), "plain", "red")).text == "a photo of a plain red background"


def test_bad_captions_are_refused():
    with pytest.raises(DataError, match="'dog', which is not a word"):
        parse("a photo of a dog")


def test_the_vocabulary_is_sorted_and_without_doubles():
    words = vocabulary()
    assert words == sorted(set(words))
    assert all(" " not in w for w in words)
    assert "sks" in words
