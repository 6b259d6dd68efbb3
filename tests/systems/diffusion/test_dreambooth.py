"""DreamBooth-LoRA against its loss, with and without prior preservation."""

import pytest
import torch
from torch.nn import functional

from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._lora import Lora
from unsnarl.diffusion._prior import PriorCache
from unsnarl.errors import NotFittedError, OptionError
from unsnarl.systems.diffusion._dreambooth import DreamBoothLoRA, DreamBoothTask
from unsnarl.zoo import _sd_recipe
from unsnarl.zoo._contrastive import clip_config
from unsnarl.zoo._tokenizer import scene_tokenizer

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
PROMPT = "a photo of a sks cat"
SMALL = {
    **_sd_recipe.UNET,
    "sample_size": 8,
    "block_out_channels": (16,),
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
    "norm_num_groups": 8,
    "cross_attention_dim": 32,
}


@pytest.fixture
def pipeline():
    torch.manual_seed(0)
    config = clip_config(scene_tokenizer(), width=32, text_layers=1, vision_layers=1, heads=2, patch=8, projection=32)
    clip = transformers.CLIPModel(config).eval()
    return _sd_recipe.pipeline(diffusers.UNet2DConditionModel(**SMALL).eval(), clip)


@pytest.fixture
def photos():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("one_pass", "prediction"), [(True, "epsilon"), (False, "v_prediction")])
def test_the_loss_by_hand(pipeline, one_pass, prediction):
    pipeline.scheduler.register_to_config(prediction_type=prediction)
    host = Host(pipeline)
    torch.manual_seed(3)
    lora = Lora(host)
    for p in lora.parameters().values():
        p.data.add_(0.05 * torch.randn(p.shape))
    told, plain = host.encode_texts([PROMPT]), host.encode_texts(["a photo of a cat"])
    kept, latents = torch.randn(5, 12, 8, 8), torch.randn(2, 12, 8, 8)
    task = DreamBoothTask(host, lora, told, prior=(kept, plain), prior_weight=0.4, one_pass=one_pass)
    losses = task("main", (latents,), 0, torch.Generator().manual_seed(8))
    draws = torch.Generator().manual_seed(8)
    terms = []
    for x, condition in ((latents, told), (None, plain)):
        x = kept[torch.randint(5, (2,), generator=draws)] if x is None else x
        t = torch.randint(0, 1000, (2,), generator=draws)
        noise = torch.randn(x.shape, generator=draws)
        noisy = pipeline.scheduler.add_noise(x, noise, t)
        out = pipeline.unet(noisy, t, encoder_hidden_states=condition.context.expand(2, -1, -1)).sample
        velocity = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config).get_velocity(x, noise, t)
        terms.append(functional.mse_loss(out, noise if prediction == "epsilon" else velocity))
    assert float(losses["loss"]) == pytest.approx(float(terms[0] + 0.4 * terms[1]), rel=1e-4)
    assert float(losses["prior"]) == pytest.approx(float(terms[1]), rel=1e-4)


def test_it_learns_is_saved_and_taken_off(pipeline, photos, tmp_path):
    host = Host(pipeline)
    latents, told = host.encode_images(photos), host.encode_texts([PROMPT])
    asking = {"seeds": [3], "steps": 2, "guidance": 2.0}
    before = host.generate(PROMPT, **asking)

    def error():
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        times = torch.full((3,), 400)
        with torch.no_grad():
            answer = host.predict(host.add_noise(latents, times, noise), times, told)
        return float((answer - host.target(latents, times, noise)).square().mean())

    untuned = error()
    model = DreamBoothLoRA(host, lr=4e-2, batch_size=3, seed=4)
    model.fit(photos, PROMPT, steps=10, log_every=2, progress=False)
    assert model.host.pipeline is pipeline
    assert error() < 0.97 * untuned
    images = model.generate(PROMPT, **asking)
    assert not torch.allclose(images, before, atol=1e-3)
    assert torch.equal(images, host.generate(PROMPT, **asking))  # nothing but LoRA is in it
    model.save(tmp_path)
    model.remove()
    assert torch.equal(host.generate(PROMPT, **asking), before)
    with pytest.raises(NotFittedError):
        model.generate(PROMPT)
    with pytest.raises(OptionError, match="base="):
        DreamBoothLoRA.load(tmp_path)
    again = DreamBoothLoRA.load(tmp_path, base=pipeline)
    assert (again.lr, again.batch_size, again.subject_prompt_) == (4e-2, 3, PROMPT)
    assert torch.equal(again.generate(PROMPT, **asking), images)
    again.fit(photos, PROMPT, steps=10, log_every=2, progress=False)  # anew, not on top
    assert torch.equal(again.generate(PROMPT, **asking), images)
    assert len(again.history_) == 5


def test_the_prior_is_what_the_untuned_host_makes_of_the_class(pipeline, photos, monkeypatch):
    asked = []
    real = Host.generate

    def spy(self, prompts=None, **options):
        asked.append((prompts, hasattr(self.denoiser, "peft_config")))
        return real(self, prompts, **{**options, "steps": 1})

    monkeypatch.setattr(Host, "generate", spy)
    fit = {"steps": 1, "progress": False}
    model = DreamBoothLoRA(pipeline, prior_weight=1.0, prior_images=2)
    model.fit(photos, PROMPT, **fit)
    assert asked == [("a photo of a cat", False)]
    assert model.task_._frozen[2][0].shape == (2, 12, 8, 8)
    assert model.history_["prior"].notna().all()
    model.fit(photos, PROMPT, class_prompt="a cat", **fit)
    assert asked[1:] == [("a cat", False)]
    model.remove()
    cache = PriorCache(model.host, "a fish", 2)
    images = cache.images()
    model.fit(photos, PROMPT, prior=cache, **fit)
    assert len(asked) == 3
    latents, condition = model.task_._frozen[2]
    assert torch.equal(latents, model.host.encode_images(images))
    assert torch.equal(condition.context, model.host.encode_texts(["a fish"]).context)


def test_the_class_of_a_subject():
    model = DreamBoothLoRA(identifier="xyz")
    assert model.class_prompt("a photo of a xyz dog in a xyz") == "a photo of a dog in a"
    assert model._names_subject("the xyz, a dog")
    assert not model._names_subject("wxyz dog")


def test_the_defaults_are_those_of_the_published_script():
    model = DreamBoothLoRA()
    assert (model.rank, model.lr, model.weight_decay, model.clip_norm) == (4, 1e-4, 1e-2, 1.0)
    assert (model.prior_weight, model.prior_images) == (0.0, 100)
