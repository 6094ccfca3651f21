"""What a crash campaign counted: outcomes by crash point and command, as a table and as JSON."""

from __future__ import annotations

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
_OF_DAMAGE: Final = (DETECTED, HARMLESS, VANISHED, WENT_BACK, ENDED, WRONG, UNDECIDED)
MEANINGS: Final = {
    OK: "all is there",
    LOST: "acknowledged work is missing",
    REPEATED: "work was done twice",
    PARTIAL: "no prefix of the commits, or unsound rows",
    REFUSED: "the store does not open",
    DIED: "the process died",
    UNDECIDED: "nobody could tell",
    DETECTED: "the damage was told",
    HARMLESS: "it was where nothing is",
    VANISHED: "rows are gone and nothing says so",
    WENT_BACK: "the store is the one before its last commit: LMDB's meta pages have no checksum",
    ENDED: "mapping the file ended the process",
    WRONG: "a content that a row never had was returned",
}
"""What each outcome says."""
_FINE: Final = frozenset({OK, DETECTED, HARMLESS, VANISHED, WENT_BACK, ENDED})
_KEPT: Final = 20
_LONGEST: Final = 600
"""Characters of a finding: what was stored may be long."""


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
            self.findings.append(f"{outcome}: {point}, {command}: {_shortened(finding)}")

    @property
    def known(self) -> tuple[str, ...]:
        """The outcomes that a case of this kind may have."""
        return _OF_DAMAGE if self.kind == "flip" else _OF_CRASHES

    @property
    def bad(self) -> int:
        """Cases that broke a promise."""
        return sum(count for outcome, count in self.outcomes.items() if self.is_bad(outcome))

    @staticmethod
    def is_bad(outcome: str) -> bool:
        """It breaks a promise."""
        return outcome not in _FINE and outcome != UNDECIDED

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


def _shortened(finding: str) -> str:
    """Its middle left out where it is long: what it takes to repeat it stands at its end."""
    half = _LONGEST // 2
    return finding if len(finding) <= _LONGEST else f"{finding[:half]} … {finding[-half:]}"


def _cell(known: tuple[str, ...], counts: Counter[str] | None) -> str:
    if counts is None:
        return ""
    return ", ".join(f"{outcome} {counts[outcome]}" for outcome in known if counts[outcome])
