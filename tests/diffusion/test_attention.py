"""Attention maps are those the layers use: with them the layers' outputs come out, bit for bit the image is the same."""

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from unsnarl.diffusion import AttentionStore, Host, daam, token_positions
from unsnarl.diffusion._attention import _attention_layers, _side
from unsnarl.diffusion._words import find_word
from unsnarl.errors import DataError, OptionError
from unsnarl.zoo import scene_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")


def asked(host, n=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, *host.latent_shape, generator=generator)
    told = host.encode_texts(["a red circle", "a photo of a cat"][:n])
    return z, host.draw_times(n, generator), told


def outputs(host, run):
    """What every attention layer got and gave."""
    seen, handles = {}, []
    for name, module in _attention_layers(host.denoiser):

        def hook(m, args, kwargs, out, name=name):
            seen[name] = (m, args, kwargs, out)

        handles.append(module.register_forward_hook(hook, with_kwargs=True))
    run()
    for handle in handles:
        handle.remove()
    return seen


def test_the_maps_make_the_layers_outputs(host):
    z, t, told = asked(host)
    with torch.no_grad(), AttentionStore(host, self_=True, heads="all") as store:
        seen = outputs(host, lambda: host.predict(z, t, told))
    by_name = {}
    for kind in ("cross", "self"):
        for layer in store.layers(kind):
            by_name.setdefault(layer.name, {})[kind] = store.layer_maps(layer)
    assert by_name.keys() == seen.keys()
    for name, maps in by_name.items():
        module, args, kwargs, out = seen[name]
        hidden = args[0] if args else kwargs["hidden_states"]
        text = kwargs.get("encoder_hidden_states")

        def split(x, module=module):
            return x.unflatten(2, (module.heads, -1)).transpose(1, 2)

        if len(maps) == 2:  # places attend to places and tokens at once
            mixed = maps["self"] @ split(module.to_v(hidden)) + maps["cross"] @ split(module.add_v_proj(text))
            out = out[0]
            assert torch.allclose(maps["self"].sum(-1) + maps["cross"].sum(-1), torch.ones(()), atol=1e-5)
        else:
            (shown,) = maps.values()
            mixed = shown @ split(module.to_v(hidden if text is None else text))
            assert torch.allclose(shown.sum(-1), torch.ones(()), atol=1e-5)
        assert torch.allclose(module.to_out[0](mixed.transpose(1, 2).flatten(2)), out, atol=1e-5)


def test_nothing_changes_while_maps_are_kept(host):
    z, t, told = asked(host)
    with torch.no_grad():
        before = host.predict(z, t, told)
        with AttentionStore(host, self_=True):
            during = host.predict(z, t, told)
    assert torch.equal(before, during)
    hooks = [m for _, m in _attention_layers(host.denoiser) if m._forward_hooks]
    assert not hooks
    assert not host.denoiser._forward_pre_hooks


def test_resolutions_and_means(unet_pipeline):
    host = Host(unet_pipeline)
    z, t, told = asked(host)
    with torch.no_grad(), AttentionStore(host, self_=True) as store:
        host.predict(z, t, told)
    assert store.maps(16).shape == (2, 256, 24)
    assert store.maps(8).shape == (2, 64, 24)
    assert store.maps(8, "self").shape == (2, 64, 64)
    layers = store.layers("cross", 16)
    assert torch.allclose(store.maps(16), torch.stack([store.layer_maps(one) for one in layers]).mean(0))
    up = store.maps(16, layers=["up_blocks"])
    assert not torch.allclose(up, store.maps(16))
    with pytest.raises(DataError, match="size 32"):
        store.maps(32)
    with torch.no_grad(), AttentionStore(host, sizes=[8]) as few:
        host.predict(z, t, told)
    assert {one.height for one in few.layers()} == {8}


def test_images_that_are_not_square(unet_pipeline):
    host = Host(unet_pipeline)
    _, t, told = asked(host)
    with torch.no_grad(), AttentionStore(host) as store:
        host.predict(torch.randn(2, 12, 8, 16), t, told)
    assert {(one.height, one.width) for one in store.layers()} == {(8, 16), (4, 8), (2, 4)}
    assert daam(store, [1], size=8).shape == (2, 8, 16)
    assert _side(30, 5, 6) == 5


