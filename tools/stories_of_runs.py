"""Stories of inputs and runs: what is admitted, worked off, tried again, replaced and given up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final

from attrs import evolve

from ..runtime.commands import Retire
from ..runtime.driver import PersistentRuntimeDriver as Driver
from ..runtime.errors import StoreError
from ..runtime.inputs import ImageBlock, Input, PromptInput
from ..runtime.outcomes import BoundaryApplied, Run, RunCompleted, RunFailed, RunOutput
from ..runtime.records import RunBoundaryReceipt
from ..runtime.settings import Retention
from ..runtime.turn import Turn
from ..spec.vocabulary import AbandonReason, RunBoundary
from .explorer_kinds import INPUT_IDS, KINDS, NOW, RUN_IDS, key_of
from .story_stage import Stage

Story = Callable[[Stage], Awaitable[None]]

OUTPUT: Final = RunOutput(b"session", b"result", 2)


def given(kind: str, number: int, **header: Any) -> Input:
    """The ``number``-th input; ``header`` holds what it has besides what its kind says."""
    made = KINDS[kind](number)
    return evolve(made, header=evolve(made.header, **header))


async def accepted(stage: Stage, driver: Driver, *inputs: tuple[str, int]) -> None:
    """Send each input."""
    for kind, number in inputs:
        await stage.do(driver, f"accept {kind} {number}", driver.accept_input(given(kind, number)))


async def begun(stage: Stage, driver: Driver) -> Run:
    """Begin a run, which there has to be."""
    run = await stage.do(driver, "begin", driver.begin_run())
    assert run is not None, "nothing could be begun"
    return run


async def worked_off(stage: Stage) -> None:
    """From admission to the end, with everything that is said twice."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1), ("event", 1), ("prompt", 2))
    again = given("event", 3, idempotency_key=key_of(1))
    await stage.do(driver, "accept event 3 under the key of 1", driver.accept_input(again))
    await stage.do(driver, "attach", driver.attach())
    await stage.do(driver, "attach", driver.attach())
    run = await begun(stage, driver)
    await stage.do(driver, "begin", driver.begin_run())
    await stage.do(driver, "cancel 1", driver.cancel_input(INPUT_IDS[1]))
    await stage.do(driver, "checkpoint", driver.checkpoint(run, OUTPUT))
    await stage.do(driver, "complete", driver.complete_run(run, RunOutput(b"session 2", b"at the end")))
    await stage.do(driver, "complete", driver.complete_run(run))
    await stage.do(driver, "fail", driver.fail_run(run, "too late"))
    await stage.do(driver, "begin under a used id", driver.begin_run(run.run_id))
    await stage.do(driver, "result of 1", driver.input_result(INPUT_IDS[1]))
    await stage.do(driver, "accept event 1", driver.accept_input(given("event", 1)))
    await stage.do(driver, "session", driver.session_snapshot())
    await stage.do(driver, "peek", driver.dequeue_next())
    await stage.do(driver, "detach", driver.detach())
    await stage.do(driver, "detach", driver.detach())
    run = await begun(stage, driver)
    await stage.do(driver, "complete", driver.complete_run(run, OUTPUT))
    await stage.do(driver, "result of 2", driver.input_result(INPUT_IDS[2]))
    await stage.do(driver, "input 2", driver.persisted_input(INPUT_IDS[2]))
    await stage.do(driver, "begin", driver.begin_run())
    stage.finish(driver)


async def steered(stage: Stage) -> None:
    """Inputs join a run, leave it, and are consumed while it goes on."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1))
    run = await begun(stage, driver)
    await accepted(stage, driver, ("steer", 2), ("steer", 3), ("progress", 4))
    await stage.do(driver, "complete", driver.complete_run())
    await stage.do(driver, "checkpoint", driver.checkpoint(run, OUTPUT))
    await stage.do(driver, "steers", driver.take_steers(run))
    await stage.do(driver, "steers of another run", driver.take_steers(evolve(run, run_id=RUN_IDS[9])))
    await stage.do(driver, "roll back 3", driver.rollback_staged([INPUT_IDS[3]]))
    await stage.do(driver, "consume 1", driver.consume_inputs([INPUT_IDS[1]], run.run_id))
    await stage.do(driver, "consume 2", driver.consume_inputs([INPUT_IDS[2]], run.run_id))
    await stage.do(driver, "apply 2", driver.apply_input(INPUT_IDS[2], run.run_id))
    await stage.do(driver, "complete", driver.complete_run())
    await stage.do(driver, "roll back 3", driver.rollback_staged([INPUT_IDS[3]]))
    run = await begun(stage, driver)
    await stage.do(driver, "complete", driver.complete_run(run))
    stage.finish(driver)


async def reported(stage: Stage) -> None:
    """An executor that reports by events, with receipts of its own, right and wrong."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1), ("fleeting", 2))
    run = await begun(stage, driver)
    digest = sha256(b"s").hexdigest()
    receipt = RunBoundaryReceipt(run.run_id, RunBoundary.RUN_START, run.input_ids, 0, 1, digest)
    for label, sent in (
        ("boundary in the wrong order", evolve(receipt, contributing_input_ids=run.input_ids[::-1])),
        ("boundary ahead", evolve(receipt, sequence=1)),
        ("boundary of another run", evolve(receipt, run_id=RUN_IDS[9])),
        ("boundary", receipt),
        ("boundary", receipt),
        ("boundary with other words", evolve(receipt, message_count=5)),
    ):
        event = BoundaryApplied(sent.run_id, sent, b"s", b"r")
        await stage.do(driver, label, driver.on_run_event(event))
    wrong = RunCompleted(run.run_id, run.input_ids[:1])
    await stage.do(driver, "completed, of fewer", driver.on_run_event(wrong))
    await stage.do(driver, "completed", driver.on_run_event(RunCompleted(run.run_id, run.input_ids)))
    await stage.do(driver, "failed", driver.on_run_event(RunFailed(run.run_id, "late")))
    await stage.do(driver, "accept fleeting 2", driver.accept_input(given("fleeting", 2)))
    stage.finish(driver)


