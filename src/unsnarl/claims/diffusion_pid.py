"""Claim: what a word alone tells of an image is where its object is; words that tell only together, or the same, are told apart.

Scenes with known roles for two words, drawn by the renderer, so that masks and truths are exact: two objects; the pair odd or even with
tick or tock, of which only both together say whether the frame is white; and a word with its synonym. Against the map of DiffusionPID's
uniqueness stand mutual information, conditional mutual information and attention (DAAM, from all layers and from those of one
resolution; in each seed the best of all counts). A fourth row needs no trained model: in closed-form worlds the terms are known.

*The frame's words.* Odd alone says nothing of the frame's colour, but it says that there is a frame, which one scene in five has: log 5
nats, as tick does, against the log 2 that both add. Counted from the empty prompt, synergy is therefore at most log 2 / log 10 = .30 of
what both tell, whatever the model. The bar of .5 is on what they tell where a frame is known to be there: counted from the other
parity's word, which says that and no more. The share counted from the empty prompt is reported beside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from unsnarl.claims._claim import Arm, Claim, Row
from unsnarl.claims._context import Context
from unsnarl.claims._statistics import RULES
from unsnarl.claims._word_roles import STREAM, examples, masks_of, pixels, ring_share

HOST = "zoo/sd-tiny-32"
IMAGES, POINTS, STEPS = 30, 64, 25
SIZES: dict[str, tuple[int, ...] | None] = {"DAAM": None, "DAAM 16": (16,), "DAAM 8": (8,)}
WORLD_DRAWS, WORLD_POINTS = 2_000, 100
GATES = (  # what the roles stand on: what is said is shown, words alone and the frame's words too, and attention knows nouns
    "category",
    "colour",
    "single words",
    "frame from both words",
    "white frames from one word",
    "frame told by odd or even alone",
    "frame told by tick or tock alone",
    "a frame from one word",
    "attention of nouns against masks, AUROC",
)
OTHER = {"odd": "even", "even": "odd"}


def explainer(context: Context) -> Any:
    """DiffusionPID on the zoo's Stable Diffusion."""
    from unsnarl.systems.diffusion._diffusion_pid import DiffusionPID

    return DiffusionPID(HOST, n_snr=context.steps(POINTS, quick=2), rows=64)


def noise_seed(seed: int, image: int) -> int:
    """The seed of log-SNRs and noise for one image."""
    return 1_000 * seed + image


def object_maps(seed: int, context: Context) -> dict[str, np.ndarray]:
    """Informations and attention of two-object scenes, made once for all arms: (image, map, 32, 32)."""

    def build() -> dict[str, Any]:
        from unsnarl.systems.diffusion._pid_attention import attention_maps
        from unsnarl.systems.diffusion._pid_words import alone, mentions, without

        pid = explainer(context)
        shown = examples("objects", seed, context.steps(IMAGES, quick=1))
        out: dict[str, list[Any]] = {name: [] for name in ("i_o", "i_s", "attention", "masks")}
        for k, one in enumerate(shown):
            pid.seed = noise_seed(seed, k)
            found = mentions(one.prompt, one.words)
            first, second = ((word,) for word in found)
            texts = {
                "none": "",
                "1": alone(first),
                "2": alone(second),
                "12": alone(found),
                "all": one.prompt,
                "but 1": without(one.prompt, first),
                "but 2": without(one.prompt, second),
                "rest": without(one.prompt, found),
            }
            gaps = pid.information(pixels(one.scene), texts, PAIRS)
            for name in ("i_o", "i_s"):
                out[name].append([getattr(gaps[pair], name)[0].cpu().numpy() for pair in PAIRS])
            latents = pid.host.encode_images(pixels(one.scene))
            attention = attention_maps(
                pid.host,
                latents,
                one.prompt,
                found,
                sizes=list(SIZES.values()),
                steps=context.steps(STEPS, quick=2),
                seed=pid.seed,
            )
            out["attention"].append(attention[:, :, 0])
            out["masks"].append(masks_of(one.scene))
            context.report(k + 1, len(shown))
        return {name: np.array(values) for name, values in out.items()}

    return context.arrays("objects", build, seed=seed)


