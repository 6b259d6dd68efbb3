"""LoRA on hosts: what it adds, that it leaves no trace, and that plain diffusers reads what it writes."""

import copy

import pytest
import torch

from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._lora import JOINT_TARGETS, WEIGHTS, Lora
from unsnarl.errors import CheckpointError, OptionError
from unsnarl.zoo import _sd3_recipe, _sd_recipe
from unsnarl.zoo._contrastive import clip_config
from unsnarl.zoo._tokenizer import scene_tokenizer

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {
    **_sd_recipe.UNET,
    "block_out_channels": (16, 16, 16),
    "norm_num_groups": 8,
    "cross_attention_dim": 32,
}


def clip(width=32):
    from transformers import CLIPModel

    torch.manual_seed(0)
    config = clip_config(
        scene_tokenizer(), width=width, text_layers=1, vision_layers=1, heads=2, patch=8, projection=width
    )
    return CLIPModel(config).eval()


@pytest.fixture
def host():
    model = clip()
    return Host(_sd_recipe.pipeline(diffusers.UNet2DConditionModel(**SMALL), model))


@pytest.fixture
def joint():
    from transformers import CLIPTextModelWithProjection

    torch.manual_seed(1)
    texts = tuple(CLIPTextModelWithProjection(clip(64).config.text_config).eval() for _ in range(2))
    small = {**_sd3_recipe.TRANSFORMER, "num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2}
    small["caption_projection_dim"] = 16
    return Host(_sd3_recipe.pipeline(diffusers.SD3Transformer2DModel(**small), texts))


def answer(host, seed=0):
    draws = torch.Generator().manual_seed(seed)
    z = torch.randn(2, *host.latent_shape, generator=draws)
    width = host.encode_texts([""]).context.shape[-1]
    pooled = torch.randn(2, width, generator=draws) if host.kind == "transformer" else None
    told = Condition(torch.randn(2, host.text_length, width, generator=draws), pooled)
    with torch.no_grad():
        return host.predict(z, torch.tensor([300, 700]), told)


def shaken(lora, size=0.1):
    draws = torch.Generator().manual_seed(3)
    for p in lora.parameters().values():
        p.data.add_(size * torch.randn(p.shape, generator=draws))
    return lora


@pytest.mark.parametrize(
    ("published", "count"),
    [
        ({"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}, 829_952),
        ({"cross_attention_dim": 768, "attention_head_dim": 8}, 797_184),
    ],
)
def test_the_published_numbers_of_parameters(published, count, host):
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(sample_size=64, **published)
        host.denoiser = unet  # only its layers are looked at
        lora = Lora(host, rank=4)
    assert lora.count == count
    layers = {key.split(".to_")[0] for key in lora.parameters()}
    assert len(layers) == 32
    assert sum(layer.endswith("attn1") for layer in layers) == sum(layer.endswith("attn2") for layer in layers) == 16


def test_it_changes_nothing_before_training_and_only_its_weights_train(host):
    before = answer(host)
    lora = Lora(host, rank=2)
    assert torch.equal(answer(host), before)
    training = {id(p) for p in host.denoiser.parameters() if p.requires_grad}
    assert training == {id(p) for p in lora.parameters().values()}
    firsts = torch.cat([p.flatten() for key, p in lora.parameters().items() if "lora_A" in key])
    assert float(firsts.std()) == pytest.approx(1 / 2, rel=0.1)
    assert all(not p.any() for key, p in lora.parameters().items() if "lora_B" in key)


def test_a_layer_is_its_own_plus_the_scaled_update(host):
    layer = host.denoiser.mid_block.attentions[0].transformer_blocks[0].attn2
    own = copy.deepcopy(layer.to_k)
    lora = shaken(Lora(host, rank=2, alpha=6))
    x = torch.randn(3, 32)
    (a,) = (p for key, p in lora.parameters().items() if key.startswith("mid_block") and "attn2.to_k.lora_A" in key)
    (b,) = (p for key, p in lora.parameters().items() if key.startswith("mid_block") and "attn2.to_k.lora_B" in key)
    assert torch.allclose(layer.to_k(x), own(x) + 3 * x @ a.T @ b.T, atol=1e-5)


@pytest.mark.parametrize("kind", ["host", "joint"])
def test_taken_off_it_leaves_no_trace(kind, request):
    host = request.getfixturevalue(kind)
    frozen = next(iter(host.denoiser.parameters())).requires_grad_(False)
    flags = {key: p.requires_grad for key, p in host.denoiser.named_parameters()}
    weights = {key: v.clone() for key, v in host.denoiser.state_dict().items()}
    modules = [(name, type(module)) for name, module in host.denoiser.named_modules()]
    before = answer(host)
    lora = shaken(Lora(host))
    assert not torch.allclose(answer(host), before)
    with lora.off():
        assert torch.equal(answer(host), before)
    assert not torch.allclose(answer(host), before)
    lora.remove()
    lora.remove()
    assert torch.equal(answer(host), before)
    assert list(host.denoiser.state_dict()) == list(weights)
    assert all(torch.equal(v, weights[key]) for key, v in host.denoiser.state_dict().items())
    assert {key: p.requires_grad for key, p in host.denoiser.named_parameters()} == flags
    assert [(name, type(module)) for name, module in host.denoiser.named_modules()] == modules
    assert not frozen.requires_grad
    assert not hasattr(host.denoiser, "peft_config")
    Lora(host).remove()  # and another one can come


def test_a_joint_transformer_is_adapted_on_its_texts_side_too(joint):
    lora = Lora(joint)
    ends = {next(t for t in JOINT_TARGETS if key.split(".lora_")[0].endswith(t)) for key in lora.parameters()}
    assert ends == set(JOINT_TARGETS)
    # two layers of 8 maps, but for the last one, which puts out no text
    assert len(lora.parameters()) == 2 * (2 * 8 - 1)
    assert lora.count == 2 * 4 * 16 * (2 * 8 - 1)


@pytest.mark.parametrize("kind", ["host", "joint"])
@pytest.mark.parametrize("alpha", [None, 6.0])
def test_plain_diffusers_reads_it(kind, alpha, request, tmp_path):
    host = request.getfixturevalue(kind)
    lora = shaken(Lora(host, rank=3, alpha=alpha))
    told = answer(host)
    path = lora.save(tmp_path)
    assert path.name == WEIGHTS
    lora.remove()
    assert not torch.allclose(answer(host), told)
    again = Lora.load(host, tmp_path)
    assert (again.rank, again.alpha) == (3, alpha or 3.0)
    assert torch.equal(answer(host), told)
    again.remove()
    host.pipeline.load_lora_weights(tmp_path)
    assert torch.allclose(answer(host), told, atol=1e-6)


def test_weights_of_half_precision_hosts_are_trained_in_single(host):
    host.denoiser.half()
    lora = Lora(host)
    assert {p.dtype for p in lora.parameters().values()} == {torch.float32}
    assert host.denoiser.conv_in.weight.dtype == torch.float16


def test_bad_ones_get_one_sentence(host, joint, tmp_path):
    with pytest.raises(OptionError, match="rank"):
        Lora(host, rank=0)
    with pytest.raises(OptionError, match="alpha"):
        Lora(host, alpha=-1.0)
    with pytest.raises(OptionError, match="to_nowhere"):
        Lora(host, targets=["to_nowhere"])
    lora = Lora(host, rank=2, name="first")
    with pytest.raises(OptionError, match=r"'first'.*remove"):
        Lora(host)
    lora.save(tmp_path)
    with pytest.raises(CheckpointError, match="no LoRA of a transformer"):
        Lora.load(joint, tmp_path)
    other = Lora(joint)
    with pytest.raises(CheckpointError, match="another kind of host"):
        other.read(tmp_path)
    lora.remove()
    with pytest.raises(CheckpointError, match="does not fit"):
        Lora(host, rank=3).read(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"no")
    with pytest.raises(CheckpointError, match="truncated"):
        Lora.load(host, tmp_path)
