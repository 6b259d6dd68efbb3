"""How adversarial training changes the number of features that a network keeps.

One classifier is trained for each epsilon, with half its loss on clean and half on attacked inputs; the effective features
of its layers are then counted, on clean and on attacked inputs, with one autoencoder for each condition trained on that
condition's own activations, and divided by those of the network trained without attack (Bereska et al. 2025). Where a
network has capacity to spare F rises with epsilon (*abundance*), where it has not F falls (*scarcity*).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range, check_same_length
from unsnarl.errors import DataError, NotFittedError, OptionError
from unsnarl.measures.superposition._classifiers import make_classifier
from unsnarl.measures.superposition._layer_activations import record_layer
from unsnarl.measures.superposition._measure_superposition import encode_layer
from unsnarl.measures.superposition._result import SuperpositionResult
from unsnarl.measures.superposition._train_autoencoders import train_autoencoder
from unsnarl.objectives._attacks import classification_loss, fgsm, pgd
from unsnarl.training import Task, TensorBatches, as_input, stream_seed, train

if TYPE_CHECKING:
    import pandas as pd

RAMP = ((0.2, 0.33), (0.5, 0.66))
"""Until a fifth of the epochs epsilon is 0.33 of its target, until half of them 0.66, then all of it."""


class AdversarialSuperpositionStudy:
    """Networks trained at several attack strengths, and the effective features of their layers.

    >>> study = AdversarialSuperpositionStudy(epsilons=(0, 0.1), epochs=1, attack_steps=1, autoencoder_epochs=1)
    >>> x, y = torch.rand(300, 1, 8, 8), torch.arange(300) % 3
    >>> table = study.fit(x, y).measure(x[:100], y[:100])  # doctest: +SKIP

    Args:
        classifier: "cnn", "mlp" or "resnet18", or a function (shape, classes, width, seed) -> network. A network of two
            classes has one output.
        epsilons: attack strengths in training, as changes of a pixel in [0, 1]; 0 must be among them, all are divided by it.
        attack: "pgd" or "fgsm".
        step_size: of PGD.
        attack_steps: of PGD.
        width: hidden width of the classifier (its capacity); None takes the published one.
        classes: labels of the classes to use, from all that the data has (the task's difficulty); None uses all.
        layers: names of the layers to measure; None takes the classifier's `measured_layers`.
        epochs: of the classifier.
        batch_size: of the classifier.
        lr: SGD's learning rate, divided by 10 at each milestone.
        momentum: SGD's momentum.
        weight_decay: SGD's weight decay.
        milestones: shares of the epochs at which the learning rate falls.
        expansion, l1, samples, autoencoder_epochs, patience: those of `measure_superposition`.
        seed: of everything random.
        progress: show progress on stderr.

    The defaults are those published for MNIST with the CNN; `cifar10` has the others.

    Attributes:
        networks_: epsilon -> trained network, after `fit`.
        results_: (epsilon, layer, "clean" or "adversarial") -> `SuperpositionResult`, after `measure`.

    Raises:
        OptionError: an option that is not allowed.
    """

    def __init__(
        self,
        classifier: str | Callable[..., nn.Module] = "cnn",
        *,
        epsilons: Sequence[float] = (0.0, 0.1, 0.2, 0.3),
        attack: str = "pgd",
        step_size: float = 0.01,
        attack_steps: int = 40,
        width: int | None = None,
        classes: Sequence[int] | None = None,
        layers: Sequence[str] | None = None,
        epochs: int = 100,
        batch_size: int = 256,
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        milestones: Sequence[float] = (0.5, 0.75),
        expansion: float = 4,
        l1: float = 0.1,
        samples: int = 10_000,
        autoencoder_epochs: int = 800,
        patience: int | None = 10,
        seed: int = 0,
        progress: bool = False,
    ):
        check_choice(attack, ("pgd", "fgsm"), "attack")
        for epsilon in epsilons:
            check_range(epsilon, "epsilons", low=0, high=1)
        if 0 not in epsilons:
            raise OptionError(f"epsilons={tuple(epsilons)} must hold 0: every F is divided by that of epsilon 0")
        check_range(epochs, "epochs", low=1, integer=True)
        check_range(expansion, "expansion", low=1)
        for milestone in milestones:
            check_range(milestone, "milestones", low=0, high=1)
        self.classifier, self.epsilons, self.attack = classifier, tuple(sorted(set(epsilons))), attack
        self.step_size, self.attack_steps, self.width = step_size, attack_steps, width
        self.classes, self.layers = classes, layers
        self.epochs, self.batch_size, self.lr, self.momentum = epochs, batch_size, lr, momentum
        self.weight_decay, self.milestones = weight_decay, tuple(milestones)
        self.expansion, self.l1, self.samples = expansion, l1, samples
        self.autoencoder_epochs, self.patience = autoencoder_epochs, patience
        self.seed, self.progress = seed, progress

    @classmethod
    def cifar10(cls, **options: Any) -> AdversarialSuperpositionStudy:
        """The settings published for CIFAR-10: ResNet-18, epsilons 0 to 0.03, ten steps of 2/255, 200 epochs."""
        published: dict[str, Any] = {
            "classifier": "resnet18",
            "epsilons": (0.0, 0.01, 0.02, 0.03),
            "step_size": 2 / 255,
            "attack_steps": 10,
            "epochs": 200,
            "lr": 0.1,
            "weight_decay": 5e-4,
        }
        return cls(**(published | options))

    def fit(self, x: Any, y: Any) -> AdversarialSuperpositionStudy:
        """Train one network for each epsilon.

        Args:
            x: images (n, channels, height, width) in [0, 1], or uint8.
            y: their labels.

        Raises:
            DataError: arrays that do not fit each other, images outside [0, 1], or fewer than two classes.
            TrainingError: a loss that is no longer finite.

        Cost: epochs * n passes, each with `attack_steps` more for the attack where epsilon is above 0.
        """
        x, y = _tensors(x, y)
        self.classes_ = sorted(set(y.tolist())) if self.classes is None else list(self.classes)
        if len(set(self.classes_)) < 2:
            raise DataError(f"classes {self.classes_} are fewer than two")
        x, y = self._chosen(x, y)
        self.networks_ = {epsilon: self._train(epsilon, x, y) for epsilon in self.epsilons}
        return self

    def _chosen(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of the chosen classes, with labels 0, 1, ... in their order."""
        place = {label: number for number, label in enumerate(self.classes_)}
        missing = set(place) - set(y.tolist())
        if missing:
            raise DataError(f"the labels have no class {', '.join(map(str, sorted(missing)))}")
        rows = torch.tensor([label in place for label in y.tolist()])
        return x[rows], torch.tensor([place[label] for label in y[rows].tolist()])

    def _train(self, epsilon: float, x: Tensor, y: Tensor) -> nn.Module:
        shape, classes = tuple(x.shape[1:]), len(self.classes_)
        if isinstance(self.classifier, str):
            network = make_classifier(self.classifier, shape, classes, width=self.width, seed=self.seed)
        else:
            network = self.classifier(shape, classes, self.width, self.seed)
        batches = TensorBatches(x, y, batch_size=self.batch_size, seed=self.seed)
        steps = int(self.epochs) * batches.steps_per_epoch
        task = _RobustTask(network, self, epsilon, batches.steps_per_epoch)
        label = f"classifier, epsilon {epsilon:g}"
        train(task, batches, steps=steps, seed=self.seed, progress=self.progress, label=label)
        return network.eval()

    def attacked(self, network: nn.Module, x: Tensor, y: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
        """The inputs after the study's attack at this strength."""
        if epsilon == 0:
            return x
        if self.attack == "fgsm":
            return fgsm(network, x, y, epsilon)
        steps, size = self.attack_steps, self.step_size
        return pgd(network, x, y, epsilon, step_size=size, steps=steps, generator=generator)

    def measure(self, x: Any, y: Any) -> pd.DataFrame:
        """Count the features of every layer of every network, on clean inputs and under that network's own attack.

        Args:
            x: images; those of the chosen classes, at most `samples` of them, are used.
            y: their labels.

        Returns:
            A row for each epsilon, layer and kind of input: epsilon, layer, inputs, F, psi, ratio (to the clean inputs of
            the network trained without attack; nan where that layer is dead), fvu, reliable, accuracy (of that network on those inputs).

        Raises:
            NotFittedError: before `fit`.
            DataError: as `fit`.

        Cost: one attack of all inputs for each epsilon, and one autoencoder for each row of the table.
        """
        import pandas as pd

        if not hasattr(self, "networks_"):
            raise NotFittedError("fit the study before it can measure")
        x, y = self._chosen(*_tensors(x, y))
        generator = torch.Generator().manual_seed(stream_seed(self.seed, 7))
        chosen = torch.randperm(len(x), generator=generator)[: self.samples]
        x, y = x[chosen], y[chosen]
        self.results_: dict[tuple[float, str, str], SuperpositionResult] = {}
        rows = []
        for epsilon, network in self.networks_.items():
            layers = self.layers or getattr(network, "measured_layers", None)
            if layers is None:
                raise OptionError("the classifier has no measured_layers; name the layers to measure as layers=")
            clean = as_input(x).split(self.batch_size)
            labels = y.split(self.batch_size)
            changed = [
                self.attacked(network, part, label, epsilon, generator)
                for part, label in zip(clean, labels, strict=True)
            ]
            for kind, inputs in (("clean", clean), ("adversarial", changed)):
                accuracy = _accuracy(network, inputs, labels)
                for layer in layers:
                    result = self._count(network, layer, inputs)
                    self.results_[epsilon, layer, kind] = result
                    row = {"epsilon": epsilon, "layer": layer, "inputs": kind, "F": result.F, "psi": result.psi}
                    plain = self.results_[0, layer, "clean"].F
                    row["ratio"] = result.F / plain if plain else float("nan")
                    rows.append(row | {"fvu": result.fvu, "reliable": result.reliable, "accuracy": accuracy})
        return pd.DataFrame(rows)

    def _count(self, network: nn.Module, layer: str, inputs: Sequence[Tensor]) -> SuperpositionResult:
        seen = record_layer(network, layer, inputs, inputs=None, samples=self.samples, seed=self.seed)
        trained = train_autoencoder(
            seen.sample,
            int(self.expansion * seen.neurons),
            l1=self.l1,
            epochs=self.autoencoder_epochs,
            patience=self.patience,
            seed=self.seed,
            progress=self.progress,
        )
        return encode_layer(seen, trained, l1=self.l1)

    def scan(
        self,
        train_data: tuple[Any, Any],
        test_data: tuple[Any, Any],
        *,
        widths: Sequence[int | None] = (None,),
        class_counts: Sequence[int] = (10,),
    ) -> pd.DataFrame:
        """The study at several capacities and difficulties: the first 2, 3, ... classes, several hidden widths.

        Args:
            train_data: images and labels that the classifiers learn from.
            test_data: those that are measured.
            widths: hidden widths.
            class_counts: how many classes, the smallest labels first.

        Returns:
            The tables of `measure` one below the other, with columns width and classes, and `slope`: the slope of that
            layer's F(epsilon) / F(0) in epsilon over all epsilons; above 0 in abundance, below in scarcity.

        Cost: that of `fit` and `measure` for every combination.
        """
        import pandas as pd

        names = [n for n in vars(self) if not n.endswith("_")]
        labels = sorted(set(_tensors(*train_data)[1].tolist()))
        tables = []
        for width in widths:
            for count in class_counts:
                check_range(count, "class_counts", low=2, high=len(labels), integer=True)
                options = {name: getattr(self, name) for name in names} | {"width": width, "classes": labels[:count]}
                table = type(self)(**options).fit(*train_data).measure(*test_data)
                tables.append(with_slopes(table).assign(width=width, classes=count))
        return pd.concat(tables, ignore_index=True)


def with_slopes(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `measure` with the least-squares slope of the ratio in epsilon, a layer and kind of input at a time."""
    slopes = {
        key: np.polyfit(part["epsilon"], part["ratio"], 1)[0] if part["epsilon"].nunique() > 1 else float("nan")
        for key, part in table.groupby(["layer", "inputs"])
    }
    return table.assign(slope=[slopes[key] for key in zip(table["layer"], table["inputs"], strict=True)])


class _RobustTask(Task):
    """loss = .5 * loss(clean) + .5 * loss(attacked), with an attack that grows to its full strength."""

    def __init__(self, network: nn.Module, study: AdversarialSuperpositionStudy, epsilon: float, per_epoch: int):
        super().__init__()
        self.network = network
        self.study, self.epsilon, self.per_epoch = study, epsilon, per_epoch

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """SGD with momentum."""
        s = self.study
        sgd = torch.optim.SGD(self.network.parameters(), lr=s.lr, momentum=s.momentum, weight_decay=s.weight_decay)
        return {"main": sgd}

    def schedule(self, step: int) -> Sequence[str]:
        """The one phase; sets its learning rate."""
        share = step / (self.study.epochs * self.per_epoch)
        for group in self.prepare()["main"].param_groups:
            group["lr"] = self.study.lr * 0.1 ** sum(share >= milestone for milestone in self.study.milestones)
        return ("main",)

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The losses; without an attack the clean one alone."""
        x, y = batch
        clean = classification_loss(self.network(x), y)
        epsilon = self.epsilon * ramp(step // self.per_epoch, self.study.epochs)
        if epsilon == 0:
            return {"loss": clean}
        attacked = classification_loss(self.network(self.study.attacked(self.network, x, y, epsilon, generator)), y)
        return {"loss": 0.5 * clean + 0.5 * attacked, "clean": clean, "attacked": attacked}


def ramp(epoch: int, epochs: int) -> float:
    """The share of the target epsilon in an epoch: 0.33 for a fifth of them, 0.66 until half, then 1."""
    for end, share in RAMP:
        if epoch < end * epochs:
            return share
    return 1.0


def _tensors(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    check_same_length(x=x, y=y)
    if x.ndim != 4 or not len(x):
        raise DataError(f"x must be images (n, channels, height, width), got shape {tuple(x.shape)}")
    if x.dtype != torch.uint8:
        x = x.float()
        if not (x.min() >= 0 and x.max() <= 1):
            raise DataError(f"x must lie in [0, 1], but ranges from {x.min():.3g} to {x.max():.3g}")
    return x, y.long()


@torch.no_grad()
def _accuracy(network: nn.Module, inputs: Sequence[Tensor], labels: Sequence[Tensor]) -> float:
    right = total = 0
    for x, y in zip(inputs, labels, strict=True):
        logits = network(x)
        guess = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
        right, total = right + int((guess == y).sum()), total + len(y)
    return right / total
