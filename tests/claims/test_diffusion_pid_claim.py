"""The claim about DiffusionPID: its examples have the roles they are said to have, its numbers can be wrong, and it runs."""

import math

import numpy as np
import pytest
import torch

from unsnarl.claims import Context, _word_roles, run_claim
from unsnarl.claims import diffusion_pid as module

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL = {
    "block_out_channels": (16, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "norm_num_groups": 8,
}


def test_examples_have_their_roles():
    for one in _word_roles.examples("objects", 0, 6):
        assert [o.kind for o in one.scene.objects] == list(one.words)
        assert all(one.prompt.split().count(word) == 1 for word in one.words)
        assert _word_roles.masks_of(one.scene).sum((1, 2)).min() >= _word_roles.SMALLEST
    for one in _word_roles.examples("frame", 0, 6):
        assert one.words == (one.scene.parity, one.scene.beat)
        assert one.prompt.endswith(" ".join(one.words))
        image = (_word_roles.pixels(one.scene)[0].mean(0).numpy() + 1) / 2
        assert image[_word_roles.ring()].mean() == pytest.approx(1.0 if one.scene.frame == "white" else 0.0, abs=0.15)
    for one in _word_roles.examples("synonyms", 0, 4):
        assert [o.color for o in one.scene.objects] == ["red"]
    for one in _word_roles.examples("deletion", 0, 8):
        first, second = (one.prompt.split().index(word) for word in one.words)
        assert first < second
    prompts = [[one.prompt for one in _word_roles.examples("objects", seed, 4)] for seed in (0, 0, 1)]
    assert prompts[0] == prompts[1] != prompts[2]


def test_a_map_that_is_the_mask_scores_one(monkeypatch, tmp_path):
    masks = np.zeros((2, 2, 32, 32), dtype=bool)
    masks[:, 0, :8, :8] = masks[:, 1, 20:, 20:] = True
    told = np.zeros((2, len(module.PAIRS), 32, 32))
    told[:, :2] = masks  # each word tells its object alone
    told[:, 0] += masks[:, 1]  # and the first tells the other's as well, so that what it alone tells is not its map
    told[:, 2] = told[:, :2].max(1)
    data = {"i_o": told, "i_s": told, "attention": 1.0 - np.stack([masks] * 3, axis=1), "masks": masks}
    monkeypatch.setattr(module, "object_maps", lambda seed, context: data)
    context = Context(tmp_path)
    assert module.run_objects(0, context)["auroc"] == pytest.approx((1.0 + 0.5) / 2)
    mi = module.run_objects(0, context, kind="MI")["auroc"]
    assert 0.9 < mi < 1.0  # the first map has two objects, of which one is not its own
    assert module.run_objects(0, context, kind="DAAM 8")["auroc"] == 0.0


def test_the_worlds_are_right_to_the_bar(tmp_path):
    found = module.run_worlds(0, Context(tmp_path))
    assert found["error"] < 0.05
    assert found["log_ratio_error"] < 0.05


def test_synergy_of_the_frames_words_is_bounded_when_counted_from_nothing():
    # p(frame) = 1/5, its colour is one bit: with a perfect model i1 = i2 = log 5, i12 = log 10
    from unsnarl.information._pointwise_pid import pointwise_pid

    shares = pointwise_pid(math.log(5), math.log(5), math.log(10)).shares()
    assert shares["synergy"] == pytest.approx(math.log(2) / math.log(10))
    assert shares["synergy"] < 0.302


def test_the_share_in_the_ring_is_nothing_where_there_is_no_synergy():
    draws, ring = np.random.default_rng(0), _word_roles.ring()
    chance = np.where(ring, draws.normal(size=(20, 32, 32)), 0.0)
    assert _word_roles.ring_share(chance - chance.mean() - 1e-3) == 0.0  # its positive half lies in the ring as well
    real = chance + np.where(ring, 0.5, 0.0)
    assert _word_roles.ring_share(real) == pytest.approx(1.0)
    spread = 0.5 * np.ones((20, 32, 32))
    assert _word_roles.ring_share(spread) == pytest.approx(ring.mean())


def test_it_runs_on_a_random_host(tmp_path, monkeypatch):
    from unsnarl.zoo import _sd_recipe
    from unsnarl.zoo._clip_recipes import CLIP_TINY

    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(**_sd_recipe.UNET | SMALL)
    pipe = _sd_recipe.pipeline(unet, CLIP_TINY.make({}, 10).model)
    monkeypatch.setattr(module, "HOST", pipe)
    record = run_claim(module.claim, seeds=1, quick=True, runs=tmp_path, records=tmp_path, progress=False)
    assert [row["name"] for row in record["rows"]] == [row.name for row in module.claim.rows]
    by_name = {row["name"]: row for row in record["rows"]}
    for row in by_name.values():
        assert math.isfinite(row["system"][0]), row["name"]
    assert by_name["object found by its word"]["baseline"][0] > 0
    assert by_name["closed-form worlds, .05 nats"]["system"][0] < 0.2  # 50 pictures
