"""Hosts ask a pipeline's denoiser as the pipeline's own call does, and turn every prediction into the noise it stands for."""

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from unsnarl.diffusion import Condition, Host, diffusion_loss, load_pipeline
from unsnarl.diffusion._loss import masked_mean
from unsnarl.diffusion._predictions import (
    PREDICTIONS,
    flow_log_snr,
    flow_norm,
    flow_share,
    signal_and_noise,
    target_of,
    to_clean,
    to_noise,
)
from unsnarl.errors import DataError, FileError, OptionError, UnknownNameError

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_a_true_prediction_gives_back_the_noise_and_the_image(kind):
    generator = torch.Generator().manual_seed(0)
    x, e = (torch.randn(5, 2, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    a = torch.tensor([-6.0, -1.0, 0.0, 2.0, 8.0], dtype=torch.float64)
    signal, rest = signal_and_noise(a)
    z = signal * x + rest * e
    told = target_of(kind, x, e, a)
    assert torch.allclose(to_noise(kind, told, z, a), e)
    assert torch.allclose(to_clean(kind, told, z, a), x)


def test_the_two_channels_are_the_same_but_for_a_factor():
    share = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    a = flow_log_snr(share)
    assert torch.allclose(flow_share(a), share)
    x, e = torch.tensor(0.7), torch.tensor(-1.3)
    signal, rest = signal_and_noise(a, 1)
    assert torch.allclose((1 - share) * x + share * e, flow_norm(share, 1) * (signal * x + rest * e))


def test_unknown_prediction():
    x = torch.zeros(1, 1, 1, 1)
    for function in (target_of, to_noise, to_clean):
        with pytest.raises(OptionError, match="epsilon"):
            function("score", x, x, torch.zeros(1))


def test_a_condition_is_sliced_spread_and_joined():
    told = Condition(torch.arange(6.0).reshape(3, 2, 1), torch.arange(3.0)[:, None])
    assert told[-1].context.flatten().tolist() == [4.0, 5.0]
    assert len(told[1:]) == 2
    assert told[torch.tensor([2, 0])].pooled.flatten().tolist() == [2.0, 0.0]
    joined = Condition.cat([told, told[1].expand(2)])
    assert joined.pooled.flatten().tolist() == [0.0, 1.0, 2.0, 1.0, 1.0]
    with pytest.raises(DataError, match="must have 1 or 5"):
        told.expand(5)
    with pytest.raises(DataError, match="pooled"):
        Condition.cat([told, Condition(told.context)])
    with pytest.raises(DataError, match="equal"):
        Condition(told.context, told.pooled[:2])


def test_what_a_host_says_of_itself(host):
    unet = host.kind == "unet"
    assert host.latent_shape == ((12, 16, 16) if unet else (3, 32, 32))
    assert host.image_size == 32
    assert host.text_length == (24 if unet else 32)
    assert len(host.log_snr) == 1000
    assert bool((host.log_snr.diff() < 0).all())
    told = host.encode_texts(["a red circle", "a cat"])
    assert told.context.shape == (2, host.text_length, 128)
    assert (told.pooled is None) == unet
    assert not told.context.requires_grad


def test_images_to_latents_and_back(host):
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    latents = host.encode_images(images)
    assert latents.shape == (2, *host.latent_shape)
    assert torch.allclose(host.decode(latents), images, atol=1e-6)
    with pytest.raises(DataError, match=r"\[-1, 1\]"):
        host.encode_images(3 * images)
    with pytest.raises(DataError, match="shape"):
        host.encode_images(images[:, :1])


def test_every_prediction_type_is_read_as_noise():
    from tiny_hosts import tiny_unet_pipeline

    torch.manual_seed(0)
    for kind in ("epsilon", "v_prediction", "sample"):
        host = Host(tiny_unet_pipeline(kind))
        assert host.prediction == kind
        told = host.encode_texts(["a red circle"])
        z = torch.randn(2, 12, 16, 16)
        a, t = host.snap(torch.tensor([-1.0, 3.0]))
        raw = host.denoiser(z, t, encoder_hidden_states=told.expand(2).context).sample
        s, r = torch.sigmoid(a).sqrt()[:, None, None, None], torch.sigmoid(-a).sqrt()[:, None, None, None]
        expected = {"epsilon": raw, "v_prediction": s * raw + r * z, "sample": (z - s * raw) / r}[kind]
        assert torch.allclose(host.predict_noise(z, a, told), expected, atol=1e-5)


def test_a_flow_is_asked_in_its_own_channel(flow_pipeline):
    host = Host(flow_pipeline)
    told = host.encode_texts(["a red circle"])
    x, e = torch.randn(2, 2, 3, 32, 32)
    share = torch.tensor([0.2, 0.7])
    a = flow_log_snr(share)
    s = share[:, None, None, None]
    velocity = host.denoiser(
        hidden_states=(1 - s) * x + s * e,
        timestep=1000 * share,
        encoder_hidden_states=told.expand(2).context,
        pooled_projections=told.expand(2).pooled,
    ).sample
    signal, rest = signal_and_noise(a)
    clean = (1 - s) * x + s * e - s * velocity  # what the flow believes the image is
    found = host.predict_noise(signal * x + rest * e, a, told)
    assert torch.allclose(found, ((signal * x + rest * e) - signal * clean) / rest, atol=1e-4)
    assert host.snap(a)[0] is a


def test_log_snr_snaps_to_the_schedule(unet_pipeline):
    host = Host(unet_pipeline)
    a, t = host.snap(torch.tensor([-50.0, float(host.log_snr[300]) + 1e-4, 50.0]))
    assert t.tolist() == [999, 300, 0]
    assert torch.equal(a, host.log_snr[t])


def test_training_pairs_agree_with_the_scheduler(unet_pipeline):
    host = Host(unet_pipeline)
    x, e = torch.randn(2, 4, 12, 16, 16)
    t = host.draw_times(4, torch.Generator().manual_seed(0))
    assert torch.allclose(host.add_noise(x, t, e), unet_pipeline.scheduler.add_noise(x, e, t), atol=1e-5)
    assert host.target(x, t, e) is e


def test_flow_times_are_logit_normal(flow_pipeline):
    times = Host(flow_pipeline).draw_times(4000, torch.Generator().manual_seed(0))
    normal = torch.logit(times / 1000)
    assert abs(float(normal.mean())) < 0.05
    assert abs(float(normal.std()) - 1) < 0.05


def test_images_depend_on_their_prompt_and_seed_alone(host):
    prompts = ["a red circle", "a cat", "a red circle"]
    together = host.generate(prompts, seeds=[1, 2, 1], steps=3, rows=2)
    alone = host.generate("a cat", seeds=[2], steps=3)
    assert together.shape == (3, 3, 32, 32)
    assert float(together.abs().max()) <= 1
    assert torch.allclose(together[1], alone[0], atol=1e-5)
    assert torch.allclose(together[0], together[2], atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_conditions_stand_for_prompts(host):
    told = host.encode_texts(["a red circle"])
    by_prompt = host.generate("a red circle", seeds=[5, 6], steps=2)
    assert torch.allclose(host.generate(conditions=told, seeds=[5, 6], steps=2), by_prompt, atol=1e-6)
    without = host.generate(conditions=told, seeds=[5], steps=2, guidance=1)
    assert not torch.allclose(without, by_prompt[:1])
    with pytest.raises(OptionError, match="either"):
        host.generate(seeds=[1])
    with pytest.raises(DataError):
        host.generate(["a", "b"], seeds=[1, 2, 3])


def test_the_pipelines_own_call_gives_the_same_images(unet_pipeline):
    host = Host(unet_pipeline)
    generator = torch.Generator().manual_seed(3)
    own = unet_pipeline(
        "a red circle", num_inference_steps=3, guidance_scale=3.0, generator=generator, output_type="pt"
    ).images
    assert torch.allclose(host.generate("a red circle", seeds=[3], steps=3), 2 * own - 1, atol=1e-6)


def test_the_loss_is_the_mean_over_what_the_mask_shows(host):
    x, e = torch.randn(2, 2, *host.latent_shape)
    told = host.encode_texts(["a red circle", "a cat"])
    t = host.draw_times(2, torch.Generator().manual_seed(1))
    squares = (host.predict(host.add_noise(x, t, e), t, told) - host.target(x, t, e)) ** 2
    assert torch.allclose(diffusion_loss(host, x, told, t, e), squares.mean())
    mask = torch.zeros(2, 32, 32)
    mask[:, :8, :16] = 1
    side = host.latent_shape[1] // 4
    expected = squares[:, :, :side, : 2 * side].mean((1, 2, 3))
    masked = diffusion_loss(host, x, told, t, e, mask=mask, reduction="none")
    assert torch.allclose(masked, expected, rtol=1e-4)
    weight = torch.tensor([2.0, 0.0])
    assert torch.allclose(diffusion_loss(host, x, told, t, e, mask=mask, weight=weight), expected[0], rtol=1e-4)


def test_masks_that_show_nothing():
    squares = torch.ones(2, 3, 4, 4)
    with pytest.raises(DataError, match="empty for 1 of 2"):
        masked_mean(squares, torch.stack([torch.zeros(4, 4), torch.ones(4, 4)]))
    with pytest.raises(DataError, match="negative"):
        masked_mean(squares, -torch.ones(2, 4, 4))
    with pytest.raises(DataError, match="n = 2"):
        masked_mean(squares, torch.ones(3, 4, 4))


def test_pipelines_by_whatever_they_are_called(unet_pipeline, tmp_path):
    assert load_pipeline(unet_pipeline) is unet_pipeline
    assert Host(Host(unet_pipeline)).pipeline is unet_pipeline
    unet_pipeline.save_pretrained(tmp_path / "sd")
    again = Host(tmp_path / "sd")
    prompt = {"prompts": "a cat", "seeds": [1], "steps": 2}
    assert torch.allclose(again.generate(**prompt), Host(unet_pipeline).generate(**prompt), atol=1e-6)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="model_index"):
        load_pipeline(tmp_path / "empty")
    with pytest.raises(FileError, match="neither a folder"):
        load_pipeline("nobody/nothing")
    with pytest.raises(UnknownNameError):
        load_pipeline("zoo/sd-tinny-32")
    with pytest.raises(OptionError, match="int"):
        load_pipeline(3)


def test_a_folder_in_half_precision_and_without_its_third_encoder_is_read_whole(flow_pipeline, tmp_path):
    before = Host(flow_pipeline).generate("a cat", seeds=[1], steps=2)
    flow_pipeline.to(torch.float16).save_pretrained(tmp_path)
    host = Host(tmp_path)
    assert {p.dtype for part in (host.denoiser, host.pipeline.text_encoder) for p in part.parameters()} == {
        torch.float32
    }
    assert torch.allclose(host.generate("a cat", seeds=[1], steps=2), before, atol=0.02)


def test_families_that_are_not_supported(unet_pipeline):
    import diffusers

    unet = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",)
    )
    other = diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler())
    with pytest.raises(OptionError, match="not supported"):
        Host(other)


