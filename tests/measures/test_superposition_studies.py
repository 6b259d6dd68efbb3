"""Toy models, dropout on sparse parities, adversarial training: that they learn, and that their numbers are what they say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.data.known._sparse_features import sparse_features, sparse_parity
from unsnarl.errors import DataError, NotFittedError, OptionError
from unsnarl.measures.superposition import (
    AdversarialSuperpositionStudy,
    DigitCNN,
    DigitMLP,
    ParityNetwork,
    ResNet18,
    ToyModel,
    count_parity_features,
    dropout_study,
    measure_activations,
    parity_superposition,
    train_autoencoder,
    train_toy_models,
)
from unsnarl.measures.superposition._adversarial_study import _RobustTask, ramp, with_slopes
from unsnarl.measures.superposition._classifiers import make_classifier
from unsnarl.objectives._attacks import classification_loss

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class TestToyModels:
    def test_by_hand(self):
        model = ToyModel(3, 2)
        W, b = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.6, 0.0]]), torch.tensor([0.0, 0.1, -0.2])
        model.load_state_dict({"weight": W, "bias": b})
        x = torch.tensor([[1.0, 1.0, 0.0]])
        assert torch.equal(model.hidden(x), torch.tensor([[1.0, 0.6]]))
        torch.testing.assert_close(model(x), torch.tensor([[1.0, 0.46, 0.0]]))
        assert model.represented == 2  # squared lengths 1, .36, 1
        assert model.frobenius == pytest.approx(2.36)

    def test_sparser_inputs_put_more_features_into_the_same_neurons_and_f_sees_it(self):
        dense, sparse = train_toy_models([0.0, 0.97], features=8, hidden=3, steps=1_000, lr=1e-2, batch_size=128)
        assert dense.represented <= 4
        assert sparse.represented >= 7
        assert sparse.frobenius > dense.frobenius + 2
        for model, sparsity in ((dense, 0.0), (sparse, 0.97)):
            x = sparse_features(4_000, 8, sparsity, seed=5)
            assert (model(x) - x).square().mean() < 0.8 * (x - x.mean(0)).square().mean()
        F = []
        for model, sparsity in ((dense, 0.0), (sparse, 0.97)):
            h = model.hidden(sparse_features(3_000, 8, sparsity, seed=5)).detach()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                F.append(measure_activations(h, expansion=8, l1=1.0, epochs=60, lr=5e-3).F)
        assert F[0] < 4
        assert F[1] > F[0] + 1.5
        assert F[1] > 4.5  # more than the three neurons

    def test_side_by_side_is_one_after_the_other(self):
        both = train_toy_models([0.5], features=4, hidden=2, steps=30, seed=3)
        again = train_toy_models([0.5], features=4, hidden=2, steps=30, seed=3)
        assert torch.equal(both[0].weight, again[0].weight)
        assert not torch.equal(
            both[0].weight, train_toy_models([0.5], features=4, hidden=2, steps=30, seed=4)[0].weight
        )

    def test_importance_decides_who_is_kept(self):
        (model,) = train_toy_models(
            [0.0], features=6, hidden=2, importance=[1, 1, 0.01, 0.01, 0.01, 0.01], steps=500, lr=2e-2, batch_size=64
        )
        lengths = model.weight.detach().square().sum(0)
        assert lengths[:2].min() > 0.5
        assert lengths[2:].max() < 0.5

    def test_bad_options(self):
        for options, message in [
            ({"sparsities": []}, "empty"),
            ({"sparsities": [1.0]}, "sparsities"),
            ({"sparsities": [0.5], "importance": [1.0]}, "importance must be 20 numbers"),
            ({"sparsities": [0.5], "steps": 0}, "steps"),
            ({"sparsities": [0.5], "hidden": 0}, "hidden"),
        ]:
            with pytest.raises(OptionError, match=message):
                train_toy_models(**options)


class TestDropout:
    def test_falls_on_the_pre_activation_and_only_in_training(self):
        network = ParityNetwork(5, 200, dropout=0.25)
        x = torch.rand(1, 5)
        pre = network.fc1(x)
        network.eval()
        assert torch.allclose(network(x), network.fc2(torch.relu(pre))[:, 0])
        network.train()
        generator = torch.Generator().manual_seed(0)
        kept = torch.rand(1, 200, generator=torch.Generator().manual_seed(0)) < 0.75
        assert 0.65 < kept.float().mean() < 0.85
        expected = network.fc2(torch.relu(pre * kept / 0.75))[:, 0]
        assert torch.allclose(network(x, generator), expected)

    def test_learns_parities_and_counts_features(self):
        data = sparse_parity(tasks=2, bits=2, test_share=0.25)
        outcome = parity_superposition(
            data=data, hidden=16, epochs=250, batch_size=16, lr=1e-2, autoencoder_epochs=30, dropout=0.0
        )
        assert outcome.train_accuracy == 1.0
        assert outcome.result.D == 64
        assert outcome.result.N == 16
        assert not outcome.result.tied
        assert outcome.result.signed
        assert len(outcome.result.losses) == 30
        with torch.no_grad():
            guess = outcome.network(data.inputs[data.test]) > 0
        assert outcome.test_accuracy == pytest.approx((guess == data.labels[data.test].bool()).float().mean().item())
        assert 1 < outcome.result.F <= 64

    def test_measures_all_training_inputs_or_the_published_ones(self):
        data, network = sparse_parity(), ParityNetwork(hidden=8)
        options = {"epochs": 1, "lr": 1e-3}
        every = count_parity_features(network, data, **options)
        assert every.rows == len(data.train)
        some = count_parity_features(network, data, measured="one stratum", **options)
        assert some.rows == 1_024
        stratum = data.train[(data.task[data.train] == 0) & (data.labels[data.train] == 0)][:1_024]
        pre = network.fc1(data.inputs[stratum]).detach()
        again = train_autoencoder(pre, 32, tied=False, epochs=1, patience=None)
        torch.testing.assert_close(some.sae.weight, again.sae.weight)
        with pytest.raises(OptionError, match="measured"):
            count_parity_features(network, data, measured="some")

    def test_the_dictionary_is_capped(self):
        data = sparse_parity(tasks=1, bits=2, test_share=0.25)
        outcome = parity_superposition(data=data, hidden=300, epochs=1, batch_size=2, autoencoder_epochs=1)
        assert outcome.result.D == 1_024

    def test_table(self):
        data = sparse_parity(tasks=1, bits=3, test_share=0.25)
        options = {"data": data, "epochs": 2, "batch_size": 4, "autoencoder_epochs": 2}
        table = dropout_study(dropouts=(0.0, 0.5), hiddens=(8, 16), seeds=(0, 1), **options)
        assert len(table) == 8
        assert set(table["hidden"]) == {8, 16}
        assert (table.loc[table["dropout"] == 0, "ratio"] == 1).all()
        one = table[(table["hidden"] == 8) & (table["seed"] == 1)].set_index("dropout")
        assert one.loc[0.5, "ratio"] == pytest.approx(one.loc[0.5, "F"] / one.loc[0.0, "F"])
        with pytest.raises(OptionError, match="dropouts"):
            dropout_study(dropouts=())
        with pytest.raises(OptionError, match="dropout"):
            parity_superposition(dropout=1.0)


def squares(n=240, classes=3, seed=0):
    """8 x 8 images with a bright patch whose place is the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = 0.2 * rng.random((n, 1, 8, 8)).astype(np.float32)
    for i, label in enumerate(y):
        row, column = divmod(label, 2)
        x[i, 0, 4 * row : 4 * row + 3, 4 * column : 4 * column + 3] += 0.5
    return x, y


