"""What the learners on a shifted host share: reading modalities, training, predictions, states and explanations."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from unsnarl.arrays import as_vector, check_choice, check_range, check_same_length
from unsnarl.errors import DataError, OptionError
from unsnarl.nn._host_architecture import architecture_of
from unsnarl.nn._text_host import text_host
from unsnarl.systems._hosted_learner import HostedLearner, saved_host
from unsnarl.systems._learner import Callback, fingerprint
from unsnarl.systems.multimodal.ithp._explanation import PerceptionExplanation, explain_in_parts
from unsnarl.systems.multimodal.ithp._host_shift import POOLERS, DetectorScaler, HostShift, Perceived, ShiftedHostTask
from unsnarl.systems.multimodal.ithp._inputs import (
    Inputs,
    WordFeatures,
    align_pieces,
    align_tokens,
    joined,
    modalities,
    read_features,
    read_sentences,
    read_tokens,
)
from unsnarl.training import TensorBatches, stream_seed

TASKS = ("regression", "classification")


class ShiftedHostLearner(HostedLearner):
    """A host whose tokens are shifted by a state made of one or several modalities.

    Subclasses store their hyperparameters and say in `_make_fusion` what makes the state, and in `task_class` how.
    """

    host: Any
    tokenizer_: Any
    order: Sequence[str]
    task: str
    hidden: int
    dropout: float
    shift: float
    fusion_dropout: float
    head_dropout: float
    pooler: str
    max_pieces: int
    attend_pads: bool
    train_host: bool
    initializer_range: float | None
    standardize: bool
    lr: float
    weight_decay: float
    warmup: float
    batch_size: int
    epochs: int
    normalize: str | None
    noise: bool
    task_: ShiftedHostTask
    task_class: ClassVar[type[ShiftedHostTask]] = ShiftedHostTask
    normalizations: ClassVar[tuple[Any, ...]] = ("train", "batch", None)

    def _make_fusion(self, width: int, dims: Sequence[int]) -> tuple[nn.Module, int]:
        """The module that makes the state, and the width of the state."""
        raise NotImplementedError

    # ---- learning -------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        unlabelled: Any = None,
        steps: int | None = None,
        epochs: int | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 1000,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
        fabric: Any = None,
    ) -> Any:
        """Learn from the modalities named in `order` and labels.

        Args:
            X: a dictionary of modalities (and "mask"), or a data set that has them as attributes. With a text host "text" is
                sentences or lists of words; everything else is (n, token, feature), (n, feature) or a list of (token,
                feature). Rows of a detector that are NaN throughout count as missing.
            y: numbers, or classes of any kind; `X.y` when absent.
            unlabelled: more observations in the form of X; they count in the bottleneck loss only.
            steps: gradient steps; `epochs` times the batches in the data when absent.
            epochs: passes over the data; the constructor's when absent.
            run: folder for config, metrics and checkpoints; a run that was interrupted continues where it was.
            resume: False starts over in a folder that holds a run.
            log_every: log the losses every so many steps.
            checkpoint_every: write a checkpoint every so many steps.
            progress: show progress and the time left.
            callbacks: each is called as `callback(step, learner)` at step 0 and after every step.
            fabric: a launched `lightning.fabric.Fabric` for other devices or precisions.

        Returns:
            This learner, fitted. What it ends with is the last step: no epoch is chosen.

        Raises:
            DataError: a modality is missing, not aligned, not finite, constant or out of range; labels that do not fit.
            OptionError: an option out of range.
            TrainingError: the loss is no longer finite.
            CheckpointError: `run` holds a run with other settings or data.
        """
        self._check_options()
        host = None
        if self.host is not None:
            host = text_host(copy.deepcopy(self.host), tokenizer=self.tokenizer)
            self.tokenizer_ = host.tokenizer
        found, more = modalities(X, {}, self.order, words=host is not None), None
        if unlabelled is not None:
            more = modalities(unlabelled, {}, self.order, words=host is not None)
            if set(more) != set(found):
                raise DataError(
                    f"unlabelled has {sorted(more)}, but X has {sorted(found)}; both need the same modalities"
                )
        labels, classes = self._labels(getattr(X, "y", None) if y is None and not isinstance(X, Mapping) else y)
        features = self._features(found, fitting=True)
        extra = self._features(more, fitting=True) if more is not None else None
        dims = {name: int(value.values.shape[2]) for name, value in features.items()}
        check_same_length(**{self.order[0]: found[self.order[0]], "y": labels})
        inputs = self._tensors(found, features, None)
        facts = {
            "width": host.width if host is not None else int(inputs.prime.shape[2]),
            "detectors": dims,
            "classes": classes,
            "encoder": architecture_of(host),
            "steps": self._steps(steps, epochs, len(inputs) + (len(more[self.order[0]]) if more is not None else 0)),
        }
        self._encoder = None if host is None else host.model
        task = self._build(facts)
        self._encoder = None
        self._learn_ranges(task, features, self._word_mask(found, features, inputs), labels)
        inputs = self._tensors(found, features, task.scaler)
        if more is not None and extra is not None:
            inputs = joined(inputs, self._tensors(more, extra, task.scaler))
        return self._fit_tensors(
            task, facts, inputs, labels, run=run, resume=resume, log_every=log_every, checkpoint_every=checkpoint_every,
            progress=progress, callbacks=callbacks, fabric=fabric,
        )  # fmt: skip

    def _fit_tensors(
        self, task: ShiftedHostTask, facts: dict[str, Any], inputs: Inputs, labels: Tensor, **options: Any
    ) -> Any:
        prime = inputs.prime
        if task.encoder is not None and not self.train_host:
            self.task_ = task
            prime = self._in_parts(task.host_tokens, prime, inputs.mask, rows=64).clone()
        missing = len(inputs) - len(labels)
        labelled = torch.cat([torch.ones(len(labels)), torch.zeros(missing)])
        tensors = [prime, inputs.mask, torch.cat([labels, labels.new_zeros(missing)]), labelled]
        tensors += [*(inputs.detectors or ()), *(inputs.observed or ())]
        ranks: dict[str, Any] = {}
        if options["fabric"] is not None:
            fabric = options["fabric"]
            ranks = {"device": fabric.device, "rank": fabric.global_rank, "world_size": fabric.world_size}
        batches = TensorBatches(*tensors, batch_size=self.batch_size, seed=self.seed, **ranks)
        self._train(task, facts, batches, steps=facts["steps"], data=fingerprint(*tensors), **options)
        return self

    def _steps(self, steps: int | None, epochs: int | None, n: int) -> int:
        if steps is not None:
            check_range(steps, "steps", low=1, integer=True)
            return int(steps)
        epochs = self.epochs if epochs is None else epochs
        check_range(epochs, "epochs", low=1, integer=True)
        return int(epochs) * max(1, n // min(int(self.batch_size), n))

    def _make_task(self, facts: dict[str, Any]) -> ShiftedHostTask:
        dims = list(facts["detectors"].values())
        fusion, state = self._make_fusion(facts["width"], dims)
        classes = facts["classes"]
        encoder = getattr(self, "_encoder", None)
        loaded = saved_host(facts)
        if loaded is not None:
            encoder, self.tokenizer_ = loaded.model, loaded.tokenizer
        if encoder is not None and not self.train_host:
            encoder.requires_grad_(False)
        return self.task_class(
            fusion,
            HostShift(
                facts["width"],
                state,
                1 if classes is None else len(classes),
                shift=self.shift,
                pooler=self._pooler(),
                dropout=self.fusion_dropout,
                head_dropout=self.head_dropout,
            ),
            encoder=encoder,
            classification=classes is not None,
            scaler=DetectorScaler(dims, self.normalize),
            lr=self.lr,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            steps=facts["steps"],
            attend_pads=self.attend_pads,
            noise=self.noise,
            initializer_range=self.initializer_range,
        )

    def _tokenizer_in_use(self) -> Any:
        return self.tokenizer_

    def _pooler(self) -> str:
        return ("mean" if self.host is None else "first") if self.pooler == "auto" else self.pooler

    def _labels(self, y: Any) -> tuple[Tensor, list[Any] | None]:
        if y is None:
            raise DataError("y is missing: pass one label for each observation")
        values = as_vector(y, "y")
        if self.task == "regression":
            if values.dtype.kind not in "iufb":
                raise DataError(
                    f"y must be numbers for task='regression', got {values.dtype}; use task='classification'"
                )
            return torch.from_numpy(values.astype(np.float32)), None
        classes, index = np.unique(values, return_inverse=True)
        if len(classes) < 2:
            raise DataError(f"y has one class only ({classes[0]!r}); there is nothing to learn")
        if len(classes) > len(values) // 2 and values.dtype.kind == "f":
            raise DataError(f"y has {len(classes)} different values in {len(values)}; use task='regression'")
        return torch.from_numpy(index.astype(np.int64)), classes.tolist()

    def _word_mask(self, found: Mapping[str, Any], features: Mapping[str, WordFeatures], inputs: Inputs) -> Tensor:
        """Which rows of detectors are words, (n, word); pads are not what ranges are learned from."""
        if self.host is None:
            return inputs.mask
        longest = max([detector.values.shape[1] for detector in features.values()], default=1)
        lengths = torch.tensor([len(words) for words in read_sentences(found[self.order[0]], self.order[0])])
        return torch.arange(longest) < lengths[:, None]

    def _learn_ranges(
        self, task: ShiftedHostTask, features: Mapping[str, WordFeatures], words: Tensor, labels: Tensor
    ) -> None:
        """Ranges of detectors over their observed words, mean and scale of labels: from these training data alone."""
        for index, (name, detector) in enumerate(features.items()):
            rows = detector.values[detector.observed & words[:, : detector.values.shape[1]]]
            if not len(rows):
                raise DataError(f"{name!r} is missing in every observation; leave it out of order")
            low, high = rows.amin(0), rows.amax(0)
            if bool((low == high).all()):
                raise DataError(f"{name!r} is constant, so there is nothing in it to predict; leave it out of order")
            if self.normalize is None and (float(low.min()) < 0 or float(high.max()) > 1):
                raise DataError(
                    f"{name!r} must lie in [0, 1] with normalize=None, found {float(low.min()):g} to {float(high.max()):g}; "
                    "use normalize='train'"
                )
            if self.normalize in ("train", "standard"):
                task.scaler.learn(index, rows)
        if self.standardize and self.task == "regression":
            spread = labels.std(correction=0)
            task.label_mean.copy_(labels.mean())
            task.label_scale.copy_(torch.where(spread > 0, spread, 1.0))

    def _features(self, found: Mapping[str, Any], *, fitting: bool) -> dict[str, WordFeatures]:
        """The detectors that were given; all of them must be, to learn."""
        given = {name: read_features(found[name], name) for name in self.order[1:] if name in found}
        absent = [name for name in self.order[1:] if name not in given]
        if fitting and absent:
            raise DataError(f"{absent[0]!r} is missing: learning needs every modality of order={tuple(self.order)!r}")
        if not fitting:
            for name, size in self.facts_["detectors"].items():
                if name in given and given[name].values.shape[2] != size:
                    raise DataError(
                        f"{name!r} has {given[name].values.shape[2]} features, but this model was fitted on {size}"
                    )
        return given

    def _tensors(self, found: Mapping[str, Any], features: Mapping[str, WordFeatures], scaler: Any) -> Inputs:
        if scaler is not None:
            place = {name: i for i, name in enumerate(self.order[1:])}
            features = {
                name: WordFeatures(scaler.words(place[name], d.values), d.mask, d.observed, d.lengths)
                for name, d in features.items()
            }
        if self.host is not None:
            sentences = read_sentences(found[self.order[0]], self.order[0])
            return align_pieces(self.tokenizer_, sentences, features, int(self.max_pieces), fill=self.attend_pads)
        inputs = Inputs(*read_tokens(found[self.order[0]], found.get("mask"), self.order[0]))
        return align_tokens(inputs, features, self.order[0]) if features else inputs

    def _check_options(self) -> None:
        if isinstance(self.order, str) or len(set(self.order)) != len(self.order) or not len(self.order):
            raise OptionError(f"order={self.order!r} must name different modalities, the prime one first")
        check_choice(self.task, TASKS, "task")
        check_choice(self.normalize, self.normalizations, "normalize")
        check_choice(self.pooler, ("auto", *POOLERS), "pooler")
        for name in ("dropout", "fusion_dropout", "head_dropout", "warmup"):
            check_range(getattr(self, name), name, low=0, high=1)
        check_range(self.lr, "lr", low=0, open_low=True)
        check_range(self.weight_decay, "weight_decay", low=0)
        check_range(self.shift, "shift")
        check_range(self.hidden, "hidden", low=1, integer=True)
        check_range(self.batch_size, "batch_size", low=1, integer=True)
        check_range(self.max_pieces, "max_pieces", low=3, integer=True)
        check_range(self.seed, "seed", integer=True)
        if self.initializer_range is not None:
            check_range(self.initializer_range, "initializer_range", low=0, open_low=True)

    # ---- using ----------------------------------------------------------------------------------------------------

    def predict(self, X: Any = None, *, sample: bool = False, **given: Any) -> Shaped[np.ndarray, " n"]:
        """Labels of observations: numbers, or the most probable class.

        Args:
            X: modalities as in `fit`.
            sample: draw the states, as the official evaluation does, instead of taking their means; the draws depend on
                the seed alone.
            **given: modalities as keywords, such as `predict(text=sentences)`.

        Raises:
            NotFittedError: before `fit`.
            DataError: the prime modality is missing, or modalities do not fit those learned.
        """
        outputs = self._outputs(X, given, sample)
        classes = self.facts_["classes"]
        if classes is None:
            return outputs[:, 0]
        return np.asarray(classes)[outputs.argmax(1)]

    def predict_proba(self, X: Any = None, *, sample: bool = False, **given: Any) -> Float[np.ndarray, "n class"]:
        """Probability of each class, in the order of `classes_`.

        Raises:
            OptionError: this learner predicts numbers.
        """
        self._check_fitted()
        if self.facts_["classes"] is None:
            raise OptionError("predict_proba needs task='classification'")
        return self._outputs(X, given, sample)

    @property
    def classes_(self) -> np.ndarray:
        """The classes, sorted."""
        self._check_fitted()
        return np.asarray(self.facts_["classes"])

    def transform(
        self, X: Any = None, *, level: int = -1, sample: bool = False, tokens: bool = False, **given: Any
    ) -> Float[np.ndarray, "n ..."]:
        """States: 0 for the first bottleneck, 1 for the second, -1 for the last.

        Args:
            X: modalities as in `fit`; those that only serve learning are not looked at.
            level: which bottleneck.
            sample: draw the states instead of taking their means.
            tokens: the state of every token, (n, token, width); otherwise its mean over the tokens, (n, width).
            **given: modalities as keywords.
        """
        self._check_fitted()
        levels = len(self._state_widths())
        check_range(level, "level", low=-levels, high=levels - 1, integer=True)
        inputs = self._inputs(X, given)

        def states(seen: Perceived, mask: Tensor) -> Tensor:
            state = seen.fused.states[int(level)]
            if tokens:
                return state
            weight = mask.to(state.dtype)
            return torch.einsum("btd,bt->bd", state, weight) / weight.sum(1, keepdim=True).clamp_min(1)

        codes: Tensor = self._perceive_in_parts(inputs, sample, states)
        return codes.numpy()

    def explain(self, X: Any = None, **given: Any) -> PerceptionExplanation:
        """What a prediction rests on: the shift of each token, the rate of each level, and how well detectors are foreseen.

        Args:
            X: modalities as in `fit`; distortions are given for the detectors among them.
            **given: modalities as keywords.

        Cost: the head is run once a token, O(n token^2 width).
        """
        self._check_fitted()
        inputs = self._inputs(X, given, detectors=True)
        words = getattr(X, "words", None)
        if self.host is not None:
            found = modalities(X, given, self.order, words=True)
            words = read_sentences(found[self.order[0]], self.order[0])
        return explain_in_parts(self, inputs, words)

    def score(self, X: Any, y: Any = None) -> float:
        """R^2 of numbers, accuracy of classes; the mean of the states is used, nothing is drawn."""
        self._check_fitted()
        truth = as_vector(getattr(X, "y", None) if y is None else y, "y", min_rows=1)
        predicted = self.predict(X)
        check_same_length(X=predicted, y=truth)
        if self.facts_["classes"] is not None:
            return float(np.mean(predicted == truth))
        spread = float(np.square(truth - truth.mean()).sum())
        error = float(np.square(truth - predicted).sum())
        return 1.0 - error / spread if spread > 0 else float("nan")

    def _outputs(self, X: Any, given: Mapping[str, Any], sample: bool) -> Float[np.ndarray, "n output"]:
        self._check_fitted()
        outputs = self._perceive_in_parts(
            self._inputs(X, given),
            sample,
            lambda seen, _: self.task_.outputs(seen.logits).reshape(len(seen.logits), -1),
        )
        return outputs.numpy()

    def _inputs(self, X: Any, given: Mapping[str, Any], *, detectors: bool = False) -> Inputs:
        """What predictions are made from; detectors only where they are read or asked for."""
        found = modalities(X, given, self.order, words=self.host is not None)
        features: dict[str, WordFeatures] = {}
        if self.task_.reads_detectors or detectors:
            features = self._features(found, fitting=False)
            absent = [name for name in self.order[1:] if name not in features]
            if self.task_.reads_detectors and absent:
                raise DataError(f"{absent[0]!r} is missing: {type(self).__name__} reads every modality to predict")
        inputs = self._tensors(found, features, self.task_.scaler)
        if self.host is None and inputs.prime.shape[2] != self.facts_["width"]:
            raise DataError(
                f"{self.order[0]!r} has {inputs.prime.shape[2]} features, but this model was fitted on "
                f"{self.facts_['width']}"
            )
        return inputs

    def _perceive_in_parts(self, inputs: Inputs, sample: bool, function: Callable[[Perceived, Tensor], Any]) -> Any:
        device = next(self.task_.parameters()).device
        generator = torch.Generator(device=device).manual_seed(stream_seed(self.seed, 5))
        tensors = inputs.detectors if self.task_.reads_detectors and inputs.detectors else []

        def part(prime: Tensor, mask: Tensor, *detectors: Tensor) -> Any:
            seen = self.task_.perceive(prime, mask, detectors or None, sample=sample, generator=generator)
            return function(seen, mask)

        return self._in_parts(part, inputs.prime, inputs.mask, *tensors, rows=128)

    def _state_widths(self) -> tuple[int, ...]:
        """Width of the state of each level."""
        raise NotImplementedError