PAIRS = [
    ("1", "none"),
    ("2", "none"),
    ("12", "none"),
    ("all", "but 1"),
    ("all", "but 2"),
    ("but 2", "rest"),
    ("but 1", "rest"),
    ("all", "rest"),
]


def run_objects(
    seed: int,
    context: Context,
    kind: str = "uniqueness",
    estimate: str = "i_o",
    redundancy: str = "min",
    conditional: bool = False,
) -> dict[str, float]:
    """How well a word's map tells the pixels of its object from all others: the mean over images and words of the AUROC."""
    from sklearn.metrics import roc_auc_score

    from unsnarl.information._pointwise_pid import pointwise_pid

    data = object_maps(seed, context)
    told = data[estimate]
    if kind in SIZES:
        maps = data["attention"][:, list(SIZES).index(kind)]
    elif kind in ("MI", "CMI"):
        maps = told[:, :2] if kind == "MI" else told[:, 3:5]
    else:
        three = told[:, 5:] if conditional else told[:, :3]
        terms = pointwise_pid(three[:, 0], three[:, 1], three[:, 2], redundancy)
        maps = np.stack([terms.unique_1, terms.unique_2], axis=1)
    pairs = zip(data["masks"].reshape(-1, 1024), maps.reshape(-1, 1024), strict=True)
    scores = [float(roc_auc_score(mask, values)) for mask, values in pairs]
    return {"auroc": float(np.mean(scores)), "worst_tenth": float(np.quantile(scores, 0.1))}


def run_frame(seed: int, context: Context) -> dict[str, float]:
    """Where the synergy of the frame's words is, and its share of what both tell, over all images together.

    The share inside the ring is of the synergy inside, all of it, and of what is positive outside: chance makes synergy positive at
    some pixels and negative at others, and would make any network's share large if it were clipped inside as well.
    """
    from unsnarl.information._pointwise_pid import pointwise_pid

    pid = explainer(context)
    shown = examples("frame", seed, context.steps(IMAGES, quick=1))
    sums = {name: np.zeros(4) for name in ("empty", "frame")}
    maps: list[np.ndarray] = []
    for k, one in enumerate(shown):
        pid.seed = noise_seed(seed, k)
        first, second = one.words
        texts = {"none": "", "1": first, "2": second, "12": f"{first} {second}", "other": OTHER[first]}
        pairs = [(told, instead) for instead in ("none", "other") for told in ("1", "2", "12")]
        gaps = pid.information(pixels(one.scene), texts, pairs)
        for name, three in (("empty", pairs[:3]), ("frame", pairs[3:])):
            i1, i2, i12 = (gaps[pair].i_o[0].cpu().numpy() for pair in three)
            terms = pointwise_pid(i1, i2, i12)
            sums[name] += [float(term.sum()) for term in terms.as_dict().values()]
            if name == "empty":
                maps.append(terms.synergy)
        context.report(k + 1, len(shown))
    synergy = np.stack(maps)
    return {
        "ring_share": ring_share(synergy),
        "synergy_share": float(sums["frame"][3] / sums["frame"].sum()),
        "synergy_share_empty": float(sums["empty"][3] / sums["empty"].sum()),
        "synergy_nats": float(sums["empty"][3] / len(shown)),
        "both_nats": float(sums["empty"].sum() / len(shown)),
    }


def run_synonyms(seed: int, context: Context) -> dict[str, float]:
    """The share of redundancy in what a word and its synonym tell, over all images together."""
    pid = explainer(context)
    shown = examples("synonyms", seed, context.steps(IMAGES, quick=1))
    sums: dict[str, float] = {}
    for k, one in enumerate(shown):
        pid.seed = noise_seed(seed, k)
        found = pid.decompose(one.prompt, one.words, pixels(one.scene))
        sums = {name: sums.get(name, 0.0) + value for name, value in found.totals.items()}
        context.report(k + 1, len(shown))
    whole = sum(sums.values())
    return {"redundancy_share": sums["redundancy"] / whole, "both_nats": whole / len(shown)}


