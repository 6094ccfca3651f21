"""Screenshots of every diagram and page, by the command that makes them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from holdstate.tools.browser import CHROMIUM_VARIABLE, missing
from holdstate.tools.page import page
from holdstate.tools.pictures import PICTURES, Picture
from holdstate.tools.screenshots import take_screenshots

from ..needs import do_without

SMALL = ("diagram-input_lifecycle", "crash-matrix")


def _call(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "holdstate.tools.screenshots", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **variables}, timeout=300
    )


@pytest.fixture
def chromium() -> None:
    """Skips, or fails where all is required, without a browser."""
    notice = missing()
    if notice is not None:
        do_without(notice)


@pytest.mark.usefixtures("chromium")
def test_each_picture_is_taken_at_each_width_light_and_dark(tmp_path: Path) -> None:
    """As PNGs of that width; the list has them all with their sizes."""
    done = _call(*SMALL, "-o", tmp_path / "shots", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    listed = json.loads(done.stdout)
    assert [(each["name"], each["width"], each["scheme"]) for each in listed] == [
        (name, width, scheme) for name in SMALL for scheme in ("light", "dark") for width in ("900", "390")
    ]
    for each in listed:
        header = Path(each["file"]).read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert f"{struct.unpack('>I', header[16:20])[0]}" == each["width"]
        assert int(each["bytes"].replace(",", "")) == Path(each["file"]).stat().st_size > 5_000
    assert len({Path(each["file"]).read_bytes() for each in listed}) == len(listed)


@pytest.mark.usefixtures("chromium")
def test_no_picture_is_wider_than_a_phone(tmp_path: Path) -> None:
    """All of them, on the narrowest window that is looked at."""
    done = _call("-o", tmp_path, "--width", 390, "--scheme", "light", "--json")
    assert [each for each in json.loads(done.stdout) if each["problem"]] == []
    assert done.returncode == 0
    assert len(list(tmp_path.glob("*.png"))) == len(PICTURES)


@pytest.mark.usefixtures("chromium")
def test_a_page_that_is_too_wide_or_broken_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The width and what the browser says are told, and the picture is there all the same."""
    wide = page("wide", "main { width: 600px; height: 10px; }", "<main></main>", "nothing.there();")
    monkeypatch.setattr("holdstate.tools.screenshots.PICTURES", {"wide": Picture(lambda: wide)})
    (narrow, enough) = take_screenshots(tmp_path, ["wide"], [390, 900], ["light"])
    assert narrow.problem.startswith("it is 600 pixels wide, 210 more than the window; error: ")
    assert enough.problem.startswith("error: nothing is not defined")
    assert narrow.path.exists()


def test_without_a_browser_it_says_what_to_install(tmp_path: Path) -> None:
    """In one line, as a usage error."""
    done = _call(*SMALL, "-o", tmp_path, **{CHROMIUM_VARIABLE: str(tmp_path / "none")})
    assert (done.returncode, done.stdout) == (2, "")
    assert f"install it, or name a Chromium with {CHROMIUM_VARIABLE}" in done.stderr


def test_an_unknown_name_is_a_usage_error(tmp_path: Path) -> None:
    """The names are told."""
    done = _call("no-such", "-o", tmp_path)
    assert done.returncode == 2
    assert "walk-whole" in done.stderr
