"""``holdstate spec diagram``: a machine, or the coupling of the two, as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from ..spec.machine import Machine
from .coupling import NAME, TITLE, coupling_dot, coupling_mermaid
from .coupling_svg import coupling_svg
from .diagram_layout import layout_of
from .diagram_page import diagram_page
from .diagram_parts import parts_of, row_text
from .diagram_svg import svg_of
from .diagrams import dot, mermaid
from .graphviz import rendered
from .machine_markdown import commands_markdown, commands_section, machine_markdown, machine_sections
from .machine_names import machine_of
from .options import option
from .output import ExitCode, write_to

FORMATS: Final = ("svg", "mermaid", "dot", "png", "md", "html")

Drawings = Mapping[str, Callable[[], str]]


def machine_svg(machine: Machine[Any, Any], *, detail: bool = False) -> str:
    """The picture in our own layout; with ``detail``, labels number rows, which are told below."""
    parts = parts_of(machine)
    notes = [
        f"{number}. {row.event}: {text}"
        for number, row in enumerate(machine.transitions, start=1)
        if detail and (text := row_text(row))
    ]
    return svg_of(parts, layout_of(parts, numbered=detail), notes)


def diagram_of(name: str, form: str, *, detail: bool = False, graphviz: bool = False) -> str | bytes:
    """The picture of ``name`` as a text, or as bytes where it is a PNG or Graphviz drew it."""
    draw = _coupling() if name == NAME else _machine(machine_of(name), detail=detail)
    if form == "png" or (form == "svg" and graphviz):
        return rendered(draw["dot"](), form)
    return draw[form]()


def _machine(machine: Machine[Any, Any], *, detail: bool) -> Drawings:
    def page() -> str:
        return diagram_page(machine.name, machine.doc, machine_svg(machine, detail=detail), machine_sections(machine))

    return {
        "svg": lambda: machine_svg(machine, detail=detail),
        "mermaid": lambda: mermaid(machine, detail=detail) + "\n",
        "dot": lambda: dot(machine, detail=detail) + "\n",
        "md": lambda: machine_markdown(machine),
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


@click.command()
@click.argument("name", metavar="MACHINE")
@option("--format", "form", type=click.Choice(FORMATS), default="svg", help="Of the picture; png takes Graphviz.")
@option("--output", "-o", default="-", help="A file, or - for stdout.")
@option("--detail", is_flag=True, help="With conditions and assignments.")
@option("--graphviz", is_flag=True, help="svg: Let Graphviz lay it out.")
def diagram(name: str, *, form: str, output: str, detail: bool, graphviz: bool) -> ExitCode:
    """Draw MACHINE: a shipped one, module:NAME, or `coupling`, which command moves which of the two."""
    if graphviz and form != "svg":
        raise click.UsageError("--graphviz lays out an svg; a png is always by Graphviz")
    if detail and (name == NAME or form == "md"):
        raise click.UsageError("--detail is for machines as pictures; --format md tells everything")
    write_to(output, diagram_of(name, form, detail=detail, graphviz=graphviz))
    return ExitCode.OK
