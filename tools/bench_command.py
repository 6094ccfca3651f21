"""``holdstate bench``: what holdstate costs beside the bare store that it stands on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from cProfile import Profile
from pathlib import Path

import click
from attrs import evolve

from .bench_output import Outcome, markdown, show
from .bench_profile import shares
from .bench_rows import ON_MEMORY, ROWS
from .bench_setting import DEFAULT_TMPFS, SIZES, Bench, Line, RowLeftOut, StoreKind
from .bench_tmpfs import no_tmpfs
from .output import ExitCode, note, write_document, write_result, write_table

_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The table in Markdown, with what it was measured on.")
@click.option(
    "--size",
    type=click.Choice(list(SIZES)),
    default="full",
    show_default=True,
    help="small takes seconds and says less; large has a million ended inputs and takes long.",
)
@click.option("--row", "names", type=click.Choice(list(ROWS)), multiple=True, help="Only this row; may be repeated.")
@click.option(
    "--store",
    type=click.Choice([kind.value for kind in StoreKind]),
    default=StoreKind.LMDB.value,
    show_default=True,
    help="What the rows work on; without a file some cannot, and no aim holds.",
)
@click.option(
    "--path", type=_DIRECTORY, help="Where the stores are made; its disk is what is measured. A temporary directory."
)
@click.option("--tmpfs", type=_DIRECTORY, help=f"Where the row software makes its stores. [default: {DEFAULT_TMPFS}]")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each row.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    help="Repeat the rounds of each row until this time is used, three at least.",
)
@click.option("--profile", "with_profile", is_flag=True, help="Where the time goes, instead of how much it is.")
@click.option("--check", is_flag=True, help="Exit 1 when an aim is missed.")
def bench(
    *,
    names: Sequence[str],
    size: str,
    store: str,
    path: Path | None,
    tmpfs: Path | None,
    rounds: int | None,
    seconds: float | None,
    as_json: bool,
    as_markdown: bool,
    with_profile: bool,
    check: bool,
) -> int:
    """Measure holdstate beside raw LMDB, round by round in the same run.

    A ratio is the median over the rounds; times of different runs are not to be compared.
    """
    _refuse_both({"--json": as_json, "--markdown": as_markdown})
    _refuse_both({"--markdown": as_markdown, "--profile": with_profile})
    _refuse_both({"--rounds": rounds is not None, "--seconds": seconds is not None})
    kind = StoreKind(store)
    _check_rows(names, kind, tmpfs)
    wanted = SIZES[size] if rounds is None else evolve(SIZES[size], rounds=rounds)
    profiles: dict[str, Profile] = {}
    with tempfile.TemporaryDirectory(prefix="holdstate-bench-", dir=path) as directory:
        setting = Bench(Path(directory), wanted, store=kind, seconds=seconds, tmpfs=tmpfs or DEFAULT_TMPFS)
        outcome = Outcome(size, setting)
        for name in names or ROWS:
            note(f"{name} …")
            if with_profile:
                setting.profile = profiles[name] = Profile()
            _measure(name, outcome)
    if with_profile:
        return _show_profiles(profiles, as_json=as_json)
    if as_json:
        write_document(outcome.document())
    elif as_markdown:
        write_result(markdown(outcome).removesuffix("\n"))
    else:
        show(outcome)
    missed = any(line.met is False for line in outcome.lines)
    return ExitCode.FINDING if check and missed else ExitCode.OK


def _refuse_both(given: Mapping[str, bool]) -> None:
    if all(given.values()):
        raise click.UsageError(f"{' and '.join(given)} exclude each other")


def _check_rows(names: Sequence[str], kind: StoreKind, tmpfs: Path | None) -> None:
    """What was asked for by name and cannot be had is a mistake; what was not asked for is left out."""
    files = [name for name in names if name not in ON_MEMORY]
    if kind is StoreKind.MEMORY and files:
        raise click.UsageError(f"row {files[0]} needs a file, which --store memory has not")
    if tmpfs is not None and (why := no_tmpfs(tmpfs)):
        raise click.BadParameter(why, param_hint="--tmpfs")


def _measure(name: str, outcome: Outcome) -> None:
    in_memory = outcome.bench.store is StoreKind.MEMORY
    if in_memory and name not in ON_MEMORY:
        _leave_out(outcome, RowLeftOut(name, "it needs a file, and the store is in memory"))
        return
    try:
        lines = asyncio.run(ROWS[name](outcome.bench))
    except RowLeftOut as left:
        _leave_out(outcome, left)
        return
    outcome.lines.extend(map(_without_aim, lines) if in_memory else lines)


def _leave_out(outcome: Outcome, left: RowLeftOut) -> None:
    note(f"{left.row}: left out, for {left.why}")
    outcome.left_out.append(left)


def _without_aim(line: Line) -> Line:
    """The aims are those of synced writes."""
    return evolve(line, aim=None, goal=None)


def _show_profiles(profiles: Mapping[str, Profile], *, as_json: bool) -> int:
    found = {name: shares(profile) for name, profile in profiles.items()}
    if as_json:
        keys = ("part", "time", "calls")
        write_document({name: [dict(zip(keys, row, strict=True)) for row in rows] for name, rows in found.items()})
        return ExitCode.OK
    rows = [(name, part, f"{own:.1%}", f"{calls:.1%}") for name, parts in found.items() for part, own, calls in parts]
    write_table(("row", "part", "of the time", "of the calls"), rows)
    return ExitCode.OK
