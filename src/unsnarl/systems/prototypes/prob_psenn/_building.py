"""How a Prob-PSENN is built from its hyperparameters and the images it saw, and how it is saved and loaded."""

from __future__ import annotations

import copy
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unsnarl.errors import CheckpointError, OptionError
from unsnarl.nn.prototypes._gaussian import GaussianPrototypes
from unsnarl.systems._learner import Learner
from unsnarl.systems.prototypes.prob_psenn import _networks as networks
from unsnarl.systems.prototypes.prob_psenn._inputs import check_pixel_range, to_network
from unsnarl.systems.prototypes.prob_psenn._task import ClassPoints, ProbPSENNTask

SMALL = 16  # pixels; images with no side as long get the dense networks

_given: ContextVar[dict[str, Any] | None] = ContextVar("_given", default=None)


class BuiltFromImages(Learner):
    """The part of `ProbPSENN` that makes its networks, and finds them again when loading."""

    @property
    def classes_(self) -> np.ndarray:
        """The classes, sorted; the order of the columns of `predict_proba`."""
        self._check_fitted()
        return np.array(self.facts_["classes"])

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.facts_["shape"])

    def _range(self) -> tuple[float, float]:
        return check_pixel_range(self.pixel_range)  # type: ignore[attr-defined]

    def _kind(self, shape: tuple[int, ...]) -> str:
        params = self.get_params(deep=False)
        if params["encoder"] is not None:
            return "custom"
        if params["network"] == "auto":
            return "dense" if max(shape[1:]) < SMALL else "conv"
        return str(params["network"])

    def _to_network(self, images: Tensor) -> Tensor:
        """What the encoder sees: values in [-1, 1], resized where the networks are convolutional."""
        x = to_network(images, self._range())
        return networks.Resized((networks.SIDE, networks.SIDE))(x) if self._kind(self._shape) == "conv" else x

    def _make_task(self, facts: dict[str, Any]) -> ProbPSENNTask:
        p = self.get_params(deep=False)
        shape, n_classes, z = tuple(facts["shape"]), len(facts["classes"]), int(p["z_dim"])
        encoder, decoder = self._networks(shape, z, p)
        prototypes: Any = (
            ClassPoints(n_classes, z)
            if p["point"]
            else GaussianPrototypes(n_classes, z, family=p["family"], prior_scale=p["prior_scale"])
        )
        names = ("nll", "reconstruction", "r1", "r2", "kl")
        return ProbPSENNTask(
            encoder,
            decoder,
            prototypes,
            n_classes,
            variational=p["variational"],
            weights={name: float(p[f"{name}_weight"]) for name in names},
            pretrain_reconstruction=float(p["pretrain_reconstruction_weight"]),
            trained=p["train"],
            augmented=shape[0] == 3 if p["augment"] == "auto" else bool(p["augment"]),
            n_samples=int(p["n_samples"]),
            lr=p["lr"],
            stored=facts["stored"],
        )

    def _networks(self, shape: tuple[int, ...], z: int, p: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
        kind, out = self._kind(shape), 2 * z if p["variational"] else z
        if kind == "custom":
            encoder, decoder = copy.deepcopy(p["encoder"]), copy.deepcopy(p["decoder"])
            _check_networks(encoder, decoder, shape, z, out)
            return encoder, decoder
        widths = None if p["widths"] is None else tuple(int(w) for w in p["widths"])
        if kind == "dense":
            return networks.dense_encoder(shape, out, widths), networks.dense_decoder(z, shape, widths)
        if widths is not None and len(widths) != 4:
            raise OptionError(f'widths={p["widths"]!r} must be four numbers for network="conv"')
        return networks.conv_encoder(shape[0], out, widths), networks.conv_decoder(z, shape[0], widths)

    # ---- saving ---------------------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        params = self.get_params(deep=False)
        names = {
            part: f"{type(params[part]).__module__}.{type(params[part]).__qualname__}"
            for part in ("encoder", "decoder")
            if params[part] is not None
        }
        shell = copy.copy(self)
        shell.encoder = shell.decoder = None  # type: ignore[attr-defined]
        return {**super(BuiltFromImages, shell)._config(), **names}

    @classmethod
    def _params_from_config(cls, params: dict[str, Any]) -> dict[str, Any]:
        given = _given.get() or {}
        for part in ("encoder", "decoder"):
            if params.get(part) is not None and given.get(part) is None:
                raise CheckpointError(
                    f"this model was trained with its own {part}, a {params[part]}; pass one of the same architecture: "
                    f"{cls.__name__}.from_pretrained(..., encoder=..., decoder=...)"
                )
            params[part] = given.get(part)
        return super()._params_from_config(params)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
        token = _given.set({part: options.pop(part, None) for part in ("encoder", "decoder")})
        try:
            return super()._from_pretrained(model_id=model_id, **options)
        finally:
            _given.reset(token)


def _check_networks(encoder: Any, decoder: Any, shape: tuple[int, ...], z: int, out: int) -> None:
    for name, network in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(network, nn.Module):
            raise OptionError(f"{name}={network!r} must be a torch.nn.Module")
    was = encoder.training, decoder.training
    try:
        with torch.no_grad():
            code = encoder.eval()(torch.zeros(1, *shape))
            image = decoder.eval()(torch.zeros(1, z))
    except (RuntimeError, ValueError, TypeError) as error:
        raise OptionError(f"encoder and decoder cannot take one image of shape {shape}: {error}") from None
    finally:
        encoder.train(was[0])
        decoder.train(was[1])
    if tuple(code.shape) != (1, out):
        raise OptionError(f"the encoder must give (batch, {out}), gave {tuple(code.shape)}; see z_dim and variational")
    if tuple(image.shape) != (1, *shape):
        raise OptionError(f"the decoder must give images of shape {shape}, gave {tuple(image.shape[1:])}")
