"""``holdstate store``: look into a store, also while another process writes to it. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import click

from ..runtime.records import InputRecord, RuntimeRecord
from ..runtime.store import InputFilter
from ..spec.vocabulary import InputKind, InputState
from ..stores.lmdb_reader import LmdbReader
from ..stores.lmdb_store import LmdbStore
from .history_page import history_page
from .history_views import COLUMNS, history_rows, history_view
from .input_history import history_of
from .options import DEFAULT_RUNTIME, json_option, option, runtime_id, store_argument, text
from .output import ExitCode, NotFound, note, to_json, write_document, write_lines, write_result, write_table, write_to
from .store_page import store_page
from .store_survey import runtimes_of
from .store_views import finding_view, input_row, input_view, runtime_row, runtime_view, statistics

DEFAULT_LIMIT: Final = 100
LARGEST_LIMIT: Final = 100_000

MOST_NAMED: Final = 5
"""Runtimes that an error names."""

HTML: Final = option("--html", metavar="FILE", help="One HTML page that needs nothing else; - for stdout.")
STATE: Final = click.Choice([str(state) for state in InputState])
KIND: Final = click.Choice([str(kind) for kind in InputKind])

ORDERS: Final = range(-(2**63), 2**63)
"""Order keys that a store can hold."""


@click.group()
def store() -> None:
    """Look into a store, also while another process writes to it."""


@store.command()
@store_argument
@json_option
@HTML
@option("--runtime", metavar="NAME", type=runtime_id, help="--html: With the lanes of this runtime.")
def stat(path: str, *, json: bool, html: str | None, runtime: str | None) -> ExitCode:
    """Counts and sizes of the store at PATH."""
    if html is None and runtime is not None:
        raise click.UsageError("--runtime shows lanes on the page; give --html FILE")
    if json and html is not None:
        raise click.UsageError("give one of --json and --html")
    with LmdbStore.open(path, read_only=True) as opened:
        if html is not None:
            write_to(html, store_page(opened, runtime, datetime.now(UTC)))
            return ExitCode.OK
        figures = statistics(opened)
    if json:
        write_document(figures)
        return ExitCode.OK
    rows: list[tuple[str, object]] = []
    for name, value in figures.items():
        if isinstance(value, dict):
            rows.extend((f"{name}: {each}", count) for each, count in value.items())
        else:
            rows.append((name, value))
    write_table(("", ""), rows)
    return ExitCode.OK


@store.command("list")
@store_argument
@option("--runtime", metavar="NAME", type=runtime_id, help="List the inputs of this runtime; without it the runtimes.")
@option("--state", multiple=True, type=STATE, help="Only inputs in this state; may be repeated.")
@option("--kind", multiple=True, type=KIND, help="Only inputs of this kind; may be repeated.")
@option("--limit", default=DEFAULT_LIMIT, type=click.IntRange(1, LARGEST_LIMIT), help="Most rows.")
@option("--after", type=text, help="Go on after this: the next_after of the listing before.")
@json_option
@option("--ndjson", is_flag=True, help="One JSON object a line.")
def list_(
    path: str,
    runtime: str | None,
    state: tuple[str, ...],
    kind: tuple[str, ...],
    *,
    limit: int,
    after: str | None,
    json: bool,
    ndjson: bool,
) -> ExitCode:
    """Runtimes of the store at PATH, or the inputs of one of them."""
    if json and ndjson:
        raise click.UsageError("give one of --json and --ndjson")
    if runtime is None and (state or kind):
        raise click.UsageError("--state and --kind choose inputs; name their runtime with --runtime")
    with LmdbStore.open(path, read_only=True) as opened:
        if runtime is None:
            _list_runtimes(opened, after, limit, json=json, ndjson=ndjson)
        else:
            wanted = InputFilter(
                runtime,
                frozenset(map(InputState, state)) or None,
                frozenset(map(InputKind, kind)) or None,
            )
            _list_inputs(opened, wanted, after, limit, json=json, ndjson=ndjson)
    return ExitCode.OK


def _list_runtimes(opened: LmdbStore, after: str | None, limit: int, *, json: bool, ndjson: bool) -> None:
    found = opened.list_runtimes(after=after, limit=limit + 1)
    records, next_after = found[:limit], found[limit - 1].runtime_id if len(found) > limit else None
    if json:
        write_document({"runtimes": [runtime_view(each) for each in records], "next_after": next_after})
    elif ndjson:
        write_lines(runtime_view(each) for each in records)
    else:
        columns = ("runtime", "state", "active", "ended", "epoch", "revision", "created")
        write_table(columns, [runtime_row(each) for each in records])
    if next_after is not None and not json:
        note(f"more: --after {next_after}")


def _list_inputs(
    opened: LmdbStore, wanted: InputFilter, after: str | None, limit: int, *, json: bool, ndjson: bool
) -> None:
    _known_runtime(opened, wanted.runtime_id)
    page = opened.list_inputs(wanted, after=_order(after), limit=limit)
    if json:
        views = [input_view(each) for each in page.records]
        write_document({"runtime": wanted.runtime_id, "inputs": views, "next_after": page.next_after})
    elif ndjson:
        write_lines(input_view(each) for each in page.records)
    else:
        columns = ("order", "input", "kind", "state", "outcome", "attempts", "failures", "key")
        write_table(columns, [input_row(each) for each in page.records])
    if page.next_after is not None and not json:
        note(f"more: --after {page.next_after}")


def _order(after: str | None) -> int | None:
    if after is None:
        return None
    with suppress(ValueError):
        if int(after) in ORDERS:
            return int(after)
    problem = "is an order key, a whole number in 64 bits, where inputs are listed"
    raise click.BadParameter(problem, param_hint="--after")


def _known_runtime(opened: LmdbStore, runtime_id: str) -> None:
    with opened.reading() as reader:
        _record(reader, str(opened.path), runtime_id)


@store.command()
@store_argument
@option("--runtime", default=DEFAULT_RUNTIME, metavar="NAME", type=runtime_id, help="The runtime.")
@option("--input", type=click.UUID, help="One of its inputs, by id.")
@option("--key", type=text, help="One of its inputs, by idempotency key.")
@json_option
def show(path: str, runtime: str, input: UUID | None, key: str | None, *, json: bool) -> ExitCode:
    """A runtime of the store at PATH, or one of its inputs with its history, receipt, payload and result."""
    if input is not None and key is not None:
        raise click.UsageError("give one of --input and --key")
    with LmdbStore.open(path, read_only=True) as opened, opened.reading() as reader:
        view = runtime_view(_record(reader, path, runtime))
        if input is not None or key is not None:
            record = reader.load_input(runtime, input) if input else reader.find_by_key(runtime, key or "")
            if record is None:
                raise NotFound(f"input {input or key} of runtime {runtime!r}", path)
            view = input_view(record, reader, runtime)
    if json:
        write_document(view)
    else:
        write_table(("", ""), [(name, _cell(value)) for name, value in view.items()])
    return ExitCode.OK


def _cell(value: object) -> object:
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return "\n".join(to_json(each) for each in value)
    return to_json(value) if isinstance(value, dict | list) else value


@store.command()
@store_argument
@click.argument("input", metavar="[INPUT]", type=click.UUID, required=False)
@option("--key", type=text, help="The input under this idempotency key, instead of one by id.")
@option("--runtime", metavar="NAME", type=runtime_id, help="Look in this runtime; without it in all of them.")
@json_option
@HTML
def history(
    path: str, input: UUID | None, key: str | None, runtime: str | None, *, json: bool, html: str | None
) -> ExitCode:
    """The life of the INPUT with this id: transitions, runs, failures, crashes, recoveries, its receipt and its end.

    A history keeps a bounded number of transitions; what it has dropped is shown as a gap.
    """
    if (input is None) == (key is None):
        raise click.UsageError("name one input: give its id, or its --key")
    if json and html is not None:
        raise click.UsageError("give one of --json and --html")
    with LmdbStore.open(path, read_only=True) as opened, opened.reading() as reader:
        record, found = _find(reader, path, runtime, input, key)
        told = history_of(reader, record, found)
        view = history_view(told, reader)
    if html is not None:
        write_to(html, history_page(told, view, datetime.now(UTC)))
    elif json:
        write_document(view)
    else:
        write_result(f"input {found.input_id} of runtime {record.runtime_id}. {told.now}")
        write_table(COLUMNS, history_rows(told))
        note(told.log.text)
    return ExitCode.OK


def _find(
    reader: LmdbReader, path: str, runtime: str | None, input_id: UUID | None, key: str | None
) -> tuple[RuntimeRecord, InputRecord]:
    """An input with its runtime. Raises NotFound, UsageError where a key is in several runtimes."""
    records = list(runtimes_of(reader)) if runtime is None else [_record(reader, path, runtime)]
    found = []
    for record in records:
        name = record.runtime_id
        each = reader.load_input(name, input_id) if input_id else reader.find_by_key(name, key or "")
        if each is not None:
            found.append((record, each))
    names = [record.runtime_id for record, _ in found]
    if not found:
        named = f"input {input_id}" if input_id else f"an input under the key {key!r}"
        raise NotFound(f"{named}, looked for among active and ended inputs of {_named(records)},", path)
    if len(found) > 1:
        raise click.UsageError(f"several runtimes have such an input: {', '.join(names)}; choose one with --runtime")
    return found[0]


def _record(reader: LmdbReader, path: str, runtime: str) -> RuntimeRecord:
    record = reader.load_record(runtime)
    if record is None:
        raise NotFound(f"runtime {runtime!r}", path)
    return record


def _named(records: Sequence[RuntimeRecord]) -> str:
    """Runtimes by name, as many as fit a line."""
    if not records:
        return "no runtime"
    names = ", ".join(repr(record.runtime_id) for record in records[:MOST_NAMED])
    more = len(records) - MOST_NAMED
    return f"runtime {names}{f' and {more:,} more' if more > 0 else ''}"


@store.command()
@store_argument
@json_option
def verify(path: str, *, json: bool) -> ExitCode:
    """Audit the store at PATH: every row, every reference, every count. Exit code 1 when something is wrong."""
    with LmdbStore.open(path, read_only=True) as opened:
        findings = opened.verify()
    if json:
        write_document({"findings": [finding_view(each) for each in findings]})
    elif findings:
        write_table(("check", "where", "problem"), [(each.check, each.where, each.problem) for each in findings])
    note(f"{len(findings)} findings" if findings else "nothing wrong")
    return ExitCode.FINDING if findings else ExitCode.OK
