"""How much room dropout leaves for superposition: effective features of a network that computes sparse parities.

Three parity tasks share one hidden layer: inputs name the task and give all tasks' bits. Dropout on the hidden
pre-activations asks every feature to be stored redundantly, so that fewer fit: Bereska et al. (2025) report up to half as many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_choice, check_range
from unsnarl.data.known._sparse_features import SparseParity, sparse_parity
from unsnarl.errors import OptionError
from unsnarl.measures.superposition._layer_activations import LayerActivations
from unsnarl.measures.superposition._measure_superposition import encode_layer
from unsnarl.measures.superposition._result import SuperpositionResult
from unsnarl.measures.superposition._train_autoencoders import train_autoencoder
from unsnarl.training import Task, TensorBatches, train

if TYPE_CHECKING:
    import pandas as pd

LARGEST_DICTIONARY = 1_024
PUBLISHED_ROWS = 1_024
MEASURED = ("all", "one stratum")


class ParityNetwork(nn.Module):
    """inputs -> fc1 -> dropout -> ReLU -> fc2 -> one logit; the dropout falls on the pre-activation.

    Args:
        inputs: columns of the data.
        hidden: H.
        dropout: share of hidden units that is switched off in training, in [0, 1).
        seed: of the first weights, those of `nn.Linear`.
    """

    def __init__(self, inputs: int = 15, hidden: int = 64, *, dropout: float = 0.0, seed: int = 0):
        super().__init__()
        check_range(hidden, "hidden", low=1, integer=True)
        check_range(dropout, "dropout", low=0, high=1 - 1e-6)
        self.fc1, self.fc2, self.dropout = nn.Linear(inputs, hidden), nn.Linear(hidden, 1), dropout
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in (self.fc1, self.fc2):
                bound = layer.in_features**-0.5
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)

    def forward(
        self, x: Float[Tensor, "batch column"], generator: torch.Generator | None = None
    ) -> Float[Tensor, " batch"]:
        """The logits; in training mode with dropout, drawn from `generator`."""
        hidden = self.fc1(x)
        if self.training and self.dropout > 0:
            kept = 1 - self.dropout
            draw = torch.rand(hidden.shape, generator=generator, device=hidden.device)
            hidden = hidden * (draw < kept) / kept
        return self.fc2(torch.relu(hidden))[:, 0]


@dataclass(frozen=True, eq=False)
class ParityOutcome:
    """One trained network, measured.

    Attributes:
        network: in evaluation mode.
        result: effective features of its fc1 pre-activations on training inputs.
        train_accuracy: share of training inputs whose parity it gets right.
        test_accuracy: the same of the test inputs.
    """

    network: ParityNetwork
    result: SuperpositionResult
    train_accuracy: float
    test_accuracy: float


class _ParityTask(Task):
    def __init__(self, network: ParityNetwork, lr: float):
        super().__init__()
        self.network, self.lr = network, lr

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        x, y = batch
        return {"loss": F.binary_cross_entropy_with_logits(self.network(x, generator), y)}


def parity_superposition(
    *,
    dropout: float = 0.0,
    hidden: int = 64,
    data: SparseParity | None = None,
    epochs: int = 300,
    batch_size: int = 64,
    lr: float = 1e-3,
    l1: float = 0.1,
    autoencoder_epochs: int = 300,
    patience: int | None = None,
    measured: Literal["all", "one stratum"] | str = "all",
    seed: int = 0,
    progress: bool = False,
    report: Callable[[float], None] | None = None,
) -> ParityOutcome:
    """Train a parity network and count the effective features of its hidden pre-activations.

    Args:
        dropout: share of hidden units switched off in training.
        hidden: H.
        data: what `sparse_parity` gives; by default three tasks of four bits, split by `seed`.
        epochs: of the network.
        batch_size: of the network; the autoencoder's is 128.
        lr: Adam's learning rate, of both.
        l1: penalty of the autoencoder.
        autoencoder_epochs: of the autoencoder.
        patience: stop the autoencoder after so many epochs without a new lowest loss; None trains all, as published.
        measured: the training inputs that are measured, see `count_parity_features`.
        seed: of everything random.
        progress: show progress on stderr.
        report: called with the share that is done.

    Raises:
        OptionError: an option out of range.

    Cost: about half a millisecond a step of the network (153 an epoch), then that of `count_parity_features`.
    """
    check_range(epochs, "epochs", low=1, integer=True)
    data = sparse_parity(seed=seed) if data is None else data
    network = ParityNetwork(data.inputs.shape[1], hidden, dropout=dropout, seed=seed)
    x, y = data.inputs[data.train], data.labels[data.train].float()
    batches = TensorBatches(x, y, batch_size=batch_size, seed=seed)
    steps = int(epochs) * batches.steps_per_epoch

    def tell(done: float) -> None:
        if report is not None:
            report(done)

    callbacks: list[Callable[[int], None]] = [lambda step: tell(0.3 * step / steps)]
    train(
        _ParityTask(network, lr),
        batches,
        steps=steps,
        seed=seed,
        progress=progress,
        label="parity",
        callbacks=callbacks,
    )
    network.eval()
    with torch.no_grad():
        right = [
            ((network(data.inputs[rows]) > 0) == (data.labels[rows] > 0)).float().mean().item()
            for rows in (data.train, data.test)
        ]
    result = count_parity_features(
        network,
        data,
        l1=l1,
        epochs=autoencoder_epochs,
        lr=lr,
        patience=patience,
        measured=measured,
        seed=seed,
        progress=progress,
    )
    tell(1.0)
    return ParityOutcome(network, result, *right)


def count_parity_features(
    network: ParityNetwork,
    data: SparseParity,
    *,
    l1: float = 0.1,
    epochs: int = 300,
    lr: float = 1e-3,
    patience: int | None = None,
    measured: Literal["all", "one stratum"] | str = "all",
    seed: int = 0,
    progress: bool = False,
) -> SuperpositionResult:
    """The effective features of a parity network's hidden pre-activations on training inputs.

    The autoencoder is untied (two biased linear layers) with D = min(1024, 4 H), trained for a fixed number of epochs, as
    published.

    Args:
        network: the trained network.
        data: what it was trained on.
        l1: penalty of the autoencoder.
        epochs: of the autoencoder.
        lr: its learning rate.
        patience: as in `parity_superposition`.
        measured: "all" training inputs, or those that the published script takes: 1,024 of "one stratum", the first task
            with label 0, since its list is ordered by task and label. That also is a tenth of the steps, after which the
            autoencoder has not converged. The two disagree on dropout.
        seed: of the autoencoder.
        progress: show progress on stderr.

    Raises:
        OptionError: an option out of range.

    Cost: for H = 64 about 0.1 s an epoch of all inputs on one core.
    """
    check_choice(measured, MEASURED, "measured")
    rows = data.train
    if measured == "one stratum":
        rows = rows[(data.task[rows] == 0) & (data.labels[rows] == 0)][:PUBLISHED_ROWS]
    with torch.no_grad():
        pre = network.fc1(data.inputs[rows])
    trained = train_autoencoder(
        pre,
        min(LARGEST_DICTIONARY, 4 * network.fc1.out_features),
        l1=l1,
        tied=False,
        epochs=epochs,
        lr=lr,
        patience=patience,
        seed=seed,
        progress=progress,
    )
    return encode_layer(LayerActivations.of(pre, samples=len(pre), seed=seed), trained, l1=l1)


def dropout_study(
    *,
    dropouts: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    hiddens: Sequence[int] = (64,),
    seeds: Sequence[int] = (0, 1, 2),
    progress: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Effective features against dropout and capacity.

    Args:
        dropouts: shares of hidden units switched off in training.
        hiddens: values of H; 16, 32, 64, 128, 256 as published.
        seeds: repetitions.
        progress: show progress on stderr.
        options: further keywords of `parity_superposition`.

    Returns:
        A row for each network: hidden, dropout, seed, F, psi, ratio (F over that without dropout, same H and seed; absent
        where 0 is not among the dropouts), fvu, reliable, train_accuracy, test_accuracy.

    Raises:
        OptionError: nothing to vary, or an option out of range.

    Cost: that of `parity_superposition` for every combination, about a minute each at the defaults.
    """
    import pandas as pd

    if not (len(dropouts) and len(hiddens) and len(seeds)):
        raise OptionError("dropouts, hiddens and seeds must each hold at least one value")
    rows = []
    for hidden in hiddens:
        for seed in seeds:
            outcomes = {
                dropout: parity_superposition(
                    dropout=dropout,
                    hidden=hidden,
                    seed=seed,
                    progress=progress,
                    **options,
                )
                for dropout in dropouts
            }
            for dropout, outcome in outcomes.items():
                result = outcome.result
                row = {"hidden": hidden, "dropout": dropout, "seed": seed, "F": result.F, "psi": result.psi}
                if 0 in outcomes:
                    row["ratio"] = result.F / outcomes[0].result.F if outcomes[0].result.F else float("nan")
                row |= {"fvu": result.fvu, "reliable": result.reliable}
                row |= {"train_accuracy": outcome.train_accuracy, "test_accuracy": outcome.test_accuracy}
                rows.append(row)
    return pd.DataFrame(rows)
