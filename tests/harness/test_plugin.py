"""The pytest plugin: coverage at the end and as JSON, where failures go, and that it costs nothing when unused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .test_store_controls import PLUGIN, plugin_arguments

SHOP = """\
from holdstate.tools.harness import machine_harness, check_paths, transition_cover
from hypothesis import settings
from tests.harness.shop import ORDER, Generous, Shop

TestShop = machine_harness(ORDER, Shop, settings=settings(max_examples=2, database=None, derandomize=True)).TestCase


def test_paths():
    check_paths(ORDER, Generous, transition_cover(ORDER).paths)
"""
ROOT = Path(__file__).resolve().parents[2]


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest in a project of its own."""
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin_arguments(), *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        cwd=folder,
        env=environment,
    )


def test_coverage_and_failures_are_told_and_written(tmp_path: Path) -> None:
    """With both options: a section at the end, a JSON document, and the failure in the named folder."""
    (tmp_path / "test_shop.py").write_text(SHOP, encoding="utf-8")
    done = pytest_in(tmp_path, "--holdstate-failures=failures", "--holdstate-coverage=coverage.json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "replay it: holdstate test replay" in done.stdout
    assert (tmp_path / "failures" / "order.replay.json").is_file()
    section = done.stdout.partition("holdstate coverage")[2]
    assert "order: " in section
    assert " of 6 transitions" in section
    assert "written to coverage.json" in section
    document = json.loads((tmp_path / "coverage.json").read_bytes())
    assert (document["format"], document["version"]) == ("holdstate-coverage", 1)
    (machine,) = document["machines"]
    assert machine["transitions"]["of"] == 6
    assert set(machine["states"]) == {"cart", "paid", "shipped", "cancelled"}


def test_the_workers_of_xdist_are_added_up(tmp_path: Path) -> None:
    """What two processes took is told as one, like what one process takes of both files."""
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(SHOP, encoding="utf-8")
    documents = []
    for options in ((), ("--numprocesses=2", "--dist=loadfile")):
        done = pytest_in(tmp_path, *options, "--holdstate-coverage=coverage.json")
        assert done.returncode == 1, done.stdout + done.stderr
        section = done.stdout.partition("holdstate coverage")[2]
        assert section.count(" of 6 transitions, ") == 1
        assert "without a word" not in section
        documents.append(json.loads((tmp_path / "coverage.json").read_bytes()))
    assert documents[0] == documents[1]
    assert documents[0]["machines"][0]["steps"] > 0


def test_a_worker_of_xdist_that_dies_is_told(tmp_path: Path) -> None:
    """What it played is lost, and nobody is told that nothing was played."""
    (tmp_path / "test_shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "test_end.py").write_text("import os\n\ndef test_end():\n    os._exit(1)\n", encoding="utf-8")
    done = pytest_in(tmp_path, "--numprocesses=1", "--max-worker-restart=0", "--holdstate-coverage")
    assert "1 workers ended without a word" in done.stdout


def test_coverage_without_a_machine_says_so(tmp_path: Path) -> None:
    """And a file that is none is a mistake, told before any test runs."""
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n", encoding="utf-8")
    done = pytest_in(tmp_path, "test_nothing.py", "--holdstate-coverage")
    assert done.returncode == 0
    assert "no machine was played by the harness" in done.stdout
    wrong = pytest_in(tmp_path, "--holdstate-coverage", "test_nothing.py")
    assert wrong.returncode == pytest.ExitCode.USAGE_ERROR
    assert "put the option last" in wrong.stderr


def test_the_plugin_is_declared_and_loads_nothing_of_the_library() -> None:
    """The entry point names it; loading it imports neither Hypothesis nor a table, a record or a store."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"holdstate": PLUGIN}
    assert {name.partition(">")[0] for name in project["optional-dependencies"]["test"]} == {"hypothesis", "pytest"}
    code = f"import sys, {PLUGIN}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = done.stdout.split()
    assert PLUGIN in loaded
    unwanted = ("hypothesis", "click", "lmdb", "holdstate.spec", "holdstate.runtime", "holdstate.stores")
    assert [name for name in loaded if name.startswith(unwanted)] == []
