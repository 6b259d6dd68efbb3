"""The published equations, evaluated in plain NumPy from the same weights and the same noise, agree with the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf

from unsnarl.systems.multimodal.pibd._disentangle import DisentanglingLayer
from unsnarl.systems.multimodal.pibd._inputs import InputScaler, Reader
from unsnarl.systems.multimodal.pibd._network import PIBDNetwork
from unsnarl.systems.multimodal.pibd._sub_bags import sub_bags
from unsnarl.systems.multimodal.pibd._task import PIBDTask

B, N, WIDTH, SIZES, Z, C, S, HEADS = 6, 10, 5, [3, 4, 2, 3, 1], 8, 4, 50, 4
TOP = (0.5, 0.8)
WEIGHTS = {"alpha": 0.1, "beta": 0.01, "gamma": 1.0, "lam": 0.1}

Y = np.array([0, 1, 2, 3, 1, 0])
EVENT = np.array([True, False, True, True, True, False])


def network(dtype: torch.dtype = torch.double, **options: Any) -> PIBDNetwork:
    torch.manual_seed(3)
    given = {
        "n_bins": C,
        "z_dim": Z,
        "top": TOP,
        "samples": S,
        "experts": "published",
        "club_hidden": 16,
        "heads": HEADS,
    }
    given |= {"dropout": 0.0, "pathway_dropout": 0.0, "layer_dropout": 0.0, "noise_at_test": True, "noise_seed": 1}
    made = PIBDNetwork(WIDTH, SIZES, **{**given, **options}).to(dtype)
    with torch.no_grad():  # start the common token's experts unequal, and prototypes far from each other
        made.experts.phi.copy_(torch.tensor([0.3, 1.1]))
        for bottleneck in (made.histology, made.genomics):
            bottleneck.prototypes.locations.mul_(3)
    return made


def inputs(dtype: torch.dtype = torch.double) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    bags = torch.randn(B, N, WIDTH, generator=generator, dtype=torch.double).to(dtype)
    genes = torch.randn(B, sum(SIZES), generator=generator, dtype=torch.double).to(dtype)
    return bags, torch.full((B,), N), genes, torch.ones(B, dtype=torch.bool)


def task_of(net: PIBDNetwork, **options: Any) -> PIBDTask:
    reader = Reader(WIDTH, {f"p{i}": size for i, size in enumerate(SIZES)})
    given: dict[str, Any] = {"alpha_surv": 0.5, "club": "joint", "club_steps": 2, "divide": "all", **WEIGHTS}
    return PIBDTask(InputScaler(reader, "none", "none"), net, lr=1e-3, weight_decay=0.0, **{**given, **options})


# ---- the equations, in NumPy --------------------------------------------------------------------------------------


def array(t: torch.Tensor) -> np.ndarray:
    return t.detach().double().numpy()


def linear(x: np.ndarray, layer: Any) -> np.ndarray:
    return x @ array(layer.weight).T + array(layer.bias)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.exp(x) - 1)


def pathway_bag(net: PIBDNetwork, genes: np.ndarray) -> np.ndarray:
    rows, start = [], 0
    for p, size in enumerate(SIZES):
        x = genes[:, start : start + size]
        x = elu(x @ array(net.pathways.weights[0])[p, :size] + array(net.pathways.biases[0])[p])
        x = elu(x @ array(net.pathways.weights[1])[p] + array(net.pathways.biases[1])[p])
        rows.append(x)
        start += size
    return np.stack(rows, 1)


def hazard_loss(logits: np.ndarray, y: np.ndarray, c: np.ndarray, alpha: float = 0.5) -> float:
    """NLL of Zadeh and Schmid, censorship flag c, summed."""
    total = 0.0
    for row, bin_, censored in zip(logits, y, c, strict=True):
        h = sigmoid(row)
        s = np.concatenate([[1.0], np.cumprod(1 - h)])  # s[0] = S_{-1}
        uncensored = -(1 - censored) * (np.log(s[bin_]) + np.log(h[bin_]))
        unseen = -censored * np.log(s[bin_ + 1])
        total += (1 - alpha) * (unseen + uncensored) + alpha * uncensored
    return total


def bottleneck(
    part: Any, x: np.ndarray, eps: np.ndarray, ratio: float, y: np.ndarray, c: np.ndarray, *, label: bool
) -> dict[str, Any]:
    """The prototypical information bottleneck, one patient after the other."""
    z = x
    for place in (0, 3):
        z = np.maximum(linear(z, part.encoder[place]), 0)
    z = linear(z, part.encoder[6])
    mu = array(part.prototypes.locations)[:, 0]
    sigma = np.log1p(np.exp(array(part.prototypes.raw_diagonal)[:, 0]))
    draws = mu + sigma * eps  # (S, 2C, z)
    zp = draws.mean(0)
    att = np.einsum(
        "bnz,pz->bnp", z / np.linalg.norm(z, axis=2, keepdims=True), zp / np.linalg.norm(zp, axis=1)[:, None]
    )
    k = int(x.shape[1] * ratio)
    own, losses, tokens, chosen = y + C * c, [], [], []
    for b in range(len(x)):
        top = np.sort(att[b], 0)[::-1][:k].mean(0)
        losses.append(-(top[own[b]] - np.delete(top, own[b]).mean()))
        columns = att[b].T.reshape(-1)  # prototype after prototype
        largest = np.argsort(-columns)[:k] % x.shape[1]
        tokens.append(z[b][largest])
        rows = att[b].reshape(-1)  # instance after instance
        counts = np.bincount(np.argsort(-rows)[:k] % (2 * C), minlength=2 * C)
        chosen.append(own[b] if label else int(np.argmax(counts)))  # the mode
    logits = linear(draws, part.decoder).mean(0)
    kl = 0.5 * (sigma**2 + mu**2 - 1 - 2 * np.log(sigma)).sum(1)
    cell_y, cell_c = np.tile(np.arange(C), 2), np.repeat([0, 1], C)
    return {
        "tokens": np.stack(tokens),
        "proxy": float(np.mean(losses)),
        "mean": mu[chosen],
        "sigma": sigma[chosen],
        "likelihood": hazard_loss(logits, cell_y, cell_c),
        "kl": float(kl.mean()),
    }


def experts(net: PIBDNetwork, first: dict, second: dict, eps: np.ndarray, *, published: bool) -> np.ndarray:
    a = softmax(array(net.experts.phi))
    variances = [m["sigma"] if published else m["sigma"] ** 2 for m in (first, second)]
    precisions = [a[i] / (variances[i] + 1e-8) for i in range(2)]
    variance = 1 / (precisions[0] + precisions[1])
    mean = variance * (precisions[0] * first["mean"] + precisions[1] * second["mean"])
    noise = variance if published else np.sqrt(variance)
    return (mean[:, None] + noise[:, None] * eps).mean(1)  # the average of S draws, (B, z)


def layer_norm(x: np.ndarray, norm: Any) -> np.ndarray:
    centered = x - x.mean(-1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * array(norm.weight) + array(norm.bias)


def transformer(layer: DisentanglingLayer, streams: list[np.ndarray]) -> list[np.ndarray]:
    size = Z // HEADS

    def heads(x: np.ndarray) -> list[list[np.ndarray]]:
        q, k, v = np.split(linear(layer_norm(x, layer.norm1), layer.qkv), 3, axis=-1)
        return [[part[..., i * size : (i + 1) * size] for i in range(HEADS)] for part in (q, k, v)]

    split = [heads(x) for x in streams]
    out = []
    for s, x in enumerate(streams):
        seen = [2, 0, 1] if s == 2 else [s]  # the common token looks at itself, histology, pathways
        parts = []
        for i in range(HEADS):
            k = np.concatenate([split[o][1][i] for o in seen], 1)
            v = np.concatenate([split[o][2][i] for o in seen], 1)
            parts.append(softmax(split[s][0][i] @ k.transpose(0, 2, 1) / np.sqrt(size)) @ v)
        x = x + linear(np.concatenate(parts, -1), layer.out)
        h = linear(layer_norm(x, layer.norm2), layer.mlp[0])
        h = 0.5 * h * (1 + erf(h / np.sqrt(2)))
        out.append(x + linear(h, layer.mlp[3]))
    return out


def club(part: Any, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """The bound over all pairs, and the fit."""
    f = linear(np.maximum(linear(a, part.mean[0]), 0), part.mean[2])
    bound = 0.0
    for i in range(len(a)):
        others = np.mean([np.sum((b[j] - f[i]) ** 2) / 2 for j in range(len(b))])
        bound += (-np.sum((f[i] - b[i]) ** 2) / 2 + others) / len(a)
    return bound, float(((f - b) ** 2).sum(1).mean())


def one_pass(
    net: PIBDNetwork,
    bags: np.ndarray,
    omics: dict,
    eps: np.ndarray,
    eps_common: np.ndarray,
    *,
    label: bool,
    published: bool,
) -> dict[str, Any]:
    """One sub-bag through everything after the pathways' bottleneck."""
    c = (~EVENT).astype(int)
    wsi = bottleneck(net.histology, bags, eps, TOP[0], Y, c, label=label)
    token = experts(net, wsi, omics, eps_common, published=published)
    streams = transformer(net.layer, [wsi["tokens"], omics["tokens"], token[:, None]])
    h, p, g = (s.mean(1) for s in streams)
    first, second = club(net.information.specific, h, p), club(net.information.common, np.hstack([h, p]), g)
    logits = linear(np.maximum(linear(np.hstack([h, p, g]), net.head[0]), 0), net.head[2])
    return {
        **wsi,
        "logits": logits,
        "information": first[0] + second[0],
        "fit": first[1] + second[1],
        "embeddings": (h, p, g),
    }


