"""Effective features: the entropy against closed forms, the training against itself, and every way to misuse them."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unsnarl.data.known._sparse_features import sparse_features
from unsnarl.errors import DataError, MissingExtraError, OptionError, TrainingError, UnknownNameError
from unsnarl.information import EstimatorWarning
from unsnarl.measures.superposition import (
    LayerActivations,
    effective_features,
    encode_layer,
    feature_growth,
    fit_plateau,
    measure_activations,
    measure_superposition,
    record_layer,
    superposition_baselines,
    sweep_dictionary_size,
    token_batches,
    train_autoencoder,
    train_autoencoders,
    transformer_sites,
)
from unsnarl.nn._sparse_autoencoder import SparseAutoencoder

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def signs(inputs: int) -> SparseAutoencoder:
    """An autoencoder of 2N features, max(x_i, 0) and max(-x_i, 0), that reconstructs everything."""
    sae = SparseAutoencoder(inputs, 2 * inputs)
    sae.load_state_dict({"weight": torch.cat([torch.eye(inputs), -torch.eye(inputs)]), "bias": torch.zeros(2 * inputs)})
    return sae


class TestEffectiveFeatures:
    def test_of_one_hot_codes_is_their_number(self):
        assert effective_features(np.eye(12)) == pytest.approx(12, rel=1e-9)
        assert effective_features(torch.eye(5)) == pytest.approx(5, rel=1e-9)

    def test_by_hand(self):
        # shares 1/2, 1/4, 1/4: exp(1.5 ln 2); the sign does not count
        codes = np.array([[2.0, 0.0, -2.0], [-2.0, 2.0, 0.0]])
        assert effective_features(codes) == pytest.approx(2**1.5, rel=1e-8)

    def test_the_floor_is_added_before_the_shares_are_renormalised(self):
        p = np.array([1.0, 1e-10, 1e-10])  # a code of one feature, raised
        p /= p.sum()
        assert effective_features([[3.0, 0.0, 0.0]]) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-12)
        assert effective_features([[3.0, 0.0, 0.0]]) > 1

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000), st.integers(1, 30), st.floats(1e-3, 1e3))
    def test_lies_between_one_and_all_and_ignores_scale_and_order(self, seed, features, scale):
        rng = np.random.default_rng(seed)
        codes = rng.exponential(size=(20, features)) * (rng.random((20, features)) < 0.3)
        codes[0, 0] = 1.0
        F = effective_features(codes)
        assert 1 <= F <= features * (1 + 1e-9)
        shuffled = codes[rng.permutation(20)][:, rng.permutation(features)]
        assert effective_features(scale * shuffled) == pytest.approx(F, rel=1e-6)

    def test_a_dead_layer_is_zero_and_says_so(self):
        with pytest.warns(EstimatorWarning, match="every code is zero"):
            assert effective_features(np.zeros((4, 3))) == 0

    @pytest.mark.parametrize("codes", [np.zeros(3), [[1.0, math.nan]], np.zeros((3, 0)), np.zeros((0, 3)), [["a"]]])
    def test_unusable_codes(self, codes):
        with pytest.raises(DataError):
            effective_features(codes)


class TestTraining:
    def test_the_loss_is_that_of_the_paper(self):
        H = torch.randn(128, 3, generator=torch.Generator().manual_seed(0))
        for tied in (True, False):
            trained = train_autoencoder(
                H, 5, l1=0.7, tied=tied, epochs=1, seed=4
            )  # one batch: the loss before any step
            codes, reconstruction = SparseAutoencoder(3, 5, tied=tied, seed=4)(H)
            expected = (reconstruction - H).square().sum() / (128 * 3) + 0.7 * codes.sum() / (128 * 5)
            assert trained.losses[0] == pytest.approx(expected.item(), rel=1e-5)

    def test_one_step_is_adams(self):
        H = torch.randn(64, 3)
        sae = SparseAutoencoder(3, 4, seed=1)
        codes, reconstruction = sae(H)
        ((reconstruction - H).square().mean() + 0.1 * codes.mean()).backward()
        torch.optim.Adam(sae.parameters(), lr=1e-3).step()
        trained = train_autoencoder(H, 4, batch_size=64, epochs=1, seed=1, patience=None).sae
        torch.testing.assert_close(trained.weight, sae.weight)
        torch.testing.assert_close(trained.bias, sae.bias)

    @pytest.mark.parametrize("tied", [True, False])
    def test_several_at_once_end_where_each_ends_alone(self, tied):
        generator = torch.Generator().manual_seed(0)
        H = torch.randn(3, 400, 4, generator=generator) * torch.tensor([0.1, 1.0, 3.0])[:, None, None]
        options = {"tied": tied, "epochs": 60, "patience": 2, "lr": 0.1, "seed": 5}
        together = train_autoencoders(H, 9, l1=[0.1, 1.0, 2.0], **options)
        lengths = {len(member.losses) for member in together}
        assert len(lengths) > 1, "some must leave the stack before others"
        for member, rows, l1 in zip(together, H, [0.1, 1.0, 2.0], strict=True):
            alone = train_autoencoder(rows, 9, l1=l1, **options)
            assert len(alone.losses) == len(member.losses)
            assert alone.best_epoch == member.best_epoch
            np.testing.assert_allclose(member.losses, alone.losses, rtol=1e-4)
            for name, value in alone.sae.state_dict().items():
                torch.testing.assert_close(member.sae.state_dict()[name], value, rtol=1e-3, atol=1e-4)

    def test_stops_after_patience_and_gives_back_a_copy_of_the_best_weights(self):
        H = torch.randn(300, 4, generator=torch.Generator().manual_seed(2))
        options = {"l1": 0.1, "lr": 0.05, "seed": 3, "batch_size": 32}
        trained = train_autoencoder(H, 8, epochs=200, patience=4, **options)
        assert trained.converged
        assert len(trained.losses) == trained.best_epoch + 1 + 4 < 200
        assert trained.losses.argmin() == trained.best_epoch
        there = train_autoencoder(H, 8, epochs=trained.best_epoch + 1, patience=None, **options).sae
        torch.testing.assert_close(trained.sae.weight, there.weight)
        later = train_autoencoder(H, 8, epochs=len(trained.losses), patience=None, **options)
        assert later.converged is None
        assert later.best_epoch == len(later.losses) - 1
        assert not torch.allclose(trained.sae.weight, later.sae.weight)  # a shallow copy would be these

    def test_says_when_epochs_ran_out(self):
        trained = train_autoencoder(torch.randn(300, 4), 8, epochs=3)
        assert trained.converged is False
        assert len(trained.losses) == 3

    def test_finds_the_features_of_a_sparse_dictionary(self):
        generator = torch.Generator().manual_seed(0)
        directions = torch.nn.functional.normalize(torch.randn(6, 16, generator=generator), dim=1)
        x = sparse_features(4_000, 6, 0.9, seed=1)
        H = x @ directions
        sae = train_autoencoder(H, 32, l1=0.3, lr=3e-3, epochs=60).sae
        used = sae.encode(H).mean(0) > 1e-3
        found = torch.nn.functional.normalize(sae.dictionary[used], dim=1) @ directions.T
        assert (found.max(0).values > 0.95).all()  # every true direction is among them
        assert pytest.approx(6, abs=1.0) == measure_activations(H, sae=sae).F

    def test_bad_input(self):
        H = torch.randn(50, 3)
        for options, message in [
            ({"l1": -1.0}, "l1"),
            ({"epochs": 0}, "epochs"),
            ({"lr": 0.0}, "lr"),
            ({"patience": 0}, "patience"),
            ({"batch_size": 0}, "batch_size"),
        ]:
            with pytest.raises(OptionError, match=message):
                train_autoencoder(H, 4, **options)
        with pytest.raises(OptionError, match="3 values for 1"):
            train_autoencoders(H[None], 4, l1=[1.0, 2.0, 3.0])
        with pytest.raises(DataError, match="not finite"):
            train_autoencoder(H / 0, 4)
        with pytest.raises(DataError, match="nothing to train on"):
            train_autoencoder(H[:0], 4)
        with pytest.raises(TrainingError, match="no longer finite"):
            train_autoencoder(1e25 * H, 4, epochs=1)


class TestMeasure:
    def test_by_a_given_autoencoder_by_hand(self):
        H = np.array([[1.0, -1.0], [2.0, 0.0], [-1.0, 3.0]])
        with pytest.warns(EstimatorWarning, match="3 rows are fewer than the 4 features"):
            result = measure_activations(H, sae=signs(2))
        p = np.array([3, 3, 1, 1]) / 8  # sums of max(x, 0) and max(-x, 0)
        np.testing.assert_allclose(result.p, p, atol=1e-9)
        assert pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-8) == result.F
        assert result.psi == result.F / 2
        assert (result.N, result.D, result.rows) == (2, 4, 3)
        assert result.l0 == pytest.approx(5 / 3)
        assert result.fvu == pytest.approx(0, abs=1e-12)
        assert result.l1 is None
        assert result.tied
        assert not len(result.losses)

    def test_fvu_is_the_share_of_variance_that_is_lost(self):
        H = torch.randn(500, 3, generator=torch.Generator().manual_seed(1)) + torch.tensor([1.0, -2.0, 0.0])
        sae = SparseAutoencoder(3, 7, seed=2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = measure_activations(H, sae=sae)
        reconstruction = sae(H)[1].detach()
        expected = (H - reconstruction).square().sum() / (H - H.mean(0)).square().sum()
        assert result.fvu == pytest.approx(expected.item(), rel=1e-5)

    def test_blocks_give_what_the_whole_gives(self, monkeypatch):
        import unsnarl.measures.superposition._measure_superposition as module

        H = torch.randn(101, 3)
        whole = measure_activations(H, sae=signs(3))
        monkeypatch.setattr(module, "BLOCK", 6 * 10)
        blocks = measure_activations(H, sae=signs(3))
        assert pytest.approx(whole.F) == blocks.F
        assert blocks.fvu == pytest.approx(whole.fvu, abs=1e-12)
        assert blocks.l0 == whole.l0

    def test_same_seed_same_number(self):
        H = np.random.default_rng(0).normal(size=(300, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runs = [measure_activations(H, epochs=5, seed=s).F for s in (0, 0, 1)]
        assert runs[0] == runs[1] != runs[2]

    def test_a_layer_of_a_network(self):
        net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2)).train()
        x = torch.randn(600, 5)
        batches = [(part, None) for part in x.split(100)]
        result = measure_superposition(net, "1", batches, epochs=300, expansion=2, l1=0.01, values="post-ReLU")
        assert net.training
        assert net[2].training
        assert (result.N, result.D, result.l1, result.inputs) == (4, 8, 0.01, 600)
        assert result.site == "output of layer '1' (ReLU), never negative, as post-ReLU"
        assert not result.signed
        again = measure_superposition(net, net[1], iter(batches), sae=result.sae)
        assert pytest.approx(result.F) == again.F
        H = net[1](net[0](x)).detach()
        assert pytest.approx(result.F) == measure_activations(H, sae=result.sae).F
        before = measure_superposition(net, "1", batches, sae=result.sae, side="input")
        assert before.signed
        assert "signed" in before.site
        assert "effective features on 4 neurons" in result.summary()

    def test_what_values_says_is_checked(self):
        net = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
        x = [torch.randn(50, 5)]
        with pytest.raises(
            DataError, match=r"values='post-ReLU', but what was recorded is the output of layer '0' \(Linear\)"
        ):
            measure_superposition(net, "0", x, values="post-ReLU")
        with pytest.raises(DataError, match="never negative"):
            measure_superposition(net, "1", x, values="pre-activation")
        with pytest.raises(OptionError, match="values"):
            measure_superposition(net, "1", x, values="relu")

    def test_only_equals_are_compared(self):
        H = torch.rand(200, 2) + 0.1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours = measure_activations(H, epochs=3)
            twice = measure_activations(2 * H, epochs=3)
            assert ours.ratio(twice) == pytest.approx(ours.F / twice.F)
            others = {
                "D is 8": measure_activations(H, epochs=3, expansion=8),
                "l1 is": measure_activations(H, epochs=3, l1=0.2),
                "tied is": measure_activations(H, epochs=3, tied=False),
                "signed activations is": measure_activations(H - 0.5, epochs=3),
            }
            for message, other in others.items():
                with pytest.raises(OptionError, match=message):
                    ours.ratio(other)
            dead = encode_layer(LayerActivations.of(H), SparseAutoencoder(2, 8), l1=0.1)
            with torch.no_grad():
                dead.sae.bias.fill_(-100)
            dead = encode_layer(LayerActivations.of(H), dead.sae, l1=0.1)
            with pytest.raises(OptionError, match="dead layer"):
                ours.ratio(dead)

    def test_flags_what_cannot_be_trusted(self):
        H = torch.randn(400, 3)
        with pytest.warns(EstimatorWarning, match="leaves .* of the variance unexplained"):
            poor = measure_activations(H, sae=SparseAutoencoder(3, 12))
        assert poor.fvu > 0.3
        assert not poor.reliable
        assert "unreliable" in repr(poor)
        with pytest.warns(EstimatorWarning, match="5 rows are fewer than the 6 features"):
            measure_activations(H[:5], sae=signs(3))
        with pytest.warns(EstimatorWarning, match="still falling"):
            measure_activations(H, epochs=2)
        dead = SparseAutoencoder(3, 6)
        with torch.no_grad():
            dead.bias.fill_(-100)
        with pytest.warns(EstimatorWarning, match="every code is zero"):
            result = measure_activations(H, sae=dead)
        assert result.F == 0
        assert result.psi == 0
        assert not result.reliable
        assert "F = 0" in result.summary()
        assert measure_activations(H, sae=signs(3)).reliable

    def test_sweep_keeps_smaller_dictionaries_but_flags_them(self):
        H = np.random.default_rng(0).normal(size=(400, 4))
        results = sweep_dictionary_size(H, expansions=(0.5, 1, 3), epochs=150, lr=1e-2)
        assert [result.D for result in results] == [2, 4, 12]
        assert any("cannot hold" in problem for problem in results[0].problems)
        assert not any("cannot hold" in problem for result in results[1:] for problem in result.problems)
        assert results[0].F <= 2
        assert results[0].fvu > results[2].fvu
        assert results[2].row()["D"] == 12
        with pytest.raises(OptionError, match="expansions"):
            sweep_dictionary_size(H, expansions=(0.1,))
        with pytest.raises(OptionError, match="empty"):
            sweep_dictionary_size(H, expansions=())

    def test_bad_input(self):
        H = np.random.default_rng(0).normal(size=(50, 4))
        net = nn.Linear(3, 4)
        with pytest.raises(OptionError, match=r"expansion=0\.5 gives 2 features for 4 neurons"):
            measure_activations(H, expansion=0.5)
        with pytest.raises(DataError, match="reads 3 neurons"):
            measure_activations(H, sae=signs(3))
        with pytest.raises(DataError, match="not finite"):
            measure_activations(np.where(H > 0, H, np.nan))
        with pytest.raises(DataError, match="not finite"):
            measure_superposition(net, "", [torch.full((4, 3), torch.inf)])
        with pytest.raises(UnknownNameError, match="fc9"):
            measure_superposition(net, "fc9", [torch.ones(4, 3)])
        with pytest.raises(DataError, match="no inputs"):
            measure_superposition(net, "", [])
        with pytest.raises(DataError, match="not a str"):
            measure_superposition(net, "", ["text"])
        with pytest.raises(DataError, match="one number an input"):
            measure_superposition(nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)), "1", [torch.ones(4, 3)])

    def test_baselines_see_directions_not_features(self):
        rng = np.random.default_rng(0)
        x = rng.random((4_000, 20)) * (rng.random((4_000, 20)) < 0.05)
        directions = rng.normal(size=(20, 5))
        numbers = superposition_baselines(x @ directions, expansion=8)
        assert 3 < numbers["participation_ratio"] <= numbers["pca_effective_rank"] <= 5
        assert 30 < numbers["untrained_autoencoder"] <= 40
        eigenvalues = np.linalg.eigvalsh(np.cov(x @ directions, rowvar=False))
        p = eigenvalues / eigenvalues.sum()
        assert numbers["pca_effective_rank"] == pytest.approx(math.exp(-(p * np.log(p)).sum()))
        with pytest.raises(DataError):
            superposition_baselines(np.ones((10, 3)))


class TestPositions:
    def test_every_position_of_an_image_is_a_row_of_channels(self):
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
        x = torch.randn(20, 1, 6, 6)
        seen = record_layer(net, "1", x.split(7), samples=50)
        assert (seen.rows, seen.inputs, seen.neurons, len(seen.sample)) == (20 * 16, 20, 3, 50)
        H = net(x).detach()
        rows = H.permute(0, 2, 3, 1).reshape(-1, 3)
        assert torch.equal(torch.cat(list(seen.again())), rows)
        images = (seen.sample[:, None] == rows[None]).all(2).float().argmax(1) // 16
        assert len(images.unique()) > 10  # not the first fifty, which are of four images

    def test_summing_an_images_code_first_gives_the_same_features(self):
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
        x = torch.randn(20, 1, 6, 6)
        sae = SparseAutoencoder(3, 12, seed=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = measure_superposition(net, "1", [x], sae=sae)
        codes = sae.encode(net(x).flatten(2).mT).sum(1)  # (20, D)
        assert pytest.approx(effective_features(codes), rel=1e-6) == result.F

    def test_channels_can_be_named(self):
        x = [torch.randn(5, 4, 7)]
        identity = nn.Sequential(nn.Identity())
        assert record_layer(identity, "0", x).neurons == 7
        assert record_layer(identity, "0", x, channels="first").neurons == 4
        assert record_layer(nn.Sequential(nn.Conv1d(4, 6, 1)), "0", x).neurons == 6
        assert record_layer(identity, "0", [torch.randn(5, 2, 3, 8)], channels="last").neurons == 8
        with pytest.raises(OptionError, match="channels"):
            record_layer(identity, "0", x, channels="middle")

    def test_large_activations_are_not_kept_but_come_again(self, monkeypatch):
        import unsnarl.measures.superposition._layer_activations as module

        calls = []
        net = nn.Sequential(nn.Linear(3, 4))
        net.register_forward_hook(lambda *_: calls.append(1))
        x = torch.randn(40, 3).split(10)
        seen = record_layer(net, "0", x)
        kept = torch.cat(list(seen.again()))
        assert len(calls) == 4
        monkeypatch.setattr(module, "KEPT_BYTES", 200)
        seen = record_layer(net, "0", iter(x))
        assert torch.equal(torch.cat(list(seen.again())), kept)
        assert len(calls) == 12

    def test_the_sample_is_uniform_over_the_stream(self):
        net = nn.Sequential(nn.Identity())
        stream = torch.arange(1000.0)[:, None].expand(-1, 2).split(37)
        counts = np.zeros(10)
        for seed in range(40):
            sample = record_layer(net, "0", stream, samples=100, seed=seed).sample[:, 0].numpy()
            assert len(np.unique(sample)) == 100
            counts += np.histogram(sample, bins=10, range=(0, 1000))[0]
        assert np.abs(counts - 400).max() < 5 * (400 * 0.9) ** 0.5
        assert record_layer(net, "0", stream, inputs=90).rows == 90

    def test_masked_tokens_are_left_out(self):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Embedding(9, 4)

            def forward(self, input_ids, attention_mask):
                return {"hidden": self.embed(input_ids)}

        model = Model()
        ids = torch.randint(0, 9, (3, 5))
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
        batches = [{"input_ids": ids, "attention_mask": mask}, {"input_ids": ids[:, :2], "attention_mask": mask[:, :2]}]
        seen = record_layer(model, "embed", batches)
        assert (seen.rows, seen.inputs) == (10 + 4, 6)
        expected = torch.cat([model.embed(ids)[mask.bool()], model.embed(ids[:, :2])[mask[:, :2].bool()]])
        assert torch.equal(torch.cat(list(seen.again())), expected.detach())
        with pytest.raises(DataError, match="attention mask"):
            record_layer(model, "embed", [{"input_ids": ids, "attention_mask": mask[:, :4]}])


class TestLanguageModels:
    @pytest.fixture(scope="class")
    @classmethod
    def pythia(cls):
        transformers = pytest.importorskip("transformers")
        config = transformers.GPTNeoXConfig(
            vocab_size=60, hidden_size=16, num_hidden_layers=6, num_attention_heads=2, intermediate_size=32
        )
        torch.manual_seed(0)
        return transformers.GPTNeoXForCausalLM(config).eval()

    @pytest.fixture(scope="class")
    @classmethod
    def batches(cls):
        class Letters:
            def __call__(self, text):
                return {"input_ids": [ord(c) % 60 for c in text]}

        texts = ["the cat sat", "", "on a mat", "a much longer text than the others", "end"] * 6
        return list(token_batches(texts, Letters(), batch_size=5, characters=20))

    def test_texts_become_padded_batches(self, batches):
        assert sum(len(b["input_ids"]) for b in batches) == 24  # the empty ones are left out
        first = batches[0]
        assert first["input_ids"].shape == (5, 20)
        assert first["attention_mask"].sum(1).tolist() == [11, 8, 20, 3, 11]
        assert (first["input_ids"][first["attention_mask"] == 0] == 0).all()
        with pytest.raises(DataError, match="one text"):
            next(token_batches("one", None))
        with pytest.raises(DataError, match="must be strings"):
            next(token_batches([b"x"], None))
        with pytest.raises(OptionError, match="batch_size"):
            next(token_batches(["x"], None, batch_size=0))

    def test_sites_of_pythia(self, pythia):
        sites = transformer_sites(pythia)
        assert len(sites) == 19
        assert sites["embed"] == "gpt_neox.embed_in"
        assert sites["resid_out_layer5"] == "gpt_neox.layers.5"
        assert sites["attn_out_layer2"] == "gpt_neox.layers.2.attention"
        with pytest.raises(OptionError, match="no blocks"):
            transformer_sites(nn.Linear(2, 2))

    def test_sites_of_smollm(self):
        transformers = pytest.importorskip("transformers")
        config = transformers.LlamaConfig(
            vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        sites = transformer_sites(transformers.LlamaForCausalLM(config))
        assert sites["embed"] == "model.embed_tokens"
        assert sites["mlp_out_layer1"] == "model.layers.1.mlp"
        assert len(sites) == 7

    def test_trains_its_own_autoencoder(self, pythia, batches):
        layer = transformer_sites(pythia)["mlp_out_layer1"]
        tokens = int(sum(b["attention_mask"].sum() for b in batches))
        with pytest.warns(EstimatorWarning, match="still falling"):
            result = measure_superposition(pythia, layer, batches, epochs=3)
        assert (result.N, result.D, result.rows, result.inputs) == (16, 64, tokens, 24)
        assert result.signed
        assert 1 < result.F <= 64

    def test_padding_changes_nothing(self, pythia, batches):
        layer = transformer_sites(pythia)["resid_out_layer2"]
        alone = [
            {k: v[i : i + 1, : int(b["attention_mask"][i].sum())] for k, v in b.items()}
            for b in batches
            for i in range(len(b["input_ids"]))
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            F = [measure_superposition(pythia, layer, some, sae=signs(16)).F for some in (batches, alone)]
        assert F[0] == pytest.approx(F[1], rel=1e-4)

    def test_a_published_autoencoder_on_few_texts_is_flagged(self, pythia, batches):
        layer = transformer_sites(pythia)["mlp_out_layer0"]
        with pytest.warns(EstimatorWarning, match="24 texts are fewer than 10,000"):
            measure_superposition(pythia, layer, batches, sae=signs(16))

    def test_growth_sums_over_tokens_and_ends_with_all_texts(self, pythia, batches):
        sites = transformer_sites(pythia)
        layers = [sites["embed"], sites["mlp_out_layer3"]]
        saes = {layer: signs(16) for layer in layers}
        growth = feature_growth(pythia, saes, batches, at=(1, 2, 7, 10_000))
        for layer in layers:
            curve = growth[layer]
            assert curve.texts.tolist() == [1, 2, 7, 24]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                whole = measure_superposition(pythia, layer, batches, sae=signs(16))
                three = [{k: v[:2] for k, v in batches[0].items()}]
                two = measure_superposition(pythia, layer, three, sae=signs(16))
            assert curve.F[-1] == pytest.approx(whole.F, rel=1e-5)
            assert curve.F[1] == pytest.approx(two.F, rel=1e-5)
            assert curve.plateau is not None
        with pytest.raises(OptionError, match="saes is empty"):
            feature_growth(pythia, {}, batches)
        with pytest.raises(DataError, match="no texts"):
            feature_growth(pythia, saes, [])

    def test_by_name_from_a_folder(self, pythia, batches, tmp_path):
        pythia.save_pretrained(tmp_path / "model")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            named = measure_superposition(str(tmp_path / "model"), "gpt_neox.layers.0.mlp", batches, sae=signs(16))
            ours = measure_superposition(pythia, "gpt_neox.layers.0.mlp", batches, sae=signs(16))
        assert pytest.approx(ours.F, rel=1e-6) == named.F
        from unsnarl.errors import FileError

        with pytest.raises(FileError, match="none does not exist"):
            measure_superposition(str(tmp_path / "none"), "x", batches)

    def test_without_transformers_says_what_to_install(self, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingExtraError, match=r"unsnarl\[language\]"):
            measure_superposition("EleutherAI/pythia-70m-deduped", "gpt_neox.layers.0.mlp", [])

    def test_plateau_of_the_published_curve(self):
        texts = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000])
        F = np.array([191, 225, 496, 831, 1421, 2413, 3253, 4193, 5024, 5598, 5914, 6149, 6268, 6320, 6328])
        whole = fit_plateau(texts, F)
        assert pytest.approx(6328, rel=0.05) == whole.F
        assert whole.reached == pytest.approx(6328 / whole.F)
        early = fit_plateau(texts[:10], F[:10])
        assert pytest.approx(6328, rel=0.1) == early.F
        assert early.F > 5598

    def test_plateau_of_an_exact_curve(self):
        texts = np.array([1, 3, 10, 40, 200, 900])
        fitted = fit_plateau(texts, 500 / (1 + (30 / texts) ** 0.7))
        assert pytest.approx(500, rel=1e-3) == fitted.F
        assert fitted.half == pytest.approx(30, rel=1e-2)
        assert fitted.steepness == pytest.approx(0.7, rel=1e-2)
        with pytest.raises(DataError, match="positive"):
            fit_plateau([1, 2, 3, 4], [0, 1, 2, 3])
        with pytest.raises(DataError):
            fit_plateau([1, 2, 3], [1, 2, 3])
        with pytest.raises(DataError, match="one row an observation"):
            fit_plateau([1, 2, 3, 4], [1, 2, 3, 4, 5])
