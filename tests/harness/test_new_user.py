"""A project of a new user, in a folder of its own and in processes of its own: two machines, each with a planted bug,
one of them in an async system. What is written here was first done with nothing but the pages of ``docs/``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from shlex import split

import pytest

from .test_plugin import pytest_in

ROOT = Path(__file__).resolve().parents[2]

LOCKER = """
from enum import StrEnum

from holdstate.spec import Field, Machine, Param, Transition, field, param

State = StrEnum("State", ["EMPTY", "LOADED", "JAMMED", "COLLECTED", "RETURNED"])
Event = StrEnum("Event", ["DEPOSIT", "OPEN", "UNJAM", "REMIND", "SEND_BACK"])
Role = StrEnum("Role", ["COURIER", "OPERATOR"])
code = param("code")
right = code.eq(field("code"))
wrong = field("wrong")
one_more = {"wrong": wrong.plus_one()}

LOCKER = Machine(
    name="parcel locker",
    states=State,
    initial=State.EMPTY,
    terminal={State.COLLECTED, State.RETURNED},
    fields=(Field("code", int, optional=True), Field("wrong", int, default=0), Field("reminders", int, default=0)),
    events={
        Event.DEPOSIT: (Param("code", int),),
        Event.OPEN: (Param("code", int),),
        Event.UNJAM: (Param("who", Role),),
        Event.REMIND: (),
        Event.SEND_BACK: (),
    },
    transitions=(
        Transition(Event.DEPOSIT, State.EMPTY, State.LOADED, guard=code.ge(1000), sets={"code": code}),
        Transition(Event.OPEN, State.LOADED, State.COLLECTED, guard=right),
        Transition(Event.OPEN, State.LOADED, State.LOADED, guard=~right & wrong.lt(2), sets=one_more),
        Transition(Event.OPEN, State.LOADED, State.JAMMED, guard=~right & wrong.ge(2)),
        Transition(Event.UNJAM, State.JAMMED, State.LOADED, guard=param("who").eq(Role.OPERATOR), sets={"wrong": 0}),
        Transition(
            Event.REMIND,
            State.LOADED,
            State.LOADED,
            guard=field("reminders").lt(2),
            sets={"reminders": field("reminders").plus_one()},
        ),
        Transition(Event.SEND_BACK, (State.LOADED, State.JAMMED), State.RETURNED, guard=field("reminders").eq(2)),
    ),
)


class Refused(Exception):
    pass


class Locker:
    refusals = (Refused,)

    def start(self):
        self.now, self.code, self.wrong, self.reminders = "empty", None, 0, 0

    def state(self):
        return self.now

    def fire(self, event, params):
        getattr(self, event)(**params)

    def need(self, holds):
        if not holds:
            raise Refused

    def deposit(self, code):
        self.need(self.now == "empty" and code >= 1000)
        self.now, self.code = "loaded", code

    def open(self, code):
        self.need(self.now == "loaded")
        if code == self.code:
            self.now = "collected"
        elif self.wrong >= 2:
            self.now = "jammed"
        else:
            self.wrong += 1

    def unjam(self, who):
        self.need(self.now == "jammed" and who == "operator")
        self.now = "loaded"  # the bug: what was wrong before still counts

    def remind(self):
        self.need(self.now == "loaded" and self.reminders < 2)
        self.reminders += 1

    def send_back(self):
        self.need(self.now in ("loaded", "jammed") and self.reminders == 2)
        self.now = "returned"
