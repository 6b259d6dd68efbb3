"""Draw the pictures of two pages on measures of a model's inside; the other three have scripts of their own.

python docs/draw_inside.py [dse] [markov]
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

import unsnarl
from unsnarl.data.known import prototype_source

IMAGES = Path(__file__).parent / "images"
COLORS = ("#1f6fb4", "#c8701a", "#5f8a2a", "#b0437a")


def panels(count: int) -> tuple[Figure, list]:
    """A row of panels without upper and right frames."""
    figure = Figure(figsize=(4.2 * count, 3.4), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, count)))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def dse() -> None:
    """Entropy over the width of the kernel; information of corrupted labels; a classifier while it learns."""
    figure, (widths, noise, curves) = panels(3)
    rng = np.random.default_rng(0)
    n, dimension = 500, 50
    clouds = {
        "8 clusters": 8.0 * np.eye(dimension)[rng.integers(8, size=n)] + 0.05 * rng.normal(size=(n, dimension)),
        "2 clusters": 8.0 * np.eye(dimension)[rng.integers(2, size=n)] + 0.05 * rng.normal(size=(n, dimension)),
        "one Gaussian": rng.normal(size=(n, dimension)),
    }
    sigmas = np.geomspace(0.1, 100, 25)
    for (name, points), color in zip(clouds.items(), COLORS, strict=False):
        widths.plot(sigmas, [unsnarl.diffusion_spectral_entropy(points, s) for s in sigmas], color=color, label=name)
    for level in (1, 3):
        widths.axhline(level, color="#bbbbbb", lw=0.8, zorder=0)
    widths.set(xscale="log", xlabel="width of the kernel, sigma", ylabel="DSE, bits", title="The width decides")
    widths.legend(frameon=False)

    classes = rng.integers(10, size=1000)
    centres = rng.normal(size=(10, 2000))
    for share, color in zip((0.01, 0.1, 0.5), COLORS, strict=False):
        points = centres[classes] + share * rng.normal(size=(1000, 2000))
        levels = np.linspace(0, 1, 11)
        found = []
        for level in levels:
            labels = np.where(rng.random(1000) < level, rng.integers(10, size=1000), classes)
            found.append(unsnarl.diffusion_spectral_mi(points, labels, sigma="median", n_repeats=2).mi)
        noise.plot(levels, found, color=color, label=f"{share:.0%} noise")
    noise.set(xlabel="share of corrupted labels", ylabel="DSMI, bits", title="2,000 dimensions, ten classes")
    noise.legend(frameon=False)

    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, test = order[:1200], order[1200:]
    for name, color, style in (("true labels", COLORS[0], "-"), ("permuted labels", COLORS[1], "--")):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        target = torch.tensor(y)[train]
        if name != "true labels":
            target = target[torch.randperm(len(target))]
        monitor = unsnarl.RepresentationMonitor(
            net, "3", x[test], y[test.numpy()], every=20, sigma="median", record=("dse", "dsmi_labels")
        )
        optimizer = torch.optim.Adam(net.parameters(), 2e-3)
        for step in range(301):
            monitor(step)
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[train]), target).backward()
            optimizer.step()
        table = monitor.table()
        curves.plot(table["step"], table["dsmi_labels"], color=color, ls=style, label=name)
    curves.set(xlabel="step", ylabel="DSMI of held-out digits, bits", title="Only true labels organise")
    curves.legend(frameon=False)
    figure.savefig(IMAGES / "inside_dse.png", dpi=120)


def markov() -> None:
    """Similarity of hidden states before and after training, the true kernel, and alignment over the loss."""
    from unsnarl.measures.language import spectral_alignment

    source = prototype_source(0)
    truth = source.transition
    kernel = unsnarl.predictive_kernel(truth, "bc")
    order = np.argsort(np.linalg.eigh(kernel - kernel.mean(axis=0))[1][:, -1])
    order = np.lexsort((order, truth.argmax(axis=1)))
    pairs = torch.from_numpy(np.stack(np.divmod(np.arange(len(truth)), 16), axis=1))
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Embedding(16, 16),
        nn.Flatten(),
        nn.Linear(32, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, 8),
    )
    head = nn.Linear(8, 16, bias=False)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], 3e-3)
    table = torch.from_numpy(truth).float()
    seen, losses, alignment = [], [], []

    def similarity() -> np.ndarray:
        hidden = body(pairs).detach().numpy()
        hidden = hidden - hidden.mean(axis=0)
        hidden /= np.linalg.norm(hidden, axis=1, keepdims=True) + 1e-9
        return (hidden @ hidden.T)[np.ix_(order, order)]

    before = similarity()
    for step in range(1001):
        if step % 25 == 0:
            hidden = body(pairs).detach()
            logp = head(hidden).log_softmax(-1).detach().numpy()
            seen.append(step)
            losses.append(-(truth * logp).sum(axis=1).mean())
            alignment.append(spectral_alignment(hidden, kernel).cka)
        targets = torch.multinomial(table, 1)[:, 0]
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(body(pairs)), targets).backward()
        optimizer.step()
    figure, (one, two, three, curve) = panels(4)
    for ax, matrix, title in (
        (one, kernel[np.ix_(order, order)], "which contexts predict alike"),
        (two, before, "hidden states, untrained"),
        (three, similarity(), "hidden states, trained"),
    ):
        ax.imshow(matrix, cmap="magma", vmin=np.quantile(matrix, 0.02), vmax=np.quantile(matrix, 0.98))
        ax.set(xticks=[], yticks=[], title=title)
    curve.plot(seen, alignment, color=COLORS[0])
    curve.set(xlabel="step", ylim=(0, 1), title="alignment (CKA) as the loss falls")
    curve.set_ylabel("CKA with the true kernel", color=COLORS[0])
    other = curve.twinx()
    other.plot(seen, losses, color=COLORS[1])
    other.set_ylabel("negative log-likelihood, nats", color=COLORS[1])
    figure.savefig(IMAGES / "inside_markov_categories.png", dpi=120)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    drawn = {"dse": dse, "markov": markov}
    for name in sys.argv[1:] or list(drawn):
        drawn[name]()
