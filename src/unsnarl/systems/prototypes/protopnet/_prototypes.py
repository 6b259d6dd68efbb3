"""What ProtoPNet does with its prototypes: push, prune, show them, explain by them."""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import NotFittedError, OptionError
from unsnarl.nn.prototypes._points import NearestPatches
from unsnarl.systems.prototypes.protopnet._backbones import map_shape, receptive_field
from unsnarl.systems.prototypes.protopnet._base import ProtoPNetBase
from unsnarl.systems.prototypes.protopnet._explanation import Evidence, Explanation, crop, enlarged, peak_box
from unsnarl.systems.prototypes.protopnet._plan import LAST, Epoch
from unsnarl.training import as_input


class WithPrototypes(ProtoPNetBase):
    """Prototypes that are patches of training images."""

    last_epochs: int

    def _run_plan(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    # ---- push and prune -------------------------------------------------------------------------------------------

    def push(self, X: Any, y: Any) -> Any:
        """Put every prototype on the nearest latent vector of the images of its class, and remember which that was.

        `fit` does it; do it again after training the backbone by other means. The last layer stays as it is.

        Raises:
            NotFittedError: before `fit`.
            DataError: a class has prototypes but no image here, or a label that was not in `fit`.
        """
        self._check_fitted()
        self._push(self._images(X), self._label_numbers(y, X))
        self._find_fields()
        return self

    def _push(self, images: Tensor, labels: Tensor) -> None:
        task = self.task_
        found = self._nearest(images, labels, 1, own_only=True)
        found.push()
        columns = self._map_columns()
        source, place = found.index[:, 0], found.position[:, 0]
        task.source.copy_(source)
        task.position.copy_(torch.stack([place // columns, place % columns], dim=1))
        if self.keep_images:
            shown = images[source.cpu()]
            shown = shown if shown.dtype == torch.uint8 else shown.float().mul(255).round().to(torch.uint8)
            task.images.copy_(shown)
        task.pushed.fill_(True)
        task.checksums.copy_(task.checksum())

    def _nearest(self, images: Tensor, labels: Tensor, k: int, *, own_only: bool) -> NearestPatches:
        task = self.task_.eval()
        device = next(task.parameters()).device
        found = NearestPatches(task.prototypes, k, own_only=own_only)
        with torch.no_grad():
            for x, y in zip(images.split(256), labels.split(256), strict=True):
                found.update(task.latents(as_input(x).to(device)), y.to(device))
        return found

    def _map_columns(self) -> int:
        shape, resize = self.facts_["shape"], self.facts_["resize"]
        seen = tuple(shape) if resize is None else (shape[0], resize, resize)
        return map_shape(self.task_.backbone, cast(tuple[int, int, int], seen))[2]

    def _find_fields(self) -> None:
        task, shape = self.task_.eval(), cast(tuple[int, int, int], tuple(self.facts_["shape"]))

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.task = task

            def forward(self, x: Tensor) -> Tensor:
                return task.backbone(task.to_network(x))

        network, fields = Network(), {}
        for place in {(int(r), int(c)) for r, c in task.position}:
            fields[place] = receptive_field(network, shape, place)
        task.field.copy_(torch.stack([fields[int(r), int(c)] for r, c in task.position]))

    def prune(self, X: Any, y: Any, *, k: int = 6, at_least: int = 3, last_epochs: int | None = None) -> Any:
        """Drop prototypes that stand for no class: of their k nearest training images fewer than `at_least` are of their class.

        They mostly show background. A class whose prototypes would all go keeps the one with most own neighbours, and
        a warning says so. The last layer is then trained for `last_epochs` (those of the constructor when absent).

        Raises:
            NotFittedError: before `fit`.
            OptionError: `at_least` above `k`.
        """
        self._check_fitted()
        check_range(k, "k", low=1, integer=True)
        check_range(at_least, "at_least", low=0, high=k, integer=True)
        images, labels = self._images(X), self._label_numbers(y, X)
        own = self._nearest(images, labels, k, own_only=False).own_among()
        kept = own >= at_least
        class_of = self.task_.prototypes.class_of
        for c in range(len(self.facts_["classes"])):
            mine = class_of == c
            if bool(mine.any()) and not bool((kept & mine).any()):
                kept[torch.where(mine, own, -1).argmax()] = True
                warnings.warn(
                    f"none of the prototypes of class {self.facts_['classes'][c]!r} has {at_least} of its class among its "
                    f"{k} nearest images; the one with most is kept",
                    UserWarning,
                    stacklevel=2,
                )
        if bool(kept.all()):
            return self
        self.task_.keep(kept)
        self.facts_ = {**self.facts_, "class_of": self.task_.prototypes.class_of.tolist()}
        epochs = self.last_epochs if last_epochs is None else last_epochs
        if epochs:
            self._run_plan(self.task_, self.facts_, [Epoch(LAST, 0)] * epochs, images, labels, None, append=True)
        return self

    # ---- showing --------------------------------------------------------------------------------------------------

    @property
    def prototype_vectors_(self) -> Float[np.ndarray, "prototype dim"]:
        """The prototypes in latent space."""
        self._check_fitted()
        return self.task_.prototypes.vectors.detach().cpu().numpy()

    def similarity_map(self, X: Any) -> Float[Tensor, "n prototype rows columns"]:
        """Similarity of every place of the map to every prototype."""
        self._check_fitted()
        task = self.task_
        return self._in_parts(lambda x: task.prototypes.similarity(task.distances(as_input(x))), self._images(X))

    @property
    def push_state_(self) -> str:
        """Whether prototypes are patches of images: "pushed", "never", or "stale" when trained on since."""
        self._check_fitted()
        return self.task_.push_state()

    def _require_push(self) -> None:
        state = self.push_state_
        if state == "never":
            raise NotFittedError("the prototypes are not patches of images yet; call push(X, y) first")
        if state == "stale":
            raise NotFittedError(
                "the network or its prototypes were trained after the last push, so they are no longer patches of images; "
                "call push(X, y) again"
            )

    def prototype_images(self, *, percentile: float = 95.0) -> list[np.ndarray]:
        """The patch that each prototype is, uint8 (channel, height, width): the box of the highest 5% of its heat map.

        Raises:
            NotFittedError: not pushed, or trained since.
            OptionError: the model was made with `keep_images=False`.
        """
        images, boxes = self._prototype_boxes(percentile)
        return [crop(image, box) for image, box in zip(images, boxes, strict=True)]

    def _prototype_boxes(self, percentile: float = 95.0) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
        self._check_fitted()
        self._require_push()
        task = self.task_
        if not len(task.images):
            raise OptionError("the images of the prototypes were not kept; make the model with keep_images=True")
        n = len(task.prototypes)

        def own_maps(x: Tensor, which: Tensor) -> Tensor:
            maps = task.prototypes.similarity(task.distances(as_input(x)))
            return maps[torch.arange(len(x)), which]

        maps = self._in_parts(own_maps, task.images, torch.arange(n), rows=64)
        size = tuple(self.facts_["shape"][1:])
        boxes = [peak_box(enlarged(one, size).numpy(), percentile) for one in maps]
        return task.images.cpu().numpy(), boxes

    def prototype_table(self) -> pd.DataFrame:
        """One row a prototype: class, number of its training image, row and column in the map, receptive field in pixels.

        Raises:
            NotFittedError: not pushed, or trained since.
        """
        self._require_push()
        task = self.task_
        frame = pd.DataFrame({"class": self.class_of_, "image": task.source.cpu().numpy()})
        frame[["row", "column"]] = task.position.cpu().numpy()
        frame[["top", "bottom", "left", "right"]] = task.field.cpu().numpy()
        return frame.rename_axis("prototype").reset_index()

    def explain(self, X: Any, *, top: int = 3) -> list[Explanation]:
        """For every image: the prediction, and the prototypes that added most to its score, with heat maps and patches.

        Args:
            X: images; one image may come without its first dimension.
            top: prototypes shown for an image.

        Raises:
            NotFittedError: not pushed, or trained since.

        Cost: one pass, and an enlarged map for each prototype shown.
        """
        self._check_fitted()
        self._require_push()
        check_range(top, "top", low=1, integer=True)
        if getattr(X, "ndim", 4) == 3:
            X = X[None]
        images = self._images(X)
        task, size = self.task_, tuple(self.facts_["shape"][1:])
        patches = self._prototype_boxes() if len(task.images) else None
        weight, source, class_of = task.last.weight.detach().cpu(), task.source.cpu().tolist(), self.class_of_
        out = []
        for image, maps in zip(images, self.similarity_map(X), strict=True):
            similarity, place = maps.flatten(1).max(dim=1)
            logits = weight @ similarity
            best = int(logits.argmax())
            contributions = weight[best] * similarity
            shown = contributions.argsort(descending=True, stable=True)[: min(top, len(contributions))].tolist()
            heat = enlarged(maps[shown], size).numpy()
            evidence = []
            for j, heat_map in zip(shown, heat, strict=True):
                box = peak_box(heat_map)
                theirs = (0, 0, 0, 0) if patches is None else patches[1][j]
                evidence.append(
                    Evidence(
                        prototype=j,
                        prototype_class=class_of[j].item(),
                        similarity=float(similarity[j]),
                        weight=float(weight[best, j]),
                        contribution=float(contributions[j]),
                        position=(int(place[j]) // maps.shape[2], int(place[j]) % maps.shape[2]),
                        heat_map=heat_map,
                        box=box,
                        patch=crop(image.numpy(), box),
                        source=source[j],
                        prototype_box=theirs,
                        prototype_patch=None if patches is None else crop(patches[0][j], theirs),
                    )
                )
            probability = float(torch.softmax(logits, 0)[best])
            out.append(Explanation(self.classes_[best].item(), probability, float(logits[best]), tuple(evidence)))
        return out
