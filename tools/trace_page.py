"""A trace as one HTML page that needs nothing else: steps on the left, what every pane looked like on the right.

Everything is written into the page, so that it can be read without scripts: each step is an anchor (``#3``). With
scripts, arrow keys, j and k, Home and End walk through the steps.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from .page import page, text
from .trace import Trace
from .trace_view import GONE, NEW, Board, Cell, Row, TraceView, visible, visible_lines

TOLD: Final = 2
"""Changes that the list of steps tells of each."""

WIDEST: Final = 48
"""Characters of a column, as far as its width is kept for all steps."""

_ABSENT: Final = '<span class="dim" title="not there">–</span>'

BOARD_STYLE: Final = """
.board { border-spacing: 0; max-width: 100%; }
.board thead th { padding: .15rem 1.4rem .25rem .6rem; border-bottom: 1px solid var(--line); font-weight: 650; }
.board thead .dim, .board thead .came, .board thead .went { font-weight: 400; margin-left: .3em; }
.board thead .came, .board thead .went { background: var(--mark); padding: 0 .4em; border-radius: 3px; }
.board thead td { padding: 0; border-bottom: 1px solid var(--line); }
.board tbody th { padding: .1rem 1.4rem .1rem .6rem; color: var(--dim); vertical-align: baseline; white-space: nowrap; }
.board tbody th[scope=rowgroup] { padding-top: .55rem; color: var(--ink); font-weight: 600; }
.board td { padding: .1rem 1.4rem .1rem .6rem; vertical-align: baseline; white-space: pre-wrap; overflow-wrap: anywhere;
  border-bottom: 1px solid var(--soft); }
.board tbody th[scope=row] { border-bottom: 1px solid var(--soft); }
.board tr.changed > th[scope=row] { color: var(--ink); box-shadow: inset 3px 0 var(--gone); }
.board td.changed { background: var(--mark); }
td del { color: var(--gone); }
td ins { text-decoration: none; font-weight: 600; }
.board td.sign { padding: .1rem .3rem; color: var(--bad); font-weight: 600; border-bottom-color: transparent; }
"""
"""What a table of panes looks like, with its marks of what changed."""

_STYLE: Final = """
html, body { height: 100%; }
body { display: grid; grid-template: auto minmax(0, 1fr) / minmax(15rem, 24rem) minmax(0, 1fr); }
header { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; align-items: baseline;
  padding: .55rem 1rem; border-bottom: 1px solid var(--line); background: var(--panel); }
header h1 { overflow-wrap: anywhere; }
header .broke { color: var(--bad); font-weight: 600; overflow-wrap: anywhere; }
header .broke a { color: inherit; }
header .end { margin-left: auto; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; color: var(--dim);
  font-size: .92em; }
header label { cursor: pointer; color: var(--ink); white-space: nowrap; }
header input { margin: 0 .2em 0 0; vertical-align: -1px; accent-color: var(--link); }
nav { overflow-y: auto; border-right: 1px solid var(--line); background: var(--panel); scrollbar-width: thin; }
nav ol { list-style: none; margin: 0; padding: 0; }
nav a { display: grid; grid-template-columns: 2.4em minmax(0, 1fr); padding: .34rem .8rem .34rem .4rem; color: inherit;
  text-decoration: none; border-left: 3px solid transparent; border-bottom: 1px solid var(--soft); }
