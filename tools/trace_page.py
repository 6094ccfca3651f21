"""A trace as one HTML page that needs nothing else: steps on the left, what each part looked like on the right.

Arrow keys, Home and End walk through the steps. The page holds no reference to any other file or site.
"""

from __future__ import annotations

import html
from typing import Final

import msgspec

from .trace import Trace

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --bad: #c62828; --mark: #ffb30055; --pick: #1e88e533; }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0; display: grid; height: 100vh;
       grid-template: auto 1fr auto / minmax(17rem, 26rem) 1fr; }
header { grid-column: 1 / 3; padding: .6rem 1rem; border-bottom: 1px solid var(--line); }
header h1 { font-size: 1.15rem; margin: 0; }
header p { margin: 0; }
.broken { color: var(--bad); font-weight: 600; white-space: pre-wrap; }
ol { margin: 0; padding: 0; overflow: auto; list-style: none; border-right: 1px solid var(--line); }
li { padding: .3rem .8rem; cursor: pointer; border-bottom: 1px solid var(--soft); }
li[aria-selected="true"] { background: var(--pick); }
li .number { display: inline-block; min-width: 2.2em; opacity: .6; font-variant-numeric: tabular-nums; }
li .action { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
li .note { display: block; padding-left: 2.2em; opacity: .75; font-size: .9em; }
li.crash { border-top: 3px dashed var(--bad); }
li.crash::before { content: "crash"; color: var(--bad); font-weight: 600; padding-left: 2.2em; display: block; }
li.last.bad .action { color: var(--bad); font-weight: 600; }
main { overflow: auto; padding: .8rem 1rem; }
.panes { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; }
section { flex: 1 1 22rem; min-width: 0; }
h2 { font-size: 1rem; margin: .2rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .2rem .5rem; border-bottom: 1px solid var(--soft); vertical-align: top; }
th { font-weight: 500; opacity: .7; }
td { font-family: ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
tr.changed { background: var(--mark); }
td.before { opacity: .7; }
tr.apart td.after { color: var(--bad); font-weight: 600; }
footer { grid-column: 1 / 3; padding: .3rem 1rem; border-top: 1px solid var(--line); opacity: .7; font-size: .85em; }
"""

_SCRIPT: Final = """
"use strict";
const trace = JSON.parse(document.getElementById("trace").textContent);
const list = document.querySelector("ol"), panes = document.querySelector(".panes");
const heading = document.querySelector("main h3"), note = document.querySelector("main p");
let current = 0;
function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
function shown(value) {
  if (value === undefined) return "";
  if (value === null) return "none";
  return typeof value === "string" ? value : JSON.stringify(value, null, 1);
}
function same(one, other) { return JSON.stringify(one) === JSON.stringify(other); }
function call(step) {
  const params = Object.entries(step.params).map(([name, value]) => name + "=" + JSON.stringify(value));
  return params.length ? step.action + "(" + params.join(", ") + ")" : step.action;
}
function table(name, before, after, others) {
  const section = element("section"), rows = element("table"), head = element("tr");
  section.append(element("h2", name), rows);
  for (const title of ["", "before", "after"]) head.append(element("th", title));
  rows.append(head);
  for (const variable of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const row = element("tr");
    if (current > 0 && !same(before[variable], after[variable])) row.classList.add("changed");
    if (others.some(other => variable in other && !same(other[variable], after[variable]))) row.classList.add("apart");
    row.append(element("th", variable), element("td", current > 0 ? shown(before[variable]) : "", "before"),
               element("td", shown(after[variable]), "after"));
    rows.append(row);
  }
  return section;
}
function show(number) {
  current = Math.max(0, Math.min(trace.steps.length - 1, number));
  const step = trace.steps[current], last = current ? trace.steps[current - 1].panes : {};
  [...list.children].forEach((item, place) => item.setAttribute("aria-selected", String(place === current)));
  if (list.children[current]) list.children[current].scrollIntoView({ block: "nearest" });
  heading.textContent = "Step " + current + " of " + (trace.steps.length - 1) + ": " + call(step);
  note.textContent = step.note;
  panes.replaceChildren(...[...new Set([...Object.keys(last), ...Object.keys(step.panes)])].map(name => table(
    name, last[name] || {}, step.panes[name] || {},
    Object.entries(step.panes).filter(([other]) => other !== name).map(([, variables]) => variables))));
  history.replaceState(null, "", "#" + current);
}
trace.steps.forEach((step, place) => {
  const item = element("li");
  item.setAttribute("role", "option");
  item.append(element("span", String(place), "number"), element("span", call(step), "action"));
  if (step.note) item.append(element("span", step.note, "note"));
  if (step.is_crash) item.classList.add("crash");
  if (place === trace.steps.length - 1) item.classList.add("last");
  if (trace.broken) item.classList.add("bad");
  item.addEventListener("click", () => show(place));
  list.append(item);
});
const ways = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, Home: 0, End: 0 };
document.addEventListener("keydown", event => {
  if (event.key in ways && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    show(event.key === "Home" ? 0 : event.key === "End" ? trace.steps.length - 1 : current + ways[event.key]);
  }
});
const wanted = parseInt(location.hash.slice(1), 10);
if (trace.steps.length) show(Number.isNaN(wanted) ? trace.steps.length - 1 : wanted);
"""


def trace_page(trace: Trace) -> str:
    """The whole page. It opens at the last step, or at the one that the fragment of its address names."""
    title, broken = html.escape(trace.title), html.escape(trace.broken)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<header><h1>{title}</h1><p class="broken">{broken}</p></header>
<ol role="listbox" aria-label="steps"></ol>
<main><h3></h3><p></p><div class="panes"></div></main>
<footer>{html.escape(_footer(trace))}</footer>
<script type="application/json" id="trace">{_embedded(trace)}</script>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _footer(trace: Trace) -> str:
    on = "" if trace.loop is None else f" · from the last step on to step {trace.loop} again"
    return f"{trace.source} · arrow keys, Home, End: walk · marked rows changed, red values differ between panes{on}"


def _embedded(trace: Trace) -> str:
    """JSON that no parser of HTML takes for the end of the script, or for a comment."""
    text = msgspec.json.encode(trace.to_json()).decode()
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
