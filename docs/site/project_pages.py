"""Pages of the repository as pages of the site: what README.md and others beside docs/ hold, and the files that pages
link to.

A page of docs/ that includes one from outside (README.md is the front page) takes over its links. The lists under
"Documentation" in README.md are the navigation of the site, so that both say the same. A link to a file that is no
page, a module or an example, leads to a page with its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from docutils import nodes
from markupsafe import escape
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

ROOT: Final = Path(__file__).resolve().parents[2]
NAVIGATION: Final = "## Documentation"

# What is included by which page, so that links to the one lead to the other.
INCLUDED: Final = {"README.md": "index", "CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog"}

# Pages whose links to these folders are the table of contents below them.
CONTENTS: Final = {"python": "reference/", "machines": "generated/"}

# Files of a language that Pygments reads; others are shown as text.
LANGUAGES: Final = {".py": "python", ".json": "json"}

_INSIDE = re.compile(r"(\]\()(?![a-z][a-z0-9+.-]*:|#)", re.IGNORECASE)
_PAGE = re.compile(r"\]\((?:docs/)?([\w/.-]+?)(?:\.md|\.rst)(?:#[\w-]*)?\)")
_TITLED = re.compile(r"\[([^\]]+)" + _PAGE.pattern)
_PATH = re.compile(r"[\w/.-]+\.(?:md|rst)")
_logger = logging.getLogger(__name__)


def take_over_links(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    """Links of an included page are relative to the root of the repository; add what leads there from docs/."""
    if path.name not in INCLUDED:
        return
    text = _INSIDE.sub(r"\1../", content[0])
    if parent == INCLUDED["README.md"]:
        text += "".join(_navigation(content[0]))
    content[0] = text


def _navigation(readme: str) -> Iterator[str]:
    """One hidden table of contents for each list of pages in README.md: the first link of each point, by its text."""
    sections = readme.partition(f"\n{NAVIGATION}\n")[2].split("\n### ")[1:]
    if not sections:
        _logger.warning("README.md has no lists of pages under %r", NAVIGATION)
    for section in sections:
        caption, _, listed = section.partition("\n")
        points = re.split(r"^- ", listed, flags=re.MULTILINE)[1:]
        links = [(link[1], link[2]) for link in map(_TITLED.search, points) if link is not None]
        entries = [f"{title} <{INCLUDED.get(f'{page}.md', page)}>" for title, page in links]
        yield _toctree(entries, f":caption: {caption}")


def _toctree(pages: list[str], *options: str) -> str:
    return "\n".join(("\n\n```{toctree}", ":hidden:", *options, "", *pages, "```\n"))


def add_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """The table of contents of a page that is a list of pages."""
    if docname in CONTENTS:
        source[0] += _toctree([page for page in _PAGE.findall(source[0]) if page.startswith(CONTENTS[docname])])


def lead_to_pages(app: Sphinx, tree: nodes.document) -> None:
    """Links to files of the repository lead to pages: to the one that includes the file, or to one with its text."""
    docname = app.env.docname
    for page in tree.findall(addnodes.pending_xref):
        name = f"{page['reftarget']}.md".removeprefix(f"{ROOT}/")
        if page.get("refdomain") == "doc" and name in INCLUDED:
            page["reftarget"] = INCLUDED[name]
        if page.get("refdomain") == "doc" and _PATH.fullmatch(page.astext()):
            page["refexplicit"] = False  # a reader of the site knows pages by their titles
    linked = _linked_files(app.env)[docname] = set()
    for link in list(tree.findall(addnodes.download_reference)):
        name = ((ROOT / "docs" / docname).parent / link["reftarget"]).resolve().relative_to(ROOT).as_posix()
        linked.add(name)
        uri = app.builder.get_relative_uri(docname, f"files/{name}")
        link.replace_self(nodes.reference("", "", *link.children, internal=True, refuri=uri))


def _linked_files(env: BuildEnvironment) -> dict[str, set[str]]:
    """Which files each page links to; kept between builds."""
    found: dict[str, set[str]] = vars(env).setdefault("linked_files", {})
    return found


def forget_links(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read again may have other links."""
    _linked_files(env).pop(docname, None)


def pages_of_files(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file that a page links to: its text, or the picture."""
    assert isinstance(app.builder, StandaloneHTMLBuilder)
    for name in sorted(set().union(*_linked_files(app.env).values())):
        text = (ROOT / name).read_text(encoding="utf-8")
        suffix = Path(name).suffix
        shown = text
        if suffix != ".svg":
            shown = app.builder.highlighter.highlight_block(text, LANGUAGES.get(suffix, "text"))
        yield (
            f"files/{name}",
            {"title": name, "body": f"<h1>{escape(name)}</h1>\n<div class='file'>{shown}</div>"},
            "page.html",
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", add_contents)
    app.connect("include-read", take_over_links)
    app.connect("doctree-read", lead_to_pages, priority=400)  # before downloads are collected
    app.connect("env-purge-doc", forget_links)
    app.connect("html-collect-pages", pages_of_files)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