nav a:hover { background: var(--soft); }
nav .number { color: var(--dim); text-align: right; padding-right: .8em; font-variant-numeric: tabular-nums; }
nav .what { grid-column: 2; }
nav .more { grid-column: 2; display: block; color: var(--dim); font-size: .86em; overflow-wrap: anywhere; }
nav a[aria-current] { background: var(--pick); border-left-color: var(--link); }
nav .fell { grid-column: 2; color: var(--bad); font-weight: 600; font-size: .9em; overflow-wrap: anywhere; }
nav .again { color: var(--dim); }
.crash { display: flex; align-items: center; gap: .7em; color: var(--bad); font-weight: 600; font-size: .9em; }
.crash::before { content: ""; width: .9em; border-top: 2px dashed; }
.crash::after { content: ""; flex: 1; border-top: 2px dashed; }
nav .crash { grid-column: 1 / -1; padding: .1rem 0; margin-right: -.8rem; }
main { overflow: auto; padding: .8rem 1.2rem 2rem; position: relative; }
article { display: none; scroll-margin-top: 1rem; }
:root:not(.js) article:target, :root:not(.js) main:not(:has(:target)) article:last-of-type { display: block; }
article.current { display: block; }
.head { display: flex; gap: .3rem .9rem; align-items: baseline; flex-wrap: wrap; }
.head h2 { font-weight: 600; overflow-wrap: anywhere; min-width: 0; }
.head .way { margin-left: auto; white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--dim); }
.head .way a, .head .way span { display: inline-block; padding: 0 .55em; text-decoration: none; font-size: 1.1em; }
article > .note { color: var(--dim); margin-top: .15rem; white-space: pre-wrap; overflow-wrap: anywhere; }
article > .crash { margin: .6rem 0 0; font-size: 1em; }
.fell-here { margin: .6rem 0 0; padding: .5rem .8rem; border-left: 3px solid var(--bad); background: var(--bad-ground);
  white-space: pre-wrap; overflow-wrap: anywhere; }
