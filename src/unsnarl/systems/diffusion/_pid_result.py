"""What DiffusionPID answers: numbers, maps, a report in words and a picture."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from unsnarl.files import atomic_write
from unsnarl.information._pointwise_pid import TERMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class PIDResult:
    """What two words of a prompt tell of an image, in nats, taken apart.

    Maps have the size of the image, in nats per pixel: their sums are the totals. Of several images they are means.

    Attributes:
        prompt: in which the words stand.
        words: the two words as written there.
        redundancy: (height, width), what both words tell.
        unique_1: what the first alone tells.
        unique_2: what the second alone tells.
        synergy: what only both together tell.
        totals: each term, decided place by place and then summed.
        image_totals: each term, decided from the informations of the whole image.
        se: standard errors of `totals` over the log-SNRs.
        image_se: standard errors of `image_totals`.
        information: i1, i2 and i12: what the first, the second and both tell.
        per_image: name of a term -> its total in every image.
        conditional: whether all of it is given the rest of the prompt.
        kind: of redundancy.
        estimate: "i_o" or "i_s".
        reference: the text that information is counted from; "" is the empty prompt.
        images: (n, 3, height, width) in [-1, 1].
        passes: rows that the denoiser was asked for these words (those shared with other pairs included).
    """

    prompt: str
    words: tuple[str, str]
    redundancy: Float[np.ndarray, "height width"]
    unique_1: Float[np.ndarray, "height width"]
    unique_2: Float[np.ndarray, "height width"]
    synergy: Float[np.ndarray, "height width"]
    totals: dict[str, float]
    image_totals: dict[str, float]
    se: dict[str, float]
    image_se: dict[str, float]
    information: dict[str, float]
    per_image: dict[str, Float[np.ndarray, " n"]]
    conditional: bool
    kind: str
    estimate: str
    reference: str
    images: Float[Tensor, "n 3 height width"]
    passes: int

    def maps(self) -> dict[str, Float[np.ndarray, "height width"]]:
        """Name of a term -> its map."""
        return {name: getattr(self, name) for name in TERMS}

    def shares(self) -> dict[str, float]:
        """Each total as a share of what both words tell; nan where that is 0."""
        whole = sum(self.totals.values())
        return {name: value / whole if whole else math.nan for name, value in self.totals.items()}

    def meanings(self) -> dict[str, str]:
        """Name of a term -> what it is, with the words in it."""
        first, second = self.words
        return {
            "redundancy": f"told by both {first!r} and {second!r}",
            "unique_1": f"told by {first!r} alone",
            "unique_2": f"told by {second!r} alone",
            "synergy": f"told only by {first!r} and {second!r} together",
        }

    def text(self) -> str:
        """The report: both levels with their errors, and how to read them."""
        n = len(self.images)
        given = "given the rest of the prompt" if self.conditional else f"counted from {self.reference!r}"
        lines = [
            f"{self.words[0]!r} and {self.words[1]!r} in {self.prompt!r}: {n} image{'s' if n > 1 else ''}, nats {given}",
            f"  {'':42s} place by place     whole image",
        ]
        for name, meaning in self.meanings().items():
            lines.append(
                f"  {meaning:42s} {self.totals[name]:8.2f} ± {self.se[name]:<5.2f} {self.image_totals[name]:8.2f} ± "
                f"{self.image_se[name]:.2f}"
            )
        told = self.information
        lines.append(f"  each by itself tells {told['i1']:.2f} and {told['i2']:.2f}, both together {told['i12']:.2f}")
        lines.append("  " + self._reading())
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def _reading(self) -> str:
        if self.kind == "min":
            return (
                "Redundancy 'min': what two words tell at one place counts as shared up to the smaller amount, even if they tell "
                "different things there. Read the maps before the totals."
            )
        if self.kind == "specificity-ambiguity":
            return (
                "Redundancy 'specificity-ambiguity': with equal priors it is the larger of both, so that independent words look "
                "redundant; with priors far apart it is what the likelier word tells. Terms may be negative."
            )
        return f"Redundancy by {self.kind}."

    def draw(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The image and the four maps on one scale of colours, red above 0 and blue below.

        Args:
            path: where to write the picture as well.

        Raises:
            FileError: the file cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12.5, 3.1), layout="constrained")
        axes = figure.subplots(1, 5)
        shown = self.images.mean(0).permute(1, 2, 0).cpu().numpy() / 2 + 0.5
        axes[0].imshow(shown.clip(0, 1))
        axes[0].set_title("image" if len(self.images) == 1 else f"mean of {len(self.images)} images", fontsize=9)
        axes[0].set_xlabel(_wrapped(self.prompt), fontsize=8)
        top = max(float(np.quantile(np.abs(values), 0.995)) for values in self.maps().values()) or 1.0
        drawn = None
        for axis, (name, values) in zip(axes[1:], self.maps().items(), strict=True):
            drawn = axis.imshow(values, cmap="RdBu_r", vmin=-top, vmax=top)
            axis.set_title(f"{self.totals[name]:.1f} ± {self.se[name]:.1f} nats", fontsize=9)
            axis.set_xlabel(_wrapped(self.meanings()[name]), fontsize=8)
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
        if drawn is not None:
            figure.colorbar(drawn, ax=list(axes[1:]), shrink=0.8, label="nats per pixel")
        return _written(figure, path)


@dataclass(frozen=True)
class InformationResult:
    """What a word, or a whole prompt, tells of an image, in nats.

    Attributes:
        told: the text that is told.
        instead: the text that it is counted from: nothing, or what is given.
        map_o: (height, width), i_o in nats per pixel, the mean over images.
        map_s: the same of i_s, whose sum is log p(x|told) / p(x|instead).
        i_o: its total, the mean over images.
        i_s: likewise.
        se_o: standard error of i_o over the log-SNRs.
        se_s: of i_s.
        log_snr: at which the denoiser was asked, ascending.
        curve_o: the integrand of i_o at each, nats per unit of log-SNR, the mean over images.
        curve_s: that of i_s.
        images: (n, 3, height, width) in [-1, 1].
    """

    told: str
    instead: str
    map_o: Float[np.ndarray, "height width"]
    map_s: Float[np.ndarray, "height width"]
    i_o: float
    i_s: float
    se_o: float
    se_s: float
    log_snr: Float[np.ndarray, " k"]
    curve_o: Float[np.ndarray, " k"]
    curve_s: Float[np.ndarray, " k"]
    images: Float[Tensor, "n 3 height width"]

    def text(self) -> str:
        """The numbers in a sentence."""
        return (
            f"{self.told!r} counted from {self.instead!r}: i_o = {self.i_o:.2f} ± {self.se_o:.2f}, "
            f"i_s = {self.i_s:.2f} ± {self.se_s:.2f} nats"
        )

    def __str__(self) -> str:
        return self.text()

    def draw(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The image, the map of i_o and the curve over the log-SNR.

        Args:
            path: where to write the picture as well.

        Raises:
            FileError: the file cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9.5, 3.0), layout="constrained")
        image, place, curve = figure.subplots(1, 3)
        image.imshow((self.images.mean(0).permute(1, 2, 0).cpu().numpy() / 2 + 0.5).clip(0, 1))
        drawn = place.imshow(self.map_o, cmap="magma", vmin=0)
        place.set_title(f"{self.i_o:.1f} ± {self.se_o:.1f} nats", fontsize=9)
        figure.colorbar(drawn, ax=place, shrink=0.8, label="nats per pixel")
        curve.plot(self.log_snr, self.curve_o, label="i_o")
        curve.plot(self.log_snr, self.curve_s, label="i_s", alpha=0.6)
        curve.set_xlabel("log-SNR")
        curve.set_ylabel("nats per unit")
        curve.legend(frameon=False)
        for axis in (image, place):
            axis.set_xticks([])
            axis.set_yticks([])
        return _written(figure, path)


@dataclass(frozen=True)
class Intervention:
    """A prompt with and without a word, drawn from the same noise.

    Attributes:
        prompt: with the word.
        deleted: the word.
        left: the prompt without it.
        before: (n, 3, height, width) in [-1, 1].
        after: likewise.
        change: mean squared difference of each pair of images.
        map: (n, height, width), squared difference summed over colours.
    """

    prompt: str
    deleted: str
    left: str
    before: Float[Tensor, "n 3 height width"]
    after: Float[Tensor, "n 3 height width"]
    change: Float[np.ndarray, " n"]
    map: Float[np.ndarray, "n height width"]


def _wrapped(text: str, width: int = 30) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)).replace("$", r"\$")


def _written(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    if path is not None:
        with atomic_write(path) as file:
            figure.savefig(file, dpi=130, format=str(path).rsplit(".", 1)[-1] if "." in str(path) else "png")
    return figure