async def replaced_and_ahead(stage: Stage) -> None:
    """Coalescing, superseding, priority, what ends when it is admitted, and what no store has."""
    driver = await stage.open()
    await accepted(stage, driver, ("progress", 1), ("progress", 2), ("replacing", 3), ("replacing", 4))
    await accepted(stage, driver, ("urgent", 5), ("operation", 6), ("fleeting", 7), ("urgent", 8))
    run = await begun(stage, driver)
    await accepted(stage, driver, ("progress", 9), ("operation", 10), ("replacing", 11), ("urgent", 12))
    await stage.do(driver, "complete", driver.complete_run(run))
    for _ in range(5):
        next_run = await stage.do(driver, "begin", driver.begin_run())
        if next_run is not None:
            await stage.do(driver, "complete", driver.complete_run(next_run, OUTPUT))
    stage.finish(driver)


async def failing(stage: Stage) -> None:
    """Tried again after a backoff, up to the cap; for good; together; and after a boundary."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1))
    for _ in range(2):
        run = await begun(stage, driver)
        await stage.do(driver, "fail", driver.fail_run(run, "broken"))
        await stage.do(driver, "fail", driver.fail_run(run, "broken"))
        await stage.do(driver, "begin", driver.begin_run())
        stage.wait(2)
    await accepted(stage, driver, ("prompt", 2))
    run = await begun(stage, driver)
    await stage.do(driver, "fail for good", driver.fail_run(run, "broken", recoverable=False))
    await accepted(stage, driver, ("prompt", 6))
    await stage.do(driver, "fail", driver.fail_run(await begun(stage, driver), "broken"))
    stage.wait(2)
    at_cap = driver.fail_run(await begun(stage, driver), "broken", recoverable=False)
    await stage.do(driver, "fail for good, at the cap", at_cap)
    await accepted(stage, driver, ("event", 3), ("event", 4))
    run = await begun(stage, driver)
    await stage.do(driver, "fail for good", driver.fail_run(run, "broken", recoverable=False))
    stage.wait(2)
    run = await begun(stage, driver)
    await accepted(stage, driver, ("steer", 5))
    await stage.do(driver, "steers", driver.take_steers(run))
    await stage.do(driver, "checkpoint", driver.checkpoint(run))
    await stage.do(driver, "fail", driver.fail_run(run, "after the boundary"))
    run = await begun(stage, driver)
    await stage.do(driver, "cancel run", driver.cancel_run(run))
    stage.finish(driver)


async def given_up(stage: Stage) -> None:
    """Cancelled, abandoned, called off."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1), ("event", 2), ("event", 3), ("prompt", 4))
    run = await begun(stage, driver)
    for number in (1, 4, 4, 9):
        await stage.do(driver, f"cancel {number}", driver.cancel_input(INPUT_IDS[number]))
    abandoned = driver.abandon_pending_inputs(AbandonReason.FAILED, "no more")
    await stage.do(driver, "abandon pending", abandoned)
    await stage.do(driver, "checkpoint", driver.checkpoint(run))
    await accepted(stage, driver, ("steer", 5))
    await stage.do(driver, "steers", driver.take_steers(run))
    await stage.do(driver, "cancel run", driver.cancel_run(run))
    await stage.do(driver, "cancel run", driver.cancel_run(run))
    await stage.do(driver, "abandon pending", driver.abandon_pending_inputs(AbandonReason.RETIRED))
    stage.finish(driver)


