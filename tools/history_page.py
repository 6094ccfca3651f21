"""The life of one input as one HTML page that needs nothing else: a strip of its states over time, and its moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Final

import msgspec

from ..runtime.inputs import JSON
from ..spec.vocabulary import InputState
from .history_views import clock, waits, way
from .input_history import FactKind, InputHistory, Moment
from .page import page, text
from .quantities import counted, duration_text, moment_text

WIDTH: Final = 1000
"""Units of the strip, however wide it is shown."""
_HEIGHT: Final = 28
_LEAST: Final = 3
"""Units that a state takes at least, so that a short one is seen."""

_BAND: Final = {
    InputState.ACCEPTED: "waits",
    InputState.QUEUED: "waits",
    InputState.STAGED: "runs",
    InputState.APPLIED: "runs",
    InputState.APPLIED_PENDING_CONSUMPTION: "pending",
}
_BANDS: Final = {
    "waits": "waits in its lane",
    "runs": "in a run",
    "pending": "its boundary is committed",
    "unknown": "not kept",
}
_MARKS: Final = {FactKind.CRASH: "crash", FactKind.FAILURE: "failure"}

_STYLE: Final = """
main { max-width: 60rem; margin: 0 auto; padding: 0 1rem 2rem; }
header { padding: .9rem 0 .2rem; }
header h1 { overflow-wrap: anywhere; font-size: 1.25rem; }
header h1 code { font-size: .86em; }
header p { margin-top: .3rem; overflow-wrap: anywhere; }
.state { font-weight: 600; padding: .05rem .6rem; border-radius: 3px; margin-left: .4em; white-space: nowrap; }
.state.consumed { color: var(--good); background: var(--good-ground); }
.state.abandoned { color: var(--bad); background: var(--bad-ground); }
.state.active { color: var(--open); background: var(--open-ground); }
.state.replaced { color: var(--dim); background: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: .9rem 0 1.1rem; }
dl div { display: flex; flex-direction: column-reverse; }
dt { color: var(--dim); font-size: .86em; }
dd { margin: 0; font-size: 1.1rem; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
h2 { margin: 1.5rem 0 .5rem; }
.strip svg { display: block; width: 100%; height: 30px; border-radius: 4px; background: var(--soft); }
.waits { fill: #c9d1da; color: #c9d1da; } .runs { fill: #4a90e2; color: #4a90e2; }
.pending { fill: #6fbf8b; color: #6fbf8b; } .unknown { fill: transparent; color: transparent; }
.crash-mark { fill: var(--bad); } .failure-mark { fill: #d98a00; }
.ends { display: flex; justify-content: space-between; gap: 1rem; color: var(--dim); font-size: .86em;
  margin-top: .2rem; font-variant-numeric: tabular-nums; }
.ends span:last-child { text-align: right; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .86em; margin-top: .35rem; color: var(--dim); }
.legend span::before { content: ""; display: inline-block; width: .9em; height: .75em; margin-right: .4em;
  background: currentColor; border: 1px solid var(--line); border-radius: 2px; }
.legend b { font-weight: 400; color: var(--dim); }
.legend .mark-crash::before { background: var(--bad); width: .3em; }
.legend .mark-failure::before { background: #d98a00; width: .3em; }
ol { list-style: none; margin: 0; padding: 0; }
.moment { position: relative; padding: 0 0 1rem 1.6rem; border-left: 2px solid var(--line); margin-left: .5rem; }
.moment:last-child { border-left-color: transparent; padding-bottom: 0; }
.moment::before { content: ""; position: absolute; left: -7px; top: .3rem; width: 12px; height: 12px;
  border-radius: 50%; background: var(--ground); border: 2px solid var(--dim); }
.moment.run::before { background: #4a90e2; border-color: #4a90e2; }
.moment.commit::before, .moment.good::before { background: var(--good); border-color: var(--good); }
.moment.crash::before, .moment.bad::before { background: var(--bad); border-color: var(--bad); }
.moment.failure::before { background: #d98a00; border-color: #d98a00; }
.moment.recovery::before { background: var(--link); border-color: var(--link); }
.moment.gap { border-left-style: dashed; } .moment.gap::before { border-style: dashed; }
.when { color: var(--dim); font-variant-numeric: tabular-nums; font-size: .92em; }
.when .after { margin-left: .8em; }
.fact { overflow-wrap: anywhere; }
.fact.crash, .fact.bad { color: var(--bad); font-weight: 600; } .fact.failure { color: var(--open); font-weight: 600; }
.fact.good { color: var(--good); font-weight: 600; } .fact.gap { color: var(--dim); font-style: italic; }
.way, .logged { color: var(--dim); font-size: .92em; overflow-wrap: anywhere; }
.crash-line { display: flex; align-items: center; gap: .7em; color: var(--bad); font-weight: 600; font-size: .92em;
  margin-bottom: .4rem; }
.crash-line::after { content: ""; flex: 1; border-top: 2px dashed; }
.facts th { padding: .15rem 1.2rem .15rem 0; vertical-align: baseline; color: var(--dim); }
.facts td { padding: .15rem 0; overflow-wrap: anywhere; vertical-align: baseline; white-space: pre-wrap; }
.facts { width: 100%; }
@media (max-width: 620px) {
  .facts, .facts tbody, .facts tr, .facts th, .facts td { display: block; }
  .facts th { padding-bottom: 0; } .facts td { padding-bottom: .4rem; }
}
"""


def history_page(history: InputHistory, view: Mapping[str, JSON], now: datetime) -> str:
    """The whole page. ``view`` is what ``history_view`` tells of the same input, ``now`` when it was read."""
    record, runtime = history.record, history.runtime
    state = f'<span class="state {_state_kind(record.state)}">{text(str(record.state))}</span>'
    facts = {
        "attempts": record.attempt_count,
        "failures": record.failure_count,
        "crashes known": history.crashes,
        "recoveries": record.recovery_count,
        "lane": f"{record.admission.lane}, number {record.order}",
        "runtime": runtime.runtime_id,
        "revision of the runtime": f"{runtime.revision:,}",
    }
    listed = "".join(f"<div><dt>{text(name)}</dt><dd>{text(str(value))}</dd></div>" for name, value in facts.items())
    moments = zip(history.moments, waits(history), strict=True)
    body = (
        f"<header><h1>Input <code>{text(str(record.input_id))}</code>{state}</h1>\n"
        f'<p>{text(history.now)}</p><p class="dim">Read at {moment_text(now)}. {text(_basis(history))}</p></header>\n'
        f"<dl>{listed}</dl>\n{_strip(history, now)}<h2>What happened</h2>\n"
        f"<ol>{''.join(_moment(moment, after, history) for moment, after in moments)}</ol>\n"
        f'<h2>What is stored with it</h2>\n<table class="facts"><tbody>{"".join(_stored(view))}</tbody></table>'
    )
    return page(f"Input {record.input_id}", _STYLE, f"<main>\n{body}\n</main>")


def _state_kind(state: InputState) -> str:
    if state in (InputState.CONSUMED, InputState.ABANDONED):
        return str(state)
    return "replaced" if state in (InputState.SUPERSEDED, InputState.COALESCED) else "active"


def _basis(history: InputHistory) -> str:
    kept, dropped = len(history.record.history), history.record.history_dropped
    lost = f", {dropped:,} older ones were dropped" if dropped else ""
    return f"{counted(kept, 'transition')} kept with it{lost}. {history.log.text}"


def _strip(history: InputHistory, now: datetime) -> str:
    """Its states over time, true to scale; nothing where it took no time."""
    record = history.record
    times = [record.admission.admitted_at, *(entry.at for entry in record.history)]
    end = max(times) if record.is_terminal else max(now, *times)
    begin = min(times)
    total = (end - begin).total_seconds()
    if total <= 0:
        return ""

    def place(at: datetime) -> int:
        return round((at - begin).total_seconds() / total * WIDTH)

    bands = [("unknown", times[0], times[1])] if record.history_dropped else []
    ends = [*times[2:], end]
    bands += [(_BAND.get(entry.to_state, ""), entry.at, to) for entry, to in zip(record.history, ends, strict=True)]
    drawn = [
        f'<rect class="{kind}" x="{min(place(at), WIDTH - _LEAST)}" y="0" '
        f'width="{max(_LEAST, place(to) - place(at))}" height="{_HEIGHT}"/>'
        for kind, at, to in bands
        if kind and to >= at
    ]
    marks = [
        (_MARKS[fact.kind], moment.at)
        for moment in history.moments
        for fact in moment.facts
        if fact.kind in _MARKS and moment.at
    ]
    drawn += [
        f'<rect class="{kind}-mark" x="{min(place(at), WIDTH - 2 * _LEAST)}" y="0" width="{2 * _LEAST}" '
        f'height="{_HEIGHT}"/>'
        for kind, at in marks
    ]
    shown = [kind for kind in _BANDS if any(kind == each for each, _, _ in bands)]
    legend = "".join(f'<span class="{kind}"><b>{_BANDS[kind]}</b></span>' for kind in shown)
    told = {"crash": "found lost after a crash", "failure": "failed"}
    legend += "".join(f'<span class="mark-{kind}">{word}</span>' for kind, word in told.items() if kind in dict(marks))
    over = f"{moment_text(end)}{'' if record.is_terminal else ', now'}"
    return (
        f'<div class="strip"><svg viewBox="0 0 {WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="Its states over {duration_text(total)}; the list below tells each">{"".join(drawn)}</svg>\n'
        f'<div class="ends"><span>{moment_text(begin)}</span><span>{duration_text(total)}</span>'
        f"<span>{over}</span></div>"
        f'<div class="legend">{legend}</div></div>\n'
    )


def _moment(moment: Moment, after: str, history: InputHistory) -> str:
    kinds = [_fact_kind(fact.kind, history) for fact in moment.facts]
    lost = "".join(
        f'<p class="crash-line">crash or takeover {_since(moment, history)}</p>'
        for fact in moment.facts
        if fact.kind is FactKind.CRASH
    )
    facts = "".join(
        f'<p class="fact {kind}">{text(fact.text)}</p>' for fact, kind in zip(moment.facts, kinds, strict=True)
    )
    wait = f'<span class="after">{text(after)}</span>' if after else ""
    when = f'<p class="when"><span>{clock(moment.at)}{"" if moment.at is None else " UTC"}</span>{wait}</p>'
    through = f'<p class="way"><code>{text(way(moment))}</code></p>' if moment.steps else ""
    logged = "".join(
        f'<p class="logged">event {event.offset}: <code>{text(str(event.code))}</code>'
        f"{'' if event.run_id is None else f', run <code>{event.run_id}</code>'}</p>"
        for event in moment.logged
    )
    kind = _fact_kind(moment.kind, history)
    return f'<li class="moment {kind}">{lost}{when}{facts}{through}{logged}</li>\n'


def _since(moment: Moment, history: InputHistory) -> str:
    """Between which two times a run was lost: nothing that died says when."""
    for before, each in pairwise(history.moments):
        if each is moment and before.at is not None:
            begin, end = clock(before.at), clock(moment.at)
            same_day = begin.partition(" ")[0] == end.partition(" ")[0]
            return f"between {begin} and {end.partition(' ')[2] if same_day else end}"
    return f"before {clock(moment.at)}"


def _fact_kind(kind: FactKind, history: InputHistory) -> str:
    """How it is drawn; an end is good or bad."""
    if kind is not FactKind.END:
        return str(kind)
    return {"consumed": "good", "abandoned": "bad"}.get(str(history.record.state), "end")


def _stored(view: Mapping[str, JSON]) -> Iterator[str]:
    """What the list of moments does not tell."""
    for name in ("key", "supersession_key", "kind", "durability", "decision", "receipt", "input", "result", "error"):
        value = view[name]
        if value is None and name in _MISSED:
            yield f'<tr><th scope="row">{text(_NAMES.get(name, name))}</th><td class="dim">{_MISSED[name]}</td></tr>'
        elif value is not None:
            shown = value if isinstance(value, str) else _spaced(value)
            yield f'<tr><th scope="row">{text(_NAMES.get(name, name))}</th><td>{text(shown)}</td></tr>'


def _spaced(value: JSON) -> str:
    """JSON on one line that can be broken between its parts."""
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


_MISSED: Final = {
    "receipt": "none: no boundary of its last run lists it",
    "input": "none: a payload is dropped when its input ends",
    "result": "none",
}
"""What is told of what is not there."""

_NAMES: Final = {"supersession_key": "supersession key", "input": "payload", "error": "last error"}
