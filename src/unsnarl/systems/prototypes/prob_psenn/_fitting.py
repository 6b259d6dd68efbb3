"""How a Prob-PSENN learns: the autoencoder, the prototypes, then all together; and what training data it remembers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.nn.prototypes._gaussian import FAMILIES
from unsnarl.systems._learner import fingerprint
from unsnarl.systems.prototypes.prob_psenn._building import BuiltFromImages
from unsnarl.systems.prototypes.prob_psenn._inputs import as_images, as_labels, to_user
from unsnarl.systems.prototypes.prob_psenn._networks import Resized
from unsnarl.systems.prototypes.prob_psenn._task import PARTS
from unsnarl.training import TensorBatches, stream_seed

NETWORKS = ("auto", "conv", "dense")
REFERENCES = ("predicted", "nearest")


class FittedToImages(BuiltFromImages):
    """The part of `ProbPSENN` that learns."""

    n_classes: int | None
    z_dim: int
    family: str
    point: bool
    network: str
    train: Sequence[str]
    refit: bool
    augment: bool | str
    prior_scale: float
    reference: str
    n_samples: int
    test_samples: int
    pretrain_epochs: int
    epochs: int
    lr: float
    batch_size: int
    validation_split: float
    nll_weight: float
    encoder: nn.Module | None
    decoder: nn.Module | None
    validation_score_: float

    # ---- learning -------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        n_samples: int | None = None,
        epochs: int | None = None,
        pretrain_epochs: int | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 1000,
        progress: bool = False,
        callbacks: Sequence[Callable[[int, Any], None]] = (),
        fabric: Any = None,
    ) -> Any:
        """Learn networks, prototypes and votes.

        Args:
            X: images of shape (n, height, width) or (n, 1 or 3, height, width), uint8 or floats in `pixel_range`, or a
                `FactorDataset` of such.
            y: the class of each, or the name of a factor of the data set.
            n_samples: draws of the prototypes a step; the constructor's when absent.
            epochs: of the last step; the constructor's when absent.
            pretrain_epochs: of the autoencoder alone; the constructor's when absent.
            run: folder for config, metrics and checkpoints; a run that was interrupted continues where it was.
            resume: False starts over in a folder that holds a run.
            log_every: log the losses every so many steps.
            checkpoint_every: write a checkpoint every so many steps.
            progress: show progress and the time left.
            callbacks: each is called as `callback(step, model)` at step 0 and after every step, counted over both stages.
            fabric: a launched `lightning.fabric.Fabric` for other devices, precisions or several processes.

        Returns:
            This learner, fitted.

        Raises:
            DataError: images or labels that cannot be used.
            OptionError: a hyperparameter outside its range.
            TrainingError: the loss is no longer finite.

        Warns:
            UserWarning: a class has too few samples for its covariance, or a prototype came to vote against its own class.
        """
        self._check_options()
        settings = {
            "n_samples": self.n_samples if n_samples is None else n_samples,
            "epochs": self.epochs if epochs is None else epochs,
            "pretrain_epochs": self.pretrain_epochs if pretrain_epochs is None else pretrain_epochs,
        }
        for name, value in settings.items():
            check_range(value, name, low=1 if name == "n_samples" else 0, integer=True)
        images = as_images(X, self._range())
        indices, classes = as_labels(y, X, len(images), self.n_classes)
        labels = torch.tensor(indices)
        held_out = self._held_out(indices)
        kept = torch.tensor(~held_out)
        x, t = images[kept], labels[kept]
        facts = {"shape": list(images.shape[1:]), "classes": classes.tolist(), "stored": len(x)}
        task = self._build(facts)
        task.n_samples = int(settings["n_samples"])

        ranks: dict[str, Any] = {}
        if fabric is not None:
            ranks = {"device": fabric.device, "rank": fabric.global_rank, "world_size": fabric.world_size}
            task.to(fabric.device)
        told = f"{fingerprint(x, t)}; n_samples {settings['n_samples']}; pretrain_epochs {settings['pretrain_epochs']}"
        if hasattr(self, "history_"):
            del self.history_
        done = 0
        for place, (stage, count) in enumerate((("autoencoder", "pretrain_epochs"), ("joint", "epochs"))):
            task.start_stage(stage)
            if stage == "joint" and self.refit:
                self.task_, self.facts_ = task.eval(), facts
                task.prototypes.fit_(self._encoded(x), t, seed=self.seed)
            order = TensorBatches(
                torch.arange(len(x)), t, batch_size=self.batch_size, seed=self.seed, stream=place, **ranks
            )
            steps = int(settings[count]) * order.steps_per_epoch
            if not steps:
                continue
            self._train(
                task,
                facts,
                partial(self._batch, order, x),
                steps=steps,
                data=told,
                run=None if run is None else os.path.join(run, stage),
                resume=resume,
                log_every=log_every,
                checkpoint_every=checkpoint_every,
                progress=progress,
                callbacks=[partial(_counted_on, call, done) for call in callbacks],
                fabric=fabric,
                label=f"{type(self).__name__}, {stage}",
                seed=stream_seed(self.seed, 20 + place),
                append=True,
            )
            done += steps
        self.task_, self.facts_ = task.eval(), facts
        self._remember_distances(x, t, self.test_samples)
        if held_out.any():
            predicted = self._predicted(images[~kept], self.test_samples)
            self.validation_score_ = float((predicted == indices[held_out]).mean())
        self._warn_of_votes()
        return self

    def _batch(self, order: TensorBatches, images: Tensor, step: int) -> tuple[Tensor, ...]:
        rows, labels = order(step)
        return self._to_network(images[rows.cpu()]).to(labels.device), labels

    def _held_out(self, labels: np.ndarray) -> np.ndarray:
        out = np.zeros(len(labels), bool)
        if self.validation_split:
            rng = np.random.default_rng(stream_seed(self.seed, 30))
            for k in np.unique(labels):
                rows = rng.permutation(np.flatnonzero(labels == k))
                out[rows[: int(len(rows) * self.validation_split)]] = True
        return out

    def fit_prototypes(self, X: Any, y: Any) -> Any:
        """Set the prototypes anew to the distributions of the codes of these observations, the rest kept.

        Their distances become those that the explanatory uncertainty compares with.

        Raises:
            DataError: labels other than those fitted, or a class without samples.
        """
        images, labels = self._known(X, y)
        self.task_.prototypes.fit_(self._encoded(images), labels, seed=self.seed)
        return self.set_reference(X, y)

    def set_reference(self, X: Any, y: Any, *, n_samples: int | None = None) -> Any:
        """Take other observations, or another number of draws, for what the explanatory uncertainty compares with.

        Args:
            X: images.
            y: their classes.
            n_samples: draws; `uncertainty` then uses as many.

        Raises:
            DataError: labels other than those fitted.
        """
        images, labels = self._known(X, y)
        n_samples = self.test_samples if n_samples is None else n_samples
        check_range(n_samples, "n_samples", low=1 if self.point else 2, integer=True)
        self._remember_distances(images, labels, int(n_samples))
        return self

    def _known(self, X: Any, y: Any) -> tuple[Tensor, Tensor]:
        self._check_fitted()
        images = as_images(X, self._range(), self._shape)
        indices, found = as_labels(y, X, len(images), None)
        unknown = set(found.tolist()) ^ set(self.classes_.tolist())
        if unknown:
            raise DataError(
                f"y must hold the classes that the model was fitted on, all of them; {sorted(map(str, unknown))[0]!r} differs"
            )
        return images, torch.tensor(indices)

    def _remember_distances(self, images: Tensor, labels: Tensor, n_samples: int) -> None:
        draws = self._draws(n_samples)
        means = self._in_parts(lambda x: self.task_.answers(self._to_network(x), draws)[0].mean(2), images)
        self.task_.store_distances(means, labels, n_samples)
        self.facts_ = {**self.facts_, "stored": len(images)}

    def _warn_of_votes(self) -> None:
        diagonal = self.task_.votes.detach().diagonal()
        turned = [str(c) for c, w in zip(self.classes_, diagonal.tolist(), strict=True) if w > 0]
        if turned:
            warnings.warn(
                f"the prototype of class {', '.join(turned)} came to vote against its own class: the farther an input is from "
                'it, the more it counts for the class, so it explains nothing; leave "votes" out of train=, or see vote_table()',
                UserWarning,
                stacklevel=3,
            )

    # ---- what predictions are made of -----------------------------------------------------------------------------

    def _probabilities(self, images: Tensor, n_samples: int | None, mode: bool = False) -> Tensor:
        n_samples = self.test_samples if n_samples is None else n_samples
        check_range(n_samples, "n_samples", low=1, integer=True)
        draws = self.task_.prototypes.modes()[None] if mode else self._draws(int(n_samples))
        return self._in_parts(lambda x: self.task_.answers(self._to_network(x), draws)[1].mean(1), images)

    def _predicted(self, images: Tensor, n_samples: int | None) -> np.ndarray:
        return self._probabilities(images, n_samples).argmax(1).numpy()

    def _encoded(self, images: Tensor) -> Tensor:
        return self._in_parts(lambda x: self.task_.encode(self._to_network(x)), images)

    def _decoded(self, codes: Tensor) -> Tensor:
        resized = Resized(self._shape[1:])
        return self._in_parts(lambda z: to_user(resized(self.task_.decoder(z)), self._range()), codes)

    def _draws(self, n_samples: int) -> Tensor:
        """The draws of all prototypes that predictions use: always the same, so that answers repeat."""
        if self.point:
            n_samples = 1
        device = self.task_.votes.device
        generator = torch.Generator(device=device).manual_seed(stream_seed(self.seed, 40))
        with torch.no_grad():
            return self.task_.prototypes.sample(n_samples, generator)

    def _check_options(self) -> None:
        check_range(self.z_dim, "z_dim", low=1, integer=True)
        check_choice(self.family, FAMILIES, "family")
        check_choice(self.network, NETWORKS, "network")
        check_choice(self.reference, REFERENCES, "reference")
        check_choice(self.augment, ("auto", True, False), "augment")
        self._range()
        weights = {name: getattr(self, name) for name in vars(self) if name.endswith("_weight")}
        for name, value in weights.items():
            check_range(value, name, low=0)
        if not self.nll_weight:
            raise OptionError("nll_weight=0 would leave the classifier untrained; it must be above 0")
        unknown = [part for part in self.train if part not in PARTS]
        if unknown or not len(self.train) or isinstance(self.train, str):
            raise OptionError(f"train={self.train!r} must name one or more of {', '.join(map(repr, PARTS))}")
        if (self.encoder is None) != (self.decoder is None):
            raise OptionError("give both encoder= and decoder=, or neither: prototypes must be decoded to be shown")
        check_range(self.n_samples, "n_samples", low=1, integer=True)
        check_range(self.test_samples, "test_samples", low=1 if self.point else 2, integer=True)
        if self.n_classes is not None:
            check_range(self.n_classes, "n_classes", low=2, integer=True)
        check_range(self.batch_size, "batch_size", low=2, integer=True)
        check_range(self.lr, "lr", low=0, open_low=True)
        check_range(self.prior_scale, "prior_scale", low=0, open_low=True)
        check_range(self.validation_split, "validation_split", low=0, high=0.9)
        check_range(self.seed, "seed", integer=True)


def _counted_on(call: Callable[[int, Any], None], done: int, step: int, model: Any) -> None:
    """Tell a callback of a later stage the number of all steps; step 0 is told once."""
    if step or not done:
        call(done + step, model)