def losses(passes: list[dict[str, Any]], omics: dict[str, Any]) -> dict[str, float]:
    mean = {k: float(np.mean([p[k] for p in passes])) for k in ("proxy", "likelihood", "kl", "information", "fit")}
    logits = np.mean([p["logits"] for p in passes], 0)
    nll = hazard_loss(logits, Y, (~EVENT).astype(int))
    terms = {"proxy": mean["proxy"] + omics["proxy"], "prototypes": mean["likelihood"] + omics["likelihood"]}
    terms |= {"kl": mean["kl"] + omics["kl"], "information": mean["information"], "fit": mean["fit"]}
    total = (
        nll + WEIGHTS["gamma"] * terms["proxy"] + WEIGHTS["alpha"] * terms["prototypes"] + WEIGHTS["beta"] * terms["kl"]
    )
    total += WEIGHTS["lam"] * (terms["information"] + terms["fit"])
    return {"loss": total / B, "survival": nll / B, **terms}


class Noise:
    """The network's noise drawn again, in its order: prototypes of the genes, then those of the patches, then the token."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.double):
        self.generator, self.dtype = torch.Generator().manual_seed(seed), dtype

    def prototypes(self) -> np.ndarray:
        return array(torch.randn(S, 2 * C, Z, generator=self.generator, dtype=self.dtype))

    def token(self, rows: int) -> np.ndarray:
        drawn = torch.randn(rows, Z, generator=self.generator, dtype=self.dtype)
        return array(drawn)[:, None] / np.sqrt(S)  # the average of S draws


# ---- comparisons --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("label", [True, False])
def test_training_pass_and_every_loss_term(published: bool, label: bool) -> None:
    net = network(experts="published" if published else "gaussian", label_prototype=label).train()
    bags, counts, genes, has = inputs()
    cell = torch.from_numpy(Y + C * (~EVENT))
    output = net(bags, counts, genes, has, cell, torch.Generator().manual_seed(11))

    noise = Noise(11)
    omics = bottleneck(
        net.genomics, pathway_bag(net, array(genes)), noise.prototypes(), TOP[1], Y, (~EVENT).astype(int), label=label
    )
    expected = one_pass(net, array(bags), omics, noise.prototypes(), noise.token(B), label=label, published=published)
    assert np.abs(array(output.histology[0].tokens) - expected["tokens"]).max() < 1e-5
    assert np.abs(array(output.genomics.tokens) - omics["tokens"]).max() < 1e-5
    for ours, theirs in zip(output.passes[0][:3], expected["embeddings"], strict=True):
        assert np.abs(array(ours) - theirs).max() < 1e-5
    assert np.abs(array(output.logits) - expected["logits"]).max() < 1e-5
    ours_terms = task_of(net).losses(output, counts > 0, has, torch.from_numpy(Y), torch.from_numpy(EVENT))
    theirs_terms = losses([expected], omics)
    assert set(ours_terms) == set(theirs_terms)
    for name, value in theirs_terms.items():
        assert ours_terms[name].item() == pytest.approx(value, abs=1e-5), name


def test_float32_is_as_near() -> None:
    net = network(torch.float32, label_prototype=True).train()
    bags, counts, genes, has = inputs(torch.float32)
    output = net(bags, counts, genes, has, torch.from_numpy(Y + C * (~EVENT)), torch.Generator().manual_seed(11))
    noise = Noise(11, torch.float32)
    omics = bottleneck(
        net.genomics, pathway_bag(net, array(genes)), noise.prototypes(), TOP[1], Y, (~EVENT).astype(int), label=True
    )
    expected = one_pass(net, array(bags), omics, noise.prototypes(), noise.token(B), label=True, published=True)
    assert np.abs(array(output.logits) - expected["logits"]).max() < 1e-5
    ours = task_of(net).losses(output, counts > 0, has, torch.from_numpy(Y), torch.from_numpy(EVENT))
    for name, value in losses([expected], omics).items():
        assert ours[name].item() == pytest.approx(value, rel=1e-5, abs=1e-5), name


def test_sub_bags_are_averaged() -> None:
    net = network(label_prototype=True, sub_bag=4).train()
    bags, counts, genes, has = inputs()
    cell = torch.from_numpy(Y + C * (~EVENT))
    output = net(bags, counts, genes, has, cell, torch.Generator().manual_seed(11))
    noise = Noise(11)
    omics = bottleneck(
        net.genomics, pathway_bag(net, array(genes)), noise.prototypes(), TOP[1], Y, (~EVENT).astype(int), label=True
    )
    passes = []
    for index, mask, weight in sub_bags(counts, N, 4, noise.generator):
        assert mask is None
        assert weight.tolist() == [1.0] * B
        assert index is not None
        assert all(len(set(row)) == 4 for row in index.tolist())
        part = array(bags)[np.arange(B)[:, None], index.numpy()]
        passes.append(one_pass(net, part, omics, noise.prototypes(), noise.token(B), label=True, published=True))
    assert len(passes) == N // 4
    assert np.abs(array(output.logits) - np.mean([p["logits"] for p in passes], 0)).max() < 1e-5
    ours = task_of(net).losses(output, counts > 0, has, torch.from_numpy(Y), torch.from_numpy(EVENT))
    for name, value in losses(passes, omics).items():
        assert ours[name].item() == pytest.approx(value, abs=1e-5), name


def test_evaluation_takes_the_mode_and_fixed_noise() -> None:
    net = network(label_prototype=True).eval()
    bags, counts, genes, has = inputs()
    logits = net(bags, counts, genes, has).logits
    c = (~EVENT).astype(int)
    omics = bottleneck(net.genomics, pathway_bag(net, array(genes)), Noise(1).prototypes(), TOP[1], Y, c, label=False)
    noise = Noise(1)  # the same noise again: each part of the published network seeds anew
    expected = one_pass(net, array(bags), omics, noise.prototypes(), noise.token(1), label=False, published=True)
    assert np.abs(array(logits) - expected["logits"]).max() < 1e-5
    assert torch.equal(logits, net(bags, counts, genes, has).logits)


def test_only_the_likelihood_is_divided_on_request() -> None:
    net = network().train()
    bags, counts, genes, has = inputs()
    output = net(bags, counts, genes, has, torch.from_numpy(Y + C * (~EVENT)), torch.Generator().manual_seed(11))
    where = counts > 0, has, torch.from_numpy(Y), torch.from_numpy(EVENT)
    terms = task_of(net, divide="likelihood").losses(output, *where)
    rest = WEIGHTS["gamma"] * terms["proxy"] + WEIGHTS["alpha"] * terms["prototypes"] + WEIGHTS["beta"] * terms["kl"]
    rest = rest + WEIGHTS["lam"] * (terms["information"] + terms["fit"])
    assert terms["loss"].item() == pytest.approx((terms["survival"] + rest).item(), abs=1e-9)


def test_alternating_leaves_the_fit_out_of_the_main_loss() -> None:
    net = network().train()
    bags, counts, genes, has = inputs()
    output = net(bags, counts, genes, has, torch.from_numpy(Y + C * (~EVENT)), torch.Generator().manual_seed(11))
    where = counts > 0, has, torch.from_numpy(Y), torch.from_numpy(EVENT)
    joint, turns = task_of(net).losses(output, *where), task_of(net, club="alternating").losses(output, *where)
    assert "fit" not in turns
    gap = WEIGHTS["lam"] * joint["fit"] / B
    assert turns["loss"].item() == pytest.approx((joint["loss"] - gap).item(), abs=1e-9)
    none = task_of(net, club="none").losses(output, *where)
    assert none["loss"].item() == pytest.approx(
        (turns["loss"] - WEIGHTS["lam"] * turns["information"] / B).item(), abs=1e-9
    )
