"""Heads of language models: entropies, pullback metric, kernels and geometry against closed forms and brute force."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unsnarl.data.known._markov import prototype_source
from unsnarl.errors import DataError, OptionError
from unsnarl.information._divergences import (
    hellinger_distance,
    jeffreys_divergence,
    js_divergence,
    kl_divergence,
    renyi_divergence,
    total_variation,
)
from unsnarl.measures.language import (
    LanguageHead,
    categorical_entropy,
    check_head_input,
    dirichlet_energy,
    distance_agreement,
    entropy_convergence,
    fisher_length,
    integrated_separation,
    metric_coordinates,
    metric_spectrum,
    open_model,
    pinsker_check,
    predictive_kernel,
    pullback_metric,
    spectral_alignment,
)

V, D = 12, 4


def linear(seed=0, bias=True):
    layer = nn.Linear(D, V, bias=bias).double()
    rng = np.random.default_rng(seed)
    layer.weight.data = torch.from_numpy(rng.normal(size=(V, D)))
    if bias:
        layer.bias.data = torch.from_numpy(rng.normal(size=V))
    return layer


def states(n=10, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, D)))


def softcap(layer, cap=2.0, scale=0.7):
    return lambda h: cap * torch.tanh(scale * layer(h) / cap)


LAYER = linear().requires_grad_(False)
HEADS = {
    "linear": (LAYER, LAYER),
    "scaled": (
        LanguageHead(weight=LAYER.weight, bias=LAYER.bias, scale=0.3),
        lambda h: 0.3 * LAYER(h),
    ),
    "soft-cap": (
        LanguageHead(weight=LAYER.weight, bias=LAYER.bias, scale=0.7, softcap=2.0),
        softcap(LAYER),
    ),
}
heads = pytest.mark.parametrize("name", list(HEADS))


# ---- entropies ----------------------------------------------------------------------------------------------------------


def joint_and_product(p):
    return np.diag(p).ravel(), np.outer(p, p).ravel()


@pytest.mark.parametrize("seed", range(3))
def test_the_entropy_is_the_divergence_of_copying_from_drawing_twice(seed):
    p = np.random.default_rng(seed).dirichlet(np.full(7, 0.5), size=4)
    logits = np.log(p) + 3.0  # a constant does not matter
    both = [joint_and_product(row) for row in p]
    shannon = -(p * np.log(p)).sum(-1)
    each = lambda *a, **k: categorical_entropy(logits, *a, average=False, **k)  # noqa: E731
    assert each() == pytest.approx(shannon)  # KL is the Shannon entropy
    assert each("kl") == pytest.approx([kl_divergence(a, b) for a, b in both])
    assert each("tv") == pytest.approx([total_variation(a, b) for a, b in both])
    assert each("tv") == pytest.approx(1 - (p**2).sum(-1))
    for order in (0.0, 0.5, 1.0, 1.7):
        assert each("renyi", order=order) == pytest.approx([renyi_divergence(a, b, order) for a, b in both])
    assert categorical_entropy(logits) == pytest.approx(shannon.mean())
    assert categorical_entropy(logits, base=2) == pytest.approx(shannon.mean() / math.log(2))


@pytest.mark.parametrize("divergence", ["kl", "tv", "renyi"])
def test_it_is_zero_for_a_point_mass_only_and_largest_when_even(divergence):
    certain = np.full((1, 5), -math.inf)
    certain[0, 2] = 0.0
    assert categorical_entropy(certain, divergence) == 0
    assert categorical_entropy(torch.tensor([[0.0, -200.0, -300.0]]), divergence) == pytest.approx(0, abs=1e-12)
    even = categorical_entropy(np.zeros((1, 5)), divergence)
    assert even == pytest.approx(0.8 if divergence == "tv" else math.log(5))
    other = categorical_entropy(np.random.default_rng(0).normal(size=(50, 5)), divergence, average=False)
    assert ((other > 0) & (other < even)).all()


def test_shapes_and_precisions_of_logits():
    logits = torch.randn(3, 4, 9, generator=torch.Generator().manual_seed(0))
    whole = categorical_entropy(logits, average=False)
    assert whole.shape == (3, 4)
    assert categorical_entropy(logits[0, 0]) == pytest.approx(whole[0, 0])
    assert categorical_entropy(logits.bfloat16(), average=False) == pytest.approx(whole, abs=0.05)
    assert categorical_entropy(logits.double(), average=False) == pytest.approx(whole, abs=1e-6)


def test_bad_logits():
    with pytest.raises(DataError, match="not finite"):
        categorical_entropy(np.array([[0.0, np.nan]]))
    with pytest.raises(DataError, match="not finite"):
        categorical_entropy(np.array([[0.0, np.inf]]))
    with pytest.raises(DataError, match="no token can come"):
        categorical_entropy(np.full((1, 3), -np.inf))
    with pytest.raises(DataError, match=r"shape \(0, 3\)"):
        categorical_entropy(np.zeros((0, 3)))
    with pytest.raises(OptionError, match="divergence='js'"):
        categorical_entropy(np.zeros((1, 3)), "js")
    with pytest.raises(OptionError, match="order=2"):
        categorical_entropy(np.zeros((1, 3)), "renyi", order=2)
    with pytest.warns(UserWarning, match="as probabilities do"):
        categorical_entropy(np.full((3, 4), 0.25))


def test_entropies_converge_with_the_divergence_and_average_entropy_is_no_evidence():
    truth = prototype_source(3).transition
    rng = np.random.default_rng(0)
    noise = rng.normal(size=truth.shape)
    found = [entropy_convergence(np.log(truth) + size * noise, truth) for size in (1.0, 0.3, 0.1, 0.0)]
    differences, kls = [f.difference for f in found], [f.kl for f in found]
    assert differences == sorted(differences, reverse=True)
    assert kls == sorted(kls, reverse=True)
    assert found[-1].difference == pytest.approx(0, abs=1e-12)
    assert found[0].nll == pytest.approx(found[0].data + found[0].kl)
    permuted = entropy_convergence(np.log(truth[rng.permutation(len(truth))]), truth)
    assert permuted.difference == pytest.approx(0, abs=1e-12)  # the right entropy at every turn, on average
    assert permuted.kl > 0.5  # and yet wrong
    weights = np.zeros(len(truth))
    weights[5] = 2.0
    one = entropy_convergence(np.zeros_like(truth), truth, weights=weights)
    assert one.data == pytest.approx(-(truth[5] * np.log(truth[5])).sum())
    assert one.model == pytest.approx(math.log(16))
    with pytest.raises(DataError, match="sums to 2"):
        entropy_convergence(np.zeros((1, 2)), [[1.0, 1.0]])
    with pytest.raises(DataError, match=r"both must be \(n, V\)"):
        entropy_convergence(np.zeros((1, 3)), [[0.5, 0.5]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 1.0, 20.0]))
def test_theorem_7_1_holds_with_its_constants(seed, concentration):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.full(6, concentration), size=(2, 8))
    check = pinsker_check(p, q)
    assert check.holds
    assert check.hellinger == pytest.approx(hellinger_distance(p, q, squared=True).mean())
    assert check.kl == pytest.approx(kl_divergence(p, q).mean())
    with pytest.raises(DataError, match="model_probs must sum to 1"):
        pinsker_check(p, 2 * q)


def test_the_constants_of_theorem_7_1_are_those_of_this_normalisation():
    p = np.random.default_rng(0).dirichlet(np.ones(6), size=8)
    near = p * np.exp(1e-3 * np.random.default_rng(1).normal(size=p.shape))
    assert pinsker_check(p, near / near.sum(-1, keepdims=True)).hellinger_ratio == pytest.approx(0.5, abs=1e-3)
    far = pinsker_check([[1 - 1e-9, 1e-9]], [[1e-4, 1 - 1e-4]])
    assert far.hellinger_ratio < 0.25
    # the constant 1 is needed: where the model spreads a little mass that the data lacks, d_H^2 is nearly KL
    assert pinsker_check([[1.0, 0.0]], [[0.99, 0.01]]).hellinger_ratio == pytest.approx(1, abs=0.01)


# ---- the metric ---------------------------------------------------------------------------------------------------------


def brute_force(function, h):
    """J^T (diag p - p p^T) J with the Jacobian by reverse mode and the V x V matrix in full."""
    jacobian = torch.autograd.functional.jacobian(function, h)
    p = function(h).softmax(-1).detach()
    return (jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian).numpy()


@heads
def test_the_metric_is_the_pulled_back_fisher_metric(name):
    head, function = HEADS[name]
    h = states()
    expected = np.stack([brute_force(function, row) for row in h])
    assert pullback_metric(head, h, average=False) == pytest.approx(expected)
    assert pullback_metric(head, h) == pytest.approx(expected.mean(axis=0))
    assert pullback_metric(head, h[0]) == pytest.approx(expected[0])
    assert pullback_metric(function, h) == pytest.approx(expected.mean(axis=0))  # by autograd


def test_the_metric_is_the_expected_outer_product_of_scores():
    head, h = linear(), states(1)[0].requires_grad_(True)
    logp = head(h).log_softmax(-1)
    scores = torch.stack([torch.autograd.grad(logp[w], h, retain_graph=True)[0] for w in range(V)])
    expected = (scores.T * logp.exp().detach()) @ scores
    assert pullback_metric(head, h) == pytest.approx(expected.detach().numpy())


@heads
def test_the_metric_predicts_the_divergence_of_a_small_step_to_second_order(name):
    head, function = HEADS[name]
    h, v = states(1, seed=5)[0], states(1, seed=6)[0]
    predicted = 0.5 * v.numpy() @ pullback_metric(head, h) @ v.numpy()
    p = function(h).softmax(-1)
    errors = []
    for eps in (1e-1, 1e-2, 1e-3):
        kl = float(kl_divergence(function(h + eps * v).softmax(-1), p))
        errors.append(abs(kl / eps**2 - predicted) / predicted)
    assert errors[0] < 0.5
    assert errors[1] < 0.15 * errors[0]  # the rest is of third order: a tenth of the step, a tenth of the error
    assert errors[2] < 0.15 * errors[1]
    assert errors[2] < 3e-3


def test_the_metric_vanishes_for_a_certain_prediction_and_its_rank_is_bounded():
    weight = np.random.default_rng(0).normal(size=(3, 6))
    g = pullback_metric(weight, np.zeros(6))
    assert np.linalg.matrix_rank(g, tol=1e-10) == 2  # V - 1
    assert (np.linalg.eigvalsh(g) > -1e-12).all()
    certain = pullback_metric(np.eye(4), np.array([500.0, 0, 0, 0]))
    assert np.abs(certain).max() < 1e-100
    with pytest.raises(DataError, match="metric is zero"):
        metric_spectrum(np.zeros((4, 4)))


def test_nothing_of_the_size_of_the_vocabulary_squared():
    weight = torch.randn(60_000, 3, generator=torch.Generator().manual_seed(0))
    h = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    g = pullback_metric(weight, h)  # 28 GB if V x V were formed
    few = pullback_metric(weight, h, average=False).mean(axis=0)
    assert g == pytest.approx(few, rel=1e-9)


def test_float32_heads_are_worked_in_float64():
    layer = linear().float()
    exact = pullback_metric(layer.double(), states())
    layer = layer.float()
    assert pullback_metric(layer, states().float()) == pytest.approx(exact, rel=1e-5)
    assert pullback_metric(layer.bfloat16(), states()).dtype == np.float64


def test_the_spectrum():
    spectrum = metric_spectrum(np.diag([1.0, 4.0, 1.0, 0.0]))
    assert spectrum.eigenvalues == pytest.approx([4, 1, 1, 0])
    assert spectrum.trace == pytest.approx(6)
    assert spectrum.participation_ratio == pytest.approx(36 / 18)
    shares = np.array([4, 1, 1]) / 6
    assert spectrum.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert np.abs(spectrum.directions[:, 0]) == pytest.approx([0, 1, 0, 0])
    for bad, words in [
        (np.array([[1.0, 2.0], [0.0, 1.0]]), "not symmetric"),
        (np.diag([1.0, -1.0]), "negative eigenvalue"),
        (np.ones((2, 3)), "square"),
        (np.diag([np.nan, 1.0]), "not finite"),
    ]:
        with pytest.raises(DataError, match=words):
            metric_spectrum(bad)


def test_coordinates_carry_the_metric():
    g = pullback_metric(linear(), states())
    h = states(5, seed=3).numpy()
    x = metric_coordinates(g, h)
    step = h[1] - h[3]
    assert ((x[1] - x[3]) ** 2).sum() == pytest.approx(step @ g @ step)


@heads
def test_integrated_separation(name):
    head, function = HEADS[name]
    h, other = states(3, seed=2), states(3, seed=3)
    found = integrated_separation(head, h, other)
    # the definition, by the metric at many points of the segment
    nodes, weights = np.polynomial.legendre.leggauss(24)
    step = (h - other).numpy()
    expected = np.zeros(3)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        g = pullback_metric(head, other + float(node) * (h - other), average=False)
        expected += weight * np.einsum("ni,nij,nj->n", step, g, step)
    assert found == pytest.approx(expected, rel=1e-5)
    assert integrated_separation(function, h, other) == pytest.approx(expected, rel=1e-5)
    jeffreys = jeffreys_divergence(function(h).softmax(-1), function(other).softmax(-1)).detach().numpy()
    if name != "soft-cap":
        assert found == pytest.approx(jeffreys)  # exactly, for a linear head
    else:
        assert np.abs(found - jeffreys).max() > 1e-3
    assert integrated_separation(head, h, h) == pytest.approx(np.zeros(3), abs=1e-12)


@heads
def test_lengths_lie_between_the_geodesic_and_the_separation(name):
    head, function = HEADS[name]
    h, other = states(6, seed=2), states(6, seed=3)
    length = fisher_length(head, h, other, points=64)
    bc = (function(h).softmax(-1).sqrt() * function(other).softmax(-1).sqrt()).sum(-1).detach().numpy()
    assert (length >= 2 * np.arccos(bc) - 1e-6).all()
    assert (length**2 <= integrated_separation(head, h, other, points=64) + 1e-9).all()
    assert fisher_length(function, h, other, points=64) == pytest.approx(length, rel=1e-6)
    near = fisher_length(head, h, h + 1e-4 * (other - h))
    g = pullback_metric(head, h, average=False)
    step = 1e-4 * (other - h).numpy()
    assert near == pytest.approx(np.sqrt(np.einsum("ni,nij,nj->n", step, g, step)), rel=1e-3)


def test_bad_hidden_states():
    with pytest.raises(DataError, match="h has 5 entries, but the head takes 4"):
        pullback_metric(linear(), np.zeros((2, 5)))
    with pytest.raises(DataError, match="not finite"):
        pullback_metric(linear(), np.full(4, np.nan))
    with pytest.raises(DataError, match=r"shape \(2, 3, 4\)"):
        pullback_metric(linear(), np.zeros((2, 3, 4)))
    with pytest.raises(DataError, match=r"must be \(vocabulary, d\)"):
        pullback_metric(np.zeros(4), np.zeros(4))
    with pytest.raises(OptionError, match="model=str is no head"):
        pullback_metric("gpt2", np.zeros(4))
    with pytest.raises(DataError, match="the head must turn hidden states"):
        pullback_metric(lambda h: h.sum(), np.zeros(4))
    with pytest.raises(DataError, match=r"both must be \(d,\) or \(n, d\)"):
        integrated_separation(linear(), np.zeros(4), np.zeros((2, 4)))


# ---- kernels and geometry -----------------------------------------------------------------------------------------------


def test_kernels_against_pairs():
    p = np.random.default_rng(0).dirichlet(np.full(9, 0.4), size=7)
    bc = predictive_kernel(p)
    pairs = p[:, None], p[None]
    assert bc == pytest.approx(np.sqrt(pairs[0] * pairs[1]).sum(-1))
    expected = np.exp(-2 * hellinger_distance(*pairs, squared=True))
    assert predictive_kernel(p, "hellinger", beta=2.0) == pytest.approx(expected)
    assert predictive_kernel(p, "hellinger", beta=1.0) == pytest.approx(np.exp(-2 * (1 - bc)))
    assert predictive_kernel(p, "linear") == pytest.approx(p @ p.T)
    assert predictive_kernel(p, "js", beta=3.0) == pytest.approx(np.exp(-3 * js_divergence(*pairs)))
    outputs = np.random.default_rng(1).normal(size=(9, 3))
    unit = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    assert predictive_kernel(p, "linear", outputs=outputs) == pytest.approx((p @ unit) @ (p @ unit).T)
    for kind in ("bc", "hellinger", "linear", "js"):
        k = predictive_kernel(p, kind)
        assert (np.linalg.eigvalsh(k) > -1e-10).all()
        assert (k == k.T).all()


def test_one_hot_predictions_make_blocks():
    p = np.eye(3)[[0, 0, 1, 2]]
    same = (p @ p.T).astype(bool)
    assert predictive_kernel(p) == pytest.approx(same.astype(float))
    assert predictive_kernel(p, "linear") == pytest.approx(same.astype(float))
    assert predictive_kernel(p, "hellinger") == pytest.approx(np.where(same, 1, np.exp(-2)))
    assert predictive_kernel(p, "js") == pytest.approx(np.where(same, 1, 0.5))  # exp(-log 2)


def test_blocks_of_the_jensen_shannon_kernel(monkeypatch):
    import unsnarl.measures.language._kernels as kernels

    p = np.random.default_rng(0).dirichlet(np.full(20, 0.4), size=9)
    whole = predictive_kernel(p, "js")
    monkeypatch.setattr(kernels, "_BLOCK_BYTES", 8 * 9 * 20 * 2)
    assert predictive_kernel(p, "js") == pytest.approx(whole, abs=1e-12)


def test_bad_probabilities():
    with pytest.raises(DataError, match=r"probs must sum to 1 .* sums to 0\.9"):
        predictive_kernel([[0.5, 0.5], [0.5, 0.4]])
    with pytest.raises(DataError, match="look like logits"):
        predictive_kernel([[3.0, -1.0], [0.0, 0.0]])
    with pytest.raises(DataError, match="at least 2 contexts"):
        predictive_kernel([[0.5, 0.5]])
    with pytest.raises(OptionError, match="kind='rbf'"):
        predictive_kernel(np.eye(2), "rbf")
    with pytest.raises(OptionError, match="outputs belong to kind='linear'"):
        predictive_kernel(np.eye(2), outputs=np.eye(2))
    with pytest.raises(DataError, match="outputs has 3 rows, probs have 2 tokens"):
        predictive_kernel(np.eye(2), "linear", outputs=np.eye(3))


def test_alignment_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    truth = prototype_source(11).transition
    k = predictive_kernel(truth)
    centred = k - k.mean(0) - k.mean(1)[:, None] + k.mean()
    values, vectors = np.linalg.eigh(centred)
    best = vectors[:, -6:] * np.sqrt(values[-6:])
    found = spectral_alignment(best @ rng.normal(size=(6, 6)), k)  # any basis of the leading eigenspace
    assert found.rayleigh == pytest.approx(1, abs=1e-6)
    assert spectral_alignment(best, k).cka > 0.9
    nothing = spectral_alignment(rng.normal(size=(256, 6)), k)
    assert nothing.rayleigh < 0.1
    assert nothing.cka < 0.1
    assert found.rayleigh_chance < 0.1
    assert found.cka_chance < 0.1
    rotated = spectral_alignment(3 * best @ np.linalg.qr(rng.normal(size=(6, 6)))[0] + 7, k)
    assert rotated.cka == pytest.approx(spectral_alignment(best, k).cka)


def test_whitening_needs_more_contexts_than_dimensions():
    h = np.random.default_rng(0).normal(size=(8, 8))
    k = predictive_kernel(np.random.default_rng(1).dirichlet(np.ones(5), size=8))
    with pytest.raises(DataError, match="8 contexts for 8 dimensions; whitening needs more contexts than dimensions"):
        spectral_alignment(h, k)
    found = spectral_alignment(h, k, allow_few=True)
    assert math.isnan(found.rayleigh)
    assert 0 <= found.cka <= 1
    for bad, words in [
        ((np.ones((9, 2)), np.eye(9)), "constant"),
        ((h[:5, :2], k), "one row an observation"),
        ((h[:, :2], k[:5]), "square matrix"),
        ((h[:, :2], k + np.triu(k)), "not symmetric"),
    ]:
        with pytest.raises(DataError, match=words):
            spectral_alignment(*bad)


def test_a_direction_without_variance_is_not_whitened_up():
    rng = np.random.default_rng(0)
    k = predictive_kernel(prototype_source(2).transition)
    h = rng.normal(size=(256, 3))
    dead = np.column_stack([h, 1e-9 * rng.normal(size=256)])
    assert spectral_alignment(dead, k).rayleigh == pytest.approx(spectral_alignment(h, k).rayleigh)
    assert spectral_alignment(dead, k, ridge=0.0).rayleigh != pytest.approx(spectral_alignment(h, k).rayleigh, rel=1e-3)


def test_dirichlet_energy():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=30)
    k = predictive_kernel(p)
    phi = rng.normal(size=(30, 3))
    pairs = 0.5 * np.einsum("xy,xyf->f", k, (phi[:, None] - phi[None]) ** 2) / 900
    assert dirichlet_energy(phi, k, normalise=False) == pytest.approx(pairs)
    assert dirichlet_energy(phi, k) == pytest.approx(pairs / phi.var(axis=0))
    assert dirichlet_energy(5 * phi + 2, k) == pytest.approx(dirichlet_energy(phi, k))
    even = np.ones((30, 30))
    assert dirichlet_energy(phi, even) == pytest.approx(np.ones(3))  # any function, where all contexts are alike
    with pytest.raises(DataError, match="phi is constant"):
        dirichlet_energy(np.ones(30), k)


def test_agreement_of_distances():
    # two directions, of which the prediction feels one
    rng = np.random.default_rng(0)
    weight = np.zeros((5, 2))
    weight[:, 0] = np.linspace(-1, 1, 5)
    h = rng.normal(size=(60, 2)) * [1, 5]
    g = pullback_metric(weight, rng.normal(size=(60, 2)))
    found = distance_agreement(weight, h, g, pairs=500)
    assert found.path > 0.99
    assert found.mean > 0.95
    assert found.local > 0.95
    assert found.euclidean < 0.5
    assert found.pairs == 500
    assert distance_agreement(weight, h[:5], g, pairs=500).pairs == 20  # all ordered pairs
    with pytest.raises(DataError, match="at least 3 contexts"):
        distance_agreement(weight, h[:2], g)


# ---- finding and checking the head --------------------------------------------------------------------------------------


class Tiny(nn.Module):
    """A causal model (a running mean of embeddings) with a final norm, and what is asked for after its head."""

    def __init__(self, after=lambda z: z, name="lm_head", bidirectional=False, bias=True):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(10, 8)
        self.norm = nn.LayerNorm(8)
        setattr(self, name, nn.Linear(8, 10, bias=bias))
        self.name, self.after, self.bidirectional = name, after, bidirectional

    def forward(self, tokens):
        x = self.embed(tokens)
        steps = torch.arange(1, tokens.shape[1] + 1)[:, None]
        x = x.mean(1, keepdim=True).expand_as(x) if self.bidirectional else x.cumsum(1) / steps
        return self.after(getattr(self, self.name)(self.norm(x)))


TOKENS = torch.arange(24).reshape(2, 12) % 10


@pytest.mark.parametrize("name", ["lm_head", "head", "unembed", "output"])
def test_the_head_is_found_under_its_usual_names(name):
    model = Tiny(name=name).train()
    opened = open_model(model, probe=TOKENS)
    assert (opened.layer, opened.vocabulary, opened.dimension) == (name, 10, 8)
    hidden, logits = opened(TOKENS)
    assert opened.head(hidden).detach().numpy() == pytest.approx(logits.detach().numpy(), abs=1e-5)
    assert model.training  # as it was


class Configured(Tiny):
    def __init__(self, settings, after):
        super().__init__(after)
        self.config = type("Config", (), settings)()


@pytest.mark.parametrize(
    ("settings_", "after", "expected"),
    [
        ({"final_logit_softcapping": 0.5}, lambda z: 0.5 * torch.tanh(z / 0.5), (1.0, 0.5)),
        ({"logits_scaling": 4.0}, lambda z: z / 4, (0.25, None)),
        ({"logit_scale": 3.0}, lambda z: 3 * z, (3.0, None)),
        ({"logit_scale": 3.0}, lambda z: z, (1.0, None)),  # stated but not used
        ({"logit_scale": 3.0, "softcap": 0.5}, lambda z: 0.5 * torch.tanh(3 * z / 0.5), (3.0, 0.5)),
    ],
)
def test_scale_and_softcap_are_those_that_reproduce_the_model(settings_, after, expected):
    opened = open_model(Configured(settings_, after), probe=TOKENS)
    assert (opened.head.scale, opened.head.softcap) == expected
    hidden, logits = opened(TOKENS)
    assert opened.head(hidden).detach().numpy() == pytest.approx(logits.detach().numpy(), abs=1e-5)


def test_what_is_not_a_causal_model_with_a_head():
    with pytest.raises(DataError, match="is an encoder: its predictions change with later tokens"):
        open_model(Tiny(bidirectional=True), probe=TOKENS)
    with pytest.raises(DataError, match="has no language-model head"):
        open_model(nn.Embedding(10, 8), probe=TOKENS)
    with pytest.raises(DataError, match=r"largest difference .*something more happens to the logits"):
        open_model(Tiny(after=lambda z: 9 * z), probe=TOKENS)
    with pytest.raises(OptionError, match="must be a network"):
        open_model("gpt2")
    encoder_decoder = Configured({"is_encoder_decoder": True}, lambda z: z)
    with pytest.raises(DataError, match="is an encoder-decoder"):
        open_model(encoder_decoder, probe=TOKENS)


def test_the_input_of_the_head_is_told_from_what_comes_before_the_norm():
    model = Tiny()
    opened = open_model(model, probe=TOKENS)
    hidden, logits = opened(TOKENS)
    check_head_input(model, hidden, logits)
    before = model.embed(TOKENS).cumsum(1) / torch.arange(1, 13)[:, None]
    with pytest.raises(DataError, match="h was taken before the final norm"):
        check_head_input(model, before, logits, norm=model.norm)
    with pytest.raises(DataError, match="h is not what this head takes"):
        check_head_input(model, before, logits)
    with pytest.raises(DataError, match="one row of each a context"):
        check_head_input(model, hidden, logits[:1])


def test_logits_before_the_softcap_are_told():
    weight = linear().weight.detach()
    head = LanguageHead(weight=weight, softcap=1.0)
    h = states()
    check_head_input(head, h, head(h))
    with pytest.raises(DataError, match="the logits were taken before the soft-cap of 1"):
        check_head_input(head, h, h @ weight.T)


def test_a_named_head_and_a_head_that_is_no_matrix():
    class Deep(Tiny):
        def __init__(self):
            super().__init__()
            self.lm_head = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 10))

    opened = open_model(Deep(), probe=TOKENS)
    assert opened.head.weight is None
    hidden, _ = opened(TOKENS)
    flat = hidden.detach().reshape(-1, 8)
    g = pullback_metric(opened.head, flat[:3], average=False)
    expected = np.stack([brute_force(opened.head.function, row) for row in flat[:3]])
    assert g == pytest.approx(expected, abs=1e-6)
    assert open_model(Tiny(), head="lm_head", probe=TOKENS).layer == "lm_head"
    with pytest.raises(DataError, match="it is not this model's head"):
        open_model(Tiny(), head="embed", probe=TOKENS)