def test_the_true_layout_of_stable_diffusion():
    """Four latent channels from a real `AutoencoderKL`, 77 tokens, v-prediction: a hub checkpoint's classes, untrained and narrow."""
    import diffusers
    import transformers

    from tiny_hosts import published_tokenizer

    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=64,
    )
    tokenizer = published_tokenizer()
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
        )
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    scheduler = diffusers.PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type="v_prediction"
    )
    host = Host(
        diffusers.StableDiffusionPipeline(
            vae, text, tokenizer, unet, scheduler, None, None, requires_safety_checker=False
        )
    )
    host.pipeline.set_progress_bar_config(disable=True)
    assert host.image_size == 64
    assert host.text_length == 77
    assert host.prediction == "v_prediction"
    latents = host.encode_images(torch.rand(1, 3, 64, 64) * 2 - 1)
    assert latents.shape == (1, 4, 8, 8)
    raw = vae.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mode()
    assert torch.allclose(host.encode_images(torch.zeros(1, 3, 64, 64)), raw * 0.18215, atol=1e-6)
    assert host.decode(latents).shape == (1, 3, 64, 64)
    assert host.generate("a cat", seeds=[0], steps=10).shape == (1, 3, 64, 64)
    assert float(host.log_snr[0]) == pytest.approx(7.07, abs=0.02)
