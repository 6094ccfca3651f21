"""What a crash campaign counted: outcomes by crash point and command, as a table, as JSON, and as one HTML page."""

from __future__ import annotations

import html
from collections import Counter
from typing import Any, Final, final

from attrs import define, field

from .output import ExitCode

OK: Final = "ok"
LOST: Final = "lost"
REPEATED: Final = "repeated"
PARTIAL: Final = "partial"
REFUSED: Final = "refused"
DIED: Final = "died"
UNDECIDED: Final = "undecided"
WRONG: Final = "silently wrong"
DETECTED: Final = "detected"
HARMLESS: Final = "harmless"
VANISHED: Final = "vanished"
WENT_BACK: Final = "went back"
ENDED: Final = "ended the process"
_OF_CRASHES: Final = (OK, LOST, REPEATED, PARTIAL, REFUSED, DIED, UNDECIDED)
"""All is there; acknowledged work is missing; work was done twice; no prefix of the commits, or unsound rows; the store
does not open; the process died; nobody could tell.
"""
_OF_DAMAGE: Final = (DETECTED, HARMLESS, VANISHED, WENT_BACK, ENDED, WRONG, UNDECIDED)
"""Damage was told; it was where nothing is; rows are gone and nothing says so; the store is
the one before its last commit, for LMDB's meta pages have no checksum; mapping the file ended the process; a
content that a row never had was returned; nobody could tell.
"""
_FINE: Final = frozenset({OK, DETECTED, HARMLESS, VANISHED, WENT_BACK, ENDED})
_KEPT: Final = 20

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; }}
table {{ border-collapse: collapse; }}
th, td {{ border: 1px solid #8884; padding: .25rem .6rem; text-align: right; }}
th {{ font-weight: 500; }}
tr > :first-child {{ text-align: left; }}
td.ok {{ background: #2e7d3222; }}
td.bad {{ background: #c6282844; font-weight: 600; }}
td.open {{ background: #ffb30055; }}
</style></head><body>
<h1>{title}</h1><p>{summary}</p>
<table><thead><tr><th>crash point</th>{heads}</tr></thead><tbody>
{rows}
</tbody></table>
{findings}
</body></html>
"""


@final
@define
class CrashReport:
    """Counts of a crash campaign. ``cases`` are all checks, ``facts`` what else is worth telling, by name."""

    kind: str
    seed: int
    control: str = ""
    cases: int = 0
    outcomes: Counter[str] = field(factory=Counter)
    matrix: dict[tuple[str, str], Counter[str]] = field(factory=dict)
    facts: dict[str, int | float | str] = field(factory=dict)
    findings: list[str] = field(factory=list)
    """The first of each outcome, crash point and command, with what it takes to repeat it."""

    def count(self, point: str, command: str, outcome: str, finding: str = "") -> None:
        """One case."""
        self.cases += 1
        self.outcomes[outcome] += 1
        counts = self.matrix.setdefault((point, command), Counter())
        counts[outcome] += 1
        if finding and counts[outcome] == 1 and len(self.findings) < _KEPT:
            self.findings.append(f"{outcome}: {point}, {command}: {finding}")

    @property
    def known(self) -> tuple[str, ...]:
        """The outcomes that a case of this kind may have."""
        return _OF_DAMAGE if self.kind == "flip" else _OF_CRASHES

    @property
    def bad(self) -> int:
        """Cases that broke a promise."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in _FINE and outcome != UNDECIDED)

    @property
    def code(self) -> ExitCode:
        """1 when a promise was broken, 3 when not every case could be decided."""
        if self.bad:
            return ExitCode.FINDING
        return ExitCode.UNDECIDED if self.outcomes[UNDECIDED] or not self.cases else ExitCode.OK

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "kind": self.kind,
            "seed": self.seed,
            "control": self.control,
            "cases": self.cases,
            "outcomes": {outcome: self.outcomes[outcome] for outcome in self.known},
            "facts": self.facts,
            "matrix": [
                {"point": point, "command": command, **dict(counts)} for (point, command), counts in self.matrix.items()
            ],
            "findings": self.findings,
        }

    # -- the matrix ----------------------------------------------------------------------------------------------

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Columns and rows of the matrix: a row for each crash point, a column for each command."""
        commands = list(dict.fromkeys(command for _, command in self.matrix))
        points = dict.fromkeys(point for point, _ in self.matrix)
        rows = [
            [point, *(_cell(self.known, self.matrix.get((point, command))) for command in commands)] for point in points
        ]
        return ["crash point", *commands], rows

    def page(self) -> str:
        """The matrix as one HTML page that needs nothing else."""
        columns, rows = self.table()
        body = "\n".join(
            f"<tr><th>{html.escape(point)}</th>{''.join(_html_cell(cell) for cell in cells)}</tr>"
            for point, *cells in rows
        )
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        summary = f"kind {self.kind}, seed {self.seed}, {self.cases} cases, {self.bad} broken; {facts}"
        if self.control:
            summary = f"control: {self.control}; {summary}"
        listed = "".join(f"<li>{html.escape(each)}</li>" for each in self.findings)
        return _PAGE.format(
            title="Crash matrix",
            summary=html.escape(summary),
            heads="".join(f"<th>{html.escape(each)}</th>" for each in columns[1:]),
            rows=body,
            findings=f"<h2>Findings</h2><ul>{listed}</ul>" if listed else "",
        )


def _cell(known: tuple[str, ...], counts: Counter[str] | None) -> str:
    if counts is None:
        return ""
    return ", ".join(f"{outcome} {counts[outcome]}" for outcome in known if counts[outcome])


def _html_cell(cell: str) -> str:
    words = {each.rpartition(" ")[0] for each in cell.split(", ") if each}
    kind = "" if not words else "bad" if words - _FINE - {UNDECIDED} else "open" if UNDECIDED in words else "ok"
    return f'<td class="{kind}">{html.escape(cell)}</td>'
