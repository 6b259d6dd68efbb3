"""The equations of DLF in plain NumPy, written from the paper's definitions and not from the library's code."""

from __future__ import annotations

import math

import numpy as np

ORDER = ("l", "v", "a")


def weights_of(module) -> dict[str, np.ndarray]:
    return {name: t.detach().numpy().astype(np.float64) for name, t in module.state_dict().items()}


def layer_norm(x, w, name):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, w, name):
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def position(t, dim):
    """The vector of place t, which counts from 1."""
    half = dim // 2
    out = np.zeros(dim)
    for i in range(half):
        angle = t * 10_000 ** (-i / max(half - 1, 1))
        out[i], out[half + i] = math.sin(angle), math.cos(angle)
    return out


def embed(x, zeros_are_padding=True):
    out = math.sqrt(x.shape[2]) * x
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            if not zeros_are_padding or x[b, t, 0] != 0:
                out[b, t] += position(t + 1, x.shape[2])
    return out


def attend(q_in, k_in, v_in, w, name, heads):
    dim = q_in.shape[-1]
    weight, bias = w[f"{name}.project_in.weight"], w[f"{name}.project_in.bias"]
    q, k, v = (
        x @ weight[i * dim : (i + 1) * dim].T + bias[i * dim : (i + 1) * dim] for i, x in enumerate((q_in, k_in, v_in))
    )
    size = dim // heads
    queries, keys = q.shape[1], k.shape[1]
    out = np.zeros_like(q)
    for b in range(len(q)):
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            for t in range(queries):
                seen = [s for s in range(keys) if s <= t + abs(keys - queries)]
                scores = np.array([q[b, t, part] @ k[b, s, part] / math.sqrt(size) for s in seen])
                share = np.exp(scores - scores.max())
                share /= share.sum()
                out[b, t, part] = sum(p * v[b, s, part] for p, s in zip(share, seen, strict=True))
    return linear(out, w, f"{name}.project_out")


def encode(x, w, name, layers, heads, source=None, zeros_are_padding=True):
    x = embed(x, zeros_are_padding)
    source = None if source is None else embed(source, zeros_are_padding)
    for i in range(layers):
        block = f"{name}blocks.{i}"
        normal = layer_norm(x, w, f"{block}.attention_norm")
        other = normal if source is None else layer_norm(source, w, f"{block}.attention_norm")
        x = x + attend(normal, other, other, w, block, heads)
        hidden = np.maximum(linear(layer_norm(x, w, f"{block}.mlp_norm"), w, f"{block}.expand"), 0)
        x = x + linear(hidden, w, f"{block}.contract")
    return layer_norm(x, w, f"{name}norm")


def mlp(x, w, name):
    return x + linear(np.maximum(linear(x, w, f"{name}.first"), 0), w, f"{name}.second")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(x, kernel):
    """Windows of x (batch, time, features) with kernel (out, features, k)."""
    k = kernel.shape[2]
    return np.stack([np.einsum("bkf,ofk->bo", x[:, t : t + k], kernel) for t in range(x.shape[1] - k + 1)], axis=1)


def forward(inputs, w, *, heads, layers=2, query="l"):
    """All that the losses need, reading the last step."""
    memory = {m: layers if m == query else max(3, layers) for m in ORDER}
    out = {"x": {}, "s": {}, "c": {}, "r": {}, "again": {}, "aligned": {}, "heads": {}, "u": {}}
    read_c = {}
    for m in ORDER:
        x = convolve(inputs[m], w[f"project.convolutions.{m}.weight"])
        s = encode(x, w, f"specific.{m}.", layers, heads)
        c = encode(x, w, "shared.", layers, heads)
        r = np.concatenate([s, c], 2) @ w[f"reconstruct.{m}.weight"].T
        out["x"][m], out["s"][m], out["c"][m], out["r"][m] = x, s, c, r
        out["again"][m] = encode(r, w, f"specific.{m}.", layers, heads)
        out["aligned"][m] = linear(c.reshape(len(c), -1), w, f"align.{m}")
        read_c[m] = encode(c, w, f"shared_attention.{m}.", layers, heads)[:, -1]
    together = np.concatenate([read_c[m] for m in ORDER], 1)
    out["heads"]["shared"] = linear(mlp(together, w, "shared_mlp"), w, "shared_head")[:, 0]
    for m in ORDER:
        h = out["s"][m]
        if m != query:
            h = encode(out["s"][query], w, f"cross.{m}.", layers, heads, source=h)
        h = encode(h, w, f"memory.{m}.", memory[m], heads)[:, -1]
        out["u"][m] = mlp(h, w, f"specific_mlp.{m}")
        out["heads"][m] = linear(out["u"][m], w, f"specific_head.{m}")[:, 0]
    gates = [sigmoid(linear(out["u"][m], w, f"gates.{m}")) for m in ORDER]
    fused = np.concatenate([*gates, sigmoid(linear(together, w, "gates.shared"))], 1)
    out["heads"]["final"] = linear(mlp(fused, w, "fusion_mlp"), w, "fusion_head")[:, 0]
    return out


def margin(vectors, labels, slope=0.15):
    def cos(a, b):
        return a @ b / (math.sqrt(a @ a + 1e-8) * math.sqrt(b @ b + 1e-8))

    anchors = []
    for i in range(len(vectors)):
        positives = [j for j in range(len(vectors)) if j != i and labels[j] == labels[i]]
        negatives = [j for j in range(len(vectors)) if labels[j] != labels[i]]
        if positives and negatives:
            anchors.append(
                np.mean(
                    [
                        max(
                            0.0,
                            slope * abs(labels[i] - labels[n])
                            - cos(vectors[i], vectors[p])
                            + cos(vectors[i], vectors[n]),
                        )
                        for p in positives
                        for n in negatives
                    ]
                )
            )
    return float(np.mean(anchors)) if anchors else 0.0


def orthogonality(a, b, row):
    a, b = a.reshape(-1, row), b.reshape(-1, row)
    cosine = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return np.maximum(0, cosine).mean()


def losses(out, y, row):
    terms = {f"task_{head}": np.abs(values - y).mean() for head, values in out["heads"].items()}
    terms["task"] = terms["task_final"] + terms["task_shared"] + 3 * terms["task_l"] + terms["task_v"] + terms["task_a"]
    terms["reconstruction"] = sum(((out["r"][m] - out["x"][m]) ** 2).mean() for m in ORDER)
    terms["specific"] = sum(((out["s"][m] - out["again"][m]) ** 2).mean() for m in ORDER)
    terms["orthogonality"] = sum(orthogonality(out["s"][m], out["c"][m], row) for m in ORDER)
    terms["margin"] = margin(np.concatenate([out["aligned"][m] for m in ORDER]), np.tile(y, 3))
    terms["loss"] = terms["task"] + 0.1 * (
        terms["specific"] + terms["reconstruction"] + 0.1 * (terms["margin"] + terms["orthogonality"])
    )
    return terms