def test_means_over_calls_and_all_calls(host):
    z, t, told = asked(host)
    size = host.latent_shape[1] if host.kind == "unet" else host.latent_shape[1] // 2
    with torch.no_grad(), AttentionStore(host, keep="all") as store:
        host.predict(z, t, told)
        host.predict(z + 1, t, told)
    every = store.maps(size)
    assert every.shape[0] == 2
    with torch.no_grad(), AttentionStore(host) as mean:
        host.predict(z, t, told)
        host.predict(z + 1, t, told)
    assert torch.allclose(mean.maps(size), every.mean(0), atol=1e-6)
    assert torch.allclose(daam(mean, [2]), daam(store, [2]), atol=1e-5)
    mean.reset()
    with pytest.raises(DataError, match="no maps at all"):
        mean.maps(size)


def test_gradients_of_maps_are_those_of_differences():
    from tiny_hosts import tiny_unet_pipeline

    host = Host(tiny_unet_pipeline())
    z, t, told = asked(host, n=1)
    weight = dict(host.denoiser.named_parameters())["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q.weight"]

    def value(gradients):
        with AttentionStore(host, gradients=gradients) as store:
            host.predict(z, t, told)
        return store.maps(16, layers=["down_blocks"])[0, :, 3].square().sum()

    loss = value(True)
    loss.backward()
    assert not value(False).requires_grad
    direction = torch.randn_like(weight)
    slope = float((weight.grad * direction).sum())
    with torch.no_grad():
        weight += 1e-2 * direction
        above = float(value(False))
        weight -= 2e-2 * direction
        below = float(value(False))
    assert slope == pytest.approx((above - below) / 2e-2, rel=0.02)


def test_only_the_half_that_was_told_counts_under_guidance(host):
    with AttentionStore(host, guided=True) as store:
        host.generate("a cat", seeds=[0, 1], steps=2)
    with AttentionStore(host, guided=False) as both:
        host.generate("a cat", seeds=[0, 1], steps=2)
    layer = store.layers()[0]
    assert torch.allclose(store.layer_maps(layer), both.layer_maps(layer)[2:], atol=1e-6)


def test_daam_is_the_mean_of_scaled_maps(unet_pipeline):
    host = Host(unet_pipeline)
    z, t, told = asked(host)
    with torch.no_grad(), AttentionStore(host) as store:
        host.predict(z, t, told)
    total = 0
    for layer in store.layers("cross"):
        picture = store.layer_maps(layer)[..., [2, 3]].mean(-1).reshape(2, 1, layer.height, layer.width)
        total = total + torch.nn.functional.interpolate(picture, (32, 32), mode="bicubic", align_corners=False)
    expected = (total / len(store.layers("cross")))[:, 0].clamp(min=0)
    assert torch.allclose(daam(store, [2, 3]), expected, atol=1e-6)
    with pytest.raises(DataError, match="tokens"):
        daam(store, [])
    with pytest.raises(DataError, match="with"):
        daam(AttentionStore(host), [1])


def test_bad_stores(host):
    with pytest.raises(OptionError, match="both False"):
        AttentionStore(host, cross=False)
    with pytest.raises(OptionError, match="keep"):
        AttentionStore(host, keep="last")
    z, t, told = asked(host)
    with torch.no_grad(), AttentionStore(host):
        host.predict(z, t, told)
        with pytest.raises(DataError, match="reset"):
            host.predict(z[:1], t[:1], told[:1])


def test_words_among_tokens():
    tokenizer = scene_tokenizer()
    text = "a photo of a red cat left of a blue cat"
    ids = tokenizer(text).input_ids
    for word, occurrence, expected in (("red", None, [5]), ("cat", 1, [11]), ("left of", None, [7, 8])):
        positions = token_positions(tokenizer, text, word, occurrence)
        assert positions == expected
        assert tokenizer.decode([ids[p] for p in positions]).strip() == word
    assert token_positions(tokenizer, "cat", "cat") == [1]
    with pytest.raises(DataError, match="not in the prompt"):
        find_word(text, "ca")
    with pytest.raises(OptionError, match="2 times"):
        find_word(text, "cat")
    with pytest.raises(OptionError, match="below 2"):
        find_word(text, "cat", 2)
    with pytest.raises(DataError, match="empty"):
        find_word(text, " ")
    with pytest.raises(DataError, match="beyond"):
        token_positions(tokenizer, "a " * 30 + "cat", "cat")
