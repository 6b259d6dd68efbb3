"""Can a generator learn what it has never seen? DreamBooth-LoRA on varied photos of personal instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unsnarl.claims.gates._gate import Gate, mean_gate, share_gate
from unsnarl.data.scenes import IDENTIFIER, render_scenes, solo, to_signed
from unsnarl.diffusion import Host
from unsnarl.zoo._personal_grading import between_instances, score_personal

LEARNING_STEPS, RATE, SAMPLES, SAMPLING_STEPS, GUIDANCE = 400, 1e-3, 4, 25, 3.0
Report = Callable[[str, int, int], None]


def personal_gates(
    name: str,
    pipeline: Any,
    oracle: Any,
    identity: Any,
    clip: Any,
    *,
    instances: int = 12,
    steps: int = LEARNING_STEPS,
    report: Report | None = None,
) -> list[Gate]:
    """Identity of learned instances beyond the 90th percentile of other instances of the same kind, a mean over instances.

    Below 0 the generator is too small to be personalised, and no claim about personalisation on it means anything.

    Args:
        name: of the model.
        pipeline: that learns; it is left as it was.
        oracle: that finds the subject.
        identity: that tells instances apart.
        clip: for scores that are not used here.
        instances: how many of the personal set are learned.
        steps: of learning each, at a rate of 1e-3.
        report: told (what, done, all).
    """
    from unsnarl.systems.diffusion._dreambooth import DreamBoothLoRA

    host = Host(pipeline)
    identities, beyond = [], []
    sets = solo("varied")[:instances]
    for place, one in enumerate(sets):
        kind = one.class_words[0]
        model = DreamBoothLoRA(host, lr=RATE, seed=place)
        model.fit(
            to_signed(render_scenes(one.photos).images),
            f"a photo of a {IDENTIFIER} {kind}",
            steps=steps,
            progress=False,
        )
        try:
            prompts = [f"a photo of a {IDENTIFIER} {kind}"] * SAMPLES
            made = model.generate(prompts, seeds=list(range(SAMPLES)), steps=SAMPLING_STEPS, guidance=GUIDANCE)
        finally:
            model.remove()
        scores = score_personal(made, one.instances[0], one.photos, oracle=oracle, identity=identity, clip=clip)
        others = between_instances(kind, one.photos, identity=identity)
        identities.append(scores.means()["identity"])
        beyond.append(identities[-1] - float(np.quantile(others, 0.9)))
        if report is not None:
            report("personal instances", place + 1, len(sets))
    return [
        mean_gate(name, "identity of learned instances beyond the 90th percentile of others", beyond, low=0.0),
        share_gate(name, "learned instances beyond the 90th percentile of others", [value >= 0 for value in beyond]),
        mean_gate(name, "identity of learned instances", identities),
    ]
