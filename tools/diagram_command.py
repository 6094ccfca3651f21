"""``holdstate spec diagram``: a machine, or the coupling of the two, as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import click

from ..spec.machine import Machine
from ..stores.lmdb_store import LmdbStore
from .coupling import NAME, TITLE, coupling_dot, coupling_mermaid
from .coupling_svg import coupling_svg
from .diagram_coverage import coverage_overlay
from .diagram_layout import layout_of
from .diagram_live import live_overlay
from .diagram_overlay import Overlay
from .diagram_page import diagram_page
from .diagram_parts import parts_of, row_text
from .diagram_svg import svg_of
from .diagrams import dot, mermaid
from .graphviz import rendered
from .machine_markdown import commands_markdown, commands_section, machine_markdown, machine_sections
from .machine_names import MACHINES, machine_of
from .options import STORE, option, runtime_id
from .output import ExitCode, write_to

FORMATS: Final = ("svg", "mermaid", "dot", "png", "md", "html")

Drawings = Mapping[str, Callable[[], str]]


def machine_svg(machine: Machine[Any, Any], *, detail: bool = False, overlay: Overlay | None = None) -> str:
    """The picture in our own layout; with ``detail``, labels number rows, which are told below. With an overlay it has
    figures, and its caption.
    """
    parts = parts_of(machine)
    notes = () if overlay is None else overlay.caption
    return svg_of(parts, layout_of(parts, numbered=detail, overlay=overlay), (*notes, *_rows(machine, detail=detail)))


def _rows(machine: Machine[Any, Any], *, detail: bool) -> list[str]:
    return [
        f"{number}. {row.event}: {text}"
        for number, row in enumerate(machine.transitions, start=1)
        if detail and (text := row_text(row))
    ]


def diagram_of(
    name: str, form: str, *, detail: bool = False, graphviz: bool = False, overlay: Overlay | None = None
) -> str | bytes:
    """The picture of ``name`` as a text, or as bytes where it is a PNG or Graphviz drew it."""
    draw = _coupling() if name == NAME else _machine(machine_of(name, (NAME,)), overlay, detail=detail)
    if form == "png" or (form == "svg" and graphviz):
        return rendered(draw["dot"](), form)
    return draw[form]()


def _machine(machine: Machine[Any, Any], overlay: Overlay | None, *, detail: bool) -> Drawings:
    caption, figures = ((), ()) if overlay is None else (overlay.caption, overlay.sections)

    def page() -> str:
        parts = parts_of(machine)
        # What the page says as text is not said in the picture.
        drawn = svg_of(parts, layout_of(parts, numbered=detail, overlay=overlay), _rows(machine, detail=detail))
        return diagram_page(machine.name, machine.doc, drawn, (*figures, *machine_sections(machine)), caption)

    return {
        "svg": lambda: machine_svg(machine, detail=detail, overlay=overlay),
        "mermaid": lambda: mermaid(machine, detail=detail, overlay=overlay) + "\n",
        "dot": lambda: dot(machine, detail=detail, overlay=overlay) + "\n",
        "md": lambda: machine_markdown(machine, caption, figures),
        "html": page,
    }


def _coupling() -> Drawings:
    return {
        "svg": coupling_svg,
        "mermaid": lambda: coupling_mermaid() + "\n",
        "dot": lambda: coupling_dot() + "\n",
        "md": commands_markdown,
        "html": lambda: diagram_page(NAME, TITLE, coupling_svg(), (commands_section(),)),
    }


def overlay_of(name: str, store: str | None, runtime: str | None, coverage: str | None) -> Overlay | None:
    """The figures that the options ask for. UsageError where they ask for what there cannot be."""
    if runtime is not None and store is None:
        raise click.UsageError("--runtime is a runtime of a store; name the store with --store")
    if store is not None and coverage is not None:
        raise click.UsageError("give one of --store and --coverage; a picture shows one or the other")
    if store is None and coverage is None:
        return None
    if name == NAME:
        raise click.UsageError(f"--store and --coverage are for machines; {NAME} has no states of its own")
    if coverage is not None:
        return coverage_overlay(machine_of(name), coverage)
    if name not in MACHINES:
        raise click.UsageError(f"a store keeps {' and '.join(MACHINES)}; --store has nothing to tell about {name}")
    assert store is not None, "the other one is given"
    with LmdbStore.open(store, read_only=True) as opened:
        return live_overlay(opened, MACHINES[name], runtime, datetime.now(UTC))


@click.command()
@click.argument("name", metavar="MACHINE")
@option("--format", "form", type=click.Choice(FORMATS), default="svg", help="Of the picture; png takes Graphviz.")
@option("--output", "-o", default="-", help="A file, or - for stdout.")
@option("--detail", is_flag=True, help="With conditions and assignments.")
@option("--graphviz", is_flag=True, help="svg: Let Graphviz lay it out.")
@option("--store", type=STORE, metavar="PATH", help="With counts, ages and rates from this store.")
@option("--runtime", metavar="NAME", type=runtime_id, help="--store: Of this runtime only.")
@option("--coverage", metavar="FILE", help="With what tests took: a file of --holdstate-coverage, or - for stdin.")
def diagram(
    name: str,
    *,
    form: str,
    output: str,
    detail: bool,
    graphviz: bool,
    store: str | None,
    runtime: str | None,
    coverage: str | None,
) -> ExitCode:
    """Draw MACHINE: a shipped one, module:NAME, or `coupling`, which command moves which of the two."""
    if graphviz and form != "svg":
        raise click.UsageError("--graphviz lays out an svg; a png is always by Graphviz")
    if detail and (name == NAME or form == "md"):
        raise click.UsageError("--detail is for machines as pictures; --format md tells everything")
    overlay = overlay_of(name, store, runtime, coverage)
    write_to(output, diagram_of(name, form, detail=detail, graphviz=graphviz, overlay=overlay))
    return ExitCode.OK
