"""The chain of bottlenecks, the shifted host and every loss term against plain NumPy, written from the equations."""

import numpy as np
import pytest
import torch
from torch import nn

from unsnarl.errors import DataError, OptionError
from unsnarl.systems.multimodal.ithp import ITHP, ITHPRegressor
from unsnarl.systems.multimodal.ithp._host_shift import DetectorScaler, HostShift, ShiftedHostTask

B, T, D, DIMS, STATES = 3, 5, 12, (7, 4), (6, 3)
BETA, GAMMA, LAM = 8.0, 32.0, 0.3


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    prime = torch.randn(B, T, D, generator=generator)
    detectors = [torch.rand(B, T, d, generator=generator) for d in DIMS]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    return prime, detectors, mask


@pytest.fixture
def chain():
    torch.manual_seed(1)
    return ITHP(D, DIMS, STATES, BETA, GAMMA, LAM, hidden=10).double().eval()


def array(tensor):
    return tensor.detach().double().numpy()


def linear(x, layer):
    return x @ array(layer.weight).T + array(layer.bias)


def encoder(x, layers):
    h = linear(np.maximum(linear(x, layers[0]), 0), layers[3])
    return h[..., : h.shape[-1] // 2], h[..., h.shape[-1] // 2 :]


def decoder(x, layers):
    return 1 / (1 + np.exp(-linear(np.maximum(linear(x, layers[0]), 0), layers[3])))


def by_hand(chain, prime, detectors, mask, noise):
    """States, rates, distortions and loss of the equations."""
    rows = np.ones(prime.shape[:2], bool) if mask is None else array(mask).astype(bool)
    x, states, levels = array(prime), [], []
    for level in range(2):
        mu, logvar = encoder(x, chain.encoders[level])
        x = mu + np.exp(logvar / 2) * noise[level]
        kl = -0.5 * (1 + logvar - mu**2 - np.exp(logvar)).mean(-1)[rows].mean()
        mse = ((decoder(x, chain.decoders[level]) - array(detectors[level])) ** 2).mean(-1)[rows].mean()
        states.append(x)
        levels.append((kl, mse))
    (kl0, mse0), (kl1, mse1) = levels
    return states, levels, kl0 + BETA * mse0 + LAM * (kl1 + GAMMA * mse1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sample", [False, True])
def test_chain_agrees_with_the_equations(chain, batch, masked, sample):
    prime, detectors, mask = batch
    prime, detectors = prime.double(), [d.double() for d in detectors]
    mask = mask if masked else None
    out = chain(prime, detectors, mask, sample=sample, generator=torch.Generator().manual_seed(7))
    source = torch.Generator().manual_seed(7)
    noise = [array(torch.randn(B, T, s, generator=source, dtype=torch.float64)) * sample for s in STATES]
    states, levels, loss = by_hand(chain, prime, detectors, mask, noise)
    for level in range(2):
        np.testing.assert_allclose(array(out.b[level]), states[level], atol=1e-10)
        np.testing.assert_allclose([array(v) for v in out.levels[level]], levels[level], atol=1e-10)
    np.testing.assert_allclose(out.loss.item(), loss, atol=1e-10)
    assert out.state is out.b[-1]


@pytest.mark.parametrize("pooler", ["first", "mean"])
@pytest.mark.parametrize("classification", [False, True])
@pytest.mark.parametrize("attend_pads", [False, True])
def test_training_loss_agrees_with_the_equations(batch, pooler, classification, attend_pads):
    prime, detectors, mask = batch
    torch.manual_seed(2)
    outputs = 4 if classification else 1
    shift = HostShift(D, STATES[-1], outputs, shift=0.7, pooler=pooler, dropout=0.0, head_dropout=0.0)
    task = ShiftedHostTask(
        ITHP(D, DIMS, STATES, BETA, GAMMA, LAM, hidden=10, dropout=0.0),
        shift,
        encoder=None,
        classification=classification,
        scaler=DetectorScaler(DIMS, "batch"),
        lr=1e-3,
        weight_decay=0.01,
        warmup=0.1,
        steps=100,
        attend_pads=attend_pads,
        initializer_range=0.3,
    )
    nn.init.normal_(shift.norm.weight)
    nn.init.normal_(shift.norm.bias)
    labels = torch.tensor([2, 0, 3]) if classification else torch.tensor([0.5, -1.0, 2.0])
    everywhere = [torch.ones(B, T, dtype=torch.bool)] * 2
    raw = [10 * d - 3 for d in detectors]
    losses = task("main", (prime, mask, labels, torch.ones(B), *raw, *everywhere), 0, torch.Generator().manual_seed(9))

    source = torch.Generator().manual_seed(9)
    noise = [array(torch.randn(B, T, s, generator=source)) for s in STATES]
    scaled = [(d - d.min()) / (d.max() - d.min()) for d in raw]
    rows = None if attend_pads else mask
    states, levels, bottleneck = by_hand(task.fusion, prime, scaled, rows, noise)
    moved = array(prime) + 0.7 * linear(states[-1], shift.expand)
    moved = (moved - moved.mean(-1, keepdims=True)) / np.sqrt(moved.var(-1, keepdims=True) + 1e-5)
    moved = moved * array(shift.norm.weight) + array(shift.norm.bias)
    weight = array(mask)[:, :, None]
    pooled = moved[:, 0] if pooler == "first" else (moved * weight).sum(1) / weight.sum(1)
    logits = linear(np.tanh(linear(pooled, shift.dense)), shift.head)
    if classification:
        logp = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        task_loss = -logp[np.arange(B), array(labels).astype(int)].mean()
    else:
        task_loss = ((logits[:, 0] - array(labels)) ** 2).mean()
    for level, (kl, mse) in enumerate(levels):
        assert losses[f"rate {level}"].item() == pytest.approx(kl, abs=1e-5)
        assert losses[f"distortion {level}"].item() == pytest.approx(mse, abs=1e-5)
    assert losses["task"].item() == pytest.approx(task_loss, abs=1e-5)
    assert losses["bottleneck"].item() == pytest.approx(2 / (BETA + GAMMA) * bottleneck, abs=1e-5)
    assert losses["loss"].item() == pytest.approx(task_loss + 2 / (BETA + GAMMA) * bottleneck, abs=1e-5)


def test_decoders_drop_after_the_sigmoid(chain):
    chain.train()
    chain.float()
    torch.manual_seed(0)
    decoded = chain.decode(torch.randn(400, STATES[0]), 0)
    assert (decoded == 0).float().mean().item() == pytest.approx(0.3, abs=0.04)  # a sigmoid alone is never 0
    assert decoded.max() > 1  # and what is left is scaled up by 1 / 0.7
    whole = ITHP(D, DIMS, STATES, output_dropout=0.0).train().decode(torch.randn(400, STATES[0]), 0)
    assert 0 < whole.min() < whole.max() < 1


def test_published_dropout_makes_decoders_too_low():
    """The best constant for a detector that is 0.8 everywhere: 0.8 without, 0.8 * 0.7 with dropout after the sigmoid."""
    found = []
    for dropout in (0.0, 0.3):
        torch.manual_seed(0)
        ithp = ITHP(2, [8], (2,), hidden=4, dropout=0.0, output_dropout=dropout).train()
        optimizer = torch.optim.Adam(ithp.decoders.parameters(), lr=0.05)
        for _ in range(150):
            error = (ithp.decode(torch.zeros(512, 2), 0) - 0.8).square().mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
        found.append(ithp.eval().decode(torch.zeros(1, 2), 0).mean().item())
    assert found == pytest.approx([0.8, 0.56], abs=0.02)


def test_levels_of_any_number():
    ithp = ITHP(6, [3, 4, 5], (5, 4, 2), 2.0, (4.0, 6.0), (0.5, 0.2)).eval()
    out = ithp(torch.rand(8, 6), [torch.rand(8, d) for d in (3, 4, 5)], sample=False)
    (k0, m0), (k1, m1), (k2, m2) = out.levels
    torch.testing.assert_close(out.loss, k0 + 2 * m0 + 0.5 * (k1 + 4 * m1 + 0.2 * (k2 + 6 * m2)))
    assert ithp.objective_weight == pytest.approx(3 / 12)
    assert [b.shape[1] for b in out.b] == [5, 4, 2]
    assert ITHP(6, [3], (5,), 8.0).objective_weight == pytest.approx(1 / 8)
    assert ITHP(6, [3, 3], (5, 2), 8.0, 32.0).objective_weight == pytest.approx(2 / 40)
    assert ITHP(6, [3, 3], (5, 2), 0, 0).objective_weight == 0  # the official 2 / (beta + gamma) would be infinite


def test_detectors_reach_the_loss_alone(chain, batch):
    prime, detectors, _ = batch
    prime, detectors = prime.double(), [d.double() for d in detectors]
    with_them, without = chain(prime, detectors, sample=False), chain(prime, sample=False)
    assert torch.equal(with_them.state, without.state)
    assert without.loss is None
    assert [error for _, error in without.levels] == [None, None]
    only_first = chain(prime, [detectors[0], None], sample=False)
    assert only_first.loss is None
    assert only_first.levels[0][1] is not None


def test_unobserved_rows_do_not_count(chain, batch):
    prime, detectors, mask = batch
    prime, detectors = prime.double(), [d.double() for d in detectors]
    seen = [mask, mask.flip(0)]
    changed = [torch.where(m[:, :, None], d, 9.0) for d, m in zip(detectors, seen, strict=True)]
    a = chain(prime, detectors, detector_masks=seen, sample=False)
    b = chain(prime, changed, detector_masks=seen, sample=False)
    assert torch.equal(a.loss, b.loss)
    nowhere = [torch.zeros(B, T, dtype=torch.bool)] * 2
    assert chain(prime, detectors, detector_masks=nowhere, sample=False).levels[0][1].item() == 0


def test_sampling_is_on_in_training_and_follows_its_generator(chain, batch):
    prime = batch[0].double()
    assert torch.equal(chain(prime).state, chain(prime, sample=False).state)
    draws = [chain(prime, sample=True, generator=torch.Generator().manual_seed(s)).state for s in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    quiet = ITHP(D, DIMS, STATES, hidden=10, dropout=0.0).train()
    assert not torch.equal(quiet(batch[0]).state, quiet(batch[0]).state)


def test_what_a_chain_refuses(chain, batch):
    prime, detectors, _ = batch
    prime, detectors = prime.double(), [d.double() for d in detectors]
    with pytest.raises(DataError, match=r"detector 2 has shape \(3, 4, 4\), which is not aligned"):
        chain(prime, [detectors[0], detectors[1][:, :4]])
    with pytest.raises(DataError, match="1 detectors were given, but the chain has 2"):
        chain(prime, detectors[:1])
    with pytest.raises(DataError, match="11 features, but 12 are expected"):
        chain(prime[..., :11])
    with pytest.raises(OptionError, match="one width for each of the 1 detectors"):
        ITHP(5, [3], (4, 2))
    with pytest.raises(OptionError, match="one width for each of the 0 detectors"):
        ITHP(5, [], ())
    with pytest.raises(OptionError, match="beta=-1"):
        ITHP(5, [3], (4,), -1)
    with pytest.raises(OptionError, match="gamma"):
        ITHP(5, [3, 3], (4, 2), 1, (1.0, 2.0))


def test_learning_rate_rises_and_falls():
    rng = np.random.default_rng(0)
    x = {"text": rng.random((20, 4)), "audio": rng.random((20, 3))}
    rates = []
    model = ITHPRegressor(None, ("text", "audio"), bottleneck_dims=(2,), lr=1.0, warmup=0.2, batch_size=10)
    model.fit(x, rng.random(20), steps=10, callbacks=[lambda step, m: rates.append(m.task_.optimizers_["main"].param_groups[0]["lr"])])  # fmt: skip
    np.testing.assert_allclose(rates[1:], [0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_decay_spares_biases_and_layer_norms():
    task = ITHPRegressor(None, ("text", "audio"), bottleneck_dims=(2,))._make_task(
        {"width": 4, "detectors": {"audio": 3}, "classes": None, "encoder": None, "steps": 10}
    )
    decayed, plain = task.optimizers()["main"].param_groups
    assert decayed["weight_decay"] == 0.01
    assert plain["weight_decay"] == 0
    names = {id(p): name for name, p in task.named_parameters()}
    free = {names[id(p)] for p in plain["params"]}
    assert free == {name for name in names.values() if name.endswith("bias") or ".norm." in name}
