"""Hyperparameters into networks, input into tensors, and saving: what ProtoPNet is built on."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from torch import Tensor, nn

from unsnarl.arrays import as_vector, check_choice, check_range, check_same_length
from unsnarl.data import FactorDataset
from unsnarl.errors import DataError, OptionError
from unsnarl.systems._learner import Learner
from unsnarl.systems.prototypes.protopnet._backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SmallCNN,
    hub_backbone,
    map_shape,
)
from unsnarl.systems.prototypes.protopnet._task import ProtoPNetTask
from unsnarl.training import as_input

NORMALIZATIONS = ("auto", "imagenet", "data", "none")
HUB_SIZE = 224


class ProtoPNetBase(ClassifierMixin, Learner):
    """The task of a ProtoPNet from its hyperparameters, and what it takes in and is saved as."""

    task_: ProtoPNetTask
    backbone: str | nn.Module
    n_classes: int | None
    per_class: int
    dim: int
    epsilon: float
    epochs: int
    cluster: float
    separation: float
    l1: float
    lr_backbone: float
    lr: float
    lr_last: float
    weight_decay: float
    decay_every: int
    gamma: float
    resize: int | None
    normalization: str
    keep_images: bool
    batch_size: int

    def _check_options(self) -> None:
        for name in ("per_class", "dim", "epochs", "push_every", "decay_every", "batch_size"):
            check_range(getattr(self, name), name, low=1, integer=True)
        for name in ("warm_epochs", "push_start", "last_epochs"):
            check_range(getattr(self, name), name, low=0, integer=True)
        for name in ("cluster", "separation", "l1", "weight_decay", "gamma"):
            check_range(getattr(self, name), name, low=0)
        for name in ("lr_backbone", "lr", "lr_last"):
            check_range(getattr(self, name), name, low=0)
        check_range(self.seed, "seed", integer=True)
        check_choice(self.normalization, NORMALIZATIONS, "normalization")
        if self.n_classes is not None:
            check_range(self.n_classes, "n_classes", low=1, integer=True)
        if not isinstance(self.backbone, str | nn.Module):
            raise OptionError(f"backbone={self.backbone!r} must be 'cnn', the name of a hub model, or a module")

    def _facts(self, images: Tensor, classes: list[Any]) -> dict[str, Any]:
        class_of = np.repeat(np.arange(len(classes)), self.per_class).tolist()
        facts: dict[str, Any] = {"classes": classes, "shape": list(images.shape[1:]), "class_of": class_of}
        if isinstance(self.backbone, str) and self.backbone != "cnn":
            if images.shape[1] != 3:
                raise DataError(f"backbone={self.backbone!r} needs images of 3 channels, got {images.shape[1]}")
            model: Any = hub_backbone(self.backbone).model
            own = getattr(model.config, "image_size", HUB_SIZE)
            facts |= {
                "hub": model.config.to_dict(),
                "resize": self.resize or (own if isinstance(own, int) else HUB_SIZE),
            }
            self._loaded = model  # with its weights, for the first build; later ones only need the architecture
        else:
            facts["resize"] = self.resize
        return facts

    def _make_task(self, facts: dict[str, Any]) -> ProtoPNetTask:
        backbone: nn.Module
        if isinstance(self.backbone, nn.Module):
            backbone = self.backbone
        elif self.backbone == "cnn":
            backbone = SmallCNN(facts["shape"][0])
        else:
            backbone = hub_backbone(self.backbone, facts["hub"])
            loaded = self.__dict__.pop("_loaded", None)
            if loaded is not None:
                backbone.model = loaded
        shape, resize = tuple(facts["shape"]), facts["resize"]
        seen = shape if resize is None else (shape[0], resize, resize)
        return ProtoPNetTask(
            backbone,
            map_shape(backbone, cast(tuple[int, int, int], seen))[0],
            shape,
            facts["class_of"],
            len(facts["classes"]),
            dim=self.dim,
            epsilon=self.epsilon,
            resize=resize,
            weights={"cluster": self.cluster, "separation": self.separation, "l1": self.l1},
            rates={"backbone": self.lr_backbone, "add_on": self.lr, "prototypes": self.lr, "last": self.lr_last},
            weight_decay=self.weight_decay,
            gamma=self.gamma,
            decay_every=self.decay_every,
            keep_images=self.keep_images,
        )

    def _set_normalization(self, task: ProtoPNetTask, images: Tensor) -> None:
        how = self.normalization
        if how == "auto":
            how = "imagenet" if isinstance(self.backbone, str) and self.backbone != "cnn" else "data"
        if how == "imagenet":
            if images.shape[1] != 3:
                raise DataError(f"normalization='imagenet' needs images of 3 channels, got {images.shape[1]}")
            task.mean.copy_(torch.tensor(IMAGENET_MEAN)[:, None, None])
            task.std.copy_(torch.tensor(IMAGENET_STD)[:, None, None])
        elif how == "data":
            sample = as_input(images[:: max(1, len(images) // 2000)])
            std, mean = torch.std_mean(sample, dim=(0, 2, 3))
            task.mean.copy_(mean[:, None, None])
            task.std.copy_(std.clamp_min(1e-3)[:, None, None])

    @property
    def classes_(self) -> np.ndarray:
        """The labels, sorted."""
        self._check_fitted()
        return np.array(self.facts_["classes"])

    @property
    def class_of_(self) -> np.ndarray:
        """The label of every prototype."""
        return self.classes_[self.task_.prototypes.class_of.cpu().numpy()]

    # ---- input and saving -----------------------------------------------------------------------------------------

    def _images(self, X: Any, *, fitting: bool = False) -> Tensor:
        images = (X if isinstance(X, FactorDataset) else FactorDataset(X)).observations
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] not in (1, 3) or 0 in images.shape:
            found = tuple(images.shape) if isinstance(images, Tensor) else "a ragged list"
            raise DataError(f"images must have shape (n, 1 or 3, height, width), got {found}")
        images = images.detach().cpu()
        if images.dtype != torch.uint8:
            if not images.is_floating_point():
                raise DataError(f"images must be uint8 or floats in [0, 1], got {images.dtype}")
            low, high = float(images.min()), float(images.max())
            if low < 0 or high > 1:
                raise DataError(
                    f"pixels must lie in [0, 1], found {low:g} to {high:g}; divide by 255, use uint8, or undo a "
                    "normalisation: the model normalises by itself"
                )
        if not fitting and list(images.shape[1:]) != self.facts_["shape"]:
            raise DataError(
                f"images have shape {tuple(images.shape[1:])}, but this model was fitted on {tuple(self.facts_['shape'])}"
            )
        return images

    def _label_numbers(self, y: Any, X: Any) -> Tensor:
        labels = as_vector(y, "y", min_rows=1)
        check_same_length(X=X, y=labels)
        known = self.classes_
        unknown = sorted(set(labels.tolist()) - set(known.tolist()))
        if unknown:
            raise DataError(f"y holds {unknown[0]!r}, which is not one of the classes: {', '.join(map(str, known))}")
        return torch.from_numpy(np.searchsorted(known, labels).astype(np.int64))

    def _config(self) -> dict[str, Any]:
        shown = {n: v for n, v in self.get_params(deep=False).items() if not isinstance(v, nn.Module)}
        config = {name: v.item() if isinstance(v, np.generic) else v for name, v in shown.items()}
        if isinstance(self.backbone, nn.Module):
            config["backbone"] = f"module {type(self.backbone).__name__}"
        return config

    @classmethod
    def _from_pretrained(cls, *, model_id: str, backbone: nn.Module | None = None, **options: Any) -> Any:
        """As other learners, with `backbone=module` for a model that was fitted on a module."""
        if backbone is None:
            return super()._from_pretrained(model_id=model_id, **options)

        def with_backbone(_: Any, params: dict[str, Any]) -> dict[str, Any]:
            return {**cls._params_from_config({**params, "backbone": "cnn"}), "backbone": backbone}

        bound = type(cls.__name__, (cls,), {"_params_from_config": classmethod(with_backbone)})
        model = cast(Any, bound)._from_pretrained(model_id=model_id, **options)
        model.__class__ = cls
        return model

    @classmethod
    def _params_from_config(cls, params: dict[str, Any]) -> dict[str, Any]:
        if str(params.get("backbone", "")).startswith("module "):
            raise OptionError(
                f"this model was fitted on a {params['backbone']}; give one of that make: from_pretrained(..., backbone=module)"
            )
        return super()._params_from_config(params)


def class_numbers(y: Any, n: int) -> tuple[Tensor, list[Any]]:
    labels = as_vector(y, "y", min_rows=2)
    check_same_length(X=range(n), y=labels)
    if labels.dtype.kind == "f" and (labels != np.round(labels)).any():
        raise DataError("y must hold classes, whole numbers or text, not measurements")
    classes, numbers = np.unique(labels, return_inverse=True)
    return torch.from_numpy(np.asarray(numbers).astype(np.int64)), classes.tolist()
