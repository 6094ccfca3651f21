"""``holdstate run``: what a line becomes, which lines count once, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdstate.runtime.store import InputFilter
from holdstate.stores.lmdb_store import LmdbStore

from . import functions
from .support import answers, call, write_lines

ECHO = ("--handler", "tests.tools.functions:echo")
SECONDS = ("--timeout", "--grace", "--backoff", "--retry-delay")
TEXT = ("--handler", "tests.tools.functions:text")


@pytest.fixture(autouse=True)
def fresh_functions() -> Iterator[None]:
    functions.seen.clear()
    yield
    functions.seen.clear()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def stored(store: Path, runtime: str = "main") -> list[Any]:
    with LmdbStore.open(store, read_only=True) as opened:
        assert opened.verify() == []
        return list(opened.list_inputs(InputFilter(runtime)).records)


def test_every_line_is_answered_once_and_in_order(tmp_path: Path, store: Path) -> None:
    """Any JSON value is a line; blank lines are none."""
    path = tmp_path / "lines"
    path.write_bytes(b'{"n": 1}\n\n"text"\r\n[3]\nnull')
    result = call("run", path, "--store", store, *ECHO)
    assert result.exit_code == 0
    assert [(each["line"], json.loads(each["result"])) for each in answers(result)] == [
        (1, [{"n": 1}]),
        (3, ["text"]),
        (4, [[3]]),
        (5, [None]),
    ]
    assert "accepted 4, deduplicated 0, runs 4, consumed 4, abandoned 0, failed attempts 0" in result.stderr


def test_an_answer_has_this_form(tmp_path: Path, store: Path) -> None:
    """One JSON object per line, with these fields."""
    path = write_lines(tmp_path / "lines", [{"n": 1}])
    (answer,) = answers(call("run", path, "--store", store, *ECHO))
    record = stored(store)[0]
    assert answer == {
        "source": str(path),
        "line": 1,
        "runtime": "main",
        "input_id": str(record.input_id),
        "key": record.admission.idempotency_key,
        "state": "consumed",
        "outcome": {"kind": "consumed", "reason": None, "successor": None, "error": None},
        "attempts": 1,
        "deduplicated": False,
        "result": '[{"n":1}]',
        "result_is_base64": False,
    }


def test_the_same_command_again_answers_from_the_store(tmp_path: Path, store: Path) -> None:
    """A line that was done is deduplicated and answered with its stored outcome and result (C7, C8)."""
    path = write_lines(tmp_path / "lines", [1, 2])
    first = answers(call("run", path, "--store", store, *ECHO))
    again = call("run", path, "--store", store, *TEXT)
    assert answers(again) == [{**each, "deduplicated": True} for each in first]
    assert "accepted 0, deduplicated 2, runs 0" in again.stderr


def test_new_lines_at_the_end_are_the_only_new_work(tmp_path: Path, store: Path) -> None:
    """Keys are made of job, number and content."""
    path = write_lines(tmp_path / "lines", ["a", "a"])
    call("run", path, "--store", store, *ECHO)
    write_lines(path, ["a", "a", "a"])
    result = call("run", path, "--store", store, *ECHO)
    assert [each["deduplicated"] for each in answers(result)] == [True, True, False]


def test_a_job_counts_lines_on_through_its_files_and_stdin(tmp_path: Path, store: Path) -> None:
    """Two files under one job name are one list of lines, whatever their paths are."""
    one, two = write_lines(tmp_path / "one", ["a"]), write_lines(tmp_path / "two", ["a"])
    result = call("run", one, two, "--store", store, "--job", "j", *ECHO)
    assert [(each["source"], each["line"], each["deduplicated"]) for each in answers(result)] == [
        (str(one), 1, False),
        (str(two), 1, False),
    ]
    again = call("run", "-", "--store", store, "--job", "j", *ECHO, stdin='"a"\n"a"\n')
    assert [(each["source"], each["line"], each["deduplicated"]) for each in answers(again)] == [
        ("-", 1, True),
        ("-", 2, True),
    ]


def test_stdin_needs_a_job_or_a_key_field(store: Path) -> None:
    """Nothing is accepted that could not be known again."""
    result = call("run", "--store", store, *ECHO, stdin="1\n")
    assert (result.exit_code, result.stdout, store.exists()) == (2, "", False)
    assert "--job NAME or --key-field" in result.stderr


def test_a_field_can_name_the_runtime(tmp_path: Path, store: Path) -> None:
    """Text, numbers and booleans name one; a missing, null or nested value does not."""
    values = [
        {"r": {"n": "a"}},
        {"r": {"n": 7}},
        {"r": {"n": True}},
        {"r": {"n": None}},
        {"r": []},
        {"r": {"n": {}}},
        1,
    ]
    path = write_lines(tmp_path / "lines", values)
    result = call("run", path, "--store", store, "--runtime", "rest", "--runtime-field", "r.n", *ECHO)
    by_line = {each["line"]: each["runtime"] for each in answers(result)}
    assert by_line == {1: "a", 2: "7", 3: "true", 4: "rest", 5: "rest", 6: "rest", 7: "rest"}


def test_a_key_field_makes_lines_count_once(tmp_path: Path, store: Path) -> None:
    """Both lines are answered; a key with another content is told in the summary."""
    path = write_lines(tmp_path / "lines", [{"id": 1, "n": 1}, {"id": "x"}, {"id": 1, "n": 2}])
    result = call("run", path, "--store", store, "--key-field", "id", *ECHO)
    by_line = sorted((each["line"], each["key"], each["deduplicated"], each["result"]) for each in answers(result))
    assert by_line == [
        (1, "1", False, '[{"id":1,"n":1}]'),
        (2, "x", False, '[{"id":"x"}]'),
        (3, "1", True, '[{"id":1,"n":1}]'),
    ]
    assert "deduplicated with another content 1" in result.stderr


def test_a_field_can_name_the_event(tmp_path: Path, store: Path) -> None:
    """Text only; anything else is a line."""
    path = write_lines(tmp_path / "lines", [{"type": "push"}, {"type": 3}, "x"])
    call("run", path, "--store", store, "--event-field", "type", "--max-attempts", 1, "--exec", "exit 1")
    kinds = [record.admission.kind for record in stored(store)]
    result = call("run", path, "--store", store.with_name("two"), "--event-field", "type", "--exec", "cat")
    events = [json.loads(each["result"])["inputs"][0]["event_type"] for each in answers(result)]
    assert (kinds, events) == (["external_event"] * 3, ["push", "line", "line"])


def test_an_object_with_an_input_type_is_a_whole_input(tmp_path: Path, store: Path) -> None:
    """In wire form; its own key and id are kept, what it lacks is supplied."""
    own = {"id": "01890000-0000-7000-8000-000000000001", "idempotency_key": "mine"}
    lines = [
        {"input_type": "prompt", "text": "hello"},
        {"input_type": "prompt", "text": "again", "header": own},
        {"input_type": "operation", "operation_id": "o", "event": {}},
    ]
    path = write_lines(tmp_path / "lines", lines)
    result = call("run", path, "--store", store, *TEXT)
    by_line = {each["line"]: each for each in answers(result)}
    assert (by_line[1]["result"], by_line[2]["result"], by_line[3]["result"]) == ("hello", "again", None)
    assert (by_line[2]["input_id"], by_line[2]["key"]) == (own["id"], "mine")
    assert by_line[1]["key"].startswith("lines:1:")
    assert (by_line[3]["state"], by_line[3]["attempts"]) == ("consumed", 0)


def test_a_replaced_input_is_answered_too(tmp_path: Path, store: Path) -> None:
    """A later line that replaces an earlier one names itself as the successor."""
    header = {"supersession_key": "s", "source": {"type": "peer", "peer_id": "p"}}
    convention = {"type": "response_progress", "request_id": "r", "phase": "in_progress"}
    line = {"input_type": "peer", "body": "", "convention": convention, "header": header}
    path = write_lines(tmp_path / "lines", [line, {**line, "body": "newer"}])
    result = call("run", path, "--store", store, *TEXT)
    first, second = answers(result)
    assert (first["line"], first["state"], second["line"], second["state"]) == (1, "coalesced", 2, "consumed")
    assert first["outcome"]["successor"] == second["input_id"]
    assert "replaced 1" in result.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"a": 1', ":2:8: is not JSON"),
        (b'{"a": 1, "a": 2}', ":2: a: occurs twice"),
        (b"\xff", ":2: is not UTF-8"),
        (b"NaN", ":2: must be finite"),
        (b"1" + b"0" * 400, ":2: is out of range"),
        (b"[" * 70 + b"]" * 70, "levels deep"),
        (b'{"input_type": "riddle"}', ":2: input_type: "),
        (b'{"input_type": "prompt", "text": 3}', ":2: text: must be"),
        (
            b'{"input_type": "prompt", "text": "", "header": {"durability": "ephemeral"}}',
            ":2: header.durability: must be",
        ),
        (
            b'{"input_type": "prompt", "text": "", "header": {"durability": "derived"}}',
            ":2: header.durability: a prompt",
        ),
        (b'{"runtime": "a\\u0007"}', ":2: runtime: is no runtime id"),
        (b'"' + b"x" * 2_000_000 + b'"', ":2: "),
    ],
)
def test_a_bad_line_stops_the_command_after_the_lines_before_it(
    tmp_path: Path, store: Path, text: bytes, told: str
) -> None:
    """Exit code 2 and one line that says where; the lines before are done, nothing of it or after it was accepted."""
    path = tmp_path / "lines"
    path.write_bytes(b"1\n" + text + b"\n3\n")
    result = call("run", path, "--store", store, "--runtime-field", "runtime", *ECHO)
    assert (result.exit_code, [each["line"] for each in answers(result)]) == (2, [1])
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {path}:2")
    assert told in error
    assert len(stored(store)) == 1


def test_a_line_without_its_key_is_bad(store: Path) -> None:
    """A key is text or a number."""
    for line in ('{"id": true}', "{}", '"x"'):
        result = call("run", "--store", store, "--key-field", "id", *ECHO, stdin=f"{line}\n")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "error: -:1: id: must be text or a number" in result.stderr


def test_a_runtime_that_takes_nothing_makes_its_line_bad(tmp_path: Path, store: Path) -> None:
    """The other lines are done; a line that was done before is still answered."""

    async def stop() -> None:
        from holdstate.runtime.driver import PersistentRuntimeDriver

        async with LmdbStore.open(store) as opened:
            await (await PersistentRuntimeDriver.open("stopped", opened)).stop()

    import asyncio

    path = write_lines(tmp_path / "lines", [{"r": "stopped"}])
    options = ("--store", store, "--runtime-field", "r", *ECHO)
    call("run", path, *options)
    asyncio.run(stop())
    write_lines(path, [{"r": "stopped"}, {"r": "open"}, {"r": "stopped"}])
    result = call("run", path, *options)
    assert (result.exit_code, sorted(each["line"] for each in answers(result))) == (2, [1, 2])
    assert f"error: {path}:3: runtime 'stopped' is stopped" in result.stderr


def test_what_an_earlier_command_left_in_front_is_worked_off_first(tmp_path: Path, store: Path) -> None:
    """In order of admission, reported without a line; what lies behind the own lines is left alone."""
    earlier = write_lines(tmp_path / "earlier", ["a", "b"])
    call("run", earlier, "--store", store, "--max-attempts", 3, "--backoff", 0, "--exec", "kill -INT $PPID; sleep 60")
    later = write_lines(tmp_path / "later", ["c"])
    result = call("run", later, "--store", store, *ECHO)
    assert [(each["source"], each["line"], each["result"]) for each in answers(result)] == [
        (None, None, '["a"]'),
        (None, None, '["b"]'),
        (str(later), 1, '["c"]'),
    ]


@pytest.mark.parametrize("read_ahead", [1, 2, 3, 1000])
def test_reading_ahead_is_bounded_and_loses_nothing(tmp_path: Path, store: Path, read_ahead: int) -> None:
    """Never more active inputs than were asked for; all lines are answered, also where they share keys."""
    path = write_lines(tmp_path / "lines", [{"id": number % 7, "r": f"r{number % 2}"} for number in range(20)])
    options = ("--read-ahead", read_ahead, "--runtime-field", "r", "--key-field", "id")
    result = call("run", path, "--store", store, *options, *ECHO)
    assert sorted(each["line"] for each in answers(result)) == list(range(1, 21))
    assert result.exit_code == 0


def test_a_batch_takes_several_lines(tmp_path: Path, store: Path) -> None:
    """Up to --max-batch; each line is answered with the result of the run."""
    path = write_lines(tmp_path / "lines", [1, 2, 3])
    result = call("run", path, "--store", store, "--max-batch", 2, *ECHO)
    assert [each["result"] for each in answers(result)] == ["[1,2]", "[1,2]", "[3]"]
    assert "runs 2" in result.stderr


def test_a_line_that_always_fails_is_given_up_and_holds_nobody_up(tmp_path: Path, store: Path) -> None:
    """Abandoned after --max-attempts, told, exit code 1; also when the command is given again (C14, C15)."""
    path = write_lines(tmp_path / "lines", [{"bad": True}, {"bad": False}, {"bad": True}])
    options = ("--store", store, "--max-attempts", 2, "--backoff", 0, "--handler", "tests.tools.functions:poisoned")
    result = call("run", path, *options)
    told = [(each["line"], each["state"], each["attempts"]) for each in answers(result)]
    assert (result.exit_code, told) == (1, [(1, "abandoned", 2), (2, "consumed", 1), (3, "abandoned", 2)])
    assert answers(result)[0]["outcome"]["reason"] == "attempts_exhausted"
    assert f"{path}:1 in main: attempt 1 failed: ValueError: bad payload" in result.stderr
    assert "abandoned 2, failed attempts 4" in result.stderr
    assert call("run", path, *options).exit_code == 1


def test_no_traceback_of_a_handler_reaches_a_user(tmp_path: Path, store: Path) -> None:
    """Its error is one line on stderr and the error of the input."""
    path = write_lines(tmp_path / "lines", [1])
    result = call("run", path, "--store", store, "--max-attempts", 1, "--handler", "tests.tools.functions:broken")
    assert "Traceback" not in result.stderr
    assert "failed: ValueError: no such luck (functions.py:" in result.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "ValueError: no such luck (functions.py:"),
        ("interrupts", "KeyboardInterrupt"),
        ("output_of_text", "the executor returned what cannot be stored: result: must be bytes or None, not str"),
        ("exits", "SystemExit: 7"),
    ],
)
def test_every_failed_attempt_is_counted_and_told(tmp_path: Path, store: Path, name: str, words: str) -> None:
    """Whoever finds the failure: the handler's side, or the service that takes its answer."""
    path = write_lines(tmp_path / "lines", [1])
    options = ("--max-attempts", 2, "--backoff", 0, "--handler", f"tests.tools.functions:{name}")
    result = call("run", path, "--store", store, *options)
    assert result.exit_code == 1
    for attempt in (1, 2):
        assert f"{path}:1 in main: attempt {attempt} failed: {words}" in result.stderr
    assert "abandoned 1, failed attempts 2" in result.stderr


@pytest.mark.parametrize(
    "name", ["tests.tools.functions", "no.such:f", "tests.tools.functions:no", "tests.tools.functions:not_callable"]
)
def test_a_handler_that_cannot_be_loaded_is_a_usage_error(tmp_path: Path, store: Path, name: str) -> None:
    """Before the store is touched."""
    path = write_lines(tmp_path / "lines", [1])
    result = call("run", path, "--store", store, "--handler", name)
    assert (result.exit_code, store.exists()) == (2, False)
    assert result.stderr.startswith(f"error: --handler {name}: ")


def test_a_line_that_is_too_large_is_told_with_the_limit(tmp_path: Path, store: Path) -> None:
    """How many bytes there may be, and no setting that the command does not have."""
    for value in ({"a": "x" * 2_000_000}, {"input_type": "prompt", "text": "x" * 2_000_000}):
        path = write_lines(tmp_path / "lines", [value])
        result = call("run", path, "--store", store, *ECHO)
        assert result.exit_code == 2
        assert "takes the input over 1048576 bytes; mend the line" in result.stderr


def test_a_mistake_in_the_module_of_a_handler_is_told_with_its_place(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, with file and line, whatever the module raises."""
    monkeypatch.syspath_prepend(tmp_path)
    path = write_lines(tmp_path / "lines", [1])
    for name, code, said in (
        ("handler_of_one", "A = 1\nB = one\n", "NameError: name 'one' is not defined (handler_of_one.py:2)"),
        ("handler_of_two", "\nraise SystemExit(0)\n", "SystemExit: 0 (handler_of_two.py:2)"),
    ):
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        result = call("run", path, "--store", store, "--handler", f"{name}:work")
        assert (result.exit_code, store.exists()) == (2, False)
        assert result.stderr == f"error: --handler {name}:work: cannot be loaded: {said}\n"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--exec", "cat", *ECHO),
        (*ECHO, "--max-attempts", "0"),
        (*ECHO, "--runtime-field", "a..b"),
        (*ECHO, "--runtime", ""),
        (*ECHO, "--job", ""),
        (*ECHO, "--timeout", "0"),
        *((*ECHO, name, value) for name in SECONDS for value in ("nan", "inf", "-inf")),
        (*ECHO, "no-such-file"),
        (*ECHO, "-", "-"),
    ],
)
def test_options_are_checked_before_anything_is_done(tmp_path: Path, store: Path, options: tuple[str, ...]) -> None:
    """Exit code 2, one error, no store."""
    path = write_lines(tmp_path / "lines", [1])
    result = call("run", path, "--store", store, *options)
    assert (result.exit_code, result.stdout, store.exists()) == (2, "", False)
    assert "error: " in result.stderr


def test_many_runtimes_are_closed_and_opened_again(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many idle runtimes are kept open, and each is opened again when a line comes for it."""
    monkeypatch.setattr("holdstate.tools.run_job.MAX_OPEN", 2)
    path = write_lines(tmp_path / "lines", [{"r": f"r{number % 6}"} for number in range(24)])
    result = call("run", path, "--store", store, "--runtime-field", "r", "--read-ahead", 3, *ECHO)
    assert (result.exit_code, sorted(each["line"] for each in answers(result))) == (0, list(range(1, 25)))
    with LmdbStore.open(store, read_only=True) as opened:
        assert max(runtime.epoch for runtime in opened.list_runtimes()) > 1
