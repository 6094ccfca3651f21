"""The policy table by hand: what each kind gets, with and without a stated handling mode, idle and busy.

Written from the description of the behaviour; ``*`` stands for every kind that has no line of its own before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import evolve

from ..spec.policy import Policy, PolicyDecision
from ..spec.vocabulary import HandlingMode, InputKind

EXPECTED: Final = """
stated  kind                    apply     wake  busy   mode      consume    interrupt  busy   drain   route  transcript
queue   continuation            start     wake  none   fifo      complete   none       none   turn    queue  no
queue   *                       start     wake  none   fifo      complete   none       none   turn    queue  yes
steer   continuation            boundary  wake  yield  fifo      complete   yield      yield  batch   steer  no
steer   *                       boundary  wake  yield  fifo      complete   yield      yield  batch   steer  yes
-       prompt                  start     wake  none   fifo      complete   none       none   turn    queue  yes
-       peer_response_terminal  start     wake  none   fifo      complete   none       none   turn    queue  yes
-       flow_step               start     wake  none   fifo      complete   none       none   turn    queue  yes
-       external_event          start     wake  none   fifo      complete   none       none   turn    queue  yes
-       peer_message            start     wake  yield  fifo      complete   none       yield  turn    queue  yes
-       peer_request            start     wake  yield  fifo      complete   none       yield  turn    queue  yes
-       peer_response_progress  boundary  none  none   coalesce  complete   none       none   batch   steer  yes
-       continuation            boundary  wake  yield  fifo      complete   yield      yield  batch   steer  no
-       operation               ignore    none  none   priority  on_accept  none       none   ignore  drop   no
"""
OTHERWISE: Final = "start none none fifo complete none none turn queue yes"
WORDS: Final = {
    "start": "stage_run_start",
    "boundary": "stage_run_boundary",
    "complete": "on_run_complete",
    "wake": "wake_if_idle",
    "yield": "interrupt_yielding",
    "turn": "queue_next_turn",
    "batch": "steer_batch",
}
"""What the short words of the text stand for; the others stand for themselves."""


def policy_decisions() -> list[tuple[HandlingMode | None, InputKind, bool, list[str]]]:
    """Handling mode, kind, idle, and the parts of the decision, for every combination, from the text above."""
    rows: dict[tuple[str, str], list[str]] = {}
    for line in EXPECTED.strip().splitlines()[1:]:
        stated, kind, *parts = line.split()
        for each in InputKind if kind == "*" else (InputKind(kind),):
            rows.setdefault((stated, each), parts)
    return [
        (mode, kind, idle, row_parts(rows["-" if mode is None else mode, kind], idle=idle))
        for mode in (*HandlingMode, None)
        for kind in InputKind
        for idle in (True, False)
    ]


def row_parts(row: list[str], *, idle: bool) -> list[str]:
    """The decision that one line of the text gives, in whole words."""
    apply, wake, wake_busy, mode, consume, interrupt, interrupt_busy, drain, route, transcript = row
    interrupted = interrupt if idle else interrupt_busy
    parts = [apply, wake if idle else wake_busy, mode, consume, interrupted, drain, route, transcript, transcript]
    return [WORDS.get(part, part) for part in parts]


def decision_parts(decision: PolicyDecision) -> list[str]:
    """A decision in the words of the text above."""
    flags = (decision.record_transcript, decision.emit_operator_content)
    return [
        decision.apply,
        decision.wake,
        decision.queue_mode,
        decision.consume,
        decision.interrupt,
        decision.drain,
        decision.route,
        *("yes" if flag else "no" for flag in flags),
    ]


def policy_disagreements(policy: Policy) -> Iterator[str]:
    """Every decision of the shipped policy, or of a changed one, that differs from the text."""
    for mode, kind, idle, parts in policy_decisions():
        if decision_parts(policy.resolve(kind, mode, idle=idle)) != parts:
            yield f"{kind}, handling mode {mode}, {'idle' if idle else 'busy'}"
    rest = evolve(policy, by_kind={})
    for idle in (True, False):
        if decision_parts(rest.resolve_by_kind(InputKind.PROMPT, idle=idle)) != row_parts(OTHERWISE.split(), idle=idle):
            yield f"any other kind, {'idle' if idle else 'busy'}"
