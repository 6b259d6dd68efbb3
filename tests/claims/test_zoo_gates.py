"""Gates measure what their names say: on oracles that see rightly they are met, on ones that do not they are not."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import itertools

from unsnarl.claims.gates import Gate, _check, _generators, check_zoo, unmet_gates
from unsnarl.claims.gates._gate import mean_gate, share_gate
from unsnarl.claims.gates._generators import _Maker, _says, confirmed, full_captions
from unsnarl.claims.gates._graders import SEED, area_under_curve, clip_gates, identity_gates, oracle_gates, reading_hits
from unsnarl.claims.gates._showing import SHOWS, least_changes
from unsnarl.data.scenes import Scene, SceneObject, SceneStream, describe, parse, render_scenes
from unsnarl.diffusion import Host
from unsnarl.errors import UnknownNameError
from unsnarl.zoo import SceneReading, SeenObject
from unsnarl.zoo._card import asked, card_text, read_gates, write_curve

pytestmark = pytest.mark.filterwarnings("ignore")


def true_reading(scene):
    """What an oracle without mistakes would say."""
    objects = tuple(
        SeenObject(o.kind, o.color, o.texture, o.size, o.turn, o.facing, o.x, o.y, o.diameter, 1.0)
        for o in scene.objects
    )
    return SceneReading(objects, scene.pattern, scene.background, scene.style, scene.frame or "none")


class Seer:
    """An oracle that knows which scenes it is shown, in order."""

    def __init__(self, scenes):
        self.readings = [true_reading(scene) for scene in scenes]

    def read(self, images):
        assert len(images) == len(self.readings)
        return self.readings


class Silent:
    """Makes blank images and remembers the prompts."""

    def __init__(self):
        self.asked = {}

    def __call__(self, what, prompts):
        self.asked[what] = list(prompts)
        return torch.zeros(len(prompts), 3, 32, 32)


def test_a_gate_is_met_between_its_bounds():
    gate = share_gate("m", "x", [True] * 9 + [False], low=0.9)
    assert gate.met
    assert gate.n == 10
    assert gate.error == pytest.approx(math.sqrt(0.9 * 0.1 / 10))
    assert not share_gate("m", "x", [True, False, False], low=0.4, high=0.6).met
    assert not mean_gate("m", "x", [], low=0.5).met
    assert mean_gate("m", "x", [1.0, 3.0]).error == pytest.approx(1.0)
    assert Gate("m", "x", math.nan, low=0.5).met is False
    assert (Gate("m", "x", 1, low=0.5).asked, Gate("m", "x", 1, 0.1, 0.2).asked) == (">= 0.50", "0.10 to 0.20")
    assert Gate("m", "x", 0.5, low=0.4).to_json()["high"] is None


def test_the_area_under_the_curve_counts_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 40).astype(float), rng.integers(0, 4, 30).astype(float)
    by_pairs = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    assert area_under_curve(a, b) == pytest.approx(by_pairs)


def test_true_readings_are_all_hits_and_false_ones_none():
    scenes = SceneStream(SEED).scenes(range(60))
    visible = np.ones((60, 3))
    hits = reading_hits(scenes, visible, [true_reading(s) for s in scenes])
    near = [v for name in ("kind", "color") for v in hits[name]]
    assert np.mean(near) > 0.97  # objects that lie on each other may be taken for each other
    assert all(all(hits[name]) for name in ("pattern", "background", "style", "frame"))
    wrong = reading_hits(scenes, visible, [true_reading(s) for s in scenes[1:] + scenes[:1]])
    assert np.mean(wrong["background"]) < 0.5


def test_what_does_not_show_has_no_distance_to_its_other_values():
    flat = Scene((SceneObject("circle", "red", x=0.3), SceneObject("cat", "blue", size="large", x=0.7)))
    changes = least_changes([flat, Scene(())])
    assert changes["turn"][0, 0] == changes["facing"][0, 0] == 0
    assert changes["facing"][0, 1] > SHOWS
    assert (changes["color"][0] > SHOWS).all()
    assert all(np.isnan(values[1]).all() for values in changes.values())
    one, other = (render_scenes([s]).images.astype(float) / 255 for s in (flat, flat.intervene(color="orange")))
    assert 0 < changes["color"][0, 0] <= np.sqrt(((one - other) ** 2).sum()) + 1e-9
    tiny = Scene((SceneObject("cat", "blue", size="very small"),))
    assert least_changes([tiny])["texture"][0, 0] < changes["texture"][0, 1]
    hits = reading_hits([flat, Scene(())], np.ones((2, 2)), [true_reading(s) for s in (flat, Scene(()))], changes)
    assert (len(hits["turn"]), len(hits["color"])) == (1, 2)


def test_an_oracle_without_training_misses():
    from unsnarl.zoo import Oracle
    from unsnarl.zoo._oracle import OracleNetwork

    torch.manual_seed(0)
    gates = oracle_gates(Oracle(OracleNetwork()), 30)
    bounded = [g for g in gates if g.low > 0]
    assert [g.name for g in bounded] == ["factors read rightly on renders", "factors read rightly on degraded renders"]
    assert not any(g.met for g in bounded)


def test_an_identity_that_knows_who_is_shown():
    from unsnarl.zoo._identity import IdentityNetwork

    torch.manual_seed(0)
    (gate,) = identity_gates(IdentityNetwork(), None, 8)
    assert 0.2 < gate.value < 0.9
    assert not gate.met

    class Knows(torch.nn.Module):
        def forward(self, crops):
            return torch.nn.functional.one_hot(torch.arange(len(crops)) // 4).float()

    assert identity_gates(Knows(), None, 8)[0].value == 1.0


def test_a_clip_without_training_finds_by_chance():
    from unsnarl.zoo import scene_tokenizer
    from unsnarl.zoo._clip_recipes import CLIP_TINY

    torch.manual_seed(0)
    gate, back = clip_gates("clip-eval", CLIP_TINY.make({}, 10).model.eval(), scene_tokenizer(), groups=2)
    assert gate.n == 128
    assert gate.value < 0.15
    assert gate.low == 0.8
    assert back.value < 0.15
    assert back.asked == ""


def test_prompts_are_confirmed_by_the_scenes_they_describe():
    stream = SceneStream(SEED)
    batch = stream.batch(range(200))
    pairs = [(c, s) for c, s in zip(batch.captions, batch.scenes, strict=True) if c.form == "full"]
    checked = [hit for c, s in pairs for hit in confirmed(c, true_reading(s))]
    assert len(checked) > 400
    missed = [name for name, hit in checked if not hit]
    assert len(missed) < 0.02 * len(checked)
    assert {name for name, _ in checked} >= {"category", "colour", "background", "relation", "style", "frame"}
    others = [hit for (c, _), (_, s) in itertools.pairwise(pairs) for hit in confirmed(c, true_reading(s))]
    assert np.mean([hit for _, hit in others]) < 0.5


def test_prompt_gates_are_met_by_a_generator_that_obeys():
    captions, scenes = full_captions(SceneStream(SEED), 40)
    make = Silent()
    gates = _generators.prompt_gates("sd", make, Seer(scenes), 40)
    assert make.asked["prompts"] == [c.text for c in captions]
    by_name = {g.name: g for g in gates}
    for n in ("category", "colour", "background", "relation", "style"):
        assert by_name[n].met
        assert by_name[f"{n} of the true images"].value == by_name[n].value
    blank = [SceneReading((), "plain", "red", "none", "none")] * 40
    nothing = _generators.prompt_gates("sd", Silent(), type("Blind", (), {"read": lambda s, i: blank})(), 40)
    assert not any(g.met for g in nothing if g.low > 0)


def test_held_out_pairs_are_asked_for():
    scenes = SceneStream(SEED, held_out="only").scenes(range(30))
    make = Silent()
    (gate,) = _generators.held_out_gates("sd", make, Seer(scenes), 30)
    assert gate.met
    assert make.asked["held-out pairs"] == [describe(s).text for s in scenes]
    (missed,) = _generators.held_out_gates("sd", Silent(), Seer(scenes[1:] + scenes[:1]), 30)
    assert missed.value < 0.7


def test_single_words_say_one_thing():
    assert _says("kind", "cat")
    assert _says("color", "red")
    assert not _says("color", "orange")
    for factor, word in (("pattern", "striped"), ("style", "neon"), ("texture", "banded")):
        assert _says(factor, word), word
    make = Silent()

    class Reads:
        def read(self, images):
            out = []
            for word in make.asked["single words"]:
                told = parse(word)
                kind = told.objects[0]["kind"] if told.objects else "cat"
                loose = dict(told.loose)
                color = loose.get("color", "x")
                of_object, of_ground = ("x", color) if self.on_the_ground else (color, "x")
                seen = SeenObject(kind, of_object, loose.get("texture", "x"), "", "", "", 0.5, 0.5, 0.5, 1.0)
                pattern = told.pattern or loose.get("pattern", "x")
                out.append(SceneReading((seen,), pattern, of_ground, told.style or loose.get("style", "x"), "none"))
            return out

    for Reads.on_the_ground in (False, True):
        gates = {g.name.removeprefix("single words, "): g for g in _generators.word_gates("sd", make, Reads(), 2)}
        assert all(g.value == 1 for g in gates.values())
        assert gates.keys() == {"single words", "kind", "color", "texture", "pattern", "style", "synonyms"}
        assert gates["synonyms"].n == 6


def test_frames_need_both_words():
    class Framed(Silent):
        def __init__(self, toss):
            super().__init__()
            self.toss = toss

        def read(self, images):
            texts = list(self.asked.values())[-1]
            frames = [parse(text).frame or self.toss(i, text) for i, text in enumerate(texts)]
            return [SceneReading((), "plain", "red", "none", frame) for frame in frames]

    def met(toss):
        made = Framed(toss)
        return [g.met for g in _generators.frame_gates("sd", made, made, 40)]

    assert met(lambda i, text: ("black", "white")[(i // 4) % 2]) == [True, True, True, True, True]
    assert met(lambda i, text: "white") == [True, False, True, True, True]
    assert met(lambda i, text: "white" if text in ("odd", "tock") else "black") == [True, True, False, False, True]
    assert met(lambda i, text: ("black", "white", "none")[(i // 4) % 3])[-1] is False


def test_attention_that_is_untrained_is_at_chance():
    from tiny_hosts import tiny_unet_pipeline

    (gate,) = _generators.attention_gates("sd", Host(tiny_unet_pipeline()), 6)
    assert gate.n == 12
    assert 0.2 < gate.value < 0.8


def test_a_generator_that_learns_nothing_is_no_host_for_persons():
    from tiny_hosts import tiny_unet_pipeline
    from unsnarl.claims.gates._personal import personal_gates
    from unsnarl.zoo._clip_recipes import CLIP_EVAL
    from unsnarl.zoo._identity import IdentityNetwork

    torch.manual_seed(0)
    pipeline = tiny_unet_pipeline()
    before = {k: v.clone() for k, v in pipeline.unet.state_dict().items()}
    blind = type("Blind", (), {"read": lambda s, x: [SceneReading((), "plain", "red", "none", "none")] * len(x)})()
    told = []
    given = (blind, IdentityNetwork().eval(), CLIP_EVAL.make({}, 10).model.eval())
    gates = personal_gates("sd", pipeline, *given, instances=1, steps=2, report=lambda *what: told.append(what))
    assert [g.met for g in gates] == [False, True, True]
    assert gates[1].value == gates[2].value == 0.0
    assert told == [("personal instances", 1, 1)]
    assert all(torch.equal(before[k], v) for k, v in pipeline.unet.state_dict().items())


def test_gates_of_sprites_are_those_of_their_numbers(monkeypatch):
    from unsnarl.claims.gates import _sprites
    from unsnarl.zoo._gan_gates import GATES

    numbers = {name: bar for name, (bar, _) in GATES.items()} | {"renders: sure": 0.5, "gan: Frechet floor": 3.0}
    asked = {}
    monkeypatch.setattr(
        _sprites, "gan_gates", lambda models, **options: asked.update(options, models=models) or numbers
    )
    generator = _sprites.sprite_gates("gan-tiny-32", "G", "R", 300)
    assert asked["models"] == {"gan-regressors": "R", "gan-tiny-32": "G"}
    assert asked["correlate"] is None
    assert all(gate.met for gate in generator)
    assert {g.name for g in generator if g.asked[:2] in (">=", "<=") and "inf" not in g.asked} == {
        name.removeprefix("gan: ") for name in GATES if name.startswith("gan: ")
    }
    regressors = _sprites.sprite_gates("gan-regressors", "R", "R", 300)
    assert [g.name for g in regressors] == ["worst R2 on renders", "shape accuracy on renders", "renders: sure"]
    assert asked["models"] == {"gan-regressors": "R"}
    numbers |= {"gan: coverage": 0.5, "gan: Frechet distance over floor": 0.6}
    missed = [g.name for g in _sprites.sprite_gates("gan-correlated-32", "G", "R", 300) if not g.met]
    assert missed == ["coverage", "Frechet distance over floor"]
    assert asked["correlate"] == _sprites.CORRELATED


def test_regressors_are_graded_without_a_generator():
    from unsnarl.claims.gates._sprites import sprite_gates
    from unsnarl.zoo._gan_regressors import FactorNetwork, FactorRegressors

    torch.manual_seed(0)
    gates = sprite_gates("gan-regressors", *[FactorRegressors(FactorNetwork())] * 2, 300)
    assert not any(g.met for g in gates if g.asked)
    assert {"worst R2 on renders", "shape accuracy on renders"} <= {g.name for g in gates}


def test_images_of_gates_are_made_in_parts():
    from tiny_hosts import tiny_unet_pipeline

    told = []
    make = _Maker(Host(tiny_unet_pipeline()), lambda *what: told.append(what), rows=2)
    images = make("prompts", ["a cat", "a fish", "a cat"])
    assert images.shape == (3, 3, 32, 32)
    assert told == [("prompts", 2, 3), ("prompts", 3, 3)]
    assert make("none", []).shape == (0, 3, 32, 32)


def test_a_record_is_kept_beside_the_weights(tmp_path, monkeypatch):
    from unsnarl.zoo import recipe
    from unsnarl.zoo._networks import write_network
    from unsnarl.zoo._oracle import OracleNetwork

    folder = tmp_path / "oracle" / "model"
    write_network(OracleNetwork(), folder, {})
    write_curve([{"step": 20 * i, "seconds": 1.0, "loss": float(i)} for i in range(1, 401)], folder)
    rows = (folder / "curve.csv").read_text().splitlines()
    assert rows[0] == "step,loss"
    assert len(rows) <= 151
    assert rows[1] == "60,2"
    assert "Not measured yet" in card_text(recipe("oracle"), folder)
    found = check_zoo(["oracle", "clip-eval"], trained=tmp_path, share=0.03, record=True)
    assert "clip-eval are not there" in found["clip-eval"]
    kept = read_gates(folder)
    assert len(kept["gates"]) == len(found["oracle"])
    text = (folder / "README.md").read_text()
    assert "(not met)" in text
    assert asked(kept["gates"][0]) == "at least 0.98"
    monkeypatch.setattr(_check, "find_folder", lambda name: folder)
    first = "factors read rightly on renders"
    assert unmet_gates({"oracle": [first]})[0] == "the gates of zoo/oracle were only measured on a share of 0.03"
    assert "share of 0.03" in text
    _check.write_gates(folder, found["oracle"], 1.0)
    assert any(first in sentence for sentence in unmet_gates({"oracle": []}))
    assert len(unmet_gates({"oracle": [first]})) == 1
    with pytest.raises(UnknownNameError, match="factors read"):
        unmet_gates({"oracle": ["factors read"]})
    torch.manual_seed(3)
    write_network(OracleNetwork(), folder, {})
    assert unmet_gates({"oracle": [first]})[0] == "the gates of zoo/oracle were measured on other weights"
    (folder / "gates.json").unlink()
    assert unmet_gates({"oracle": []}) == ["the gates of zoo/oracle were not measured"]


def test_a_claim_waits_for_its_gates(monkeypatch):
    from unsnarl.claims import Claim, Row, run_claim
    from unsnarl.claims._record import check_record
    from unsnarl.errors import DataError

    claim = Claim(
        slug="waits",
        title="t",
        statement="s",
        arms={"a": _one, "b": _zero},
        rows=[Row("r", metric="x", system="a", baseline="b", minimum_effect=0.1, role="central")],
        gates={"oracle": []},
    )
    sentences = ["zoo/oracle: x is 0.1, asked is at least 0.98"]
    monkeypatch.setattr("unsnarl.claims.gates.unmet_gates", lambda needed: sentences)
    record = run_claim(claim, seeds=3)
    assert record["rows"][0]["verdict"] == "holds"
    assert record["verdict"] == "inconclusive"
    assert "waits for gates" in record["notes"]
    with pytest.raises(DataError, match="gates"):
        check_record(record | {"verdict": "holds"})
    sentences.clear()
    assert run_claim(claim, seeds=3)["verdict"] == "holds"


def _one(seed, context):
    return {"x": 1.0 + 0.01 * seed}


def _zero(seed, context):
    return {"x": 0.0}