"""

SUBSCRIPTION = '''
from enum import StrEnum

from holdstate.spec import Field, Machine, Param, Transition, field, param

S = StrEnum("S", ["TRIAL", "ACTIVE", "PAST_DUE", "CANCELLED"])
E = StrEnum("E", ["CHARGED", "DECLINED", "CANCEL"])
again = field("retries").plus_one()
LIVE = (S.TRIAL, S.ACTIVE, S.PAST_DUE)

SUBSCRIPTION = Machine(
    name="subscription",
    states=S,
    initial=S.TRIAL,
    terminal={S.CANCELLED},
    fields=(Field("retries", int, default=0),),
    events={E.CHARGED: (), E.DECLINED: (Param("most", int),), E.CANCEL: ()},
    transitions=(
        Transition(E.CHARGED, LIVE, S.ACTIVE, sets={"retries": 0}),
        Transition(E.DECLINED, LIVE[1:], S.PAST_DUE, guard=again.lt(param("most")), sets={"retries": again}),
        Transition(E.DECLINED, LIVE[1:], S.CANCELLED, guard=again.ge(param("most"))),
        Transition(E.CANCEL, LIVE, S.CANCELLED),
    ),
)


class Refused(Exception):
    pass


class Subscription:
    """``stored`` is what a crash leaves."""

    refusals = (Refused,)

    async def start(self):
        self.stored = ("trial", 0)
        await self.restart()

    async def crash(self):
        del self.now, self.retries

    async def restart(self):
        self.now, self.retries = self.stored

    async def state(self):
        return self.now

    async def fields(self):
        return {"retries": self.retries}

    async def fire(self, event, params):
        if self.now == "cancelled" or (self.now == "trial" and event == "declined"):
            raise Refused
        if event == "charged":
            self.now, self.retries = "active", 0
        elif event == "cancel" or self.retries + 1 >= params["most"]:
            self.now = "cancelled"
        else:
            self.now = "past_due"
            self.stored = (self.now, self.retries)  # the bug: counted after it was stored
            self.retries += 1
            return
        self.stored = (self.now, self.retries)
'''

TESTS = """
from hypothesis import settings

from holdstate.tools.harness import all_paths, check_paths, machine_harness, pair_cover, transition_cover
from locker import LOCKER, Locker
from subscription import SUBSCRIPTION, Subscription

QUICK = settings(derandomize=True, database=None, deadline=None)

TestLocker = machine_harness(LOCKER, Locker, settings=QUICK).TestCase
TestSubscription = machine_harness(SUBSCRIPTION, Subscription, settings=QUICK).TestCase


def test_rows_of_the_locker():
    check_paths(LOCKER, Locker, transition_cover(LOCKER))


def test_paths_of_the_locker():
    check_paths(LOCKER, Locker, pair_cover(LOCKER), name="locker, pairs")


