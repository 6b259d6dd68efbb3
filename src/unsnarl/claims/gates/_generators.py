"""Gates of the generators: do images show what their prompts say, do nouns attend to their objects, do words compose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unsnarl.claims.gates._gate import Gate, mean_gate, share_gate
from unsnarl.claims.gates._graders import SEED, area_under_curve
from unsnarl.data.scenes import (
    COLORS,
    PATTERNS,
    PRIMITIVES,
    STYLES,
    SYNONYMS,
    TEXTURES,
    THINGS,
    Caption,
    Scene,
    SceneStream,
    describe,
    held_out_in,
    parse,
    render_scenes,
    to_signed,
)
from unsnarl.diffusion import AttentionStore, Host, daam, token_positions
from unsnarl.zoo._oracle import SceneReading

STEPS, GUIDANCE = 25, 3.0
PROMPTS, HELD_OUT, PER_WORD, PER_FRAME, SCENES = 500, 150, 8, 200, 120
FRAME_WORDS = ("odd", "even"), ("tick", "tock")
FRUIT = "orange"  # whose word is a colour too
LEVELS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # log-SNR at which attention is looked at: where places of objects are decided

Report = Callable[[str, int, int], None]
Make = Callable[[str, Sequence[str]], Tensor]


def generator_gates(
    name: str, pipeline: Any, oracle: Any, *, share: float = 1.0, report: Report | None = None
) -> list[Gate]:
    """All gates of a generator.

    Args:
        name: of the model.
        pipeline: a pipeline or a host.
        oracle: that reads the images.
        share: of the prompts, for a quick look.
        report: told (what, done, all).
    """
    host = Host(pipeline)
    make = _Maker(host, report or (lambda what, done, total: None))
    return [
        *prompt_gates(name, make, oracle, round(PROMPTS * share)),
        *held_out_gates(name, make, oracle, round(HELD_OUT * share)),
        *word_gates(name, make, oracle, max(1, round(PER_WORD * share))),
        *frame_gates(name, make, oracle, round(PER_FRAME * share)),
        *attention_gates(name, host, round(SCENES * share)),
    ]


class _Maker:
    """Makes images part by part and says how far it is."""

    def __init__(self, host: Host, report: Report, rows: int = 20):
        self.host, self.report, self.rows = host, report, rows

    def __call__(self, what: str, prompts: Sequence[str]) -> Tensor:
        parts = []
        for start in range(0, len(prompts), self.rows):
            part = list(prompts[start : start + self.rows])
            seeds = range(start, start + len(part))
            parts.append(self.host.generate(part, seeds=seeds, steps=STEPS, guidance=GUIDANCE, rows=self.rows))
            self.report(what, start + len(part), len(prompts))
        return torch.cat(parts) if parts else torch.empty(0, 3, self.host.image_size, self.host.image_size)


def prompt_gates(name: str, make: Make, oracle: Any, n: int) -> list[Gate]:
    """Full captions of unseen scenes: what each states, factor by factor.

    Beside them the same numbers of the renders that the captions describe: the most that the oracle would give anyone.
    """
    captions, scenes = full_captions(SceneStream(SEED), n)
    readings = oracle.read(make("prompts", [c.text for c in captions]))
    hits: dict[str, list[bool]] = {}
    for caption, reading in zip(captions, readings, strict=True):
        for group, hit in confirmed(caption, reading):
            hits.setdefault(group, []).append(hit)
    lows = {"category": 0.9, "colour": 0.9, "background": 0.9, "relation": 0.8, "style": 0.85}
    told = ("background as a whole", "texture", "size", "turn", "facing", "frame")
    gates = [share_gate(name, group, hits.get(group, []), low=low) for group, low in lows.items()]
    gates += [share_gate(name, group, hits.get(group, [])) for group in told]
    best: dict[str, list[bool]] = {}
    for caption, reading in zip(captions, oracle.read(to_signed(render_scenes(scenes).images)), strict=True):
        for group, hit in confirmed(caption, reading):
            best.setdefault(group, []).append(hit)
    return gates + [share_gate(name, f"{group} of the true images", best.get(group, [])) for group in lows]


def full_captions(stream: SceneStream, n: int) -> tuple[list[Caption], list[Scene]]:
    """The first n full captions of a stream, and their scenes."""
    found: list[tuple[Caption, Scene]] = []
    start = 0
    while len(found) < n:
        batch = stream.batch(range(start, start + 2 * n))
        found += [(c, s) for c, s in zip(batch.captions, batch.scenes, strict=True) if c.form == "full"]
        start += 2 * n
    return [caption for caption, _ in found[:n]], [scene for _, scene in found[:n]]


def confirmed(caption: Caption, reading: SceneReading) -> list[tuple[str, bool]]:
    """Each thing that a caption states, by its group, and whether the oracle sees it."""
    kinds = {of: value for factor, of, value in caption.stated if factor == "kind"}
    seen = {of: [one for one in reading.objects if one.kind == kind] for of, kind in kinds.items()}
    out: list[tuple[str, bool]] = []
    ground = [
        getattr(reading, factor) == value for factor, _, value in caption.stated if factor in ("pattern", "background")
    ]
    if len(ground) > 1:
        out.append(("background as a whole", all(ground)))
    frame = parse(caption.text).frame
    if frame is not None:
        out.append(("frame", reading.frame == frame))
    for factor, of, value in caption.stated:
        if factor == "kind":
            out.append(("category", bool(seen[of])))
        elif factor == "relation":
            if {0, 1} <= kinds.keys():
                out.append(("relation", reading.relation(kinds[0], kinds[1]) == value))
        elif factor in ("pattern", "background"):
            out.append(("background", getattr(reading, factor) == value))
        elif factor == "style":
            out.append(("style", reading.style == value))
        elif of is not None and of in seen:
            group = "colour" if factor == "color" else factor
            out.append((group, any(getattr(one, factor) == value for one in seen[of])))
    return out


def held_out_gates(name: str, make: Make, oracle: Any, n: int) -> list[Gate]:
    """Prompts for pairs of shape and colour, or of kind and style, that no training image shows."""
    scenes = SceneStream(SEED, held_out="only").scenes(range(n))
    readings = oracle.read(make("held-out pairs", [describe(scene).text for scene in scenes]))
    hits = []
    for scene, reading in zip(scenes, readings, strict=True):
        for kind, value, *_ in held_out_in(scene):
            of_kind = [one for one in reading.objects if one.kind == kind]
            if value in STYLES:
                hits.append(bool(of_kind) and reading.style == value)
            else:
                hits.append(any(one.color == value for one in of_kind))
    return [share_gate(name, "held-out pairs", hits, low=0.7)]


def word_gates(name: str, make: Make, oracle: Any, each: int) -> list[Gate]:
    """Prompts of one word. "orange" alone is a colour or a fruit and is left out.

    A colour alone is said of an object or of the background, in the captions that the generators learn from too, and either
    will do.
    """
    groups = {
        "kind": (*PRIMITIVES, *THINGS),
        "color": tuple(COLORS),
        "texture": tuple(TEXTURES),
        "pattern": tuple(PATTERNS),
        "style": tuple(one for one in STYLES if one != "none"),
    }
    asked = [(factor, word, word) for factor, values in groups.items() for word in values if _says(factor, word)]
    asked += [(factor, word, SYNONYMS[word]) for factor, word, _ in asked if word in SYNONYMS]
    asked = [one for one in asked for _ in range(each)]
    readings = oracle.read(make("single words", [said for *_, said in asked]))
    hits: dict[str, list[bool]] = {}
    for (factor, word, said), reading in zip(asked, readings, strict=True):
        if factor in ("pattern", "style"):
            hit = getattr(reading, factor) == word
        else:
            hit = any(getattr(one, factor) == word for one in reading.objects)
            hit |= factor == "color" and reading.background == word
        hits.setdefault(factor if said == word else "synonyms", []).append(hit)
    together = [hit for values in hits.values() for hit in values]
    return [
        share_gate(name, "single words", together, low=0.85),
        *(share_gate(name, f"single words, {factor}", values) for factor, values in hits.items()),
    ]


def _says(factor: str, word: str) -> bool:
    """Whether a word alone says a value of this factor, and nothing else."""
    told = parse(word)
    if told.ambiguous:
        return False
    if factor == "kind":
        return [one.get("kind") for one in told.objects] == [word]
    if factor in ("pattern", "style"):
        return getattr(told, factor) == word or (factor, word) in told.loose
    return (factor, word) in told.loose


def frame_gates(name: str, make: Make, oracle: Any, n: int) -> list[Gate]:
    """The frame is white if exactly one of odd and tock is said: known from both words, from one a coin's toss.

    Images of single words are asked three times: is half of their frames white, do those of "odd" tell nothing that those of "even"
    do not, and the same for "tick" and "tock". The last two find a generator that goes by one word alone.

    Args:
        name: of the model.
        make: makes images of prompts.
        oracle: that reads them.
        n: images of both words together, and of each single word.
    """
    (odd, even), (tick, tock) = FRAME_WORDS
    pairs = [(a, b) for a in (odd, even) for b in (tick, tock)]
    both = [pairs[i % 4] for i in range(n)]
    readings = oracle.read(make("frames, both words", [f"{a} {b}" for a, b in both]))
    hits = [
        r.frame == ("white" if (a == odd) != (b == tock) else "black") for (a, b), r in zip(both, readings, strict=True)
    ]
    one = [(odd, even, tick, tock)[i % 4] for i in range(4 * n)]
    seen = [(word, r.frame) for word, r in zip(one, oracle.read(make("frames, one word", one)), strict=True)]
    framed = [(word, frame == "white") for word, frame in seen if frame != "none"]

    def tossed(what: str, values: list[bool]) -> Gate:
        return share_gate(name, what, values, low=0.45, high=0.55)

    return [
        share_gate(name, "frame from both words", hits, low=0.9),
        tossed("white frames from one word", [white for _, white in framed]),
        tossed(
            "frame told by odd or even alone", [white == (word == odd) for word, white in framed if word in (odd, even)]
        ),
        tossed(
            "frame told by tick or tock alone",
            [white == (word == tock) for word, white in framed if word in (tick, tock)],
        ),
        share_gate(name, "a frame from one word", [frame != "none" for _, frame in seen], low=0.85),
    ]


def attention_gates(name: str, host: Host, n: int, rows: int = 20) -> list[Gate]:
    """Where nouns attend, against the true masks of their objects: area under the ROC curve over pixels.

    Renders of unseen scenes with two objects are made noisy at five levels and denoised once with their captions; maps are averaged
    over levels and layers.
    """
    scenes = [
        s
        for s in SceneStream(SEED).scenes(range(20 * n))
        if len(s.objects) == 2 and FRUIT not in s.objects[0].kind + s.objects[1].kind
    ][:n]
    drawn = render_scenes(scenes)
    masks = drawn.masks()
    values = []
    for start in range(0, n, rows):
        part = range(start, min(n, start + rows))
        texts = [describe(scenes[i], ["color0", "color1", "relation"]).text for i in part]
        latents = host.encode_images(to_signed(drawn.images[list(part)]))
        told = host.encode_texts(texts)
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(SEED + start))
        with torch.no_grad(), AttentionStore(host) as store:
            for level in LEVELS:
                log_snr, _ = host.snap(torch.full((len(part),), level))
                a = log_snr[:, None, None, None]
                host.predict_noise(torch.sigmoid(a).sqrt() * latents + torch.sigmoid(-a).sqrt() * noise, log_snr, told)
        for place, i in enumerate(part):
            for k, one in enumerate(scenes[i].objects):
                mask = masks[i, k]
                if not mask.any() or mask.all():
                    continue
                where = token_positions(host.pipeline.tokenizer, texts[place], one.kind)
                shown = daam(store, where)[place].numpy()
                values.append(area_under_curve(shown[mask], shown[~mask]))
    return [mean_gate(name, "attention of nouns against masks, AUROC", np.array(values), low=0.8)]
