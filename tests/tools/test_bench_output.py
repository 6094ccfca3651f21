"""What the bench prints and draws: Markdown, a picture, how long it goes on, and which store it works on."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner

from holdstate.tools import bench_command, bench_setting
from holdstate.tools.bench_command import bench
from holdstate.tools.bench_output import COLUMNS, Outcome, cells, figure, markdown
from holdstate.tools.bench_peer_rows import PeerLine
from holdstate.tools.bench_peers import PEERS
from holdstate.tools.bench_rows import ON_MEMORY, ROWS
from holdstate.tools.bench_setting import SIZES, Bench, Line, RowLeftOut
from holdstate.tools.bench_svg import MARGIN, TRACK, WIDTH, bar_of, picture_of
from holdstate.tools.diagram_text import LABEL, NAME, SMALL

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
FONTS = {"label": LABEL, "small": SMALL, "heading": NAME}

MANY = "accept, 64 callers on one runtime"
GROUP = "written to the file by one of 64 gathered accepts"
LIVES = "accept to consumed, 64 runtimes at once"
LINES = [
    Line("accept", "accept, one caller", "times raw", 676, 417, "µs", 1.59, 1.45, 1.63, 1.6, 1.3),
    Line("accept-64", MANY, "times the raw rate", 66.6, 354, "µs", 3.2, 3.0, 6.5, 4, 5, True),
    Line("written", GROUP, "bytes each", 962, None, "bytes", 962, 897, 1089),
    Line("memory", "memory by 1024 more ended inputs", "bytes each", 0, None, "bytes", 0, 0, 0, 0.0),
    Line("service", LIVES, "lifecycles/s", 2920, None, "lives/s", 2920, 2786, 3082, 2500, 4000, True),
]  # fmt: skip
PEER_LINES = [
    PeerLine("accept", "raw LMDB", "", 400, 1.0, 1.0, 1.0, 0.6, 1.0, "equal: each commit synced"),
    PeerLine("accept", "holdstate", "0.1.0", 600, 1.5, 1.4, 1.7, 1.0, 1.0, "equal: each commit synced"),
    PeerLine("accept", "litequeue", "0.9", 500, 1.26, 1.2, 1.4, 0.8, None, "weaker: journal wal, synchronous=1"),
]


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    made = Outcome("full", Bench(tmp_path, SIZES["full"]))
    made.lines.extend(LINES)
    made.left_out.append(RowLeftOut("software", "/dev/shm is on ext4, not on a tmpfs"))
    return made


def test_figures_have_three_digits_or_more() -> None:
    """Enough to compare, and no exponent."""
    assert [figure(each) for each in (0.0, 1.586, 23.44, 416.6, 12345.6)] == ["0.00", "1.59", "23.4", "417", "12,346"]


def test_markdown_is_a_table_with_what_it_was_measured_on(outcome: Outcome) -> None:
    """A sentence, a row for each line, and what was left out and why."""
    text = markdown(outcome)
    head, table, missing = text.split("\n\n")
    assert re.fullmatch(r"holdstate \S+, Python \S+, LMDB \S+, \S+ \S+; size full, 7 rounds\.", head)
    lines = table.splitlines()
    assert lines[0] == f"| {' | '.join(COLUMNS)} |"
    assert [line.strip("| ").split(" | ")[1] for line in lines[2:]] == [line.what for line in LINES]
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}
    assert missing == "- left out: *software*, for /dev/shm is on ext4, not on a tmpfs\n"


def test_the_page_has_the_columns_that_are_printed() -> None:
    """The tables of runs in docs/performance.md are such as ``--markdown`` prints; every row is described there."""
    page = (ROOT / "docs" / "performance.md").read_text()
    starts = [match.start() for match in re.finditer(re.escape(f"| {' | '.join(COLUMNS)} |"), page)]
    assert starts
    for start in starts:
        rows = [line.strip("| ").split(" | ")[0] for line in page[start:].split("\n\n")[0].splitlines()[2:]]
        assert rows
        assert set(rows) <= set(ROWS)
    described = {line.split(" | ")[0].strip("| ") for line in page[: starts[0]].splitlines() if line.startswith("| ")}
    assert set(ROWS) <= described
    assert set(PEERS) <= described


def test_cells_say_what_is_asked_of_a_line() -> None:
    """Its aim with the side it is a bound from, whether it is met, and what comes next."""
    assert cells(LINES[1])[-4:] == ("times the raw rate", "≥ 4", "no", "≥ 5")
    assert cells(LINES[2])[-3:] == ("", "", "")


def test_other_libraries_are_a_table_of_their_own(outcome: Outcome) -> None:
    """With what each promised, and no number where nobody counted."""
    outcome.peers.extend(PEER_LINES)
    text = markdown(outcome)
    assert "| accept | litequeue 0.9 | 500 µs | 1.26 | 1.20 to 1.40 | 0.80 | not counted | weaker: journal wal" in text
    assert [each["who"] for each in outcome.document()["peers"]] == ["raw LMDB", "holdstate", "litequeue"]


def test_a_picture_is_one_well_formed_file(outcome: Outcome) -> None:
    """Every line is in it, also for those who cannot see it; nothing is loaded."""
    outcome.peers.extend(PEER_LINES)
    outcome.lines.append(Line("x", "<what> & more", "times raw", ratio=1.0, low=1.0, high=1.0))
    text = picture_of(outcome)
    root = ET.fromstring(text)
    words = [each.text for each in root.iter(f"{SVG}text")]
    assert {line.what for line in outcome.lines} <= set(words)
    description = root.findtext(f"{SVG}desc") or ""
    assert all(f"{line.what}: {figure(line.ratio)} {line.reads}" in description for line in outcome.lines)
    assert "weaker: journal wal, synchronous=1" in words
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_no_words_of_a_picture_meet(outcome: Outcome) -> None:
    """Those on one line end before the next ones begin, and inside the picture."""
    outcome.peers.extend(PEER_LINES)
    root = ET.fromstring(picture_of(outcome))
    taken: dict[str, list[tuple[float, float]]] = {}
    for each in root.iter(f"{SVG}text"):
        kind, *more = each.get("class", "").split()
        x, width = float(each.get("x", "")), FONTS[kind].width(each.text or "")
        taken.setdefault(each.get("y", ""), []).append((x - width, x) if "end" in more else (x, x + width))
    for spans in taken.values():
        ordered = sorted(spans)
        assert all(left >= MARGIN and right <= WIDTH - MARGIN for left, right in ordered)
        assert all(right < left for (_, right), (left, _) in pairwise(ordered))


def test_the_aim_is_in_the_same_place_in_all_lines(outcome: Outcome) -> None:
    """Three fifths along the track, unless the bar or what comes next needs more room."""
    root = ET.fromstring(picture_of(outcome))
    aims = [each.get("d", "") for each in root.iter(f"{SVG}path") if each.get("class") == "aim"]
    assert aims[0].startswith(f"M{MARGIN + 0.6 * TRACK:.1f} ")
    assert len(aims) == 4
    ratio = bar_of(evolve(LINES[0], ratio=30.0, high=40.0))
    assert ratio.most == pytest.approx(40.0 / 0.97)
    assert (ratio.look, ratio.note) == ("missed", "missed ≤ 1.6, next ≤ 1.3")


def test_a_picture_goes_into_a_file_or_to_stdout(tmp_path: Path) -> None:
    """Beside the table, or alone."""
    options = ["--size", "small", "--row", "syncs", "--svg"]
    result = CliRunner().invoke(bench, [*options, str(tmp_path / "a" / "bench.svg")], standalone_mode=False)
    assert "syncs of accept to consumed" in result.stdout
    assert ET.parse(tmp_path / "a" / "bench.svg").getroot().tag == f"{SVG}svg"
    assert ET.fromstring(CliRunner().invoke(bench, [*options, "-"], standalone_mode=False).stdout).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--json", "--markdown"], "--json and --markdown exclude each other"),
        (["--json", "--svg", "-"], "--json and --svg - exclude each other"),
        (["--profile", "--markdown"], "--markdown and --profile exclude each other"),
        (["--profile", "--save", "x"], "--save and --profile exclude each other"),
        (["--rounds", "3", "--seconds", "1"], "--rounds and --seconds exclude each other"),
        (["--store", "memory", "--row", "open"], "row open needs a file, which --store memory has not"),
        (["--store", "memory", "--peer", "sqlite"], "--store memory and --peers exclude each other"),
        (["--compare", "/nowhere/runs"], "there is no file /nowhere/runs"),
        (["--tmpfs", "/proc"], "/proc is on proc, not on a tmpfs"),
        (["--seconds", "0"], "0.0 is not in the range x>0"),
    ],
)
def test_what_cannot_be_asked_for_is_a_mistake(options: list[str], problem: str) -> None:
    """Told before anything is measured, with exit code 2."""
    result = CliRunner().invoke(bench, ["--size", "small", *options])
    assert result.exit_code == 2
    assert problem in result.stderr


@pytest.mark.parametrize(("seconds", "rounds"), [(0.5, 3), (6.0, 6), (6.5, 7), (None, 5)])
def test_rounds_go_on_until_the_time_is_used(
    tmp_path: Path, seconds: float | None, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rounds of a second: three at least, and none once the time is over; without a time, what the size says."""
    now = 100.0
    monkeypatch.setattr(bench_setting, "perf_counter", lambda: now)
    found = []
    for number in Bench(tmp_path, evolve(SIZES["small"], rounds=5), seconds=seconds).rounds():
        found.append(number)
        now += 1.0 if number else 50.0  # the first one is not counted, however long it takes
    assert found == list(range(rounds + 1))


