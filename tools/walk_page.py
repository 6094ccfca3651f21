"""The frame of the pages in which a person walks through a machine or the whole: what both have, and their scripts."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import msgspec

from .page import page, text

STYLE: Final = """
main { max-width: 84rem; margin: 0 auto; padding: .7rem 1rem 2rem; display: grid; gap: .9rem 1.2rem; }
header { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: center; }
header h1 { font-size: 1.25rem; overflow-wrap: anywhere; }
header .doc { color: var(--dim); flex: 1 1 14rem; min-width: 0; overflow-wrap: anywhere; }
.tools { display: flex; flex-wrap: wrap; gap: .4rem; }
button, select, input[type=text] { font: inherit; color: inherit; background: var(--ground);
  border: 1px solid var(--line); border-radius: 6px; padding: .22rem .6rem; min-height: 2rem; max-width: 100%; }
button { cursor: pointer; }
button:hover:not([aria-disabled=true]) { background: var(--soft); }
button[aria-disabled=true] { cursor: default; color: var(--dim); }
:focus-visible { outline-offset: 1px; }
#notice { grid-column: 1 / -1; padding: .5rem .8rem; border-left: 3px solid var(--open); background: var(--open-ground);
  overflow-wrap: anywhere; }
[hidden] { display: none !important; }
#live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
section { min-width: 0; }
#left { display: grid; gap: .9rem; min-width: 0; }
#right { min-width: 0; }
@media (min-height: 950px) { #left { position: sticky; top: .7rem; } }
@media (max-width: 700px) {
  main { grid-template-columns: minmax(0, 1fr) !important; padding: .6rem .7rem 2rem; }
  header .doc { flex-basis: 100%; }
  #left, #right { display: contents; }
}
@media print { #left { position: static; } .tools, .keys { display: none; } }
h2 { font-size: .95rem; margin-bottom: .35rem; }
h2 .count { color: var(--dim); font-weight: 400; margin-left: .3em; }
.keys { grid-column: 1 / -1; color: var(--dim); font-size: .92em; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
#trace { list-style: none; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: 8px; overflow-y: auto;
  max-height: 19rem; position: relative; background: var(--panel); scrollbar-width: thin; }
#trace a { display: grid; grid-template-columns: 2.2em minmax(0, 1fr); padding: .3rem .7rem .3rem .3rem; color: inherit;
  text-decoration: none; border-left: 3px solid transparent; border-bottom: 1px solid var(--soft); }
#trace a:hover { background: var(--soft); }
#trace a[aria-current] { background: var(--pick); border-left-color: var(--link); }
#trace a.undone { color: var(--dim); font-style: italic; }
#trace .number { color: var(--dim); text-align: right; padding-right: .7em; font-variant-numeric: tabular-nums; }
#trace code { grid-column: 2; }
#trace .more { grid-column: 2; color: var(--dim); font-size: .88em; overflow-wrap: anywhere; }
.events { list-style: none; margin: 0; padding: 0; }
.events > li { border: 1px solid var(--line); border-radius: 8px; padding: .45rem .6rem; margin-bottom: .4rem;
  background: var(--panel); }
.events .line { display: flex; flex-wrap: wrap; gap: .25rem .7rem; align-items: center; }
.events button.take { font: 600 .95em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere;
  text-align: left; }
.events button.take:not([aria-disabled=true]) { border-color: var(--link); color: var(--link); }
.outcome { color: var(--dim); font-size: .92em; margin-top: .25rem; overflow-wrap: anywhere; }
.outcome:empty { display: none; }
.outcome.why { color: var(--ink); }
del { color: var(--gone); }
ins { text-decoration: none; font-weight: 600; }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
"""

_KEYS: Final = (
    (("←", "u"), "undo"),
    (("→", "r"), "do again"),
    (("Home", "End"), "to the start, the end"),
    (("↑", "↓"), "from event to event"),
    (("Enter",), "take it"),
)


def walk_page(
    title: str, doc: str, body: str, *, data: Any, style: str, scripts: tuple[str, ...], without_scripts: str
) -> str:
    """The whole page. ``body`` is the markup of its sections, ``data`` is what ``scripts`` find as JSON, which are
    named by their files; ``without_scripts`` is what is said where none of them runs.
    """
    keys = "".join(
        f"<span>{' '.join(f'<kbd>{text(key)}</kbd>' for key in names)} {text(what)}</span>" for names, what in _KEYS
    )
    # In a data block nothing but the end of the element has to be hidden.
    encoded = msgspec.json.encode(data).decode().replace("<", "\\u003c")
    markup = f"""<main>
<header><h1>{text(title)}</h1><p class="doc">{text(doc)}</p>
<div class="tools"><button id="undo" type="button">undo</button><button id="redo" type="button">do again</button>
<button id="restart" type="button">start over</button><button id="share" type="button">copy link</button></div></header>
<noscript><p id="unscripted">{text(without_scripts)}</p></noscript>
<p id="notice" role="alert" hidden></p>
<p id="live" role="status" aria-live="polite"></p>
{body}
<p class="keys">{keys}</p>
</main>
<script type="application/json" id="data">{encoded}</script>"""
    return page(title, STYLE + style, markup, "\n".join(map(_script, ("walk.js", *scripts))))


def trace_section() -> str:
    """Where the steps so far are listed."""
    return '<section id="steps" aria-label="Trace"><h2>Trace</h2><ol id="trace"></ol></section>'


def _script(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
