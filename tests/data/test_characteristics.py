import numpy as np
import pytest

from unsnarl.data._characteristics import (
    CHARACTERISTICS,
    CLASSES,
    FREE,
    OWNED,
    CharacteristicScenes,
    class_of,
    defining_characteristic,
)
from unsnarl.data.image_operators import Hue
from unsnarl.errors import OptionError, UnknownNameError


@pytest.fixture(scope="module")
def scenes():
    return CharacteristicScenes(300, seed=2)


def test_each_class_owns_one_value_and_the_rest_is_free(scenes):
    values, labels = scenes.table.values, scenes.labels
    assert set(labels) == set(range(10))
    for i, factor in enumerate(OWNED):
        owned = values[factor].isin(OWNED[factor]).to_numpy()
        assert (owned == (labels // 2 == i)).all()
        mine = labels // 2 == i
        assert (values[factor][mine].to_numpy() == np.array(OWNED[factor])[labels[mine] % 2]).all()
        assert set(values[factor][~mine]) == set(FREE[factor])
    assert (values["class"].to_numpy() == np.array(CLASSES)[labels]).all()
    assert [defining_characteristic(c) for c in range(0, 10, 2)] == list(CHARACTERISTICS)


def test_same_seed_same_pixels_and_any_batch(scenes):
    again = CharacteristicScenes(300, seed=2)
    assert bool((again.observations == scenes.observations).all())
    assert bool((scenes.render(scenes.table.rows([5, 250])) == scenes.observations[[5, 250]]).all())
    other = CharacteristicScenes(300, seed=3)
    assert (other.labels != scenes.labels).any()


def test_some_classes_only():
    drawn = CharacteristicScenes(40, image_size=32, classes=(2, 3), seed=1)
    assert set(drawn.labels) == {2, 3}


def test_hue_and_saturation_are_those_of_the_pixels():
    """No pixel is cut off, so max - min of the channels is the saturation, and the hue in HSV is the hue."""
    scenes = CharacteristicScenes(200, seed=4)
    pixels = scenes.observations.numpy().astype(np.float32) / 255
    assert pixels.min() > 0
    assert pixels.max() < 1
    spread = np.ptp(pixels, axis=1).mean(axis=(1, 2))
    np.testing.assert_allclose(spread, scenes.table.values["saturation"], atol=0.004)
    angle = np.exp(2j * np.pi * Hue.hue(pixels) / 6).mean(axis=(1, 2))
    turns = np.angle(angle * np.exp(-2j * np.pi * scenes.table.values["hue"].to_numpy())) / (2 * np.pi)
    assert np.abs(turns).max() < 0.01


class TestIntervene:
    def test_only_that_factor_changes(self, scenes):
        rows = np.flatnonzero(scenes.labels == 0)[:5]
        changed = scenes.intervene(rows, hue=0.5)
        assert set(changed.table.values["class"]) == {"hue 0.5"}
        for name in ("outline", "texture", "contrast", "saturation", "level", "layout"):
            assert (changed.table.values[name].to_numpy() == scenes.table.values[name].to_numpy()[rows]).all()
        before = scenes.observations[rows].numpy() / 255
        after = changed.observations.numpy() / 255
        luma = np.array([0.299, 0.587, 0.114])
        gap = np.einsum("ncij,c->nij", after - before, luma)
        assert np.abs(gap).max() < 0.005  # the lightness is the same, pixel by pixel
        assert np.abs(after - before).max() > 0.05

    def test_texture_changes_no_outline_and_back_again(self, scenes):
        rows = np.flatnonzero(scenes.labels == 4)[:3]
        smooth = scenes.intervene(rows, texture="smooth").observations.numpy().astype(int)
        grain = scenes.observations[rows].numpy().astype(int)
        assert 0.02 < ((grain - smooth) / 255).std() < 0.05
        assert abs(((grain - smooth) / 255).mean()) < 0.002
        assert set(scenes.intervene(rows, texture="smooth").table.values["class"]) == {"none"}

    def test_contrast_scales_the_difference_of_figure_and_ground(self, scenes):
        rows = np.flatnonzero((scenes.labels == 6) & (scenes.table.values["texture"] == "smooth"))[:3]
        strong = scenes.observations[rows].numpy() / 255
        weak = scenes.intervene(rows, contrast=0.17).observations.numpy() / 255
        tall, low = (np.percentile(x, 95, axis=(2, 3)) - np.percentile(x, 5, axis=(2, 3)) for x in (strong, weak))
        np.testing.assert_allclose(low / tall, 0.17 / 0.25, atol=0.02)

    def test_two_owned_values_are_no_class(self, scenes):
        rows = np.flatnonzero(scenes.labels == 0)[:2]
        both = scenes.intervene(rows, outline="disc")
        assert set(both.table.values["class"]) == {"none"}
        assert (class_of(scenes.indices_of(both.table)) == -1).all()

    def test_unknown_factor_and_value(self, scenes):
        with pytest.raises(UnknownNameError, match="class"):
            scenes.intervene(0, **{"class": "hue 0.0"})
        with pytest.raises(OptionError, match="outline='hexagon' is not allowed"):
            scenes.intervene(0, outline="hexagon")


def test_outlines_have_about_one_area():
    base = CharacteristicScenes(30, seed=5, classes=(6,))
    areas = {}
    for outline in (*OWNED["outline"], *FREE["outline"]):
        x = base.intervene(slice(None), outline=outline, texture="smooth").observations.numpy().mean(axis=1)
        middle = (x.max(axis=(1, 2), keepdims=True) + x.min(axis=(1, 2), keepdims=True)) / 2
        bright = (x > middle).mean(axis=(1, 2))
        areas[outline] = np.minimum(bright, 1 - bright).mean()
    assert max(areas.values()) / min(areas.values()) < 1.25


def test_bad_options():
    with pytest.raises(OptionError, match="classes=10"):
        CharacteristicScenes(5, classes=(10,))
    with pytest.raises(OptionError, match="image_size=8"):
        CharacteristicScenes(5, image_size=8)
