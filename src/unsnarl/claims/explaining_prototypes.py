"""Claim: the scores of visual characteristics name what a prototype really rests on.

*A trained network.* Rendered scenes of ten classes, each defined by one value of one characteristic (hue, outline, texture,
contrast, saturation), everything else random. A ProtoPNet with four prototypes a class learns them. For every prototype of a
class that it recognises, the characteristic with the largest global score should be the one that defines the class. Against
it stand the characteristic whose change alters pixels most, and the same scores with every changed image free to match anywhere.

*A known reason.* Hand-written similarities that depend on one characteristic alone, so that the right answer holds for every
single image: the local scores should name it in 95% of cases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unsnarl.claims._claim import Arm, Claim, Row
from unsnarl.claims._context import Context
from unsnarl.claims._statistics import RULES

SIZE, TEST, CALIBRATION = 4_000, 1_000, 256
OFFSET = 1_000  # scenes and networks were looked at with seeds near 0 and 900 while they were designed
ACCURATE = 0.9  # a class counts when this share of its test images is classified correctly
PER_CLASS = 4
TRAINING: dict[str, Any] = {
    "per_class": PER_CLASS,
    "epochs": 14,
    "warm_epochs": 1,
    "push_start": 4,
    "push_every": 3,
    "last_epochs": 8,
    "lr_backbone": 2e-3,
    "lr": 3e-3,
    "lr_last": 1e-3,
    "decay_every": 5,
    "gamma": 0.3,
    "batch_size": 64,
}
ROWS = 128


def scenes(seed: int, context: Context) -> tuple[Any, Any, Any, Any]:
    """Training images and labels, test images and labels."""
    from unsnarl.data._characteristics import CharacteristicScenes

    def build() -> dict[str, Any]:
        train = CharacteristicScenes(context.steps(SIZE, quick=300), seed=2 * (seed + OFFSET))
        test = CharacteristicScenes(context.steps(TEST, quick=100), seed=2 * (seed + OFFSET) + 1)
        return {"x": train.observations, "y": train.labels, "test_x": test.observations, "test_y": test.labels}

    made = context.arrays("scenes", build, seed=seed)
    return made["x"], made["y"], made["test_x"], made["test_y"]


def network(seed: int, context: Context) -> Any:
    """The ProtoPNet of a seed, trained once for all arms."""
    from unsnarl.systems.prototypes.protopnet import ProtoPNet

    def build(folder: Path) -> None:
        x, y, _, _ = scenes(seed, context)
        options = TRAINING | ({"epochs": 3, "push_start": 2, "last_epochs": 2} if context.quick else {})
        model = ProtoPNet(seed=seed + OFFSET, **options)
        total = options["epochs"] * (len(x) // options["batch_size"])
        model.fit(x, y, callbacks=[lambda step, _: context.report(step, 2 * total)])
        model.save_pretrained(folder)

    return ProtoPNet.from_pretrained(context.shared("network", build, seed=seed))


class Given:
    """An operator whose outcome on one batch is at hand already."""

    def __init__(self, name: str, images: Any):
        self.name, self.images = name, images

    def __call__(self, _: Any) -> Any:
        """The changed images."""
        return self.images


def global_scores(model: Any, images: Any, operators: Any, context: Context, share: tuple[float, float]) -> Any:
    """(ours, own minimum, pixel change), each (prototype, characteristic), and the images' similarities.

    The pixel change is averaged over images with the same weights as the scores, so it may differ between prototypes.
    """
    import numpy as np

    from unsnarl.data.image_operators._operator import as_pixels
    from unsnarl.systems.prototypes.explaining_prototypes._local import WeightedSums, changed_similarities

    sums = [WeightedSums() for _ in range(3)]
    for start in range(0, len(images), ROWS):
        pixels = as_pixels(np.asarray(images[start : start + ROWS]))
        given = [Given(o.name, o(pixels)) for o in operators]
        found = changed_similarities(model, pixels, given)
        moved = np.stack([np.abs(g.images - pixels).mean(axis=(1, 2, 3)) for g in given], axis=1)
        before = found.similarity[:, :, None]
        pixel = np.broadcast_to(moved[:, None, :], found.there.shape)
        for total, scores in zip(sums, (before - found.there, before - found.anywhere, pixel), strict=True):
            total.add(scores, found.similarity)
        context.report(share[0] + (share[1] - share[0]) * (start + len(pixels)) / len(images), 1.0)
    return [total.scores() for total in sums]


def run_network(seed: int, context: Context, calibrate: bool = True) -> dict[str, float]:
    """Train, score, and see whether the right characteristic comes first."""
    import numpy as np
    from scipy.stats import spearmanr

    from unsnarl.data._characteristics import defining_characteristic
    from unsnarl.data.image_operators import calibrated, default_operators
    from unsnarl.systems.prototypes.explaining_prototypes import redundant_pairs

    x, _, test_x, test_y = scenes(seed, context)
    model = network(seed, context)
    operators = default_operators(height=x.shape[2])
    if calibrate:
        operators = calibrated(operators, x[:CALIBRATION])
    names = [o.name for o in operators]
    ours, own, pixel = global_scores(model, x, operators, context, (0.5, 0.9))
    ours_test = global_scores(model, test_x, operators, context, (0.9, 1.0))[0]

    right = model.predict(test_x) == test_y
    recall = np.array([right[test_y == c].mean() for c in range(10)])
    class_of = model.class_of_
    accurate = recall[class_of] >= ACCURATE
    truth = np.array([names.index(defining_characteristic(int(c))) for c in class_of])

    def share(scores: Any) -> float:
        return float((scores.argmax(axis=1) == truth)[accurate].mean()) if accurate.any() else float("nan")

    found = {
        "share": share(ours),
        "share, own minimum": share(own),
        "share, pixel change": share(pixel),
        "spearman": float(spearmanr(ours.ravel(), ours_test.ravel()).statistic),
        "accuracy": float(right.mean()),
        "accurate classes": float((recall >= ACCURATE).sum()),
    }
    for i in range(5):
        mine = accurate & (class_of // 2 == i)
        name = defining_characteristic(2 * i)
        found[f"share, {name}"] = float((ours.argmax(axis=1) == truth)[mine].mean()) if mine.any() else float("nan")
    return found | _duplicates(model, ours, redundant_pairs)


def _duplicates(model: Any, scores: Any, redundant_pairs: Any) -> dict[str, float]:
    """Copy one prototype of each class: how many copies are flagged, and what share of other pairs of a class is too.

    A copy differs from its original by a little noise (1% of the spread of the prototypes), as two prototypes that were
    trained into the same place would; its scores are the original's.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    vectors, class_of = model.prototype_vectors_, model.class_of_
    chosen = np.array([np.flatnonzero(class_of == c)[0] for c in np.unique(class_of)])
    copies = vectors[chosen] + 0.01 * vectors.std(axis=0) * rng.standard_normal((len(chosen), vectors.shape[1]))
    pairs = redundant_pairs(
        np.concatenate([vectors, copies]),
        np.concatenate([scores, scores[chosen]]),
        np.concatenate([class_of, class_of[chosen]]),
    )
    flagged = set(zip(pairs["first"], pairs["second"], strict=True))
    found = [(int(one), len(vectors) + i) in flagged for i, one in enumerate(chosen)]
    alone = redundant_pairs(vectors, scores, class_of)
    of_a_class = sum(int(n) * (int(n) - 1) // 2 for n in np.bincount(np.unique(class_of, return_inverse=True)[1]))
    return {"duplicates flagged": float(np.mean(found)), "pairs flagged without": len(alone) / of_a_class}


def run_known(seed: int, context: Context, calibrate: bool = True, images: int = 100) -> dict[str, float]:
    """Models that depend on one characteristic alone: how often the scores name it."""
    import numpy as np

    from unsnarl.data._characteristics import CHARACTERISTICS, CharacteristicScenes
    from unsnarl.data.image_operators import calibrated, default_operators
    from unsnarl.systems.prototypes.explaining_prototypes import local_scores
    from unsnarl.systems.prototypes.explaining_prototypes._known_reason import KnownReason

    images = context.steps(images, quick=10)
    first = 100 * (seed + OFFSET)
    mixed = CharacteristicScenes(CALIBRATION, seed=first).observations
    operators = default_operators(height=64)
    if calibrate:
        operators = calibrated(operators, mixed)
    names = [o.name for o in operators]
    local: list[Any] = []
    whole: list[Any] = []
    found = {}
    for label in range(10):
        context.report(label, 10)
        name = CHARACTERISTICS[label // 2]
        train = CharacteristicScenes(50, seed=first + 2 * label + 1, classes=(label,))
        shown = CharacteristicScenes(images, seed=first + 2 * label + 2, classes=(label,))
        model = KnownReason(name, train.observations, prototypes=PER_CLASS, seed=seed + OFFSET)
        x = shown.observations
        if (
            name == "shape"
        ):  # an outline is alike only where it lies alike: the prototypes' arrangements, all else redrawn
            assert train.table is not None
            layouts = train.table.values["layout"].to_numpy()[np.resize(model.source, images)]
            x = shown.intervene(slice(None), layout=layouts).observations
        scores, similarity = local_scores(model, x, operators)
        nearest = similarity.argmax(axis=1)
        named = scores[np.arange(len(x)), nearest].argmax(axis=1) == names.index(name)
        total = np.einsum("npi,np->pi", scores, similarity)
        local.append(named.mean())
        whole.append((total.argmax(axis=1) == names.index(name)).mean())
    for i, name in enumerate(CHARACTERISTICS):
        found[f"named, {name}"] = float(np.mean(local[2 * i : 2 * i + 2]))
    return found | {"named": float(np.mean(local)), "named globally": float(np.mean(whole))}


NETWORK, PUBLISHED, KNOWN = "ProtoPNet, equal changes", "ProtoPNet, published strengths", "known reason"

claim = Claim(
    slug="explaining-prototypes",
    title="Explaining Prototypes on scenes whose classes have one known reason",
    statement="The characteristic with the largest global score is the one that defines the class for at least 70% of the prototypes of "
    "the classes that a ProtoPNet recognises, at least 25 points more than the characteristic whose change alters the pixels most; scores on training "
    "and test images rank alike (0.9); copies of prototypes are flagged; and where the reason is known exactly, 95% of local scores name it.",
    arms={
        NETWORK: run_network,
        PUBLISHED: Arm(run_network, calibrate=False),
        KNOWN: run_known,
        "known reason, published strengths": Arm(run_known, calibrate=False),
    },
    rows=[
        Row(
            "defining characteristic first, 0.7",
            metric="share",
            system=NETWORK,
            baseline=0.0,
            minimum_effect=0.7,
            rule=RULES[1],  # the bar is on the mean
        ),
        Row(
            "against the change of pixels",
            metric="share",
            system=NETWORK,
            baseline=NETWORK,
            baseline_metric="share, pixel change",
            minimum_effect=0.25,
            rule=RULES[1],  # the bar is on the mean
        ),
        Row("training and test rank alike, 0.9", metric="spearman", system=NETWORK, baseline=0.9),
        Row("copies are flagged, 0.95", metric="duplicates flagged", system=NETWORK, baseline=0.95),
        Row("known reason named for an image, 0.95", metric="named", system=KNOWN, baseline=0.95),
        Row("known reason named for a prototype, 0.95", metric="named globally", system=KNOWN, baseline=0.95),
        Row("at least 8 classes recognised", metric="accurate classes", system=NETWORK, baseline=7.5, role="guard"),
        Row("the same with the whole interval above 0.7", metric="share", system=NETWORK, baseline=0.7, role="extra"),
        Row(
            "against a match anywhere",
            metric="share",
            system=NETWORK,
            baseline=NETWORK,
            baseline_metric="share, own minimum",
            role="ablation",
        ),
        Row(
            "equal changes against published strengths",
            metric="share",
            system=NETWORK,
            baseline=PUBLISHED,
            role="ablation",
        ),
        Row("published strengths, 0.7", metric="share", system=PUBLISHED, baseline=0.7, role="extra"),
        Row(
            "known reason, published strengths, 0.95",
            metric="named",
            system="known reason, published strengths",
            baseline=0.95,
            role="extra",
        ),
        Row(
            "few pairs of a class flagged without copies, 0.5",
            metric="pairs flagged without",
            system=NETWORK,
            baseline=0.5,
            higher_is_better=False,
            role="extra",
        ),
    ],
    settings={
        "scenes": f"{SIZE} training, {TEST} test, 64 x 64",
        "ProtoPNet": TRAINING,
        "network": "3 x 3 convolutions of 24, 48, 96, 96 channels, map of 8 x 8",
        "characteristics": "hue, shape, texture, contrast, saturation, brightness; no class is defined by brightness",
        "a class counts as recognised": f"at least {ACCURATE:.0%} of its test images are classified correctly",
        "strengths": f"set to equal mean changes of pixels on {CALIBRATION} training images",
        "seeds": f"scenes and networks of seed s are drawn with s + {OFFSET}",
    },
    notes="How it came to this design, on seeds that the claim does not use. With squares against discs at a figure contrast of 0.13 and one push at the "
    "end, the network recognised the outline classes in half of their images; crosses and discs at 0.2 it recognises. With pushes every three "
    "epochs instead of one at the end, fewer prototypes are left where no image is. With free hues no nearer than 0.15 turns to the classes' hues, "
    "a calibrated change of 0.02 turns was too small a part of the way and no prototype of a hue class named hue (75% of all prototypes named their "
    "reason); free hues 0.08 away put hue on a par with the other characteristics. In that final design, on seed 77: 80% of prototypes, 40% by the change of pixels, "
    "58% with a match anywhere, 23% at published strengths. Twice the calibrated change (0.018) gave 63% in the earlier design: strong denoising "
    "blurs faint outlines. At published strengths, scaled to 64 pixels, the amplitude of the shape operator is 0.85 of a pixel, which is cut to 0, so it changes "
    "nothing. Brightness is scored beside the five characteristics of the paper, which makes the task harder. For a known outline the images are the "
    "prototypes' arrangements with everything else redrawn; for the other characteristics they are new scenes. Two prototypes pushed to one patch are copies without "
    "anyone's doing; the last row counts how many pairs are flagged where none was copied on purpose.",
)
