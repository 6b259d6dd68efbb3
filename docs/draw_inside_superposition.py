"""Draw the picture of effective features: toy models, dictionary sizes, training time.

python docs/draw_inside_superposition.py docs/images/inside_superposition.png
"""

import sys

import torch
from matplotlib.figure import Figure

from unsnarl.data.known._sparse_features import sparse_features
from unsnarl.measures.superposition import (
    LayerActivations,
    encode_layer,
    superposition_baselines,
    train_autoencoders,
    train_toy_models,
)

SPARSITIES = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98)
FEATURES, NEURONS, ROWS = 20, 6, 4_000
SHOWN = 4  # the model whose dictionaries and training are shown
TRUTH, OURS, OTHERS = "#222222", "#1f6fb4", ("#c8701a", "#5f8a2a", "#b0437a")


def draw(path: str) -> None:
    torch.set_num_threads(1)
    models = train_toy_models(SPARSITIES, features=FEATURES, hidden=NEURONS, steps=2_500, lr=2e-3, batch_size=512)
    hidden = []
    with torch.no_grad():
        for seed, (model, sparsity) in enumerate(zip(models, SPARSITIES, strict=True)):
            hidden.append(model.hidden(sparse_features(ROWS, FEATURES, sparsity, seed=seed)))
    layers = [LayerActivations.of(h) for h in hidden]
    truth = [model.represented for model in models]
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)

    trained = train_autoencoders(torch.stack(hidden), 48, l1=1.0, epochs=250)
    effective = [encode_layer(layer, sae).F for layer, sae in zip(layers, trained, strict=True)]
    baselines = [superposition_baselines(h, expansion=8) for h in hidden]
    places = range(len(SPARSITIES))
    left.plot(places, truth, "o-", color=TRUTH)
    left.plot(places, effective, "s-", color=OURS)
    left.text(2.9, truth[3] + 1.5, "features represented (truth)", color=TRUTH, fontsize=8, ha="center")
    left.text(2.7, effective[2] - 3, "effective features F", color=OURS, fontsize=8, ha="center")
    left.plot(places, [numbers["untrained_autoencoder"] for numbers in baselines], ":", color=OTHERS[0])
    left.text(2.9, 44, "F of an untrained autoencoder", color=OTHERS[0], fontsize=8, ha="center")
    left.plot(places, [numbers["pca_effective_rank"] for numbers in baselines], "--", color=OTHERS[1])
    left.plot(places, [numbers["participation_ratio"] for numbers in baselines], ":", color=OTHERS[2])
    left.text(2.9, 3, "PCA effective rank, participation ratio", color=OTHERS[1], fontsize=8, ha="center")
    left.set_xticks(places, [f"{s:g}" for s in SPARSITIES])
    left.set_xlabel("sparsity of the 20 features")
    left.set_title("features in 6 neurons (D = 48, l1 = 1)", fontsize=10)
    left.set_ylim(0, 52)

    sizes, penalties = [3, 6, 12, 24, 48, 96], (0.1, 1.0)
    both = hidden[SHOWN].expand(2, -1, -1)
    swept = [
        [encode_layer(layers[SHOWN], sae, l1=l1) for sae, l1 in zip(pair, penalties, strict=True)]
        for pair in (train_autoencoders(both, D, l1=list(penalties), epochs=600) for D in sizes)
    ]
    for place, (l1, style) in enumerate(zip(penalties, ("o--", "s-"), strict=True)):
        curve = [results[place] for results in swept]
        middle.plot(sizes, [r.F for r in curve], style, color=OURS, label=f"l1 = {l1:g}")
        for r in curve:
            if not r.reliable:
                middle.plot(r.D, r.F, "x", color="#c22", markersize=10, markeredgewidth=2, zorder=3)
    middle.plot([], [], "x", color="#c22", label="flagged unreliable")
    middle.axhline(truth[SHOWN], color=TRUTH, linewidth=1)
    middle.text(3, truth[SHOWN] + 0.4, "truth", fontsize=8, color=TRUTH)
    middle.axvline(NEURONS, color="#bbb", linewidth=1)
    middle.set_xscale("log", base=2)
    middle.set_xticks(sizes, map(str, sizes))
    middle.set_ylim(0, 22)
    middle.set_xlabel("dictionary size D (line: N = 6)")
    middle.set_title(f"F depends on the dictionary (sparsity {SPARSITIES[SHOWN]:g})", fontsize=10)
    middle.legend(fontsize=7.5, loc="lower right")

    epochs = (1, 2, 4, 8, 16, 32, 64, 128)
    trained_for = [train_autoencoders(both, 48, l1=list(penalties), epochs=n, patience=None) for n in epochs]
    for place, (l1, style) in enumerate(zip(penalties, ("o--", "s-"), strict=True)):
        values = [encode_layer(layers[SHOWN], pair[place]).F for pair in trained_for]
        right.plot(epochs, values, style, color=OURS, label=f"l1 = {l1:g}")
    right.axhline(truth[SHOWN], color=TRUTH, linewidth=1)
    right.text(1, truth[SHOWN] + 1, "truth", fontsize=8, color=TRUTH)
    right.set_xscale("log", base=2)
    right.set_xticks(epochs, map(str, epochs))
    right.set_ylim(0, 52)
    right.set_xlabel("epochs of the autoencoder (D = 48)")
    right.set_title("... and on how long it was trained", fontsize=10)
    right.legend(fontsize=7.5)
    for ax in (left, middle, right):
        ax.set_ylabel("features", fontsize=9)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(sys.argv[1])
