"""A machine, or the command table, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

from attrs import frozen

from ..spec.commands import COMMANDS, CommandRow, Rule
from ..spec.expressions import TRUE, value_text
from ..spec.machine import Machine

_ROWS: Final = "Several rows for one event and state are tried in this order. An event without a row is refused."
_COMMANDS: Final = "Which command moves which machine. An input takes the first rule that fits its state."


@final
@frozen
class Section:
    """A table with its title. Cells are Markdown: code, and ``<br>``."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    text: str = ""

    def markdown(self, level: str = "##") -> str:
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return "\n\n".join(part for part in (f"{level} {self.title}", self.text, table) if part)


def machine_markdown(machine: Machine[Any, Any], caption: Sequence[str] = (), figures: Sequence[Section] = ()) -> str:
    """States, fields, events and rows; what is not in the rows is refused. Figures, if there are any, come first."""
    sections = (*figures, *machine_sections(machine))
    parts = (f"# {machine.name}", plain(machine.doc), *map(plain, caption), *(each.markdown() for each in sections))
    return "\n\n".join(part for part in parts if part) + "\n"


def machine_sections(machine: Machine[Any, Any]) -> tuple[Section, ...]:
    """The tables of a machine."""
    left = {state: [str(row.event) for row in machine.transitions if state in row.source] for state in machine.states}
    states = [
        (code(str(state)), _role(machine, state), ", ".join(map(code, dict.fromkeys(events))))
        for state, events in left.items()
    ]
    fields = [
        (
            code(each.name),
            f"{each.type.__name__}{', or none' if each.optional else ''}",
            code(value_text(each.default)),
        )
        for each in machine.fields
    ]
    events = [
        (
            code(str(event)),
            ", ".join(
                f"`{each.name}` ({each.type.__name__}{', optional' if each.optional else ''})" for each in params
            ),
        )
        for event, params in machine.events.items()
    ]
    rows = [
        (
            str(number),
            code(str(row.event)),
            ", ".join(map(code, map(str, row.source))),
            code(str(row.target)),
            "" if row.guard == TRUE else code(row.guard.text()),
            ", ".join(code(f"{name} = {value.text()}") for name, value in row.sets),
            ", ".join(map(code, map(str, row.emits))),
            plain(row.doc),
        )
        for number, row in enumerate(machine.transitions, start=1)
    ]
    return (
        Section("States", ("state", "", "events"), states),
        *([Section("Fields", ("field", "type", "at first"), fields)] if fields else []),
        Section("Events", ("event", "parameters"), events),
        Section("Rows", ("", "event", "from", "to", "if", "sets", "emits", "which means"), rows, _ROWS),
    )


def commands_markdown() -> str:
    """Which command moves which machine, and what its commit holds."""
    return commands_section().markdown("#") + "\n"


def commands_section() -> Section:
    """The command table."""
    rows = [
        (
            code(str(row.name)),
            "" if row.needs == TRUE else code(row.needs.text()),
            ", ".join(map(code, row.sends)),
            "<br>".join(f"{group.select}: {rules}" for group, rules in zip(row.inputs, _groups(row), strict=True)),
            ", ".join(sorted(row.commits)) or "nothing",
            plain(row.doc),
        )
        for row in COMMANDS.values()
    ]
    return Section("Commands", ("command", "needs", "runtime", "inputs", "commits", "which means"), rows, _COMMANDS)


def _groups(row: CommandRow) -> list[str]:
    return ["; ".join(_rule(rule) for rule in group.rules) for group in row.inputs]


def _rule(rule: Rule) -> str:
    sends = ", ".join(code(str(send.event)) for send in rule.sends)
    when = "" if rule.when == TRUE else f" if {code(rule.when.text())}"
    then = "".join(f", then {_rule(each)}" for each in rule.then)
    return f"{', '.join(map(code, map(str, rule.states)))} {sends}{when}{then}"


def _role(machine: Machine[Any, Any], state: object) -> str:
    if state == machine.initial:
        return "initial"
    return "terminal" if state in machine.terminal else ""


def code(text: str) -> str:
    """Code in a cell: bars would end it, and backquotes the code."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text}{ticks}".replace("|", "\\|")


def plain(text: str) -> str:
    """Text in a cell, on one line."""
    return " ".join(text.replace("|", "\\|").split())
