"""What the inputs of a run ask for, taken together."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from holdstate.runtime.inputs import (
    ContinuationInput,
    ExternalEventInput,
    FlowStepInput,
    Input,
    PromptInput,
    TurnMetadata,
)
from holdstate.runtime.turn_metadata import merged_metadata
from holdstate.spec.vocabulary import HandlingMode

from .kit import RUNTIME, Scripted, prompt, serving
from .virtual_loop import run

OBJECTS = st.none() | st.dictionaries(st.sampled_from("abc"), st.integers(), max_size=3)
LISTS = st.none() | st.lists(st.sampled_from("xyz"), max_size=3).map(tuple)
METADATA = st.builds(
    TurnMetadata,
    handling_mode=st.none() | st.sampled_from(HandlingMode),
    keep_alive=st.none() | st.booleans(),
    model=st.none() | st.sampled_from("mn"),
    provider=st.none() | st.sampled_from("pq"),
    provider_params=OBJECTS,
    additional_instructions=LISTS,
    skill_references=LISTS,
    flow_tool_overlay=OBJECTS,
    render_metadata=OBJECTS,
)


def asking(metadata: TurnMetadata | None) -> PromptInput:
    return PromptInput.new("a", (), metadata)


def test_nothing_asked_is_an_empty_wish() -> None:
    """Inputs without metadata, and kinds that have none."""
    given: list[Input] = [asking(None), ContinuationInput.new("go"), ExternalEventInput.new("e", {})]
    assert merged_metadata([]) == merged_metadata(given) == TurnMetadata()


def test_a_wish_not_to_is_a_wish() -> None:
    """False and an empty list are values; only None is no wish."""
    merged = merged_metadata([asking(TurnMetadata(keep_alive=True)), asking(TurnMetadata(keep_alive=False))])
    assert merged.keep_alive is False
    assert merged_metadata([asking(TurnMetadata(skill_references=()))]).skill_references == ()


def test_flow_steps_ask_like_prompts() -> None:
    """Both kinds carry turn metadata."""
    step = FlowStepInput.new("s", "do it", (), TurnMetadata(model="m"))
    assert merged_metadata([step, asking(TurnMetadata(provider="p"))]) == TurnMetadata(model="m", provider="p")


@given(st.lists(METADATA | st.none(), max_size=5))
def test_later_scalars_win_lists_add_up_and_objects_merge_key_by_key(wishes: list[TurnMetadata | None]) -> None:
    """Field by field, over any number of inputs, in staging order."""
    merged = merged_metadata([asking(each) for each in wishes])
    for field in attrs.fields(TurnMetadata):
        values = [value for each in wishes if each and (value := getattr(each, field.name)) is not None]
        wanted: Any = None
        for value in values:
            if isinstance(wanted, tuple):
                wanted = (*wanted, *value)
            else:
                wanted = {**wanted, **value} if isinstance(wanted, dict) else value
        assert getattr(merged, field.name) == wanted


@given(METADATA, METADATA, METADATA)
def test_it_does_not_matter_how_inputs_are_grouped(
    first: TurnMetadata, second: TurnMetadata, third: TurnMetadata
) -> None:
    """What a run merged before it took a steer, and then with it, is what all of them together ask for."""
    left = merged_metadata([asking(merged_metadata([asking(first), asking(second)])), asking(third)])
    assert left == merged_metadata([asking(first), asking(second), asking(third)])


def test_a_run_tells_its_executor_what_is_asked() -> None:
    """Merged over the inputs of the run."""

    async def scenario() -> TurnMetadata:
        executor = Scripted()
        async with serving(executor) as service:
            handle = await service.submit(RUNTIME, PromptInput.new("a", (), TurnMetadata(model="m")))
            await handle.outcome()
            await (await service.submit(RUNTIME, prompt("b"))).outcome()
        assert executor.runs[1].turn_metadata == TurnMetadata()
        return executor.runs[0].turn_metadata

    assert run(scenario) == TurnMetadata(model="m")
