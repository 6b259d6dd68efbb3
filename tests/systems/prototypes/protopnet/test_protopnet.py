import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, FileError, NotFittedError, OptionError
from unsnarl.systems.prototypes.protopnet import ProtoPNet, SmallCNN, receptive_field
from unsnarl.systems.prototypes.protopnet._backbones import HubBackbone, hub_backbone, map_shape
from unsnarl.systems.prototypes.protopnet._explanation import enlarged, peak_box
from unsnarl.systems.prototypes.protopnet._plan import training_plan

SMALL = {
    "per_class": 2,
    "dim": 8,
    "epochs": 12,
    "warm_epochs": 2,
    "push_start": 5,
    "push_every": 6,
    "last_epochs": 4,
    "lr_backbone": 3e-3,
    "lr": 5e-3,
    "lr_last": 1e-2,
    "gamma": 0.5,
    "batch_size": 16,
}


class Tiny(nn.Module):
    """Two strided convolutions: images of 16 pixels to maps of 4 x 4."""

    def __init__(self, channels=3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU()
        )

    def forward(self, x):
        return self.body(x)


def tiny(seed=0, channels=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Tiny(channels)


def patches(n=96, seed=0):
    """Three classes: a bright square that is red, green or blue, somewhere on grey noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.3, 0.5, size=(n, 3, 16, 16)).astype(np.float32)
    y = np.arange(n) % 3
    for image, c in zip(x, y, strict=True):
        top, left = rng.integers(0, 10, size=2)
        image[c, top : top + 6, left : left + 6] = 0.95
    return np.rint(x * 255).astype(np.uint8), np.array(["red", "green", "blue"])[y]


@pytest.fixture(scope="module")
def data():
    return patches()


@pytest.fixture(scope="module")
def model(data):
    return ProtoPNet(tiny(), **SMALL).fit(*data, log_every=6)


def fresh(data, **options):
    return ProtoPNet(tiny(), **(SMALL | {"epochs": 1, "last_epochs": 0} | options)).fit(*data)


def unpushed(data):
    """A model whose prototypes are not on patches, where the similarity is so steep (-1e4) that rounding shows."""
    model = fresh(data)
    with torch.no_grad():
        model.task_.prototypes.vectors.add_(0.1)
        noise = torch.randn(model.task_.last.weight.shape, generator=torch.Generator().manual_seed(0))
        model.task_.last.weight.add_(0.1 * noise)
    return model


# ---- parity with the equations ------------------------------------------------------------------------------------


def plain_forward(task, x):
    """NumPy from the equations, from the backbone's map on: distances, similarities, scores."""
    w = {name: value.detach().numpy().astype(float) for name, value in task.state_dict().items()}
    with torch.no_grad():
        maps = task.backbone(task.to_network(torch.as_tensor(x))).numpy().astype(float)
    hidden = np.einsum("oc,bchw->bohw", w["add_on.0.weight"][:, :, 0, 0], maps) + w["add_on.0.bias"][:, None, None]
    out = np.einsum("oc,bchw->bohw", w["add_on.2.weight"][:, :, 0, 0], np.maximum(hidden, 0))
    z = 1 / (1 + np.exp(-(out + w["add_on.2.bias"][:, None, None])))
    p = w["prototypes.vectors"]
    d = np.array([[((zi - pj[:, None, None]) ** 2).sum(axis=0) for pj in p] for zi in z])
    g = np.log((d + 1) / (d + 1e-4))
    return d, g, g.reshape(*g.shape[:2], -1).max(axis=2) @ w["last.weight"].T


class TestParity:
    def test_forward_pass(self, data):
        model, x = unpushed(data), data[0][:10]
        d, g, logits = plain_forward(model.task_, x.astype(np.float32) / 255)
        with torch.no_grad():
            ours = model.task_.distances(torch.from_numpy(x).float() / 255).numpy()
        np.testing.assert_allclose(ours, d, atol=1e-5)
        np.testing.assert_allclose(model.similarity_map(x).numpy(), g, atol=1e-5)
        np.testing.assert_allclose(model.decision_function(x), logits, atol=1e-5)
        np.testing.assert_allclose(model.transform(x), g.reshape(*g.shape[:2], -1).max(axis=2), atol=1e-5)

    def test_every_term_of_the_loss(self, data):
        model = unpushed(data)
        task = model.task_
        x, y = data[0][:12].astype(np.float32) / 255, np.searchsorted(model.classes_, data[1][:12])
        d, _, logits = plain_forward(task, x)
        d = d.reshape(*d.shape[:2], -1).min(axis=2)
        class_of = np.repeat([0, 1, 2], 2)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        expected = {
            "cross_entropy": -log_p[np.arange(12), y].mean(),
            "cluster": np.mean([d[i, class_of == c].min() for i, c in enumerate(y)]),
            "separation": np.mean([d[i, class_of != c].min() for i, c in enumerate(y)]),
            "l1": sum(
                abs(w.item()) for c, row in enumerate(task.last.weight) for j, w in enumerate(row) if class_of[j] != c
            ),
        }
        expected["loss"] = (
            expected["cross_entropy"]
            + 0.8 * expected["cluster"]
            - 0.08 * expected["separation"]
            + 1e-4 * expected["l1"]
        )
        with torch.no_grad():
            nearest = task.prototypes.nearest(task.distances(torch.from_numpy(x)))[0]
            ours = task.losses(nearest, torch.from_numpy(y))
            last = task.last_losses(task.prototypes.similarity(nearest), torch.from_numpy(y))
        for name, value in expected.items():
            assert float(ours[name]) == pytest.approx(value, abs=1e-5), name
        assert float(last["loss"]) == pytest.approx(expected["cross_entropy"] + 1e-4 * expected["l1"], abs=1e-5)

    def test_first_weights_and_layers(self, data):
        model = ProtoPNet(tiny(), **SMALL)
        facts = model._facts(model._images(data[0], fitting=True), ["a", "b", "c"])
        task = model._build(facts)
        assert task.last.bias is None
        own = np.repeat(np.arange(3), 2)[None] == np.arange(3)[:, None]
        assert (task.last.weight.detach().numpy() == np.where(own, 1, -0.5)).all()
        assert [type(layer).__name__ for layer in task.add_on] == ["Conv2d", "ReLU", "Conv2d", "Sigmoid"]
        assert (task.add_on[0].bias == 0).all()


# ---- training -----------------------------------------------------------------------------------------------------


class TestPlan:
    def test_published_order(self):
        plan = training_plan(31, warm=5, push_start=10, push_every=10, last=20)
        pushes = [i for i, e in enumerate(plan) if e.push]
        assert [e.phase for e in plan[:6]] == ["warm"] * 5 + ["joint"]
        assert pushes == [10, 40, 70]
        assert all(e.phase == "last" for i in pushes for e in plan[i + 1 : i + 21])
        assert len(plan) == 31 + 60
        assert [e.joint for e in plan if e.phase == "joint"] == list(range(26))

    def test_it_ends_with_a_push(self):
        plan = training_plan(4, warm=1, push_start=10, push_every=10, last=2)
        assert [(e.phase, e.push) for e in plan][3:] == [("joint", True), ("last", False), ("last", False)]

    def test_joint_rates_decay_in_steps(self, data):
        model = ProtoPNet(tiny(), **(SMALL | {"epochs": 8, "warm_epochs": 1, "decay_every": 3, "gamma": 0.1}))
        rates = {}

        def note(step, learner):
            optimizer = learner.task_.optimizers_["joint"]
            rates[step] = [g["lr"] for g in optimizer.param_groups]

        model.fit(*data, callbacks=[note])
        spe = 96 // 16
        for joint in range(7):
            step = (1 + joint) * spe + 1 + (4 * spe if joint >= 5 else 0)  # a push after epoch 5 puts 4 epochs between
            factor = 0.1 ** (joint // 3)
            np.testing.assert_allclose(rates[step], [3e-3 * factor, 5e-3 * factor, 5e-3 * factor])

    def test_phases_train_what_they_should(self, data):
        """Warm-up leaves backbone and last layer, joint training the last layer, the last phase everything but itself."""
        seen = {}

        def note(step, learner):
            if step in (0, 6, 12):
                seen[step] = {n: t.clone() for n, t in learner.task_.state_dict().items()}

        model = ProtoPNet(tiny(), **(SMALL | {"epochs": 2, "warm_epochs": 1, "last_epochs": 3, "push_start": 1}))
        model.fit(*data, callbacks=[note])
        final = model.task_.state_dict()

        def moved(a, b):
            return {
                n.split(".")[0]
                for n in a
                if a[n].is_floating_point() and "running" not in n and not torch.equal(a[n], b[n])
            }

        assert moved(seen[0], seen[6]) == {"add_on", "prototypes"}
        assert moved(seen[6], seen[12]) == {"backbone", "add_on", "prototypes"}
        assert moved(seen[12], final) == {"last"}
        assert all(torch.equal(seen[12][n], final[n]) for n in final if "running" in n)


class TestFit:
    def test_it_learns(self, model):
        x, y = patches(60, seed=9)
        assert model.score(x, y) > 0.9
        assert model.push_state_ == "pushed"
        assert set(model.classes_) == {"red", "green", "blue"}

    def test_losses_are_logged_for_each_phase(self, model):
        assert {"warm.loss", "joint.cluster", "joint.separation", "last.l1", "last.accuracy"} <= set(model.history_)
        warm = model.history_["warm.cross_entropy"].dropna()
        last = model.history_["last.cross_entropy"].dropna()
        assert last.iloc[-1] < 0.5 * warm.iloc[0]

    def test_a_killed_run_ends_with_the_same_bits(self, data, tmp_path):
        class Killed(Exception):
            pass

        def kill(step, _):
            if step == 51:  # in the second epoch of the last layer
                raise Killed

        options = {**SMALL, "epochs": 7, "last_epochs": 3}
        whole = ProtoPNet(tiny(), **options).fit(*data, run=tmp_path / "whole", checkpoint_every=4)
        with pytest.raises(Killed):
            ProtoPNet(tiny(), **options).fit(*data, run=tmp_path / "cut", checkpoint_every=4, callbacks=[kill])
        rest = ProtoPNet(tiny(), **options).fit(*data, run=tmp_path / "cut", checkpoint_every=4)
        for name, value in whole.task_.state_dict().items():
            assert torch.equal(value, rest.task_.state_dict()[name]), name

    def test_augmentation_is_for_training_only(self, data):
        seen = []

        def mirror(x, generator):
            seen.append(float(torch.rand(1, generator=generator)))
            return x.flip(3)

        model = ProtoPNet(tiny(), **(SMALL | {"epochs": 3, "last_epochs": 2})).fit(*data, augment=mirror)
        assert len(seen) == 5 * 6
        assert len(set(seen)) == len(seen)
        assert model.push_state_ == "pushed"  # running statistics stay while the last layer learns
        shown = data[0][model.task_.source.numpy()]
        assert (model.task_.images.numpy() == shown).all()

    def test_floats_and_bytes_are_one(self, data):
        a = fresh(data)
        b = fresh((data[0] / np.float32(255), data[1]))
        np.testing.assert_allclose(
            a.decision_function(data[0][:5]), b.decision_function(data[0][:5] / np.float32(255)), atol=1e-4
        )

    def test_grey_images(self, data):
        x = data[0][:, :1]
        model = ProtoPNet(tiny(channels=1), **(SMALL | {"epochs": 1})).fit(x, data[1])
        assert model.prototype_images()[0].shape[0] == 1

    def test_built_in_network(self, data):
        model = ProtoPNet(n_classes=3, **(SMALL | {"epochs": 1, "last_epochs": 1})).fit(*data)
        assert model.similarity_map(data[0][:2]).shape == (2, 6, 2, 2)


# ---- push, prune --------------------------------------------------------------------------------------------------


class TestPush:
    def test_prototypes_are_latent_patches_of_their_class(self, model, data):
        task, table = model.task_, model.prototype_table()
        assert (data[1][table["image"]] == table["class"]).all()
        with torch.no_grad():
            z = task.latents(torch.from_numpy(data[0][table["image"]]).float() / 255)
        for j, (row, column) in enumerate(zip(table["row"], table["column"], strict=True)):
            torch.testing.assert_close(z[j, :, row, column], task.prototypes.vectors[j].detach(), atol=1e-5, rtol=0)
        maps = model.similarity_map(data[0][table["image"]])
        largest = maps[torch.arange(6), torch.arange(6)].amax(dim=(1, 2))
        assert float(largest.min()) > 8  # log(1e4) = 9.21 up to rounding

    def test_state_is_told(self, data):
        model = fresh(data)
        assert model.push_state_ == "pushed"
        with torch.no_grad():
            model.task_.backbone.body[0].weight[0, 0, 0, 0] += 1e-4
        assert model.push_state_ == "stale"
        for call in (model.prototype_images, model.prototype_table, lambda: model.explain(data[0][:1])):
            with pytest.raises(NotFittedError, match=r"trained after the last push.* call push\(X, y\) again"):
                call()
        assert model.push(*data).push_state_ == "pushed"
        with torch.no_grad():
            model.task_.last.weight += 1
        assert model.push_state_ == "pushed"  # the last layer is not before the prototypes
        model.task_.train()("warm", (torch.rand(4, 3, 16, 16), torch.zeros(4, dtype=torch.long)), 0, torch.Generator())
        model.task_.eval()
        assert model.push_state_ == "stale"  # running statistics count
        model.task_.pushed.fill_(False)
        with pytest.raises(NotFittedError, match="not patches of images yet"):
            model.prototype_images()

    def test_a_class_without_images(self, data):
        model = fresh(data)
        rows = data[1] != "red"
        with pytest.raises(DataError, match="there is no input of class 2 to push"):
            model.push(data[0][rows], data[1][rows])
        with pytest.raises(DataError, match="y holds 'pink', which is not one of the classes: blue, green, red"):
            model.push(data[0][:2], ["pink", "red"])


class TestPrune:
    def test_what_stands_for_no_class_goes(self, data):
        model = fresh(data, epochs=12, per_class=3)
        with torch.no_grad():  # a prototype of "blue" at a place of "red"
            model.task_.prototypes.vectors[0] = model.task_.prototypes.vectors[7]
        model.task_.checksums[1] = model.task_.checksum()[1]
        own = model._nearest(
            model._images(data[0]), model._label_numbers(data[1], data[0]), 6, own_only=False
        ).own_among()
        before, kept = model.task_.last.weight.detach().clone(), own >= 3
        assert not kept[0]
        model.prune(*data, k=6, at_least=3)
        assert len(model.task_.prototypes) == int(kept.sum())
        assert torch.equal(model.task_.last.weight.detach(), before[:, kept])
        assert len(model.prototype_images()) == int(kept.sum())
        assert model.predict(data[0]).shape == (96,)

    def test_last_layer_learns_afterwards_and_it_saves(self, data, tmp_path):
        model = fresh(data, epochs=6, last_epochs=3, per_class=3)
        rows = len(model.history_)
        with torch.no_grad():
            model.task_.prototypes.vectors[0] = model.task_.prototypes.vectors[7]
        model.task_.checksums[1] = model.task_.checksum()[1]
        model.prune(*data)
        assert len(model.history_) > rows
        assert model.push_state_ == "pushed"
        model.save_pretrained(tmp_path)
        again = ProtoPNet.from_pretrained(tmp_path, backbone=tiny(5))
        np.testing.assert_array_equal(again.decision_function(data[0][:4]), model.decision_function(data[0][:4]))

    def test_a_class_keeps_its_best(self, data):
        model = fresh(data)
        with pytest.warns(UserWarning, match=r"none of the prototypes of class '.*' has 6 of its class among its 6"):
            model.prune(data[0], np.roll(data[1], 1), k=6, at_least=6)
        assert set(model.class_of_) == {"red", "green", "blue"}

    def test_bad_options(self, model, data):
        with pytest.raises(OptionError, match="at_least=7 must be"):
            model.prune(*data, k=6, at_least=7)


# ---- explanations -------------------------------------------------------------------------------------------------


class TestExplain:
    def test_contributions_add_up_to_the_score(self, model, data):
        for image, explanation in zip(data[0][:4], model.explain(data[0][:4], top=6), strict=True):
            assert explanation.prediction == model.predict(image[None])[0]
            assert sum(e.contribution for e in explanation.evidence) == pytest.approx(explanation.logit, abs=1e-4)
            assert explanation.shown_share == pytest.approx(1)
            assert explanation.probability == pytest.approx(model.predict_proba(image[None]).max(), abs=1e-5)
            order = [e.contribution for e in explanation.evidence]
            assert order == sorted(order, reverse=True)
            for e in explanation.evidence:
                assert e.contribution == pytest.approx(e.similarity * e.weight, abs=1e-5)
                top, bottom, left, right = e.box
                assert e.patch.shape == (3, bottom - top, right - left)
                assert e.heat_map.shape == (16, 16)

    def test_heat_map_points_at_the_square(self, model, data):
        hits = []
        for image, label, explanation in zip(*data, model.explain(data[0], top=1), strict=True):
            channel = ["red", "green", "blue"].index(label)
            square = image[channel] > 200
            top, bottom, left, right = explanation.evidence[0].box
            hits.append(square[top:bottom, left:right].any())
        assert np.mean(hits) > 0.9

    def test_prototype_patch_is_a_part_of_its_image(self, model, data):
        e = model.explain(data[0][0])[0].evidence[0]
        top, bottom, left, right = e.prototype_box
        assert (e.prototype_patch == data[0][e.source][:, top:bottom, left:right]).all()
        assert "looks like prototype" in str(model.explain(data[0][0])[0])

    def test_without_images(self, data):
        model = fresh(data, keep_images=False)
        with pytest.raises(OptionError, match="keep_images=True"):
            model.prototype_images()
        assert model.explain(data[0][:1])[0].evidence[0].prototype_patch is None

    def test_peak_box(self):
        heat = np.zeros((10, 10))
        heat[2:4, 5:8] = 1
        assert peak_box(heat) == (2, 4, 5, 8)
        assert enlarged(np.ones((2, 3, 4, 4)), (8, 12)).shape == (2, 3, 8, 12)

    def test_receptive_field(self, model):
        """Two 3 x 3 convolutions of stride 2 with padding 1: 7 pixels wide, 4 apart, the first from -3 on."""
        network = tiny()
        network.eval()
        assert receptive_field(network, (3, 16, 16), (0, 0)).tolist() == [0, 4, 0, 4]
        assert receptive_field(network, (3, 16, 16), (2, 1)).tolist() == [5, 12, 1, 8]
        cnn = SmallCNN(3).eval()  # 3, 7, 15, then stride 1 on a map of every 8th pixel: 31 wide
        assert receptive_field(cnn, (3, 64, 64), (4, 4)).tolist() == [17, 48, 17, 48]
        table = model.prototype_table()
        for _, row in table.iterrows():
            field = receptive_field(network, (3, 16, 16), (row["row"], row["column"])).tolist()
            assert row[["top", "bottom", "left", "right"]].tolist() == field


# ---- hub models, saving -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("hub")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    transformers.ResNetModel(config).save_pretrained(folder / "resnet")
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14, mlp_ratio=1
    )
    transformers.Dinov2Model(config).save_pretrained(folder / "dino")
    return folder


class TestHub:
    def test_maps(self, hub_folder):
        resnet = hub_backbone(str(hub_folder / "resnet"))
        assert map_shape(resnet, (3, 64, 64)) == (16, 8, 8)
        dino = hub_backbone(str(hub_folder / "dino")).eval()
        assert map_shape(dino, (3, 42, 28)) == (16, 3, 2)
        x = torch.rand(1, 3, 42, 28)
        with torch.no_grad():
            tokens = dino.model(pixel_values=x).last_hidden_state
            assert torch.equal(dino(x)[0, :, 2, 1], tokens[0, -1])
            assert torch.equal(dino(x)[0, :, 0, 1], tokens[0, 2])  # the class token comes first
        assert receptive_field(dino, (3, 28, 28), (0, 0)).tolist() == [0, 28, 0, 28]

    def test_fit_save_load(self, hub_folder, data, tmp_path):
        options = SMALL | {"epochs": 1, "last_epochs": 1, "resize": 28}
        for name in ("resnet", "dino"):
            model = ProtoPNet(str(hub_folder / name), **options).fit(data[0][:24], data[1][:24])
            np.testing.assert_allclose(model.task_.mean.flatten(), [0.485, 0.456, 0.406])
            loaded = hub_backbone(str(hub_folder / name))
            assert isinstance(model.task_.backbone, HubBackbone)
            assert type(loaded.model) is type(model.task_.backbone.model)
            model.save_pretrained(tmp_path / name)
            again = ProtoPNet.from_pretrained(tmp_path / name)
            np.testing.assert_array_equal(again.decision_function(data[0][:4]), model.decision_function(data[0][:4]))

    def test_pretrained_weights_are_used(self, hub_folder, data):
        model = ProtoPNet(
            str(hub_folder / "resnet"), **(SMALL | {"epochs": 1, "warm_epochs": 1, "last_epochs": 0, "resize": 28})
        )
        model.fit(data[0][:24], data[1][:24])
        ours = model.task_.backbone.state_dict()
        theirs = hub_backbone(str(hub_folder / "resnet")).state_dict()
        assert all(torch.equal(ours[n], theirs[n]) for n in theirs if n.endswith("convolution.weight"))

    def test_unknown_name(self, data):
        with pytest.raises(FileError, match="backbone='nobody/nothing' is neither 'cnn', nor a folder"):
            ProtoPNet("nobody/nothing").fit(*data)


class TestSaving:
    def test_same_outputs(self, model, data, tmp_path):
        model.save_pretrained(tmp_path)
        with pytest.raises(OptionError, match=r"fitted on a module Tiny; give one of that make"):
            ProtoPNet.from_pretrained(tmp_path)
        again = ProtoPNet.from_pretrained(tmp_path, backbone=tiny(3))
        assert type(again) is ProtoPNet
        assert again.push_state_ == "pushed"
        np.testing.assert_array_equal(again.similarity_map(data[0][:5]), model.similarity_map(data[0][:5]))
        pd.testing.assert_frame_equal(again.prototype_table(), model.prototype_table())
        config = json.loads((tmp_path / "config.json").read_text())
        assert config["params"]["per_class"] == 2
        assert all((a == b).all() for a, b in zip(again.prototype_images(), model.prototype_images(), strict=True))


class TestBadInput:
    @pytest.mark.parametrize(
        ("x", "words"),
        [
            (np.zeros((9, 16, 16)), r"got \(9, 16, 16\)"),
            (np.zeros((9, 2, 16, 16)), r"got \(9, 2, 16, 16\)"),
            (np.full((9, 3, 16, 16), -1.0), r"pixels must lie in \[0, 1\], found -1 to -1"),
            (np.zeros((9, 3, 16, 16), np.int64), "must be uint8 or floats"),
        ],
    )
    def test_images(self, x, words):
        with pytest.raises(DataError, match=words):
            ProtoPNet(tiny()).fit(x, np.arange(9) % 3)

    def test_labels(self, data):
        with pytest.raises(DataError, match="X has 96, y has 95"):
            ProtoPNet(tiny()).fit(data[0], data[1][:95])
        with pytest.raises(DataError, match="n_classes=4, but y has 3 different classes"):
            ProtoPNet(tiny(), 4).fit(*data)
        with pytest.raises(DataError, match="whole numbers or text"):
            ProtoPNet(tiny()).fit(data[0], np.linspace(0, 1, 96))

    def test_options(self, data):
        with pytest.raises(OptionError, match="per_class=0 must be"):
            ProtoPNet(tiny(), per_class=0).fit(*data)
        with pytest.raises(OptionError, match="normalization='zca' is not allowed"):
            ProtoPNet(tiny(), normalization="zca").fit(*data)
        with pytest.raises(OptionError, match=r"backbone must give maps .* got \(1, 768\)"):
            ProtoPNet(nn.Flatten(), **SMALL).fit(*data)
        with pytest.raises(OptionError, match="backbone=3 must be"):
            ProtoPNet().set_params(backbone=3).fit(*data)

    def test_before_fit_and_other_shapes(self, model):
        with pytest.raises(NotFittedError, match="call fit first"):
            ProtoPNet().predict(np.zeros((1, 3, 16, 16)))
        with pytest.raises(
            DataError, match=r"images have shape \(3, 20, 16\), but this model was fitted on \(3, 16, 16\)"
        ):
            model.predict(np.zeros((1, 3, 20, 16)))

    def test_a_loss_that_is_not_finite(self, data):
        from unsnarl.errors import TrainingError

        with pytest.raises(TrainingError, match="no longer finite"):
            ProtoPNet(tiny(), **(SMALL | {"lr_backbone": 1e30})).fit(*data)
