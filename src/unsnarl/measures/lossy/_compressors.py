"""From many numbers an observation to a few: autoencoder, principal components, the first coordinates, or anything of the user's.

A compressor is an object with `fit(x)` and `transform(x) -> (n, dim)`, or a plain function x -> (n, dim).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator
from torch import Tensor

from unsnarl.arrays import as_matrix, check_choice, check_finite, check_range, to_numpy
from unsnarl.errors import DataError, NotFittedError, OptionError
from unsnarl.measures.lossy._networks import CODES, CompressorTask, ConvCompressor, DenseCompressor
from unsnarl.training import Run, TensorBatches, as_input, stream_seed, train

NAMES = ("ae", "pca", "identity", "first")
Codes = Float[np.ndarray, "n dim"]


class AutoencoderCompressor(BaseEstimator):
    """The code of a denoising autoencoder (Butakov et al. 2024, arXiv 2305.08013): folded image manifolds are unfolded.

    Images (n, height, width) or (n, channels, height, width) of at least 8 pixels a side go through convolutions, tables and layers
    (n, features) through dense layers of 24 and 16 units; both networks are described in full in `_networks`. The loss is the mean
    absolute error, the optimiser Adam.

    What is read as the code matters to the entropy estimate that follows. A sigmoid code piles up at 0 and 1, where
    neighbour distances say little, and biases the information downwards; so `code="linear"` (no sigmoid anywhere) is the
    default, where the published encoder ends in a sigmoid.

    Args:
        dim: numbers in the code.
        code: "linear"; "sigmoid" as published; "pre-sigmoid" trains as published and reads the code before the sigmoid.
        epochs: passes over the data.
        steps: gradient steps instead of epochs.
        batch_size: observations a step, at most all of them.
        lr: learning rate of Adam.
        dropout: share of the inputs of each encoder layer that training drops.
        latent_noise: relative noise on the code in training.
        seed: of weights, batches and noise.

    >>> x = np.random.default_rng(0).normal(size=(200, 1)) * np.ones(6)
    >>> AutoencoderCompressor(dim=1, epochs=2).fit(x).transform(x).shape
    (200, 1)
    """

    def __init__(
        self,
        dim: int = 4,
        *,
        code: Literal["linear", "pre-sigmoid", "sigmoid"] | str = "linear",
        epochs: int = 200,
        steps: int | None = None,
        batch_size: int = 512,
        lr: float = 1e-2,
        dropout: float = 0.1,
        latent_noise: float = 0.1,
        seed: int = 0,
    ):
        self.dim, self.code, self.epochs, self.steps = dim, code, epochs, steps
        self.batch_size, self.lr, self.dropout, self.latent_noise = batch_size, lr, dropout, latent_noise
        self.seed = seed

    def fit(
        self,
        x: Any,
        *,
        run: Run | None = None,
        progress: bool = False,
        callbacks: Sequence[Callable[[int], None]] = (),
        fabric: Any = None,
    ) -> AutoencoderCompressor:
        """Train on observations; best on others than those whose information is then estimated.

        Args:
            x: observations: uint8 or float images, or a table.
            run: a `unsnarl.training.Run` to log to and to resume from.
            progress: show progress on stderr.
            callbacks: each called with the number of steps done.
            fabric: a launched `lightning.fabric.Fabric`, for other devices or several processes.

        Raises:
            DataError: not finite, constant, too few, or images too small.
            OptionError: an option out of range.
            TrainingError: the loss is no longer finite.

        Cost: 200 epochs of 6,000 images of 28 x 28 pixels take some minutes on one core.
        """
        check_range(self.dim, "dim", low=1, integer=True)
        check_choice(self.code, CODES, "code")
        check_range(self.epochs, "epochs", low=1, integer=True)
        check_range(self.batch_size, "batch_size", low=1, integer=True)
        check_range(self.lr, "lr", low=0, open_low=True)
        check_range(self.dropout, "dropout", low=0, high=0.99)
        check_range(self.latent_noise, "latent_noise", low=0)
        check_range(self.seed, "seed", integer=True)
        if self.steps is not None:
            check_range(self.steps, "steps", low=1, integer=True)
        data = as_observations(x)
        if len(data) < 2:
            raise DataError(f"an autoencoder needs at least 2 observations, got {len(data)}")
        task = self._make_task(data)
        ranks: dict[str, Any] = {}
        if fabric is not None:
            ranks = {"device": fabric.device, "rank": fabric.global_rank, "world_size": fabric.world_size}
        batches = TensorBatches(data, batch_size=int(self.batch_size), seed=self.seed, **ranks)
        steps = int(self.steps) if self.steps is not None else int(self.epochs) * batches.steps_per_epoch
        self.history_ = train(
            task,
            batches,
            steps=steps,
            seed=self.seed,
            run=run,
            fabric=fabric,
            progress=progress,
            label="compressor",
            callbacks=callbacks,
        )
        self.shape_ = tuple(data.shape[1:])
        self.task_ = task.cpu().eval()
        del task.optimizers_
        return self

    def _make_task(self, data: Tensor) -> CompressorTask:
        numbers = as_input(data)
        if data.ndim == 4:  # images: one scale for all pixels
            shift = torch.zeros(())
            scale = numbers.abs().max()
        else:
            spread, shift = torch.std_mean(numbers.double(), 0, correction=0)
            scale = spread.where(spread > 0, 1.0)
            scale[spread == 0] = 1.0
            if not (spread > 0).any():
                scale = torch.zeros(())
        if not (scale > 0).all() or bool((numbers == numbers[:1]).all()):
            raise DataError("observations are constant, so there is nothing to compress")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(self.seed, 0))
            network: ConvCompressor | DenseCompressor
            if data.ndim == 4:
                network = ConvCompressor(data.shape[1:], int(self.dim), self.dropout)
            else:
                network = DenseCompressor(data.shape[1], int(self.dim), self.dropout)
        return CompressorTask(
            network,
            code=self.code,
            latent_noise=self.latent_noise,
            lr=self.lr,
            shift=shift.float(),
            scale=scale.float(),
        )

    def transform(self, x: Any) -> Codes:
        """The codes of observations, float64.

        Raises:
            NotFittedError: before `fit`.
            DataError: another shape than that fitted.
        """
        return self._in_parts(x, lambda task, part: task.codes(part)).numpy()

    def reconstruct(self, x: Any) -> Tensor:
        """Observations after encoding and decoding: what the code kept."""
        return self._in_parts(x, lambda task, part: task.reconstruct(part))

    def _in_parts(self, x: Any, function: Callable[[CompressorTask, Tensor], Tensor]) -> Tensor:
        if not hasattr(self, "task_"):
            raise NotFittedError("this AutoencoderCompressor has not learned anything yet; call fit first")
        data = as_observations(x)
        if tuple(data.shape[1:]) != self.shape_:
            raise DataError(
                f"observations have shape {tuple(data.shape[1:])}, but the compressor learned {self.shape_}"
            )
        with torch.inference_mode():
            return torch.cat([function(self.task_, as_input(part)) for part in data.split(512)])


class PCACompressor(BaseEstimator):
    """The first principal components of the flattened observations; a linear map, which folds curved image manifolds.

    Args:
        dim: number of components.
    """

    def __init__(self, dim: int = 4):
        self.dim = dim

    def fit(self, x: Any) -> PCACompressor:
        """Find the components.

        Raises:
            DataError: not finite; fewer observations or features than components; constant.
        """
        check_range(self.dim, "dim", low=1, integer=True)
        from sklearn.decomposition import PCA

        points = _flat(x)
        most = min(points.shape)
        if self.dim > most:
            raise DataError(
                f"dim={self.dim} components cannot be had from {points.shape[0]} x {points.shape[1]} values"
            )
        if not np.ptp(points, axis=0).any():
            raise DataError("observations are constant, so there is nothing to compress")
        wide = max(points.shape) > 500 and self.dim < 0.8 * most
        solver = "covariance_eigh" if points.shape[1] <= 1024 else "randomized" if wide else "full"
        self.pca_ = PCA(int(self.dim), svd_solver=solver, random_state=0).fit(points)
        return self

    def transform(self, x: Any) -> Codes:
        """The components of observations."""
        if not hasattr(self, "pca_"):
            raise NotFittedError("this PCACompressor has not learned anything yet; call fit first")
        points = _flat(x)
        if points.shape[1] != self.pca_.n_features_in_:
            raise DataError(
                f"observations have {points.shape[1]} features, but the compressor learned {self.pca_.n_features_in_}"
            )
        return np.ascontiguousarray(self.pca_.transform(points))


class FirstCoordinates(BaseEstimator):
    """The first d of the flattened numbers: the control that a real compressor has to beat.

    Args:
        dim: how many.
    """

    def __init__(self, dim: int = 4):
        self.dim = dim

    def fit(self, x: Any) -> FirstCoordinates:
        """Nothing to learn."""
        return self

    def transform(self, x: Any) -> Codes:
        """The first numbers of observations.

        Raises:
            DataError: they have fewer.
        """
        check_range(self.dim, "dim", low=1, integer=True)
        points = _flat(x)
        if points.shape[1] < self.dim:
            raise DataError(f"observations have {points.shape[1]} features, fewer than dim={self.dim}")
        return points[:, : int(self.dim)].copy()


class Identity(BaseEstimator):
    """The flattened numbers as they are."""

    def fit(self, x: Any) -> Identity:
        """Nothing to learn."""
        return self

    def transform(self, x: Any) -> Codes:
        """The flattened numbers."""
        return _flat(x)


class FunctionCompressor(BaseEstimator):
    """A function of the user's, x -> (n, dim).

    Args:
        function: takes what was passed as x.
    """

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def fit(self, x: Any) -> FunctionCompressor:
        """Nothing to learn."""
        return self

    def transform(self, x: Any) -> Codes:
        """What the function gives.

        Raises:
            DataError: not (n, dim) finite numbers, or another number of rows.
        """
        codes = to_numpy(self.function(x), "the compressor's codes")
        codes = as_matrix(codes[:, None] if codes.ndim == 1 else codes, "the compressor's codes").astype(np.float64)
        if len(codes) != len(x):
            raise DataError(f"the compressor gave {len(codes):,} codes for {len(x):,} observations")
        return codes


def make_compressor(spec: Any, dim: int, seed: int, argument: str) -> Any:
    """An object with `fit` and `transform` for a name, such an object, or a function.

    An object is copied before it is fitted, unless it has been fitted already (it then has an attribute that ends in "_").

    Raises:
        OptionError: neither of these.
    """
    if isinstance(spec, str):
        check_choice(spec, NAMES, argument)
        made: dict[str, Callable[[], Any]] = {
            "ae": lambda: AutoencoderCompressor(dim, seed=seed),
            "pca": lambda: PCACompressor(dim),
            "identity": Identity,
            "first": lambda: FirstCoordinates(dim),
        }
        return made[spec]()
    if hasattr(spec, "transform"):
        if hasattr(spec, "fit") and not is_fitted(spec):
            from copy import deepcopy

            return deepcopy(spec)
        return spec
    if callable(spec):
        return FunctionCompressor(spec)
    raise OptionError(
        f"{argument}={spec!r} must be one of {', '.join(map(repr, NAMES))}, an object with fit and transform, or a function"
    )


def is_fitted(compressor: Any) -> bool:
    """Whether there is nothing left to learn: scikit-learn's convention of attributes that end in an underscore."""
    if not hasattr(compressor, "fit"):
        return True
    return any(name.endswith("_") and not name.startswith("_") for name in vars(compressor))


def as_observations(x: Any) -> Tensor:
    """Images as (n, channels, height, width), everything else as (n, features); uint8 stays, the rest becomes float32.

    Raises:
        DataError: fewer than 2 or more than 4 dimensions, or not finite.
    """
    array = to_numpy(x, "observations")
    if array.ndim not in (2, 3, 4):
        raise DataError(
            "observations must be a table (n, features) or images (n, height, width) or (n, channels, height, width), got "
            f"shape {array.shape}"
        )
    if array.dtype.kind not in "iufb" or 0 in array.shape:
        raise DataError(f"observations must be numbers, got {array.dtype} of shape {array.shape}")
    check_finite(array, "observations")
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
    return torch.tensor(array[:, None] if array.ndim == 3 else array)


def _flat(x: Any) -> Float[np.ndarray, "n features"]:
    array = to_numpy(x, "observations")
    array = array.reshape(len(array), -1) if array.ndim else array
    return as_matrix(array, "observations").astype(np.float64)
