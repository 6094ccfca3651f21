"""Traces as files: read by what is in them, written as a page and in ITF."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from attrs import evolve

from .output import note
from .tlc_trace import is_tlc_output, trace_of_output
from .trace import Trace, TraceError
from .trace_page import trace_page

_REPLAY: Final = "holdstate-replay"


def read_trace(path: Path) -> Trace:
    """The trace in a file: ours, a replay file, ITF by whatever tool, or what TLC printed.

    Raises TraceError with the name of the file, OSError.
    """
    content = path.read_bytes()
    try:
        trace = _trace_in(content)
    except TraceError as error:
        raise TraceError(str(path), f"{error.where}: {error.problem}" if error.where else error.problem) from error
    return trace if trace.title else evolve(trace, title=path.name)


def _trace_in(content: bytes) -> Trace:
    text = content.decode("utf-8", "replace")
    if is_tlc_output(text):
        return trace_of_output(text)
    try:
        document = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TraceError("", f"it is not JSON, and nothing that TLC printed: {error}") from error
    if not isinstance(document, dict):
        raise TraceError("", "it is JSON, but no trace")
    if document.get("format") == _REPLAY:
        return Trace.from_json(document.get("trace"))
    if "format" in document:
        return Trace.from_json(document)
    if not _is_itf(document):
        raise TraceError("", 'it is JSON, but no trace; one in ITF has "vars", or "#meta" with "format": "ITF"')
    return Trace.from_itf(document)


def _is_itf(document: dict[str, Any]) -> bool:
    """Other documents have states too: that of a machine, for one."""
    meta = document.get("#meta")
    return "vars" in document or (isinstance(meta, dict) and meta.get("format") == "ITF")


def write_trace_files(trace: Trace, html: Path | None, itf: Path | None) -> None:
    """Write the page and the ITF, where they are wanted. Raises OSError."""
    if html is not None:
        html.write_text(trace_page(trace), encoding="utf-8")
        note(f"wrote {html}")
    if itf is not None:
        itf.write_bytes(msgspec.json.encode(trace.to_itf()))
        note(f"wrote {itf}")
