"""A machine as a page to walk through: its picture comes to life, each event says what it does or why not."""

from __future__ import annotations

from typing import Any, Final

from ..spec.expressions import value_text
from ..spec.machine import Machine
from .diagram_layout import layout_of
from .diagram_parts import parts_of
from .diagram_svg import STYLE as PICTURE_STYLE
from .diagram_svg import svg_of
from .machine_document import document_of, enums_of, member_name
from .walk_page import trace_section, walk_page

_STYLE: Final = """
main { grid-template: auto / minmax(0, 1.5fr) minmax(17rem, 1fr); align-items: start; }
#picture { overflow-x: auto; scrollbar-width: thin; padding-bottom: 2px; }
#picture svg { width: 100%; height: auto; display: block; }
@media (min-height: 950px) { #picture svg { max-height: calc(100vh - 30rem); min-height: 32rem; } }
.hit { fill: none; stroke: transparent; stroke-width: 13; pointer-events: stroke; }
svg [data-state] rect, svg [data-state] text { transition: fill .15s; }
svg .wire, svg .head, svg .label { opacity: .4; }
svg circle.head, svg .legend .wire { opacity: 1; }
svg path.wire:not([data-to]) { opacity: 1; }
svg .wire.open, svg .head.open, svg .label.open { opacity: 1; }
svg .wire.open { stroke-width: 2.4; }
svg .label.open tspan:not(.open) { opacity: .55; }
svg .label tspan.open, svg .small tspan.open { font-weight: 700; text-decoration: underline;
  text-underline-offset: 3px; cursor: pointer; }
svg .hit.open { cursor: pointer; }
svg .small tspan.open { fill: var(--link); }
svg g.here rect { fill: var(--link); stroke: var(--link); }
svg g.here rect.rim { stroke: var(--ground); }
svg g.here text, svg g.here .small tspan.open { fill: var(--ground); }
svg g.was > rect:first-of-type { stroke: var(--link); stroke-dasharray: 5 4; stroke-width: 2; }
#now { border: 1px solid var(--line); border-radius: 8px; padding: .5rem .8rem; background: var(--panel); }
#events * + h2 { margin-top: .9rem; }
#now h2 { display: flex; flex-wrap: wrap; gap: .1rem .8rem; align-items: baseline; margin: 0; }
#state { font: 650 1.15rem ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere;
  color: var(--link); }
#state.terminal::after { content: "terminal"; font: 500 .75rem system-ui, sans-serif; color: var(--dim);
  border: 3px double var(--dim); border-radius: 8px; padding: 0 .5em; margin-left: .7em; vertical-align: 2px; }
#came { font-weight: 400; color: var(--dim); font-size: .92em; }
#now table { width: 100%; margin-top: .35rem; }
#now th { color: var(--dim); font-weight: 400; padding: .12rem .8rem .12rem 0; vertical-align: baseline; }
#now td { overflow-wrap: anywhere; padding: .12rem .3rem; width: 70%; }
#now tr + tr > * { border-top: 1px solid var(--soft); }
#now tr.changed td { background: var(--mark); }
#now tr.changed th { color: var(--ink); }
.params { display: flex; flex-wrap: wrap; gap: .35rem .9rem; margin-top: .35rem; }
.params label { display: inline-flex; gap: .4rem; align-items: center; flex-wrap: wrap; min-width: 0; }
.params > label > span, .params legend { color: var(--dim); font-size: .92em; }
.params fieldset { border: 0; margin: 0; padding: 0; display: inline-flex; gap: .7rem; align-items: center; }
.params legend { float: left; padding: 0; }
.params input[type=radio] { margin: 0; }
.params select, .params input[type=text] { font-size: .93em; font-family: ui-monospace, Menlo, Consolas, monospace;
  padding: .1rem .35rem; min-height: 1.8rem; }
.to { color: var(--dim); font-size: .95em; overflow-wrap: anywhere; }
#refused > li.plain { border: 0; background: none; padding: .05rem .1rem; margin: 0; display: grid;
  grid-template-columns: minmax(0, 11rem) minmax(0, 1fr); gap: .7rem; align-items: baseline; }
#refused > li.plain .outcome { margin: 0; color: var(--dim); }
#refused > li.plain button.take { border-color: transparent; background: none; padding: 0 .3rem; min-height: 1.6rem;
  font-weight: 400; }
@media (max-width: 700px) {
  #now { order: 1; } #events { order: 2; } #drawn { order: 3; } #steps { order: 4; } .keys { order: 5; }
  header, #notice { order: 0; }
  #picture svg { width: auto; min-height: 0; max-height: none; max-width: none; }
}
"""

_BODY: Final = """<div id="left">
<section id="now" aria-label="State"><h2><span id="state" tabindex="-1"></span><span id="came"></span></h2>
<table><tbody id="fields"></tbody></table></section>
<section id="drawn" aria-label="Picture"><div id="picture">{picture}</div></section>
{trace}
</div>
<div id="right">
<section id="events" aria-label="Events"><h2>Possible<span class="count" id="possible-count"></span></h2>
<ul class="events" id="possible"></ul><p id="none" class="dim" hidden>Nothing can happen here any more.</p>
<h2>Refused<span class="count" id="refused-count"></span></h2><ul class="events" id="refused"></ul></section>
</div>"""


def machine_page(machine: Machine[Any, Any]) -> str:
    """The whole page of ``machine``; it steps by the rows, which it has as the document of ``spec export``."""
    parts = parts_of(machine)
    picture = svg_of(parts, layout_of(parts)).replace(f"<style>{PICTURE_STYLE}</style>\n", "").strip()
    texts = {
        name: {member_name(each): value_text(each) for each in members} for name, members in enums_of(machine).items()
    }
    return walk_page(
        machine.name,
        machine.doc,
        _BODY.format(picture=picture, trace=trace_section()),
        data={"document": document_of(machine), "texts": texts},
        style=PICTURE_STYLE + _STYLE,
        scripts=("walk_table.js", "walk_machine.js"),
        without_scripts="To walk through the machine, this page needs scripts. Below is its picture.",
    )
