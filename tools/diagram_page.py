"""A picture with its tables as one HTML page that needs nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

from .machine_markdown import Section

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
svg { max-width: 100%; height: auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid #8884; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
"""


def diagram_page(title: str, doc: str, svg: str, sections: Iterable[Section]) -> str:
    """The whole page."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(doc)}</p>
{svg.strip()}
{"".join(map(_section, sections))}</body>
</html>
"""


def _section(section: Section) -> str:
    heads = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in section.columns)
    rows = "\n".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in section.rows)
    return (
        f"<h2>{html.escape(section.title)}</h2>\n<p>{html.escape(section.text)}</p>\n"
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n'
    )


def _cell(markdown: str) -> str:
    """A cell of Markdown, as ``machine_markdown`` writes it, in HTML."""
    text = html.escape(markdown.replace("\\|", "|"), quote=False).replace("&lt;br&gt;", "<br>")
    return re.sub(r"(`{1,2})(.+?)\1(?!`)", r"<code>\2</code>", text)
