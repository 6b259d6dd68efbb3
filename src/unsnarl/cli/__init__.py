"""The command line: thin commands over the library; errors in one sentence, exit code 2."""

from __future__ import annotations

import sys

import typer

from unsnarl.cli import _claims, _data, _inside, _learning, _listing, _measuring, _zoo
from unsnarl.cli._learning import DEMO_DATA as DEMO_DATA
from unsnarl.cli._learning import DEMO_MODEL as DEMO_MODEL
from unsnarl.cli._listing import LEARNERS as LEARNERS
from unsnarl.cli._listing import MEASURES as MEASURES
from unsnarl.errors import UnsnarlError

app = typer.Typer(
    name="unsnarl",
    help="Measure, learn, explain and edit disentangled representations, with error bars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("list")(_listing.list_)
app.command()(_listing.show)
app.command()(_measuring.measure)
app.command()(_inside.inspect)
app.command()(_inside.epiplexity)
app.command()(_learning.run)
app.command()(_learning.demo)
app.command()(_data.data)
app.command()(_claims.claim)
app.command()(_learning.report)
app.add_typer(_zoo.zoo, name="zoo")


def main() -> None:
    """Run a command; say what is wrong in one sentence where something is."""
    try:
        code = app(standalone_mode=False)
        if isinstance(code, int) and code:  # of `typer.Exit`, which is returned and not raised in this mode
            sys.exit(code)
    except UnsnarlError as error:
        sys.stderr.write(f"unsnarl: {error}\n")
        sys.exit(2)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("unsnarl: stopped; a run with a folder continues where its last checkpoint is\n")
        sys.exit(130)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's own complaints about the words of the command line
            sys.stderr.write(f"unsnarl: {error.format_message()}\n")
            sys.exit(2)
        raise
