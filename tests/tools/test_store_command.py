"""``holdstate store``: what it shows, in three forms, and that looking changes nothing."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import lmdb
import pytest

from .support import LineLog, answers, call, command, finish, start, write_lines


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two runtimes: in ``a`` three consumed inputs, in ``b`` one that was given up and one that was consumed."""
    values: list[dict[str, Any]] = [
        {"r": "a", "n": 1},
        {"r": "b", "bad": True},
        {"r": "a", "n": 2},
        {"r": "b"},
        {"r": "a", "n": 3},
    ]
    path = write_lines(tmp_path / "lines", values)
    options = ("--runtime-field", "r", "--key-field", "key", "--max-attempts", 1)
    write_lines(path, [{**value, "key": f"k{number}"} for number, value in enumerate(values)])
    call("run", path, "--store", tmp_path / "store", *options, "--handler", "tests.tools.functions:poisoned")
    return tmp_path / "store"


def files(store: Path) -> dict[str, bytes]:
    """The store's files but LMDB's lock."""
    return {path.name: path.read_bytes() for path in store.rglob("*") if path.is_file() and "lock" not in path.name}


def document(*words: object) -> Any:
    """The one JSON document that a command gives."""
    result = call("store", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_stat_counts(store: Path) -> None:
    """Rows, bytes, and how many are in which state."""
    figures = document("stat", store)
    assert figures.pop("size_bytes") > 0
    assert figures == {
        "runtimes": 2,
        "active_inputs": 0,
        "ended_inputs": 5,
        "blobs": 0,
        "runtime_states": {"idle": 2},
        "input_states": {"abandoned": 1, "consumed": 4},
    }
    assert "input_states: consumed" in call("store", "stat", store).stdout


def test_list_shows_runtimes_in_pages(store: Path) -> None:
    """--after continues where the page ended."""
    first = document("list", store, "--limit", 1)
    assert ([each["runtime_id"] for each in first["runtimes"]], first["next_after"]) == (["a"], "a")
    second = document("list", store, "--limit", 1, "--after", "a")
    assert ([each["runtime_id"] for each in second["runtimes"]], second["next_after"]) == (["b"], None)
    result = call("store", "list", store, "--limit", 1, "--ndjson")
    assert ([each["runtime_id"] for each in answers(result)], result.stderr) == (["a"], "more: --after a\n")
    assert "idle" in call("store", "list", store).stdout


def test_list_shows_inputs_by_state_and_kind_in_pages(store: Path) -> None:
    """In order of admission."""
    page = document("list", store, "--runtime", "a", "--limit", 2)
    assert [each["key"] for each in page["inputs"]] == ["k0", "k2"]
    rest = document("list", store, "--runtime", "a", "--after", page["next_after"])
    assert ([each["key"] for each in rest["inputs"]], rest["next_after"]) == (["k4"], None)
    given_up = document("list", store, "--runtime", "b", "--state", "abandoned", "--kind", "external_event")
    assert [each["outcome"]["reason"] for each in given_up["inputs"]] == ["attempts_exhausted"]
    assert document("list", store, "--runtime", "b", "--kind", "prompt")["inputs"] == []
    result = call("store", "list", store, "--runtime", "a", "--limit", 1, "--ndjson")
    assert ([each["key"] for each in answers(result)], result.stderr) == (["k0"], "more: --after 1\n")
    assert "k1" in call("store", "list", store, "--runtime", "b").stdout


def test_show_tells_all_of_a_runtime(store: Path) -> None:
    """Its record."""
    view = document("show", store, "--runtime", "a")
    assert (view["state"], view["counts"]["ended"], view["last_run"]["ending"]) == ("idle", 3, "completed")
    assert "counts" in call("store", "show", store, "--runtime", "a").stdout


def test_show_tells_all_of_an_input(store: Path) -> None:
    """By id and by key: record, history, receipt, payload, result."""
    view = document("show", store, "--runtime", "a", "--key", "k0")
    assert view == document("show", store, "--runtime", "a", "--input", view["input_id"])
    assert [each["event"] for each in view["history"]] == ["queue", "stage", "apply", "mark_pending", "consume"]
    assert view["receipt"]["contributing_input_ids"] == [view["input_id"]]
    assert (view["result"], view["state"], view["input"]) == ("fine", "consumed", None)
    assert "mark_pending" in call("store", "show", store, "--runtime", "a", "--key", "k0").stdout
    given_up = document("show", store, "--runtime", "b", "--key", "k1")
    assert (given_up["receipt"], given_up["result"], given_up["failures"]) == (None, None, 1)


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--runtime", "c"),
        ("list", "--state", "queued"),
        ("list", "--runtime", "a", "--after", "x"),
        ("list", "--runtime", "a", "--after", 2**63),
        ("list", "--runtime", "a", "--after", -(2**63) - 1),
        ("list", "--after", "\udcff"),
        ("show", "--runtime", "a", "--key", "\udcff"),
        ("history", "--key", "\udcff"),
        ("list", "--json", "--ndjson"),
        ("list", "--runtime", "a", "--state", "happy"),
        ("show", "--runtime", "c"),
        ("show", "--runtime", "a", "--key", "k1"),
        ("show", "--runtime", "a", "--key", "k", "--input", "01890000-0000-7000-8000-000000000001"),
        ("show", "--runtime", "a", "--input", "x"),
        ("stat", "--runtime", "a"),
        ("stat", "--json", "--html", "-"),
        ("stat", "--runtime", "c", "--html", "-"),
    ],
)
def test_what_is_not_there_is_told(store: Path, words: tuple[str, ...]) -> None:
    """Exit code 2, one error, nothing on stdout."""
    result = call("store", words[0], store, *words[1:])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: " in result.stderr
    assert "a bug" not in result.stderr


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    """And stays as it is."""
    (tmp_path / "empty").mkdir()
    for name in ("stat", "list", "show", "verify"):
        assert call("store", name, tmp_path / "empty").exit_code == 2
        assert call("store", name, tmp_path / "none").exit_code == 2
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_sound_store_has_no_findings(store: Path) -> None:
    """Exit code 0."""
    result = call("store", "verify", store)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing wrong\n")
    assert document("verify", store) == {"findings": []}


