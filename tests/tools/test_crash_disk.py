"""The model of the disk, the reader of traces and the verdicts: without any real store."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from holdstate.tools.crash_disk import SECTOR, Disk, Image
from holdstate.tools.crash_page import crash_page
from holdstate.tools.crash_pool import DIED, TOO_LONG
from holdstate.tools.crash_power import judge
from holdstate.tools.crash_report import CrashReport
from holdstate.tools.crash_trace import Act, Event, TraceFailed, read_trace

MANY = 1000


def contents(disk: Disk, budget: int = MANY) -> set[bytes]:
    return {
        bytes(image.content().ljust(image.length, b"\0"))
        for _, image in disk.states(Random(1), budget)
        if not image.fill
    }


def test_what_was_synced_is_kept() -> None:
    """After a sync there is one state."""
    disk = Disk()
    disk.write(0, b"a" * SECTOR, SECTOR)
    disk.sync()
    assert disk.is_settled
    assert contents(disk) == {b"a" * SECTOR}


def test_each_sector_that_was_not_synced_may_hold_any_of_its_contents() -> None:
    """Lost, reordered and torn: all mixes of what two sectors held, and nothing else."""
    disk = Disk()
    disk.write(0, b"a" * 2 * SECTOR, 2 * SECTOR)
    disk.sync()
    disk.write(0, b"b" * 2 * SECTOR, 2 * SECTOR)
    disk.write(SECTOR, b"c" * SECTOR, SECTOR)
    assert not disk.is_settled
    firsts, seconds = (b"a", b"b"), (b"a", b"b", b"c")
    assert contents(disk) == {one * SECTOR + two * SECTOR for one in firsts for two in seconds}


def test_a_synced_write_makes_only_its_own_sectors_durable() -> None:
    """A descriptor that syncs each write says nothing of what others wrote."""
    disk = Disk()
    disk.write(0, b"a" * SECTOR, SECTOR)
    disk.sync(disk.write(SECTOR, b"b" * SECTOR, SECTOR))
    assert contents(disk) == {b"\0" * SECTOR + b"b" * SECTOR, b"a" * SECTOR + b"b" * SECTOR}


def test_the_length_may_be_behind_or_ahead() -> None:
    """Zeros that lengthen the file may be missing, be there, or read as junk."""
    disk = Disk()
    disk.write(0, b"a" * SECTOR, SECTOR)
    disk.sync()
    disk.write(SECTOR, b"", 10 * SECTOR)
    lengths = {image.length for _, image in disk.states(Random(1), MANY)}
    assert {SECTOR, 11 * SECTOR} <= lengths
    assert all(SECTOR <= length <= 11 * SECTOR for length in lengths)
    disk.sync()
    assert {image.length for _, image in disk.states(Random(1), MANY)} == {11 * SECTOR}


def test_what_was_never_written_may_read_as_junk() -> None:
    """Junk fills what is between, and neither what is durable nor what was kept."""
    content = Image(b"ab", ((6, b"kept"),), 12, fill=7, written=2).content()
    assert (content[:2], content[6:10], len(content)) == (b"ab", b"kept", 12)
    assert content[2:6] != bytes(4)


def test_many_sectors_are_drawn_within_the_budget() -> None:
    """Where all mixes are too many as many as asked for, with none and all of them, the same each time."""
    disk = Disk()
    for number in range(20):
        disk.write(number * SECTOR, bytes([number + 1]) * SECTOR, SECTOR)
    names = [name for name, _ in disk.states(Random(5), 100)]
    assert len(set(names)) == 100
    assert names == [name for name, _ in disk.states(Random(5), 100)]
    assert {b"", b"".join(bytes([number + 1]) * SECTOR for number in range(20))} <= contents(disk, 200)


def test_calls_of_several_threads_are_put_together(tmp_path: Path) -> None:
    """A write counts from its return, what was said from its beginning; failed calls and other files do not count."""
    trace = tmp_path / "trace"
    data = "".join(f"\\x{byte:02x}" for byte in b"/f/data.mdb")
    said = "".join(f"\\x{byte:02x}" for byte in b'{"done":1}\n')
    lines = [
        f'1 openat(AT_FDCWD, "{data}", O_RDWR|O_CREAT, 0600) = 7',
        '2 pwrite64(7, "\\x61\\x00", 2, 4096 <unfinished ...>',
        f'1 write(1, "{said}", 11 <unfinished ...>',
        "2 <... pwrite64 resumed>)         = 2",
        "1 <... write resumed>)            = 11",
        "2 fdatasync(7)                    = -1 EIO (Input/output error)",
        "2 fdatasync(7)                    = 0",
        '2 write(2, "\\x61", 1)            = 1',
    ]
    trace.write_text("\n".join(lines) + "\n")
    assert list(read_trace(trace, Path("/f"))) == [
        Event(Act.CREATE, "/f/data.mdb"),
        Event(Act.SAY, said={"done": 1}),
        Event(Act.WRITE, "/f/data.mdb", 4096, b"a", 2),
        Event(Act.SYNC, "/f/data.mdb"),
    ]
    trace.write_text(f"{lines[0]}\n1 ftruncate(7, 0) = 0\n")
    with pytest.raises(TraceFailed, match="ftruncate"):
        list(read_trace(trace, Path("/f")))


PLACES = {b"empty": [1], b"one": [2, 3]}
WHOLE = {number: {"recovered": b"r", "continued": b"c"} for number in (1, 2, 3)}


@pytest.mark.parametrize(
    ("answer", "floor", "ceiling", "outcome"),
    [
        ({"digest": b"one"}, 3, 3, "ok"),
        ({"digest": b"one", "recovered": b"r", "continued": b"c"}, 2, 3, "ok"),
        ({"digest": b"empty"}, 2, 3, "lost"),
        ({"digest": b"one"}, 0, 1, "partial"),
        ({"digest": b"other"}, 0, 3, "partial"),
        ({"digest": b"one", "recovered": b"x"}, 2, 3, "repeated"),
        ({"findings": ["verify: something"]}, 2, 3, "partial"),
        ({"findings": ["consumed twice: one"]}, 2, 3, "repeated"),
        ({"problem": "StoreCorruption: cut off"}, 2, 3, "refused"),
        ({"problem": f"{DIED}SIGBUS"}, 2, 3, "died"),
        ({"problem": TOO_LONG}, 2, 3, "undecided"),
    ],
)
def test_each_answer_has_one_outcome(answer: dict[str, object], floor: int, ceiling: int, outcome: str) -> None:
    """The store has to hold a prefix of the commits with every acknowledged one, and recover as ever."""
    whole = {"problem": "", "findings": [], **answer}
    assert judge(whole, PLACES, WHOLE, floor, ceiling)[0] == outcome


def test_the_report_says_what_was_broken_and_what_is_open() -> None:
    """Exit code 1 for a broken promise, 3 where a case is undecided or there is none; a cell for each pair."""
    report = CrashReport("power", 1)
    assert report.code == 3
    report.count("synced", "accept", "ok")
    assert report.code == 0
    report.count("synced", "accept", "undecided", "it took too long")
    assert report.code == 3
    report.count("answered", "begin", "lost", "2 of 3 <commits>")
    report.count("answered", "begin", "lost", "again")
    assert report.code == 1
    assert report.findings[1:] == ["lost: answered, begin: 2 of 3 <commits>"]
    assert report.table() == (
        ["crash point", "accept", "begin"],
        [["synced", "ok 1, undecided 1", ""], ["answered", "", "lost 2"]],
    )
    page = crash_page(report)
    assert page.count('<td class="open">') == page.count('<td class="bad">') == 1
    assert "2 of 3 &lt;commits&gt;" in page
