"""Elementary cellular automata: rows of cells whose next state is a fixed function of three neighbours (Wolfram 1983).

A row and what it becomes after some steps make a source of token rows whose randomness and whose rule are known
exactly. Run forwards, what follows from the first row has entropy zero; what differs between rules is how hard the
rule is to find for a learner of bounded means. Variants (Finzi et al. 2026, arXiv 2601.03220): the order of the two rows
("reverse": predict the earlier from the later), input bits that the learner is not shown ("induction"), and all steps
between ("emergence").
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int, UInt8

from unsnarl.arrays import check_choice, check_range, to_numpy
from unsnarl.errors import DataError, OptionError


def evolve(
    rows: Int[np.ndarray, "*batch width"] | UInt8[np.ndarray, "*batch width"] | Any, rule: int, steps: int = 1
) -> UInt8[np.ndarray, "*batch width"]:
    """The rows after some steps of a rule, with periodic ends.

    A cell whose left neighbour, own state and right neighbour read as the binary number b becomes bit b of the rule.

    >>> evolve(np.array([0, 0, 0, 1, 0, 0, 0]), rule=90)  # each cell is the sum of its neighbours, modulo 2
    array([0, 0, 1, 0, 1, 0, 0], dtype=uint8)

    Args:
        rows: cells, 0 or 1.
        rule: Wolfram's number, 0 to 255.
        steps: how many times.

    Raises:
        DataError: no cells, or other numbers than 0 and 1.
        OptionError: rule or steps out of range.

    Cost: O(cells * steps), vectorised over all cells.
    """
    check_range(rule, "rule", low=0, high=255, integer=True)
    check_range(steps, "steps", low=0, integer=True)
    cells = to_numpy(rows, "rows")
    if cells.ndim == 0 or cells.size == 0:
        raise DataError(f"rows must hold at least one row of cells, got shape {cells.shape}")
    if cells.dtype.kind not in "iub" or (cells.dtype.kind != "b" and ((cells < 0) | (cells > 1)).any()):
        raise DataError("rows must hold only 0 and 1")
    state = cells.astype(np.uint8)
    becomes = ((int(rule) >> np.arange(8)) & 1).astype(np.uint8)
    wide = np.empty((*state.shape[:-1], state.shape[-1] + 2), np.uint8)  # the row with its ends repeated
    for _ in range(int(steps)):
        wide[..., 1:-1], wide[..., 0], wide[..., -1] = state, state[..., -1], state[..., 0]
        state = becomes[4 * wide[..., :-2] + 2 * wide[..., 1:-1] + wide[..., 2:]]
    return state


class CellularAutomaton:
    """An endless source of rows: random cells, and what a rule makes of them.

    A row of tokens is `[given | predicted]`; `scored` marks the predicted part, which alone is to be learned.

    >>> source = CellularAutomaton(rule=90, width=5, steps=1)
    >>> source.sample(2, seed=0).shape, source.scored.astype(int)
    ((2, 10), array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]))

    Args:
        rule: Wolfram's number, 0 to 255.
        width: cells in a row.
        steps: how many steps lie between the two rows.
        order: "forward" gives the earlier row and asks for the later, "reverse" the other way round.
        hidden: so many cells at the start of the given row are left out ("induction"): a learner must guess them from
            what it sees of the predicted row.
        intermediate: the predicted part holds every step up to the last, row after row ("emergence"), or with a whole
            number every so many steps and the last.
        burn_in: steps before the first row, which take it from random cells to the rule's typical states. The
            default is none, so that given rows are uniform; the authors' code takes 1,000.

    Raises:
        OptionError: an option out of range, or hidden or intermediate steps in the reverse order.
    """

    vocabulary = 2

    def __init__(
        self,
        rule: int,
        width: int = 64,
        steps: int = 48,
        *,
        order: Literal["forward", "reverse"] | str = "forward",
        hidden: int = 0,
        intermediate: bool | int = False,
        burn_in: int = 0,
    ):
        check_range(rule, "rule", low=0, high=255, integer=True)
        check_range(width, "width", low=1, integer=True)
        check_range(steps, "steps", low=1, integer=True)
        check_choice(order, ("forward", "reverse"), "order")
        check_range(hidden, "hidden", low=0, high=width - 1, integer=True)
        check_range(int(intermediate), "intermediate", low=0, high=steps, integer=True)
        check_range(burn_in, "burn_in", low=0, integer=True)
        if order == "reverse" and (hidden or intermediate):
            raise OptionError("order='reverse' predicts the first row from the last; leave hidden and intermediate out")
        self.rule, self.width, self.steps, self.order = rule, width, steps, order
        self.hidden, self.intermediate, self.burn_in = hidden, intermediate, burn_in
        stride = int(intermediate) or steps
        self.shown = [*range(stride, steps, stride), steps]
        """The steps whose rows are predicted."""

    @property
    def length(self) -> int:
        """Tokens in a row."""
        return self.width - self.hidden + self.width * len(self.shown)

    @property
    def scored(self) -> Bool[np.ndarray, " length"]:
        """Which tokens are to be predicted."""
        return np.arange(self.length) >= self.width - self.hidden

    @property
    def name(self) -> str:
        """The source in words."""
        parts = [f"rule {self.rule}, width {self.width}, {self.steps} steps"]
        parts += ["reversed"] if self.order == "reverse" else []
        parts += [f"{self.hidden} hidden"] if self.hidden else []
        parts += [
            "all steps shown" if int(self.intermediate) == 1 else f"every {self.intermediate} steps shown"
        ] * bool(self.intermediate)
        return ", ".join(parts)

    def sample(self, n: int, seed: int = 0) -> UInt8[np.ndarray, "n length"]:
        """Draw rows.

        Args:
            n: how many.
            seed: the same seed gives the same rows.
        """
        check_range(n, "n", low=1, integer=True)
        state = np.random.default_rng(seed).integers(0, 2, size=(int(n), self.width), dtype=np.uint8)
        state = first = evolve(state, self.rule, self.burn_in)
        later, done = [], 0
        for step in self.shown:
            state = evolve(state, self.rule, step - done)
            later.append(state)
            done = step
        if self.order == "reverse":
            return np.concatenate([state, first], axis=1)
        return np.concatenate([first[:, self.hidden :], *later], axis=1)
