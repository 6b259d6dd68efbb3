"""What the measure returns: F and psi, with everything that says whether they can be trusted and compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from unsnarl.errors import OptionError
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder

UNRELIABLE_FVU = 0.3


@dataclass(frozen=True, repr=False, eq=False)
class SuperpositionResult:
    """Effective features of a layer.

    Attributes:
        F: number of effective features, in [1, D]; 0 for a dead layer.
        psi: F / N, features a neuron. Above 1 there are more features than neurons, which must then interfere.
        p: share of each feature in the total activity.
        fvu: fraction of the activations' variance that the autoencoder leaves unexplained.
        l0: mean number of active features of a row.
        sae: the autoencoder.
        D: its number of features.
        N: neurons of the layer; channels of a convolution.
        l1: weight of the penalty it was trained with; None for one that was trained elsewhere.
        rows: rows encoded: inputs times positions, or tokens.
        inputs: inputs (images, texts) they come from.
        layer: name of the layer.
        site: in words, what was measured: output or input of which layer, pre-activations or post-ReLU.
        signed: whether activations are negative anywhere.
        losses: training loss of each epoch; empty for an autoencoder that was trained elsewhere.
        problems: why the number should not be taken at face value, in words; empty where nothing is known.
    """

    F: float
    psi: float
    p: Float[np.ndarray, " feature"]
    fvu: float
    l0: float
    sae: SparseAutoencoder
    D: int
    N: int
    l1: float | None
    rows: int
    inputs: int
    layer: str = ""
    site: str = ""
    signed: bool = True
    losses: Float[np.ndarray, " epoch"] = field(default_factory=lambda: np.zeros(0))
    problems: tuple[str, ...] = ()

    @property
    def reliable(self) -> bool:
        """Whether nothing is known against the number."""
        return not self.problems

    @property
    def tied(self) -> bool:
        """Whether the autoencoder decodes with its encoder's weights."""
        return self.sae.tied

    def __repr__(self) -> str:
        penalty = "" if self.l1 is None else f", l1={self.l1:g}"
        trust = "" if self.reliable else ", unreliable"
        return (
            f"SuperpositionResult(F={self.F:.1f}, psi={self.psi:.2f}; N={self.N}, D={self.D}{penalty}, "
            f"FVU={self.fvu:.3f}, L0={self.l0:.1f}{trust})"
        )

    def summary(self) -> str:
        """The finding in words, and what is known against it."""
        if self.F == 0:
            text = f"No feature is active in {self.site or 'the layer'}: F = 0."
        else:
            more = "more features than neurons" if self.psi > 1 else "no more features than neurons"
            text = (
                f"{self.site or 'The layer'}: {self.F:.1f} effective features on {self.N} neurons, {self.psi:.2f} a neuron "
                f"({more}), from a dictionary of {self.D} that leaves {self.fvu:.1%} of the variance unexplained."
            )
        return " ".join([text, *(f"Unreliable: {problem}." for problem in self.problems)])

    def row(self) -> dict[str, Any]:
        """The numbers as one row of a table."""
        names = ("layer", "F", "psi", "N", "D", "l1", "fvu", "l0", "rows", "inputs", "reliable")
        return {name: getattr(self, name) for name in names}

    def ratio(self, other: SuperpositionResult) -> float:
        """F of this one divided by F of the other, where the two may be compared.

        F depends on the dictionary and the penalty, so a ratio is given at equal D, l1 and tying only, and never of
        pre-activations to post-ReLU values.

        Raises:
            OptionError: the settings differ, or the other layer is dead.
        """
        for name, what in (("D", "D"), ("l1", "l1"), ("tied", "tied"), ("signed", "signed activations")):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise OptionError(
                    f"F can be compared only at equal settings, but {what} is {ours} here and {theirs} in the other result"
                )
        if other.F == 0:
            raise OptionError("the other result has F = 0 (a dead layer), so there is no ratio to it")
        return self.F / other.F
