"""When to lower the learning rate, when to stop, and which weights to keep, in buffers that a checkpoint saves."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

BETTER = 1e-6  # how much lower an error must be to count as the best, as in the official code
PLATEAU = 1e-4  # and by which share it must fall to be no plateau, as in torch's ReduceLROnPlateau


class Stopped(Exception):
    """Training has ended before its last step."""


class PlateauWatch(nn.Module):
    """Validation errors, and what follows from them.

    The learning rate is multiplied by `factor` when the error has not fallen for more than `patience` epochs; training
    stops when the best epoch is `early_stop` epochs ago; the weights of the best epoch are kept. All of this, and the
    table of epochs, is in buffers, so that a killed run goes on exactly as it would have.

    Args:
        parameters: what is learned, in an order that does not change.
        columns: names of the losses in the table.
        epochs: most epochs there can be.
        factor: what the learning rate is multiplied by.
        patience: epochs without a lower error that are borne.
        early_stop: epochs since the best one after which training stops.
    """

    state: Tensor
    kept: Tensor
    table: Tensor
    sums: Tensor

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        columns: Sequence[str],
        epochs: int,
        *,
        factor: float = 0.5,
        patience: int = 5,
        early_stop: int = 10,
    ):
        super().__init__()
        self.columns, self.factor, self.patience, self.early_stop = tuple(columns), factor, patience, early_stop
        object.__setattr__(self, "parameters_watched", list(parameters))  # they belong to the task, not to this module
        # epoch, best error, its epoch, error to beat, epochs without beating it, factor of the learning rate
        start = torch.tensor([0.0, torch.inf, 0.0, torch.inf, 0.0, 1.0], dtype=torch.float64)
        self.register_buffer("state", start)
        self.register_buffer("kept", self._weights())
        self.register_buffer("table", torch.full((epochs, len(self.columns) + 3), torch.nan))
        self.register_buffer("sums", torch.zeros(len(self.columns) + 1))

    def _weights(self) -> Tensor:
        watched: list[nn.Parameter] = self.parameters_watched  # type: ignore[assignment]
        return torch.cat([p.detach().flatten().float() for p in watched])

    @property
    def lr_factor(self) -> float:
        """What the learning rate is multiplied by now."""
        return float(self.state[5])

    def add(self, terms: dict[str, Tensor]) -> None:
        """Count one step's losses into the epoch's means."""
        new = torch.stack([terms[name].detach() for name in self.columns])
        self.sums += torch.cat([new, new.new_ones(1)]).to(self.sums)

    def observe(self, error: float, step: int) -> bool:
        """Take note of an epoch's validation error; whether to stop."""
        epoch, best, best_epoch, target, waited, rate = self.state.tolist()
        means = self.sums[:-1] / self.sums[-1].clamp_min(1)
        self.table[int(epoch)] = torch.cat([means, means.new_tensor([float(step), error, rate])])
        self.sums.zero_()
        epoch += 1
        if error < target * (1 - PLATEAU):
            target, waited = error, 0
        else:
            waited += 1
        if waited > self.patience:
            rate, waited = rate * self.factor, 0
        if error <= best - BETTER:
            best, best_epoch = error, epoch
            self.kept.copy_(self._weights())
        self.state.copy_(torch.tensor([epoch, best, best_epoch, target, waited, rate]))
        return epoch - best_epoch >= self.early_stop

    def restore_best(self) -> None:
        """Give the parameters the values they had after the best epoch."""
        start = 0
        with torch.no_grad():
            for p in self.parameters_watched:  # type: ignore[union-attr]
                p.copy_(self.kept[start : start + p.numel()].view_as(p))
                start += p.numel()

    def history(self, lr: float) -> pd.DataFrame:
        """One row an epoch: the mean of each loss over its steps, the validation error, the learning rate, and whether it
        is the epoch whose weights were kept.
        """
        epochs = int(self.state[0])
        table = pd.DataFrame(self.table[:epochs].cpu().numpy(), columns=[*self.columns, "step", "valid_mae", "lr"])
        table["lr"] *= lr
        table["step"] = table["step"].astype(int)
        table.insert(0, "epoch", range(1, epochs + 1))
        table["kept"] = table["epoch"] == int(self.state[2])
        return table