def deletions(seed: int, context: Context) -> dict[str, np.ndarray]:
    """Images of captions with and without each of two words, and what attention says of these words, made once for all arms."""

    def build() -> dict[str, Any]:
        from unsnarl.systems.diffusion._pid_attention import attention_maps
        from unsnarl.systems.diffusion._pid_words import mentions

        pid = explainer(context)
        steps = context.steps(STEPS, quick=2)
        shown = examples("deletion", seed, context.steps(IMAGES, quick=2))
        change, attention, images = [], [], []
        for k, one in enumerate(shown):
            pid.seed = noise_seed(seed, k)
            drawn = [pid.intervene(one.prompt, word, seeds=[pid.seed], steps=steps) for word in one.words]
            images.append(drawn[0].before[0].numpy())
            change.append([float(each.change[0]) for each in drawn])
            latents = pid.host.encode_images(drawn[0].before)
            found = mentions(one.prompt, one.words)
            maps = attention_maps(
                pid.host, latents, one.prompt, found, sizes=list(SIZES.values()), steps=steps, seed=pid.seed
            )
            attention.append(maps.mean((2, 3, 4)))
            context.report(k + 1, len(shown))
        return {"images": np.array(images), "change": np.array(change), "attention": np.array(attention)}

    return context.arrays("deletions", build, seed=seed)


def run_deletion(seed: int, context: Context, score: str = "uniqueness", conditional: bool = False) -> dict[str, float]:
    """Spearman's correlation, over words of captions, of a score with how much an image changes when the word is deleted."""
    from scipy.stats import spearmanr

    data = deletions(seed, context)
    if score in SIZES:
        values = data["attention"][:, list(SIZES).index(score)]
    else:
        pid = explainer(context)
        shown = examples("deletion", seed, len(data["images"]))
        found = []
        for k, (one, image) in enumerate(zip(shown, data["images"], strict=True)):
            pid.seed = noise_seed(seed, k)
            terms = pid.decompose(one.prompt, one.words, torch.from_numpy(image.copy()), conditional=conditional).totals
            found.append([terms["unique_1"], terms["unique_2"]])
            context.report(k + 1, len(shown))
        values = np.array(found)
    return {"spearman": float(spearmanr(np.ravel(values), np.ravel(data["change"])).statistic)}


def run_worlds(seed: int, context: Context) -> dict[str, float]:
    """The largest error of any term at any place in the worlds with closed-form denoisers, in nats."""
    from unsnarl.information._denoiser_information import diffusion_gaps
    from unsnarl.information._pointwise_pid import pointwise_pid
    from unsnarl.systems.diffusion._pid_worlds import WORLDS, mixture_world

    errors: dict[str, float] = {}
    log_ratio = []
    for k, name in enumerate(WORLDS):
        world = mixture_world(name)
        x, values = world.draw(context.steps(WORLD_DRAWS, quick=50), seed=STREAM + seed)
        told = {source: world.told(values, source) for source in ("first", "second", "both", "none")}
        pairs = [(source, "none") for source in ("first", "second", "both")]
        gaps = diffusion_gaps(world.denoiser, x, told, pairs, n_snr=WORLD_POINTS, rowwise=True, block=20_000, seed=seed)
        i1, i2, i12 = (gaps[pair].i_o.mean(0).numpy() for pair in pairs)
        found = pointwise_pid(i1, i2, i12).as_dict()
        errors[name] = max(float(np.abs(term - getattr(world, key).numpy()).max()) for key, term in found.items())
        exact = world.log_density(x, told["both"]) - world.log_density(x, told["none"])
        log_ratio.append(abs(float(gaps["both", "none"].total_s.mean() - exact.mean())))
        context.report(k + 1, len(WORLDS))
    return {"error": max(errors.values()), "log_ratio_error": max(log_ratio)} | {
        f"error_{k}": v for k, v in errors.items()
    }


UNIQUE, CONDITIONAL, DELETED = "uniqueness", "uniqueness given the rest", "uniqueness before a deletion"
RIVALS: Sequence[str] = ("MI", "CMI", *SIZES)

