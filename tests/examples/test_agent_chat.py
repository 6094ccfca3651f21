"""The chat: whole after every kill, no turn twice, in the order in which the user spoke."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path

from holdstate import InputFilter, InputState, LmdbStore

from .programs import DEADLINE_SECONDS, command_of

CHAT = "chat-1"
CONVERSATION = [
    r"user: What is this\? \[image/png, \d+ bytes\]",
    r"model: A black rectangle, 64 by 48 pixels\.",
    r"user: Tell me a story\.",
    r"model: Once upon a time a process .*… \(cut short\)",
    r"user: Shorter, please\.",
    r"model: There was a process\. It was killed\. It went on\.",
]


def test_the_chat_that_is_killed_twice_is_whole(project_root: Path, tmp_path: Path) -> None:
    """The demonstration kills itself twice and shows the conversation; the store agrees."""
    command = [*command_of(project_root, "agent_chat.py"), "--store", str(tmp_path / "store")]
    done = subprocess.run(
        command, cwd=project_root, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("is killed") == 2
    shown = done.stdout.partition("in the store:\n")[2].splitlines()
    _check_conversation([line.strip() for line in shown])
    _check_store(tmp_path / "store")


def test_the_chat_is_whole_wherever_it_is_killed(project_root: Path, tmp_path: Path) -> None:
    """Killed six times, at the first and the last word of an answer and between; then it goes on to its end."""
    store = tmp_path / "store"
    command = [*command_of(project_root, "agent_chat.py"), "--store", str(store), "--chat"]
    for word in ("A", "pixels.", "Once", "time", "There", "on."):
        with subprocess.Popen(
            [*command, "--stall-at", word], cwd=project_root, stdout=subprocess.PIPE, text=True
        ) as chat:
            assert chat.stdout is not None
            assert word in (line.strip() for line in chat.stdout)
            chat.kill()
        assert chat.returncode == -signal.SIGKILL
    done = subprocess.run(command, cwd=project_root, capture_output=True, check=False, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stderr
    again = subprocess.run(command, cwd=project_root, capture_output=True, check=False, timeout=DEADLINE_SECONDS)
    assert (again.returncode, again.stdout) == (0, b"")  # all is said: the model is not asked again
    _check_store(store)


def _check_conversation(lines: list[str]) -> None:
    assert len(lines) == len(CONVERSATION), lines
    for line, expected in zip(lines, CONVERSATION, strict=True):
        assert re.fullmatch(expected, line), line


def _check_store(path: Path) -> None:
    with LmdbStore.open(path, read_only=True) as store:
        snapshot = store.load_session_snapshot(CHAT)
        assert snapshot is not None
        _check_conversation(
            [
                f"{each['by']}: {each['text']}" + (f" [{each['image']}]" if "image" in each else "")
                for each in json.loads(snapshot)
            ]
        )
        records = store.list_inputs(InputFilter(CHAT)).records
        assert [record.admission.idempotency_key for record in records] == ["message-1", "message-2", "message-3"]
        assert Counter(record.state for record in records) == {InputState.CONSUMED: 3}
        assert len(records[0].admission.blobs) == 1  # the image
        assert store.verify() == []
