"""The forward pass and every loss term against plain NumPy written from the equations."""

from __future__ import annotations

import numpy as np
import numpy_dlf as reference
import pytest
import torch

from unsnarl.systems.multimodal.dlf import DLFNetwork, LossWeights, dlf_losses
from unsnarl.systems.multimodal.dlf._network import MEMORY_LAYERS

DIMS = {"l": 7, "v": 5, "a": 4}


def make(query: str = "l", lengths: dict | None = None, layers: int = 2):
    torch.manual_seed(3)
    network = DLFNetwork(
        DIMS,
        lengths or dict.fromkeys("lva", 6),
        dim=10,
        heads=5,
        layers=layers,
        kernel=3,
        attention_dropout={"l": 0.3, "a": 0.2},
        embedding_dropout=0.2,
        text_dropout=0.5,
        output_dropout=0.5,
        query=query,
    ).eval()
    with torch.no_grad():  # norms and biases that are not 1 and 0, so that leaving one out shows
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    rng = np.random.default_rng(0)
    lengths = lengths or dict.fromkeys("lva", 6)
    inputs = {m: rng.normal(size=(4, lengths[m], DIMS[m])) for m in "lva"}
    inputs["a"][1, 2:] = 0  # a whole window of padding: channel 0 of the projection is exactly 0
    return network, inputs


def run(network, inputs):
    tensors = {m: torch.tensor(x, dtype=torch.float32) for m, x in inputs.items()}
    return network(tensors, {m: torch.ones(x.shape[:2], dtype=torch.bool) for m, x in tensors.items()})


@pytest.mark.parametrize(
    ("query", "lengths", "layers"),
    [
        ("l", None, 2),
        ("a", None, 2),
        ("l", {"l": 6, "v": 8, "a": 5}, 1),
        ("l", None, MEMORY_LAYERS + 1),
    ],
)
def test_forward_pass_and_losses_agree_with_the_equations(query, lengths, layers):
    network, inputs = make(query, lengths, layers)
    y = np.array([1.0, -0.5, 1.0, 2.2], np.float32)
    with torch.no_grad():
        out = run(network, inputs)
        terms = dlf_losses(out, torch.tensor(y), LossWeights(row=10))
    assert (out.origin["a"][1, -1] == 0).all() == (lengths is None or lengths["a"] > 3)
    expected = reference.forward(inputs, reference.weights_of(network), heads=5, layers=layers, query=query)
    pairs = {
        "x": out.origin,
        "s": out.specific,
        "c": out.shared,
        "r": out.reconstructed,
        "again": out.reencoded,
        "aligned": out.aligned,
        "heads": out.heads,
        "u": out.focused,
    }
    for name, found in pairs.items():
        assert set(found) == set(expected[name])
        for key, values in expected[name].items():
            np.testing.assert_allclose(found[key].numpy(), values, atol=1e-5, err_msg=f"{name} of {key}")
    wanted = reference.losses(expected, y.astype(np.float64), 10)
    assert set(terms) == set(wanted)
    for name, value in wanted.items():
        assert terms[name].item() == pytest.approx(value, abs=1e-5), name
    assert wanted["margin"] > 0.01
    assert wanted["orthogonality"] > 0.01


def test_rows_of_the_orthogonality_loss_can_be_parts_of_vectors():
    network, inputs = make()
    y = np.array([1.0, -0.5, 1.0, 2.0], np.float32)
    with torch.no_grad():
        out = run(network, inputs)
        half = dlf_losses(out, torch.tensor(y), LossWeights(row=5))["orthogonality"].item()
    expected = reference.forward(inputs, reference.weights_of(network), heads=5)
    assert half == pytest.approx(reference.losses(expected, y, 5)["orthogonality"], abs=1e-5)
    assert half != pytest.approx(reference.losses(expected, y, 10)["orthogonality"], abs=1e-3)


def test_published_sizes_are_those_of_the_official_model_without_what_it_never_uses():
    """50 wide, kernel 5, 50 steps: 26 blocks of 30,650 parameters, 17 norms of encoders at 100, and the heads."""
    network = DLFNetwork({"l": 768, "v": 20, "a": 5}, dict.fromkeys("lva", 50))
    block = 50 * 150 + 150 + 50 * 50 + 50 + 50 * 200 + 200 + 200 * 50 + 50 + 4 * 50
    encoders = (4 + 3) * (2 * block + 100) + 2 * (2 * block + 100) + (2 + 3 + 3) * block + 3 * 100
    projections = 50 * 5 * (768 + 20 + 5) + 3 * 100 * 50 + 3 * (46 * 50 * 50 + 50)
    shared = 2 * (150 * 150 + 150) + 151
    specific = 3 * (2 * (50 * 50 + 50) + 51)
    fusion = 3 * (50 * 50 + 50) + (150 * 150 + 150) + 2 * (300 * 300 + 300) + 301
    assert sum(p.numel() for p in network.parameters()) == encoders + projections + shared + specific + fusion


def test_every_parameter_is_learned_from():
    network, inputs = make()
    dlf_losses(run(network, inputs), torch.tensor([1.0, -0.5, 1.0, 2.2]), LossWeights(row=10))["loss"].backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("term", ["reconstruction", "specific", "margin", "orthogonality"])
def test_a_factor_of_zero_takes_its_term_out(term):
    network, inputs = make()
    y = torch.tensor([1.0, -0.5, 1.0, 2.2])
    with torch.no_grad():
        out = run(network, inputs)
        whole = dlf_losses(out, y, LossWeights(row=10))
        without = dlf_losses(out, y, LossWeights(row=10, **{term: 0.0}))
    weight = 0.1 if term in ("reconstruction", "specific") else 0.01
    assert (whole["loss"] - without["loss"]).item() == pytest.approx(weight * whole[term].item(), abs=1e-5)


def test_prediction_alone_skips_what_only_the_losses_need():
    network, inputs = make()
    tensors = {m: torch.tensor(x, dtype=torch.float32) for m, x in inputs.items()}
    masks = {m: torch.ones(x.shape[:2], dtype=torch.bool) for m, x in tensors.items()}
    with torch.no_grad():
        bare, whole = network(tensors, masks, losses=False), network(tensors, masks)
    assert not bare.reconstructed
    assert not bare.aligned
    torch.testing.assert_close(bare.heads["final"], whole.heads["final"])
