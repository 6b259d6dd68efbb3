"""Training the sparse autoencoders of the measure, several of one shape at a time.

    loss = mean over n and N of (h' - h)^2  +  l1 * mean over n and D of |a|

Both terms are means, so the penalty of one feature is l1 / D. Adam, and the loss of a whole epoch decides when to stop:
after `patience` epochs without a new lowest one, with a copy of the weights of the best. The published code keeps a shallow
copy, which goes on changing: its "best" weights are the last ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder
from unsnarl.training import Task, TensorBatches, train


@dataclass(frozen=True, eq=False)
class TrainedAutoencoder:
    """An autoencoder and how it came about.

    Attributes:
        sae: the autoencoder, with the weights of its best epoch.
        losses: mean training loss of each epoch it was trained for.
        best_epoch: index of the lowest of them.
        converged: the loss had stopped falling before the epochs were used up; None where `patience` is None.
    """

    sae: SparseAutoencoder
    losses: Float[np.ndarray, " epoch"]
    best_epoch: int
    converged: bool | None


def train_autoencoder(
    activations: Float[Tensor, "n neuron"],
    features: int,
    *,
    l1: float = 0.1,
    tied: bool = True,
    epochs: int = 800,
    batch_size: int = 128,
    lr: float = 1e-3,
    patience: int | None = 10,
    seed: int = 0,
    progress: bool = False,
) -> TrainedAutoencoder:
    """One sparse autoencoder of one layer's activations, as `train_autoencoders` trains several.

    >>> trained = train_autoencoder(torch.randn(256, 4), features=8, epochs=3)
    >>> trained.sae.features, len(trained.losses)
    (8, 3)
    """
    return train_autoencoders(
        activations[None],
        features,
        l1=l1,
        tied=tied,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        seed=seed,
        progress=progress,
    )[0]


def train_autoencoders(
    activations: Float[Tensor, "member n neuron"],
    features: int,
    *,
    l1: float | Sequence[float] = 0.1,
    tied: bool = True,
    epochs: int = 800,
    batch_size: int = 128,
    lr: float = 1e-3,
    patience: int | None = 10,
    seed: int = 0,
    progress: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> list[TrainedAutoencoder]:
    """Sparse autoencoders of equal shape, trained side by side in one pass of batched matrix products.

    Each ends with the weights it would have alone, to rounding: all start from the same weights and see the same rows in the
    same order, the losses are independent and Adam treats every weight by itself. One that has stopped leaves the batch. Many
    small autoencoders cost much less than one after the other: 24 of 6 neurons and 48 features take the time of about five.

    Args:
        activations: one layer's activations for each autoencoder; `expand` for several penalties on one layer.
        features: D.
        l1: weight of the penalty, one for all or one each.
        tied: decode with the encoder's weights.
        epochs: the most epochs.
        batch_size: rows a step; a last short batch is dropped, another one each epoch.
        lr: Adam's learning rate.
        patience: epochs without a new lowest loss before an autoencoder stops; None trains all epochs and keeps the last
            weights.
        seed: of the first weights and of the order of rows.
        progress: show progress on stderr.
        report: called as report(epochs done, epochs) after each epoch.

    Raises:
        DataError: activations that are not finite.
        OptionError: a number out of range, or not one penalty for each autoencoder.
        TrainingError: a loss that is no longer finite.

    Cost: O(epochs * n * members * features * neurons).
    """
    members, rows, neurons = activations.shape
    check_range(epochs, "epochs", low=1, integer=True)
    check_range(lr, "lr", low=0, open_low=True)
    if patience is not None:
        check_range(patience, "patience", low=1, integer=True)
    if members == 0 or rows == 0:
        raise DataError(f"activations of shape {tuple(activations.shape)} hold nothing to train on")
    if not bool(torch.isfinite(activations).all()):
        raise DataError("the activations hold values that are not finite")
    penalties = [l1] * members if isinstance(l1, int | float) else list(l1)
    for penalty in penalties:
        check_range(penalty, "l1", low=0)
    if len(penalties) != members:
        raise OptionError(f"l1 has {len(penalties)} values for {members} autoencoders; give one for all, or one each")

    first = SparseAutoencoder(neurons, features, tied=tied, seed=seed)
    task = _Stack(first, torch.tensor(penalties, dtype=torch.float32), lr)
    by_row = activations.detach().float().transpose(0, 1).contiguous()  # (n, member, N): a batch takes whole rows
    batches = TensorBatches(by_row, batch_size=batch_size, seed=seed)
    per_epoch = batches.steps_per_epoch
    progress_of = _Patience(task, members, patience)

    def next_batch(step: int) -> tuple[Tensor, ...]:
        return batches(step)

    def after(step: int) -> None:
        nonlocal batches
        if step == 0 or step % per_epoch:
            return
        staying = progress_of.epoch_done(task.spent / per_epoch)
        if report is not None:
            report(step // per_epoch, int(epochs))
        if not staying.any():
            raise _AllStopped
        if not staying.all():
            task.keep(staying)
            batches = TensorBatches(batches.tensors[0][:, staying], batch_size=batch_size, seed=seed)
        task.spent.zero_()

    with contextlib.suppress(_AllStopped):
        train(
            task,
            next_batch,
            steps=int(epochs) * per_epoch,
            seed=seed,
            log_every=max(1, per_epoch),
            progress=progress,
            label="sparse autoencoder",
            callbacks=[after],
        )
    return progress_of.results(first)


class _AllStopped(Exception):
    """Leaves the training loop when no autoencoder is left in it."""


class _Stack(Task):
    """Autoencoders of one shape as three-dimensional weights, (member, ...)."""

    weight: Tensor
    bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    l1: Tensor
    spent: Tensor

    def __init__(self, first: SparseAutoencoder, l1: Float[Tensor, " member"], lr: float):
        super().__init__()
        self.tied, self.lr = first.tied, lr
        for name, value in first.state_dict().items():
            rows = value.expand(len(l1), *value.shape) if value.ndim == 2 else value.expand(len(l1), 1, len(value))
            self.register_parameter(name, nn.Parameter(rows.clone()))
        self.register_buffer("l1", l1)
        self.register_buffer("spent", torch.zeros(len(l1)))  # the losses of this epoch's steps so far

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam on everything."""
        return {"main": torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The sum of the members' losses, so that each gets its own gradient."""
        x = batch[0].transpose(0, 1)  # (member, batch, N)
        codes = torch.relu(torch.baddbmm(self.bias, x, self.weight.mT))
        if self.tied:
            reconstruction = torch.bmm(codes, self.weight)
        else:
            reconstruction = torch.baddbmm(self.decoder_bias, codes, self.decoder)
        losses = (reconstruction - x).square().mean((1, 2)) + self.l1 * codes.mean((1, 2))
        self.spent += losses.detach()
        return {"loss": losses.sum()}

    @torch.no_grad()
    def keep(self, staying: Bool[Tensor, " member"]) -> None:
        """Leave the other members out, of the optimiser's state too."""
        optimizer = self.prepare()["main"]
        for name, old in list(self.named_parameters()):
            new = nn.Parameter(old.detach()[staying])
            state = optimizer.state.pop(old)
            optimizer.state[new] = {key: value[staying] if value.ndim else value for key, value in state.items()}
            setattr(self, name, new)
        optimizer.param_groups[0]["params"] = list(self.parameters())
        self.l1, self.spent = self.l1[staying], self.spent[staying]


class _Patience:
    """Remembers each member's losses and a copy of its best weights, and says who goes on."""

    def __init__(self, task: _Stack, members: int, patience: int | None):
        self.task, self.patience = task, patience
        self.here = torch.arange(members)  # which members are still in the stack
        self.losses: list[list[float]] = [[] for _ in range(members)]
        self.best = torch.full((members,), torch.inf)
        self.best_epoch = torch.zeros(members, dtype=torch.long)
        self.stopped = [False] * members
        self.weights = {name: p.detach().clone() for name, p in task.named_parameters()}
        self.epoch = 0

    @torch.no_grad()
    def epoch_done(self, losses: Float[Tensor, " member"]) -> Bool[Tensor, " member"]:
        """Take in the epoch's mean losses; which members of the stack are to go on."""
        for member, value in zip(self.here.tolist(), losses.tolist(), strict=True):
            self.losses[member].append(value)
        better = (
            losses < self.best[self.here] if self.patience is not None else torch.ones_like(losses, dtype=torch.bool)
        )
        improved = self.here[better]
        self.best[improved], self.best_epoch[improved] = losses[better], self.epoch
        for name, parameter in self.task.named_parameters():
            self.weights[name][improved] = parameter.detach()[better]  # copies the values
        staying = torch.ones(len(self.here), dtype=torch.bool)
        if self.patience is not None:
            staying = self.epoch - self.best_epoch[self.here] < self.patience
        for member in self.here[~staying].tolist():
            self.stopped[member] = True
        self.here = self.here[staying]
        self.epoch += 1
        return staying

    def results(self, first: SparseAutoencoder) -> list[TrainedAutoencoder]:
        trained = []
        for member, losses in enumerate(self.losses):
            sae = SparseAutoencoder(**first.config())
            shapes = {name: value.shape for name, value in sae.state_dict().items()}
            sae.load_state_dict({name: self.weights[name][member].reshape(shape) for name, shape in shapes.items()})
            converged = None if self.patience is None else self.stopped[member]
            best = int(self.best_epoch[member])
            trained.append(TrainedAutoencoder(sae.eval(), np.array(losses), best, converged))
        return trained
