"""The oracle: a network that reads every factor of a scene from its image, and what it reads.

It finds objects by their centres (Zhou et al. 2019, arXiv 1904.07850): on a 16 x 16 map one channel a kind is high at the
centres of objects of that kind; the object's other factors are read at its peak. Background, style and frame are read from
the whole image. It is trained on renders, half of them degraded as generated images are, and never on generated ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unsnarl.data.scenes import RenderedScenes, Scene, SceneObject, relation_of
from unsnarl.data.scenes import _words as words
from unsnarl.zoo._networks import ResidualBlock

MAP = 16  # cells a side of the centre maps
FRAMES = ("none", "black", "white")
OF_OBJECT: dict[str, tuple[str, ...]] = {
    "color": words.COLOR_NAMES,
    "texture": words.TEXTURES,
    "size": words.SIZE_NAMES,
    "turn": words.TURNS,
    "facing": words.FACINGS,
}
OF_SCENE: dict[str, tuple[str, ...]] = {
    "pattern": words.PATTERNS,
    "background": words.COLOR_NAMES,
    "style": words.STYLES,
    "frame": FRAMES,
}
UNSEEN = -100  # in place of a factor that the object does not show
BOX = 3  # log diameter, and the centre's place in its cell
SEEN = 0.35  # a peak this high is an object
APART, APART_KINDS = 2.5, 1.5  # cells between the centres of two objects of one kind, and of two


@dataclass(frozen=True)
class SeenObject:
    """An object as the oracle reads it: kind, factors, centre and diameter as shares of the width, and how sure it is."""

    kind: str
    color: str
    texture: str
    size: str
    turn: str
    facing: str
    x: float
    y: float
    diameter: float
    confidence: float


@dataclass(frozen=True)
class SceneReading:
    """What the oracle sees in an image: at most three objects, the surest first, background, style and frame."""

    objects: tuple[SeenObject, ...]
    pattern: str
    background: str
    style: str
    frame: str

    def relation(self, first: str, second: str) -> str | None:
        """How the surest object of one kind lies to that of another; None where one is missing or it is not clear."""
        a = next((one for one in self.objects if one.kind == first), None)
        b = next((one for one in self.objects if one.kind == second and one is not a), None)
        return None if a is None or b is None else relation_of(b.x - a.x, b.y - a.y)


class OracleNetwork(nn.Module):
    """Signed images (n, 3, 32, 32) to centre maps, factors at every cell, and factors of the whole image.

    Images of 64 pixels are averaged down to 32 first.
    """

    def __init__(self) -> None:
        super().__init__()
        finest, fine, coarse, joined = 32, 64, 128, 128
        self.fine = nn.Sequential(
            nn.Conv2d(3, finest, 3, padding=1),
            ResidualBlock(finest),  # textures of small objects are two pixels wide
            nn.Conv2d(finest, fine, 4, stride=2, padding=1),
        )
        self.middle = nn.Sequential(ResidualBlock(fine), ResidualBlock(fine))
        self.coarse = nn.Sequential(
            nn.Conv2d(fine, coarse, 4, stride=2, padding=1), ResidualBlock(coarse), ResidualBlock(coarse)
        )
        self.back = nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1)
        self.joined = nn.Sequential(
            ResidualBlock(fine), nn.GroupNorm(8, fine), nn.SiLU(), nn.Conv2d(fine, joined, 3, padding=1), nn.SiLU()
        )
        self.centres = nn.Conv2d(joined, len(words.KINDS), 1)
        assert self.centres.bias is not None
        nn.init.constant_(self.centres.bias, -4.0)  # hardly any cell is a centre
        self.local = nn.Sequential(
            nn.Conv2d(joined, joined, 1), nn.SiLU(), nn.Conv2d(joined, sum(map(len, OF_OBJECT.values())) + BOX, 1)
        )
        scene_values = sum(map(len, OF_SCENE.values()))
        self.whole = nn.Sequential(nn.Linear(2 * (coarse + joined), 128), nn.SiLU(), nn.Linear(128, scene_values))

    def maps(self, images: Float[Tensor, "n 3 side side"]) -> tuple[Tensor, Tensor]:
        """What is seen at 16 x 16 and at 8 x 8 cells."""
        if images.shape[-1] != 2 * MAP:
            images = functional.adaptive_avg_pool2d(images, 2 * MAP)
        middle = self.middle(self.fine(images))
        return middle, self.coarse(middle)

    def forward(self, images: Float[Tensor, "n 3 side side"]) -> tuple[Tensor, Tensor, Tensor]:
        """Centre logits (n, kind, 16, 16), factors of objects (n, values, 16, 16), factors of scenes (n, values)."""
        middle, coarse = self.maps(images)
        joined = self.joined(middle + self.back(coarse))
        seen = torch.cat([f(x) for x in (coarse, joined) for f in (_mean, _most)], dim=1)
        return self.centres(joined), self.local(joined), self.whole(seen)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _most(x: Tensor) -> Tensor:
    return x.amax((2, 3))


class Oracle:
    """Reads images.

    Args:
        network: an `OracleNetwork` that is trained, or a module that answers like one.
        mirrored: also look at the mirror image, and take the mean of both answers.

    Examples:
        `Oracle.read(images)[0].objects[0].color`
    """

    def __init__(self, network: Any, *, mirrored: bool = False):
        self.network, self.mirrored = network.eval(), mirrored

    def read(self, images: Float[Tensor, "n 3 side side"], rows: int = 128) -> list[SceneReading]:
        """What is in each image.

        Args:
            images: in [-1, 1], of 32 or 64 pixels.
            rows: how many at a time.
        """
        out: list[SceneReading] = []
        with torch.inference_mode():
            for part in images.split(rows):
                centres, local, whole = self._answers(part)
                heat, kinds = torch.sigmoid(centres).max(1)
                out += [_reading(*row) for row in zip(heat.cpu(), kinds.cpu(), local.cpu(), whole.cpu(), strict=True)]
        return out

    def _answers(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen: tuple[Tensor, Tensor, Tensor] = self.network(images)
        if not self.mirrored:
            return seen
        other = self.network(images.flip(-1))
        back = other[0].flip(-1), _mirrored_back(other[1]), other[2]
        centres, local, whole = ((a + b) / 2 for a, b in zip(seen, back, strict=True))
        return centres, local, whole

    def features(self, images: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n feature"]:
        """Unit vectors of all that the network sees, at two resolutions: their distance says how unlike two images look."""
        with torch.inference_mode():
            parts = [functional.normalize(x, dim=1).flatten(1) / x.shape[-1] for x in self.network.maps(images)]
            return torch.cat(parts, dim=1)


def _mirrored_back(local: Tensor) -> Tensor:
    """What was read of the objects of a mirror image, as of the image: left is right, and centres lie on the other side."""
    *values, box = local.flip(-1).split([*map(len, OF_OBJECT.values()), BOX], dim=1)
    facing = list(OF_OBJECT).index("facing")
    values[facing] = values[facing].flip(1)
    size, x, y = box.split(1, dim=1)
    return torch.cat([*values, size, 1 - x, y], dim=1)


def _reading(heat: Tensor, kinds: Tensor, local: Tensor, whole: Tensor) -> SceneReading:
    told = _split(whole, OF_SCENE)
    objects: list[SeenObject] = []
    for flat in heat.flatten().argsort(descending=True)[:20].tolist():
        row, column = divmod(flat, MAP)
        if heat[row, column] < SEEN or len(objects) == 3:
            break
        at = local[:, row, column]
        log_diameter, dx, dy = at[-BOX:].tolist()
        x, y = (column + dx) / MAP, (row + dy) / MAP
        kind = words.KINDS[int(kinds[row, column])]
        if any(math.hypot(x - o.x, y - o.y) < (APART if o.kind == kind else APART_KINDS) / MAP for o in objects):
            continue
        objects.append(
            SeenObject(
                kind=kind,
                **_split(at[:-BOX], OF_OBJECT),
                x=x,
                y=y,
                diameter=math.exp(min(log_diameter, 1.0)),
                confidence=float(heat[row, column]),
            )
        )
    return SceneReading(tuple(objects), **told)


def _split(logits: Tensor, factors: dict[str, tuple[str, ...]]) -> dict[str, str]:
    parts = logits.split([len(values) for values in factors.values()])
    return {name: factors[name][int(part.argmax())] for name, part in zip(factors, parts, strict=True)}


@dataclass(frozen=True)
class OracleTargets:
    """What the network should say of a batch; see `oracle_targets`."""

    heat: Float[Tensor, "n kind 16 16"]
    cells: Tensor  # (m, 3): image, row and column of each object that is seen well enough
    factors: Tensor  # (m, factor)
    boxes: Float[Tensor, "m 3"]
    scenes: Tensor  # (n, factor)

    def tensors(self) -> tuple[Tensor, ...]:
        """The fields in order, for a batch."""
        return self.heat, self.cells, self.factors, self.boxes, self.scenes


def oracle_targets(scenes: Sequence[Scene], shown: Float[Any, "n object"]) -> OracleTargets:
    """The network's targets for scenes.

    Args:
        scenes: n scenes.
        shown: the share of each object's pixels that nothing covers; those below 0.35 are neither asked for nor punished.
    """
    heat = torch.zeros(len(scenes), len(words.KINDS), MAP, MAP)
    line = torch.arange(MAP) + 0.5
    cells, factors, boxes, whole = [], [], [], []
    for i, scene in enumerate(scenes):
        whole.append(
            [
                OF_SCENE[name].index((scene.frame or "none") if name == "frame" else getattr(scene, name))
                for name in OF_SCENE
            ]
        )
        for k, one in enumerate(scene.objects):
            visible = float(shown[i, k])
            if visible < 0.15:
                continue
            column, row = (min(MAP - 1, max(0, int(v * MAP))) for v in (one.x, one.y))
            width = max(0.6, 0.12 * one.diameter * MAP)
            spread = ((line - one.y * MAP)[:, None] ** 2 + (line - one.x * MAP)[None, :] ** 2) / (2 * width**2)
            near = torch.exp(-spread)
            near[row, column] = 1.0 if visible >= 0.35 else 0.95  # 0.95: hardly punished whatever is said there
            kind = words.KINDS.index(one.kind)
            heat[i, kind] = torch.maximum(heat[i, kind], near)
            if visible >= 0.35:
                cells.append([i, row, column])
                factors.append([_asked(one, name) for name in OF_OBJECT])
                boxes.append([float(torch.tensor(one.diameter).log()), one.x * MAP - column, one.y * MAP - row])
    return OracleTargets(
        heat,
        torch.tensor(cells, dtype=torch.long).reshape(-1, 3),
        torch.tensor(factors, dtype=torch.long).reshape(-1, len(OF_OBJECT)),
        torch.tensor(boxes).reshape(-1, 3),
        torch.tensor(whole),
    )


def targets_of(scenes: Sequence[Scene], drawn: RenderedScenes) -> OracleTargets:
    """The network's targets for scenes that were rendered."""
    whole = drawn.whole.astype(np.float64).sum((2, 3))
    return oracle_targets(scenes, drawn.visible.astype(np.float64).sum((2, 3)) / np.maximum(whole, 1))


