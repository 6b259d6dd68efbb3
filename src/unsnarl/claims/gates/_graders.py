"""Gates of what grades: the oracle on renders, the identity encoder on unseen instances, the scoring CLIP on unseen scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unsnarl.claims.gates._gate import Gate, mean_gate, share_gate
from unsnarl.claims.gates._showing import SHOWS, least_changes
from unsnarl.data.scenes import (
    FACING_KINDS,
    THINGS,
    Scene,
    SceneStream,
    photo,
    random_instance,
    render_scenes,
    to_signed,
)
from unsnarl.zoo._contrastive import image_embeddings, text_embeddings
from unsnarl.zoo._degrade import degrade
from unsnarl.zoo._grading import identity_vectors
from unsnarl.zoo._identity import photo_tensors
from unsnarl.zoo._oracle import MAP, OF_OBJECT, OF_SCENE, SceneReading
from unsnarl.zoo._scene_batches import holds, token_ids

SEED = 77  # no training draws from it
SEEN = 0.6  # share of an object's pixels that must be visible before the oracle is asked for it
RENDERS, DEGRADED = 0.98, 0.95
PHOTOS = 4
NOTHING_ELSE = "no other kind"


def oracle_gates(oracle: Any, n: int = 1000) -> list[Gate]:
    """How often the oracle reads a factor rightly, on unseen renders and on degraded ones.

    The share of all that the image shows (`least_changes` of at least `SHOWS`), which is what the bound is for; the share with
    what it does not show; and each factor. An object whose kind is missed counts as one mistake, a kind that is not there as
    another.
    """
    rare = n // 10
    scenes = SceneStream(SEED).scenes(range(n - rare)) + SceneStream(SEED, held_out="only").scenes(range(rare))
    drawn = render_scenes(scenes)
    images = to_signed(drawn.images)
    visible = drawn.visible.astype(float).sum((2, 3)) / np.maximum(drawn.whole.astype(float).sum((2, 3)), 1)
    changes = least_changes(scenes)
    gates = []
    for where, low, shown in (
        ("renders", RENDERS, images),
        ("degraded renders", DEGRADED, degrade(images, torch.Generator().manual_seed(SEED), 1.0)),
    ):
        readings = oracle.read(shown)
        hits = reading_hits(scenes, visible, readings, changes)
        gates.append(share_gate("oracle", f"factors read rightly on {where}", _together(hits), low=low))
        every = _together(reading_hits(scenes, visible, readings))
        gates.append(share_gate("oracle", f"factors that {where} show or do not", every))
        gates += [share_gate("oracle", f"{name} on {where}", values) for name, values in hits.items()]
    return gates


def _together(hits: Mapping[str, list[bool]]) -> list[bool]:
    return [hit for values in hits.values() for hit in values]


def reading_hits(
    scenes: Sequence[Scene],
    visible: Float[np.ndarray, "n object"],
    readings: Sequence[SceneReading],
    changes: Mapping[str, Float[np.ndarray, "n object"]] | None = None,
) -> dict[str, list[bool]]:
    """Factor -> whether it was read rightly, for every scene and for every object that is seen.

    Args:
        scenes: n scenes.
        visible: the share of each object's pixels that nothing covers; objects with less than `SEEN` are left out.
        readings: of their images.
        changes: of `least_changes`; what has less than `SHOWS` is left out.
    """
    hits: dict[str, list[bool]] = {name: [] for name in ("kind", NOTHING_ELSE, *OF_OBJECT, *OF_SCENE)}
    for i, (scene, seen) in enumerate(zip(scenes, readings, strict=True)):
        for name in OF_SCENE:
            true = (scene.frame or "none") if name == "frame" else getattr(scene, name)
            hits[name].append(getattr(seen, name) == true)
        hits[NOTHING_ELSE].append({one.kind for one in seen.objects} <= {one.kind for one in scene.objects})
        for k, one in enumerate(scene.objects):
            if visible[i, k] < SEEN:
                continue
            found = [o for o in seen.objects if math.hypot(o.x - one.x, o.y - one.y) < 2.5 / MAP]
            found = [o for o in found if o.kind == one.kind] or found
            hits["kind"].append(bool(found) and found[0].kind == one.kind)
            if hits["kind"][-1]:
                for name in OF_OBJECT:
                    if name == "facing" and one.kind not in FACING_KINDS:
                        continue  # the oracle never learned to say something there
                    if changes is None or changes[name][i, k] >= SHOWS:
                        hits[name].append(getattr(found[0], name) == getattr(one, name))
    return hits


def identity_gates(network: Any, oracle: Any = None, instances: int = 120) -> list[Gate]:
    """AUROC of the cosine of two photos of the same unseen instance against photos of two of the same kind.

    With an oracle the crops are those it finds, as in grading; else those of the true boxes.
    """
    shown = [random_instance(SEED, i) for i in range(instances)]
    scenes = [photo(one, SEED, i * PHOTOS + v) for i, one in enumerate(shown) for v in range(PHOTOS)]
    images, centres, sides = photo_tensors(scenes)
    if oracle is None:
        from unsnarl.zoo._identity import crop_objects

        with torch.inference_mode():
            vectors = network(crop_objects(images, centres, sides))
        kept = torch.arange(len(scenes))
    else:
        seen = [
            next((o for o in reading.objects if o.kind == scene.objects[0].kind), None)
            for reading, scene in zip(oracle.read(images), scenes, strict=True)
        ]
        there = [i for i, one in enumerate(seen) if one is not None]
        kept = torch.tensor(there)
        vectors = identity_vectors(images[kept], [one for one in seen if one is not None], network)
    who = kept // PHOTOS
    kinds = torch.tensor([THINGS.index(shown[int(i)].kind) for i in who])
    first, second = torch.triu_indices(len(kept), len(kept), offset=1)
    cosines = (vectors[first] * vectors[second]).sum(1)
    same = who[first] == who[second]
    rivals = ~same & (kinds[first] == kinds[second])
    value = area_under_curve(cosines[same].numpy(), cosines[rivals].numpy())
    name = "AUROC of same against another of its kind" + ("" if oracle is None else ", crops by the oracle")
    return [Gate("identity", name, value, low=0.95, n=int(same.sum()))]


def area_under_curve(positive: Float[np.ndarray, " n"], negative: Float[np.ndarray, " m"]) -> float:
    """The chance that a positive score lies above a negative one, ties counting half.

    Examples:
        >>> area_under_curve(np.array([2.0, 1.0]), np.array([0.0, 1.0]))
        0.875
    """
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(negative)))


def clip_gates(name: str, clip: Any, tokenizer: Any, groups: int = 32, size: int = 64) -> list[Gate]:
    """How often an image finds its caption among those of 64 unseen scenes, and a caption its image.

    What is true of an image besides its own caption is left out.
    """
    low = 0.8 if name == "clip-eval" else -math.inf
    found: list[float] = []
    found_back: list[float] = []
    for group in range(groups):
        batch = SceneStream(SEED).batch(range(group * 4 * size, (group + 1) * 4 * size))
        told = [i for i, caption in enumerate(batch.captions) if caption.form == "full"][:size]
        scenes, captions = [batch.scenes[i] for i in told], [batch.captions[i] for i in told]
        with torch.inference_mode():
            seen = torch.nn.functional.normalize(image_embeddings(clip, to_signed(batch.images[told])), dim=1)
            text = text_embeddings(clip, token_ids(tokenizer, [c.text for c in captions]))
            scores: Tensor = seen @ torch.nn.functional.normalize(text, dim=1).T
        scores = scores.clone()  # of inference mode
        for i in range(len(told)):
            for j in range(len(told)):
                if i != j and holds(captions[j], scenes[i]):
                    scores[i, j] = -math.inf
        found += (scores.argmax(1) == torch.arange(len(told))).float().tolist()
        found_back += (scores.argmax(0) == torch.arange(len(told))).float().tolist()
    return [
        mean_gate(name, f"image finds its caption among {size}", found, low=low, share=True),
        mean_gate(name, f"caption finds its image among {size}", found_back, share=True),
    ]