def test_the_time_for_a_row_is_said() -> None:
    """In the document as well as in words."""
    options = ["--size", "small", "--row", "core", "--seconds", "0.001"]
    document = json.loads(CliRunner().invoke(bench, [*options, "--json"], standalone_mode=False).stdout)
    assert (document["seconds"], document["rounds"]) == (0.001, None)
    printed = CliRunner().invoke(bench, [*options, "--markdown"], standalone_mode=False).stdout
    assert "0.001 s for each row, 3 rounds at least." in printed


@pytest.mark.parametrize("name", sorted(ON_MEMORY))
def test_rows_that_need_no_file_run_on_memory(name: str) -> None:
    """The work is counted there as well, and no aim is claimed to be met by what keeps nothing."""
    options = ["--size", "small", "--store", "memory", "--row", name, "--rounds", "1", "--json"]
    document = json.loads(CliRunner().invoke(bench, options, standalone_mode=False).stdout)
    assert document["store"] == "memory"
    assert {row["name"] for row in document["rows"]} == {name}
    assert {row["aim"] for row in document["rows"]} == {None}


def test_rows_that_need_a_file_are_left_out_on_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by name, on stderr and in the document; nothing stands in for them."""
    monkeypatch.setattr(bench_command, "ROWS", {name: ROWS[name] for name in ("core", "syncs", "open")})
    result = CliRunner().invoke(bench, ["--size", "small", "--store", "memory", "--json"], standalone_mode=False)
    assert [each["row"] for each in json.loads(result.stdout)["left_out"]] == ["syncs", "open"]
    assert "syncs: left out, for it needs a file, and the store is in memory" in result.stderr


def test_a_row_that_cannot_be_measured_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are measured, and the exit code says nothing of it."""

    async def nowhere(setting: Bench) -> list[Line]:
        raise RowLeftOut("software", "planted")

    monkeypatch.setattr(bench_command, "ROWS", {"software": nowhere, "syncs": ROWS["syncs"]})
    result = CliRunner().invoke(bench, ["--size", "small", "--check", "--json"], standalone_mode=False)
    document = json.loads(result.stdout)
    assert document["left_out"] == [{"row": "software", "why": "planted"}]
    assert [row["name"] for row in document["rows"]] == ["syncs"] * 3
    assert result.return_value == 0
