"""The generators' losses against their definitions, and their pipelines written and read by the libraries they belong to."""

import pytest
import torch

from unsnarl.training import train
from unsnarl.zoo._degrade import degrade
from unsnarl.zoo._denoising import FlowTask, NoiseTask, flow_context, spread_uniforms
from unsnarl.zoo._scene_batches import CaptionedBatches, token_ids

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def clip():
    from unsnarl.zoo._clip_recipes import CLIP_TINY

    torch.manual_seed(0)
    return CLIP_TINY.make({}, 10).model


@pytest.fixture(scope="module")
def texts(clip):
    from unsnarl.zoo import _sd3_recipe

    torch.manual_seed(1)
    return tuple(_sd3_recipe._make_texts({"clip-tiny": clip}, 10).encoders)


def test_one_number_from_each_part():
    drawn = spread_uniforms(8, torch.Generator().manual_seed(0))
    assert sorted((8 * drawn).long().tolist()) == list(range(8))


def test_the_rearranged_pixels_come_back_exactly(tmp_path):
    from unsnarl.zoo.pixel_vae import PixelUnshuffleVAE

    images = torch.rand(2, 3, 32, 32)
    for factor in (1, 2):
        vae = PixelUnshuffleVAE(factor=factor, block_out_channels=(1,) * factor, latent_channels=3 * factor**2)
        code = vae.encode(images).latent_dist.sample()
        assert code.shape == (2, 3 * factor**2, 32 // factor, 32 // factor)
        assert torch.equal(vae.decode(code).sample, images)
        vae.save_pretrained(tmp_path / str(factor))
        again = PixelUnshuffleVAE.from_pretrained(tmp_path / str(factor))
        assert torch.equal(again(images).sample, images)


class Told(torch.nn.Module):
    """Remembers what it was given, and answers with its one weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.3))

    def forward(self, *arguments, **options):
        self.given = arguments, options
        x = arguments[0] if arguments else options["hidden_states"]
        return type("Answer", (), {"sample": self.weight * torch.ones_like(x)})()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_noise_loss_is_the_mean_squared_error_of_what_is_predicted(clip, prediction):
    from unsnarl.zoo._sd_recipe import text_model

    abar = torch.linspace(0.99, 0.01, 100)
    task = NoiseTask(Told(), text_model(clip), abar, prediction=prediction, steps=10)
    task.prepare()
    images = torch.rand(6, 3, 32, 32) * 2 - 1
    ids = torch.randint(0, 700, (6, 24))
    loss = task("main", (images, ids), 0, torch.Generator().manual_seed(5))["loss"]
    (noisy, t), options = task.network.given
    level = abar[t][:, None, None, None]
    x = torch.nn.functional.pixel_unshuffle(images, 2)
    noise = (noisy - level.sqrt() * x) / (1 - level).sqrt()
    target = {"epsilon": noise, "v_prediction": level.sqrt() * noise - (1 - level).sqrt() * x, "sample": x}[prediction]
    weight = (1 / (1 - level)).clamp(max=10) if prediction == "sample" else torch.ones_like(level)
    assert float(loss) == pytest.approx(float((weight * (target - 0.3).square()).mean()), rel=1e-4)
    assert abs(float(noise.std()) - 1) < 0.05
    assert options["encoder_hidden_states"].shape == (6, 24, 128)


def test_the_flow_loss_is_the_mean_squared_error_of_the_velocity(texts):
    task = FlowTask(Told(), texts, steps=10)
    task.prepare()
    x = torch.rand(6, 3, 32, 32) * 2 - 1
    loss = task("main", (x, torch.randint(0, 700, (6, 24))), 0, torch.Generator().manual_seed(5))["loss"]
    given = task.network.given[1]
    s = (given["timestep"] / 1000)[:, None, None, None]
    velocity = (given["hidden_states"] - x) / s  # z = (1 - s) x + s e, so (z - x) / s = e - x
    assert float(loss) == pytest.approx(float((velocity - 0.3).square().mean()), rel=1e-3)
    assert given["encoder_hidden_states"].shape == (6, 32, 128)


def test_the_context_is_the_pipelines(texts):
    from unsnarl.zoo import _sd3_recipe

    transformer = diffusers.SD3Transformer2DModel(**{**_sd3_recipe.TRANSFORMER, "num_layers": 1})
    made = _sd3_recipe.pipeline(transformer, texts)
    said = "a photo of a crimson cat"
    hidden, _, pooled, _ = made.encode_prompt(said, said, said, max_sequence_length=8, device="cpu")
    ours = flow_context(texts, token_ids(made.tokenizer, [said]), 8)
    assert torch.equal(hidden, ours[0])
    assert torch.equal(pooled, ours[1])


def test_a_generator_learns_is_written_and_samples_the_same(clip, tmp_path, monkeypatch):
    from unsnarl.zoo import _denoising, _sd_recipe

    monkeypatch.setattr(_denoising, "WARMUP", 3)

    small = {**_sd_recipe.UNET, "block_out_channels": (16, 16, 16), "norm_num_groups": 8}
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(**small)
    noise = diffusers.DDPMScheduler(**_sd_recipe.NOISE)
    task = NoiseTask(unet, _sd_recipe.text_model(clip), noise.alphas_cumprod, steps=30)
    pipe = _sd_recipe.pipeline(task.average.module, clip)
    history = train(task, CaptionedBatches(pipe.tokenizer, 4), steps=30, log_every=1, progress=False)
    losses = [row["loss"] for row in history]
    assert sum(losses[-5:]) / 5 < 0.9 * losses[0]
    pipe.save_pretrained(tmp_path)
    again = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)

    def sample(one):
        generator = torch.Generator().manual_seed(0)
        return one("a red cat", num_inference_steps=2, guidance_scale=3.0, generator=generator, output_type="pt").images

    images = sample(pipe)
    assert images.shape == (1, 3, 32, 32)
    assert torch.equal(images, sample(again))


def test_degraded_images_stay_images_and_a_share_of_them_untouched():
    images = torch.rand(200, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    out = degrade(images, torch.Generator().manual_seed(1), 0.5)
    assert out.shape == images.shape
    assert float(out.abs().max()) <= 1
    same = (out == images).flatten(1).all(1).float().mean()
    assert 0.35 < float(same) < 0.65
    assert torch.equal(degrade(images, torch.Generator().manual_seed(1), 0.0), images)


def test_steps_are_drawn_where_they_should_be(clip):
    from unsnarl.zoo._denoising import time_density
    from unsnarl.zoo._sd_recipe import text_model

    log_snr = torch.linspace(9.0, -9.0, 200)
    density = time_density(log_snr, mean=-2.0, deviation=1.5, evenly=0.2)
    assert float(density.sum()) == pytest.approx(1.0, abs=1e-5)
    even, normal = 0.2 / 200, (density - 0.2 / 200) / 0.8
    assert float((normal * log_snr).sum()) == pytest.approx(-2.0, abs=0.02)
    assert float((normal * (log_snr + 2) ** 2).sum()) == pytest.approx(1.5**2, rel=0.02)
    assert float(density.min()) >= even
    task = NoiseTask(Told(), text_model(clip), torch.sigmoid(log_snr), density=density, steps=10)
    task.prepare()
    batch = torch.zeros(400, 3, 32, 32), torch.zeros(400, 24, dtype=torch.long)
    task("main", batch, 0, torch.Generator().manual_seed(0))
    drawn = log_snr[task.network.given[0][1]]
    assert float(drawn.mean()) == pytest.approx(float((density * log_snr).sum()), abs=0.05)


def test_a_flow_draws_a_normal_log_snr(texts):
    task = FlowTask(Told(), texts, mean=-2.0, deviation=1.5, steps=10)
    task.prepare()
    batch = torch.zeros(400, 3, 32, 32), torch.zeros(400, 24, dtype=torch.long)
    task("main", batch, 0, torch.Generator().manual_seed(0))
    drawn = -2 * torch.logit(task.network.given[1]["timestep"] / 1000)
    assert float(drawn.mean()) == pytest.approx(-2.0, abs=0.05)
    assert float(drawn.std()) == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize("name", ["sd-tiny-32", "sd3-tiny-32"])
def test_the_second_task_reads_features_of_the_network_and_is_thrown_away(clip, texts, name):
    from unsnarl.zoo import recipe

    models = {"clip-tiny": clip, "sd3-tiny-texts": texts}
    torch.manual_seed(0)
    one = recipe(name)
    task = one.make(models, 10)
    task.prepare()
    batch = one.batches(models)(0)
    losses = task("main", batch, 0, torch.Generator().manual_seed(0))
    assert float(losses["loss"]) == pytest.approx(float(losses["error"] + 0.01 * losses["reading"]))
    losses["reading"].backward()
    early = next(iter(task.network.parameters()))
    assert early.grad.abs().sum() > 0
    assert not any("head" in key for key in task.average.module.state_dict())
    learned = {id(p) for group in task.optimizers_["main"].param_groups for p in group["params"]}
    assert {id(p) for p in [*task.network.parameters(), *task.head.parameters()]} == learned
