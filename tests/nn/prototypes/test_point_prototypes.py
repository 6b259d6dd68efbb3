import math

import numpy as np
import pytest
import torch

from unsnarl.errors import DataError, OptionError
from unsnarl.nn.prototypes._points import (
    NearestPatches,
    PointPrototypes,
    cluster_cost,
    other_class_l1,
    separation_cost,
)


@pytest.fixture
def layer():
    return PointPrototypes([0, 0, 1, 2], 5, generator=torch.Generator().manual_seed(0))


def maps_of(n, seed=0, size=(3, 4), dim=5):
    return torch.rand(n, dim, *size, generator=torch.Generator().manual_seed(seed))


def plain_distances(z, p):
    """|z - p|^2 for every place and prototype, by definition."""
    return ((z[:, None] - p[None, :, :, None, None]) ** 2).sum(axis=2)


class TestDistances:
    def test_maps_agree_with_the_definition(self, layer):
        z = maps_of(6)
        expected = plain_distances(z.numpy().astype(float), layer.vectors.detach().numpy().astype(float))
        assert layer(z).shape == (6, 4, 3, 4)
        np.testing.assert_allclose(layer(z).detach().numpy(), expected, atol=1e-5)

    def test_vectors_agree_with_maps_of_one_place(self, layer):
        z = maps_of(6, size=(1, 1))
        torch.testing.assert_close(layer(z[:, :, 0, 0]), layer(z)[:, :, 0, 0])

    def test_rounding_below_zero_is_cut_off(self):
        layer = PointPrototypes([0], 3)
        layer.vectors.data.copy_(torch.tensor([[0.1, 1 / 3, 0.7]]) * 100)
        assert float(layer(layer.vectors.detach()).detach().min()) == 0.0

    def test_gradient_is_twice_the_difference(self, layer):
        z = torch.rand(1, 5, generator=torch.Generator().manual_seed(3))
        layer(z)[0, 2].backward()
        expected = torch.zeros(4, 5)
        expected[2] = 2 * (layer.vectors.detach()[2] - z[0])
        torch.testing.assert_close(layer.vectors.grad, expected)

    def test_wrong_shapes(self, layer):
        with pytest.raises(DataError, match=r"prototypes have 5 numbers .*got shape \(2, 4\)"):
            layer(torch.zeros(2, 4))
        with pytest.raises(DataError, match="got shape"):
            layer(torch.zeros(2, 5, 3))


class TestSimilarity:
    def test_values(self, layer):
        d = torch.tensor([0.0, 0.5, 1.0, 100.0])
        expected = [math.log((x + 1) / (x + 1e-4)) for x in d.tolist()]
        np.testing.assert_allclose(layer.similarity(d).numpy(), expected, atol=1e-5)
        assert float(layer.similarity(torch.zeros(1))) == pytest.approx(9.2103, abs=1e-4)
        assert layer.largest_similarity == pytest.approx(9.2103, abs=1e-4)

    def test_first_class_weights(self, layer):
        expected = [[1, 1, -0.5, -0.5], [-0.5, -0.5, 1, -0.5], [-0.5, -0.5, -0.5, 1]]
        assert layer.class_weights(3).tolist() == expected
        with pytest.raises(OptionError, match="n_classes=2, but a prototype is of class 2"):
            layer.class_weights(2)

    def test_start_is_uniform_on_the_unit_interval(self):
        start = PointPrototypes(500, 20, generator=torch.Generator().manual_seed(1)).vectors.detach()
        assert float(start.min()) >= 0
        assert float(start.max()) < 1
        assert float(start.mean()) == pytest.approx(0.5, abs=0.01)
        assert float(start.var()) == pytest.approx(1 / 12, abs=0.003)


class TestCosts:
    def test_agree_with_plain_numpy(self, layer):
        z, labels = maps_of(7), torch.tensor([0, 1, 2, 0, 1, 2, 0])
        nearest, place = layer.nearest(layer(z))
        d = plain_distances(z.numpy().astype(float), layer.vectors.detach().numpy().astype(float)).reshape(7, 4, -1)
        np.testing.assert_allclose(nearest.detach().numpy(), d.min(axis=2), atol=1e-5)
        assert (place.numpy() == d.argmin(axis=2)).all()
        classes = np.array([0, 0, 1, 2])
        own = [min(d[i, j].min() for j in range(4) if classes[j] == y) for i, y in enumerate(labels.tolist())]
        other = [min(d[i, j].min() for j in range(4) if classes[j] != y) for i, y in enumerate(labels.tolist())]
        assert cluster_cost(nearest, layer.is_own(labels)).item() == pytest.approx(np.mean(own), abs=1e-5)
        assert separation_cost(nearest, layer.is_own(labels)).item() == pytest.approx(np.mean(other), abs=1e-5)

    def test_l1_counts_other_classes_only(self, layer):
        weight = torch.arange(12.0).reshape(3, 4) - 6
        other = [-4, -3, -2, -1, 1, 2, 3, 4]  # all but W[0, 0:2], W[1, 2], W[2, 3]
        expected = np.abs(np.array([-4, -3, -2, -1, 1, 2, 3, 4])).sum()
        assert len(other) == 8
        assert float(other_class_l1(weight, layer.class_of)) == expected

    def test_a_class_without_prototype_is_named(self, layer):
        layer.keep(torch.tensor([True, True, False, True]))
        assert layer.classes_without(3) == [1]
        nearest = layer.nearest(layer(maps_of(2)))[0]
        with pytest.raises(DataError, match="a class that has no prototype"):
            cluster_cost(nearest, layer.is_own(torch.tensor([0, 1])))

    def test_one_class_has_nothing_to_separate(self):
        layer = PointPrototypes(3, 5)
        nearest = layer.nearest(layer(maps_of(4)))[0]
        assert separation_cost(nearest, layer.is_own(torch.zeros(4, dtype=torch.long))).item() == 0


