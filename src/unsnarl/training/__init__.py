"""One slim training loop on Lightning Fabric: seeds, checkpoints, exact resume, logs, progress."""

from unsnarl.training._batches import TensorBatches, as_input, stream_seed
from unsnarl.training._checkpoint import load_checkpoint, load_weights, read_tensors, save_checkpoint, write_json
from unsnarl.training._ema import EMA
from unsnarl.training._loop import train
from unsnarl.training._progress import Progress, clock
from unsnarl.training._run import Run
from unsnarl.training._task import Task, clip_gradients, decayed_adam

__all__ = [
    "EMA",
    "Progress",
    "Run",
    "Task",
    "TensorBatches",
    "as_input",
    "clip_gradients",
    "clock",
    "decayed_adam",
    "load_checkpoint",
    "load_weights",
    "read_tensors",
    "save_checkpoint",
    "stream_seed",
    "train",
    "write_json",
]
