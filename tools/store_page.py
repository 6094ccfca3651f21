"""A store as one HTML page that needs nothing else: where its bytes are, what is in which state, how it grew, and the
lanes of one runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from ..runtime.records import IN_FLIGHT_STATES, InputRecord, RuntimeRecord
from ..runtime.store import LoadedRuntime
from ..spec.vocabulary import InputState, Lane, RuntimeState
from ..stores.lmdb_space import StoreSpace
from ..stores.lmdb_store import LmdbStore
from .output import NotFound
from .page import page, text
from .quantities import bytes_text, counted, duration_text, moment_text
from .store_growth import growth_section
from .store_survey import Survey, survey

MOST_RUNTIMES: Final = 50
MOST_INPUTS: Final = 50
_WIDTH: Final = 1000
_HEIGHT: Final = 24

WHAT: Final = {
    "meta": "the format",
    "names": "runtimes by id",
    "runtimes": "runtime records",
    "active": "active inputs, each with its payload",
    "ended": "ended inputs",
    "bodies": "payloads that are kept of ended inputs",
    "orders": "ended inputs by id",
    "keys": "ended inputs by idempotency key",
    "receipts": "boundary receipts",
    "results": "results of runs",
    "snapshots": "latest session snapshots",
    "blobs": "blobs",
    "blob_refs": "who refers to a blob",
    "pruned": "how much retention removed",
    "events": "the event log",
}
"""What each sub-database holds."""

_STYLE: Final = """
main { max-width: 60rem; margin: 0 auto; padding: 0 1rem 2rem; }
header { padding: .9rem 0 .2rem; }
header h1 { font-size: 1.25rem; overflow-wrap: anywhere; }
dl { display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: .9rem 0 0; }
dl div { display: flex; flex-direction: column-reverse; }
dt { color: var(--dim); font-size: .86em; }
dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h2 { margin: 1.8rem 0 .4rem; overflow-wrap: anywhere; }
h3 { margin: 1.1rem 0 .3rem; font-size: 1rem; font-weight: 600; }
.scroll { overflow-x: auto; margin-top: .5rem; }
table { width: 100%; }
th, td { padding: .22rem .9rem .22rem 0; border-bottom: 1px solid var(--soft); vertical-align: baseline; }
thead th { color: var(--dim); border-bottom-color: var(--line); white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.words { font-family: inherit; color: var(--dim); }
td.id { overflow-wrap: anywhere; min-width: 5rem; }
td.uuid { white-space: nowrap; }
tfoot td, tfoot th { font-weight: 600; border-bottom: 0; }
tr.none > * { color: var(--dim); }
td.bar { width: 28%; min-width: 5rem; padding-right: 0; }
.bar svg { display: block; width: 100%; height: .7rem; }
.whole svg { display: block; width: 100%; height: 26px; border-radius: 4px; margin-top: .5rem; }
.fill, .used { fill: #4a90e2; color: #4a90e2; } .free { fill: #e0b04c; color: #e0b04c; }
.ahead { fill: var(--line); color: var(--line); } .track { fill: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .92em; margin-top: .35rem; }
.legend span::before { content: ""; display: inline-block; width: .9em; height: .75em; margin-right: .4em;
  background: currentColor; border-radius: 2px; }
.legend b { font-weight: 400; color: var(--ink); }
.held { color: var(--open); }
.chart svg { display: block; width: 100%; height: 150px; background: var(--panel); border: 1px solid var(--line);
  border-radius: 4px; margin-top: .3rem; }
.chart path { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.chart .admitted { stroke: #4a90e2; color: #4a90e2; } .chart .ended { stroke: #3f9d63; color: #3f9d63; }
.chart .between { fill: #4a90e2; fill-opacity: .14; stroke: none; color: #4a90e2; }
.ends { display: flex; justify-content: space-between; gap: 1rem; color: var(--dim); font-size: .86em;
  margin-top: .2rem; }
.ends span:last-child { text-align: right; }
.legend .between::before { opacity: .3; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 2.5rem; }
details { margin-top: .5rem; } summary { cursor: pointer; color: var(--link); }
"""


def store_page(store: LmdbStore, runtime: str | None, now: datetime) -> str:
    """The whole page; with the lanes of ``runtime``. Raises NotFound, StoreCorruption."""
    loaded = None if runtime is None else store.load_runtime(runtime)
    if runtime is not None and loaded is None:
        raise NotFound(f"runtime {runtime!r}", str(store.path))
    found = survey(store)
    space, name = store.space(), store.path.name
    active = sum(record.counts.active for record in found.runtimes)
    facts = {
        "in the file": bytes_text(space.file_bytes),
        "runtimes": f"{len(found.runtimes):,}",
        "active inputs": f"{active:,}",
        "ended inputs": f"{len(found.admitted) - active:,}",
        "pruned inputs": f"{found.pruned:,}",
        "write transactions so far": f"{space.commits:,}",
    }
    listed = "".join(f"<div><dt>{each}</dt><dd>{value}</dd></div>" for each, value in facts.items())
    body = (
        f"<header><h1>Store {text(name)}</h1>\n"
        f'<p class="dim">Read at {moment_text(now)}.</p></header>\n<dl>{listed}</dl>\n'
        f"{_lanes(loaded, now) if loaded is not None else ''}{_states(found)}{growth_section(found)}"
        f"{_bytes(space)}{_runtimes(found.runtimes)}"
    )
    return page(f"Store {name}", _STYLE, f"<main>\n{body}</main>")


def _table(heads: Sequence[tuple[str, str]], rows: Iterable[str], foot: str = "") -> str:
    """A table that scrolls by itself; each head with the class of its cells."""
    cells = "".join(f'<th scope="col" class="{kind}">{text(head)}</th>' for head, kind in heads)
    feet = f"<tfoot>{foot}</tfoot>" if foot else ""
    body = "\n".join(rows)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{cells}</tr></thead>\n<tbody>\n{body}\n</tbody>{feet}'
        f"</table></div>\n"
    )


def _bar(part: float) -> str:
    """A cell with a bar. The number beside it says the same."""
    width = round(part * _WIDTH)
    return (
        f'<td class="bar"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="{_WIDTH}" height="{_HEIGHT}"/><rect class="fill" width="{width}" '
        f'height="{_HEIGHT}"/></svg></td>'
    )


def _states(found: Survey) -> str:
    heads = (("state", ""), ("", "number"), ("", "bar"))
    drawn = []
    runtimes = [(str(state), found.runtime_states[state]) for state in RuntimeState]
    for title, counts in (
        ("Runtimes by state", runtimes),
        ("Inputs by state", [(str(state), found.states[state]) for state in InputState]),
    ):
        most = max(count for _, count in counts)
        rows = [
            f'<tr class="{"" if count else "none"}"><th scope="row">{state}</th><td class="number">{count:,}</td>'
            f"{_bar(count / most if most else 0)}</tr>"
            for state, count in counts
        ]
        drawn.append(f"<section><h2>{title}</h2>\n{_table(heads, rows)}</section>\n")
    return f'<div class="pair">{"".join(drawn)}</div>\n'


def _bytes(space: StoreSpace) -> str:
    page_bytes = space.page_bytes
    used, free, ahead = space.used_pages * page_bytes, space.free_pages * page_bytes, space.ahead_bytes
    parts = (("used", used, "in use"), ("free", free, "free inside"), ("ahead", ahead, "kept ahead of need"))
    total, x, bars = max(1, used + free + ahead), 0, []
    for kind, size, _ in parts:
        width = round(size / total * _WIDTH)
        bars.append(f'<rect class="{kind}" x="{x}" width="{width}" height="{_HEIGHT}"/>')
        x += width
    legend = "".join(f'<span class="{kind}"><b>{told}: {bytes_text(size)}</b></span>' for kind, size, told in parts)
    most = max(table.pages for table in space.tables)
    rows = [
        f'<tr class="{"" if table.rows else "none"}"><th scope="row"><code>{table.name}</code></th>'
        f'<td class="words">{WHAT[table.name]}</td><td class="number">{table.rows:,}</td>'
        f'<td class="number">{table.pages:,}</td><td class="number">{bytes_text(table.pages * page_bytes)}</td>'
        f"{_bar(table.pages / most)}</tr>"
        for table in space.tables
    ]
    foot = (
        f'<tr><th scope="row">all</th><td></td><td class="number">{sum(each.rows for each in space.tables):,}</td>'
        f'<td class="number">{space.used_pages:,}</td><td class="number">{bytes_text(used)}</td><td></td></tr>'
    )
    heads = (("sub-database", ""), ("holds", ""), ("rows", "number"), ("pages", "number"), ("bytes", "number"))
    return (
        f"<h2>Where the bytes are</h2>\n<p>The file is {space.file_bytes:,} bytes long, in pages of "
        f"{page_bytes:,}; it may grow to {bytes_text(space.map_bytes)} before the map is made larger.</p>\n"
        f'<div class="whole"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'{"".join(bars)}</svg><div class="legend">{legend}</div></div>\n'
        f"{_table((*heads, ('', 'bar')), rows, foot)}"
        f'<p class="dim">Free pages were used once and will be used again; LMDB\'s list of them counts among them. '
        f"The pages of all include {space.own_pages} of LMDB itself.</p>\n"
    )


def _runtimes(records: Sequence[RuntimeRecord]) -> str:
    """Those with the most active inputs first."""
    shown = sorted(records, key=lambda each: (-each.counts.active, each.runtime_id))[:MOST_RUNTIMES]
    if not shown:
        return ""
    rows = [
        f'<tr><td class="id">{text(each.runtime_id)}</td><td>{each.state}</td>'
        f'<td class="number">{each.counts.active:,}</td><td class="number">{each.counts.ended:,}</td>'
        f'<td class="number">{each.counts.events:,}</td><td class="number">{each.epoch:,}</td>'
        f'<td class="number">{each.revision:,}</td></tr>'
        for each in shown
    ]
    heads = (
        ("runtime", ""),
        ("state", ""),
        *((name, "number") for name in ("active", "ended", "events", "epoch", "revision")),
    )
    more = len(records) - len(shown)
    rest = f"<p>{counted(more, 'more runtime')}; `holdstate store list` lists all.</p>" if more > 0 else ""
    told = "Those with the most active inputs first. The epoch rises with each open, the revision with each commit."
    return f'<h2>Runtimes</h2>\n<p class="dim">{told}</p>\n{_table(heads, rows)}{rest}'


def _lanes(loaded: LoadedRuntime, now: datetime) -> str:
    """What one runtime has in hand, and what waits in either lane, in the order in which it is begun."""
    record = loaded.record
    place = {input_id: number for number, input_id in enumerate(record.contributors)}
    in_hand = sorted(
        (each for each in loaded.inputs if each.state in IN_FLIGHT_STATES),
        key=lambda each: place.get(each.input_id, len(place)),
    )
    last = "" if record.last_run is None else f" How its last run ended: {record.last_run.ending}."
    run = f"run {record.current_run_id}" if record.current_run_id else "no run"
    opened = f"It was opened {counted(record.epoch, 'time')} and has committed {counted(record.revision, 'command')}."
    told = f"The runtime is {record.state}, with {run} under way.{last} {opened}"
    drawn = [f"<h2>Lanes of {text(record.runtime_id)}</h2>\n<p>{told}</p>\n"]
    if loaded.set_aside:
        drawn.append(f'<p class="bad">{counted(len(loaded.set_aside), "input")} cannot be read.</p>')
    groups: list[tuple[str, Sequence[InputRecord]]] = [("In the current run, in staging order", in_hand)]
    for lane in (Lane.STEER, Lane.QUEUE):
        waiting = [each for each in loaded.inputs if each.state is InputState.QUEUED and each.admission.lane is lane]
        groups.append((f"The {lane} lane, from its front", sorted(waiting, key=lambda each: each.order)))
    for title, inputs in groups:
        drawn.append(f'<section><h3>{title} <span class="dim">{counted(len(inputs), "input")}</span></h3>\n')
        drawn.append(f"{_waiting(inputs, now)}</section>\n")
    return "".join(drawn)


def _waiting(inputs: Sequence[InputRecord], now: datetime) -> str:
    if not inputs:
        return '<p class="dim">Empty.</p>'
    heads = (
        ("order", "number"),
        ("key", ""),
        ("attempts", "number"),
        ("failures", "number"),
        ("since", "number"),
        ("held back", ""),
        ("kind", ""),
        ("input", ""),
    )
    rows = []
    for each in inputs[:MOST_INPUTS]:
        since = duration_text((now - each.history[-1].at).total_seconds()) if each.history else ""
        rows.append(
            f'<tr><td class="number">{each.order}</td><td class="id">{text(each.admission.idempotency_key or "")}</td>'
            f'<td class="number">{each.attempt_count}</td><td class="number">{each.failure_count}</td>'
            f'<td class="number">{since}</td>{_held(each, now)}<td>{each.admission.kind}</td>'
            f'<td class="uuid">{each.input_id}</td></tr>'
        )
    more = len(inputs) - MOST_INPUTS
    rest = f'<p class="dim">{counted(more, "more input")}.</p>' if more > 0 else ""
    return _table(heads, rows) + rest


def _held(record: InputRecord, now: datetime) -> str:
    """Until when a failed input waits, and everything behind it in its lane."""
    if record.not_before is None:
        return '<td class="words">no</td>'
    left = (record.not_before - now).total_seconds()
    if left <= 0:
        return f'<td class="words">until {moment_text(record.not_before)}, which is over</td>'
    return f'<td class="held">for {duration_text(left)}, until {moment_text(record.not_before)}</td>'
