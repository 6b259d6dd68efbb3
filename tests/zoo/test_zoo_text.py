"""Tokenizer, captioned batches and contrastive loss of the zoo."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from unsnarl.data.scenes import Scene, SceneObject, SceneStream, describe, held_out_in, vocabulary
from unsnarl.zoo._contrastive import contrastive_loss
from unsnarl.zoo._scene_batches import (
    CaptionedBatches,
    ContrastiveBatches,
    altered_scene,
    captions_true_of,
    holds,
    token_ids,
)
from unsnarl.zoo._tokenizer import LENGTH, scene_tokenizer, word_merges

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def tokenizer():
    return scene_tokenizer()


def test_every_word_of_the_captions_is_one_token(tokenizer):
    for word in vocabulary():
        assert len(tokenizer(word).input_ids) == 3, word


def test_captions_fit_and_come_back(tokenizer, tmp_path):
    texts = SceneStream(seed=3).batch(range(200)).texts
    ids = token_ids(tokenizer, texts)
    assert ids.shape == (200, LENGTH)
    assert (ids[:, 0] == tokenizer.bos_token_id).all()
    assert (ids[:, -1] == tokenizer.eos_token_id).all()
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == texts
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    assert torch.equal(token_ids(again, texts), ids)


def test_later_merges_change_no_earlier_word():
    words = ["star", "tar", "tart", "art", "stars"]
    merges = word_merges(words)
    assert word_merges(words[:3]) == merges[: len(word_merges(words[:3]))]


def test_batches_are_functions_of_the_step(tokenizer):
    batches = CaptionedBatches(tokenizer, 6, seed=2)
    images, ids = batches(5)
    again = CaptionedBatches(tokenizer, 6, seed=2)(5)
    assert torch.equal(images, again[0])
    assert torch.equal(ids, again[1])
    assert images.shape == (6, 3, 32, 32)
    assert float(images.abs().max()) <= 1
    assert not torch.equal(batches(6)[0], images)


def test_altered_captions_are_wrong_and_own_captions_right(tokenizer):
    batch = ContrastiveBatches(tokenizer, 48, seed=9)
    images, ids, wrong, there, true = batch(2)
    assert images.shape[0] == ids.shape[0] == wrong.shape[0] == 48
    assert true.diagonal().all()
    assert there.float().mean() > 0.5
    assert (ids[there] != wrong[there]).any(1).all()


def test_altered_scenes_show_nothing_held_out():
    stream, generator = SceneStream(seed=1), np.random.default_rng(0)
    changed = [altered_scene(scene, generator) for scene in stream.scenes(range(300))]
    assert sum(one is not None for one in changed) > 150
    assert not any(held_out_in(one) for one in changed if one is not None)


def test_what_a_caption_states_must_hold_of_one_object():
    red_cat = SceneObject("cat", "red", x=0.25)
    blue_tree = SceneObject("tree", "blue", x=0.75)
    told = describe(Scene((red_cat, blue_tree)), ["color0", "color1"])
    assert holds(told, Scene((red_cat, blue_tree), "striped"))
    swapped = Scene((SceneObject("cat", "blue", x=0.25), SceneObject("tree", "red", x=0.75)))
    assert not holds(told, swapped)
    assert not holds(told, Scene((red_cat,)))
    assert captions_true_of([told], [Scene((red_cat, blue_tree)), swapped]).tolist() == [[True], [False]]


def test_the_contrastive_loss_by_hand():
    generator = torch.Generator().manual_seed(0)
    images, texts, wrong = (torch.randn(3, 5, generator=generator) for _ in range(3))
    there = torch.tensor([True, False, True])
    true = torch.eye(3, dtype=torch.bool)
    true[0, 2] = True  # caption 2 holds of image 0 as well
    loss, found = contrastive_loss(images, texts, wrong, there, true, 4.0)
    i, t, w = (functional.normalize(x, dim=1) for x in (images, texts, wrong))
    s = (4 * i @ t.T).tolist()
    a = (4 * (i * w).sum(1)).tolist()
    candidates = [[s[0][0], s[0][1], a[0]], [s[1][1], s[1][0], s[1][2]], [s[2][2], s[2][0], s[2][1], a[2]]]
    rows = -sum(c[0] - np.log(np.exp(c).sum()) for c in candidates) / 3
    columns = [[s[0][0], s[1][0], s[2][0]], [s[1][1], s[0][1], s[2][1]], [s[2][2], s[1][2]]]
    columns = -sum(c[0] - np.log(np.exp(c).sum()) for c in columns) / 3
    assert float(loss) == pytest.approx((rows + columns) / 2, rel=1e-5)
    assert float(found) == pytest.approx(np.mean([np.argmax(c) == 0 for c in candidates]))
