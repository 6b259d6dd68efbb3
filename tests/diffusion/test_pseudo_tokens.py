"""New words learn alone: all else of the text encoder stays, and what was learned is read back, by diffusers too."""

import copy

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from unsnarl.diffusion import Host, PseudoTokens
from unsnarl.errors import CheckpointError, DataError, FileError, OptionError

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=["unet", "flow"])
def fresh(request):
    from tiny_hosts import tiny_flow_pipeline, tiny_unet_pipeline

    return Host(tiny_unet_pipeline() if request.param == "unet" else tiny_flow_pipeline())


def test_a_new_word_starts_as_its_init(fresh):
    told = fresh.encode_texts(["a photo of a cat"])
    with PseudoTokens(fresh, "<new1>", "cat"):
        again = fresh.encode_texts(["a photo of a <new1>", "a photo of a cat"])
    assert torch.equal(again.context[0], told.context[0])
    assert torch.equal(again.context[1], told.context[0])
    assert torch.equal(fresh.encode_texts(["a photo of a cat"]).context, told.context)


def test_only_new_rows_learn(fresh):
    encoders = [getattr(fresh.pipeline, n, None) for n in ("text_encoder", "text_encoder_2")]
    encoders = [one for one in encoders if one is not None]
    before = [copy.deepcopy(one.state_dict()) for one in encoders]
    plain = fresh.encode_texts(["a red circle"]).context
    with PseudoTokens(fresh, ["<new1>", "<new2>"], ["cat", "red circle"]) as words:
        assert [tuple(rows.shape) for rows in words.rows] == [(2, 128)] if len(encoders) == 1 else [(2, 64)] * 2
        optimizer = torch.optim.AdamW(words.parameters(), lr=0.1, weight_decay=0.1)
        target = torch.randn_like(plain[0])
        losses = []
        for _ in range(5):
            told = fresh.encode_texts(["a <new1> on a <new2>"], gradients=True)
            loss = (told.context[0] - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        assert losses[-1] < losses[0]
        assert torch.equal(fresh.encode_texts(["a red circle"]).context, plain)
    for encoder, old in zip(encoders, before, strict=True):
        now = encoder.state_dict()
        assert now.keys() == old.keys()
        assert all(torch.equal(now[k], old[k]) for k in old)


def test_rows_of_its_own_for_each_sample(fresh):
    with PseudoTokens(fresh, "<new1>", "cat") as words:
        rows = [torch.randn(2, *one.shape) for one in words.rows]
        with words.by_sample(*rows):
            both = fresh.encode_texts(["a <new1>", "a <new1>"]).context
            with pytest.raises(DataError, match="2 samples and 1"):
                fresh.encode_texts(["a <new1>"])
        for i in range(2):
            with torch.no_grad():
                for own, given in zip(words.rows, rows, strict=True):
                    own.copy_(given[i])
            assert torch.allclose(fresh.encode_texts(["a <new1>"]).context[0], both[i], atol=1e-6)
        with pytest.raises(DataError, match="shape"), words.by_sample(*[one[:, :0] for one in rows]):
            pass
        with pytest.raises(DataError, match="text encoders"), words.by_sample():
            pass


def test_several_vectors_a_word(fresh):
    with PseudoTokens(fresh, "<new1>", "cat", vectors=2) as words:
        assert words.rows[0].shape[0] == 2
        doubled = fresh.encode_texts(["a <new1>"]).context
        ids = fresh.pipeline.tokenizer("a <new1> <new1>_1").input_ids
        assert len(ids) == 5
    assert torch.allclose(doubled, fresh.encode_texts(["a cat cat"]).context, atol=1e-6)


def test_saved_words_are_read_by_diffusers_too(tmp_path):
    from tiny_hosts import tiny_unet_pipeline

    host = Host(tiny_unet_pipeline())
    with PseudoTokens(host, ["<new1>", "<new2>"], "cat") as words:
        with torch.no_grad():
            words.rows[0].copy_(torch.randn(2, 128))
        told = host.encode_texts(["a <new1> left of a <new2>"]).context
        paths = words.save(tmp_path)
    with PseudoTokens(host, ["<new1>", "<new2>"], "red") as again:
        assert torch.equal(again.read(tmp_path).rows[0], words.rows[0])
    other = Host(tiny_unet_pipeline())
    for path in paths:
        other.pipeline.load_textual_inversion(str(path))
    assert torch.allclose(other.encode_texts(["a <new1> left of a <new2>"]).context, told, atol=1e-6)
    with PseudoTokens(host, "<new3>", "cat") as third, pytest.raises(CheckpointError, match="new3"):
        third.read(tmp_path)
    with PseudoTokens(host, "<new1>", "cat", vectors=2) as longer, pytest.raises(FileError, match="shape"):
        longer.read(tmp_path)


def test_words_that_cannot_be_new(fresh):
    with pytest.raises(OptionError, match="known"):
        PseudoTokens(fresh, "cat", "cat")
    with pytest.raises(OptionError, match="at least one"):
        PseudoTokens(fresh, [], "cat")
    with pytest.raises(DataError):
        PseudoTokens(fresh, ["<a>", "<b>"], ["cat"])
    with PseudoTokens(fresh, "<a>", "cat"), pytest.raises(OptionError, match="known"):
        PseudoTokens(fresh, "<a>", "cat")
