"""The two machines by hand: what every event does in every state, for every outcome of its guards.

Written from the description of the behaviour, not from the tables of ``holdstate.spec``, which are held against it by
tests and by ``holdstate test run mutate``.
Rows are an event and a situation, columns are the states before it; a cell is the state after it, or ``-`` where the
event is refused. ``*`` stands for every value of a fact.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import final
from uuid import UUID

from attrs import frozen

RUN, OTHER_RUN, SUCCESSOR = UUID(int=1), UUID(int=2), UUID(int=3)


@final
@frozen
class Cell:
    """``state`` and ``event`` in one situation: the state after it, None where the event is refused."""

    state: str
    event: str
    situation: tuple[tuple[str, str], ...]
    target: str | None

    @property
    def facts(self) -> dict[str, str]:
        return dict(self.situation)


@final
@frozen
class Matrix:
    """``columns`` gives the letter of each state, ``values`` what each fact of a situation may be."""

    text: str
    columns: dict[str, str]
    values: dict[str, tuple[str, ...]]

    def cells(self) -> Iterator[Cell]:
        """One cell for every state, event and combination of facts, in the order of the text."""
        header, *lines = (line.split() for line in self.text.strip().splitlines() if line.strip())
        facts = len(self.values)
        states = [self.columns[letter] for letter in header[1 + facts :]]
        for event, *rest in lines:
            wanted = [self._options(name, text) for name, text in zip(self.values, rest[:facts], strict=True)]
            for chosen in product(*wanted):
                situation = tuple(zip(self.values, chosen, strict=True))
                for state, letter in zip(states, rest[facts:], strict=True):
                    yield Cell(state, event, situation, None if letter == "-" else self.columns[letter])

    def _options(self, fact: str, text: str) -> tuple[str, ...]:
        return self.values[fact] if text == "*" else tuple(text.split("|"))


# run: is the run of the event the last run of the input?  cap: failures with one more, against the cap
INPUT_MATRIX = Matrix(
    columns={
        "A": "accepted",
        "Q": "queued",
        "S": "staged",
        "P": "applied",
        "W": "applied_pending_consumption",
        "C": "consumed",
        "U": "superseded",
        "L": "coalesced",
        "X": "abandoned",
    },
    values={
        "last_run": ("same", "other", "none"),
        "cap": ("below", "at", "above"),
        "receipt": ("lists", "silent"),
    },
    text="""
    event              last_run    cap       receipt   A  Q  S  P  W  C  U  L  X
    queue              *           *         *         Q  -  -  -  -  -  -  -  -
    consume_on_accept  *           *         *         C  -  -  -  -  -  -  -  -
    stage              *           *         *         -  S  -  -  -  -  -  -  -
    rollback           *           *         *         -  -  Q  -  -  -  -  -  -
    rollback_failed    *           below     *         -  -  Q  -  -  -  -  -  -
    rollback_failed    *           at|above  *         -  -  -  -  -  -  -  -  -
    exhaust            *           below     *         -  -  -  -  -  -  -  -  -
    exhaust            *           at|above  *         -  -  X  -  -  -  -  -  -
    apply              same        *         *         -  -  P  -  -  -  -  -  -
    apply              other|none  *         *         -  -  -  -  -  -  -  -  -
    mark_pending       *           *         *         -  -  -  W  -  -  -  -  -
    consume            *           *         *         -  -  -  -  C  -  -  -  -
    supersede          *           *         *         -  U  -  -  -  -  -  -  -
    coalesce           *           *         *         -  L  -  -  -  -  -  -  -
    abandon            *           *         *         X  X  X  X  -  -  -  -  -
    recover_queue      *           *         silent    Q  -  Q  Q  Q  -  -  -  -
    recover_queue      *           *         lists     -  -  -  -  -  -  -  -  -
    recover_consume    *           *         lists     -  -  -  C  C  -  -  -  -
    recover_consume    *           *         silent    -  -  -  -  -  -  -  -  -
    """,
)

# current: the current run, against that of the event.  pre: where the run returns to.  held: an executor has it
RUNTIME_MATRIX = Matrix(
    columns={
        "N": "initializing",
        "I": "idle",
        "A": "attached",
        "R": "running",
        "V": "recovering",
        "T": "retired",
        "S": "stopped",
        "D": "destroyed",
    },
    values={
        "current": ("this", "other", "none"),
        "pre": ("idle", "attached", "retired", "none"),
        "held": ("yes", "no"),
    },
    text="""
    event          current     pre                    held  N  I  A  R  V  T  S  D
    initialize     *           *                      *     I  -  -  -  -  -  -  -
    attach         *           idle                   *     -  A  -  R  -  -  -  -
    attach         *           attached|retired|none  *     -  A  -  -  -  -  -  -
    detach         *           attached               *     -  -  I  R  -  -  -  -
    detach         *           idle|retired|none      *     -  -  I  -  -  -  -  -
    begin_run      none        *                      *     -  R  R  -  -  R  -  -
    begin_run      this|other  *                      *     -  -  -  -  -  -  -  -
    run_completed  this        idle                   *     -  -  -  I  -  T  -  -
    run_completed  this        attached               *     -  -  -  A  -  T  -  -
    run_completed  this        retired                *     -  -  -  T  -  T  -  -
    run_completed  this        none                   *     -  -  -  -  -  T  -  -
    run_completed  other|none  *                      *     -  -  -  -  -  -  -  -
    run_failed     this        idle                   *     -  -  -  I  -  T  -  -
    run_failed     this        attached               *     -  -  -  A  -  T  -  -
    run_failed     this        retired                *     -  -  -  T  -  T  -  -
    run_failed     this        none                   *     -  -  -  -  -  T  -  -
    run_failed     other|none  *                      *     -  -  -  -  -  -  -  -
    run_cancelled  this        idle                   *     -  -  -  I  -  T  -  -
    run_cancelled  this        attached               *     -  -  -  A  -  T  -  -
    run_cancelled  this        retired                *     -  -  -  T  -  T  -  -
    run_cancelled  this        none                   *     -  -  -  -  -  T  -  -
    run_cancelled  other|none  *                      *     -  -  -  -  -  -  -  -
    retire         *           *                      *     -  T  T  T  -  -  -  -
    reset          none        *                      *     I  I  I  -  I  I  -  -
    reset          this|other  *                      *     -  -  -  -  -  -  -  -
    stop           *           *                      *     S  S  S  S  S  S  -  -
    destroy        *           *                      *     D  D  D  D  D  D  D  -
    recover        *           *                      no    -  V  V  V  -  V  -  -
    recover        *           *                      yes   -  -  -  -  -  -  -  -
    recovered      *           retired                *     -  -  -  -  T  -  -  -
    recovered      *           idle|attached|none     *     -  -  -  -  I  -  -  -
    recycle        none        *                      *     -  V  V  -  -  V  -  -
    recycle        this|other  *                      *     -  -  -  -  -  -  -  -
    recycled       *           *                      *     -  -  -  -  I  -  -  -
    resume         *           *                      *     -  -  -  -  I  -  -  -
    """,
)
