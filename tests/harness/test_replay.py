"""Replay files: written by a failure, played by a command, refused when they are something else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from holdstate.tools.cli import cli
from holdstate.tools.harness import Broken, all_paths, check_paths
from holdstate.tools.harness.machine_tests import FAILURES_VARIABLE
from holdstate.tools.harness.replay import ReplayError, Subject, play, play_again, read_replay, subject_of
from holdstate.tools.trace import Trace
from holdstate.tools.trace_file import read_trace

from .shop import ORDER, Forgetful, Generous, Shop, nobody_pays_much

HERE = "tests.harness.shop"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["test", "replay", *map(str, arguments)])


@pytest.fixture
def failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a failure of ``Generous``."""
    monkeypatch.setenv(FAILURES_VARIABLE, str(tmp_path))
    with pytest.raises(Broken):
        check_paths(ORDER, Generous, all_paths(ORDER, 2))
    return tmp_path / "order.replay.json"


def edited(path: Path, **changes: object) -> Path:
    """The file with other parts."""
    document = {**json.loads(path.read_bytes()), **changes}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_failure_is_reproduced_from_its_file(failure: Path) -> None:
    """Exit 1; what is shown is the trace, and stderr says that it is the same failure."""
    done = invoke(failure)
    assert done.exit_code == 1
    assert "refund(amount=2" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("broken: the system took a refused event")
    assert done.stderr.startswith("reproduced; the file says: the system took a refused event")
    document = json.loads(failure.read_bytes())
    assert (document["format"], document["version"]) == ("holdstate-replay", 1)
    assert (document["machine"], document["adapter"]) == (f"{HERE}:ORDER", f"{HERE}:Generous")


def test_a_mended_system_passes(failure: Path) -> None:
    """Exit 0: the adapter is another one here; in life it is the same one, mended."""
    done = invoke(failure, "--adapter", f"{HERE}:Shop")
    assert (done.exit_code, done.stderr.partition(";")[0]) == (0, "nothing fails any more")


def test_another_failure_is_told_apart(failure: Path) -> None:
    """Exit 1, but not as reproduced."""
    done = invoke(failure, "--adapter", f"{HERE}:Stubborn")
    assert done.exit_code == 0  # it ships nothing, and this failure does not ship
    done = invoke(failure, "--adapter", f"{HERE}:Misplaced")
    assert (done.exit_code, done.stderr.partition(";")[0]) == (1, "it fails in another way")


def test_the_trace_of_a_replay_can_be_written(failure: Path, tmp_path: Path) -> None:
    """As a page and in ITF; with --json everything is one document."""
    done = invoke(failure, "--html", tmp_path / "a.html", "--itf", tmp_path / "a.itf.json", "--json")
    document = json.loads(done.stdout)
    assert document["verdict"] == "reproduced"
    trace = Trace.from_json(document["trace"])
    assert read_trace(tmp_path / "a.itf.json") == trace
    assert trace.broken.split(":")[0] in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert trace == read_replay(failure).trace


def test_a_file_in_a_folder_of_its_own_finds_its_code(failure: Path, tmp_path: Path) -> None:
    """The folder of the code is kept in the file as seen from it, so that a project can be moved whole."""
    root = Path(__file__).resolve().parents[2]
    replay = read_replay(failure)
    assert replay.folder is not None
    assert (failure.parent / replay.folder).resolve() == root
    made = tmp_path / "elsewhere" / "my_shop.py"
    made.parent.mkdir()
    made.write_text(f"from {HERE} import Generous as Bought\n", encoding="utf-8")
    edited(failure, adapter="my_shop:Bought", folder="elsewhere")
    before = list(sys.path)
    assert invoke(failure).exit_code == 1
    assert sys.path == before


