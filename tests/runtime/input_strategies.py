"""Hypothesis strategies for every admissible input."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from holdstate.runtime.blocks import Block, ImageBlock, TextBlock
from holdstate.runtime.headers import (
    ExternalSource,
    FlowSource,
    InputHeader,
    OperatorSource,
    PeerSource,
    SystemSource,
    TraceContext,
    Visibility,
)
from holdstate.runtime.ids import IdempotencyKey, InputId, RuntimeId, SupersessionKey
from holdstate.runtime.inputs import (
    JSON,
    ContinuationInput,
    ExternalEventInput,
    FlowStepInput,
    Input,
    OperationInput,
    PeerInput,
    PeerMessage,
    PeerRequest,
    PeerResponseProgress,
    PeerResponseTerminal,
    PromptInput,
    ResponsePhase,
    ResponseStatus,
    TurnMetadata,
)
from holdstate.spec.vocabulary import Durability, HandlingMode

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values: SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.none() | st.dictionaries(texts, json_values, max_size=4)
runtime_ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).map(RuntimeId)
zones = st.just(UTC) | st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=zones)  # noqa: DTZ001 - zones are drawn

sources = st.one_of(
    st.just(OperatorSource()),
    st.builds(PeerSource, texts, st.none() | runtime_ids),
    st.builds(FlowSource, texts, st.integers(0, 2**63 - 1)),
    st.just(SystemSource()),
    st.builds(ExternalSource, texts),
)
trace_contexts = st.builds(
    TraceContext,
    st.from_regex(r"00-[0-9a-f]{31}1-[0-9a-f]{15}1-0[01]", fullmatch=True),
    st.none() | st.from_regex(r"[ -~]{1,40}", fullmatch=True),
)
headers = st.builds(
    InputHeader,
    id=st.integers(0, 2**128 - 1).map(lambda number: InputId(UUID(int=number))),
    timestamp=times,
    source=sources,
    durability=st.just(Durability.DURABLE),
    visibility=st.builds(Visibility, st.booleans(), st.booleans()),
    idempotency_key=st.none() | keys.map(IdempotencyKey),
    supersession_key=st.none() | keys.map(SupersessionKey),
    correlation_id=st.none() | texts,
    trace_context=st.none() | trace_contexts,
)
references = st.binary(min_size=32, max_size=32).map(lambda digest: f"sha256:{digest.hex()}")
blocks: SearchStrategy[tuple[Block, ...]] = st.lists(
    st.one_of(
        st.builds(TextBlock, texts),
        st.builds(ImageBlock, st.just("image/png"), data=st.binary(max_size=20)),
        st.builds(ImageBlock, st.just("image/jpeg"), blob=references),
    ),
    max_size=3,
).map(tuple)
conventions = st.one_of(
    st.none(),
    st.just(PeerMessage()),
    st.builds(PeerRequest, texts, texts),
    st.builds(PeerResponseProgress, texts, st.sampled_from(ResponsePhase)),
    st.builds(PeerResponseTerminal, texts, st.sampled_from(ResponseStatus)),
)
modes = st.sampled_from(HandlingMode)
many_texts = st.none() | st.lists(texts, max_size=3).map(tuple)
turn_metadata = st.none() | st.builds(
    TurnMetadata,
    handling_mode=st.none() | modes,
    keep_alive=st.none() | st.booleans(),
    model=st.none() | texts,
    provider=st.none() | texts,
    provider_params=json_objects,
    additional_instructions=many_texts,
    skill_references=many_texts,
    flow_tool_overlay=json_objects,
    render_metadata=json_objects,
)
inputs: SearchStrategy[Input] = st.one_of(
    st.builds(PromptInput, headers, texts, blocks, turn_metadata),
    st.builds(PeerInput, headers, texts, blocks, conventions),
    st.builds(FlowStepInput, headers, texts, texts, blocks, turn_metadata),
    st.builds(ExternalEventInput, headers, texts, json_values, blocks, modes, json_objects),
    st.builds(ContinuationInput, headers, texts, modes, st.none() | texts),
    st.builds(OperationInput, headers, texts, json_values),
)