class TestClassifiers:
    @pytest.mark.parametrize(
        ("kind", "shape", "widths"),
        [
            (DigitMLP, (1, 28, 28), [128, 64, 32]),
            (DigitCNN, (1, 28, 28), [16, 32, 64]),
            (ResNet18, (3, 32, 32), [64, 64, 128, 256, 512, 512]),
        ],
    )
    def test_sizes_and_measured_layers_are_the_published_ones(self, kind, shape, widths):
        net = kind(shape, 10).eval()
        sizes = []
        for name in net.measured_layers:
            net.get_submodule(name).register_forward_hook(lambda *a, sizes=sizes: sizes.append(a[2]))
        with torch.no_grad():
            assert net(torch.rand(2, *shape)).shape == (2, 10)
        assert [h.shape[1] for h in sizes] == widths
        assert all((h >= 0).all() for h in sizes)  # behind a ReLU
        assert kind(shape, 2)(torch.rand(2, *shape)).shape == (2, 1)

    def test_resnet_keeps_the_resolution_of_its_stem(self):
        net, seen = ResNet18(width=8).eval(), {}
        for name in ("relu", "layer1", "layer4"):
            net.get_submodule(name).register_forward_hook(
                lambda m, a, out, name=name: seen.update({name: out.shape[2]})
            )
        with torch.no_grad():
            net(torch.rand(1, 3, 32, 32))
        assert seen == {"relu": 32, "layer1": 32, "layer4": 4}
        assert sum(p.numel() for p in ResNet18().parameters()) == 11_173_962

    def test_seeded_without_touching_the_global_state(self):
        before = torch.random.get_rng_state()
        nets = [make_classifier("mlp", (1, 8, 8), 3, seed=s) for s in (0, 0, 1)]
        assert torch.equal(before, torch.random.get_rng_state())
        assert torch.equal(nets[0].fc1.weight, nets[1].fc1.weight)
        assert not torch.equal(nets[0].fc1.weight, nets[2].fc1.weight)
        with pytest.raises(OptionError, match="classifier"):
            make_classifier("vit", (1, 8, 8), 3)
        with pytest.raises(OptionError, match="classes"):
            make_classifier("mlp", (1, 8, 8), 1)
        with pytest.raises(OptionError, match="images"):
            make_classifier("cnn", (1, 2, 2), 3)


