"""``holdstate bench``: what holdstate costs beside the bare store that it stands on."""

from __future__ import annotations

import asyncio
import platform
import tempfile
from collections.abc import Mapping, Sequence
from cProfile import Profile
from pathlib import Path
from typing import Any

import click
import lmdb
from attrs import asdict, evolve

from .bench_profile import shares
from .bench_rows import ROWS
from .bench_setting import SIZES, Bench, Line
from .output import ExitCode, note, write_document, write_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option(
    "--size",
    type=click.Choice(list(SIZES)),
    default="full",
    show_default=True,
    help="small takes seconds and says less.",
)
@click.option("--row", "names", type=click.Choice(list(ROWS)), multiple=True, help="Only this row; may be repeated.")
@click.option(
    "--path",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the stores are made; its disk is what is measured. A temporary directory by default.",
)
@click.option("--rounds", type=click.IntRange(1), help="Rounds of each row.")
@click.option("--profile", "with_profile", is_flag=True, help="Where the time goes, instead of how much it is.")
@click.option("--check", is_flag=True, help="Exit 1 when an aim is missed.")
def bench(
    names: Sequence[str],
    size: str,
    path: Path | None,
    rounds: int | None,
    *,
    as_json: bool,
    with_profile: bool,
    check: bool,
) -> int:
    """Measure holdstate beside raw LMDB, round by round in the same run.

    A ratio is the median over the rounds; times of different runs are not to be compared.
    """
    wanted = SIZES[size] if rounds is None else evolve(SIZES[size], rounds=rounds)
    lines: list[Line] = []
    profiles: dict[str, Profile] = {}
    with tempfile.TemporaryDirectory(prefix="holdstate-bench-", dir=path) as directory:
        setting = Bench(Path(directory), wanted)
        for name in names or ROWS:
            note(f"{name} …")
            if with_profile:
                setting.profile = profiles[name] = Profile()
            lines += asyncio.run(ROWS[name](setting))
    if with_profile:
        return _show_profiles(profiles, as_json=as_json)
    if as_json:
        write_document(
            {"size": size, "rounds": wanted.rounds, **_platform(), "rows": [_document(line) for line in lines]}
        )
    else:
        _show(lines)
    missed = any(line.met is False for line in lines)
    return ExitCode.FINDING if check and missed else ExitCode.OK


def _platform() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "lmdb": ".".join(map(str, lmdb.version(subpatch=False))),
    }


def _document(line: Line) -> dict[str, Any]:
    return {**asdict(line), "met": line.met}


def _show(lines: Sequence[Line]) -> None:
    columns = ("row", "what", "ours", "raw", "ratio", "least to greatest", "", "aim", "met", "next")
    write_table(columns, [_cells(line) for line in lines])


def _show_profiles(profiles: Mapping[str, Profile], *, as_json: bool) -> int:
    found = {name: shares(profile) for name, profile in profiles.items()}
    if as_json:
        keys = ("part", "time", "calls")
        write_document({name: [dict(zip(keys, row, strict=True)) for row in rows] for name, rows in found.items()})
        return ExitCode.OK
    rows = [(name, part, f"{own:.1%}", f"{calls:.1%}") for name, parts in found.items() for part, own, calls in parts]
    write_table(("row", "part", "of the time", "of the calls"), rows)
    return ExitCode.OK


def _cells(line: Line) -> tuple[str, ...]:
    sign = "≥" if line.more_is_better else "≤"
    return (
        line.name,
        line.what,
        f"{line.ours:.3g} {line.unit}",
        "" if line.raw is None else f"{line.raw:.3g} {line.unit}",
        f"{line.ratio:.2f}",
        f"{line.low:.2f} to {line.high:.2f}",
        line.reads,
        "" if line.aim is None else f"{sign} {line.aim:g}",
        "" if line.met is None else ("yes" if line.met else "no"),
        "" if line.goal is None else f"{sign} {line.goal:g}",
    )
