"""The input model: what constructors hold, what ``new`` supplies, ids, keys and settings."""

from __future__ import annotations

import pickle
import time
from datetime import UTC, datetime
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdstate.runtime.environment import Environment, RuntimeSettings
from holdstate.runtime.errors import InvalidInput
from holdstate.runtime.headers import ExternalSource, FlowSource, OperatorSource, PeerSource, SystemSource
from holdstate.runtime.ids import InputId, check_runtime_id, key_problem, new_uuid7, text_problem, utc_now
from holdstate.runtime.inputs import (
    ContinuationInput,
    Convention,
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
    Source,
    TurnMetadata,
)
from holdstate.runtime.service_settings import ServiceSettings
from holdstate.runtime.settings import Backoff, Limits, Retention, RetryPolicy
from holdstate.spec.vocabulary import Durability, HandlingMode, InputKind

STEER = TurnMetadata(handling_mode=HandlingMode.STEER)


@pytest.mark.parametrize(
    ("value", "kind", "mode", "source"),
    [
        (PromptInput.new("a"), InputKind.PROMPT, None, OperatorSource()),
        (PromptInput.new("a", turn_metadata=STEER), InputKind.PROMPT, HandlingMode.STEER, OperatorSource()),
        (PeerInput.new("a"), InputKind.PEER_MESSAGE, None, PeerSource("peer")),
        (FlowStepInput.new("s", "do"), InputKind.FLOW_STEP, None, FlowSource("flow", 0)),
        (FlowStepInput.new("s", "do", (), STEER), InputKind.FLOW_STEP, HandlingMode.STEER, FlowSource("flow", 0)),
        (ExternalEventInput.new("e", 1), InputKind.EXTERNAL_EVENT, HandlingMode.QUEUE, ExternalSource("external")),
        (ContinuationInput.new("more"), InputKind.CONTINUATION, HandlingMode.QUEUE, SystemSource()),
        (OperationInput.new("o", None), InputKind.OPERATION, None, SystemSource()),
    ],
)
def test_each_input_knows_its_kind_its_mode_and_its_usual_source(
    value: Input, kind: InputKind, mode: HandlingMode | None, source: Source
) -> None:
    """Kind, stated handling mode and default source are those of the table of inputs."""
    assert (value.kind, value.stated_handling_mode, value.header.source) == (kind, mode, source)


@pytest.mark.parametrize(
    ("convention", "kind"),
    [
        (None, InputKind.PEER_MESSAGE),
        (PeerMessage(), InputKind.PEER_MESSAGE),
        (PeerRequest("r", "ask"), InputKind.PEER_REQUEST),
        (PeerResponseProgress("r", ResponsePhase.ACCEPTED), InputKind.PEER_RESPONSE_PROGRESS),
        (PeerResponseTerminal("r", ResponseStatus.FAILED), InputKind.PEER_RESPONSE_TERMINAL),
    ],
)
def test_the_convention_of_a_peer_input_is_its_kind(convention: Convention | None, kind: InputKind) -> None:
    """No convention is a message."""
    assert PeerInput.new("body", convention=convention).kind is kind


def test_new_mints_id_and_time_and_takes_what_is_given() -> None:
    """Without id and timestamp a version 7 id and the time now are supplied; given ones are kept."""
    before = utc_now()
    minted = PromptInput.new("a")
    assert minted.header.id.version == 7
    assert before <= minted.header.timestamp <= utc_now()
    own, then = InputId(UUID(int=5)), datetime(2025, 1, 1, tzinfo=UTC)
    given_ = PromptInput.new(
        "a",
        id=own,
        timestamp=then,
        idempotency_key="k",
        supersession_key="s",
        correlation_id="c",
        durability=Durability.EPHEMERAL,
    )
    header = given_.header
    assert (header.id, header.timestamp, header.durability) == (own, then, Durability.EPHEMERAL)
    assert (header.idempotency_key, header.supersession_key, header.correlation_id) == ("k", "s", "c")


def test_inputs_cannot_be_changed() -> None:
    """Records are frozen and have no room for other attributes."""
    value = PromptInput.new("a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.text = "b"  # type: ignore[misc]
    assert not hasattr(value, "__dict__")
    assert value.text == "a"


def test_minted_ids_are_different_and_rise() -> None:
    """Ids of version 7 sort by the time they were minted."""
    ids = [new_uuid7() for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
    assert all(type(one) is UUID for one in ids)
    assert abs((ids[0].int >> 80) / 1000 - time.time()) < 3600


@pytest.mark.parametrize("text", ["a", "x" * 255, "é" * 127, "../../etc", "a b", "名前", " "])
def test_runtime_ids_are_taken_as_given(text: str) -> None:
    """1 to 255 UTF-8 bytes without control characters; nothing is normalised (C44)."""
    assert check_runtime_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 256, "é" * 128, "a\x00", "a\n", "\x7f", "\x85", "\ud800", 5, None, b"a"])
def test_other_runtime_ids_are_refused(text: object) -> None:
    """The refusal names the field."""
    with pytest.raises(InvalidInput, match=r"^runtime_id: ") as refused:
        check_runtime_id(text)  # type: ignore[arg-type]
    assert refused.value.path == "runtime_id"


@given(st.text(min_size=1, max_size=600))
def test_keys_have_1_to_512_bytes(text: str) -> None:
    """Any text without lone surrogates counts, NUL included."""
    encodable = not any("\ud800" <= character <= "\udfff" for character in text)
    assert (key_problem(text) is None) == (encodable and len(text.encode()) <= 512)
    assert (text_problem(text) is None) == encodable


@pytest.mark.parametrize("key", ["", 5, "k" * 513])
def test_other_keys_are_refused(key: object) -> None:
    """Empty, long and non-text keys have a problem."""
    assert key_problem(key)


def test_an_invalid_input_survives_pickling() -> None:
    """Its facts come back from another process."""
    error = pickle.loads(pickle.dumps(InvalidInput("a.b", "is wrong")))
    assert (error.path, error.problem, error.code, str(error)) == ("a.b", "is wrong", "invalid_field", "a.b: is wrong")
    assert isinstance(error, ValueError)


# -- settings ------------------------------------------------------------------------------------------------------


def test_backoff_grows_to_its_cap_and_spreads_by_its_jitter() -> None:
    """Exponential from initial_seconds to max_seconds, then plus or minus the jitter."""
    backoff = Backoff()
    assert [backoff.delay(failures, 0.5) for failures in (1, 2, 3, 20)] == [1.0, 2.0, 4.0, 300.0]
    assert backoff.delay(1, 0.0) == 0.5
    assert backoff.delay(1, 0.75) == 1.25
    assert backoff.delay(0, 0.5) == 1.0
    assert backoff.delay(1_000_000, 0.5) == 300.0
    assert Backoff(initial_seconds=0.0).delay(1_000_000, 0.9) == 0.0
    assert Backoff(initial_seconds=0).delay(2, 0.9) == 0.0


@given(
    st.builds(Backoff, st.floats(0, 1e300), st.floats(1, 1e300), st.floats(0, 1e7), st.floats(0, 1)),
    st.integers(1, 10**6),
    st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_never_negative_nor_over_the_spread_cap(backoff: Backoff, failures: int, jitter: float) -> None:
    """Whatever the settings, the delay is a number of seconds that a clock can wait for."""
    assert 0.0 <= backoff.delay(failures, jitter) <= backoff.max_seconds * (1 + backoff.jitter)


@pytest.mark.parametrize(
    ("setting", "arguments"),
    [
        (Limits, {"max_active_inputs": 0}),
        (Limits, {"max_active_inputs": True}),
        (Limits, {"max_payload_bytes": 10}),
        (Limits, {"max_payload_bytes": 1e6}),
        (Limits, {"max_blob_bytes": 0}),
        (Limits, {"max_blobs": -1}),
        (Limits, {"max_depth": 257}),
        (Backoff, {"initial_seconds": -1}),
        (Backoff, {"initial_seconds": float("nan")}),
        (Backoff, {"factor": 0.5}),
        (Backoff, {"max_seconds": float("inf")}),
        (Backoff, {"jitter": 1.5}),
        (Backoff, {"jitter": "1"}),
        (Backoff, {"jitter": True}),
        (RetryPolicy, {"max_attempts": 0}),
        (RetryPolicy, {"backoff": None}),
        (Retention, {"keep_payloads": 1}),
        (Retention, {"keep_ended_seconds": -1.0}),
        (Retention, {"keep_ended_seconds": 10**400}),
        (RuntimeSettings, {"policy": "default"}),
        (RuntimeSettings, {"retry": 5}),
        (RuntimeSettings, {"limits": {}}),
        (RuntimeSettings, {"retention": None}),
        (RuntimeSettings, {"max_batch": 1.5}),
        (RuntimeSettings, {"max_batch": "x"}),
        (RuntimeSettings, {"max_history": 0}),
        (RuntimeSettings, {"max_events": None}),
        (RuntimeSettings, {"event_log": "no"}),
        (RuntimeSettings, {"debug": 1}),
        (ServiceSettings, {"runtime": None}),
        (ServiceSettings, {"max_open": 0}),
        (ServiceSettings, {"max_runs": 1.5}),
        (ServiceSettings, {"run_timeout": "5"}),
        (ServiceSettings, {"run_timeout": 0}),
        (ServiceSettings, {"run_timeout": float("nan")}),
        (ServiceSettings, {"hang_seconds": -1}),
        (ServiceSettings, {"drain_seconds": None}),
        (ServiceSettings, {"resume_backlog": 1}),
        (ServiceSettings, {"max_active_total": 0}),
        (ServiceSettings, {"max_queued_bytes": 1e9}),
        (ServiceSettings, {"overdue_seconds": 0}),
        (ServiceSettings, {"may_run": {"a"}}),
        (ServiceSettings, {"stop_on_failure": None}),
        (Environment, {"now": datetime(2026, 1, 1, tzinfo=UTC)}),
        (Environment, {"new_id": None}),
        (Environment, {"chance": 0.5}),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting: type, arguments: dict[str, object]) -> None:
    """The error names class and field and is a ValueError."""
    (name,) = arguments
    with pytest.raises(ValueError, match=rf"^{setting.__name__}\.{name}: must be") as refused:
        setting(**arguments)
    assert isinstance(refused.value, InvalidInput)


def test_settings_have_working_defaults() -> None:
    """All defaults pass their own checks, and retention may be bounded."""
    assert Limits().max_depth == 64
    assert RetryPolicy().max_attempts == 5
    assert Retention().keep_ended_seconds is None
    assert Retention(keep_ended_seconds=60).keep_ended_seconds == 60
