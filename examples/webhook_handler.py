r"""A handler for GitHub webhooks: one line of text per payload, as the result of its run.

    holdstate run github-webhooks.jsonl --store state --runtime-field payload.repository.full_name \
        --exec 'python webhook_handler.py'

Each line of the file is ``{"event": NAME, "payload": {…}}``. ``--log FILE`` appends one line when an execution starts
and one when it ends, each on disk before the next step; ``--seconds N`` makes an execution take a while.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

TITLED = ("issue", "pull_request", "discussion", "release", "milestone", "alert", "workflow_job", "package")


def summary(event: str, payload: dict[str, Any]) -> str:
    """What happened, where, to what and by whom, in one line."""
    action = payload.get("action")
    what = f"{event} {action}" if action else event
    repository = (payload.get("repository") or {}).get("full_name", "no repository")
    parts = [f"{repository}: {what}"]
    if event == "push":
        parts.append(f"{len(payload.get('commits', []))} commits on {payload.get('ref')}")
    for name in TITLED:
        subject = payload.get(name) or {}
        title = subject.get("title") or subject.get("name") or subject.get("tag_name")
        if title:
            number = f"#{subject['number']} " if "number" in subject else ""
            parts.append(f"{number}{title}")
    sender = (payload.get("sender") or {}).get("login")
    if sender:
        parts.append(f"by {sender}")
    return ", ".join(parts)


def append(path: str | None, entry: dict[str, Any]) -> None:
    """Adds one line to the log; it is on disk when this returns."""
    if path is None:
        return
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(log, json.dumps(entry).encode() + b"\n")
        os.fsync(log)
    finally:
        os.close(log)


def main() -> None:
    """Reads a run on stdin and answers it on stdout."""
    parser = argparse.ArgumentParser(description="Summarises GitHub webhooks for holdstate run --exec.")
    parser.add_argument("--log", metavar="FILE", help="append a line when an execution starts and when it ends")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long an execution takes")
    options = parser.parse_args()
    document = sys.stdin.read()
    if not document:
        print("nothing to do: `holdstate run --exec` gives a run on stdin", file=sys.stderr)
        return
    run = json.loads(document)
    keys = [each["header"]["idempotency_key"] for each in run["inputs"]]
    entry = {"run_id": run["run_id"], "runtime": run["runtime"], "attempt": run["attempt"], "keys": keys}
    append(options.log, {"step": "started", **entry})
    time.sleep(options.seconds)
    for each in run["inputs"]:
        line = each["payload"]
        print(summary(line["event"], line["payload"]))
    append(options.log, {"step": "ended", **entry})


if __name__ == "__main__":
    main()
