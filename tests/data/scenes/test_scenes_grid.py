import numpy as np
import pytest

from unsnarl.data import FactorDataset
from unsnarl.data.scenes import THINGS, Scenes, render_scenes
from unsnarl.errors import OptionError, UnknownNameError

SMALL = {"kind": ["cat", "heart"], "color": 8, "size": ["small", "large"], "x": 3, "background": ["green", "pink"]}


def test_the_default_table_has_every_factor():
    data = Scenes(50, seed=1)
    assert isinstance(data, FactorDataset)
    assert tuple(data.observations.shape) == (50, 3, 32, 32)
    assert data.factor_names == [
        "kind", "identity", "color", "texture", "size", "facing", "turn",
        "x", "y", "pattern", "background", "style", "frame",
    ]  # fmt: skip
    assert data.factor_sizes == [6, 8, 8, 4, 4, 2, 3, 5, 5, 6, 8, 5, 3]
    assert set(data.factors["kind"]) <= set(THINGS)
    assert all(kind == "discrete" for kind in data.kinds.values())


def test_the_grid_renders_whole_and_no_two_images_are_equal():
    data = Scenes(None, factors=SMALL)
    assert len(data) == 2 * 8 * 2 * 3 * 2
    flat = data.observations.numpy().reshape(len(data), -1)
    assert len(np.unique(flat, axis=0)) == len(data)
    np.testing.assert_array_equal(data.render(data.table).numpy(), data.observations.numpy())


def test_counterfactuals_are_exact():
    data = Scenes(40, seed=2)
    edited = data.intervene(slice(None), background="red", color="blue")
    assert set(edited.factors["background"]) == {"red"}
    rows = data.indices_of(data.table)
    scenes = [s.intervene(background="red", color="blue", accent=s.objects[0].accent) for s in data.scenes(rows)]
    masks = render_scenes(data.scenes(rows)).whole[:, 0]
    np.testing.assert_array_equal(masks, render_scenes(scenes).whole[:, 0])
    only = data.intervene(slice(None), color="blue").observations.numpy()
    changed = (only != data.observations.numpy()).any(axis=1)
    assert not changed[masks == 0].any()


def test_factors_mean_the_same_whatever_the_others_are():
    data = Scenes(None, factors={"x": 3, "size": ["small", "large"], "identity": 4}, held={"kind": "robot"})
    scenes = data.scenes(data.full_grid())
    assert len({(s.objects[0].x, s.objects[0].y) for s in scenes}) == 3
    assert len({s.objects[0].body for s in scenes}) == 4
    assert [s.objects[0].size for s in scenes[:8]] == ["small"] * 4 + ["large"] * 4


def test_objects_stay_inside():
    for turn in ("upright", "upside down"):
        corners = Scenes(None, factors={"kind": 15, "x": 2, "y": 2}, held={"size": "large", "turn": turn})
        whole = render_scenes(corners.scenes(corners.full_grid())).whole[:, 0]
        middle = Scenes(None, factors={"kind": 15}, held={"size": "large", "turn": turn})
        area = render_scenes(middle.scenes(middle.full_grid())).whole.sum(axis=(1, 2, 3), dtype=float)
        np.testing.assert_allclose(whole.sum(axis=(1, 2), dtype=float), np.repeat(area, 4), rtol=0.02)


def test_options_of_simulators_work():
    left_out = {"kind": "cat", "color": "red"}
    data = Scenes(300, factors=SMALL, leave_out=[left_out], correlate={("color", "background"): 0.9})
    assert not ((data.factors["kind"] == "cat") & (data.factors["color"] == "red")).any()
    only = Scenes(20, factors=SMALL, leave_out=[left_out], only_left_out=True)
    assert ((only.factors["kind"] == "cat") & (only.factors["color"] == "red")).all()
    np.testing.assert_array_equal(Scenes(9, seed=4).observations.numpy(), Scenes(9, seed=4).observations.numpy())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"factors": {"colour": 3}}, UnknownNameError, "colour"),
        ({"factors": {"color": 9}}, OptionError, "color"),
        ({"factors": {"color": ["red", "mauve"]}}, OptionError, "mauve"),
        ({"factors": {"color": ["red", "red"]}}, OptionError, "different"),
        ({"factors": {"kind": "cat"}}, OptionError, "held"),
        ({"factors": {"x": [0.5]}}, OptionError, "two or more"),
        ({"factors": {"frame": ["none", "blue"]}}, OptionError, "blue"),
        ({"factors": {}}, OptionError, "no factor"),
        ({"held": {"kind": "cat"}}, OptionError, "vary or be held"),
        ({"factors": SMALL, "held": {"height": 2}}, UnknownNameError, "height"),
        ({"factors": SMALL, "held": {"y": 1.5}}, OptionError, "y"),
        ({"image_size": 50}, OptionError, "image_size=50"),
        ({"size": None}, OptionError, "would render"),
        ({"factors": {"identity": 5000}}, OptionError, "identity"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Scenes(**({"size": 2} | options))
