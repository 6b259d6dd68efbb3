"""The claim of DisenBooth on untrained models: that every number it compares is there, and that no set is used twice."""

import math

import pytest
import torch

from unsnarl.claims import disenbooth
from unsnarl.claims._context import Context
from unsnarl.data.scenes import single_prompts, solo

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def untrained(monkeypatch):
    from unsnarl.zoo import _sd_recipe
    from unsnarl.zoo._contrastive import clip_config
    from unsnarl.zoo._identity import IdentityNetwork
    from unsnarl.zoo._oracle import Oracle, OracleNetwork
    from unsnarl.zoo._tokenizer import scene_tokenizer

    torch.manual_seed(0)
    config = clip_config(scene_tokenizer(), width=32, text_layers=1, vision_layers=1, heads=2, patch=8, projection=32)
    clip = transformers.CLIPModel(config).eval()
    small = {**_sd_recipe.UNET, "block_out_channels": (8, 8, 8), "norm_num_groups": 4, "cross_attention_dim": 32}
    pipeline = _sd_recipe.pipeline(diffusers.UNet2DConditionModel(**small).eval(), clip)
    models = {
        "zoo/sd-tiny-32": pipeline,
        "zoo/clip-tiny": clip,
        "zoo/clip-eval": clip,
        "zoo/oracle": Oracle(OracleNetwork()),
        "zoo/identity": IdentityNetwork().eval(),
    }
    monkeypatch.setattr(disenbooth, "load", models.__getitem__)
    monkeypatch.setattr(disenbooth, "OTHERS", 4)
    return pipeline


def test_every_number_that_is_compared_is_measured(untrained, tmp_path):
    claim = disenbooth.claim
    measured = {}
    for name in (disenbooth.SYSTEM, disenbooth.PRESERVED, disenbooth.NO_WEAK):
        context = Context(tmp_path / str(len(measured)), quick=True)
        arm = claim.arm(name)
        measured[name] = arm.run(0, context, **arm.options)
        assert not hasattr(untrained.unet, "peft_config")  # the next arm starts from the same host
    for row in claim.rows:
        for name in row.arms:
            if name in measured:
                key = (row.baseline_metric or row.metric) if name == row.baseline else row.metric
                assert math.isfinite(measured[name][key]), (row.name, key)
    assert math.isfinite(measured[disenbooth.SYSTEM]["balance"])


def test_tuning_sees_the_development_instances_alone(untrained, tmp_path, monkeypatch):
    seen = []

    def fake(context, host, one, *rest):
        seen.append(one)
        return {"identity": 0.5, "text": 0.25, "leak": 0.125, "other": float(len(seen))}

    monkeypatch.setattr(disenbooth, "_one_instance", fake)
    tuned = disenbooth.run_dreambooth(disenbooth.TUNING, Context(tmp_path / "t"))
    assert [one.development for one in seen] == [True, True]
    assert tuned["balance"] == 0.625
    seen.clear()
    full = disenbooth.run_dreambooth(0, Context(tmp_path / "a"))
    assert len(seen) == 10
    assert not any(one.development for one in seen)
    assert (full["other"], full["other_first"]) == (5.5, 1.5)
    disenbooth.run_dreambooth(0, Context(tmp_path / "a"))
    assert len(seen) == 10  # read from the disk
    seeds = {seed for tuning in disenbooth.claim.tune for seed in tuning.seeds}
    assert min(seeds) >= disenbooth.TUNING
    assert {len(t.settings()) for t in disenbooth.claim.tune} == {3}


def test_the_set_is_what_the_claim_says():
    for one in solo("confounded"):
        photos = one.photos[: disenbooth.PHOTOS]
        assert len({(p.pattern, p.background) for p in photos}) == 1
        assert sum(len(p.objects) == 2 for p in photos) == 2
        asked = [p for p in single_prompts(one.instances[0]) if disenbooth._asks_ground(p)]
        assert len(asked) == 3
        for prompt in asked:
            told = {s.factor: s.value for s in prompt.asks}
            assert (told["pattern"], told["background"]) != (photos[0].pattern, photos[0].background)
        fresh = disenbooth.references_of(one)
        assert fresh[0].objects[0].identity == one.instances[0].identity
        assert not set(fresh) & set(photos)
