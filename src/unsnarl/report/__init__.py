"""The report: one HTML file with the finding in words, the scores, the pictures and the lines that reproduce them.

The room is itself callable, so that the last line of a session reads as it is said:

    unsnarl.report(model, rooms.test, scores, to="report.html")

Nothing heavy is imported until a page or a picture is asked for.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from unsnarl.lazy import attach

if TYPE_CHECKING:
    from pathlib import Path

    from unsnarl.report._claims import claims_index as claims_index
    from unsnarl.report._claims import write_claim_page as write_claim_page
    from unsnarl.report._curves import training_curves as training_curves
    from unsnarl.report._epiplexity import write_epiplexity_page as write_epiplexity_page
    from unsnarl.report._grids import contact_sheet as contact_sheet
    from unsnarl.report._grids import reconstruction_grid as reconstruction_grid
    from unsnarl.report._grids import traversal_grid as traversal_grid
    from unsnarl.report._heat_map import heat_map as heat_map
    from unsnarl.report._inspect import write_inspect_page as write_inspect_page
    from unsnarl.report._intervals import interval_plot as interval_plot
    from unsnarl.report._pairs import paired_plot as paired_plot
    from unsnarl.report._prototype_page import write_explanation_page as write_explanation_page
    from unsnarl.report._report import write_report as write_report
    from unsnarl.report._survival import write_survival_report as write_survival_report

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "claims_index": "._claims",
        "contact_sheet": "._grids",
        "heat_map": "._heat_map",
        "interval_plot": "._intervals",
        "paired_plot": "._pairs",
        "reconstruction_grid": "._grids",
        "training_curves": "._curves",
        "traversal_grid": "._grids",
        "write_claim_page": "._claims",
        "write_epiplexity_page": "._epiplexity",
        "write_explanation_page": "._prototype_page",
        "write_inspect_page": "._inspect",
        "write_report": "._report",
        "write_survival_report": "._survival",
    },
)


class _CallableRoom(ModuleType):
    """A module that is also `write_report`.

    Python looks up `__call__` on the type, never on the instance, so a function named `__call__` in this file would be
    ignored; giving the module a class of its own is the documented way (datamodel, "customizing module attribute
    access"). A function `unsnarl.report` instead of this would be overwritten by the subpackage of the same name as
    soon as anyone imports it.
    """

    def __call__(
        self,
        model: Any = None,
        data: Any = None,
        scores: Any = None,
        *,
        to: Any,
        title: str | None = None,
        **options: Any,
    ) -> Path:
        """Write the report; see `write_report`."""
        from unsnarl.report._report import write_report

        return write_report(model, data, scores, to=to, title=title, **options)


sys.modules[__name__].__class__ = _CallableRoom
