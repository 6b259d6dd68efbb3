"""ProtoPNet (Chen et al. 2019, "This Looks Like That", arXiv 1806.10574): classify by likeness to parts of training images.

A map of latent vectors is compared with prototypes at every place; each prototype gives the likeness of its most similar
place, and a linear layer turns these into class scores. Prototypes are *pushed*: put exactly on the latent vector of a patch of a
training image of their class, so that every one can be shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import as_vector
from unsnarl.errors import DataError
from unsnarl.systems._learner import Callback, fingerprint
from unsnarl.systems.prototypes.protopnet._base import class_numbers
from unsnarl.systems.prototypes.protopnet._plan import LAST, Epoch, training_plan
from unsnarl.systems.prototypes.protopnet._prototypes import WithPrototypes
from unsnarl.systems.prototypes.protopnet._task import ProtoPNetTask
from unsnarl.training import TensorBatches, as_input, stream_seed

Augment = Callable[[Tensor, torch.Generator], Tensor]


class ProtoPNet(WithPrototypes):
    """A prototype classifier of images with the published training: warm-up, joint, push, last layer.

    Args:
        backbone: "cnn" (four convolutions, 64 pixels to 8 x 8), the name of an image model of the Hugging Face Hub such as
            "microsoft/resnet-18" or "facebook/dinov2-small" or a folder with one, or a module that gives maps
            (batch, channel, h, w). A module is trained in place and is not in config.json: give it again to `from_pretrained`.
        n_classes: number of classes; None counts those of the labels.
        per_class: prototypes of each class.
        dim: numbers of a latent vector.
        epsilon: eps of the similarity log((d + 1) / (d + eps)).
        epochs: passes over the data in warm-up and joint training. The published files say 1,000 and are stopped by hand; with the
            published decay the joint rates are below 1e-5 of the first after 31.
        warm_epochs: the first of them train add-on layers and prototypes only.
        push_start: the first push is after this epoch (counted from 0), ...
        push_every: ... then one after every so many; the final epoch always ends with a push.
        last_epochs: epochs of the last layer alone after each push.
        cluster: weight of Clst.
        separation: weight of -Sep.
        l1: weight of sum |W| over other classes.
        lr_backbone: learning rate of the backbone.
        lr: learning rate of add-on layers and prototypes.
        lr_last: learning rate of the last layer.
        weight_decay: L2 decay of backbone and add-on layers.
        decay_every: joint epochs between two multiplications of the joint rates by `gamma`.
        gamma: see `decay_every`.
        resize: images are resized to this side for the backbone; None takes the backbone's own (224) for hub models and
            leaves images as they are otherwise.
        normalization: "imagenet", "data" (mean and spread of the training images), "none", or "auto": ImageNet's for hub
            models, else the data's.
        keep_images: keep the images that prototypes are patches of, as bytes, to show them. 2,000 prototypes on images of
            224 pixels take 300 MB.
        batch_size: images a step.
        seed: seed of weights and batches.

    Attributes:
        classes_: the labels, sorted.
        task_: the networks.
        history_: logged losses.
    """

    def __init__(
        self,
        backbone: str | nn.Module = "cnn",
        n_classes: int | None = None,
        per_class: int = 10,
        *,
        dim: int = 128,
        epsilon: float = 1e-4,
        epochs: int = 31,
        warm_epochs: int = 5,
        push_start: int = 10,
        push_every: int = 10,
        last_epochs: int = 20,
        cluster: float = 0.8,
        separation: float = 0.08,
        l1: float = 1e-4,
        lr_backbone: float = 1e-4,
        lr: float = 3e-3,
        lr_last: float = 1e-4,
        weight_decay: float = 1e-3,
        decay_every: int = 5,
        gamma: float = 0.1,
        resize: int | None = None,
        normalization: str = "auto",
        keep_images: bool = True,
        batch_size: int = 80,
        seed: int = 0,
    ):
        self.backbone = backbone
        self.n_classes = n_classes
        self.per_class = per_class
        self.dim = dim
        self.epsilon = epsilon
        self.epochs = epochs
        self.warm_epochs = warm_epochs
        self.push_start = push_start
        self.push_every = push_every
        self.last_epochs = last_epochs
        self.cluster = cluster
        self.separation = separation
        self.l1 = l1
        self.lr_backbone = lr_backbone
        self.lr = lr
        self.lr_last = lr_last
        self.weight_decay = weight_decay
        self.decay_every = decay_every
        self.gamma = gamma
        self.resize = resize
        self.normalization = normalization
        self.keep_images = keep_images
        self.batch_size = batch_size
        self.seed = seed

    # ---- learning -------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int | None = None,
        augment: Augment | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 1000,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
        fabric: Any = None,
    ) -> Any:
        """Warm-up, joint epochs, pushes and epochs of the last layer; ends pushed.

        Args:
            X: images (n, 1 or 3, height, width), uint8 or floats in [0, 1], or a `FactorDataset` of such.
            y: class of each image, numbers or text.
            epochs: passes over the data; the constructor's when absent.
            augment: `augment(images, generator) -> images`, applied to training batches on [0, 1], never when pushing.
            run: folder for config, metrics and checkpoints; an interrupted run continues where it was.
            resume: False starts over in a folder that holds a run.
            log_every: log the losses every so many steps.
            checkpoint_every: write a checkpoint every so many steps.
            progress: show progress and the time left.
            callbacks: each is called as `callback(step, model)` at step 0 and after every step.
            fabric: a launched `lightning.fabric.Fabric`; several processes need "ddp_find_unused_parameters_true".

        Returns:
            This classifier, fitted.

        Raises:
            DataError: images or labels that cannot be used.
            TrainingError: the loss is no longer finite.
            CheckpointError: `run` holds a run with other settings.
        """
        images = self._images(X, fitting=True)
        self._check_options()
        labels, classes = class_numbers(y, len(images))
        if self.n_classes is not None and self.n_classes != len(classes):
            raise DataError(f"n_classes={self.n_classes}, but y has {len(classes)} different classes")
        facts = self._facts(images, classes)
        task = self._build(facts)
        self._set_normalization(task, images)
        plan = training_plan(
            self.epochs if epochs is None else epochs,
            warm=self.warm_epochs,
            push_start=self.push_start,
            push_every=self.push_every,
            last=self.last_epochs,
        )
        return self._run_plan(
            task, facts, plan, images, labels, augment,
            run=run, resume=resume, log_every=log_every, checkpoint_every=checkpoint_every,
            progress=progress, callbacks=callbacks, fabric=fabric,
        )  # fmt: skip

    def _run_plan(
        self, task: ProtoPNetTask, facts: dict[str, Any], plan: list[Epoch], images: Tensor, labels: Tensor,
        augment: Augment | None, *, callbacks: Sequence[Callback] = (), fabric: Any = None, **options: Any,
    ) -> Any:  # fmt: skip
        ranks: dict[str, Any] = {}
        if fabric is not None:
            ranks = {"rank": fabric.global_rank, "world_size": fabric.world_size}
            task.to(fabric.device)
        device = next(task.parameters()).device
        order = TensorBatches(labels, batch_size=self.batch_size, seed=self.seed, **ranks)
        task.plan, task.steps_per_epoch = plan, order.steps_per_epoch
        task.last_sees_images = augment is not None
        known: dict[str, Tensor] = {}  # similarities of all images, while only the last layer learns

        def batches(step: int) -> tuple[Tensor, ...]:
            index = order.indices(step)
            if task.epoch(step).phase == LAST and augment is None:
                if "similarities" not in known:
                    task.eval()
                    known["similarities"] = self._in_parts(lambda x: task.similarities(as_input(x)), images).clone()
                    task.train()
                return known["similarities"][index].to(device), labels[index].to(device)
            x = as_input(images[index])
            if augment is not None:
                x = augment(x, torch.Generator().manual_seed(stream_seed(self.seed, 5, step)))
            return x.to(device), labels[index].to(device)

        def push_when_due(step: int, _: Any) -> None:
            if step and step % task.steps_per_epoch == 0 and task.epoch(step - 1).push:
                self._push(images, labels)
                known.clear()
                task.train()

        self._train(
            task, facts, batches, steps=len(plan) * task.steps_per_epoch,
            data=fingerprint(images, labels), callbacks=[push_when_due, *callbacks], fabric=fabric, **options,
        )  # fmt: skip
        self._find_fields()
        return self

    # ---- using ----------------------------------------------------------------------------------------------------

    def decision_function(self, X: Any) -> Float[np.ndarray, "n class"]:
        """Scores g W^T of every class."""
        self._check_fitted()
        task = self.task_
        return self._in_parts(lambda x: task.last(task.similarities(as_input(x))), self._images(X)).numpy()

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n class"]:
        """Softmax of the scores."""
        return torch.softmax(torch.from_numpy(self.decision_function(X)), dim=1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The class with the highest score."""
        return self.classes_[self.decision_function(X).argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of images classified correctly."""
        right = self.predict(X) == as_vector(y, "y", min_rows=1)
        return float(np.average(right, weights=sample_weight))

    def transform(self, X: Any) -> Float[np.ndarray, "n prototype"]:
        """Similarity of every image to every prototype."""
        self._check_fitted()
        return self._in_parts(lambda x: self.task_.similarities(as_input(x)), self._images(X)).numpy()