.fell-here strong { color: var(--bad); }
.boards { display: flex; flex-wrap: wrap; gap: 1rem 2.4rem; align-items: flex-start; margin-top: .8rem; }
.still { color: var(--dim); margin-top: .8rem; }
body:has(#only:checked) .same { display: none; }
@media (max-width: 900px) {
  body { grid-template-columns: minmax(12rem, 16rem) minmax(0, 1fr); }
  main { padding: .7rem .8rem 2rem; }
  .board thead th, .board tbody th, .board td { padding-right: .7rem; }
}
@media (max-width: 620px) {
  body { grid-template: auto minmax(6rem, 30vh) minmax(0, 1fr) / minmax(0, 1fr); }
  nav { border-right: 0; border-bottom: 1px solid var(--line); }
  header .end { margin-left: 0; }
  .keys { display: none; }
}
@media print {
  html, body { height: auto; }
  body { display: block; }
  nav, .way, header .end { display: none; }
  article { display: block !important; break-inside: avoid; margin-bottom: 1.5rem; }
}
"""

_SCRIPT: Final = """
"use strict";
const steps = [...document.querySelectorAll("article")];
const links = [...document.querySelectorAll("nav a[data-step]")];
const main = document.querySelector("main"), only = document.getElementById("only");
let at = -1, settling, known;
document.documentElement.classList.add("js");
function show(number) {
  const wanted = Math.max(0, Math.min(steps.length - 1, number));
  if (wanted === at) return;
  if (at >= 0) { steps[at].classList.remove("current"); links[at].removeAttribute("aria-current"); }
  at = wanted;
  steps[at].classList.add("current");
  links[at].setAttribute("aria-current", "step");
  links[at].scrollIntoView({ block: "nearest" });
  clearTimeout(settling);
  settling = setTimeout(() => {
    document.title = titled + " · " + at;
    if (location.hash !== known) return; // it was changed, and hashchange is about to say so
    known = "#" + at;
    history.replaceState(null, "", known);
  }, 120);
}
function walk(number) { show(number); links[at].focus({ preventScroll: true }); }
const titled = document.title;
const ways = { ArrowDown: 1, ArrowRight: 1, j: 1, n: 1, ArrowUp: -1, ArrowLeft: -1, k: -1, p: -1 };
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in ways) walk(at + ways[event.key]);
  else if (event.key === "Home") walk(0);
  else if (event.key === "End") walk(steps.length - 1);
  else if (event.key === "c") only.checked = !only.checked;
  else if (event.key === "PageDown") main.scrollBy(0, main.clientHeight * 0.9);
  else if (event.key === "PageUp") main.scrollBy(0, -main.clientHeight * 0.9);
  else return;
  event.preventDefault();
});
document.addEventListener("click", event => {
  const link = event.target.closest("a[href^='#']");
  if (link) { event.preventDefault(); show(Number(link.hash.slice(1))); }
});
function named() {
  known = location.hash;
  const wanted = /^#[0-9]+$/.test(location.hash) ? Number(location.hash.slice(1)) : steps.length - 1;
  show(wanted);
}
addEventListener("hashchange", named);
named();
"""


def trace_page(trace: Trace) -> str:
    """The whole page. It opens at the last step, or at the one that the fragment of its address names (``#3``)."""
    view = TraceView(trace)
    shown = [view.boards(number) for number in range(len(trace.steps))]
    items = "\n".join(_item(trace, number, boards) for number, boards in enumerate(shown))
    if trace.loop is not None:
        items += f'\n<li><a class="again" href="#{trace.loop}"><span class="number">↻</span>'
        items += f"<span>{_for_ever(trace)}</span></a></li>"
    articles = "\n".join(_article(trace, number, boards) for number, boards in enumerate(shown))
    body = f'{_header(trace)}\n<nav aria-label="Steps"><ol>\n{items}\n</ol></nav>\n<main>\n{articles}\n</main>'
    return page(visible(trace.title), BOARD_STYLE + _STYLE + _widths(shown), body, _SCRIPT)


def _for_ever(trace: Trace) -> str:
    is_still = trace.loop == len(trace.steps) - 1
    return "and nothing more happens" if is_still else f"and on from step {trace.loop}, for ever"


def _header(trace: Trace) -> str:
    last = len(trace.steps) - 1
    broke = ""
    if trace.broken:
        broke = f'<p class="broke">✗ {_said(trace.broken_name)} <a href="#{last}">at step {last}</a></p>'
    return (
        f"<header><h1>{_said(trace.title)}</h1>{broke}"
        '<div class="end"><label><input type="checkbox" id="only"> only what changed <kbd>c</kbd></label>'
        '<span class="keys">walk <kbd>←</kbd> <kbd>→</kbd> <kbd>Home</kbd> <kbd>End</kbd></span>'
        f"<span>{_said(trace.source)}</span></div></header>"
    )


def _said(content: str) -> str:
    return text(visible(content))


def _item(trace: Trace, number: int, boards: tuple[Board, ...]) -> str:
    step = trace.steps[number]
    crash = '<span class="crash">crash</span>' if step.is_crash else ""
    told = list(dict.fromkeys(each for board in boards for each in board.summary()))
    rest = f" · {len(told) - TOLD} more" if len(told) > TOLD else ""
    more = f'<span class="more">{text(" · ".join(told[:TOLD]))}{rest}</span>' if told else ""
    is_broken = trace.broken and number == len(trace.steps) - 1
    fell = f'<span class="fell">✗ {_said(trace.broken_name)}</span>' if is_broken else ""
    return (
        f'<li><a href="#{number}" data-step="{number}"><span class="number">{number}</span>'
        f'<code class="what">{_said(trace.label(number))}</code>{crash}{more}{fell}</a></li>'
    )


# -- a step ------------------------------------------------------------------------------------------------------------


def _article(trace: Trace, number: int, boards: tuple[Board, ...]) -> str:
    step, last = trace.steps[number], len(trace.steps) - 1
    parts = [f'<article id="{number}" aria-label="Step {number} of {last}">', _head(trace, number)]
    if step.note:
        parts.append(f'<p class="note">{text(visible_lines(step.note))}</p>')
    if step.is_crash:
        parts.append('<p class="crash">crash: below is what was there afterwards</p>')
    if trace.broken and number == last:
        name, rest = trace.broken_name, trace.broken.strip().removeprefix(trace.broken_name)
        said = f"<strong>✗ {_said(name)}</strong>{text(visible_lines(rest))}"
        parts.append(f'<p class="fell-here">{said}</p>')
    if trace.loop is not None and number == last:
        parts.append(f'<p class="still">{_for_ever(trace).capitalize()}.</p>')
    if number and not any(board.is_changed for board in boards):
        parts.append('<p class="still">Nothing that is shown changed.</p>')
    parts += [
        '<div class="boards">',
        *(_board(*each, is_first=number == 0) for each in enumerate(boards)),
        "</div>",
        "</article>",
    ]
    return "\n".join(parts)


def _head(trace: Trace, number: int) -> str:
    last = len(trace.steps) - 1
    back = f'<a href="#{number - 1}" rel="prev" aria-label="step before">‹</a>' if number else "<span>‹</span>"
    on = f'<a href="#{number + 1}" rel="next" aria-label="next step">›</a>' if number < last else "<span>›</span>"
    way = f'<span class="way">{back}step {number} of {last}{on}</span>'
    return f'<div class="head"><h2><code>{_said(trace.label(number))}</code></h2>{way}</div>'


def _board(place: int, board: Board, *, is_first: bool) -> str:
    heads = "".join(f'<th scope="col">{_pane(board, pane)}</th>' for pane in board.panes)
    sign = '<td class="sign"></td>' if len(board.panes) > 1 else ""
    groups = "\n".join(
        _group(name, list(rows), board, is_first=is_first) for name, rows in groupby(board.rows, lambda row: row.group)
    )
    return f'<table class="board board{place}"><thead><tr><td></td>{heads}{sign}</tr></thead>\n{groups}\n</table>'


def _pane(board: Board, pane: str) -> str:
    if pane in board.absent:
        return f'{_said(pane)} <span class="{"went" if pane in board.gone else "dim"}">{GONE}</span>'
    return f'{_said(pane)} <span class="came">{NEW}</span>' if pane in board.came else _said(pane)


def _group(name: str, rows: list[Row], board: Board, *, is_first: bool) -> str:
    is_same = all(_kind(row, board, is_first=is_first) == "same" for row in rows)
    head = f'<tr><th scope="rowgroup" colspan="{len(board.panes) + 1}">{text(name)}</th></tr>' if name else ""
    lines = "".join(_row(row, board, is_first=is_first) for row in rows)
    return f'<tbody class="{"same" if is_same else "some"}">{head}{lines}</tbody>'


def _kind(row: Row, board: Board, *, is_first: bool) -> str:
    """``changed``; ``new`` where there was nothing before, in any pane; or ``same``, which can be hidden."""
    if row.is_changed:
        return "changed"
    pairs = zip(board.panes, row.cells, strict=True)
    return "new" if is_first or any(pane in board.came and cell.after for pane, cell in pairs) else "same"


def _row(row: Row, board: Board, *, is_first: bool) -> str:
    kind = _kind(row, board, is_first=is_first)
    cells = "".join(_cell(cell, is_gone=pane in board.gone) for pane, cell in zip(board.panes, row.cells, strict=True))
    sign = ""
    if len(board.panes) > 1:
        sign = '<td class="sign" title="they differ here">≠</td>' if row.is_apart else '<td class="sign"></td>'
    return f'<tr class="{kind}"><th scope="row">{text(row.name)}</th>{cells}{sign}</tr>'


def _cell(cell: Cell, *, is_gone: bool) -> str:
    if is_gone and cell.before is not None:
        return f"<td><del>{text(cell.before)}</del></td>"
    if not cell.is_changed:
        return f"<td>{_ABSENT if cell.after is None else text(cell.after)}</td>"
    before = "" if cell.before is None else f"<del>{text(cell.before)}</del>"
    after = f'<span class="dim">{GONE}</span>' if cell.after is None else f"<ins>{text(cell.after)}</ins>"
    between = "" if not before else " " if cell.after is None else " → "
    return f'<td class="changed">{before}{between}{after}</td>'


def _widths(shown: list[tuple[Board, ...]]) -> str:
    """Columns that keep their width from step to step, as far as there is room."""
    widths: dict[tuple[int, int], int] = {}
    for boards in shown:
        for place, board in enumerate(boards):
            for row in board.rows:
                for column, content in enumerate((row.name, *(_drawn(cell) for cell in row.cells)), 1):
                    widths[place, column] = max(widths.get((place, column), 0), min(len(content), WIDEST))
    rules = (f".board{place} tr > :nth-child({at}) {{ min-width: {size}ch; }}" for (place, at), size in widths.items())
    return f"@media (min-width: 901px) {{ {' '.join(rules)} }}\n"


def _drawn(cell: Cell) -> str:
    return cell.text() if cell.is_changed else cell.after or cell.before or ""
