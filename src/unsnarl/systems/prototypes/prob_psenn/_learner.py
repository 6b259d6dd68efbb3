"""Prob-PSENN: classify by the expected vote of distributions of prototypes, and show the prototypes.

Vadillo, Santana, Lozano, Kwiatkowska: "Uncertainty-Aware Explanations Through Probabilistic Self-Explainable Neural
Networks", arXiv 2403.13740. Each class has a prototype in the space of an autoencoder, and the prototype is a
distribution rather than a point. A class is chosen by the distances of an input to draws of all prototypes; how much the
draws disagree, how far the input is from what its class looked like in training, and whether another class is as near
tell how far the prediction and its explanation can be trusted. With e the code, p_k^(s) draw s of prototype k:

    d_ks = |e - p_k^(s)|^2,   q_s = softmax(W^T d_s),   prediction = mean_s q_s
    loss = NLL + 10 REC + r1 R1 + .05 R2 + .05 KL
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Shaped
from sklearn.base import ClassifierMixin, TransformerMixin
from torch import Tensor, nn

from unsnarl.arrays import check_finite, check_range, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.information._overlap import largest_overlap
from unsnarl.information._predictive_uncertainty import predictive_uncertainty
from unsnarl.systems.prototypes.prob_psenn._explanation import PrototypeExplanation, explain
from unsnarl.systems.prototypes.prob_psenn._fitting import FittedToImages
from unsnarl.systems.prototypes.prob_psenn._inputs import as_images
from unsnarl.systems.prototypes.prob_psenn._task import PARTS
from unsnarl.training import stream_seed


class ProbPSENN(ClassifierMixin, TransformerMixin, FittedToImages):
    """A classifier of images that shows what it compared them with, and how sure it is of either.

    Training has three steps: the autoencoder alone; then each prototype is set to the distribution of the codes of its
    class; then everything together.

    Args:
        encoder: a network from images (n, channels, height, width) in [-1, 1] to means and log variances (n, 2 z_dim), or
            codes (n, z_dim) when not `variational`; None builds one. A copy is trained, from the weights it has.
        decoder: a network from codes to images in [-1, 1]; give both or neither.
        n_classes: when given, labels must be 0 to n_classes - 1; otherwise whatever labels there are become the classes.
        z_dim: size of the codes.
        family: of the prototypes: "full" (one Gaussian each), "diagonal", or "mixture" of two full Gaussians.
        point: True for prototypes that are points, as in Li et al. (2018): R1 and R2 then use squared distances.
        variational: False for a plain autoencoder without KL term.
        network: of the built-in networks "conv" (the paper's; images are resized to 32 x 32), "dense" (for images such as
            8 x 8), or "auto", which is dense where the longer side is below 16 pixels.
        widths: of the built-in network's hidden layers, the encoder's first; None for the paper's (four for "conv"), or
            256 and 128 for "dense".
        nll_weight: of -log softmax, averaged over draws.
        reconstruction_weight: of the mean squared error of pixels in [-1, 1].
        r1_weight: of the surprise of the observation nearest to each prototype.
        r2_weight: of the surprise of each observation under the prototype of its class.
        kl_weight: of the KL divergence of the codes from N(0, I).
        pretrain_reconstruction_weight: of the reconstruction while the autoencoder is trained alone. The authors' code has 1
            here, with which the KL term wins: codes of digits then say next to nothing (accuracy .87 instead of .99).
        train: the parts trained in the last step, of "encoder", "decoder", "prototypes" and "votes".
        refit: False keeps the random first prototypes instead of fitting them to the codes.
        augment: whether the encoder sees images of changed brightness and zoom; "auto" does so for colour images.
        pixel_range: lowest and highest value of float images; uint8 is always 0 to 255. Images come back in it.
        prior_scale: standard deviation of the prior that first prototypes are drawn from.
        reference: whose training distances the explanatory uncertainty compares with: those of the "predicted" class, or
            of the class whose prototype is "nearest".
        n_samples: draws of all prototypes in each training step.
        test_samples: draws for predictions.
        pretrain_epochs: of the autoencoder alone.
        epochs: of everything together.
        lr: of Adam.
        batch_size: observations a step.
        validation_split: share of the data that is held out; `validation_score_` is its accuracy. The paper's code holds
            out 10%; nothing is chosen by it, so that here nothing is held out unless asked for.
        seed: of weights, batches, noise and draws.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(60) % 2
        >>> bars = np.zeros((60, 6, 6)); bars[y == 0, 2] = 1; bars[y == 1, :, 2] = 1
        >>> x = np.clip(bars + 0.1 * rng.random(bars.shape), 0, 1)
        >>> model = ProbPSENN(z_dim=2, widths=(16,), batch_size=16, pretrain_epochs=20, epochs=20).fit(x, y)
        >>> model.score(x, y), model.prototype_samples(0, 3).shape
        (1.0, torch.Size([3, 1, 6, 6]))
    """

    def __init__(
        self,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        n_classes: int | None = None,
        z_dim: int = 40,
        family: str = "full",
        *,
        point: bool = False,
        variational: bool = True,
        network: str = "auto",
        widths: Sequence[int] | None = None,
        nll_weight: float = 1.0,
        reconstruction_weight: float = 10.0,
        r1_weight: float = 0.0,
        r2_weight: float = 0.05,
        kl_weight: float = 0.05,
        pretrain_reconstruction_weight: float = 10.0,
        train: Sequence[str] = PARTS,
        refit: bool = True,
        augment: bool | Literal["auto"] = "auto",
        pixel_range: tuple[float, float] = (0.0, 1.0),
        prior_scale: float = 1.0,
        reference: str = "predicted",
        n_samples: int = 10,
        test_samples: int = 200,
        pretrain_epochs: int = 30,
        epochs: int = 30,
        lr: float = 1e-3,
        batch_size: int = 128,
        validation_split: float = 0.0,
        seed: int = 0,
    ):
        self.encoder = encoder
        self.decoder = decoder
        self.n_classes = n_classes
        self.z_dim = z_dim
        self.family = family
        self.point = point
        self.variational = variational
        self.network = network
        self.widths = widths
        self.nll_weight = nll_weight
        self.reconstruction_weight = reconstruction_weight
        self.r1_weight = r1_weight
        self.r2_weight = r2_weight
        self.kl_weight = kl_weight
        self.pretrain_reconstruction_weight = pretrain_reconstruction_weight
        self.train = train
        self.refit = refit
        self.augment = augment
        self.pixel_range = pixel_range
        self.prior_scale = prior_scale
        self.reference = reference
        self.n_samples = n_samples
        self.test_samples = test_samples
        self.pretrain_epochs = pretrain_epochs
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.validation_split = validation_split
        self.seed = seed

    # ---- using ----------------------------------------------------------------------------------------------------

    def predict_proba(
        self, X: Any, n_samples: int | None = None, *, mode: bool = False
    ) -> Float[np.ndarray, "n classes"]:
        """Class probabilities: the average, over draws of all prototypes, of the softmax of their votes.

        Args:
            X: images.
            n_samples: draws, the same ones in every call; the constructor's `test_samples` when absent.
            mode: True for a single pass with the most likely prototypes instead.

        Raises:
            NotFittedError: before `fit`.
            DataError: images of another shape than those fitted.
        """
        self._check_fitted()
        images = as_images(X, self._range(), self._shape)
        return self._probabilities(images, n_samples, mode).numpy()

    def predict(self, X: Any, n_samples: int | None = None, *, mode: bool = False) -> Shaped[np.ndarray, " n"]:
        """The most probable class of each image; see `predict_proba`."""
        return self.classes_[self.predict_proba(X, n_samples, mode=mode).argmax(1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the images whose class is predicted; an unknown class counts as wrong."""
        self._check_fitted()
        images = as_images(X, self._range(), self._shape)
        if isinstance(y, str):
            y = X.table.values[y].to_numpy()
        wanted = to_numpy(y, "y")
        if wanted.shape != (len(images),):
            raise DataError(f"y must have shape ({len(images)},), got {wanted.shape}")
        right = self.classes_[self._predicted(images, None)] == wanted
        return float(np.average(right, weights=sample_weight))

    def transform(self, X: Any) -> Float[np.ndarray, "n latent"]:
        """Codes of images: the means that the encoder gives, in which distances to prototypes are taken."""
        self._check_fitted()
        return self._encoded(as_images(X, self._range(), self._shape)).numpy()

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the codes' dimensions, for scikit-learn's data frames."""
        return np.array([f"latent {i}" for i in range(self.z_dim)], dtype=object)

    def decode(self, codes: Any) -> Float[Tensor, "n channel height width"]:
        """Images of codes (n, z_dim), in the size and range of those fitted."""
        self._check_fitted()
        array = to_numpy(codes, "codes")
        if array.ndim != 2 or array.shape[1] != self.z_dim:
            raise DataError(f"codes must have shape (n, {self.z_dim}), got {array.shape}")
        check_finite(array, "codes")
        return self._decoded(torch.tensor(array, dtype=torch.float32))

    def prototype_samples(self, class_: Any, n: int = 10, *, seed: int = 0) -> Float[Tensor, "n channel height width"]:
        """Images of draws of a class's prototype; equal ones for a point prototype.

        Args:
            class_: a class as in `classes_`.
            n: how many.
            seed: of the draws.

        Raises:
            OptionError: there is no such class.
        """
        self._check_fitted()
        check_range(n, "n", low=1, integer=True)
        generator = torch.Generator().manual_seed(stream_seed(self.seed, 41, seed))
        with torch.no_grad():
            draws = self.task_.prototypes.sample(int(n), generator)[:, self._class_index(class_)]
        return self._decoded(draws)

    def uncertainty(
        self, X: Any, n_samples: int | None = None, *, overlap: bool = True
    ) -> dict[str, Float[np.ndarray, " n"]]:
        """How far predictions and explanations can be trusted.

        - "total": entropy of the average prediction, in nats; "aleatoric": average entropy of the predictions of single
          draws; "epistemic": their difference, the disagreement of the draws.
        - "explanatory_epistemic": the share of the training data of the reference class that is nearer to its prototype
          than this image, in [0, 1]; near 1 no prototype explains it.
        - "overlap": the explanatory aleatoric part, in [0, 1]: how much the distances to draws of the predicted class's
          prototype overlap with those of the class where they do most. Near 1 another class explains the image as well.

        With point prototypes there is one draw: epistemic is 0 and overlap is not defined (NaN).

        Args:
            X: images.
            n_samples: draws; only the number that training distances were stored with (`test_samples`), or another one
                after `set_reference(..., n_samples=)`.
            overlap: False leaves "overlap" out, which costs most.

        Raises:
            OptionError: another number of draws, or a single one.
            DataError: images that cannot be used, or distances that do not vary, so that they have no density.

        Cost: O(n * classes * draws * (z_dim + 512)), at most 256 images at a time in memory.
        """
        self._check_fitted()
        images = as_images(X, self._range(), self._shape)
        stored = int(self.task_.distance_samples)
        n_samples = stored if n_samples is None else n_samples
        check_range(n_samples, "n_samples", low=1, integer=True)
        if not self.point and n_samples < 2:
            raise OptionError(
                "n_samples=1: one draw cannot disagree with itself, so epistemic uncertainty needs at least 2"
            )
        if not self.point and n_samples != stored:
            raise OptionError(
                f"n_samples={n_samples}: the training distances were averaged over {stored} draws, and shares are only right "
                f"with as many; call set_reference(X, y, n_samples={n_samples}) with the training data first"
            )
        draws = self._draws(int(n_samples))

        def of_part(x: Tensor) -> dict[str, Tensor]:
            distances, q = self.task_.answers(self._to_network(x), draws)
            means, predicted = distances.mean(2), q.mean(1).argmax(1)
            reference = predicted if self.reference == "predicted" else means.argmin(1)
            far = self.task_.percentile(means.gather(1, reference[:, None])[:, 0], reference)
            if self.point:
                total = torch.special.entr(q[:, 0].double()).sum(1)
                parts = {"total": total, "aleatoric": total, "epistemic": torch.zeros_like(total)}
            else:
                found = predictive_uncertainty(q.cpu().numpy())
                parts = {name: torch.from_numpy(value) for name, value in found._asdict().items()}
            parts["explanatory_epistemic"] = far.double()
            if overlap:
                parts["overlap"] = (
                    torch.full_like(parts["total"], float("nan"))
                    if self.point
                    else torch.from_numpy(largest_overlap(distances.cpu().numpy(), predicted.cpu().numpy()))
                )
            return parts

        return {name: value.numpy() for name, value in self._in_parts(of_part, images).items()}

    def explain(self, x: Any, *, n_images: int = 8) -> PrototypeExplanation:
        """Why an image got its class: the prototypes it was compared with, what each said, and how sure that is.

        Args:
            x: one image, with or without a leading dimension of 1.
            n_images: how many draws of the predicted class's prototype to show.

        Raises:
            DataError: more than one image.
        """
        self._check_fitted()
        check_range(n_images, "n_images", low=1, integer=True)
        return explain(self, x, int(n_images))

    def vote_table(self) -> pd.DataFrame:
        """W: what one unit of squared distance to the prototype of a class (row) adds to the logit of a class (column).

        Negative on the diagonal where a near prototype speaks for its class. A positive entry lets a far prototype vote *for*
        the column's class: off the diagonal it is evidence by exclusion, on the diagonal the prototype explains nothing.
        """
        self._check_fitted()
        return pd.DataFrame(self.task_.votes.detach().numpy().copy(), index=self.classes_, columns=self.classes_)

    def _class_index(self, class_: Any) -> int:
        found = [i for i, c in enumerate(self.classes_.tolist()) if c == class_]
        if not found:
            known = ", ".join(map(repr, self.classes_.tolist()[:12]))
            raise OptionError(f"class_={class_!r} is not a class of this model; there are {known}")
        return found[0]
