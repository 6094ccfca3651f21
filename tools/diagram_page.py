"""A picture with its tables as one HTML page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from .diagram_svg import STYLE as PICTURE_STYLE
from .machine_markdown import Section
from .page import page, text

_STYLE: Final = """
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; }
h2 { margin-top: 2rem; }
svg { max-width: 100%; height: auto; }
.picture { overflow-x: auto; margin: 1rem 0 .5rem; }
@media (max-width: 700px) { .picture svg { max-width: none; } }
.scroll { overflow-x: auto; margin-top: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
td { font-family: inherit; }
@media (max-width: 700px) { .scroll td:not(:first-child) { min-width: 8rem; } }
code { overflow-wrap: normal; }
"""
_WORD_END: Final = re.compile(r"(?<=\w[_.])(?=\w)")


def diagram_page(title: str, doc: str, svg: str, sections: Iterable[Section], caption: Sequence[str] = ()) -> str:
    """The whole page. The style of the picture moves into that of the page."""
    drawn = svg.replace(f"<style>{PICTURE_STYLE}</style>\n", "").strip()
    below = "".join(f'<p class="dim">{text(line)}</p>\n' for line in caption)
    told = "".join(map(_section, sections))
    picture = f'<div class="picture" tabindex="0">{drawn}</div>'
    body = f"<main>\n<h1>{text(title)}</h1>\n<p>{text(doc)}</p>\n{picture}\n{below}{told}</main>"
    return page(title, _STYLE + PICTURE_STYLE, body)


def _section(section: Section) -> str:
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in section.columns)
    rows = "\n".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in section.rows)
    return (
        f"<h2>{text(section.title)}</h2>\n<p>{text(section.text)}</p>\n"
        f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>'
        "</table></div>\n"
    )


def _cell(markdown: str) -> str:
    """A cell of Markdown, as ``machine_markdown`` writes it, in HTML."""
    markup = text(markdown.replace("\\|", "|")).replace("&lt;br&gt;", "<br>")
    # Names may be broken where their words end.
    return re.sub(r"(`{1,2})(.+?)\1(?!`)", lambda found: f"<code>{re.sub(_WORD_END, '<wbr>', found[2])}</code>", markup)
