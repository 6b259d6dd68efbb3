"""Which weights decay, which gradients are clipped, and which phase moves what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from unsnarl.nn import Architecture
from unsnarl.systems.latents import AE, QLAE, VAE, VQVAE, BetaTCVAE, BioAE, FactorVAE, InfoWGANGP, QuantizedInfoWGANGP
from unsnarl.training import clip_gradients, decayed_adam

DENSE = Architecture(kind="dense", hidden=(8,))
CONV = Architecture(widths=(4, 8), depth=1, hidden=(8,))
IMAGE = (1, 8, 8)


def task_of(learner: Any, shape: tuple[int, ...] = (5,)) -> Any:
    """The untrained task of a learner."""
    likelihood = "bernoulli" if len(shape) == 3 else "gaussian"
    return learner._build({"shape": shape, "likelihood": likelihood, "n": 100}).train()


def tasks() -> Iterator[Any]:
    for shape, network in (((5,), DENSE), (IMAGE, CONV)):
        for kind in (AE, BioAE, QLAE, VQVAE, VAE, BetaTCVAE):
            yield pytest.param(kind(3, network=network), shape, id=f"{kind.__name__}-{network.kind}")
        yield pytest.param(FactorVAE(3, network=network, discriminator_width=8), shape, id=f"FactorVAE-{network.kind}")
    yield pytest.param(InfoWGANGP(3, network=CONV), IMAGE, id="InfoWGANGP")
    yield pytest.param(QuantizedInfoWGANGP(3, network=CONV), IMAGE, id="QuantizedInfoWGANGP")


def names_of(task: nn.Module) -> dict[int, str]:
    return {id(p): name for name, p in task.named_parameters()}


@pytest.mark.parametrize(("learner", "shape"), list(tasks()))
def test_biases_and_codebooks_neither_decay_nor_are_clipped_and_all_else_does(learner: Any, shape: tuple[int, ...]):
    task = task_of(learner, shape)
    names, seen = names_of(task), []
    for phase, optimizer in task.prepare().items():
        for group in optimizer.param_groups:
            for p in group["params"]:
                name = names[id(p)]
                seen.append(name)
                if phase == "discriminator":  # plain Adam, as in its paper
                    assert (group["weight_decay"], group.get("clip_value")) == (0, None)
                elif name.endswith(".bias") or name.startswith("quantizer."):
                    assert (group["weight_decay"], group["clip_value"]) == (0.0, None), name
                else:
                    assert (group["weight_decay"], group["clip_value"]) == (learner.weight_decay, 1.0), name
    assert sorted(seen) == sorted(names.values())  # each in one group of one optimiser


def test_the_constant_map_and_norm_gains_decay():
    task = task_of(QLAE(3, network=CONV), IMAGE)
    decayed = {names_of(task)[id(p)] for p in task.prepare()["main"].param_groups[0]["params"]}
    assert {
        "decoder.constant",
        "encoder.conv.1.weight",
        "encoder.conv.0.weight",
        "decoder.blocks.0.style.weight",
    } <= decayed


def test_a_step_without_gradient_shrinks_weights_by_lr_times_decay_and_nothing_else():
    task = task_of(QLAE(3, network=CONV, weight_decay=0.25, lr=0.01), IMAGE)
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    for p in task.parameters():
        p.grad = torch.zeros_like(p)
    task.prepare()["main"].step()
    for name, p in task.named_parameters():
        if name.endswith(".bias") or name == "quantizer.values":
            assert torch.equal(p, before[name]), name
        else:
            torch.testing.assert_close(p.detach(), before[name] * (1 - 0.01 * 0.25), rtol=1e-6, atol=0)


def test_decay_is_decoupled_from_the_gradient():
    """AdamW moves a fresh weight by lr in the gradient's direction however large that is; coupled L2 would bend it."""
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    optimizer = decayed_adam(layer, lr=0.01, weight_decay=0.5)
    layer.weight.grad, layer.bias.grad = torch.full((2, 3), 1e-3), torch.full((2,), -1e-3)
    optimizer.step()
    expected = before * (1 - 0.01 * 0.5) - 0.01 * 1e-3 / (1e-3 + 1e-8)
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_gradients_are_clipped_element_by_element_in_their_group_only():
    layer = nn.Linear(2, 2)
    optimizer = decayed_adam(layer, lr=0.1, weight_decay=0.0, clip_value=1.0)
    layer.weight.grad = torch.tensor([[-3.0, 0.5], [1.5, -0.2]])
    layer.bias.grad = torch.tensor([9.0, -9.0])
    clip_gradients(optimizer)
    assert layer.weight.grad.tolist() == [[-1.0, 0.5], [1.0, pytest.approx(-0.2)]]
    assert layer.bias.grad.tolist() == [9.0, -9.0]


