"""The verbs that all latent-variable learners share: fit, transform, decode, traverse, save_pretrained."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from sklearn.base import TransformerMixin
from torch import Tensor

from unsnarl.arrays import check_finite, check_range, to_numpy
from unsnarl.data import FactorDataset
from unsnarl.errors import DataError, OptionError
from unsnarl.nn import Architecture, find_architecture
from unsnarl.objectives import psnr
from unsnarl.systems._learner import Callback, Learner, fingerprint
from unsnarl.systems.latents._task import AutoencoderTask
from unsnarl.training import TensorBatches, as_input


class LatentLearner(TransformerMixin, Learner):
    """What AE, VAE, QLAE and the others have in common.

    A subclass stores its hyperparameters in `__init__` and builds its task (networks, losses, optimisers) in
    `_make_networks`. Everything learned is in `task_`; `history_` holds the logged losses.
    """

    latents: int
    network: str | Architecture
    batch_size: int
    lr: float
    weight_decay: float
    steps: int
    task_: AutoencoderTask
    discrete_codes: ClassVar[bool] = False
    batches_per_step: ClassVar[int] = 1

    def _make_networks(self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int) -> Any:
        """The task for observations of a shape, of which n are learned from."""
        raise NotImplementedError

    def _make_task(self, facts: dict[str, Any]) -> Any:
        shape = tuple(facts["shape"])
        return self._make_networks(find_architecture(self.network, shape), shape, facts["likelihood"], facts["n"])

    @property
    def shape_(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return tuple(self.facts_["shape"])

    @property
    def likelihood_(self) -> str:
        """What the decoder models: "bernoulli" for images, "gaussian" for tables."""
        return self.facts_["likelihood"]

    # ---- learning -------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        steps: int | None = None,
        run: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log_every: int = 100,
        checkpoint_every: int = 1000,
        progress: bool = False,
        callbacks: Sequence[Callback] = (),
        fabric: Any = None,
    ) -> Any:
        """Learn from observations; factors are not used.

        Args:
            X: a `FactorDataset`, or observations of shape (n, channels, height, width) as uint8 or floats in [0, 1],
                or a table of shape (n, features).
            y: ignored; there for scikit-learn.
            steps: gradient steps; the constructor's `steps` when absent.
            run: folder for config, metrics and checkpoints; a run that was interrupted continues where it was.
            resume: False starts over in a folder that holds a run.
            log_every: log the losses every so many steps.
            checkpoint_every: write a checkpoint every so many steps.
            progress: show progress and the time left.
            callbacks: each is called as `callback(step, model)` at step 0 and after every step.
            fabric: a launched `lightning.fabric.Fabric` for other devices, precisions or several processes; learners
                with two optimisers (FactorVAE, InfoWGAN-GP) need its strategy "ddp_find_unused_parameters_true".

        Returns:
            This learner, fitted.

        Raises:
            DataError: observations that are not finite, have too few dimensions, or pixels outside [0, 1].
            TrainingError: the loss is no longer finite.
            CheckpointError: `run` holds a run with other settings, or a damaged checkpoint.
        """
        observations = self._observations(X, fitting=True)
        steps = self.steps if steps is None else steps
        check_range(steps, "steps", low=1, integer=True)
        self._check_options()
        shape, likelihood = tuple(observations.shape[1:]), _likelihood(observations)
        facts = {"shape": list(shape), "likelihood": likelihood, "n": len(observations)}
        names = self._remember_features(getattr(X, "columns", None), shape)
        if names is not None:
            facts["features"] = names
        task = self._build(facts)
        if likelihood == "gaussian":
            spread, mean = torch.std_mean(observations.double(), 0, correction=0)
            task.mean.copy_(mean)
            task.scale.copy_(spread.clamp_min(1e-12).where(spread > 0, 1.0))
        ranks: dict[str, Any] = {}
        if fabric is not None:
            ranks = {"device": fabric.device, "rank": fabric.global_rank, "world_size": fabric.world_size}
            task.to(fabric.device)
        streams = [
            TensorBatches(observations, batch_size=self.batch_size, seed=self.seed, stream=i, **ranks)
            for i in range(self.batches_per_step)
        ]
        self._train(
            task,
            facts,
            lambda step: tuple(x for stream in streams for x in stream(step)),
            steps=steps,
            data=fingerprint(observations),
            run=run,
            resume=resume,
            log_every=log_every,
            checkpoint_every=checkpoint_every,
            progress=progress,
            callbacks=callbacks,
            fabric=fabric,
        )
        self._set_latent_range(observations[:: max(1, len(observations) // 2000)])
        return self

    def _check_options(self) -> None:
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if parameter.annotation == "int" and isinstance(value, float | np.floating):
                raise OptionError(f"{name}={value!r} must be an integer")
        check_range(self.latents, "latents", low=1, integer=True)
        check_range(self.batch_size, "batch_size", low=1, integer=True)
        check_range(self.lr, "lr", low=0, open_low=True)
        check_range(self.weight_decay, "weight_decay", low=0)
        check_range(self.seed, "seed", integer=True)

    def _set_latent_range(self, observations: Tensor) -> None:
        codes = torch.as_tensor(self._codes(observations), dtype=torch.float32)
        self.task_.low.copy_(codes.quantile(0.01, dim=0))
        self.task_.high.copy_(codes.quantile(0.99, dim=0))

    # ---- using ----------------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Shaped[np.ndarray, "n latent"]:
        """Codes of observations: float32, or integer level indices for quantized latents.

        Raises:
            NotFittedError: before `fit`.
            DataError: observations of another shape than those fitted.
        """
        return self._codes(X)

    def decode(self, codes: Any) -> Float[Tensor, "n ..."]:
        """Observations for codes of shape (n, latents), as `transform` gives them.

        Raises:
            DataError: another number of latents, or values that are not finite.
        """
        self._check_fitted()
        array = to_numpy(codes, "codes")
        if array.ndim != 2 or array.shape[1] != self.latents:
            raise DataError(f"codes must have shape (n, {self.latents}), got {array.shape}")
        check_finite(array, "codes")
        if self.discrete_codes and array.dtype.kind in "iu":
            quantizer: Any = self.task_.quantizer
            if array.size and (array.min() < 0 or array.max() >= quantizer.levels):
                raise DataError(
                    f"codes must be indices from 0 to {quantizer.levels - 1}, found {array.min()} to {array.max()}"
                )
        task = self.task_
        return self._in_parts(lambda part: task.to_data(task.decoder(task.decoder_input(part))), torch.tensor(array))

    def reconstruct(self, X: Any) -> Float[Tensor, "n ..."]:
        """Observations after encoding and decoding."""
        return self.decode(self._codes(X))

    def score(self, X: Any, y: Any = None) -> float:
        """How well observations are reconstructed: mean PSNR in dB for images, minus the mean squared error for tables."""
        self._check_fitted()
        x = as_input(self._observations(X))
        back = self.reconstruct(X)
        if self.likelihood_ == "bernoulli":
            return float(psnr(x, back).mean())
        return -float((x - back).square().mean())

    def latent_values(self, latent: int, n_values: int = 7) -> Shaped[np.ndarray, " value"]:
        """Values of a latent to show in a traversal: from its 1% to its 99% quantile on the training data."""
        low, high = float(self.task_.low[latent]), float(self.task_.high[latent])
        return np.linspace(low, high, n_values, dtype=np.float32)

    def traverse(self, observation: Any, latent: int, n_values: int = 7) -> Float[Tensor, "value ..."]:
        """One observation decoded with one of its latents set to a range of values, the others kept.

        Args:
            observation: one observation, with or without a leading dimension of 1.
            latent: which latent.
            n_values: how many values; quantized latents show each level once at most.

        Raises:
            OptionError: there is no such latent.
        """
        self._check_fitted()
        check_range(latent, "latent", low=0, high=self.latents - 1, integer=True)
        check_range(n_values, "n_values", low=1, integer=True)
        x = observation if isinstance(observation, Tensor) else torch.as_tensor(to_numpy(observation, "observation"))
        code = self._codes(x[None] if x.ndim == len(self.shape_) else x)[:1]
        values = self.latent_values(int(latent), n_values)
        codes = np.repeat(code, len(values), axis=0)
        codes[:, int(latent)] = values
        return self.decode(codes)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the latents, for scikit-learn's data frames."""
        return np.array([f"latent {i}" for i in range(self.latents)], dtype=object)

    def _codes(self, X: Any) -> Shaped[np.ndarray, "n latent"]:
        """What `transform` gives before scikit-learn's `set_output` makes it a data frame."""
        return self._map(X, lambda x: self.task_.codes(x)).numpy()

    def _map(self, X: Any, function: Callable[[Tensor], Tensor]) -> Tensor:
        self._check_fitted()
        observations = self._observations(X)
        return self._in_parts(lambda part: function(self.task_.to_network(as_input(part))), observations)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # codes are float32 or indices whatever comes in
        return tags

    def _observations(self, X: Any, *, fitting: bool = False) -> Tensor:
        if hasattr(X, "toarray"):
            raise DataError("sparse input is not supported; pass X.toarray()")
        if getattr(getattr(X, "dtype", None), "kind", "") == "c":
            raise DataError("Complex data not supported; pass real numbers")
        names = getattr(X, "columns", None)
        if not isinstance(X, FactorDataset):
            X = FactorDataset(X)
        observations = X.observations
        if not isinstance(observations, Tensor):
            raise DataError("these learners need observations of one shape; ragged data cannot be used")
        observations = observations.detach().cpu()
        shape = tuple(observations.shape)
        if len(shape) not in (2, 4):
            hint = "" if len(shape) != 1 else "; Reshape your data: x.reshape(1, -1) is one observation"
            raise DataError(
                f"observations must be images (n, channels, height, width) or a table (n, features), got shape {shape}{hint}"
            )
        if 0 in shape:
            raise DataError(f"observations have 0 feature(s) (shape={shape}) while a minimum of 1 is required.")
        if observations.ndim == 4 and observations.dtype != torch.uint8:
            if not observations.is_floating_point():
                raise DataError(f"images must be uint8 or floats in [0, 1], got {observations.dtype}")
            low, high = float(observations.min()), float(observations.max())
            if low < 0 or high > 1:
                raise DataError(f"pixels must lie in [0, 1], found {low:g} to {high:g}; divide by 255 or use uint8")
        if observations.ndim == 2 and not observations.is_floating_point():
            observations = observations.float()
        if fitting and len(observations) < 2:
            raise DataError("fitting needs at least 2 observations, got 1 sample")
        if fitting:
            return observations
        if shape[1:] != self.shape_:
            if len(shape) == 2 and len(self.shape_) == 1:
                name, expected = type(self).__name__, self.shape_[0]
                raise DataError(f"X has {shape[1]} features, but {name} is expecting {expected} features as input")
            raise DataError(f"observations have shape {shape[1:]}, but this model was fitted on {self.shape_}")
        if names is not None and list(names) != list(getattr(self, "feature_names_in_", names)):
            raise DataError(
                "the columns of this table are not those that the model was fitted on, in that order: "
                f"{', '.join(map(str, self.feature_names_in_))}"
            )
        return observations

    def _remember_features(self, names: Any, shape: tuple[int, ...]) -> list[str] | None:
        for old in {"n_features_in_", "feature_names_in_"} & set(vars(self)):
            delattr(self, old)
        if len(shape) == 1:
            self.n_features_in_ = shape[0]
        if names is None or not all(isinstance(name, str) for name in names):
            return None
        self.feature_names_in_ = np.asarray(names, dtype=object)
        return list(names)

    # ---- saving ---------------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        params = super()._config()
        if isinstance(self.network, Architecture):
            params["network"] = self.network.to_dict()
        return params

    @classmethod
    def _params_from_config(cls, params: dict[str, Any]) -> dict[str, Any]:
        if isinstance(params.get("network"), dict):
            params["network"] = Architecture(**params["network"])
        return super()._params_from_config(params)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
        model = super()._from_pretrained(model_id=model_id, **options)
        model._remember_features(model.facts_.get("features"), model.shape_)
        return model


def _likelihood(observations: Tensor) -> str:
    return "bernoulli" if observations.ndim == 4 else "gaussian"