def test_looking_changes_nothing(store: Path) -> None:
    """Every command reads only (C39)."""
    before = files(store)
    looks = (("stat",), ("stat", "--html", "-"), ("list",), ("show", "--runtime", "a"), ("verify",))
    for words in (*looks, ("history", "--key", "k0"), ("history", "--key", "k0", "--html", "-")):
        assert call("store", words[0], store, *words[1:]).exit_code == 0
    assert files(store) == before


def _spoil(store: Path, database: bytes) -> None:
    """Changes the last byte of the first row of a sub-database."""
    with lmdb.open(str(store), max_dbs=64) as environment:
        rows = environment.open_db(database, create=False)
        with environment.begin(rows, write=True) as txn, txn.cursor() as cursor:
            assert cursor.first()
            key, value = cursor.item()
            txn.put(key, value[:-1] + bytes([value[-1] ^ 1]))


def test_a_spoiled_row_is_a_finding(store: Path) -> None:
    """Exit code 1, with the check, the place and the problem; as JSON too."""
    _spoil(store, b"receipts")
    result = call("store", "verify", store)
    assert result.exit_code == 1
    assert "receipt" in result.stdout
    assert "findings" in result.stderr
    told = call("store", "verify", store, "--json")
    assert told.exit_code == 1
    assert {"check", "where", "problem"} == set(json.loads(told.stdout)["findings"][0])


def test_a_spoiled_row_that_is_asked_for_is_told_in_one_line(store: Path) -> None:
    """Exit code 1: a corrupt store is a finding, not a usage error."""
    _spoil(store, b"ended")
    result = call("store", "list", store, "--runtime", "a")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: corrupt store: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("form", [(), ("--ndjson",)])
def test_a_reader_may_stop_reading(store: Path, form: tuple[str, ...]) -> None:
    """As in ``… | head``: exit code 0, and no word about it."""
    words = shlex.join(command("store", "list", store, "--runtime", "a", *form))
    for pipe in (f"{words} | head -c 1", f"{words} | true"):
        done = subprocess.run(["bash", "-o", "pipefail", "-c", pipe], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_store_can_be_looked_at_while_it_is_written(tmp_path: Path) -> None:
    """Another process has a run in hand meanwhile, and is not disturbed."""
    path = write_lines(tmp_path / "lines", [1, 2])
    store, log, gate = tmp_path / "store", LineLog(tmp_path / "log"), tmp_path / "gate"
    os.mkfifo(gate)
    opened = os.open(gate, os.O_RDWR)  # each run takes a line from it, and waits for one
    process = start("run", path, "--store", store, "--exec", f"{log.add('started')}; read -r _ < {gate}")
    log.wait(1)
    assert document("stat", store)["input_states"] == {"queued": 1, "staged": 1}
    assert document("show", store)["state"] == "running"
    assert call("store", "verify", store).exit_code == 0
    staged = document("list", store, "--runtime", "main", "--state", "staged")["inputs"][0]["input_id"]
    assert [each["events"] for each in document("history", store, staged)["moments"]] == [["queue"], ["stage"]]
    assert "In the current run" in call("store", "stat", store, "--runtime", "main", "--html", "-").stdout
    assert "stage ×1" in call("spec", "diagram", "input_lifecycle", "--store", store).stdout
    os.write(opened, b"go on\n" * 2)
    assert finish(process)[0] == 0
    os.close(opened)
    assert document("stat", store)["input_states"] == {"consumed": 2}
