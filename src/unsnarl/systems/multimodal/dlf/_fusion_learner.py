"""Learning to regress on three sequences: reading, validation, early stopping, prediction."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import r2_score
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.nn._host_architecture import architecture_of
from unsnarl.nn._text_host import TextHost, text_host
from unsnarl.systems._hosted_learner import HostedLearner, saved_host
from unsnarl.systems._learner import Callback, fingerprint
from unsnarl.systems.multimodal.dlf._accumulation import AccumulatedBatches
from unsnarl.systems.multimodal.dlf._modalities import (
    LETTERS,
    Modalities,
    read_labels,
    read_modalities,
    split_arguments,
    warn_of_labels,
)
from unsnarl.systems.multimodal.dlf._network import MODALITIES, NAMES
from unsnarl.systems.multimodal.dlf._plateau import PlateauWatch, Stopped
from unsnarl.systems.multimodal.dlf._text import TextEncoder
from unsnarl.training import stream_seed


class FusionLearner(HostedLearner):
    """What DLF and its baselines have in common. A subclass stores its hyperparameters and makes its task."""

    encoder_keyword = "text_encoder"
    text_encoder: Any
    finetune: bool
    dims: Any
    kernel: int
    aligned: bool
    label_range: Any
    lr: float
    batch_size: int
    accumulate: int
    leftover: str
    clip_value: float | None
    patience: int
    early_stop: int
    epochs: int
    validation_fraction: float
    uses_label_groups = False

    def fit(
        self,
        text: Any,
        audio: Any = None,
        vision: Any = None,
        y: Any = None,
        *,
        mask: Any = None,
        validation: Sequence[Any] | None = None,
        epochs: int | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 1000,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
        fabric: Any = None,
    ) -> Any:
        """Learn from three sequences and a label each.

        `fit(text, audio, vision, y)`, or `fit({"text": ..., "audio": ..., "vision": ..., "mask": ...}, y)`.

        Args:
            text: vectors (n, time, features) where `text_encoder` is None; else strings, lists of words, or ids
                (n, 3, time): see `read_text`.
            audio: (n, time, features); -inf is set to 0 with a warning.
            vision: (n, time, features).
            y: (n,) labels within `label_range`.
            mask: (n, time), True where a step holds something; read off the text (rows that are not all zeros, pieces that
                are no pads) when absent. It matters with `pool="last_valid"` or `padding="mask"`. With `aligned=False`, a
                mapping by modality.
            validation: (text, audio, vision, y) or (mapping, y) that choose the epoch; a share `validation_fraction` of
                the data, drawn by the seed, when absent.
            epochs: most epochs; the constructor's when absent.
            run: folder for config, metrics and checkpoints; a run that was interrupted continues where it was.
            resume: False starts over in a folder that holds a run.
            log_every: log the losses every so many steps.
            checkpoint_every: write a checkpoint every so many steps.
            progress: show progress and the time left.
            callbacks: each is called as `callback(step, learner)` at step 0 and after every step.
            fabric: a launched `lightning.fabric.Fabric` for other devices, precisions or several processes.

        Returns:
            This learner with the weights of its best epoch; `history_` has one row an epoch, `best_epoch_` and
            `steps_per_epoch_` say which was kept and how many steps an epoch took.

        Raises:
            DataError: data of a wrong shape, length or range; see `read_modalities`, `read_labels`.
            OptionError: a hyperparameter out of range, or too few observations for one step an epoch.
            TrainingError: the loss is no longer finite.
        """
        self._check_options()
        if isinstance(text, Mapping) and y is None:
            audio, y = None, audio
        epochs = int(self.epochs if epochs is None else epochs)
        check_range(epochs, "epochs", low=1, integer=True)
        host = self._host()
        train, labels = self._read(text, audio, vision, mask, host=host), y
        y = read_labels(labels, len(train), self.label_range)
        warn_of_labels(y) if self.uses_label_groups else None
        if validation is None:
            train, y, held, y_held = self._hold_out(train, y)
        else:
            *parts, labels = validation
            held = self._read(*parts, *(None,) * (4 - len(parts)), host=host, kind=train.kind)
            y_held = read_labels(labels, len(held), self.label_range)
        facts = self._facts(train, host)
        self._check_sizes(held, facts, "validation")
        ranks: dict[str, Any] = {}
        if fabric is not None:
            ranks = {"device": fabric.device, "rank": fabric.global_rank, "world_size": fabric.world_size}
        batches = AccumulatedBatches(
            *train.tensors,
            y,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            leftover=self.leftover,
            seed=self.seed,
            **ranks,
        )
        self._host_at_hand = host
        task = self._build(facts)
        per_epoch = batches.steps_per_epoch
        watch = PlateauWatch(task.learned, task.columns, epochs, patience=self.patience, early_stop=self.early_stop)
        task.watch = watch
        self.task_, self.replaced_, self.steps_per_epoch_ = task, train.replaced, per_epoch
        self._set_means(train)

        def validate(step: int, _: Any) -> None:
            if not step or step % per_epoch:
                return
            error = float((self._final(held) - y_held).abs().mean())
            task.train()
            if watch.observe(error, step) and step < epochs * per_epoch:
                raise Stopped

        try:
            self._train(
                task,
                facts,
                batches,
                steps=epochs * per_epoch,
                data=fingerprint(*train.tensors, y, y_held),
                run=run,
                resume=resume,
                log_every=log_every,
                checkpoint_every=checkpoint_every,
                progress=progress,
                callbacks=[*callbacks, validate],
                fabric=fabric,
            )
        except Stopped:
            del task.optimizers_
        task.cpu().eval()
        watch.restore_best()
        self.history_, self.best_epoch_ = watch.history(self.lr), int(watch.state[2])
        del task.watch
        return self

    # ---- using ----------------------------------------------------------------------------------------------------

    def predict(self, text: Any, audio: Any = None, vision: Any = None, *, mask: Any = None) -> Float[np.ndarray, " n"]:
        """The final prediction of each sample; a modality that is missing is replaced by its training mean.

        Raises:
            NotFittedError: before `fit`.
            DataError: sequences of other lengths or features than those fitted.
        """
        self._check_fitted()
        return self._final(self._read_checked(text, audio, vision, mask)).numpy()

    def score(self, text: Any, audio: Any = None, vision: Any = None, y: Any = None, *, mask: Any = None) -> float:
        """R^2 of the predictions: `score(text, audio, vision, y)` or `score(mapping, y)`."""
        if isinstance(text, Mapping) and y is None:
            audio, y = None, audio
        predicted = self.predict(text, audio, vision, mask=mask)
        return float(r2_score(read_labels(y, len(predicted), None).numpy(), predicted))

    def _final(self, data: Modalities) -> Tensor:
        return self._each(data, lambda *tensors: self.task_.outputs(*tensors).heads["final"])

    def _each(self, data: Modalities, function: Callable[..., Any], *more: Tensor, rows: int = 256) -> Any:
        """A function of values and masks, in evaluation mode, a few rows at a time."""
        self.task_.eval()
        return self._in_parts(function, *data.tensors, *more, rows=rows)

    # ---- reading --------------------------------------------------------------------------------------------------

    def _read(
        self, text: Any, audio: Any, vision: Any, mask: Any, *, host: nn.Module | None, kind: str | None = None
    ) -> Modalities:
        given = split_arguments(text, audio, vision, mask)
        return read_modalities(given, host=host, aligned=self.aligned, kind=kind)

    def _read_checked(self, text: Any, audio: Any, vision: Any, mask: Any) -> Modalities:
        encoder = self.task_.encoder
        data = read_modalities(
            split_arguments(text, audio, vision, mask),
            host=None if encoder is None else encoder.host,
            aligned=self.aligned,
            means=self.task_.means,
            kind=self.facts_["text"] if encoder is not None else None,
        )
        self._check_sizes(data, self.facts_, "the data")
        return data

    def _check_sizes(self, data: Modalities, facts: Mapping[str, Any], where: str) -> None:
        for m in MODALITIES:
            if m == "l" and facts["text"] != "vectors":
                steps, features = data.masks[m].shape[1], facts["dims"][m]
            else:
                steps, features = data.values[m].shape[1:]
            expected = (facts["lengths"][m], facts["dims"][m])
            if (steps, features) != expected:
                raise DataError(
                    f"{NAMES[m]} of {where} has {steps} steps of {features} features, but the model is made for "
                    f"{expected[0]} of {expected[1]}; pad or cut it"
                )

    def _host(self) -> nn.Module | None:
        if self.text_encoder is None:
            return None
        if isinstance(self.text_encoder, nn.Module) and not isinstance(self.text_encoder, TextHost):
            module = copy.deepcopy(self.text_encoder)  # the one that was given stays as it is
            return text_host(module, tokenizer=self.tokenizer) if self.tokenizer is not None else module
        if isinstance(self.text_encoder, TextHost):
            return copy.deepcopy(self.text_encoder)
        if not isinstance(self.text_encoder, str | os.PathLike):
            raise OptionError(f"text_encoder={self.text_encoder!r} must be a name, a folder, a module, or None")
        return text_host(self.text_encoder, tokenizer=self.tokenizer)

    def _facts(self, data: Modalities, host: nn.Module | None) -> dict[str, Any]:
        dims = {m: int(data.values[m].shape[-1]) for m in MODALITIES}
        lengths = {m: int(data.masks[m].shape[1]) for m in MODALITIES}
        if host is not None:
            with torch.inference_mode():
                first = TextEncoder(host, data.kind, lengths["l"]).eval()(data.values["l"][:2])
            lengths["l"], dims["l"] = int(first.shape[1]), int(first.shape[2])
            if self.aligned and lengths["l"] != lengths["a"]:
                raise DataError(
                    f"aligned modalities need equally many steps, but the text encoder gives {lengths['l']} and audio has "
                    f"{lengths['a']}"
                )
            data.masks["l"] = data.masks["l"] if data.masks["l"].shape[1] == lengths["l"] else data.masks["a"]
        for name, expected in self._expected_dims().items():
            if dims[LETTERS[name]] != expected:
                raise DataError(f"{name} has {dims[LETTERS[name]]} features, but dims says {expected}")
        return {
            "dims": dims,
            "lengths": lengths,
            "text": data.kind,
            "encoder": architecture_of(host) if isinstance(host, TextHost) else None,
        }

    def _expected_dims(self) -> dict[str, int]:
        if self.dims is None:
            return {}
        if isinstance(self.dims, Mapping):
            unknown = set(self.dims) - set(LETTERS)
            if unknown:
                raise OptionError(
                    f"dims names {', '.join(sorted(map(str, unknown)))}; allowed are {', '.join(LETTERS)}"
                )
            return {name: int(size) for name, size in self.dims.items()}
        if len(self.dims) != 3:
            raise OptionError(f"dims={self.dims!r} must be three numbers (text, audio, vision) or a mapping")
        return dict(zip(LETTERS_IN_ORDER, map(int, self.dims), strict=True))

    def _tokenizer_in_use(self) -> Any:
        return self.task_.encoder.host.tokenizer

    def _encoder(self, facts: Mapping[str, Any]) -> TextEncoder | None:
        host = self.__dict__.pop("_host_at_hand", None)
        host = saved_host(dict(facts)) if host is None else host
        if host is None:
            return None
        return TextEncoder(host, facts["text"], facts["lengths"]["l"], finetune=self.finetune)

    def _hold_out(self, data: Modalities, y: Tensor) -> tuple[Modalities, Tensor, Modalities, Tensor]:
        held = max(1, round(self.validation_fraction * len(y)))
        if len(y) - held < 2:
            raise DataError(f"{len(y)} samples are too few to hold some out; pass validation=")
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(stream_seed(self.seed, 4)))

        def part(rows: Tensor) -> Modalities:
            values = {m: x[rows] for m, x in data.values.items()}
            return Modalities(values, {m: x[rows] for m, x in data.masks.items()}, data.kind, data.replaced)

        rows, rest = order[:held].sort().values, order[held:].sort().values
        return part(rest), y[rest], part(rows), y[rows]

    def _set_means(self, data: Modalities) -> None:
        """Mean sequences of the training data; means of text vectors are taken before an encoder has learned."""
        totals = {m: torch.zeros_like(mean, dtype=torch.float64) for m, mean in self.task_.means.items()}
        with torch.inference_mode():
            for start in range(0, len(data), 256):
                rows = [data.values[m][start : start + 256] for m in MODALITIES]
                for m, x in self.task_.inputs(*rows).items():
                    totals[m] += x.double().sum(0)
        for m, mean in self.task_.means.items():
            mean.copy_(totals[m] / len(data))

    def _check_options(self) -> None:
        for name in ("batch_size", "accumulate", "early_stop", "kernel"):
            check_range(getattr(self, name), name, low=1, integer=True)
        check_range(self.patience, "patience", low=0, integer=True)
        check_range(self.lr, "lr", low=0, open_low=True)
        check_range(self.seed, "seed", integer=True)
        check_range(self.validation_fraction, "validation_fraction", low=0, high=0.9, open_low=True)
        if self.clip_value is not None:
            check_range(self.clip_value, "clip_value", low=0, open_low=True)
        if self.label_range is not None and not self.label_range[0] < self.label_range[1]:
            raise OptionError(f"label_range={self.label_range!r} must be (low, high) or None")


LETTERS_IN_ORDER = ("text", "audio", "vision")
