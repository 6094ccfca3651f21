"""What a page of Markdown holds for a test: its blocks in order, its links, and the anchors that others may link to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from attrs import frozen
from markdown_it import MarkdownIt
from markdown_it.token import Token

_CONSOLE_COMMAND = re.compile(
    r"^\$ ((?:holdstate|python -m holdstate|python -m pytest|python -c|python [\w-]+\.py)(?: (?:.*\\\n)*.*)?)$",
    re.MULTILINE,
)
_FILE = re.compile(r"(?:^|\s)file=(\S+)")
_OUTSIDE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@frozen
class Block:
    """A fenced block. ``line`` is that of its first line of content, counted from 1; ``file`` is the name of the file
    that it shows (```` ```text file=NAME ````), or empty.
    """

    language: str
    content: str
    line: int
    file: str = ""

    def commands(self) -> list[str]:
        """The commands of a console block that are holdstate's, pytest, ``python -c``, or a script that the page shows,
        continued lines included.
        """
        return _CONSOLE_COMMAND.findall(self.content)


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of ``page``, in order."""
    return [
        Block(token.info.split()[0] if token.info.split() else "", token.content, token.map[0] + 2, _file(token.info))
        for token in _tokens(page)
        if token.type == "fence" and token.map is not None
    ]


def _file(info: str) -> str:
    named = _FILE.search(info)
    return named[1] if named else ""


def links(page: Path) -> list[str]:
    """The targets of links and images of ``page`` that stay inside the project."""
    targets = (
        str(token.attrs.get("href") or token.attrs.get("src") or "")
        for parent in _tokens(page)
        for token in parent.children or ()
        if token.type in {"link_open", "image"}
    )
    return [target for target in targets if not _OUTSIDE.match(target)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of ``page``; a repeated heading gets a number."""
    seen: Counter[str] = Counter()
    found = set()
    for slug in map(_slug, _headings(page)):
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken_links(page: Path, root: Path) -> list[str]:
    """The links of ``page`` that lead to no file inside ``root``, or to no heading of a Markdown page."""
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        is_missing = not target.exists() or not target.is_relative_to(root)
        if is_missing or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    return broken


def _headings(page: Path) -> Iterator[str]:
    tokens = _tokens(page)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            yield "".join(child.content for child in inline.children or () if child.type in {"text", "code_inline"})


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
