"""The oracle's targets and readings, the identity encoder, and the grading of edits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from unsnarl.data.scenes import Scene, SceneObject, SceneStream, render_scenes, to_signed
from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError
from unsnarl.training import train
from unsnarl.zoo import Oracle, load, recipe, score_edit, train_model
from unsnarl.zoo._identity import IdentityBatches, IdentityTask, crop_objects, supervised_contrast
from unsnarl.zoo._networks import read_network, write_network
from unsnarl.zoo._oracle import BOX, MAP, OF_OBJECT, OF_SCENE, OracleNetwork, OracleTargets, oracle_loss
from unsnarl.zoo._oracle_recipe import OracleBatches, OracleTask, scene_tensors


class Seeing(torch.nn.Module):
    """Answers with the logits that say what scenes show, so that reading them back must give the scenes."""

    def __init__(self, scenes):
        super().__init__()
        _, heat, cells, factors, boxes, whole = scene_tensors(scenes)
        self.centres = torch.logit(heat.clamp(1e-4, 1 - 1e-4))
        sizes = [len(v) for v in OF_OBJECT.values()]
        self.local = torch.zeros(len(scenes), sum(sizes) + BOX, MAP, MAP)
        for (image, row, column), values, box in zip(cells.tolist(), factors.tolist(), boxes, strict=True):
            start = 0
            for size, value in zip(sizes, values, strict=True):
                if value >= 0:
                    self.local[image, start + value, row, column] = 5.0
                start += size
            self.local[image, -BOX:, row, column] = box
        self.whole = torch.cat(
            [5.0 * torch.nn.functional.one_hot(whole[:, i], len(v)).float() for i, v in enumerate(OF_SCENE.values())],
            dim=1,
        )
        self.fine = self.middle = self.coarse = torch.nn.Identity()

    def forward(self, images):
        return self.centres, self.local, self.whole


def test_what_the_targets_say_is_read_back():
    scenes = [s for s in SceneStream(seed=5).scenes(range(60)) if s.objects]
    drawn = render_scenes(scenes)
    seen = Oracle(Seeing(scenes)).read(to_signed(drawn.images))
    visible = drawn.visible.astype(float).sum((2, 3)) / np.maximum(drawn.whole.astype(float).sum((2, 3)), 1)
    checked = 0
    for scene, reading, shown in zip(scenes, seen, visible, strict=True):
        assert (reading.pattern, reading.background, reading.style) == (scene.pattern, scene.background, scene.style)
        assert reading.frame == (scene.frame or "none")
        for one, share in zip(scene.objects, shown, strict=False):
            near = [math.hypot(one.x - o.x, one.y - o.y) < 2 / MAP for o in scene.objects if o is not one]
            if share < 0.5 or any(near):
                continue
            found = [o for o in reading.objects if o.kind == one.kind]
            assert found
            assert (found[0].color, found[0].texture, found[0].size) == (one.color, one.texture, one.size)
            assert found[0].x == pytest.approx(one.x, abs=1e-3)
            assert found[0].diameter == pytest.approx(one.diameter, rel=1e-3)
            checked += 1
    assert checked > 50


def test_the_oracle_learns_and_is_written(tmp_path):
    torch.manual_seed(0)
    task = OracleTask(steps=25, degraded=0.0)
    batches = OracleBatches(12, seed=1)
    history = train(task, lambda step: batches(step % 2), steps=25, log_every=1, progress=False)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    write_network(task.network, tmp_path, {})
    again = read_network(OracleNetwork(), tmp_path)
    images = batches(0)[0]
    for ours, theirs in zip(task.network(images), again(images), strict=True):
        assert torch.allclose(ours, theirs, atol=0.05)
    target = batches(0)[1:]
    losses = oracle_loss(task.network(images), OracleTargets(*target))
    assert {"centres", "box", *OF_OBJECT, *OF_SCENE} == set(losses)


def test_supervised_contrast_by_hand():
    z = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    who = torch.tensor([0, 0, 1, 1, 2])  # the last is alone
    s = (z @ z.T / 0.1).numpy()
    total = 0.0
    for i, p in ((0, 1), (1, 0), (2, 3), (3, 2)):
        total -= s[i, p] - np.log(sum(np.exp(s[i, a]) for a in range(5) if a != i))
    assert float(supervised_contrast(z, who)) == pytest.approx(total / 4, rel=1e-5)


def test_crops_are_about_the_object():
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, 20:28, 4:12] = 1.0  # a square whose centre is (8, 24)
    crop = crop_objects(images, torch.tensor([[8 / 32, 24 / 32]]), torch.tensor([8 / 32]))
    assert float(crop[:, :, 2:-2, 2:-2].min()) > 0.99
    wide = crop_objects(images, torch.tensor([[8 / 32, 24 / 32]]), torch.tensor([16 / 32]))
    assert float(wide.mean()) == pytest.approx(0.25, abs=0.03)


def test_photos_of_one_instance_come_together():
    torch.manual_seed(0)
    task = IdentityTask(steps=20)
    batches = IdentityBatches(6, 2, seed=1)
    history = train(task, lambda step: batches(0), steps=20, log_every=1, progress=False)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]


class Fixed:
    """An oracle that has read two lists of scenes."""

    def __init__(self, before, after):
        self.answers = [Oracle(Seeing(before)), Oracle(Seeing(after))]

    def read(self, images):
        return self.answers.pop(0).read(images)

    def features(self, images):
        return images.flatten(1)


def images_of(scenes):
    return to_signed(render_scenes(scenes).images)


def no_identity(crops):
    return torch.nn.functional.normalize(torch.ones(len(crops), 4), dim=1)


def test_an_exact_edit_reaches_and_keeps_all():
    scene = Scene(
        (SceneObject("cat", "red", x=0.3, y=0.5), SceneObject("tree", "blue", x=0.75, y=0.5)), "striped", "pink"
    )
    edits = [scene.intervene(color="green"), scene.intervene(of=1, color="green"), scene.intervene(pattern="wavy")]
    before, after = [scene] * 3, edits
    scores = score_edit(
        images_of(before),
        images_of(after),
        {"color": "green"},
        of="cat",
        oracle=Fixed(before, after),
        identity=no_identity,
    )
    assert scores.reached.tolist() == [True, False, False]
    assert scores.kept[0] == 1.0
    assert scores.kept_by_factor["others"].tolist() == [1.0, 0.0, 1.0]
    assert scores.kept_by_factor["pattern"].tolist() == [1.0, 1.0, 0.0]
    assert np.isnan(scores.identity).all()  # another colour is another identity
    same = score_edit(images_of(before), images_of(before), {}, oracle=Fixed(before, before), identity=no_identity)
    assert same.means() == {
        "reached": 1.0,
        "kept": 1.0,
        "identity": pytest.approx(1.0),
        "psnr_outside": pytest.approx(math.nan, nan_ok=True),
        "ssim_outside": pytest.approx(math.nan, nan_ok=True),
        "distance": 0.0,
    }


def test_what_is_gone_moved_or_added_is_not_kept():
    cat, tree, cup = SceneObject("cat", "red", x=0.25), SceneObject("tree", "blue", x=0.8), SceneObject("cup", "green")
    scene = Scene((cat, tree))
    after = [Scene((tree,)), Scene((replace(cat, x=0.55), tree)), Scene((cat, tree, cup)), Scene((cat,)), scene]
    given = {"oracle": Fixed([scene] * 5, after), "identity": no_identity}
    scores = score_edit(images_of([scene] * 5), images_of(after), {"background": "red"}, of="cat", **given)
    assert scores.identity.tolist() == pytest.approx([0.0, 1.0, 1.0, 1.0, 1.0])
    assert scores.kept_by_factor["place"].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert scores.kept_by_factor["others"].tolist() == [1.0, 1.0, 0.5, 0.0, 1.0]
    assert scores.kept[-1] == 1.0
    facing = score_edit(
        images_of([scene]), images_of([scene]), {}, of="tree", oracle=Fixed([scene], [scene]), identity=no_identity
    )
    assert np.isnan(facing.kept_by_factor["facing"]).all()


def test_structural_similarity_is_that_of_its_formula():
    generator = np.random.default_rng(0)
    scene = Scene((SceneObject("cat", "red"),))
    before = images_of([scene])
    after = (before + 0.3 * torch.from_numpy(generator.normal(size=before.shape)).float()).clamp(-1, 1)
    weights = np.exp(-0.5 * (np.hypot(*np.mgrid[-3:4, -3:4]) / 1.5) ** 2)
    weights /= weights.sum()

    def window(row, column):
        values = []
        for a, b in zip(before[0].double().numpy(), after[0].double().numpy(), strict=True):
            x, y = (v[row : row + 7, column : column + 7] for v in (a, b))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy, both = ((weights * p * q).sum() for p, q in ((x - mx, x - mx), (y - my, y - my), (x - mx, y - my)))
            values.append((2 * mx * my + 4e-4) * (2 * both + 3.6e-3) / ((mx**2 + my**2 + 4e-4) * (vx + vy + 3.6e-3)))
        return np.mean(values)

    by_hand = np.array([[window(r, c) for c in range(26)] for r in range(26)])
    mask = np.zeros((1, 32, 32), dtype=bool)
    for first in (0, 16):
        mask[:, :first] = True
        given = {"oracle": Fixed([scene], [scene]), "identity": no_identity}
        found = score_edit(before, after, {}, mask=mask, **given).ssim_outside[0]
        assert found == pytest.approx(by_hand[first:].mean(), abs=1e-4)


def test_pixels_that_may_change_do_not_count():
    scene = Scene((SceneObject("cat", "red"),))
    after = images_of([scene])
    after[:, :, :8] = 0.0
    mask = np.zeros((1, 32, 32), dtype=bool)
    mask[:, :8] = True
    given = {"oracle": Fixed([scene], [scene]), "identity": no_identity}
    assert score_edit(images_of([scene]), after, {}, mask=mask, **given).psnr_outside[0] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"asked": {"colour": "red"}}, UnknownNameError, "colour"),
        ({"asked": {"color": "beige"}}, OptionError, "beige"),
        ({"asked": {}, "of": "dog"}, UnknownNameError, "dog"),
        ({"after": torch.zeros(2, 3, 32, 32)}, DataError, "must be equal"),
        ({"before": torch.full((1, 3, 32, 32), 9.0)}, DataError, r"\[-1, 1\]"),
        ({"before": torch.zeros(1, 1, 32, 32)}, DataError, "shape"),
        ({"before": torch.zeros(0, 3, 32, 32)}, DataError, "no image"),
        ({"asked": {"facing": "left"}, "of": "tree"}, OptionError, "a tree faces"),
        ({"mask": np.zeros((1, 8, 8), dtype=bool)}, DataError, "mask"),
    ],
)
def test_bad_edits_get_one_sentence(options, error, message):
    scene = Scene((SceneObject("cat", "red"),))
    given = {"before": images_of([scene]), "after": images_of([scene]), "asked": {}, "identity": no_identity}
    given |= {"oracle": Fixed([scene], [scene])} | options
    with pytest.raises(error, match=message):
        score_edit(**given)


def test_models_that_are_not_there_say_so(tmp_path, monkeypatch):
    pytest.importorskip("diffusers")
    from unsnarl.zoo import _recipe

    with pytest.raises(UnknownNameError, match="sd-tiny-32"):
        load("zoo/sd-tiny-23")
    with pytest.raises(OptionError, match="name"):
        load(tmp_path)
    monkeypatch.setattr(_recipe, "SHELF", tmp_path / "shelf")
    with pytest.raises(FileError, match=r"unsnarl\.zoo\.train_model\('oracle'\)"):
        load("oracle", trained=tmp_path)
    torch.manual_seed(0)
    write_network(OracleNetwork(), tmp_path / "oracle" / "model", {})
    assert isinstance(load("zoo/oracle", trained=tmp_path), Oracle)
    with pytest.raises(FileError, match="zoo/sd-tiny-32 stands on zoo/clip-tiny"):
        train_model("sd-tiny-32", tmp_path / "sd-tiny-32")


def test_a_recipe_trains_into_a_run_and_gives_the_same_model_again(tmp_path):
    pytest.importorskip("diffusers")
    small = replace(recipe("identity"), steps=3)
    first = small.train({}, tmp_path / "first", progress=False)
    assert (tmp_path / "first" / "checkpoint" / "state.safetensors").is_file()
    second = small.train({}, tmp_path / "second", progress=False)
    crops = torch.rand(2, 3, 24, 24)
    assert torch.equal(small.load(first)(crops), small.load(second)(crops))
    assert not torch.equal(small.load(first)(crops), IdentityTask(steps=3).network(crops))


def test_a_mirrored_oracle_reads_the_mirror_image_as_the_image():
    torch.manual_seed(0)
    network = OracleNetwork()
    images = to_signed(render_scenes(SceneStream(seed=6).scenes(range(6))).images)
    seen, other = (
        Oracle(network, mirrored=True)._answers(images),
        Oracle(network, mirrored=True)._answers(images.flip(-1)),
    )
    facing = sum(len(v) for name, v in OF_OBJECT.items() if name != "facing")
    assert list(OF_OBJECT)[-1] == "facing"
    torch.testing.assert_close(other[0].flip(-1), seen[0])
    torch.testing.assert_close(other[2], seen[2])
    back = other[1].flip(-1)
    torch.testing.assert_close(back[:, :facing], seen[1][:, :facing])
    torch.testing.assert_close(back[:, [facing + 1, facing]], seen[1][:, [facing, facing + 1]])
    torch.testing.assert_close(1 - back[:, -2], seen[1][:, -2])
    assert not torch.allclose(Oracle(network)._answers(images)[0], seen[0])
