"""Figures on pictures: what a store holds, and what a test run took."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdstate import LmdbStore, PersistentRuntimeDriver, PromptInput, Retention, RunOutput, RuntimeSettings
from holdstate.runtime.environment import Environment
from holdstate.spec import INPUT_LIFECYCLE, RUNTIME_STATE, TRUE, Machine
from holdstate.spec.vocabulary import InputEvent, InputState
from holdstate.tools.diagram_command import machine_svg
from holdstate.tools.diagram_layout import layout_of
from holdstate.tools.diagram_live import live_overlay
from holdstate.tools.diagram_overlay import Overlay
from holdstate.tools.diagram_parts import parts_of
from holdstate.tools.diagrams import dot
from holdstate.tools.harness.coverage import Coverage, edges_of
from holdstate.tools.store_survey import survey

from .pictures import machines, problems
from .support import call

SHIPPED = (INPUT_LIFECYCLE, RUNTIME_STATE)
EPOCH = datetime.fromisoformat("2026-03-01T12:00:00+00:00")


def draw(*words: object) -> str:
    """What ``spec diagram`` gives."""
    result = call("spec", "diagram", *words)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def words_of(svg: str) -> list[str]:
    """Every text of a picture."""
    return [html.unescape(each) for each in re.findall(r">([^<>]+)</text>", svg)]


def dashed(overlay: Overlay, machine: Machine[Any, Any]) -> set[tuple[str, str]]:
    """The lines that are dashed, by source and target."""
    lines = layout_of(parts_of(machine), overlay=overlay).lines
    return {(line.source, line.target) for line in lines if line.is_unreached}


# -- a store -------------------------------------------------------------------------------------------------------


def test_a_store_that_was_killed_shows_what_is_where(crashed: Path) -> None:
    """Counts in the states, counts on the edges, and zero on those that nothing took."""
    words = words_of(draw("input_lifecycle", "--store", crashed))
    assert [each for each in words if re.fullmatch(r"\d+ inputs?", each)] == ["1 input"] * 4
    for told in ("queue ×4", "stage ×5", "rollback_failed ×2", "exhaust ×1", "consume ×1", "recover_queue ×0"):
        assert [each for each in words if each.startswith(told)], (told, words)
    assert "not taken" in words
    assert "store, 1 runtime, at " in " ".join(words)
    assert "4 inputs, 2 of them active." in " ".join(words)


def test_what_recovery_took_is_no_longer_dashed(crashed: Path, recovered: Path) -> None:
    """The edge from staged back to queued, and no other one of recovery."""
    for store, is_taken in ((crashed, False), (recovered, True)):
        with LmdbStore.open(store, read_only=True) as opened:
            overlay = live_overlay(opened, INPUT_LIFECYCLE, None, datetime.now().astimezone())
        parts = parts_of(INPUT_LIFECYCLE)
        lines = [
            line
            for line in layout_of(parts, overlay=overlay).lines
            if line.kind == "recovery" and line.source == "staged"
        ]
        assert [not line.is_unreached for line in lines] == [is_taken]
        never = {("queued", "superseded"), ("applied", "abandoned"), ("applied", "queued")}
        assert never <= dashed(overlay, INPUT_LIFECYCLE)


def test_ages_and_rates_are_those_of_the_histories(tmp_path: Path) -> None:
    """By a clock of the test: one input is staged for a minute, two wait for two and four."""
    now = [EPOCH]

    async def fill(store: LmdbStore) -> None:
        environment = Environment(now=lambda: now[0])
        driver = await PersistentRuntimeDriver.open("chat", store, environment=environment)
        for number in range(3):
            await driver.accept_input(PromptInput.new(f"{number}"))
            now[0] += timedelta(minutes=2)
        await driver.begin_run()

    with LmdbStore.open(tmp_path / "store") as store:
        asyncio.run(fill(store))
        overlay = live_overlay(store, INPUT_LIFECYCLE, "chat", EPOCH + timedelta(minutes=10))
    assert overlay.states == {
        "queued": ("2 inputs", "median 7 min", "oldest 8 min"),
        "staged": ("1 input", "for 4 min"),
    }
    counts = {edge: count for edge, count in (overlay.edges or {}).items() if count}
    rows = [row.event for row in INPUT_LIFECYCLE.transitions]
    assert counts == {
        ("accepted", rows.index(InputEvent.QUEUE)): 3,
        ("queued", rows.index(InputEvent.STAGE)): 1,
    }
    assert overlay.seconds == 360
    assert overlay.mark([("accepted", rows.index(InputEvent.QUEUE))]) == "×3 · 0.5/min"
    assert overlay.caption[0] == "store, runtime chat, at 2026-03-01 12:10:00 UTC: 3 inputs, 3 of them active."
    assert overlay.caption[1].endswith("over 6 min from 2026-03-01 12:00:00 UTC on, which is all of them.")


def test_what_is_no_longer_kept_is_told(tmp_path: Path) -> None:
    """Transitions that full histories dropped, and inputs that retention removed: neither is counted as nothing."""

    async def fill(store: LmdbStore) -> None:
        settings = RuntimeSettings(max_history=2)
        driver = await PersistentRuntimeDriver.open("chat", store, settings=settings)
        for number in range(3):
            await driver.accept_input(PromptInput.new(f"{number}"))
            run = await driver.begin_run()
            assert run is not None
            await driver.complete_run(run, RunOutput())
            if not number:
                later = datetime.now().astimezone() + timedelta(days=1)
                store.prune(Retention(keep_ended_seconds=1), now=later)

    with LmdbStore.open(tmp_path / "store") as store:
        asyncio.run(fill(store))
        found = survey(store)
        overlay = live_overlay(store, INPUT_LIFECYCLE, None, datetime.now().astimezone())
    assert (found.dropped, found.pruned, found.states[InputState.CONSUMED]) == (6, 1, 2)
    assert "6 older transitions, which histories that are full have dropped" in overlay.caption[1]
    assert "those of 1 ended input that retention removed" in overlay.caption[1]


def test_runtimes_are_counted_by_their_states(crashed: Path, recovered: Path) -> None:
    """No edge is dashed: nobody counted them, which the caption says."""
    for store, state in ((crashed, "running"), (recovered, "idle")):
        for more in ((), ("--runtime", "main")):
            text = draw("runtime_state", "--store", store, *more)
            words = words_of(text)
            assert words[words.index(state) + 1] == "1 runtime"
            assert "stroke-dasharray" in text
            assert 'class="wire step unreached"' not in text
            assert "×" not in " ".join(words)
            said = " ".join(" ".join(words).split())
            assert "of its own state a runtime keeps no history, so no edge has a count" in said


def test_an_empty_store_is_told_as_one(tmp_path: Path) -> None:
    """Nothing in any state, no transition, no division by zero."""
    LmdbStore.open(tmp_path / "store").close()
    words = " ".join(" ".join(words_of(draw("input_lifecycle", "--store", tmp_path / "store"))).split())
    assert "0 inputs, 0 of them active. No transition is kept with any of them." in words
    assert draw("runtime_state", "--store", tmp_path / "store", "--format", "md").count("none") >= len(
        RUNTIME_STATE.states
    )


def test_looking_at_a_store_changes_nothing(crashed: Path) -> None:
    """Not a byte (C39)."""
    before = (crashed / "data.mdb").read_bytes()
    for form in ("svg", "html"):
        draw("input_lifecycle", "--store", crashed, "--format", form)
    assert (crashed / "data.mdb").read_bytes() == before


# -- every format --------------------------------------------------------------------------------------------------


DRAWN = [(form, detail) for form in ("svg", "html", "mermaid", "dot") for detail in (False, True)]


@pytest.mark.parametrize(("form", "detail"), [*DRAWN, ("md", False)])
def test_every_format_tells_the_figures(crashed: Path, form: str, *, detail: bool) -> None:
    """Counts in states and on edges, and what they rest on."""
    text = draw("input_lifecycle", "--store", crashed, "--format", form, *(["--detail"] if detail else []))
    text = html.unescape(re.sub(r"#(\d+);", lambda found: chr(int(found[1])), text))
    squeezed = re.sub(r"[\s\\`]|<[^>]*>|</?text[^>]*>", "", text)
    assert "1input" in squeezed or form == "md"
    if form == "md":
        assert "| 3 | `stage` | `queued` | `staged` | 5 |" in text
        assert "| `queued` | 1 |" in text
        assert "| 12 | `abandon` | `applied` | `abandoned` | never |" in text
    else:
        assert "stage(3)×5" in squeezed if detail and form in ("svg", "html") else "stage×5" in squeezed
    assert "Countsandratesrest" in squeezed


@pytest.mark.parametrize("machine", SHIPPED, ids=lambda machine: machine.name)
def test_the_counts_on_the_edges_of_a_graph_add_up(machine: Machine[Any, Any]) -> None:
    """To all that was counted, each row from each of its states once."""
    taken = {(str(each.source), each.row): 2**number for number, each in enumerate(edges_of(machine))}
    text = dot(machine, overlay=Overlay({}, taken, ()))
    assert sum(int(each.replace(",", "")) for each in re.findall(r"×([\d,]+)", text)) == sum(taken.values())


@pytest.mark.parametrize("form", ["svg", "png"])
def test_graphviz_draws_the_figures(
    crashed: Path, tmp_path: Path, require_tool: Callable[[str], str], form: str
) -> None:
    """With the caption once, and dashes where nothing was taken."""
    require_tool("dot")
    path = tmp_path / f"a.{form}"
    words = ("--format", form, *(["--graphviz"] if form == "svg" else []), "-o", path)
    draw("input_lifecycle", "--store", crashed, *words)
    if form == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
        return
    text = path.read_text(encoding="utf-8")
    assert text.count("Counts and rates") == 1
    assert "stroke-dasharray" in text
    assert "stage ×5" in html.unescape(text).replace("\N{NO-BREAK SPACE}", " ")


def test_dot_dashes_what_was_not_taken() -> None:
    """Each edge by its source, and the one that they share only where none of them was."""
    taken = {("staged", next(n for n, row in enumerate(INPUT_LIFECYCLE.transitions) if row.event == "abandon")): 1}
    overlay = Overlay({}, taken, ("a caption",))
    lines = dot(INPUT_LIFECYCLE, overlay=overlay).splitlines()
    shared = [line for line in lines if "abandon ×1" in line]
    assert [("style=dashed" in line) for line in shared] == [False]
    (meet,) = re.findall(r"meet\d+", shared[0])
    to_meet = {line.split(" ->")[0].strip(): "style=dashed" in line for line in lines if f"-> {meet} " in line}
    assert {name for name, is_dashed in to_meet.items() if not is_dashed} == {'"staged"'}
    assert len(to_meet) == 4


@settings(max_examples=100)
@given(machine=machines(), data=st.data())
def test_figures_never_overlap_in_the_picture_of_any_machine(machine: Machine[Any, Any], data: st.DataObject) -> None:
    """Whatever the counts are."""
    edges = [(str(source), number) for number, row in enumerate(machine.transitions) for source in row.source]
    counts = data.draw(st.dictionaries(st.sampled_from(edges), st.integers(0, 10**9))) if edges else {}
    names = parts_of(machine).live
    figures = dict.fromkeys(names[::2], ("1,000,000,000 inputs", "oldest 12,345 d"))
    overlay = Overlay(figures, counts, ("a caption " * 20,), data.draw(st.sampled_from([0.0, 1.0, 1e6])))
    assert list(problems(layout_of(parts_of(machine), overlay=overlay))) == []
    root = ET.fromstring(machine_svg(machine, overlay=overlay))
    assert root.tag.endswith("svg")


# -- coverage ------------------------------------------------------------------------------------------------------


def coverage_file(path: Path, machine: Machine[Any, Any] = INPUT_LIFECYCLE, *, without: str = "") -> Path:
    """A file of the harness in which every edge was taken as often as its number says, but those of one event."""
    coverage = Coverage(machine, crashes=3)
    coverage.started()
    for number, edge in enumerate(edges_of(machine), start=1):
        for _ in range(number if edge.event != without else 0):
            coverage.took(edge.row, edge.source, edge.event, edge.target, None)
    return write_coverage(path, coverage.as_dict())


def write_coverage(path: Path, *played: dict[str, Any], **changes: Any) -> Path:
    """What the plugin writes."""
    document = {"format": "holdstate-coverage", "version": 1, "machines": list(played), **changes}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize("machine", SHIPPED, ids=lambda machine: machine.name)
def test_what_a_test_run_took_is_on_the_picture(machine: Machine[Any, Any], tmp_path: Path) -> None:
    """The counts of each event; the caption counts; an event that was never taken is dashed wherever it leads."""
    without = "stage" if machine is INPUT_LIFECYCLE else "retire"
    path = coverage_file(tmp_path / "c.json", machine, without=without)
    text = draw(machine.name, "--coverage", path)
    words = words_of(text)
    total = len(edges_of(machine))
    missing = sum(edge.event == without for edge in edges_of(machine))
    assert f"c.json: {total - missing} of {total} transitions were taken" in " ".join(words)
    assert [each for each in words if each.startswith(f"{without} ")] == [f"{without} ×0"]
    assert words.count("not taken") == 1
    assert 'class="wire step unreached"' in text
    assert 'class="label step unreached"' in text


def test_a_state_that_nothing_was_in_is_dashed(tmp_path: Path) -> None:
    """As edges are."""
    coverage = Coverage(INPUT_LIFECYCLE)
    coverage.started()
    text = draw("input_lifecycle", "--coverage", write_coverage(tmp_path / "c.json", coverage.as_dict()))
    assert text.count('class="state unreached"') == 4
    assert text.count('class="end unreached"') == 4
    assert "0 visits" in text
    assert ">1 visit<" in text


def test_two_tests_of_one_machine_count_together(tmp_path: Path) -> None:
    """As the harness tells them: one entry each. An entry of an older table under the same name is left out."""
    played = json.loads(coverage_file(tmp_path / "one.json").read_text(encoding="utf-8"))["machines"][0]
    older = {**played, "taken": {}, "never_taken": []}
    path = write_coverage(tmp_path / "two.json", played, older, played)
    assert "queue ×2" in words_of(draw("input_lifecycle", "--coverage", path))
    assert f"{2 * played['steps']:,} steps" in " ".join(words_of(draw("input_lifecycle", "--coverage", path)))


def test_coverage_may_come_from_a_pipe(tmp_path: Path) -> None:
    """As - says."""
    content = coverage_file(tmp_path / "c.json").read_bytes()
    result = call("spec", "diagram", "input_lifecycle", "--coverage", "-", stdin=content)
    assert result.exit_code == 0, result.stderr
    total = len(edges_of(INPUT_LIFECYCLE))
    assert f"stdin: {total} of {total} transitions were taken" in " ".join(words_of(result.stdout))


def _other(path: Path) -> Path:
    return coverage_file(path, RUNTIME_STATE)


def _older(path: Path) -> Path:
    return coverage_file(path, attrs.evolve(INPUT_LIFECYCLE, transitions=INPUT_LIFECYCLE.transitions[1:]))


def _unguarded(path: Path) -> Path:
    rows = (attrs.evolve(row, guard=TRUE) for row in INPUT_LIFECYCLE.transitions)
    return coverage_file(path, attrs.evolve(INPUT_LIFECYCLE, transitions=rows))


def _states(path: Path) -> Path:
    played = json.loads(coverage_file(path).read_text(encoding="utf-8"))["machines"][0]
    return write_coverage(path, {**played, "states": {"cart": 1}})


def _text(content: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_text(content, encoding="utf-8")
        return path

    return write


def _negative(path: Path) -> Path:
    played = json.loads(coverage_file(path).read_text(encoding="utf-8"))["machines"][0]
    return write_coverage(path, {**played, "taken": dict.fromkeys(played["taken"], -1)})


@pytest.mark.parametrize(
    ("write", "problem"),
    [
        (_other, "it says nothing of the machine 'input_lifecycle'; it has: runtime_state"),
        (_older, "is not the machine as it is now: the transition"),
        (_states, "its states or rows changed"),
        (_unguarded, "is not the machine as it is now: its states or rows changed; run the tests again"),
        (_text("{"), "it is not the coverage of a test run"),
        (_text("[" * 100_000), "it is not the coverage of a test run"),
        (_text("[]"), "it is not the coverage of a test run"),
        (_text('{"format": "holdstate-replay", "version": 1, "machines": []}'), "not 'holdstate-coverage'"),
        (_text('{"format": "holdstate-coverage", "version": 2, "machines": []}'), "of version 2"),
        (_text('{"format": "holdstate-coverage", "version": 1, "machines": []}'), "it has: none"),
        (_negative, "it has a negative count"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, write: Callable[[Path], Path], problem: str) -> None:
    """With the file, what is wrong, and what to do; exit code 2, nothing on stdout."""
    path = write(tmp_path / "c.json")
    result = call("spec", "diagram", "input_lifecycle", "--coverage", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {path}: ")
    assert problem in result.stderr
    assert "`pytest --holdstate-coverage=FILE.json` writes such a file" in result.stderr


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("input_lifecycle", "--runtime", "main"), "name the store with --store"),
        (("input_lifecycle", "--store", "STORE", "--coverage", "c.json"), "give one of --store and --coverage"),
        (("coupling", "--store", "STORE"), "has no states of its own"),
        (("coupling", "--coverage", "c.json"), "has no states of its own"),
        (("tests.tools.machines:TICKET", "--store", "STORE"), "--store has nothing to tell about"),
        (("input_lifecycle", "--store", "STORE", "--runtime", "nobody"), "runtime 'nobody' is not in the store"),
        (("input_lifecycle", "--store", "STORE", "--runtime", ""), "--runtime"),
        (("input_lifecycle", "--store", "nowhere"), "--store"),
        (("input_lifecycle", "--coverage", "nowhere.json"), "nowhere.json"),
    ],
)
def test_what_would_do_nothing_is_refused(crashed: Path, words: tuple[str, ...], problem: str) -> None:
    """As a usage error, with exit code 2 and nothing on stdout."""
    result = call("spec", "diagram", *(str(crashed) if word == "STORE" else word for word in words))
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr
