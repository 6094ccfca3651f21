"""HTML pages that need nothing else: one file, light and dark, which may load and run nothing but what is in it."""

from __future__ import annotations

import html
from base64 import b64encode
from hashlib import sha256
from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --ground: #fff; --panel: #f6f7f8; --ink: #1d2127; --dim: #646c76; --line: #d5d9de; --soft: #e9ecef;
  --pick: #e3eefb; --link: #0a5cc2; --mark: #fff3c4; --gone: #8a6d1b; --bad: #b3261e; --bad-ground: #fcebea;
  --good: #1a7f37; --good-ground: #e6f4ea; --open: #8a5a00; --open-ground: #fdf0d5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --panel: #1a1e23; --ink: #e3e6ea; --dim: #969ea8; --line: #363c44; --soft: #272c33;
    --pick: #1b3350; --link: #74b3ff; --mark: #3b3312; --gone: #c3a85a; --bad: #ff8a80; --bad-ground: #3a1b1a;
    --good: #6fd08c; --good-ground: #17301f; --open: #f0bf6a; --open-ground: #362a12;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 14px/1.45 system-ui, "Segoe UI", sans-serif; }
h1 { font-size: 1.05rem; margin: 0; font-weight: 650; }
h2 { font-size: 1.05rem; margin: 0; font-weight: 650; }
p { margin: 0; }
a { color: var(--link); }
code, td, ins, del { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .93em; }
code { overflow-wrap: anywhere; }
table { border-collapse: collapse; }
th { font-weight: 500; text-align: left; }
:focus-visible { outline: 2px solid var(--link); outline-offset: -2px; }
.dim { color: var(--dim); }
.bad { color: var(--bad); }
kbd { font: .9em ui-monospace, monospace; border: 1px solid var(--line); border-radius: 3px; padding: 0 .3em; }
"""
"""What all pages look like; each adds what it needs."""


def page(title: str, style: str, body: str, script: str = "") -> str:
    """A whole page. ``title`` is a text, ``body`` is markup.

    Its content security policy lets the style and the script of the page in, by their digests, and nothing else.
    """
    style = STYLE + style
    policy = f"default-src 'none'; style-src {_digest(style)}; base-uri 'none'; form-action 'none'"
    policy += f"; script-src {_digest(script)}" if script else ""
    scripts = f"<script>{script}</script>\n" if script else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
{scripts}</body>
</html>
"""


def text(content: str) -> str:
    """``content`` as markup that says it."""
    return html.escape(content)


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