def test_clipping_by_norm_and_without_gradients():
    p = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD(
        [{"params": [p], "clip_norm": 1.0}, {"params": [nn.Parameter(torch.zeros(1))], "clip_value": 1.0}]
    )
    clip_gradients(optimizer)
    p.grad = torch.tensor([3.0, 4.0])
    clip_gradients(optimizer)
    torch.testing.assert_close(p.grad, torch.tensor([0.6, 0.8]))


def test_frozen_parameters_are_left_out():
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad_(False)
    (group,) = decayed_adam(layer, lr=0.1, weight_decay=0.1).param_groups
    assert [id(p) for p in group["params"]] == [id(layer.bias)]


def test_published_defaults():
    qlae = QLAE()
    assert (qlae.levels, qlae.weight_decay, qlae.lr, qlae.batch_size, qlae.steps) == (10, 0.1, 1e-3, 128, 200_000)
    assert (qlae.quantization, qlae.commitment) == (0.01, 0.01)
    gan = QuantizedInfoWGANGP()
    assert (gan.lr, gan.betas, gan.batch_size, gan.generator_every, gan.weight_decay) == (2e-4, (0.0, 0.9), 64, 5, 1e-4)
    assert (gan.value_weight, gan.gradient_weight, gan.latent_weight) == (1, 10, 200)
    assert (gan.quantization, gan.commitment) == (0.01, 0.01)
    optimizers = task_of(QuantizedInfoWGANGP(3, network=CONV), IMAGE).prepare()
    assert {group["betas"] for o in optimizers.values() for group in o.param_groups} == {(0.0, 0.9)}
    assert {group["betas"] for group in task_of(QLAE(3, network=DENSE)).prepare()["main"].param_groups} == {
        (0.9, 0.999)
    }
    assert AE().weight_decay == 1e-3
    assert (VQVAE().entries, VQVAE().size, VQVAE().quantization, VQVAE().commitment, VQVAE().weight_decay) == (
        512,
        64,
        1,
        0.25,
        0.01,
    )
    assert (BioAE().nonnegative, BioAE().activity) == (1, 0.01)
    assert BetaTCVAE().beta == 3
    assert (FactorVAE().lr, FactorVAE().discriminator_lr, FactorVAE().batch_size, FactorVAE().steps) == (
        1e-4,
        1e-4,
        64,
        300_000,
    )


def moved(task: Any, phase: str) -> set[str]:
    """The parts of a GAN that one phase moves."""
    optimizers = task.prepare()
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    optimizers[phase].zero_grad()
    task(phase, (torch.rand(6, *IMAGE),), 0, torch.Generator().manual_seed(0))["loss"].backward()
    clip_gradients(optimizers[phase])
    optimizers[phase].step()
    return {name.split(".")[0] for name, p in task.named_parameters() if not torch.equal(p, before[name])}


def test_each_phase_of_the_gan_moves_its_own_side():
    task = task_of(QuantizedInfoWGANGP(3, levels=4, network=CONV, weight_decay=0.1), IMAGE)
    assert moved(task, "encoder") == {"encoder", "critic"}
    assert moved(task, "generator") == {"decoder", "quantizer"}
    assert moved(task, "encoder") == {"encoder", "critic"}
    assert moved(task_of(InfoWGANGP(3, network=CONV), IMAGE), "generator") == {"decoder"}


def test_the_generator_learns_every_fifth_step():
    task = task_of(QuantizedInfoWGANGP(3, network=CONV), IMAGE)
    assert [step for step in range(20) if "generator" in task.schedule(step)] == [4, 9, 14, 19]
    assert all(task.schedule(step)[0] == "encoder" for step in range(20))


def test_each_phase_of_factor_vae_moves_its_own_side():
    task = task_of(FactorVAE(3, network=CONV, discriminator_width=8), IMAGE)
    x = (torch.rand(6, *IMAGE), torch.rand(6, *IMAGE))
    for phase, parts in (("vae", {"encoder", "decoder"}), ("discriminator", {"discriminator"})):
        optimizers = task.prepare()
        before = {name: p.detach().clone() for name, p in task.named_parameters()}
        optimizers[phase].zero_grad()
        task(phase, x, 0, torch.Generator().manual_seed(0))["loss"].backward()
        optimizers[phase].step()
        assert {name.split(".")[0] for name, p in task.named_parameters() if not torch.equal(p, before[name])} == parts
