"""The documentation site: it builds without a warning, loads nothing from a network, and leaves no name out."""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

from holdstate.tools.cli import cli

from ..conftest import build_site

PUBLIC = ("holdstate", "holdstate.blocking", "holdstate.tools.harness")
LOADING = {"audio", "embed", "iframe", "img", "input", "link", "object", "script", "source", "track", "video"}

UNDOCUMENTED = '''
class Undocumented:
    """A word about the class."""

    def silent(self): ...


def silent(): ...


def vague(given: "holdstate.Nowhere"):
    """A type that is nowhere."""
'''


class Loads(HTMLParser):
    """What a browser fetches by itself to show a page. A link that a reader may follow is not among it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in LOADING:
            self.found += [
                value for name, value in attrs if name in {"data", "href", "poster", "src", "srcset"} and value
            ]


def _loads(page: str) -> list[str]:
    parser = Loads()
    parser.feed(page)
    return [found for found in parser.found if re.match(r"(?:[a-z]+:)?//", found)]


def _styles_load(style: str) -> list[str]:
    return re.findall(r"(?:url\(\s*|@import\s+)[\"']?((?:https?:)?//[^\"')]+)", style)


def _documented(site: Path) -> set[str]:
    """The Python names of the inventory that Sphinx writes."""
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split(" ", 1)[0] for line in lines if " py:" in line}


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _commands(child, (*path, name))


def test_no_page_loads_anything_from_a_network(site: Path) -> None:
    """Neither a script, a style, a font nor a picture; what is fetched lies beside the page."""
    loaded = {page.name: _loads(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    loaded |= {style.name: _styles_load(style.read_text(encoding="utf-8")) for style in site.rglob("*.css")}
    assert len(loaded) > 40
    assert {name: found for name, found in loaded.items() if found} == {}


def test_what_a_page_would_load_is_seen() -> None:
    """The control of the test above."""
    page = '<a href="https://a"></a><img src="x.svg"><script src="https://b"></script><link href="//c">'
    assert _loads(page) == ["https://b", "//c"]
    assert _styles_load('@import "https://a"; b { src: url(//c/d.woff) } e { src: url(f.woff) }') == [
        "https://a",
        "//c/d.woff",
    ]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(site: Path, module: str) -> None:
    """Under the module from which users import it."""
    wanted = {f"{module}.{name}" for name in importlib.import_module(module).__all__ if name != "__version__"}
    assert wanted - _documented(site) == set()


def test_every_command_is_in_the_reference_with_every_option(site: Path) -> None:
    """As the program itself lists them."""
    anchors = set(re.findall(r'id="([^"]+)"', (site / "reference" / "command-line.html").read_text(encoding="utf-8")))
    wanted = set()
    for path, command in _commands(cli, ("holdstate",)):
        wanted.add("-".join(path))
        options = [each for each in command.params if isinstance(each, click.Option) and not each.hidden]
        wanted |= {"-".join(("cmdoption", *path, word.lstrip("-"))) for each in options for word in each.opts}
    assert len(wanted) > 100
    assert wanted - anchors == set()


def test_every_page_of_docs_is_on_the_site(site: Path, project_root: Path) -> None:
    """And in its navigation, or the build would have said so."""
    docs = project_root / "docs"
    pages = [*docs.rglob("*.md"), *docs.rglob("*.rst")]
    missing = [page.name for page in pages if not (site / page.relative_to(docs)).with_suffix(".html").exists()]
    assert missing == []
    navigation = (site / "index.html").read_text(encoding="utf-8").partition('<div class="sidebar-tree">')[2]
    captions = re.findall(r'class="caption-text">([^<]+)<', navigation)
    assert captions == ["Start", "How to", "Reference", "Explanation", "Project"]


def test_links_to_files_lead_to_their_text(site: Path) -> None:
    """A module or an example that a page speaks of can be read on the site."""
    assert 'href="files/examples/webhook_receiver.py.html"' in (site / "webhooks.html").read_text(encoding="utf-8")
    assert "preferred_wait" in (site / "files" / "examples" / "webhook_receiver.py.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[x](nowhere.md)", "nowhere.md"),
        ("[x](#nowhere)", "nowhere"),
        ("![x](nowhere.svg)", "nowhere.svg"),
        ("```{eval-rst}\n.. autoclass:: holdstate.Nowhere\n```", "Nowhere"),
        ("```{eval-rst}\n:class:`holdstate.Nowhere`\n```", "Nowhere"),
        ("```{eval-rst}\n.. autoclass:: undocumented.Undocumented\n```", "'silent' has no docstring"),
        ("```{eval-rst}\n.. autofunction:: undocumented.silent\n```", "silent has no docstring"),
        ("```{eval-rst}\n.. autofunction:: undocumented.vague\n```", "holdstate.Nowhere"),
    ],
    ids=["page", "heading", "picture", "name", "reference", "method", "function", "type"],
)
def test_what_is_wrong_ends_the_build(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, told: str
) -> None:
    """A link to nowhere, a name that is not there or has no docstring, a type that nothing explains: each is told."""
    (tmp_path / "undocumented.py").write_text(UNDOCUMENTED, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text(f"# Page\n\n{text}\n", encoding="utf-8")
    built = build_site(project_root, pages, tmp_path / "built")
    assert built.returncode == 1
    assert told in built.stderr


def test_what_is_right_does_not(project_root: Path, tmp_path: Path) -> None:
    """The same page without a mistake."""
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.md").write_text("# Page\n\n[x](#page)\n", encoding="utf-8")
    built = build_site(project_root, pages, tmp_path / "built")
    assert (built.returncode, built.stderr) == (0, "")
