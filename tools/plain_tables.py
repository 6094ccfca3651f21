"""The tables that are no machines: commands, the policy, and what always has to hold. As text, for people."""

from __future__ import annotations

from typing import Final, final

from attrs import frozen

from ..spec.commands import COMMANDS, CommandRow
from ..spec.expressions import TRUE
from ..spec.invariants import INVARIANTS
from ..spec.policy import DEFAULT_POLICY, Policy, PolicyRow
from ..spec.relations import RELATIONS
from ..spec.step_properties import STEP_PROPERTIES
from .machine_markdown import Section, code, plain

GENERATED: Final = ("policy", "properties")
"""Of these there is a page of their own; the commands are in that of the coupling."""

_STATED: Final = "handling mode {}, whatever the kind"
_OTHERWISE: Final = "any other kind"
_POLICY_COLUMNS: Final = (
    *("input", "apply", "wakes an idle runtime", "wakes a busy one", "queue", "consumed"),
    *("interrupts an idle runtime", "interrupts a busy one", "drained", "lane", "transcript"),
)


@final
@frozen
class PlainTable:
    """Rows of text. The first column names the row."""

    doc: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self, title: str) -> str:
        """A page with nothing else."""
        rows = [(code(first) if first.isidentifier() else first, *map(plain, rest)) for first, *rest in self.rows]
        return Section(title, self.columns, rows, self.doc).markdown("#") + "\n"


def plain_tables() -> dict[str, PlainTable]:
    """Each by its name."""
    return {
        "commands": PlainTable(
            "What each command does to the runtime and its inputs.",
            ("command", "needs", "sends", "inputs", "doc"),
            tuple(_command(row) for row in COMMANDS.values()),
        ),
        "policy": _policy(DEFAULT_POLICY),
        "properties": PlainTable("What always has to hold.", ("name", "of", "what holds"), _properties()),
    }


def _command(row: CommandRow) -> tuple[str, ...]:
    needs = "" if row.needs == TRUE else row.needs.text()
    return (str(row.name), needs, ", ".join(row.sends), "; ".join(group.select for group in row.inputs), row.doc)


def _properties() -> tuple[tuple[str, ...], ...]:
    invariants = [(each.name, each.scope.value, each.doc) for each in INVARIANTS.values()]
    steps = [(each.name, "step", each.doc) for each in STEP_PROPERTIES.values()]
    relations = [(name, "relation", doc) for name, doc in RELATIONS.items()]
    return (*invariants, *steps, *relations)


def _policy(policy: Policy) -> PlainTable:
    rows = [(_STATED.format(mode), row) for mode, row in policy.by_handling_mode.items()]
    rows += [(str(kind), row) for kind, row in policy.by_kind.items()]
    silent = ", ".join(sorted(policy.silent_transcript))
    return PlainTable(
        "What is decided for an input when it is admitted: by the handling mode that it states, else by its kind. "
        f"Where a handling mode decides, {silent} stays out of the transcript still. Version {policy.version}.",
        _POLICY_COLUMNS,
        tuple((name, *_decided(row)) for name, row in [*rows, (_OTHERWISE, policy.otherwise)]),
    )


def _decided(row: PolicyRow) -> tuple[str, ...]:
    parts = (row.apply, row.wake, row.wake_busy, row.queue_mode, row.consume, row.interrupt, row.interrupt_busy)
    return (*map(str, parts), str(row.drain), str(row.route), "yes" if row.transcript else "no")
