"""``holdstate spec html``: a machine, or the whole, as a page in which a person walks from state to state."""

from __future__ import annotations

from typing import Any

import click

from .check_command import WHOLE
from .explorer_outcomes import WholeBounds
from .machine_names import machine_of
from .options import option, refuse_given
from .output import ExitCode, note, write_to
from .walk_graph import WALK_BOUNDS, WALK_STATES, walk_fates, whole_graph
from .walk_machine import machine_page
from .walk_whole import whole_page
from .whole_options import WHOLE_PARAMETERS, whole_options_from


@click.command("html")
@click.argument("name", metavar="MACHINE")
@option("--output", "-o", default="-", help="A file, or - for stdout.")
@whole_options_from(WALK_BOUNDS)
@option("--every-fate", is_flag=True, help="whole: Also callers that are gone, full disks, unreadable stores.")
@option("--limit", type=click.IntRange(1), default=WALK_STATES, help="whole: States in the page at most.")
def html(name: str, *, output: str, every_fate: bool, limit: int, **given: Any) -> ExitCode:
    """Write MACHINE as one page to click through: a shipped one, module:NAME, or `whole`.

    The page needs nothing else. It shows the state, what is possible and what is refused and why; it undoes, keeps the
    trace, and has all of it in its address. That of the whole has every state within the bounds in it, up to --limit.
    """
    if name != WHOLE:
        refuse_given((*WHOLE_PARAMETERS, "every_fate", "limit"), f"is for the whole; the page of {name} has no bounds")
        write_to(output, machine_page(machine_of(name, (WHOLE,))))
        return ExitCode.OK
    bounds = WholeBounds(**given, symmetry=False)
    graph = whole_graph(bounds, limit, walk_fates(is_every=every_fate))
    write_to(output, whole_page(graph))
    if graph["limit"] is not None:
        note(f"the page has {len(graph['states'])} states and ends at the limit of {graph['limit']}; it says where")
    return ExitCode.OK
