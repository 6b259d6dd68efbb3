"""Systems on text-to-image diffusion hosts: what words tell of images, and words for what has none yet."""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.systems.diffusion._diffusion_pid import DiffusionPID as DiffusionPID
    from unsnarl.systems.diffusion._disenbooth import DisenBooth as DisenBooth
    from unsnarl.systems.diffusion._dreambooth import DreamBoothLoRA as DreamBoothLoRA
    from unsnarl.systems.diffusion._pid_result import InformationResult as InformationResult
    from unsnarl.systems.diffusion._pid_result import Intervention as Intervention
    from unsnarl.systems.diffusion._pid_result import PIDResult as PIDResult
    from unsnarl.systems.diffusion._pid_worlds import MixtureWorld as MixtureWorld
    from unsnarl.systems.diffusion._pid_worlds import mixture_world as mixture_world

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DiffusionPID": "._diffusion_pid",
        "DisenBooth": "._disenbooth",
        "DreamBoothLoRA": "._dreambooth",
        "InformationResult": "._pid_result",
        "Intervention": "._pid_result",
        "MixtureWorld": "._pid_worlds",
        "PIDResult": "._pid_result",
        "mixture_world": "._pid_worlds",
    },
)