def test_paths_of_the_subscription():
    check_paths(SUBSCRIPTION, Subscription, all_paths(SUBSCRIPTION, 3), name="subscription: paths/3")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder."""
    folder = tmp_path_factory.mktemp("project")
    for name, content in (("locker.py", LOCKER), ("subscription.py", SUBSCRIPTION), ("test_mine.py", TESTS)):
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tested(project: Path) -> subprocess.CompletedProcess[str]:
    """The first run of their tests."""
    return pytest_in(project, "--holdstate-coverage=coverage.json")


def replayed(project: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """``holdstate test replay``."""
    command = [sys.executable, "-m", "holdstate", "test", "replay", f".holdstate-failures/{name}", *options]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=project, env=dict(os.environ)
    )


def test_the_planted_bugs_are_caught(tested: subprocess.CompletedProcess[str]) -> None:
    """By random play and along paths, in the sync and in the async system; what does not meet a bug passes."""
    assert tested.returncode == 1, tested.stdout + tested.stderr
    failed = {line.split()[1].partition("::")[2] for line in tested.stdout.splitlines() if line.startswith("FAILED")}
    assert failed == {
        "TestLocker::runTest",
        "TestSubscription::runTest",
        "test_paths_of_the_locker",
        "test_paths_of_the_subscription",
    }


def test_failures_are_told_as_the_shortest_trace_and_no_draws(tested: subprocess.CompletedProcess[str]) -> None:
    """Six steps for the locker, three and a crash for the subscription; nothing of how Hypothesis got there."""
    assert "Draw " not in tested.stdout
    for line in ("  6  open(code=0)", "  2  declined(most=2)", "~ ~ ~ crash ~ ~ ~"):
        assert line in tested.stdout
    assert "  7  " not in tested.stdout
    assert "the states differ: the machine is in loaded, the system in jammed" in tested.stdout
    assert "the fields differ after a crash: retries is 1, the system has 0" in tested.stdout


def test_the_command_that_is_told_can_be_pasted(project: Path, tested: subprocess.CompletedProcess[str]) -> None:
    """Whatever a machine or a test is named: it is one word for the shell, and a file that is there."""
    told = {line.partition("replay it: ")[2] for line in tested.stdout.splitlines() if "replay it: " in line}
    named = {split(command)[3] for command in told}
    assert all(len(split(command)) == 4 for command in told)
    assert named == {
        f".holdstate-failures/{name}.replay.json"
        for name in ("parcel-locker", "locker-pairs", "subscription", "subscription-paths-3")
    }
    assert all((project / name).is_file() for name in named)


@pytest.mark.usefixtures("tested")
@pytest.mark.parametrize(
    ("name", "module", "bug", "mended"),
    [
        ("parcel-locker", "locker.py", 'self.now = "loaded"  # the bug', 'self.wrong, self.now = 0, "loaded"  # was'),
        (
            "subscription",
            "subscription.py",
            "self.stored = (self.now, self.retries)  # the bug",
            "self.stored = (self.now, self.retries + 1)  # was",
        ),
    ],
)
def test_a_failure_is_replayed_shown_and_gone_when_mended(
    project: Path, name: str, module: str, bug: str, mended: str
) -> None:
    """Exit 1 with the same failure, a page and ITF of it; exit 0 once the bug is mended."""
    again = replayed(project, f"{name}.replay.json", "--html=page.html", "--itf=trace.itf.json")
    assert again.returncode == 1
    assert again.stderr.startswith("reproduced; ")
    assert "broken: " in again.stdout
    assert "<script" in (project / "page.html").read_text(encoding="utf-8")
    itf = json.loads((project / "trace.itf.json").read_bytes())
    written = json.loads((project / ".holdstate-failures" / f"{name}.itf.json").read_bytes())
    assert itf["states"] == written["states"]
    assert {"machine_state", "system_state"} <= set(itf["vars"])
    source = project / module
    broken = source.read_text(encoding="utf-8")
    assert bug in broken
    source.write_text(broken.replace(bug, mended), encoding="utf-8")
    try:
        gone = replayed(project, f"{name}.replay.json")
    finally:
        source.write_text(broken, encoding="utf-8")
    assert (gone.returncode, gone.stderr.split(";")[0]) == (0, "nothing fails any more")


def test_coverage_names_rows_pairs_and_refusals_that_were_not_met(
    project: Path, tested: subprocess.CompletedProcess[str]
) -> None:
    """In the terminal and as JSON; rare states with their visits."""
    machines = {each["machine"]: each for each in json.loads((project / "coverage.json").read_bytes())["machines"]}
    locker, subscription = machines["parcel locker"], machines["subscription"]
    assert locker["transitions"] == {"taken": 8, "of": 8}
    assert locker["never_refused"] == ["open in loaded"]
    assert "empty --deposit--> loaded (row 1) then loaded --open--> jammed (row 4)" in locker["pairs_never_taken"]
    assert "past_due --declined--> past_due (row 2)" in {*subscription["taken"], *subscription["never_taken"]}
    section = tested.stdout.partition("holdstate coverage")[2]
    assert "  never refused: open in loaded" in section
    assert "  pairs never taken: empty --deposit--> loaded (row 1) then loaded --open--> jammed (row 4)" in section
    rare = [line for line in section.splitlines() if line.startswith("  rare state: ")]
    assert len(rare) == len(locker["rare_states"]) + len(subscription["rare_states"])