claim = Claim(
    slug="diffusion-pid",
    title="What words tell of an image, taken apart, against mutual information and attention",
    statement="On scenes of a small Stable Diffusion, the map of what a word alone tells finds its object with an AUROC at least .03 above "
    "the best of MI, CMI and DAAM; synergy of words that tell only together lies in the frame they are about and is most of what they "
    "tell of it; redundancy is most of what synonyms tell; what a word alone tells predicts the change by its deletion better than its "
    "attention, by .1 of Spearman's correlation; and in closed-form worlds every term is right to .05 nats.",
    arms={
        UNIQUE: Arm(run_objects, kind="uniqueness"),
        **{name: Arm(run_objects, kind=name) for name in RIVALS},
        CONDITIONAL: Arm(run_objects, kind="uniqueness", conditional=True),
        "uniqueness by i_s": Arm(run_objects, kind="uniqueness", estimate="i_s"),
        "uniqueness by specificity-ambiguity": Arm(
            run_objects, kind="uniqueness", estimate="i_s", redundancy="specificity-ambiguity"
        ),
        "frame words": run_frame,
        "synonyms": run_synonyms,
        DELETED: Arm(run_deletion, score="uniqueness"),
        "uniqueness given the rest, before a deletion": Arm(run_deletion, score="uniqueness", conditional=True),
        **{f"{name} before a deletion": Arm(run_deletion, score=name) for name in SIZES},
        "closed-form worlds": run_worlds,
    },
    rows=[
        Row(
            "object found by its word",
            metric="auroc",
            system=UNIQUE,
            baseline=tuple(RIVALS),
            minimum_effect=0.03,
            rule=RULES[1],  # the bar is on the mean, with an interval above zero
        ),
        Row("synergy in the frame, .6", metric="ring_share", system="frame words", baseline=0.6),
        Row("synergy of what both tell of a frame, .5", metric="synergy_share", system="frame words", baseline=0.5),
        Row("redundancy of synonyms, .6", metric="redundancy_share", system="synonyms", baseline=0.6),
        Row(
            "change by deletion",
            metric="spearman",
            system=DELETED,
            baseline=tuple(f"{name} before a deletion" for name in SIZES),
            minimum_effect=0.1,
        ),
        Row(
            "closed-form worlds, .05 nats",
            metric="error",
            system="closed-form worlds",
            baseline=0.05,
            higher_is_better=False,
        ),
        Row(
            "synergy counted from the empty prompt, .5 (at most .30)",
            metric="synergy_share_empty",
            system="frame words",
            baseline=0.5,
            role="extra",
        ),
        Row(
            "synergy of the frame's words in nats, half of log 2",
            metric="synergy_nats",
            system="frame words",
            baseline=0.5 * math.log(2),
            role="extra",
        ),
        Row(
            "change by deletion, given the rest",
            metric="spearman",
            system="uniqueness given the rest, before a deletion",
            baseline=tuple(f"{name} before a deletion" for name in SIZES),
            minimum_effect=0.1,
            role="extra",
            seeds=2,
        ),
        Row("given the rest", metric="auroc", system=UNIQUE, baseline=CONDITIONAL, role="ablation"),
        Row("by i_s", metric="auroc", system=UNIQUE, baseline="uniqueness by i_s", role="ablation"),
        Row(
            "by specificity-ambiguity",
            metric="auroc",
            system=UNIQUE,
            baseline="uniqueness by specificity-ambiguity",
            role="ablation",
        ),
    ],
    gates={"sd-tiny-32": GATES},
    settings={
        "host": HOST,
        "scenes": f"stream {STREAM} + seed, {IMAGES} images a role",
        "log-SNRs": f"{POINTS} in [-11, 7]",
        "noises": 1,
        "redundancy": "min, of i_o",
        "DAAM": f"{STEPS} noise levels; all layers, those of 16 x 16, those of 8 x 8; in each seed the best counts",
        "closed-form worlds": f"{WORLD_DRAWS} pictures, {WORLD_POINTS} log-SNRs",
    },
    notes="Nothing is tuned: the system has its defaults for hosts of pixels (log-SNRs from -11 to 7, where the published ones for latents end at "
    "-5 and would leave out most of what is told of a frame or a background) but 64 log-SNRs, and every form of a baseline is an arm of its own. "
    "Counted from the empty prompt, synergy of the frame's words is at most log 2 / log 10 = .30 of what both tell, because each alone "
    "says that there is a frame; the bar of .5 is on what they tell once that is known.",
)
