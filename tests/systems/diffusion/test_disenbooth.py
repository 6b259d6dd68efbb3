"""DisenBooth against its equations, on tiny hosts of the real classes."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional

from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._image_encoder import ImageEncoder
from unsnarl.diffusion._lora import Lora
from unsnarl.errors import CheckpointError, DataError, FileError, NotFittedError, OptionError, TrainingError
from unsnarl.systems.diffusion._disenbooth import DisenBooth
from unsnarl.systems.diffusion._disenbooth_task import DisenBoothTask, likeness, told_with
from unsnarl.systems.diffusion._irrelevant import IrrelevantAdapter
from unsnarl.systems.diffusion._personal_task import Asking, PhotoBatches, denoising_errors
from unsnarl.systems.diffusion._personalizer import sampled_prompts
from unsnarl.zoo import _sd3_recipe, _sd_recipe
from unsnarl.zoo._clip_recipes import image_processor
from unsnarl.zoo._contrastive import clip_config
from unsnarl.zoo._tokenizer import scene_tokenizer

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
WIDTH = 32
SMALL = {
    **_sd_recipe.UNET,
    "sample_size": 8,
    "block_out_channels": (16,),
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
    "norm_num_groups": 8,
    "cross_attention_dim": WIDTH,
}
PROMPT = "a sks cat"


def clip(width=WIDTH, seed=0):
    torch.manual_seed(seed)
    config = clip_config(
        scene_tokenizer(), width=width, text_layers=1, vision_layers=1, heads=2, patch=8, projection=width
    )
    return transformers.CLIPModel(config).eval()


@pytest.fixture
def pipeline():
    torch.manual_seed(0)
    return _sd_recipe.pipeline(diffusers.UNet2DConditionModel(**SMALL).eval(), clip())


@pytest.fixture
def encoder():
    return ImageEncoder(clip(seed=1), processor=image_processor())


@pytest.fixture
def photos():
    return grounds(4, 1005)


def grounds(n, seed):
    """A block on grounds of different colours."""
    draws = torch.Generator().manual_seed(seed)
    x = (torch.rand(n, 3, 1, 1, generator=draws) * 1.6 - 0.8).expand(n, 3, 16, 16).clone()
    x[:, :, 5:11, 5:11] = torch.tensor([0.9, -0.9, 0.3])[:, None, None]
    return x


def knowing(pipeline, steps=40):
    """A host that predicts images, after a little training of all its weights on such ones, so that there is something to tune."""
    pipeline.scheduler.register_to_config(prediction_type="sample")
    host = Host(pipeline)
    text, draws = host.encode_texts(["a cat"]), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(pipeline.unet.parameters(), lr=3e-3)
    for step in range(steps):
        x = host.encode_images(grounds(8, step))
        asking = Asking(x, host.draw_times(8, draws), torch.randn(x.shape, generator=draws), text)
        optimizer.zero_grad()
        denoising_errors(host, [asking])[0].mean().backward()
        optimizer.step()
    return pipeline


def fitted(pipeline, encoder, photos, steps=3, **options):
    named = {"lr": 1e-3, "progress": False, **options}
    fit = {name: named.pop(name) for name in ("run", "checkpoint_every", "callbacks", "progress") if name in named}
    return DisenBooth(pipeline, encoder, rank=2, **named).fit(photos, PROMPT, steps=steps, **fit)


def task_of(pipeline, width=WIDTH, **options):
    host = Host(pipeline)
    torch.manual_seed(2)
    lora = Lora(host, rank=2)
    for p in lora.parameters().values():
        p.data.add_(0.05 * torch.randn(p.shape))
    adapter = IrrelevantAdapter(width)
    adapter.mask.data.normal_()
    task = DisenBoothTask(host, lora, adapter, host.encode_texts([PROMPT]), **options)
    task.prepare()
    return task


# ---- the method ---------------------------------------------------------------------------------------------------------


def test_the_adapter_starts_at_half_the_embedding_and_a_perceptron_of_it():
    adapter = IrrelevantAdapter(5)
    e = torch.randn(3, 5)
    w1, b1, w2, b2 = (p.detach() for p in (*adapter.first.parameters(), *adapter.second.parameters()))
    assert torch.equal(adapter.mask, torch.zeros(5))
    assert torch.allclose(adapter(e), e / 2 + torch.relu(e / 2 @ w1.T + b1) @ w2.T + b2, atol=1e-6)
    adapter.mask.data = torch.tensor([2.0, -1.0, 0.0, 30.0, -30.0])
    h = e * torch.sigmoid(adapter.mask.detach())
    assert torch.allclose(adapter(e), h + torch.relu(h @ w1.T + b1) @ w2.T + b2, atol=1e-6)
    assert sum(p.numel() for p in adapter.parameters()) == 5 + 2 * (25 + 5)
    bare = IrrelevantAdapter(5, mask=False)
    assert torch.allclose(bare(e), bare.second(torch.relu(bare.first(e))) + e)
    assert IrrelevantAdapter(5, source=7)(torch.randn(2, 7)).shape == (2, 5)


def test_the_visual_vector_is_added_to_every_token():
    text = Condition(torch.randn(1, 24, 6), torch.randn(1, 4))
    f = torch.randn(3, 6)
    told = told_with(text, f, text_weight=0.5, image_weight=2.0)
    for i in range(3):
        for k in range(24):
            assert torch.allclose(told.context[i, k], 0.5 * text.context[0, k] + 2 * f[i])
    assert torch.allclose(told.pooled, 0.5 * text.pooled.expand(3, -1))


def test_the_cosine_is_taken_sample_by_sample():
    text, f = Condition(torch.randn(1, 7, 6)), torch.randn(4, 6)
    mean = text.context[0].mean(0)
    expected = [float(mean @ one / mean.norm() / one.norm()) for one in f]
    assert likeness(text, f).tolist() == pytest.approx(expected, rel=1e-5)
    assert likeness(text, -3 * mean[None]).tolist() == pytest.approx([-1.0])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_losses_by_hand(pipeline, prediction):
    pipeline.scheduler.register_to_config(prediction_type=prediction)
    task = task_of(pipeline, weak_weight=0.3, contrast_weight=0.2)
    latents, e = torch.randn(3, 12, 8, 8), torch.randn(3, WIDTH)
    losses = task("main", (latents, e), 0, torch.Generator().manual_seed(9))
    draws = torch.Generator().manual_seed(9)
    t = torch.randint(0, 1000, (3,), generator=draws)
    noise = torch.randn(latents.shape, generator=draws)
    noisy = pipeline.scheduler.add_noise(latents, noise, t)
    text = pipeline.encode_prompt(PROMPT, "cpu", 1, False)[0]
    f = task.adapter(e)
    with_image = pipeline.unet(noisy, t, encoder_hidden_states=text + f[:, None]).sample
    alone = pipeline.unet(noisy, t, encoder_hidden_states=text.expand(3, -1, -1)).sample
    velocity = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config).get_velocity(latents, noise, t)
    target = noise if prediction == "epsilon" else velocity
    l1, l2 = functional.mse_loss(with_image, target), functional.mse_loss(alone, target)
    l3 = sum(functional.cosine_similarity(text[0].mean(0), one, dim=0) for one in f) / 3
    assert float(losses["reconstruction"]) == pytest.approx(float(l1), rel=1e-4)
    assert float(losses["weak"]) == pytest.approx(float(l2), rel=1e-4)
    assert float(losses["cosine"]) == pytest.approx(float(l3), rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(float(l1 + 0.3 * l2 + 0.2 * l3), rel=1e-4)
    assert abs(float(l1 - l2)) > 1e-4


def test_one_pass_is_two_passes(pipeline):
    results = []
    for one_pass in (True, False):
        task = task_of(copy.deepcopy(pipeline), one_pass=one_pass)
        rows = []
        task.host.denoiser.register_forward_pre_hook(lambda m, args, rows=rows: rows.append(len(args[0])))
        torch.manual_seed(4)
        batch = torch.randn(2, 12, 8, 8), torch.randn(2, WIDTH)
        loss = task("main", batch, 0, torch.Generator().manual_seed(9))["loss"]
        loss.backward()
        results.append((loss, [p.grad for p in task.parameters()], rows))
    (first, gradients, once), (second, others, twice) = results
    assert (once, twice) == ([4], [2, 2])
    assert float(first) == pytest.approx(float(second), rel=1e-6)
    for a, b in zip(gradients, others, strict=True):
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-4)
    assert all(float(g.abs().max()) > 0 for g in gradients)


def test_each_loss_moves_what_it_should(pipeline):
    batch = torch.randn(2, 12, 8, 8), torch.randn(2, WIDTH)

    def moved(**weights):
        task = task_of(copy.deepcopy(pipeline), **weights)
        out = task("main", batch, 0, torch.Generator().manual_seed(9))
        return task, out

    task, out = moved(weak_weight=0.0, contrast_weight=0.0)
    assert "weak" not in out
    assert float(out["loss"]) == pytest.approx(float(out["reconstruction"]))
    # the contrast alone reaches the adapter alone
    task, out = moved(contrast_weight=1.0)
    f = task.adapter(batch[1])
    likeness(task.host.encode_texts([PROMPT]), f).mean().backward()
    assert all(p.grad is None for p in task.lora_weights)
    assert all(p.grad is not None for p in task.adapter.parameters())


def test_only_the_gradient_of_the_lora_is_clipped(pipeline):
    lora, adapter = task_of(pipeline, clip_norm=0.7, lr=3e-4).optimizers()["main"].param_groups
    assert lora["clip_norm"] == 0.7
    assert "clip_norm" not in adapter or adapter["clip_norm"] is None
    assert (lora["lr"], adapter["lr"], lora["weight_decay"], adapter["betas"]) == (3e-4, 3e-4, 1e-2, (0.9, 0.999))
    assert len(adapter["params"]) == 5


def test_the_defaults_are_the_papers():
    model = DisenBooth()
    assert model.base == "stabilityai/stable-diffusion-2-1-base"
    model._text_width = lambda: 1024  # of Stable Diffusion 2.1
    assert model._object("image_encoder") == "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
    assert (model.rank, model.weak_weight, model.contrast_weight, model.lr) == (4, 0.01, 0.001, 1e-4)
    assert (model.weight_decay, model.clip_norm, model.batch_size, model.prior_weight) == (1e-2, 1.0, 1, 0.0)


# ---- learning -----------------------------------------------------------------------------------------------------------


def test_it_learns_photos_by_their_own_vectors_and_leaves_all_else_alone(pipeline, encoder, photos):
    knowing(pipeline)
    frozen = [pipeline.text_encoder, pipeline.vae, encoder.model]
    before = [{k: v.clone() for k, v in one.state_dict().items()} for one in frozen]
    weights = {k: v.clone() for k, v in pipeline.unet.state_dict().items()}
    host, text = Host(pipeline), Host(pipeline).encode_texts([PROMPT])
    model = fitted(pipeline, encoder, photos, steps=40, lr=2e-2, batch_size=4)
    latents = host.encode_images(photos).repeat(4, 1, 1, 1)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(77))
    with torch.no_grad():
        f = model.adapter_(encoder(photos)).repeat(4, 1)
        # so much noise that what the ground is like can only be known by what is told
        own = Asking(latents, torch.full((16,), 950), noise, told_with(text, f))
        other = own._replace(condition=told_with(text, f.roll(1, 0)))
        alone = own._replace(condition=text)
        by_own, by_other, by_text = (float(e.mean()) for e in denoising_errors(host, [own, other, alone]))
        model.remove()
        untuned = float(denoising_errors(host, [alone])[0].mean())
    assert by_own < 0.8 * untuned
    assert by_own < 0.8 * by_other  # a photo is explained by its own vector, not by another's
    assert by_own < 0.9 * by_text

    after = [one.state_dict() for one in frozen]
    for old, new in zip(before, after, strict=True):
        assert all(torch.equal(old[k], new[k]) for k in old)
    assert all(torch.equal(v, weights[k]) for k, v in pipeline.unet.state_dict().items())
    assert model.history_["loss"].notna().all()


def test_the_final_cosine_is_reported_and_the_contrast_lowers_it(pipeline, encoder, photos):
    free = fitted(pipeline, encoder, photos, steps=15, lr=5e-3, contrast_weight=0.0).remove()
    held = fitted(pipeline, encoder, photos, steps=15, lr=5e-3, contrast_weight=1.0).remove()
    assert -1 <= held.cosine_ < free.cosine_ - 0.2
    with torch.no_grad():
        expected = likeness(held.host.encode_texts([PROMPT]), held.adapter_(encoder(photos))).mean()
    assert held.cosine_ == pytest.approx(float(expected), abs=1e-5)


def test_what_is_trained_on_is_what_is_seen_later_unless_the_official_way_is_asked_for(pipeline, photos):
    shown = {"image_mean": [0.2] * 3, "image_std": [0.3] * 3}
    encoder = ImageEncoder(clip(seed=1), processor=shown)
    for official in (False, True):
        model = fitted(pipeline, encoder, photos, official_preprocessing=official, steps=1)
        trained = []
        real = model._prepare
        model._prepare = lambda x, real=real, trained=trained: trained.append(real(x)[0]) or trained
        model.fit(photos, PROMPT, steps=1, progress=False)
        with torch.no_grad():
            assert torch.allclose(trained[0], encoder(photos, raw=official), atol=1e-5)
            assert torch.allclose(model.photo_embeddings_, encoder(photos), atol=1e-5)
            assert torch.allclose(
                model.irrelevant_embedding(photos[2]), model.adapter_(encoder(photos[2:3]))[0], atol=1e-5
            )
        model.remove()


class Stop(Exception):
    pass


def test_a_run_that_was_stopped_ends_with_the_same_weights(pipeline, encoder, photos, tmp_path):
    def stop(step, model):
        if step == 5:
            raise Stop

    whole = fitted(pipeline, encoder, photos, steps=8)
    expected = {k: v.clone() for k, v in whole.lora_.parameters().items()}
    adapter = {k: v.clone() for k, v in whole.adapter_.state_dict().items()}
    whole.remove()
    options = {"steps": 8, "run": tmp_path, "checkpoint_every": 2}
    with pytest.raises(Stop):
        fitted(pipeline, encoder, photos, callbacks=[stop], **options)
    assert not hasattr(pipeline.unet, "peft_config")  # the host is as it was
    seen = []
    again = fitted(pipeline, encoder, photos, callbacks=[lambda step, _: seen.append(step)], **options)
    assert seen[0] == 5  # goes on behind the checkpoint of step 4
    assert all(torch.equal(v, expected[k]) for k, v in again.lora_.parameters().items())
    assert all(torch.equal(v, adapter[k]) for k, v in again.adapter_.state_dict().items())
    again.remove()
    with pytest.raises(CheckpointError, match="weak_weight"):
        fitted(pipeline, encoder, photos, weak_weight=0.5, **options)
    assert not hasattr(pipeline.unet, "peft_config")
    with pytest.raises(FileError, match="folder of a run"):
        fitted(pipeline, encoder, photos).save(tmp_path)


def test_hosts_in_half_precision_learn_and_go_on(pipeline, encoder, photos, tmp_path):
    pipeline.save_pretrained(tmp_path / "half", variant=None)
    half = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "half", dtype=torch.bfloat16)
    model = fitted(half, encoder, photos, run=tmp_path / "run", prior_weight=1.0, prior_images=3)
    assert all(p.dtype == torch.float32 for p in model.lora_.parameters().values())
    model.remove()
    half.to(torch.float16).save_pretrained(tmp_path / "half16")
    by_path = fitted(tmp_path / "half16", encoder, photos)
    assert {p.dtype for p in by_path.host.pipeline.text_encoder.parameters()} == {torch.float32}
    assert by_path.generate(PROMPT, steps=2).isfinite().all()


def test_it_can_be_saved_while_it_learns(pipeline, encoder, photos, tmp_path):
    fitted(pipeline, encoder, photos, callbacks=[lambda step, model: step == 2 and model.save(tmp_path)])
    pipeline.unet.unload_lora()
    again = DisenBooth.load(tmp_path, base=pipeline, image_encoder=encoder)
    assert np.isnan(again.cosine_)
    assert len(again.photo_embeddings_) == 4


def test_the_encoder_that_fits_is_found(pipeline, photos):
    with pytest.raises(OptionError, match=r"width 32 \(only for 128, 768, 1024\); give image_encoder="):
        DisenBooth(pipeline).fit(photos, PROMPT)
    model = DisenBooth("zoo/sd-tiny-32")
    model._text_width = lambda: 128
    assert model.encoder.name == "zoo/clip-tiny"
    assert model._config()["image_encoder"] == "zoo/clip-tiny"
    assert DisenBooth(pipeline, ImageEncoder("zoo/clip-tiny"))._config()["image_encoder"] == "zoo/clip-tiny"


def test_the_prior_is_made_and_encoded_by_parts(pipeline, encoder, photos, tmp_path, monkeypatch):
    sizes, made = [], []
    encode, generate = Host.encode_images, Host.generate
    monkeypatch.setattr(Host, "encode_images", lambda s, x: sizes.append(len(x)) or encode(s, x))
    monkeypatch.setattr(Host, "generate", lambda s, p, **o: made.append(len(o["seeds"])) or generate(s, p, **o))
    options = {"prior_weight": 1.0, "prior_images": 18}
    fitted(pipeline, encoder, photos, **options).remove()
    assert (max(sizes), sum(made)) == (16, 18)
    for _ in range(2):  # the second goes on with what the first has made
        made.clear()
        fitted(pipeline, encoder, photos, run=tmp_path, **options).remove()
    assert made == []


def test_a_loss_that_explodes_gives_the_host_back(pipeline, encoder, photos):
    with pytest.raises(TrainingError):
        fitted(pipeline, encoder, photos, lr=1e30, steps=20)
    assert not hasattr(pipeline.unet, "peft_config")


def test_batches_go_round_all_photos():
    values = torch.arange(5)
    batches = PhotoBatches(values, 10 * values, batch_size=3, seed=1)
    seen = torch.cat([batches(step)[0] for step in range(5)])
    for epoch in seen.split(5):
        assert sorted(epoch.tolist()) == [0, 1, 2, 3, 4]
    assert len({tuple(epoch.tolist()) for epoch in seen.split(5)}) > 1
    assert torch.equal(batches(2)[1], 10 * batches(2)[0])
    assert len(PhotoBatches(values, batch_size=12)(0)[0]) == 12


# ---- asking -------------------------------------------------------------------------------------------------------------


def test_the_three_ways_of_asking(pipeline, encoder, photos, monkeypatch):
    model = fitted(pipeline, encoder, photos)
    given = []
    real = type(pipeline).__call__

    def spy(self, **options):
        given.append(options)
        return real(self, **options)

    monkeypatch.setattr(type(pipeline), "__call__", spy)
    f = model.irrelevant_embedding(photos[1])
    texts = {text: pipeline.encode_prompt(text, "cpu", 1, False)[0][0] for text in (PROMPT, "", "a red cat", "blue")}
    short = {"steps": 2, "guidance": 3.0, "seeds": 4}

    def asked(*args, **options):
        images = model.generate(*args, **{**short, **options})
        last = given.pop()
        return images, last["prompt_embeds"][0], last["negative_prompt_embeds"][0], last

    images, told, against, last = asked(PROMPT)
    assert torch.allclose(told, texts[PROMPT])
    assert torch.allclose(against, texts[""])
    assert (last["num_inference_steps"], last["guidance_scale"]) == (2, 3.0)
    assert images.shape == (1, 3, 16, 16)
    assert float(images.abs().max()) <= 1

    _, told, against, _ = asked("", photos[1], text_weight=0.0, image_weight=1.0)
    assert torch.allclose(told, f.expand_as(told))
    assert not against.any()

    _, told, against, _ = asked("a red cat", photos[1], image_weight=0.7, text_weight=0.6, negative="blue")
    assert torch.allclose(told, 0.6 * texts["a red cat"] + 0.7 * f, atol=1e-6)
    assert torch.allclose(against, 0.6 * texts["blue"])

    by_number, told, _, _ = asked(PROMPT, 1, image_weight=1.0)
    assert torch.allclose(told, texts[PROMPT] + f, atol=1e-5)
    assert torch.allclose(by_number, asked(PROMPT, photos[1], image_weight=1.0)[0], atol=1e-3)
    several = model.generate(PROMPT, photos[:2], image_weight=1.0, seeds=[4, 4], steps=2, guidance=3.0)
    assert torch.allclose(several[1], by_number[0], atol=1e-3)
    assert not torch.allclose(several[0], several[1], atol=1e-3)

    piled = model.generate(PROMPT, seeds=[4], num_inference_steps=2, guidance_scale=3.0, output="pil")
    assert np.abs(np.asarray(piled[0]) / 127.5 - 1 - images[0].permute(1, 2, 0).numpy()).max() < 0.01
    assert torch.equal(model.identity_embedding(), texts[PROMPT])
    assert model.identity_embedding("blue").shape == (24, WIDTH)


def test_saved_and_loaded_it_makes_the_same_images(pipeline, encoder, photos, tmp_path):
    model = fitted(pipeline, encoder, photos, steps=6, lr=1e-2, alpha=3.0)
    asking = {"reference": 2, "image_weight": 1.0, "seeds": [0, 1], "steps": 2}
    before = model.generate(PROMPT, **asking)
    model.save(tmp_path)
    model.remove()
    with pytest.raises(NotFittedError):
        model.generate(PROMPT)
    plain = model.host.generate(PROMPT, seeds=[0, 1], steps=2)
    again = DisenBooth.load(tmp_path, base=pipeline, image_encoder=encoder)
    assert torch.equal(again.generate(PROMPT, **asking), before)
    assert (again.cosine_, again.rank, again.alpha, again.subject_prompt_) == (model.cosine_, 2, 3.0, PROMPT)
    tuned = again.generate(PROMPT, seeds=[0, 1], steps=2, guidance=3.0)
    assert not torch.allclose(tuned, plain, atol=1e-3)
    again.remove()
    pipeline.load_lora_weights(tmp_path)  # without this library
    assert torch.allclose(Host(pipeline).generate(PROMPT, seeds=[0, 1], steps=2), tuned, atol=1e-4)
    pipeline.unload_lora_weights()

    with pytest.raises(OptionError, match="base="):
        DisenBooth.load(tmp_path)
    with pytest.raises(OptionError, match="rank"):
        DisenBooth.load(tmp_path, base=pipeline, rank=3)
    from unsnarl.systems.diffusion._dreambooth import DreamBoothLoRA

    with pytest.raises(CheckpointError, match=r"DisenBooth\.load"):
        DreamBoothLoRA.load(tmp_path, base=pipeline)
    (tmp_path / "adapter.safetensors").unlink()
    with pytest.raises(CheckpointError, match="adapter"):
        DisenBooth.load(tmp_path, base=pipeline, image_encoder=encoder)
    assert not hasattr(pipeline.unet, "peft_config")


# ---- other hosts --------------------------------------------------------------------------------------------------------


def test_on_a_host_of_the_true_layout(photos):
    """4-channel latents of a real AutoencoderKL, and texts of 77 tokens."""
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.18215,
        sample_size=64,
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=2,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    tokenizer = scene_tokenizer()
    tokenizer.model_max_length = 77
    config = copy.deepcopy(clip().config.text_config)
    config.max_position_embeddings = 77
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae,
        text_encoder=transformers.CLIPTextModel(config).eval(),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    encoder = ImageEncoder(clip(seed=1), processor=image_processor())
    model = DisenBooth(pipe, encoder).fit(photos, PROMPT, steps=2, progress=False)
    assert len(model.lora_.parameters()) == 32 * 8
    assert model.identity_embedding().shape == (77, WIDTH)
    made = model.generate("a red cat", photos[0], image_weight=1.0, seeds=[0, 1], steps=2)
    assert made.shape == (2, 3, 64, 64)
    assert bool(made.isfinite().all())


def test_on_a_joint_transformer(encoder, photos):
    torch.manual_seed(1)
    texts = tuple(transformers.CLIPTextModelWithProjection(clip(16).config.text_config).eval() for _ in range(2))
    small = {**_sd3_recipe.TRANSFORMER, "num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2}
    small |= {"caption_projection_dim": 16, "joint_attention_dim": WIDTH, "pooled_projection_dim": WIDTH}
    pipe = _sd3_recipe.pipeline(diffusers.SD3Transformer2DModel(**small), texts)
    model = DisenBooth(pipe, encoder, lr=1e-3).fit(photos, PROMPT, steps=3, progress=False)
    made = model.generate("", 0, text_weight=0.0, image_weight=1.0, seeds=[0], steps=2)
    assert made.shape == (1, 3, 32, 32)
    assert bool(made.isfinite().all())
    assert model.irrelevant_embedding(0).shape == (WIDTH,)


def test_prior_preservation_mirror_images_and_other_widths(pipeline, photos):
    other = ImageEncoder(clip(16, seed=3), processor=image_processor())
    model = DisenBooth(pipeline, other, map_width=True, flips=True, prior_weight=0.5, batch_size=2)
    model.fit(photos, PROMPT, steps=2, prior=photos[:3], progress=False)
    last = model.history_.iloc[-1]
    expected = last["reconstruction"] + 0.01 * last["weak"] + 0.5 * last["prior"] + 0.001 * last["cosine"]
    assert last["loss"] == pytest.approx(expected, rel=1e-5)
    assert len(model.photo_embeddings_) == 4
    assert model.irrelevant_embedding(3).shape == (WIDTH,)


# ---- bad input ----------------------------------------------------------------------------------------------------------


def test_widths_that_do_not_fit_are_named_with_an_encoder_that_does(pipeline, photos):
    other = ImageEncoder(clip(16), processor=image_processor())
    with pytest.raises(OptionError, match="16 numbers and the text's vectors 32"):
        DisenBooth(pipeline, other).fit(photos, PROMPT)
    wide = {**SMALL, "cross_attention_dim": 128}
    big = _sd_recipe.pipeline(diffusers.UNet2DConditionModel(**wide), clip(128))
    with pytest.raises(OptionError, match=r"16 numbers and the text's vectors 128: use 'zoo/clip-tiny'.*map_width"):
        DisenBooth(big, other).fit(photos, PROMPT)


def test_what_cannot_work_is_refused_and_what_will_not_work_warned_of(pipeline, encoder, photos):
    model = DisenBooth(pipeline, encoder)
    fit = {"steps": 1, "progress": False}
    with pytest.raises(NotFittedError, match="fit"):
        model.generate(PROMPT)
    with pytest.warns(UserWarning, match="fewer than 2 photos"):
        model.fit(photos[:1], PROMPT, **fit)
    with pytest.warns(UserWarning, match="fewer than 2 photos"):
        DisenBooth(model.remove().host, encoder, flips=True).fit(photos[:1], PROMPT, **fit).remove()
    with pytest.warns(UserWarning, match="lacks the identifier 'sks'"):
        model.fit(photos, "a cat", **fit)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(photos, "a photo of a sks, cat", **fit)
        short = {"steps": 1, "seeds": 0}
        model.generate(PROMPT, **short)
        model.generate("a white cat", 0, image_weight=1.0, **short)
        model.generate("", 0, text_weight=0.0, image_weight=1.0, **short)
    with pytest.raises(OptionError, match=r"image_weight=1\.0 needs a photo"):
        model.generate(PROMPT, image_weight=1.0)
    with pytest.warns(UserWarning, match="image_weight=0: it is ignored"):
        model.generate(PROMPT, 0, **short)
    with pytest.warns(UserWarning, match="'a cat' lacks the identifier"):
        model.generate([PROMPT, "a cat"], steps=1, seeds=[0, 1])
    assert sampled_prompts(PROMPT, np.int64(3)) == ([PROMPT], [3])
    with pytest.raises(OptionError, match="3 references for 2 images"):
        model.generate(PROMPT, photos[:3], image_weight=1.0, seeds=[0, 1])
    with pytest.raises(OptionError, match="2 prompts and 3 seeds"):
        model.generate([PROMPT, PROMPT], seeds=[0, 1, 2])
    with pytest.raises(OptionError, match="generator"):
        model.generate(PROMPT, generator=torch.Generator())
    with pytest.raises(OptionError, match="output"):
        model.generate(PROMPT, output="jpg")
    with pytest.raises(OptionError, match="negative_prompt_embeds is not taken"):
        model.generate(PROMPT, negative_prompt_embeds=torch.zeros(1, 2, 3))
    with pytest.raises(OptionError, match="one text for all images"):
        model.generate(PROMPT, negative_prompt=["dark"])
    assert torch.equal(model.generate(PROMPT, negative_prompt=None, **short), model.generate(PROMPT, **short))
    with pytest.raises(OptionError, match="reference=4"):
        model.irrelevant_embedding(4)
    by_number = model.generate("", [2, 0], text_weight=0.0, image_weight=1.0, seeds=np.arange(2), steps=1)
    by_photo = model.generate("", photos[[2, 0]], text_weight=0.0, image_weight=1.0, seeds=[0, 1], steps=1)
    torch.testing.assert_close(by_number, by_photo)
    with pytest.raises(DataError, match="one photo, got 2"):
        model.irrelevant_embedding(photos[:2])
    model.remove()
    for options, message in (
        ({"rank": 0}, "rank"),
        ({"weak_weight": -1.0}, "weak_weight"),
        ({"contrast_weight": -1.0}, "contrast_weight"),
        ({"lr": 0.0}, "lr"),
        ({"batch_size": 0}, "batch_size"),
        ({"identifier": " "}, "identifier"),
        ({"betas": (0.9, 1.5)}, "betas"),
    ):
        with pytest.raises(OptionError, match=message):
            DisenBooth(pipeline, encoder, **options).fit(photos, PROMPT, **fit)
    with pytest.raises(OptionError, match="subject_prompt"):
        model.fit(photos, " ", **fit)
    with pytest.raises(OptionError, match="steps"):
        model.fit(photos, PROMPT, steps=0)
    with pytest.warns(UserWarning, match="prior_weight=0"):
        model.fit(photos, PROMPT, prior=photos, **fit)


def test_two_encoders_are_not_supported(pipeline, encoder, photos):
    pipeline.unet.register_to_config(addition_embed_type="text_time")  # as in Stable Diffusion XL
    with pytest.raises(OptionError, match="not supported"):
        DisenBooth(pipeline, encoder).fit(photos, PROMPT)
