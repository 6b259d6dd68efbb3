"""Watching the inside of a network while it trains: entropies, informations and effective features over steps.

`RepresentationMonitor` records, `MonitorHistory` holds and draws the curves, `initialization_entropies` looks at a network
before it is trained, `load_vision_model` brings models of the Hugging Face hub.
"""

from typing import TYPE_CHECKING

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from unsnarl.measures.monitor._history import MonitorHistory as MonitorHistory
    from unsnarl.measures.monitor._hub import load_vision_model as load_vision_model
    from unsnarl.measures.monitor._initialization import initialization_entropies as initialization_entropies
    from unsnarl.measures.monitor._monitor import RepresentationMonitor as RepresentationMonitor

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "MonitorHistory": "._history",
        "RepresentationMonitor": "._monitor",
        "initialization_entropies": "._initialization",
        "load_vision_model": "._hub",
    },
)
