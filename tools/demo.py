"""Kill ``holdstate run`` in the middle of its work, as often as wanted, and look what became of every line.

``python -m holdstate.tools.demo`` runs on the webhooks of examples/; ``--input FILE --kills N`` on others of that form.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TextIO, final

import click
from attrs import define, frozen

from ..runtime.records import InputRecord
from ..runtime.store import InputFilter
from ..spec.errors import HoldstateError
from ..spec.vocabulary import InputState
from ..stores.lmdb_store import LmdbStore
from .options import FiniteRange
from .output import ExitCode, call_alone, note, write_result, write_table

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"
RUNTIME_FIELD: Final = "payload.repository.full_name"
POLL_SECONDS: Final = 0.002
LONGEST_WAIT_SECONDS: Final = 60.0
FAR_AHEAD: Final = 1_000_000


@final
class DemoFailed(HoldstateError):
    """The demonstration could not be carried out."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


@final
@frozen
class Scene:
    """Where everything is, and how long each run takes."""

    folder: Path
    lines: Path
    seconds: float

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def log(self) -> Path:
        return self.folder / "handler.log"

    def command(self) -> list[str]:
        """The command that is started, killed, and started again."""
        handler = [sys.executable, str(EXAMPLES / "webhook_handler.py")]
        options = ["--log", str(self.log), "--seconds", str(self.seconds)]
        run = [sys.executable, "-m", "holdstate", "run", str(self.lines), "--store", str(self.store)]
        # A crash counts as a failure of the run that it hit, and any number of them may hit the same one here.
        rules = ["--runtime-field", RUNTIME_FIELD, "--max-attempts", str(FAR_AHEAD)]
        return [*run, *rules, "--exec", shlex.join([*handler, *options])]


@final
@define
class Log:
    """The handler's own log, read while it grows."""

    path: Path
    _offset: int = 0

    def new_entries(self) -> Iterator[dict[str, Any]]:
        """The entries that were added since the last call; a line that is still being written is left for the next."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield json.loads(line)


def _kill_in_the_middle(scene: Scene, log: Log, runs_before: int) -> bool:
    """Start the command, let it end some runs, and kill it inside the next one. False when it was done before that."""
    with (scene.folder / "killed.out").open("ab") as output:
        process = subprocess.Popen(scene.command(), stdout=output, stderr=subprocess.DEVNULL, start_new_session=True)
    ended = 0
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while process.poll() is None:
        for entry in log.new_entries():
            ended += entry["step"] == "ended"
            if entry["step"] == "started" and ended >= runs_before:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            raise DemoFailed(f"no run ended for {LONGEST_WAIT_SECONDS:g} s; the log is {log.path}")
        time.sleep(POLL_SECONDS)
    return False


def _finish(scene: Scene, stderr: TextIO) -> list[dict[str, Any]]:
    """Let the command end; its answers."""
    done = subprocess.run(scene.command(), stdout=subprocess.PIPE, stderr=stderr, text=True, check=False)
    if done.returncode != 0:
        raise DemoFailed(f"holdstate run ended with exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


# -- what became of it ---------------------------------------------------------------------------------------------


@final
@frozen
class Figures:
    """What the store and the handler's log say of all lines."""

    lines: int
    killed: int
    accepted: int
    executions: int
    consumed: int
    executed_again: int
    answered_once: int
    lost: int
    consumed_twice: int
    out_of_order: int
    findings: int

    @property
    def promises_held(self) -> bool:
        """Whether every line was consumed once and in order, and the store is sound."""
        broken = (self.lost, self.consumed_twice, self.out_of_order, self.findings)
        return not any(broken) and self.lines == self.accepted == self.consumed == self.answered_once


def _stored_inputs(store: LmdbStore) -> dict[str, list[InputRecord]]:
    """Every input by runtime, in order of admission."""
    found: dict[str, list[InputRecord]] = {}
    for runtime in store.list_runtimes(limit=FAR_AHEAD):
        found[runtime.runtime_id] = list(store.list_inputs(InputFilter(runtime.runtime_id), limit=FAR_AHEAD).records)
    return found


def _inversions(order: Sequence[int]) -> int:
    return sum(later < earlier for earlier, later in pairwise(order))


