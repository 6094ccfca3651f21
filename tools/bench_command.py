"""``holdstate bench``: what holdstate costs beside the bare store that it stands on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from cProfile import Profile
from pathlib import Path

import click
from attrs import evolve

from .bench_history import Entry, append, compared, entry_of, read
from .bench_output import Compared, Outcome, figure, markdown, show
from .bench_peer_env import default_directory, interpreters
from .bench_peer_rows import measure_peers
from .bench_peers import PEERS
from .bench_profile import shares
from .bench_rows import ON_MEMORY, ROWS
from .bench_setting import DEFAULT_TMPFS, SIZES, Bench, Line, RowLeftOut, StoreKind
from .bench_svg import picture_of
from .bench_tmpfs import no_tmpfs
from .options import FiniteRange
from .output import ExitCode, note, write_document, write_result, write_table, write_to

_FILE = click.Path(dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--markdown", "as_markdown", is_flag=True, help="The table in Markdown, with what it was measured on.")
@click.option("--svg", "picture", type=click.Path(dir_okay=False, allow_dash=True), help="Also draw it into this file.")
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
    type=FiniteRange(0, min_open=True),
    help="Repeat the rounds of each row until this time is used, three at least.",
)
@click.option("--profile", "with_profile", is_flag=True, help="Where the time goes, instead of how much it is.")
@click.option("--save", type=_FILE, help="Append the ratios of this run to a file of earlier runs.")
@click.option("--compare", type=_FILE, help="Beside each ratio, the last and the best of the comparable runs in it.")
@click.option("--peers", "with_peers", is_flag=True, help="Also other libraries, in an environment of their own.")
@click.option("--peer", "peers", type=click.Choice(list(PEERS)), multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--peers-env",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where that environment is, or is made. [default: holdstate/bench-peers-… in the user's cache]",
)
@click.option("--check", is_flag=True, help="Exit 1 when an aim is missed, or a ratio is worse than the last one.")
def bench(
    *,
    names: Sequence[str],
    size: str,
    store: str,
    path: Path | None,
    tmpfs: Path | None,
    rounds: int | None,
    seconds: float | None,
    picture: str | None,
    as_json: bool,
    as_markdown: bool,
    with_profile: bool,
    save: Path | None,
    compare: Path | None,
    with_peers: bool,
    peers: Sequence[str],
    peers_env: Path | None,
    check: bool,
) -> int:
    """Measure holdstate beside raw LMDB, round by round in the same run.

    A ratio is the median over the rounds; times of different runs are not to be compared.
    """
    shown = {"--json": as_json, "--markdown": as_markdown, "--svg -": picture == "-"}
    more = {"--svg": picture, "--save": save, "--compare": compare, "--peers": with_peers or peers}
    _refuse_both(shown)
    for option, value in {"--markdown": as_markdown, **more}.items():
        _refuse_both({option: bool(value), "--profile": with_profile})
    _refuse_both({"--rounds": rounds is not None, "--seconds": seconds is not None})
    kind = StoreKind(store)
    _check_rows(names, kind, tmpfs)
    chosen = list(peers or (PEERS if with_peers else ()))
    _refuse_both({"--store memory": kind is StoreKind.MEMORY, "--peers": bool(chosen)})
    earlier = _earlier_runs(compare, save)
    wanted = SIZES[size] if rounds is None else evolve(SIZES[size], rounds=rounds)
    profiles: dict[str, Profile] = {}
    with tempfile.TemporaryDirectory(prefix="holdstate-bench-", dir=path) as directory:
        setting = Bench(Path(directory), wanted, store=kind, seconds=seconds, tmpfs=tmpfs or DEFAULT_TMPFS)
        outcome = Outcome(size, setting)
        for name in names or (() if peers else ROWS):
            note(f"{name} …")
            if with_profile:
                setting.profile = profiles[name] = Profile()
            _measure(name, outcome)
        if chosen:
            _measure_peers(chosen, peers_env or default_directory(), outcome)
    if with_profile:
        return _show_profiles(profiles, as_json=as_json)
    outcome.beside.update(_kept(outcome, earlier, save))
    if picture is not None:
        write_to(picture, picture_of(outcome))
    if as_json:
        write_document(outcome.document())
    elif as_markdown:
        write_result(markdown(outcome).removesuffix("\n"))
    elif picture != "-":
        show(outcome)
    return ExitCode.FINDING if check and _has_finding(outcome) else ExitCode.OK


def _earlier_runs(compare: Path | None, save: Path | None) -> list[Entry] | None:
    """The runs to compare with; read before anything is measured, so that a damaged file costs nobody two minutes."""
    if save is not None:
        read(save)
    if compare is None:
        return None
    if not compare.exists() and compare != save:
        raise click.BadParameter(f"there is no file {compare}; --save makes one", param_hint="--compare")
    return read(compare)


def _kept(
    outcome: Outcome, earlier: Sequence[Entry] | None, save: Path | None
) -> Mapping[tuple[str, str, str], Compared]:
    """What earlier runs say about this one, which is then saved."""
    entry = entry_of(outcome)
    found = compared(entry, outcome.lines, earlier or ())
    if earlier is not None and not found:
        note("nothing to compare with: no earlier run is of this machine, Python, size and store, with these rows")
    if save is not None:
        append(save, entry)
        note(f"saved to {save}")
    return found


def _has_finding(outcome: Outcome) -> bool:
    missed = [f"{line.what}: aim missed" for line in outcome.lines if line.met is False]
    worse = [
        f"{each.line.what}: {figure(each.line.ratio)} is worse than {figure(each.last)}, the last"
        for each in outcome.beside.values()
        if each.is_worse
    ]
    for each in (*missed, *worse):
        note(each)
    return bool(missed or worse)


def _measure_peers(names: Sequence[str], directory: Path, outcome: Outcome) -> None:
    pythons, missing = interpreters(names, directory)
    note(f"beside {', '.join(pythons)} …")
    lines, failed = asyncio.run(measure_peers(outcome.bench, pythons))
    outcome.peers.extend(lines)
    outcome.left_out.extend((*missing, *failed))


def _refuse_both(given: Mapping[str, bool]) -> None:
    chosen = [option for option, value in given.items() if value]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} exclude each other")


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
