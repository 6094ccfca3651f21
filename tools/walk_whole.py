"""The whole as a page to walk through: commands, crashes and commits of unknown result, over the store and memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .trace_page import BOARD_STYLE
from .walk_page import trace_section, walk_page

TITLE: Final = "The whole"
DOC: Final = "One runtime, its store, and the drivers that hold it: commands, crashes, recovery, by the code that runs."

_STYLE: Final = (
    BOARD_STYLE
    + """
main { grid-template: auto / minmax(0, 1fr) minmax(0, 1fr); align-items: start; }
#bounds, #end { grid-column: 1 / -1; }
#bounds { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; color: var(--dim); font-size: .92em; }
#bounds b { color: var(--ink); font-weight: 600; }
#end { padding: .5rem .8rem; border-left: 3px solid var(--open); background: var(--open-ground); }
#memory { border: 1px solid var(--line); border-radius: 8px; padding: .5rem .4rem .6rem .6rem;
  background: var(--panel); }
.board { width: 100%; }
.board thead th, .board tbody th, .board td { padding-right: .7rem; padding-left: .4rem; }
fieldset { border: 1px solid var(--line); border-radius: 8px; margin: 0 0 .8rem; padding: .2rem .7rem .5rem;
  display: flex; flex-wrap: wrap; gap: .1rem 1rem; min-width: 0; }
legend { color: var(--dim); padding: 0 .3em; font-size: .92em; }
fieldset label { min-height: 1.6rem; display: inline-flex; gap: .35em; align-items: center; }
#world { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .4rem; margin-bottom: .8rem; }
#world > li { margin: 0; }
details { margin-top: .5rem; }
summary { cursor: pointer; font-weight: 650; font-size: .95rem; margin-bottom: .35rem; }
summary .count { color: var(--dim); font-weight: 400; margin-left: .3em; }
#refused > li.plain { border: 0; border-bottom: 1px solid var(--soft); border-radius: 0; background: none;
  padding: .3rem 0; margin: 0; display: grid; gap: .1rem; }
#refused .why { color: var(--dim); font-size: .92em; overflow-wrap: anywhere; }
#still { color: var(--dim); }
@media (max-width: 700px) {
  #memory { order: 1; } #moves { order: 2; } #steps { order: 3; } .keys { order: 4; }
  header, #notice, #bounds, #end { order: 0; }
}
"""
)

_BODY: Final = """<p id="bounds"></p>
<p id="end" role="status" hidden></p>
<div id="left">
<section id="memory" aria-label="Store and memory"><table class="board" id="panes"></table></section>
{trace}
</div>
<section id="moves" aria-label="What can happen">
<ul class="events" id="world"></ul>
<fieldset id="fates"></fieldset>
<ul class="events" id="calls"></ul><p id="none" class="dim" hidden></p>
<details open><summary>Refused<span class="count" id="refused-count"></span></summary>
<ul class="events" id="refused"></ul></details>
<details><summary>Changes nothing<span class="count" id="still-count"></span></summary><p id="still"></p></details>
</section>"""


def whole_page(graph: Mapping[str, Any]) -> str:
    """The whole page of what ``whole_graph`` found."""
    return walk_page(
        TITLE,
        DOC,
        _BODY.format(trace=trace_section()),
        data=graph,
        style=_STYLE,
        scripts=("walk_whole.js",),
        without_scripts="To walk through the whole, this page needs scripts.",
    )
