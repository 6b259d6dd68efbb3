"""Forward pass and every term of the loss against plain NumPy, written from the equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unsnarl.systems.prototypes.prob_psenn import ProbPSENN
from unsnarl.systems.prototypes.prob_psenn._losses import r1_loss, r2_loss, squared_distances, vote_logits, vote_nll
from unsnarl.systems.prototypes.prob_psenn._networks import brightened_and_zoomed, conv_decoder, conv_encoder
from unsnarl.training import stream_seed

B, K, S, Z = 12, 3, 7, 5
WEIGHTS = {"nll": 1.0, "reconstruction": 10.0, "r1": 0.3, "r2": 0.05, "kl": 0.05}


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    e, p = rng.normal(size=(B, Z)), rng.normal(size=(S, K, Z))
    return e, p, rng.normal(size=(K, K)), rng.integers(K, size=B)


def tensors(*arrays):
    return [torch.tensor(a) if a.dtype.kind == "i" else torch.tensor(a, dtype=torch.float32) for a in arrays]


def numpy_distances(e, p):
    return np.array([[[((e[b] - p[s, k]) ** 2).sum() for s in range(S)] for k in range(K)] for b in range(B)])


def test_distances_votes_and_their_loss(drawn):
    e, p, w, y = drawn
    te, tp, tw, ty = tensors(*drawn)
    d = numpy_distances(e, p)
    np.testing.assert_allclose(squared_distances(te, tp), d, atol=1e-5, rtol=1e-5)
    logits = np.stack([[w.T @ d[b, :, s] for s in range(S)] for b in range(B)])
    found = vote_logits(torch.tensor(d, dtype=torch.float32), tw)
    np.testing.assert_allclose(found, logits, atol=1e-5, rtol=1e-5)
    q = softmax(logits)
    nll = -np.mean([[np.log(q[b, s, y[b]]) for s in range(S)] for b in range(B)])  # logarithms are averaged
    assert vote_nll(torch.tensor(logits), ty).item() == pytest.approx(nll, abs=1e-8)
    averaged_first = -np.mean(np.log(q.mean(1)[np.arange(B), y]))
    assert abs(nll - averaged_first) > 0.1


def test_regularisers_by_hand():
    surprise = torch.tensor([[3.0, -5.0], [1.0, 2.0], [20_000.0, 8.0]])
    labels = torch.tensor([1, 0, 0])
    assert r1_loss(surprise).item() == pytest.approx((1.0 - 5.0) / 2)
    assert r2_loss(surprise, labels).item() == pytest.approx((-1.0 + 1.0 + 10_000.0) / 3)  # both ends are clipped


def small(**options) -> ProbPSENN:
    settings = {
        "z_dim": Z,
        "widths": (9,),
        "n_samples": S,
        "batch_size": B,
        "pretrain_epochs": 1,
        "epochs": 1,
        "r1_weight": WEIGHTS["r1"],
        "seed": 3,
    }
    return ProbPSENN(**(settings | options))


def images(n: int = 4 * B) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    y = np.arange(n) % K
    return (0.5 * rng.random((n, 1, 4, 4)) + 0.15 * y[:, None, None, None]).astype(np.float32), y


def numpy_network(network, x, last=None):
    for layer in network:
        if isinstance(layer, torch.nn.Linear):
            x = x @ layer.weight.detach().numpy().T.astype(float) + layer.bias.detach().numpy()
        elif isinstance(layer, torch.nn.LeakyReLU):
            x = np.where(x > 0, x, 0.2 * x)
        elif isinstance(layer, torch.nn.Tanh):
            x = np.tanh(x)
    return x


@pytest.mark.parametrize("family", ["diagonal", "full", "mixture", "point"])
def test_every_term_of_a_training_step(family):
    x, y = images()
    model = small(point=family == "point", family="full" if family == "point" else family).fit(x, y)
    task = model.task_
    batch = torch.tensor(2 * x[:B] - 1), torch.tensor(y[:B])
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        found = {name: v.item() for name, v in task("joint", batch, 0, generator).items()}

    # the same noise in the same order: first of the encodings, then of the prototypes
    generator.manual_seed(11)
    eps = torch.randn(B, Z, generator=generator).numpy().astype(float)
    p = task.prototypes.sample(S if family != "point" else 1, generator).detach().numpy().astype(float)
    flat = (2 * x[:B] - 1).reshape(B, -1).astype(float)
    out = numpy_network(task.encoder, flat)
    mu, logvar = out[:, :Z], out[:, Z:]
    e = mu + np.exp(logvar / 2) * eps
    reconstruction = ((flat - numpy_network(task.decoder, e)) ** 2).mean()
    kl = (-0.5 * (1 + logvar - mu**2 - np.exp(logvar)).sum(1)).mean()
    d = ((e[:, None, None] - p.transpose(1, 0, 2)[None]) ** 2).sum(3)
    w = task.votes.detach().numpy().astype(float)
    q = softmax(np.einsum("bks,kc->bsc", d, w))
    nll = -np.log(q[np.arange(B), :, y[:B]]).mean()
    if family == "point":
        surprise = d[:, :, 0]
    else:
        surprise = np.empty((B, K))
        for k in range(K):
            parts = []
            for c in range(task.prototypes.components):
                away = e - task.prototypes.locations[k, c].detach().numpy()
                scale = task.prototypes.scales()[k, c].detach().numpy().astype(float)
                covariance = np.diag(scale**2) if family == "diagonal" else scale @ scale.T
                log_p = -0.5 * np.einsum("bi,ij,bj->b", away, np.linalg.inv(covariance), away)
                log_p -= 0.5 * np.log(np.linalg.det(2 * np.pi * covariance))
                parts.append(np.log(task.prototypes.weights()[k, c].item()) + log_p)
            surprise[:, k] = -np.logaddexp.reduce(parts, axis=0)
    r1 = surprise.min(0).mean()
    r2 = np.clip(surprise[np.arange(B), y[:B]], -1, 10_000).mean()
    expected = {"reconstruction": reconstruction, "kl": kl, "nll": nll, "r1": r1, "r2": r2}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-5, rel=1e-5), name
    total = sum(WEIGHTS[name] * value for name, value in expected.items())
    assert found["loss"] == pytest.approx(total, abs=1e-5, rel=1e-5)
    assert found["accuracy"] == pytest.approx((q.mean(1).argmax(1) == y[:B]).mean())


@pytest.mark.parametrize("family", ["diagonal", "full", "mixture"])
def test_the_prediction_averages_probabilities_at_encoder_means(family):
    x, y = images()
    model = small(family=family, test_samples=S).fit(x, y)
    mu = numpy_network(model.task_.encoder, (2 * x - 1).reshape(len(x), -1).astype(float))[:, :Z]
    np.testing.assert_allclose(model.transform(x), mu, atol=1e-5)
    generator = torch.Generator().manual_seed(stream_seed(3, 40))
    p = model.task_.prototypes.sample(S, generator).detach().numpy().astype(float)
    w = model.vote_table().to_numpy().astype(float)
    d = ((mu[:, None, None] - p.transpose(1, 0, 2)[None]) ** 2).sum(3)
    expected = softmax(np.einsum("bks,kc->bsc", d, w)).mean(1)
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-5)
    modes = model.task_.prototypes.modes().numpy().astype(float)
    d = ((mu[:, None] - modes) ** 2).sum(2)
    np.testing.assert_allclose(model.predict_proba(x, mode=True), softmax(d @ w), atol=1e-5)


def test_the_autoencoder_stage_has_reconstruction_and_divergence_alone():
    x, y = images()
    task = small(pretrain_reconstruction_weight=4.0).fit(x, y).task_
    task.start_stage("autoencoder")
    task.zero_grad()
    batch = torch.tensor(2 * x[:B] - 1), torch.tensor(y[:B])
    losses = task("autoencoder", batch, 0, torch.Generator().manual_seed(0))
    assert set(losses) == {"loss", "reconstruction", "kl"}
    assert losses["loss"].item() == pytest.approx((4 * losses["reconstruction"] + 0.05 * losses["kl"]).item(), rel=1e-6)
    losses["loss"].backward()
    assert task.votes.grad is None
    assert task.prototypes.locations.grad is None


def test_a_plain_autoencoder_has_no_divergence():
    x, y = images()
    model = small(variational=False).fit(x, y)
    assert "kl" not in model.history_
    assert model.task_.encoder[-1].out_features == Z
    batch = torch.tensor(2 * x[:B] - 1), torch.tensor(y[:B])
    first, second = (model.task_("joint", batch, 0, torch.Generator().manual_seed(s)) for s in (0, 1))
    assert first["reconstruction"] == second["reconstruction"]  # its codes are not drawn
    assert first["nll"] != second["nll"]  # its prototypes are


def test_first_votes_are_half_the_negative_identity():
    x, y = images()
    w = small(pretrain_epochs=0, epochs=0).fit(x, y).vote_table().to_numpy()
    np.testing.assert_allclose(w, -0.5 * np.eye(K), atol=2e-8)


@pytest.mark.parametrize(("channels", "parts"), [(1, (32, 32, 64, 256)), (3, (64, 128, 256, 512))])
def test_the_convolutional_networks_have_the_published_sizes(channels, parts):
    encoder, decoder = conv_encoder(channels, 80), conv_decoder(40, channels)
    convolutions = [m for m in encoder if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [*parts, 80]
    assert [(m.kernel_size[0], m.stride[0]) for m in convolutions] == [(4, 2), (4, 2), (4, 2), (4, 1), (1, 1)]
    back = [m.out_channels for m in decoder if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d)]
    assert back == [*parts[::-1], channels]
    code = encoder(torch.zeros(2, channels, 32, 32))
    assert code.shape == (2, 80)
    image = decoder(code[:, :40])
    assert image.shape == (2, channels, 32, 32)
    assert image.abs().max() <= 1


def test_brightness_and_zoom_stay_in_their_ranges():
    x = torch.zeros(400, 3, 8, 8)
    changed = brightened_and_zoomed(x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(changed, changed[:, :1, :1, :1].expand_as(changed))  # a plain image stays plain
    shift = changed[:, 0, 0, 0]
    assert 0.35 < shift.max() <= 0.4
    assert -0.4 <= shift.min() < -0.35
    edge = torch.ones(400, 1, 32, 32)
    edge[..., :16] = -1
    zoomed = brightened_and_zoomed(edge, torch.Generator().manual_seed(1), brightness=0.0)
    assert (zoomed.mean((1, 2, 3)).abs() < 1e-5).all()  # about the middle
    same = brightened_and_zoomed(edge, torch.Generator().manual_seed(1), brightness=0.0, zoom=0.0)
    torch.testing.assert_close(same, edge)
