"""Images of a class are made once; image prompts are diffusers' own layers, and begin as the text's."""

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from unsnarl.diffusion import Host, ImagePrompt, PriorCache
from unsnarl.errors import DataError, FileError, OptionError

pytestmark = pytest.mark.filterwarnings("ignore")


def test_prior_images_are_made_once(host, tmp_path, monkeypatch):
    settings = {"folder": tmp_path, "steps": 2, "rows": 2}
    first = PriorCache(host, "a cat", 3, **settings).images()
    assert first.shape == (3, 3, 32, 32)
    made = host.generate("a cat", seeds=[0, 1, 2], steps=2)
    assert torch.allclose(first, made, atol=1 / 127)
    assert PriorCache(host, "a cat", 2, **settings).latents().shape == (2, *host.latent_shape)

    def refuse(*args, **kwargs):
        raise AssertionError("made again")

    monkeypatch.setattr(host, "generate", refuse)
    again = PriorCache(host, "a cat", 4, **settings)
    assert torch.equal(again.images()[:3], first)
    for other in ({"seed": 1}, {"guidance": 2.0}, {"steps": 3}):
        with pytest.raises(AssertionError, match="made again"):
            PriorCache(host, "a cat", 2, **(settings | other)).images()


def test_another_host_has_another_cache(tmp_path):
    from tiny_hosts import tiny_unet_pipeline

    caches = [PriorCache(Host(tiny_unet_pipeline(seed=s)), "a cat", 1, folder=tmp_path) for s in (0, 0, 1)]
    assert caches[0].folder == caches[1].folder != caches[2].folder


def test_a_damaged_cache(host, tmp_path):
    import numpy as np

    cache = PriorCache(host, "a cat", 1, folder=tmp_path, steps=1, rows=1)
    cache.folder.mkdir()
    np.save(cache.folder / "000000.npy", np.zeros((1, 2)))
    with pytest.raises(DataError, match="remove"):
        cache.images()
    with pytest.raises(OptionError):
        PriorCache(host, "a cat", 0)


@pytest.fixture
def fresh():
    from tiny_hosts import tiny_unet_pipeline

    return Host(tiny_unet_pipeline())


def asked(host):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, *host.latent_shape, generator=generator)
    return z, host.draw_times(2, generator), host.encode_texts(["a red circle", "a cat"])


def test_without_scale_the_image_says_nothing(fresh):
    z, t, told = asked(fresh)
    with torch.no_grad():
        before = fresh.predict(z, t, told)
        prompt = ImagePrompt(fresh, width=7, scale=0.0)
        embeddings = torch.randn(2, 7)
        assert torch.allclose(fresh.predict(z, t, told, **prompt.inputs(embeddings)), before, atol=1e-5)
        prompt.set_scale(1.0)
        with_image = fresh.predict(z, t, told, **prompt.inputs(embeddings))
        assert not torch.allclose(with_image, before, atol=1e-3)
        prompt.detach()
        assert torch.equal(fresh.predict(z, t, told), before)


def test_the_second_attention_is_that_of_the_equation(fresh):
    prompt = ImagePrompt(fresh, width=7, tokens=3, scale=0.6)
    name, processor = next(iter(prompt.processors.items()))
    layer = fresh.denoiser.get_submodule(name.removesuffix(".processor"))
    hidden = torch.randn(2, 256, layer.to_q.in_features)
    text, image = torch.randn(2, 24, 128), torch.randn(2, 1, 3, 128)

    def attend(keys, values):
        q, k, v = (x.unflatten(2, (layer.heads, -1)).transpose(1, 2) for x in (layer.to_q(hidden), keys, values))
        return ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)

    flat = image[:, 0]
    mixed = attend(layer.to_k(text), layer.to_v(text)) + 0.6 * attend(
        processor.to_k_ip[0](flat), processor.to_v_ip[0](flat)
    )
    found = layer(hidden, encoder_hidden_states=(text, [image]))
    assert torch.allclose(found, layer.to_out[0](mixed), atol=1e-5)
    assert torch.equal(processor.to_k_ip[0].weight, layer.to_k.weight)


def test_image_prompts_learn_and_are_read_back(fresh, tmp_path):
    from tiny_hosts import tiny_unet_pipeline

    z, t, told = asked(fresh)
    prompt = ImagePrompt(fresh, width=7)
    embeddings = torch.randn(2, 7)
    fresh.predict(z, t, told, **prompt.inputs(embeddings)).square().mean().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in prompt.parameters())
    with torch.no_grad():
        for p in prompt.parameters():
            p += 0.1 * torch.randn_like(p)
    made = prompt.generate(embeddings, "a cat", seeds=[0, 1], steps=2)
    whole = fresh.predict(z, t, told, **prompt.inputs(embeddings))
    for i in range(2):
        alone = fresh.predict(z[i : i + 1], t[i : i + 1], told[i], **prompt.inputs(embeddings[i : i + 1]))
        assert torch.allclose(alone, whole[i : i + 1], atol=1e-5)
    path = prompt.save(tmp_path / "prompt.safetensors")

    other = Host(tiny_unet_pipeline())
    again = ImagePrompt(other, width=7).read(path)
    assert torch.allclose(again.generate(embeddings, "a cat", seeds=[0, 1], steps=2), made, atol=1e-5)
    assert again.generate(embeddings[:1], ["a cat", "a fish"], seeds=[0, 1], steps=1, rows=1).shape == made.shape

    theirs = Host(tiny_unet_pipeline())
    theirs.pipeline.load_ip_adapter(
        str(tmp_path), subfolder="", weight_name="prompt.safetensors", image_encoder_folder=None
    )
    given = torch.cat([torch.zeros(2, 1, 7), embeddings[:, None]])
    own = theirs.generate("a cat", seeds=[0, 1], steps=2, ip_adapter_image_embeds=[given])
    assert torch.allclose(own, made, atol=1e-5)

    with pytest.raises(FileError, match="needs"):
        ImagePrompt(Host(tiny_unet_pipeline()), width=8).read(path)


def test_bad_image_prompts(fresh, flow_pipeline):
    with pytest.raises(OptionError, match="UNet"):
        ImagePrompt(Host(flow_pipeline), width=7)
    prompt = ImagePrompt(fresh, width=7)
    with pytest.raises(OptionError, match="already"):
        ImagePrompt(fresh, width=7)
    with pytest.raises(DataError, match=r"\(n, 7\)"):
        prompt.inputs(torch.randn(2, 8))
