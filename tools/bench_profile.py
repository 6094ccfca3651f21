"""Where the time of a row goes: shares of its own time by module, and by what the interpreter is given in C."""

from __future__ import annotations

import sysconfig
from collections import Counter
from cProfile import Profile
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parent.parent
_FOLDERS: Final = tuple(
    (name, Path(sysconfig.get_path(kind))) for name, kind in (("", "purelib"), ("", "platlib"), ("python: ", "stdlib"))
)
_IN_C: Final = "~"


def shares(profile: Profile, least: float = 0.01) -> list[tuple[str, float, float]]:
    """Each part with its share of all time and its calls in percent of all calls, the greatest first.

    A function counts with its own time. What is smaller than ``least`` of all comes last, in one line.
    """
    profile.create_stats()
    times, calls = Counter[str](), Counter[str]()
    for (file, _, function), (_, count, own, _, _) in profile.stats.items():
        part = _part(file, function)
        times[part] += own
        calls[part] += count
    all_time, all_calls = sum(times.values()), sum(calls.values())
    found = [(part, own / all_time, calls[part] / all_calls) for part, own in times.most_common()]
    large = [each for each in found if each[1] >= least]
    small = found[len(large) :]
    if small:
        large.append((f"{len(small)} smaller ones", sum(each[1] for each in small), sum(each[2] for each in small)))
    return large


def _part(file: str, function: str) -> str:
    if file == _IN_C:
        return f"in C: {function.strip('<>')}"
    if file.startswith("<"):
        return "generated: rules, records, converters"
    path = Path(file)
    if path.is_relative_to(_PACKAGE):
        return f"holdstate/{path.relative_to(_PACKAGE)}"
    for name, folder in _FOLDERS:
        if path.is_relative_to(folder):
            return f"{name}{path.relative_to(folder).parts[0]}"
    return path.name
