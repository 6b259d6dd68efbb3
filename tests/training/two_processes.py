"""Two processes that train one model together: python two_processes.py <folder>."""

import sys
from pathlib import Path

import torch
from lightning.fabric import Fabric
from safetensors.torch import save_file
from small_runs import TABLE, learner


def main(folder: str) -> None:
    """Fit a learner without randomness, and leave what each process ended with."""
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    rank = fabric.global_rank
    options = {"steps": 12, "log_every": 4, "checkpoint_every": 6}
    model = learner("QLAE", batch_size=16).fit(TABLE, run=Path(folder) / "run", fabric=fabric, **options)
    save_file(model.task_.state_dict(), str(Path(folder) / f"rank{rank}.safetensors"))


if __name__ == "__main__":
    main(sys.argv[1])
