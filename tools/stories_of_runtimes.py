"""Stories of runtimes: states, crashes, other openers, commits that fail, records that somebody else wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import evolve

from ..runtime import commands as c
from ..runtime import core
from ..runtime.blocks import ImageBlock
from ..runtime.driver import PersistentRuntimeDriver as Driver
from ..runtime.image import RuntimeImage
from ..runtime.inputs import PromptInput
from ..runtime.outcomes import Run
from ..runtime.records import InputRecord, RunBoundaryReceipt, RuntimeRecord
from ..spec.errors import HoldstateError, TransitionRefused
from ..spec.vocabulary import AbandonReason, InputState, RunBoundary, RuntimeControl, RuntimeState
from .explorer_kinds import INPUT_IDS, RUN_IDS
from .harness.faulty_store import Fault, Plan, dying
from .stories_of_runs import OUTPUT, Story, accepted, begun, given
from .story_records import a_record, by_hand
from .story_stage import RUNTIME, Stage

_ENDINGS: Final[dict[str, Callable[[Driver, Run], Awaitable[Any]]]] = {
    "complete": lambda driver, run: driver.complete_run(run),
    "fail": lambda driver, run: driver.fail_run(run, "broken", recoverable=False),
    "cancel run": lambda driver, run: driver.cancel_run(run),
}


async def ended_everywhere(stage: Stage) -> None:
    """A run returns to where it began, unless an executor came or the runtime was retired meanwhile."""
    number = 0
    for label, end in _ENDINGS.items():
        for prepare in ("", "attach", "retire"):
            for during in ("", "attach", "detach", "retire"):
                number = (number + 1) % len(INPUT_IDS)
                driver = await stage.opened()
                await driver.recycle_preserving_work()
                await driver.accept_input(given("prompt", number))
                if prepare:
                    await getattr(driver, prepare)()
                run = await driver.begin_run()
                assert run is not None, "nothing could be begun"
                if during:
                    await _tried(getattr(driver, during)())
                driver.discard_events()
                await end(driver, run)
                told = ", ".join(map(stage.words.event, driver.drain_events()))
                stage.say(f"begun in {prepare or 'idle'}, then {during or 'nothing'}, {label}: {told}")
                stage.say(f"  {driver.runtime_state}, {driver.image.runtime.pre_run_state}")
                await driver.abandon_pending_inputs(AbandonReason.FAILED)
    stage.finish()


async def _tried(call: Awaitable[object]) -> None:
    try:
        await call
    except HoldstateError:
        return


async def through_all_states(stage: Stage) -> None:
    """Retired, reset, recycled and resumed from everywhere; what is refused; twice."""
    driver = await stage.open()
    await stage.do(driver, "resume", driver.on_runtime_control(RuntimeControl.RESUME))
    number = 0
    for before in ("", "attach", "retire"):
        for name in ("retire", "reset", "recycle_preserving_work", "recover"):
            number += 1
            await accepted(stage, driver, ("event", number))
            if before:
                await stage.do(driver, before, getattr(driver, before)())
            await stage.do(driver, name, getattr(driver, name)())
            stage.say(f"  {driver.runtime_state}")
            for again in (name, "attach", "detach"):
                await stage.do(driver, again, getattr(driver, again)())
            stage.say(f"  {driver.runtime_state}")
            await stage.do(driver, "recycle", driver.recycle_preserving_work())
    run = await begun(stage, driver)
    for name in ("reset", "recycle_preserving_work", "recover", "retire", "retire", "reset", "recover"):
        await stage.do(driver, name, getattr(driver, name)())
    await stage.do(driver, "accept event 14", driver.accept_input(given("event", 14)))
    await stage.do(driver, "complete", driver.complete_run(run))
    stage.finish(driver)


async def stopped(stage: Stage) -> None:
    """Stopped with inputs in every state, and what is refused then."""
    await _ended(stage, "stop")


async def destroyed(stage: Stage) -> None:
    """Destroyed with inputs in every state, and what is refused then."""
    await _ended(stage, "destroy")


async def _ended(stage: Stage, end: str) -> None:
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1), ("event", 2), ("prompt", 3))
    run = await begun(stage, driver)
    await stage.do(driver, "checkpoint", driver.checkpoint(run, OUTPUT))
    await accepted(stage, driver, ("steer", 4))
    await stage.do(driver, "steers", driver.take_steers(run))
    for _ in range(2):
        await stage.do(driver, end, getattr(driver, end)())
        stage.say(f"  {driver.runtime_state}")
    await accepted(stage, driver, ("event", 9))
    await stage.do(driver, "complete", driver.complete_run(run))
    for name in ("begin_run", "retire", "reset", "recover", "recycle_preserving_work", "attach", "detach", "stop"):
        await stage.do(driver, name, getattr(driver, name)())
    await stage.do(driver, "destroy", driver.destroy())
    stage.finish(await stage.open("open what has ended"))


async def stopped_by_control(stage: Stage) -> None:
    """Stop by control, while retired with a run; opening what is stopped."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1))
    await stage.do(driver, "retire", driver.retire())
    await begun(stage, driver)
    await stage.do(driver, "stop", driver.on_runtime_control(RuntimeControl.STOP))
    driver = await stage.open("open what is stopped")
    stage.finish(driver)