def _figures(scene: Scene, killed: int, answers: Sequence[dict[str, Any]]) -> Figures:
    lines = sum(bool(line.strip()) for line in scene.lines.read_text(encoding="utf-8").splitlines())
    entries = list(Log(scene.log).new_entries())
    starts = Counter(key for entry in entries if entry["step"] == "started" for key in entry["keys"])
    with LmdbStore.open(scene.store, read_only=True) as store:
        inputs = _stored_inputs(store)
        receipts = sum(runtime.counts.receipts for runtime in store.list_runtimes(limit=FAR_AHEAD))
        findings = len(store.verify())
    records = [record for each in inputs.values() for record in each]
    consumed = [record for record in records if record.state is InputState.CONSUMED]
    line_of = {answer["key"]: answer["line"] for answer in answers}
    # The file gives the order; in the store it must be that of admission and that of consumption.
    admitted = [[line_of.get(record.admission.idempotency_key, 0) for record in each] for each in inputs.values()]
    ended = [sorted(each, key=lambda record: record.history[-1].at) for each in inputs.values()]
    consumption = [[record.order for record in each] for each in ended]
    return Figures(
        lines=lines,
        killed=killed,
        accepted=len(records),
        executions=sum(starts.values()),
        consumed=len(consumed),
        executed_again=sum(count > 1 for count in starts.values()),
        answered_once=sum(count == 1 for count in Counter(answer["line"] for answer in answers).values()),
        lost=lines - len({record.admission.idempotency_key for record in consumed}),
        consumed_twice=receipts - len(consumed),
        out_of_order=sum(map(_inversions, [*admitted, *consumption])),
        findings=findings,
    )


def _show(figures: Figures) -> None:
    rows = [
        ("lines in the file", figures.lines),
        ("times killed in the middle of a run", figures.killed),
        ("inputs accepted", figures.accepted),
        ("executions of the handler", figures.executions),
        ("inputs consumed", figures.consumed),
        ("lines answered once by the last command", figures.answered_once),
        ("executed more than once", figures.executed_again),
        ("lost", figures.lost),
        ("consumed twice", figures.consumed_twice),
        ("out of order within a runtime", figures.out_of_order),
        ("findings of the auditor", figures.findings),
    ]
    write_table(("by the store and the handler's own log", ""), rows)


@click.command()
@click.option("--input", "lines", type=click.Path(exists=True, dir_okay=False), help="JSON Lines of GitHub webhooks.")
@click.option("--kills", default=1, show_default=True, type=click.IntRange(0), help="How often the command is killed.")
@click.option("--seconds", default=0.05, show_default=True, type=FiniteRange(0), help="How long each run takes.")
@click.option("--seed", type=int, help="Of the random places where it is killed; default: a new one.")
def demo(lines: str | None, kills: int, seconds: float, seed: int | None) -> ExitCode:
    """Work off webhooks, kill everything in the middle, start again, and count."""
    source = Path(lines) if lines is not None else EXAMPLES / "github-webhooks.jsonl"
    if not source.exists() or not (EXAMPLES / "webhook_handler.py").exists():
        raise DemoFailed("the demonstration needs the examples/ of the source tree, which an installed package lacks")
    seed = random.randrange(FAR_AHEAD) if seed is None else seed
    chance = random.Random(seed)
    count = sum(1 for _ in source.open("rb"))
    with tempfile.TemporaryDirectory(prefix="holdstate-demo-") as folder:
        scene = Scene(Path(folder), source, seconds)
        write_result(f"holdstate run {source.name}, {count} webhooks, killed {kills} times (seed {seed})")
        log = Log(scene.log)
        killed = 0
        for number in range(kills):
            # Spread over the file: on average so many runs are left before each of the kills that are to come.
            if not _kill_in_the_middle(scene, log, chance.randrange(max(count // kills, 1))):
                break
            killed += 1
            write_result(f"  killed with SIGKILL inside run {_begun(scene)}; started again ({number + 1} of {kills})")
        answers = _finish(scene, sys.stderr)
        figures = _figures(scene, killed, answers)
    _show(figures)
    note("every promise held" if figures.promises_held else "a promise was broken")
    return ExitCode.OK if figures.promises_held else ExitCode.FINDING


def _begun(scene: Scene) -> int:
    return sum(entry["step"] == "started" for entry in Log(scene.log).new_entries())


def main() -> None:
    """Exit code 0 when every promise held."""
    sys.exit(call_alone(demo, ExitCode.FINDING))


if __name__ == "__main__":
    main()