def test_the_folder_to_import_from_is_found_for_modules_and_packages() -> None:
    """One level up for each dot, and one more for a package."""
    import tests.harness
    import tests.harness.shop
    from holdstate.tools.harness.references import BadReference, resolve, root_of

    root = Path(__file__).resolve().parents[2]
    assert root_of(tests.harness) == root_of(tests.harness.shop) == root
    assert root_of(sys) is None
    with pytest.raises(BadReference, match="has no name after the colon"):
        resolve("tests.harness")


def test_invariants_are_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with a name is imported and fails again; one without leaves the matter undecided, with exit 3."""
    monkeypatch.setenv(FAILURES_VARIABLE, str(tmp_path))
    values = {"amount": [200]}
    for invariant, code in ((nobody_pays_much, 1), (lambda moment: moment.fields["paid"] < 100, 3)):
        with pytest.raises(Broken) as caught:
            check_paths(ORDER, Shop, all_paths(ORDER, 1, values=values), values=values, invariants=[invariant])
        assert caught.value.rule.startswith("invariant")
        assert invoke(tmp_path / "order.replay.json").exit_code == code


def test_parameters_of_every_type_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UUIDs, enums, booleans, text and None are the values that were played."""
    monkeypatch.setenv(FAILURES_VARIABLE, str(tmp_path))
    subject = Subject(ORDER, Forgetful)
    for path in all_paths(ORDER, 3):
        broken, _trace = play(subject, path)
        if broken is None:
            continue
        from holdstate.tools.harness.replay import write_failure

        file = write_failure(broken, subject, "all", tmp_path)
        replay = read_replay(file)
        again = play_again(replay, subject_of(replay, file), str(file))
        assert again.broken is not None
        assert again.is_same
        assert again.broken.moves == broken.moves


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "other"}, "it is no replay file"),
        ({"version": 2}, "its version is 2"),
        ({"moves": 3}, "it is not complete"),
        ({"moves": [3]}, "a move cannot be read"),
        ({"moves": [{"event": "fly", "params": {}}]}, "there is no such event"),
        ({"moves": [{"event": "pay", "params": {"amount": "2"}}]}, "do not fit"),
        ({"moves": [{"event": "pay", "params": {"price": 2}}]}, "there is no parameter 'price'; it has amount, payer"),
        ({"machine": None}, "name it with --machine"),
        ({"machine": f"{HERE}:Shop"}, "not a Machine"),
        ({"adapter": f"{HERE}:ORDER"}, "makes no adapter"),
        ({"adapter": f"{HERE}:Nobody"}, "has no Nobody"),
        ({"adapter": "no_such_module:A"}, "cannot import no_such_module"),
        ({"trace": {}}, "it is not complete"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused(failure: Path, changes: dict[str, Any], said: str) -> None:
    """Exit 2, with a sentence that says what to mend."""
    done = invoke(edited(failure, **changes))
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "bug in holdstate" not in done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{HERE}:Unmakeable", "OSError: no base (shop.py:"),
        (f"{HERE}:Mute", "OSError: no line (shop.py:"),
        ("json:loads", "TypeError: loads() missing 1 required"),
    ],
)
def test_an_adapter_that_cannot_be_made_or_looked_at_is_refused(failure: Path, name: str, said: str) -> None:
    """Exit 2, with what it raised and where."""
    done = invoke(failure, "--adapter", name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {name}: the adapter cannot be played on: {said}")


def test_what_stands_in_the_place_of_another_thing_is_named_by_its_type(failure: Path) -> None:
    """A machine in words has several kilobytes."""
    done = invoke(failure, "--adapter", f"{HERE}:ORDER")
    assert f"{HERE}:ORDER is a Machine, which makes no adapter" in done.stderr
    done = invoke(failure, "--machine", f"{HERE}:Shop")
    assert f"{HERE}:Shop is a type, not a Machine" in done.stderr


def test_what_is_not_json_is_refused(tmp_path: Path) -> None:
    """Named."""
    path = tmp_path / "x.replay.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ReplayError, match="not JSON"):
        read_replay(path)
    assert invoke(path).exit_code == 2
    assert invoke(tmp_path / "none.json").exit_code == 2
