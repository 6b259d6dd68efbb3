"""Sparse autoencoders: what they compute, and reading those that others published."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from unsnarl.errors import CheckpointError, DataError, FileError, OptionError
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder


def weights(seed=0, inputs=3, features=5):
    draw = torch.Generator().manual_seed(seed)
    return (
        torch.randn(features, inputs, generator=draw),
        torch.randn(features, generator=draw),
        torch.randn(features, inputs, generator=draw),
        torch.randn(inputs, generator=draw),
    )


X = torch.randn(7, 3, generator=torch.Generator().manual_seed(9))


def test_tied_by_hand():
    sae = SparseAutoencoder(2, 3)
    with torch.no_grad():
        sae.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]]))
        sae.bias.copy_(torch.tensor([0.5, -1.0, 0.0]))
    codes, reconstruction = sae(torch.tensor([[1.0, 2.0]]))
    assert torch.equal(codes, torch.tensor([[1.5, 3.0, 1.0]]))
    assert torch.equal(reconstruction, torch.tensor([[1.5 - 1.0, 6.0 + 1.0]]))
    assert {name for name, _ in sae.named_parameters()} == {"weight", "bias"}


def test_untied_has_two_biased_layers_of_its_own():
    sae = SparseAutoencoder(3, 5, tied=False)
    W, b, V, c = weights()
    sae.load_state_dict({"weight": W, "bias": b, "decoder": V, "decoder_bias": c})
    codes, reconstruction = sae(X)
    torch.testing.assert_close(codes, torch.relu(torch.nn.functional.linear(X, W, b)))
    torch.testing.assert_close(reconstruction, torch.nn.functional.linear(codes, V.T, c))


def test_first_weights_are_those_stated():
    tied = SparseAutoencoder(30, 70)
    bound = (6 / 100) ** 0.5  # Xavier-uniform
    assert 0.95 * bound < tied.weight.abs().max().item() <= bound
    assert tied.weight.var().item() == pytest.approx(bound**2 / 3, rel=0.05)
    assert not tied.bias.any()
    untied = SparseAutoencoder(30, 70, tied=False)
    for parameter, fan_in in ((untied.weight, 30), (untied.bias, 30), (untied.decoder, 70), (untied.decoder_bias, 70)):
        assert 0.8 * fan_in**-0.5 < parameter.abs().max().item() <= fan_in**-0.5
    assert torch.equal(SparseAutoencoder(3, 4, seed=1).weight, SparseAutoencoder(3, 4, seed=1).weight)
    assert not torch.equal(SparseAutoencoder(3, 4, seed=1).weight, SparseAutoencoder(3, 4, seed=2).weight)


def test_leading_dimensions_and_gradients_pass():
    sae = SparseAutoencoder(3, 4)
    x = torch.randn(2, 5, 3, requires_grad=True)
    codes, reconstruction = sae(x)
    assert codes.shape == (2, 5, 4)
    reconstruction.square().mean().backward()
    assert x.grad is not None
    assert sae.weight.grad.abs().sum() > 0


def test_other_activations_by_hand():
    W, b, V, c = weights()
    before = X @ W.T + b
    state = {"weight": W, "bias": b, "decoder": V, "decoder_bias": c}

    top = SparseAutoencoder(3, 5, tied=False, activation="topk", k=2)
    top.load_state_dict(state)
    codes = top.encode(X)
    expected = torch.where(before >= before.topk(2).values[:, 1:], before, 0.0).relu()
    torch.testing.assert_close(codes, expected)
    assert ((codes > 0).sum(1) <= 2).all()

    jump = SparseAutoencoder(3, 5, tied=False, activation="jumprelu")
    jump.load_state_dict(state | {"threshold": torch.full((5,), 0.7)})
    torch.testing.assert_close(jump.encode(X), torch.where(before > 0.7, before, 0.0))

    gated = SparseAutoencoder(3, 5, tied=False, activation="gated")
    r, m = torch.linspace(-1, 1, 5), torch.linspace(0.5, -0.5, 5)
    gated.load_state_dict(state | {"log_scale": r, "magnitude_bias": m})
    torch.testing.assert_close(gated.encode(X), ((X @ W.T) * r.exp() + m).relu() * (before > 0))


@pytest.mark.parametrize("normalize", ["layer_norm", "constant_norm"])
def test_normalised_inputs_come_back_on_their_own_scale(normalize):
    sae = SparseAutoencoder(3, 6, tied=False, normalize=normalize)
    with torch.no_grad():  # +-x_i: reconstructs anything exactly
        sae.weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)]))
        sae.decoder.copy_(sae.weight)
        sae.bias.zero_(), sae.decoder_bias.zero_()
    x = 5 * X + 2
    torch.testing.assert_close(sae(x)[1], x)
    torch.testing.assert_close(sae.encode(10 * x), sae.encode(x), rtol=1e-3, atol=1e-4)  # the scale is gone


def test_save_and_load(tmp_path):
    for options in ({}, {"tied": False, "subtract_bias": True}, {"tied": False, "activation": "topk", "k": 2}):
        sae = SparseAutoencoder(3, 5, seed=4, **options)
        sae.save_pretrained(tmp_path / "sae")
        loaded = SparseAutoencoder.from_pretrained(tmp_path, "sae")
        assert loaded.config() == sae.config()
        assert torch.equal(loaded(X)[0], sae(X)[0])
        assert torch.equal(loaded(X)[1], sae(X)[1])


def published(folder, config, tensors, name):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    return folder


def sae_lens(folder, **config):
    W, b, V, c = weights()
    extra = config.pop("tensors", {})
    bias = {} if config.get("architecture") == "gated" else {"b_enc": b}
    tensors = {"W_enc": W.T, "W_dec": V, "b_dec": c, **bias, **extra}
    config = {"d_in": 3, "d_sae": 5, "normalize_activations": "none"} | config
    return published(folder, config, tensors, "sae_weights.safetensors")


def test_reads_sae_lens(tmp_path):
    W, b, V, c = weights()
    sae = SparseAutoencoder.from_pretrained(sae_lens(tmp_path / "a", architecture="standard"))
    torch.testing.assert_close(sae.encode(X), ((X - c) @ W.T + b).relu())  # apply_b_dec_to_input is their default
    sae = SparseAutoencoder.from_pretrained(
        sae_lens(tmp_path / "b", architecture="standard", apply_b_dec_to_input=False)
    )
    codes, reconstruction = sae(X)
    torch.testing.assert_close(codes, (X @ W.T + b).relu())
    torch.testing.assert_close(reconstruction, codes @ V + c)
    sae = SparseAutoencoder.from_pretrained(
        sae_lens(tmp_path / "c", architecture="jumprelu", tensors={"threshold": torch.full((5,), 0.4)})
    )
    before = (X - c) @ W.T + b
    torch.testing.assert_close(sae.encode(X), torch.where(before > 0.4, before, 0.0))
    gates = {"b_gate": b, "r_mag": torch.linspace(-1, 1, 5), "b_mag": torch.ones(5)}
    sae = SparseAutoencoder.from_pretrained(sae_lens(tmp_path / "d", architecture="gated", tensors=gates))
    expected = (((X - c) @ W.T) * gates["r_mag"].exp() + 1).relu() * (before > 0)
    torch.testing.assert_close(sae.encode(X), expected)


def test_reads_top_k_with_rescaled_activations_and_old_settings(tmp_path):
    W, b, V, c = weights()
    rescaled = SparseAutoencoder.from_pretrained(
        sae_lens(tmp_path / "a", architecture="topk", k=2, rescale_acts_by_decoder_norm=True)
    )
    norm = V.norm(dim=1)
    scaled = ((X - c) @ W.T + b) * norm
    expected = torch.where(scaled >= scaled.topk(2).values[:, 1:], scaled, 0.0).relu()
    codes, reconstruction = rescaled(X)
    torch.testing.assert_close(codes, expected)
    torch.testing.assert_close(reconstruction, (expected / norm) @ V + c)
    old = sae_lens(
        tmp_path / "b",
        activation_fn_str="topk",
        activation_fn_kwargs={"k": 3},
        finetuning_scaling_factor=True,
        tensors={"scaling_factor": torch.full((5,), 2.0)},
    )
    sae = SparseAutoencoder.from_pretrained(old)
    assert (sae.activation, sae.k) == ("topk", 3)
    torch.testing.assert_close(sae(X)[1], 2 * sae.encode(X) @ V + c)


def test_reads_sparsify_and_dictionary_learning(tmp_path):
    W, b, V, c = weights()
    tensors = {"encoder.weight": W, "encoder.bias": b, "W_dec": V, "b_dec": c}
    config = {"expansion_factor": 32, "num_latents": 5, "k": 2, "d_in": 3, "normalize_decoder": True}
    published(tmp_path / "layers.3", config, tensors, "sae.safetensors")
    sae = SparseAutoencoder.from_pretrained(tmp_path, "layers.3")
    before = ((X - c) @ W.T + b).relu()
    torch.testing.assert_close(sae.encode(X), torch.where(before >= before.topk(2).values[:, 1:], before, 0.0))
    sae = SparseAutoencoder.from_tensors({"encoder.weight": W, "encoder.bias": b, "decoder.weight": V.T, "bias": c})
    codes, reconstruction = sae(X)
    torch.testing.assert_close(codes, before)
    torch.testing.assert_close(reconstruction, codes @ V + c)


def test_half_precision_files_are_read_as_single(tmp_path):
    W, b, V, c = (t.to(torch.bfloat16) for t in weights())
    tensors = {"W_enc": W.T, "b_enc": b, "W_dec": V, "b_dec": c}
    folder = published(tmp_path / "a", {"d_in": 3, "d_sae": 5}, tensors, "sae_weights.safetensors")
    assert SparseAutoencoder.from_pretrained(folder).weight.dtype == torch.float32


def test_refuses_what_it_would_compute_wrongly(tmp_path):
    cases = {
        "architecture 'temporal'": {"architecture": "temporal"},
        "activation 'tanh-relu'": {"activation_fn_str": "tanh-relu"},
        "fold it into the weights": {"normalize_activations": "expected_average_only_in"},
    }
    for number, (message, config) in enumerate(cases.items()):
        with pytest.raises(DataError, match=message):
            SparseAutoencoder.from_pretrained(sae_lens(tmp_path / str(number), **config))
    W, b, V, c = weights()
    tensors = {"encoder.weight": W, "encoder.bias": b, "W_dec": V, "b_dec": c}
    for name, value in {"transcode": True, "skip_connection": True, "activation": "groupmax", "signed": True}.items():
        folder = published(
            tmp_path / name, {"d_in": 3, "num_latents": 5, "k": 2, name: value}, tensors, "sae.safetensors"
        )
        with pytest.raises(DataError, match=f"{name}="):
            SparseAutoencoder.from_pretrained(folder)


def test_damaged_and_foreign_files(tmp_path):
    with pytest.raises(CheckpointError, match="shape"):
        SparseAutoencoder.from_pretrained(sae_lens(tmp_path / "a", d_sae=6))
    with pytest.raises(CheckpointError, match="not finite"):
        SparseAutoencoder.from_pretrained(sae_lens(tmp_path / "b", tensors={"b_enc": torch.full((5,), torch.nan)}))
    with pytest.raises(CheckpointError, match="threshold is missing"):
        SparseAutoencoder.from_pretrained(sae_lens(tmp_path / "c", architecture="jumprelu"))
    folder = sae_lens(tmp_path / "d")
    (folder / "sae_weights.safetensors").write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match="truncated"):
        SparseAutoencoder.from_pretrained(folder)
    folder = sae_lens(tmp_path / "e")
    (folder / "cfg.json").write_text("[")
    with pytest.raises(CheckpointError, match="damaged"):
        SparseAutoencoder.from_pretrained(folder)
    with pytest.raises(CheckpointError, match="no known autoencoder"):
        SparseAutoencoder.from_tensors({"w": torch.ones(2)})


def test_never_opens_a_pickle_and_says_where_to_look(tmp_path):
    (tmp_path / "ae.pt").write_bytes(b"\x80\x04N.")
    with pytest.raises(FileError, match=r"ae\.pt, which can run code"):
        SparseAutoencoder.from_pretrained(tmp_path)
    sae_lens(tmp_path / "many" / "layers.0")
    with pytest.raises(FileError, match=r"subfolder=: layers\.0"):
        SparseAutoencoder.from_pretrained(tmp_path / "many")
    with pytest.raises(FileError, match=r"no folder layers\.1; it has layers\.0"):
        SparseAutoencoder.from_pretrained(tmp_path / "many", "layers.1")
    with pytest.raises(FileError, match="there is no folder"):
        SparseAutoencoder.from_pretrained(tmp_path / "none")
    with pytest.raises(FileError, match="neither a folder nor a repository"):  # the hub is offline in tests
        SparseAutoencoder.from_pretrained("nobody/nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot make the folder"):
        SparseAutoencoder(2, 3).save_pretrained(tmp_path / "file" / "sae")


def test_bad_options():
    for options, message in [
        ({"inputs": 0, "features": 3}, "inputs"),
        ({"inputs": 3, "features": 0}, "features"),
        ({"inputs": 3, "features": 4, "activation": "gelu"}, "activation"),
        ({"inputs": 3, "features": 4, "activation": "topk"}, "k=None"),
        ({"inputs": 3, "features": 4, "k": 2}, "k=2"),
        ({"inputs": 3, "features": 4, "activation": "topk", "k": 5}, "k=5"),
        ({"inputs": 3, "features": 4, "subtract_bias": True}, "tied"),
        ({"inputs": 3, "features": 4, "normalize": "batch"}, "normalize"),
    ]:
        with pytest.raises(OptionError, match=message):
            SparseAutoencoder(**options)
    with pytest.raises(DataError, match="reads 3 neurons, but the activations have 4"):
        SparseAutoencoder(3, 5).encode(torch.ones(2, 4))