async def staged_by_hand(stage: Stage) -> None:
    """A run that is opened in memory, and begun by staging a named prefix."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1), ("event", 2))
    one, two = INPUT_IDS[1], INPUT_IDS[2]
    run_id, other = RUN_IDS[1], RUN_IDS[2]
    await stage.do(driver, "stage without a run", driver.stage_batch([one], run_id))
    await stage.do(driver, "start run", driver.start_run(run_id))
    await stage.do(driver, "start run", driver.start_run(other))
    await stage.do(driver, "stage 2 first", driver.stage_batch([two], run_id))
    await stage.do(driver, "stage 1", driver.stage_input(one, run_id))
    await stage.do(driver, "stage 2", driver.stage_batch([two], run_id))
    await stage.do(driver, "apply 1", driver.apply_input(one, run_id))
    await stage.do(driver, "complete", driver.complete_run(run_id))
    stage.finish(driver)


async def with_images(stage: Stage) -> None:
    """Blobs stay as long as an input needs them; payloads stay where retention says so."""
    driver = await stage.open()
    image = ImageBlock("image/png", b"pixels")
    for number in (1, 2):
        prompt = PromptInput.new("look", (image,), id=INPUT_IDS[number], timestamp=NOW)
        await stage.do(driver, f"accept image {number}", driver.accept_input(prompt))
    missing = ImageBlock("image/png", blob="sha256:" + "0" * 64)
    prompt = PromptInput.new("look", (missing,), id=INPUT_IDS[3], timestamp=NOW)
    await stage.do(driver, "accept a missing image", driver.accept_input(prompt))
    for _ in range(2):
        run = await begun(stage, driver)
        await stage.do(driver, "complete", driver.complete_run(run, OUTPUT))
        stage.say(f"blobs: {stage.store.stats().blobs}")
    driver = await stage.open("open, keeping payloads", retention=Retention(keep_payloads=True))
    await accepted(stage, driver, ("prompt", 4), ("operation", 5))
    run = await begun(stage, driver)
    await stage.do(driver, "complete", driver.complete_run(run, OUTPUT))
    for number in (1, 4, 5):
        await stage.do(driver, f"input {number}", driver.persisted_input(INPUT_IDS[number]))
    stage.say(f"swept: {stage.store.sweep_blobs()}")
    stage.finish(driver)


def _steps_and_raises(turn: Turn) -> None:
    turn.step(Retire(turn.at))
    raise StoreError("refused after a step", applied=False)


async def refused_halfway(stage: Stage) -> None:
    """A call that is refused after its first step changes nothing."""
    driver = await stage.open()
    await accepted(stage, driver, ("event", 1), ("fleeting", 2))
    await stage.do(driver, "retire and refuse", driver._call(_steps_and_raises))  # noqa: SLF001 - no command is so
    stage.say(f"  {driver.runtime_state}")
    await stage.do(driver, "recover", driver.recover())
    await stage.do(driver, "active", driver.active_input_ids())
    await begun(stage, driver)
    stage.finish(driver)


async def in_groups(stage: Stage) -> None:
    """Several calls in one commit; what one decided is seen by the next; a caller that goes away."""
    driver = await stage.open()
    calls = [driver.accept_input(given(kind, n)) for kind, n in (("event", 1), ("event", 1), ("progress", 2))]
    calls.append(driver.accept_input(given("progress", 3)))
    answers = await asyncio.gather(*calls, driver.begin_run())
    stage.say("together: " + "; ".join(map(stage.words.of, answers)))
    stage.look(driver)
    run = next(each for each in answers if isinstance(each, Run))
    together = (driver.checkpoint(run, OUTPUT), driver.complete_run(), driver.begin_run())
    receipt, ended, last = await asyncio.gather(*together)
    stage.say("together: " + "; ".join(map(stage.words.of, (receipt, ended, last))))
    stage.look(driver)
    assert last is not None, "nothing could be begun"
    await stage.do(driver, "cancel run", driver.cancel_run(last))
    calls = [driver.accept_input(given("operation", n, idempotency_key="once")) for n in (6, 7)]
    stage.say("together: " + "; ".join(map(stage.words.of, await asyncio.gather(*calls))))
    image = ImageBlock("image/png", b"pixels")
    reference = ImageBlock("image/png", blob=f"sha256:{sha256(b'pixels').hexdigest()}")
    looks = [
        PromptInput.new("look", (each,), id=INPUT_IDS[8 + n], timestamp=NOW)
        for n, each in enumerate((image, reference))
    ]
    answers = await asyncio.gather(*(driver.accept_input(each) for each in looks))
    stage.say("together: " + "; ".join(map(stage.words.of, answers)))
    going = asyncio.ensure_future(driver.begin_run())
    staying = asyncio.ensure_future(driver.accept_input(given("event", 4)))
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.gather(going, staying, return_exceptions=True)
    stage.say(f"the caller of begin is gone: {going.cancelled()}")
    await stage.do(driver, "accept event 5", driver.accept_input(given("event", 5)))
    stage.finish(driver)


STORIES_OF_RUNS: Final[tuple[Story, ...]] = (
    worked_off,
    steered,
    reported,
    replaced_and_ahead,
    failing,
    given_up,
    staged_by_hand,
    with_images,
    refused_halfway,
    in_groups,
)