def _asked(one: SceneObject, name: str) -> int:
    if name == "facing" and one.kind not in words.FACING_KINDS:
        return UNSEEN
    return OF_OBJECT[name].index(getattr(one, name))


def oracle_loss(out: tuple[Tensor, Tensor, Tensor], target: OracleTargets) -> dict[str, Float[Tensor, ""]]:
    """Penalty-reduced focal loss of the centres, cross-entropies of the factors, absolute errors of the boxes."""
    centres, local, whole = out
    p = torch.sigmoid(centres).clamp(1e-5, 1 - 1e-5)
    positive = target.heat == 1
    focal = torch.where(positive, -((1 - p) ** 2) * p.log(), -((1 - target.heat) ** 4) * p**2 * (1 - p).log())
    losses = {"centres": focal.sum() / positive.sum().clamp(min=1)}
    image, row, column = target.cells.T
    at = local[image, :, row, column]
    parts = at[:, :-BOX].split([len(v) for v in OF_OBJECT.values()], dim=1)
    for i, (name, part) in enumerate(zip(OF_OBJECT, parts, strict=True)):
        wanted = target.factors[:, i]
        total = functional.cross_entropy(part, wanted, ignore_index=UNSEEN, reduction="sum")
        losses[name] = total / (wanted != UNSEEN).sum().clamp(min=1)
    losses["box"] = (at[:, -BOX:] - target.boxes).abs().mean()
    parts = whole.split([len(v) for v in OF_SCENE.values()], dim=1)
    for i, (name, part) in enumerate(zip(OF_SCENE, parts, strict=True)):
        losses[name] = functional.cross_entropy(part, target.scenes[:, i])
    return losses