class TestAdversarialStudy:
    def test_epsilon_ramps_at_a_fifth_and_a_half(self):
        assert [ramp(epoch, 10) for epoch in range(10)] == [0.33] * 2 + [0.66] * 3 + [1.0] * 5

    def test_the_loss_is_half_clean_half_attacked(self):
        study = AdversarialSuperpositionStudy("mlp", epsilons=(0, 0.2), attack="fgsm", epochs=10, lr=0.5)
        network = make_classifier("mlp", (1, 8, 8), 3, width=16)
        x, y = (torch.as_tensor(a) for a in squares(30))
        task = _RobustTask(network, study, 0.2, per_epoch=3)
        losses = task("main", (x, y), 6, torch.Generator())  # step 6 is in epoch 2: .66
        attacked = study.attacked(network, x, y, 0.2 * 0.66, torch.Generator())
        clean, other = classification_loss(network(x), y), classification_loss(network(attacked), y)
        torch.testing.assert_close(losses["loss"], 0.5 * clean + 0.5 * other)
        assert other > clean
        plain = _RobustTask(network, study, 0.0, per_epoch=3)
        torch.testing.assert_close(plain("main", (x, y), 6, torch.Generator())["loss"], clean)
        rates = []
        for step in (0, 14, 15, 23):
            task.schedule(step)
            rates.append(task.prepare()["main"].param_groups[0]["lr"])
        assert rates == pytest.approx([0.5, 0.5, 0.05, 0.005])  # falls at a half and at three quarters of 30 steps

    def test_trains_and_counts_under_each_condition(self):
        x, y = squares()
        study = AdversarialSuperpositionStudy(
            "cnn",
            epsilons=(0.0, 0.1),
            attack_steps=3,
            step_size=0.05,
            width=4,
            epochs=12,
            batch_size=24,
            lr=0.05,
            layers=("conv1", "fc1"),
            autoencoder_epochs=3,
        )
        with pytest.raises(NotFittedError):
            study.measure(x, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = study.fit(x, y).measure(*squares(90, seed=1))
        assert len(table) == 2 * 2 * 2
        rows = table.set_index(["epsilon", "layer", "inputs"])
        assert rows.loc[(0.0, "fc1", "clean"), "accuracy"] > 0.9  # learned
        assert rows.loc[(0.0, "fc1", "clean"), "ratio"] == 1
        same = rows.loc[(0.0, "conv1", "clean"), "F"]
        assert rows.loc[(0.0, "conv1", "adversarial"), "F"] == pytest.approx(same)  # an attack of zero
        assert rows.loc[(0.1, "conv1", "adversarial"), "F"] != rows.loc[(0.1, "conv1", "clean"), "F"]
        expected = rows.loc[(0.1, "fc1", "adversarial"), "F"] / rows.loc[(0.0, "fc1", "clean"), "F"]
        assert rows.loc[(0.1, "fc1", "adversarial"), "ratio"] == pytest.approx(expected)
        results = study.results_
        assert results[0.1, "conv1", "clean"].N == 4
        assert results[0.1, "conv1", "clean"].D == 16
        clean, attacked = results[0.1, "fc1", "clean"].sae, results[0.1, "fc1", "adversarial"].sae
        assert not torch.equal(clean.weight, attacked.weight)  # one autoencoder for each condition

    def test_attacks_hurt_and_training_against_them_helps(self):
        x, y = squares(seed=2)
        x = 0.2 * x + 0.4  # patches that an attack of .1 can hide
        options = {"attack": "fgsm", "width": 16, "epochs": 25, "batch_size": 24, "lr": 0.05}
        study = AdversarialSuperpositionStudy("mlp", epsilons=(0.0, 0.04), **options).fit(x, y)
        x, y = (torch.as_tensor(a) for a in (x, y))
        losses = {}
        for epsilon, network in study.networks_.items():
            attacked = study.attacked(network, x, y, 0.04, torch.Generator())
            losses[epsilon] = classification_loss(network(attacked), y).item()
            assert losses[epsilon] > classification_loss(network(x), y).item()
        assert losses[0.04] < losses[0.0]

    def test_chosen_classes_are_relabelled_and_two_have_one_output(self):
        x, y = squares(120, classes=4)
        study = AdversarialSuperpositionStudy(
            "mlp", epsilons=(0.0,), classes=(1, 3), width=16, epochs=15, batch_size=10, lr=0.05, autoencoder_epochs=1
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = study.fit(x, y).measure(x, y)
        assert study.networks_[0.0].fc4.out_features == 1
        assert table["accuracy"].min() > 0.9
        assert study.results_[0.0, "relu1", "clean"].inputs == 60

    def test_scan_adds_capacity_difficulty_and_slope(self):
        x, y = squares(60)
        study = AdversarialSuperpositionStudy(
            "mlp", epsilons=(0.0, 0.1), attack="fgsm", epochs=1, batch_size=20, layers=("relu1",), autoencoder_epochs=1
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = study.scan((x, y), (x, y), widths=(4, 8), class_counts=(2, 3))
        assert len(table) == 2 * 2 * 4
        assert set(table["width"]) == {4, 8}
        assert set(table["classes"]) == {2, 3}
        one = table[(table["width"] == 4) & (table["classes"] == 3) & (table["inputs"] == "clean")]
        assert one["slope"].iloc[0] == pytest.approx((one["ratio"].iloc[1] - one["ratio"].iloc[0]) / 0.1)
        assert with_slopes(table[table["epsilon"] == 0])["slope"].isna().all()

    def test_published_settings(self):
        study, cifar = AdversarialSuperpositionStudy(), AdversarialSuperpositionStudy.cifar10(epochs=3)
        assert (study.epsilons, study.step_size, study.attack_steps) == ((0, 0.1, 0.2, 0.3), 0.01, 40)
        assert (study.lr, study.weight_decay, study.epochs, study.batch_size) == (0.01, 1e-4, 100, 256)
        assert (study.expansion, study.l1, study.samples, study.autoencoder_epochs) == (4, 0.1, 10_000, 800)
        assert (cifar.classifier, cifar.lr, cifar.weight_decay, cifar.epochs) == ("resnet18", 0.1, 5e-4, 3)
        assert cifar.epsilons == (0, 0.01, 0.02, 0.03)
        assert cifar.step_size == 2 / 255

    def test_ones_own_classifier(self):
        def build(shape, classes, width, seed):
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, classes))

        x, y = squares(60)
        study = AdversarialSuperpositionStudy(build, epsilons=(0,), epochs=1, batch_size=20, autoencoder_epochs=1)
        with pytest.raises(OptionError, match="no measured_layers"):
            study.fit(x, y).measure(x, y)

    def test_bad_input(self):
        x, y = squares(30)
        study = AdversarialSuperpositionStudy("mlp", epochs=1)
        for options, message in [
            ({"epsilons": (0.1, 0.2)}, "must hold 0"),
            ({"epsilons": (0, 8)}, "epsilons"),
            ({"attack": "cw"}, "attack"),
            ({"expansion": 0.5}, "expansion"),
            ({"epochs": 0}, "epochs"),
        ]:
            with pytest.raises(OptionError, match=message):
                AdversarialSuperpositionStudy(**options)
        with pytest.raises(DataError, match="one row an observation"):
            study.fit(x, y[:5])
        with pytest.raises(DataError, match=r"\[0, 1\]"):
            study.fit(255 * x, y)
        with pytest.raises(DataError, match="images"):
            study.fit(x[:, 0], y)
        with pytest.raises(DataError, match="fewer than two"):
            study.fit(x, np.zeros(30, dtype=int))
        with pytest.raises(DataError, match="no class 9"):
            AdversarialSuperpositionStudy("mlp", classes=(0, 9)).fit(x, y)
