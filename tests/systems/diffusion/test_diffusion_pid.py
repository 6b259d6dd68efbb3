"""DiffusionPID on closed-form worlds, on hosts whose every kind of prediction is known, and on random pipelines of the true classes."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._predictions import flow_share, signal_and_noise, target_of
from unsnarl.errors import DataError, FileError, OptionError
from unsnarl.information._denoiser_information import diffusion_gaps
from unsnarl.information._pointwise_pid import TERMS, pid_levels
from unsnarl.systems.diffusion._diffusion_pid import DiffusionPID
from unsnarl.systems.diffusion._pid_checks import check_prompt, checked_seeds, refuse_distilled
from unsnarl.systems.diffusion._pid_priors import word_surprisals
from unsnarl.systems.diffusion._pid_terms import pairs_of
from unsnarl.systems.diffusion._pid_words import alone, mention, mentions, padded, told_without, without
from unsnarl.systems.diffusion._pid_worlds import WORLDS, mixture_world

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

SMALL = {
    "block_out_channels": (16, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "norm_num_groups": 8,
}
PROMPT = "a photo of a red cat and a tree"


# closed-form worlds


@pytest.mark.parametrize("name", WORLDS)
def test_worlds_are_taken_apart(name):
    world = mixture_world(name)
    x, values = world.draw(1_500, seed=1)
    told = {source: world.told(values, source) for source in ("first", "second", "both", "none")}
    pairs = [(source, "none") for source in ("first", "second", "both")]
    gaps = diffusion_gaps(world.denoiser, x, told, pairs, n_snr=60, rowwise=True, block=20_000)
    i1, i2, i12 = (gaps[pair].i_o.mean(0, keepdim=True) for pair in pairs)
    found, _, _ = pid_levels(i1, i2, i12)
    for term, values_of in found.as_dict().items():
        assert values_of[0] == pytest.approx(getattr(world, term).numpy(), abs=0.05)
    if name == "xor":
        assert float(gaps["first", "none"].i_o.abs().max()) < 1e-12
    exact = world.log_density(x, told["both"]) - world.log_density(x, told["none"])
    assert float(gaps["both", "none"].total_s.mean()) == pytest.approx(float(exact.mean()), abs=0.05)


def test_a_worlds_density_integrates_to_one_and_its_denoiser_is_the_mean():
    world = mixture_world("unique")
    line = torch.linspace(-3, 3, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)[:, None]
    chances = torch.full((1, 4), 0.25, dtype=torch.float64)
    mass = world.log_density(grid, chances.expand(len(grid), 4)).exp() * float(line[1] - line[0]) ** 2
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-6)
    # E[e | z] by integrating over x
    z, level = torch.tensor([[[0.3, -0.8]]], dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    signal, noise = (float(part) for part in signal_and_noise(level))
    e = (z - signal * grid) / noise
    weights = mass * torch.exp(-0.5 * (e**2).sum((1, 2)))
    mean = (weights[:, None, None] * e).sum(0) / weights.sum()
    assert torch.allclose(world.denoiser(z, level, chances)[0], mean, atol=1e-5)


# every kind of prediction


class Analytic(nn.Module):
    """Knows that latents are N(y, 1) at the told y, and answers in one kind of prediction."""

    def __init__(self, kind, log_snr):
        super().__init__()
        self.kind, self.log_snr = kind, log_snr
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(sample_size=4, in_channels=3, addition_embed_type=None)

    def answer(self, z, level, told):
        signal, noise = signal_and_noise(level)
        y = told[:, 0, 0].reshape(-1, 1, 1, 1)
        clean = signal * z + noise**2 * y  # E[x | z]
        return target_of(self.kind, clean, noise * (z - signal * y), level)

    def forward(self, z, times, encoder_hidden_states):
        return SimpleNamespace(sample=self.answer(z, self.log_snr[times], encoder_hidden_states))


class SD3Transformer2DModel(Analytic):
    def forward(self, hidden_states, timestep, encoder_hidden_states, pooled_projections):
        share = timestep / 1000
        level = -2 * torch.logit(share)
        inside = hidden_states / ((1 - share) ** 2 + share**2).sqrt().reshape(-1, 1, 1, 1)
        assert torch.allclose(share, flow_share(level), atol=1e-5)
        return SimpleNamespace(sample=self.answer(inside, level, encoder_hidden_states))


class TellsY(Host):
    """A host around an analytic denoiser; a text is the number of its letters, as y."""

    def __init__(self, kind):
        log_snr = torch.linspace(10, -10, 4_000)
        model = (SD3Transformer2DModel if kind == "flow" else Analytic)(kind, log_snr)
        self.pipeline = SimpleNamespace()
        self.denoiser, self.kind = model, "transformer" if kind == "flow" else "unet"
        self.prediction, self.log_snr, self.image_size, self.latent_shape = kind, log_snr, 4, (3, 4, 4)

    def encode_texts(self, texts, **options):
        y = torch.tensor([0.1 * len(text) for text in texts])
        return Condition(y[:, None, None].expand(-1, 2, 4), torch.zeros(len(texts), 2))

    def encode_images(self, images):
        return images


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow"])
def test_every_prediction_gives_the_same_information(kind):
    pid = DiffusionPID(TellsY(kind), n_snr=32, clip=4.0)
    image = torch.rand(3, 4, 4) * 2 - 1
    found = pid.mutual_information("red cats", "cats", image)
    # KL of N(y, 1) from N(0, 1) is y^2 / 2 a number, y = 0.4
    covered = 1 / (1 + math.exp(-9)) - 1 / (1 + math.exp(7))
    assert found.i_o == pytest.approx(0.5 * 0.4**2 * 48 * covered, rel=0.02)
    reference = DiffusionPID(TellsY("epsilon"), n_snr=32, clip=4.0).mutual_information("red cats", "cats", image)
    close = 0.002 if kind == "flow" else 1e-3  # only a flow is asked between steps
    assert found.i_o == pytest.approx(reference.i_o, rel=close)
    assert found.i_s == pytest.approx(reference.i_s, rel=5 * close, abs=0.01)
    given = pid.mutual_information("red cats", "cats", image, given="rest")
    assert (given.told, given.instead) == ("red cats", "red")
    assert given.i_o == pytest.approx(0.5 * 0.5**2 * 48 * covered, rel=0.02)
    named = pid.mutual_information("red cats", "cats", image, given=["red"])
    assert named.i_o == pytest.approx(given.i_o)


def test_terms_on_a_known_host():
    # y is 0.3 for "red", 0.4 for "cats", 0.8 for "red cats": i = 1/2 y^2 at every place
    pid = DiffusionPID(TellsY("epsilon"), n_snr=40, clip=6.0)
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    found = pid.decompose("red cats", ("cats", "red"), images)
    assert found.words == ("cats", "red")
    y = {"i1": 0.4, "i2": 0.3, "i12": 0.8}
    for name, value in y.items():
        assert found.information[name] == pytest.approx(24 * value**2, rel=0.02)
    assert found.totals["redundancy"] == pytest.approx(24 * 0.3**2, rel=0.02)
    assert found.totals["synergy"] == pytest.approx(24 * (0.8**2 - 0.4**2), rel=0.02)
    assert found.unique_1.sum() == pytest.approx(found.totals["unique_1"])
    assert found.per_image["synergy"].shape == (2,)
    assert found.shares()["unique_2"] == pytest.approx(0.0, abs=1e-9)
    assert found.passes == 4 * 2 * 40
    assert 0 < found.se["synergy"] < 0.05 * found.totals["synergy"]
    # given the rest (nothing is left, so y = 0): told all but one word
    rest = pid.decompose("red cats", ("cats", "red"), images, conditional=True)
    assert rest.information == pytest.approx(found.information)
    # counted from a text of three letters
    other = pid.decompose("red cats", ("cats", "red"), images, reference="one")
    assert other.information["i1"] == pytest.approx(24 * 0.1**2, rel=0.02)
    assert other.information["i2"] == 0


def test_the_average_over_images_is_of_their_terms():
    pid = DiffusionPID(TellsY("epsilon"), n_snr=16)
    images = torch.rand(3, 3, 4, 4) * 2 - 1
    together = pid.decompose("red cats", ("red", "cats"), images)
    for name in TERMS:
        assert together.totals[name] == pytest.approx(together.per_image[name].mean())


# words


def test_words_are_found_deleted_and_told_alone():
    prompt = "A cat, and a red Cat on a categorical mat."
    assert mention(prompt, ("cat", 1)).begin == prompt.index("Cat on")
    pair = mentions(prompt, [("cat", 0), "red"])
    assert without(prompt, pair) == "A, and a Cat on a categorical mat."
    assert alone(pair[::-1]) == "cat red"
    assert without(prompt, ()) == prompt
    with pytest.raises(DataError, match="'dog' is not in the prompt"):
        mention(prompt, "dog")
    with pytest.raises(OptionError, match="more than once"):
        mention(prompt, "cat")
    with pytest.raises(OptionError, match="occurrence=2"):
        mention(prompt, ("cat", 2))
    with pytest.raises(OptionError, match="named twice"):
        mentions(prompt, ["red", "red"])
    with pytest.raises(OptionError, match="overlaps"):
        mentions(prompt, ["red Cat", ("cat", 1)])
    assert len(mentions(prompt, [("cat", 0), ("cat", 1)])) == 2


# real pipelines


@pytest.fixture(scope="module")
def clip():
    from unsnarl.zoo._clip_recipes import CLIP_TINY

    torch.manual_seed(0)
    return CLIP_TINY.make({}, 10).model


@pytest.fixture(scope="module")
def pipe(clip):
    from unsnarl.zoo import _sd_recipe

    torch.manual_seed(1)
    made = _sd_recipe.pipeline(diffusers.UNet2DConditionModel(**_sd_recipe.UNET | SMALL), clip)
    made.scheduler.register_to_config(prediction_type="epsilon", timestep_spacing="leading")
    return made


@pytest.fixture(scope="module")
def image():
    from unsnarl.data.scenes import SceneStream, to_signed

    return to_signed(SceneStream(7).batch([3]).images)


@pytest.fixture(scope="module")
def pid(pipe):
    return DiffusionPID(pipe, n_snr=16)


def test_several_pairs_share_their_conditions(pid, image, monkeypatch):
    asked = []
    original = Host.predict_noise

    def counted(self, z, log_snr, condition):
        asked.append(len(z))
        return original(self, z, log_snr, condition)

    monkeypatch.setattr(Host, "predict_noise", counted)
    both = pid.decompose(PROMPT, [("cat", "tree"), ("red", "cat")], image)
    assert sum(asked) == 16 * 6  # "", cat, tree, cat tree, red, red cat
    alone_ = pid.decompose(PROMPT, ("red", "cat"), image)
    assert both[1].totals == pytest.approx(alone_.totals)
    assert alone_.redundancy.shape == (32, 32)
    assert alone_.redundancy.sum() == pytest.approx(alone_.totals["redundancy"])
    assert min(float(alone_.unique_1.min()), float(alone_.unique_2.min()), float(alone_.redundancy.min())) >= 0


def test_maps_are_of_true_pixels_where_latents_are_pixels(pid, image):
    gaps = pid.information(image, {"a": "cat", "b": ""}, [("a", "b")])
    found = gaps["a", "b"].i_o
    assert found.shape == (1, 32, 32)
    # only the upper left pixel of each 2 x 2 square differs if the denoiser's channels for the others are silenced
    conv = pid.host.denoiser.conv_out
    kept = conv.weight.detach().clone(), conv.bias.detach().clone()
    try:
        with torch.no_grad():
            silent = torch.arange(12) % 4 != 0
            conv.weight[silent] = 0
            conv.bias[silent] = 0
        one = pid.information(image, {"a": "cat", "b": ""}, [("a", "b")])["a", "b"].i_o[0]
    finally:
        with torch.no_grad():
            conv.weight.copy_(kept[0])
            conv.bias.copy_(kept[1])
    assert float(one[::2, ::2].sum()) > 0
    assert float(one[1::2].abs().max()) == float(one[:, 1::2].abs().max()) == 0


def test_padding_keeps_the_positions_of_the_others(pid):
    host, tokenizer = pid.host, pid.host.pipeline.tokenizer
    gone = mentions(PROMPT, ["red"])
    text = padded(PROMPT, gone, tokenizer)
    full, left = (tokenizer(one, padding="max_length", max_length=24).input_ids for one in (PROMPT, text))
    differs = [i for i, (a, b) in enumerate(zip(full, left, strict=True)) if a != b]
    assert differs == [5]
    assert left[5] == tokenizer.pad_token_id
    by_padding = told_without(host, PROMPT, gone, "padding").context
    by_string = told_without(host, PROMPT, gone, "string").context
    whole = host.encode_texts([PROMPT]).context
    assert torch.allclose(by_padding[:, :5], whole[:, :5], atol=1e-6)  # causal: what comes before is as it was
    assert not torch.allclose(by_padding, by_string, atol=1e-3)
    assert told_without(host, PROMPT, (), "padding").context.equal(whole)


def test_conditional_by_both_deletions(pipe, pid, image):
    by_padding = DiffusionPID(pipe, n_snr=16, deletion="padding").decompose(
        PROMPT, ("red", "cat"), image, conditional=True
    )
    by_string = pid.decompose(PROMPT, ("red", "cat"), image, conditional=True)
    assert by_string.conditional
    assert by_string.information["i12"] != pytest.approx(by_padding.information["i12"])
    texts = {"all": PROMPT, "rest": "a photo of a and a tree", "cat": "a photo of a cat and a tree"}
    gaps = pid.information(image, texts, [("all", "rest"), ("cat", "rest")])
    assert by_string.information["i12"] == pytest.approx(float(gaps["all", "rest"].total_o))
    assert by_string.information["i2"] == pytest.approx(float(gaps["cat", "rest"].total_o))


def test_redundancies_and_priors(pipe, image):
    by_prior = DiffusionPID(pipe, n_snr=16, redundancy="specificity-ambiguity", prior=(0.9, 0.001))
    assert by_prior.estimate == "i_s"
    found = by_prior.decompose(PROMPT, ("red", "cat"), image)
    assert found.totals["redundancy"] == pytest.approx(found.information["i1"])  # all that the likelier word tells
    assert "specificity-ambiguity" in found.text()

    def half(a, b, both):
        return 0.5 * np.minimum(a, b)

    own = DiffusionPID(pipe, n_snr=16, redundancy=half).decompose(PROMPT, ("red", "cat"), image)
    plain = DiffusionPID(pipe, n_snr=16).decompose(PROMPT, ("red", "cat"), image)
    assert own.totals["redundancy"] == pytest.approx(0.5 * plain.totals["redundancy"])
    assert own.kind == "half"


def test_images_are_generated_averaged_and_changed(pid):
    found = pid.decompose(PROMPT, ("red", "cat"), seeds=(3, 4), steps=2)
    assert found.images.shape == (2, 3, 32, 32)
    changed = pid.intervene(PROMPT, "red", seeds=(3, 4), steps=2)
    assert changed.left == "a photo of a cat and a tree"
    assert torch.allclose(changed.before, found.images, atol=1e-5)
    assert changed.change == pytest.approx(((changed.after - changed.before) ** 2).mean((1, 2, 3)).numpy(), rel=1e-5)
    assert (changed.change > 0).all()
    assert changed.map.shape == (2, 32, 32)
    same = pid.intervene("cat", "cat", seeds=(3,), steps=2)
    assert same.left == ""


def test_a_bit_that_many_pixels_say_is_decided_under_much_noise(pipe):
    """x is +1 or -1 at all of 720 numbers: the best denoiser knows the bit from the sum of z, long before any pixel shows."""
    assert (DiffusionPID(pipe).loc, DiffusionPID(pipe).scale, DiffusionPID(pipe, loc=1.0).loc) == (-2.0, 3.0, 1.0)
    assert (DiffusionPID(TellsY("epsilon")).loc, DiffusionPID(TellsY("epsilon")).scale) == (1.0, 2.0)
    x = torch.ones(80, 1, 720, dtype=torch.float64)
    x[::2] = -1.0

    def denoiser(z, level, told):
        signal, noise = (torch.sigmoid(sign * level).sqrt().reshape(-1, 1, 1) for sign in (1, -1))
        evidence = (signal * z).sum((1, 2), keepdim=True) / noise**2
        mean = torch.tanh(evidence) if told is None else told.reshape(-1, 1, 1)
        return (z - signal * mean) / noise

    told = {"bit": x[:, 0, 0].sign(), "nothing": None}
    found = {}
    for name, law in (("pixels", (-2.0, 3.0)), ("latents", (1.0, 2.0))):
        law = {"loc": law[0], "scale": law[1]}
        gaps = diffusion_gaps(denoiser, x, told, [("bit", "nothing")], n_snr=100, rowwise=True, block=20_000, **law)
        found[name] = float(gaps["bit", "nothing"].total_o.mean())
    assert found["pixels"] == pytest.approx(math.log(2), abs=0.1)
    assert found["latents"] < 0.1


def test_standard_errors_are_those_of_other_seeds(pipe, image):
    found = [DiffusionPID(pipe, n_snr=40, seed=seed).decompose(PROMPT, ("red", "cat"), image) for seed in range(6)]
    for name in ("redundancy", "unique_1", "synergy"):
        spread = np.std([one.totals[name] for one in found], ddof=1)
        assert 0.4 * spread < np.mean([one.se[name] for one in found]) < 4 * spread, name


def test_curve_and_attention(pid, image):
    curve = pid.snr_curve(PROMPT, "cat", image, n_noise=3)
    assert curve.curve_o.shape == curve.log_snr.shape == (16,)
    assert (np.diff(curve.log_snr) >= 0).all()
    assert curve.told == "cat"
    assert curve.map_o.sum() == pytest.approx(curve.i_o)
    whole = pid.mutual_information(PROMPT, None, image)
    assert (whole.told, whole.instead) == (PROMPT, "")
    maps = pid.attention_map(PROMPT, "cat", image, steps=3)
    assert maps.shape == (32, 32)
    assert (maps >= 0).all()
    assert not np.allclose(maps, pid.attention_map(PROMPT, "tree", image, steps=3))
    assert not np.allclose(maps, pid.attention_map(PROMPT, "cat", image, steps=3, sizes=(8,)))


def test_reports_and_pictures(pid, image, tmp_path):
    found = pid.decompose(PROMPT, ("red", "cat"), image)
    text = str(found)
    assert "told only by 'red' and 'cat' together" in text
    assert f"{found.totals['synergy']:.2f}" in text
    assert len(found.draw(tmp_path / "maps.png").axes) == 6
    assert (tmp_path / "maps.png").stat().st_size > 5_000
    one = pid.mutual_information(PROMPT, "cat", image)
    one.draw(tmp_path / "one.png")
    assert (tmp_path / "one.png").exists()
    assert "i_o =" in str(one)


def test_the_same_seed_gives_the_same_numbers(pipe, pid, image):
    again = DiffusionPID(pipe, n_snr=16, rows=5).decompose(PROMPT, ("red", "cat"), image)
    assert again.totals == pytest.approx(pid.decompose(PROMPT, ("red", "cat"), image).totals, rel=1e-4)
    other = DiffusionPID(pipe, n_snr=16, seed=1).decompose(PROMPT, ("red", "cat"), image)
    assert other.totals["synergy"] != pytest.approx(again.totals["synergy"], rel=1e-6)


def test_the_true_layout_of_stable_diffusion(clip):
    """Four latent channels, a real AutoencoderKL, texts of 77 tokens, v-prediction."""
    from unsnarl.zoo._sd_recipe import UNET, text_model
    from unsnarl.zoo._tokenizer import scene_tokenizer

    torch.manual_seed(2)
    text = clip.config.text_config.__class__(**{**clip.config.text_config.to_dict(), "max_position_embeddings": 77})
    tokenizer = scene_tokenizer()
    tokenizer.model_max_length = 77
    made = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.18215,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        ),
        text_encoder=type(text_model(clip))(text).eval(),
        tokenizer=tokenizer,
        unet=diffusers.UNet2DConditionModel(**UNET | SMALL | {"in_channels": 4, "out_channels": 4, "sample_size": 8}),
        scheduler=diffusers.DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            clip_sample=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    made.set_progress_bar_config(disable=True)
    pid = DiffusionPID(made, n_snr=16)  # its schedule covers the published range: no warning
    assert (pid.host.prediction, pid.host.text_length) == ("v_prediction", 77)
    found = pid.decompose(PROMPT, ("red", "cat"), torch.rand(3, 64, 64) * 2 - 1)
    assert found.synergy.shape == (64, 64)
    assert found.synergy.sum() == pytest.approx(found.totals["synergy"])
    gaps = pid.information(found.images, {"a": "red", "b": ""}, [("a", "b")])
    assert gaps["a", "b"].i_o.shape == (1, 8, 8)
    with pytest.warns(UserWarning, match=r"from -7 to 9, but the model's noise schedule has -5\.\d+ to 7\.\d+"):
        DiffusionPID(made, n_snr=16, clip=4.0)


def test_stable_diffusion_3(clip, image):
    from unsnarl.zoo import _sd3_recipe

    torch.manual_seed(1)
    texts = tuple(_sd3_recipe._make_texts({"clip-tiny": clip}, 10).encoders)
    small = {**_sd3_recipe.TRANSFORMER, "num_layers": 2, "attention_head_dim": 8, "caption_projection_dim": 32}
    transformer = diffusers.SD3Transformer2DModel(**small)
    nn.init.normal_(transformer.proj_out.weight, std=0.1)
    pid = DiffusionPID(_sd3_recipe.pipeline(transformer, texts), n_snr=16, deletion="padding")
    found = pid.decompose(PROMPT, ("red", "cat"), image, conditional=True)
    assert found.information["i12"] > 0
    assert found.redundancy.shape == (32, 32)
    # the pooled vector is the string's, the tokens are the padded text's
    gone = mentions(PROMPT, ["red"])
    told = told_without(pid.host, PROMPT, gone, "padding")
    assert torch.equal(told.pooled, pid.host.encode_texts(["a photo of a cat and a tree"]).pooled)
    assert pid.attention_map(PROMPT, "cat", image, steps=2).shape == (32, 32)
    before = found.information["i12"]
    pid.host.pipeline.to(torch.bfloat16)
    half = pid.decompose(PROMPT, ("red", "cat"), image, conditional=True)
    assert half.information["i12"] == pytest.approx(before, rel=0.3)


# what is refused


def test_distilled_models_are_refused(pipe):
    def like(name=None, scheduler="DDIMScheduler", **config):
        unet = SimpleNamespace(config=SimpleNamespace(**config), peft_config=None)
        return SimpleNamespace(
            unet=unet, scheduler=type(scheduler, (), {})(), config=SimpleNamespace(_name_or_path=name)
        )

    refuse_distilled(pipe)
    refuse_distilled(like("stabilityai/stable-diffusion-2-1-base", time_cond_proj_dim=None))
    refuse_distilled(like("/home/turbo/stable-diffusion-v1-5"))
    for bad in (
        like("stabilityai/sd-turbo"),
        like("SimianLuo/LCM_Dreamshaper_v7"),
        like("stabilityai/stable-diffusion-3.5-large-turbo"),
        like(scheduler="LCMScheduler"),
        like(time_cond_proj_dim=256),
        like(guidance_embeds=True),
    ):
        with pytest.raises(OptionError, match="distilled"):
            refuse_distilled(bad)
    adapted = like("a/model")
    adapted.unet.peft_config = {"lcm-lora": None}
    with pytest.raises(OptionError, match="lcm-lora"):
        refuse_distilled(adapted)
    with pytest.raises(OptionError, match="sdxl-lightning"):
        refuse_distilled(like(), "ByteDance/sdxl-lightning")


def test_bad_requests(pid, pipe, image):
    with pytest.raises(OptionError, match=r"guidance=7\.5"):
        DiffusionPID(pipe, guidance=7.5)
    assert DiffusionPID(pipe, guidance=1.0).n_snr == 100
    for bad in (
        {"n_snr": 0},
        {"redundancy": "max"},
        {"deletion": "mask"},
        {"estimate": "i"},
        {"rows": 0},
        {"seed": -1},
    ):
        with pytest.raises(OptionError, match=next(iter(bad))):
            DiffusionPID(pipe, **bad)
    with pytest.raises(DataError, match="'dog' is not in the prompt"):
        pid.decompose(PROMPT, ("dog", "cat"), image)
    with pytest.raises(OptionError, match="more than once"):
        pid.decompose(PROMPT + " and a cat", ("cat", "tree"), image)
    with pytest.raises(OptionError, match="named twice"):
        pid.decompose(PROMPT, ("cat", "cat"), image)
    with pytest.raises(DataError, match="16 x 32 pixels; the model takes 32 x 32"):
        pid.decompose(PROMPT, ("cat", "tree"), image[:, :, :16])
    with pytest.raises(DataError, match=r"decompose\(prompt, words, image\)"):
        pid.decompose(PROMPT, ("cat", "tree"), "a photo")
    with pytest.raises(OptionError, match="words="):
        pid.decompose(PROMPT, "cat", image)
    with pytest.raises(OptionError, match="words holds 'cat'"):
        pid.decompose(PROMPT, ("cat", "tree", "red"), image)
    with pytest.raises(OptionError, match="reference"):
        pid.decompose(PROMPT, ("cat", "tree"), image, conditional=True, reference="photo")
    with pytest.raises(DataError, match="26 tokens and the text encoder reads 24"):
        pid.decompose("a " * 23 + "cat", ("cat", ("a", 0)), image)
    with pytest.raises(OptionError, match="whole prompt"):
        pid.mutual_information(PROMPT, None, image, given="rest")
    with pytest.raises(OptionError, match="given"):
        pid.mutual_information(PROMPT, "cat", image, given="all")
    for seeds in ((), (-1,)):
        with pytest.raises(OptionError, match="seeds="):
            pid.decompose(PROMPT, ("cat", "tree"), seeds=seeds)
        with pytest.raises(OptionError, match="seeds="):
            pid.intervene(PROMPT, "cat", seeds=seeds)
    for seeds in (0, ["a"], None, "12"):
        with pytest.raises(OptionError, match="seeds="):
            checked_seeds(seeds)
    assert checked_seeds(np.arange(2)) == [0, 1]
    for prompt in (None, [PROMPT]):
        with pytest.raises(DataError, match="reference must be one text, got"):
            check_prompt(prompt, "reference")
    with pytest.raises(DataError, match="tokens and the text encoder reads 24"):
        pid.decompose(PROMPT, ("cat", "tree"), image, reference="cat " * 60)
    with pytest.raises(OptionError, match="words=a Tensor"):
        pairs_of(image)
    with pytest.raises(DataError, match=r"\(n, 3, 32, 32\), got \(1, 3, 64, 64\)"):
        pid.information(torch.zeros(1, 3, 64, 64), {"a": "cat", "b": ""}, [("a", "b")])
    with pytest.raises(OptionError, match="n_noise"):
        pid.snr_curve(PROMPT, "cat", image, n_noise=0)
    with pytest.raises(OptionError, match="sizes"):
        pid.attention_map(PROMPT, "cat", image, sizes=(5,), steps=1)
    with pytest.raises(OptionError, match=r"prior is for redundancy"):
        DiffusionPID(pipe, prior=(0.5, 0.5))
    with pytest.raises(OptionError, match="prior="):
        DiffusionPID(pipe, redundancy="specificity-ambiguity", prior=(-1, 2))
    with pytest.raises(FileError, match="neither a folder here"):
        DiffusionPID(pipe, redundancy="specificity-ambiguity", prior="no-such-folder/no-model")


def test_few_log_snrs_are_said(pipe, image):
    with pytest.warns(UserWarning, match="8 log-SNRs are few"):
        DiffusionPID(pipe, n_snr=8).decompose(PROMPT, ("cat", "tree"), image)


def test_images_of_every_kind(pid, image):
    from PIL import Image

    bytes_ = ((image[0] + 1) * 127.5).round().to(torch.uint8)
    expected = pid.mutual_information(PROMPT, "cat", image[0]).i_o
    for given in (bytes_, bytes_.numpy(), Image.fromarray(bytes_.permute(1, 2, 0).numpy()), [image[0]]):
        assert pid.mutual_information(PROMPT, "cat", given).i_o == pytest.approx(expected, rel=0.02)


# priors


def masked_language_model():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PROMPT.split()]
    tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(dict.fromkeys(words))})
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=1.0,
    )
    return transformers.BertForMaskedLM(config).eval(), tokenizer


def test_surprisals_of_a_masked_language_model():
    model, tokenizer = masked_language_model()
    words = mentions(PROMPT, ["red", "tree"])
    h = word_surprisals((model, tokenizer), PROMPT, words)
    told = tokenizer(PROMPT.replace("red", "[MASK]"), return_tensors="pt")
    place = told.input_ids[0].tolist().index(tokenizer.mask_token_id)
    with torch.no_grad():
        chances = model(**told).logits[0, place].double().softmax(-1)
    assert h[0] == pytest.approx(-math.log(float(chances[tokenizer.convert_tokens_to_ids("red")])), rel=1e-5)
    assert float(chances.sum()) == pytest.approx(1.0)
    assert h[0] != pytest.approx(h[1])
    assert word_surprisals("uniform", PROMPT, words) is None
    assert word_surprisals((0.5, 0.25), PROMPT, words) == pytest.approx((math.log(2), math.log(4)))
    for bad in (3, (0.5, 0.0), (0.5,), ("a", "b")):
        with pytest.raises(OptionError, match="prior="):
            word_surprisals(bad, PROMPT, words)
    with pytest.raises(FileError, match="neither a folder here"):
        word_surprisals("no-such-folder/no-model", PROMPT, words)