async def crashed(stage: Stage) -> None:
    """What an opening recovers, from every place where a crash can leave a runtime."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1))
    driver = await stage.open("crash, open")
    await begun(stage, driver)
    driver = await stage.open("crash while staged, open")
    run = await begun(stage, driver)
    await stage.do(driver, "checkpoint", driver.checkpoint(run, OUTPUT))
    await accepted(stage, driver, ("steer", 2), ("steer", 3))
    await stage.do(driver, "steers", driver.take_steers(run))
    await stage.do(driver, "retire", driver.retire())
    driver = await stage.open("crash after a boundary, retired, open")
    driver = await stage.open("open again")
    await begun(stage, driver)
    driver = await stage.open("crash at the cap, open")
    await stage.do(driver, "begin", driver.begin_run())
    await stage.do(driver, "recycle", driver.recycle_preserving_work())
    await stage.do(driver, "recover", driver.recover())
    stage.finish(driver)


async def contested(stage: Stage) -> None:
    """A newer opener fences the older one off, whatever it tries."""
    first = await stage.open()
    await accepted(stage, first, ("event", 1))
    run = await begun(stage, first)
    second = await stage.open("open by another one")
    for label, call in (
        ("accept", first.accept_input(given("event", 2))),
        ("active", first.active_input_ids()),
        ("complete", first.complete_run(run, OUTPUT)),
        ("accept again", first.accept_input(given("event", 2))),
    ):
        await stage.do(second, f"the first: {label}", call)
    await stage.do(second, "abandon pending", second.abandon_pending_inputs(AbandonReason.FAILED))
    third = await stage.open("open by a third one")
    await stage.do(third, "the second: recover", second.recover())
    second, third = third, await stage.open("open by a fourth one")
    await accepted(stage, third, ("event", 2))
    second, third = third, await stage.open("open by a fifth one")
    answers = await asyncio.gather(
        second.accept_input(given("event", 3)), third.accept_input(given("event", 4)), return_exceptions=True
    )
    stage.say("together: " + "; ".join(map(stage.words.of, answers)))
    stage.finish(third)


_FATES: Final = (
    Plan(Fault.REFUSED, write=0),
    Plan(Fault.UNKNOWN, write=0),
    Plan(Fault.LANDED, write=0),
    Plan(Fault.UNKNOWN, write=0, failing_reads=2),
    Plan(Fault.LANDED, write=0, failing_reads=2),
)


async def failing_commits(stage: Stage) -> None:
    """Every call with a commit that is refused, unknown, or landed unknown, and read back or not."""
    for number, plan in enumerate(_FATES, 1):
        driver = await stage.open()
        stage.arm(plan)
        await accepted(stage, driver, ("event", number), ("event", number), ("event", number))
        stage.arm(plan)
        run: Run | None = None
        for _ in range(3):
            run = await stage.do(driver, "begin", driver.begin_run())
            if run is not None:
                break
        assert run is not None, "nothing could be begun"
        stage.arm(plan)
        for _ in range(3):
            await stage.do(driver, "complete", driver.complete_run(run, OUTPUT))
        stage.arm(plan)
        for _ in range(3):
            await stage.do(driver, "retire", driver.retire())
        stage.arm(Plan())
        await stage.do(driver, "recycle", driver.recycle_preserving_work())
    stage.finish()


async def failing_groups(stage: Stage) -> None:
    """Several calls whose one commit fails."""
    for number, plan in enumerate(_FATES):
        driver = await stage.open()
        stage.arm(plan)
        first, second = 1 + 2 * number, 2 + 2 * number
        calls = (
            driver.accept_input(given("event", first)),
            driver.begin_run(),
            driver.accept_input(given("event", second)),
        )
        answers = await asyncio.gather(*calls, return_exceptions=True)
        stage.say("together: " + "; ".join(map(stage.words.of, answers)))
        await stage.do(driver, f"accept event {first}", driver.accept_input(given("event", first)))
        await stage.do(driver, f"accept event {first}", driver.accept_input(given("event", first)))
        await stage.do(driver, "stop run", driver.abandon_pending_inputs(AbandonReason.FAILED))
    stage.arm(Plan())
    stage.finish(await stage.open("open at last"))


async def swept_meanwhile(stage: Stage) -> None:
    """A blob goes between the decision and the write: its input is rejected, and who shares the commit is admitted."""
    driver = await stage.open()
    inner: Any = stage.store.inner
    reference = ImageBlock("image/png", blob=inner.put_blob(b"pixels"))
    image = PromptInput(given("prompt", 2).header, "look", (reference,))
    prepare = inner.prepare

    def swept(group: object) -> object:
        del inner.prepare
        write = prepare(group)
        inner.sweep_blobs()
        return write

    inner.prepare = swept
    both = await asyncio.gather(*(driver.accept_input(each) for each in (given("event", 1), image)))
    stage.say("together: " + "; ".join(map(stage.words.of, both)))
    stage.finish(driver)


async def dying_commits(stage: Stage) -> None:
    """The process dies before or after a commit, and the next one recovers."""
    number = 0
    for fault in (Fault.DIES_BEFORE, Fault.DIES_AFTER):
        for step in ("accept", "begin", "complete"):
            number += 1
            driver = await stage.open()
            run: Run | None = None
            if step == "accept":
                stage.arm(dying(fault, 0))
            await stage.do(driver, f"accept event {number}", driver.accept_input(given("event", number)))
            if step != "accept":
                if step == "begin":
                    stage.arm(dying(fault, 0))
                run = await stage.do(driver, "begin", driver.begin_run())
            if run is not None:
                stage.arm(dying(fault, 0))
                await stage.do(driver, "complete", driver.complete_run(run, OUTPUT))
            stage.arm(Plan())
    stage.finish(await stage.open("open at last"))


async def failing_openings(stage: Stage) -> None:
    """A claim of unknown result is made again; one that is refused is not."""
    driver = await stage.open()
    for plan in _FATES[:3]:
        stage.arm(plan)
        try:
            driver = await stage.open()
        except HoldstateError as error:
            stage.say(f"open: {stage.words.of(error)}")
    stage.finish(driver)


async def on_a_thread(stage: Stage) -> None:
    """Commits that take long are made on a thread, where a caller may go away meanwhile."""
    driver = await stage.open()
    driver._committer._thread.average_seconds = 1e6  # noqa: SLF001 - as if commits took that long
    await accepted(stage, driver, ("event", 1), ("event", 2))
    going = asyncio.ensure_future(driver.begin_run())
    for _ in range(2):  # until it is decided, and its commit is under way
        await asyncio.sleep(0)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    stage.say(f"the caller of begin is gone: {going.cancelled()}")
    both = await asyncio.gather(*(driver.accept_input(given("event", number)) for number in (3, 4)))
    stage.say("together: " + "; ".join(map(stage.words.of, both)))
    run = await begun(stage, driver)
    stage.arm(Plan(Fault.REFUSED, write=0))
    await stage.do(driver, "complete", driver.complete_run(run, OUTPUT))
    await stage.do(driver, "complete", driver.complete_run(run, OUTPUT))
    stage.finish(driver)


async def written_by_others(stage: Stage) -> None:
    """Records in states that no driver stores are settled all the same, and every command has its row for them."""
    run, other = RUN_IDS[1], RUN_IDS[2]
    torn, receipt = by_hand(run)
    seen: dict[str, list[str]] = {}
    settling: tuple[type[c.Settle], ...] = (c.Open, c.Recover, c.Recycle)
    plain: tuple[type[c.Command], ...] = (c.Reset, c.Stop, c.Destroy, c.Retire, c.Resume, c.Attach, c.Detach)
    for state in RuntimeState:
        for back in (None, RuntimeState.IDLE, RuntimeState.RETIRED, RuntimeState.ATTACHED):
            for current in (None, run):
                runtime = RuntimeRecord(RUNTIME, state, current, back, next_order=100)
                for make in settling:
                    _stepped(stage, seen, runtime, torn, make(stage.now, (receipt,)))
                    _stepped(stage, seen, runtime, (), make(stage.now))
                for each in plain:
                    _stepped(stage, seen, runtime, torn, each(stage.now))
    idle = RuntimeRecord(RUNTIME, RuntimeState.IDLE, next_order=100)
    failed = a_record(InputState.STAGED, 1, run, failure_count=1)
    for make in settling:
        _stepped(stage, seen, idle, (failed,), make(stage.now))
    listing = evolve(receipt, contributing_input_ids=(failed.input_id,))
    for make in settling:
        _stepped(stage, seen, idle, (failed,), make(stage.now, (listing,)))
        _stepped(stage, seen, evolve(idle, next_order=1), (failed,), make(stage.now))
    of_run = tuple(each for each in torn if each.last_run_id == run and each.state != InputState.QUEUED)
    ids = tuple(each.input_id for each in of_run)
    staged = tuple(each.input_id for each in of_run if each.state is InputState.STAGED)
    in_run = RuntimeRecord(RUNTIME, RuntimeState.RUNNING, run, RuntimeState.IDLE, ids, next_order=100)
    for command in (
        c.FailRun(stage.now, run, "broken"),
        c.FailRun(stage.now, run, "broken", recoverable=False),
        c.ApplyBoundary(stage.now, RunBoundaryReceipt(run, RunBoundary.RUN_START, staged)),
        c.AbandonPending(stage.now, AbandonReason.FAILED, "why"),
        *(c.CancelInput(stage.now, each.input_id) for each in torn),
        *(make(stage.now, each) for make in (c.CancelRun, c.StageMore, c.BeginRun) for each in (run, other)),
        *(c.ConsumeInputs(stage.now, each, ids[-1:]) for each in (run, other)),
        c.RollbackStaged(stage.now, staged),
        c.CompleteRun(stage.now, other),
        c.FailRun(stage.now, other, "another"),
        c.Recover(stage.now, handed_out=True),
        c.Recycle(stage.now, handed_out=True),
    ):
        _stepped(stage, seen, in_run, torn, command)
        _stepped(stage, seen, evolve(in_run, state=RuntimeState.RETIRED, shared_run=True), torn, command)
        _stepped(stage, seen, idle, torn, command)
    for line, places in seen.items():
        stage.say(line)
        stage.say(f"  in {'; '.join(places)}")


def _stepped(
    stage: Stage,
    seen: dict[str, list[str]],
    runtime: RuntimeRecord,
    inputs: tuple[InputRecord, ...],
    command: c.Command,
) -> None:
    """One command on records that were made by hand: in ``seen``, where the core makes the same of it."""
    words = stage.words
    current = "" if runtime.current_run_id is None else " with a run"
    place = f"{runtime.state}{current}{'' if runtime.pre_run_state is None else f', back to {runtime.pre_run_state}'}"
    try:
        delta = core.step(RuntimeImage(runtime, inputs), command, stage.settings(debug=False))
    except TransitionRefused as refused:
        line = f"{command.name}: TransitionRefused {refused.event}"
    except HoldstateError as error:
        line = f"{command.name}: {words.of(error)}"
    else:
        ended = delta.runtime
        counts = f"{len(delta.changes)} changed" + (", stored" if delta.stored else "")
        told = ", ".join(f"{each.code} {each.state or ''}".strip() for each in delta.announcements)
        line = f"{command.name}: {ended.state}, back to {ended.pre_run_state}, {counts}: {told}"
        for _, after in delta.changes:
            line += "" if after is None else f"\n  = {words.input(after)}"
    seen.setdefault(line, []).append(place)


STORIES_OF_RUNTIMES: Final[tuple[Story, ...]] = (
    ended_everywhere,
    through_all_states,
    stopped,
    destroyed,
    stopped_by_control,
    crashed,
    contested,
    failing_commits,
    failing_groups,
    swept_meanwhile,
    dying_commits,
    failing_openings,
    on_a_thread,
    written_by_others,
)