class TestPush:
    def test_every_prototype_lands_on_the_nearest_patch_of_its_class(self, layer):
        z, labels = maps_of(30, seed=5), torch.arange(30) % 3
        before = layer.vectors.detach().clone().numpy()
        found = NearestPatches(layer)
        for part in range(0, 30, 7):
            found.update(z[part : part + 7], labels[part : part + 7])
        d = plain_distances(z.numpy(), before).reshape(30, 4, -1)
        found.push()
        for j, c in enumerate([0, 0, 1, 2]):
            rows = np.flatnonzero(labels.numpy() == c)
            best = rows[d[rows, j].min(axis=1).argmin()]
            place = d[best, j].argmin()
            assert int(found.index[j, 0]) == best
            assert int(found.position[j, 0]) == place
            np.testing.assert_array_equal(layer.vectors.detach()[j].numpy(), z.numpy()[best].reshape(5, -1)[:, place])
        own = layer(z)[found.index[:, 0], torch.arange(4)].flatten(1).min(dim=1).values
        assert float(own.detach().max()) < 1e-5

    def test_a_class_without_inputs_cannot_be_pushed(self, layer):
        found = NearestPatches(layer)
        found.update(maps_of(4), torch.tensor([0, 0, 1, 1]))
        with pytest.raises(DataError, match="there is no input of class 2 to push"):
            found.push()

    def test_the_earlier_input_wins_a_tie(self, layer):
        z = maps_of(1).expand(4, -1, -1, -1)
        found = NearestPatches(layer, 2, own_only=False)
        found.update(z[:2], torch.tensor([0, 1]))
        found.update(z[2:], torch.tensor([2, 0]))
        assert found.index.tolist() == [[0, 1]] * 4


class TestPrune:
    @pytest.mark.parametrize("part", [4, 30])
    def test_k_nearest_inputs_agree_with_sorting(self, layer, part):
        z, labels = maps_of(30, seed=6), torch.randint(3, (30,), generator=torch.Generator().manual_seed(1))
        found = NearestPatches(layer, 6, own_only=False)
        for start in range(0, 30, part):
            found.update(z[start : start + part], labels[start : start + part])
        d = plain_distances(z.numpy(), layer.vectors.detach().numpy()).reshape(30, 4, -1).min(axis=2)
        order = d.argsort(axis=0)[:6].T
        assert found.index.tolist() == order.tolist()
        expected = [(labels.numpy()[order[j]] == c).sum() for j, c in enumerate([0, 0, 1, 2])]
        assert found.own_among().tolist() == expected

    def test_fewer_inputs_than_k(self, layer):
        found = NearestPatches(layer, 6, own_only=False)
        found.update(maps_of(2), torch.tensor([0, 1]))
        assert (found.index[:, 2:] == -1).all()
        assert found.own_among().tolist() == [1, 1, 1, 0]

    def test_keep(self, layer):
        kept = layer.vectors.detach()[[0, 3]].clone()
        layer.keep(torch.tensor([True, False, False, True]))
        torch.testing.assert_close(layer.vectors.detach(), kept)
        assert layer.class_of.tolist() == [0, 2]
        assert len(layer) == 2
        with pytest.raises(OptionError, match="no prototype would be left"):
            layer.keep(torch.tensor([False, False]))


@pytest.mark.parametrize("wrong", [[], [0.5], [-1, 0], [[0]]])
def test_bad_classes(wrong):
    with pytest.raises(OptionError, match="class_of must be one class"):
        PointPrototypes(wrong, 3)


def test_bad_options():
    with pytest.raises(OptionError, match="epsilon=0 must be"):
        PointPrototypes([0], 3, epsilon=0)
    with pytest.raises(OptionError, match="k=0 must be"):
        NearestPatches(PointPrototypes([0], 3), 0)
