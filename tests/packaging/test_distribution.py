"""What is built holds the four folders, all of them and nothing else, and works when it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

import pytest
from attrs import frozen
from packaging.requirements import Requirement

FOLDERS = ("spec", "runtime", "stores", "tools")
CHECKOUT_ONLY = (".*", "__pycache__", "*.egg-info", "build", "dist")

ACCEPT_A_PROMPT = """\
import asyncio
from holdstate import EphemeralRuntimeDriver, PromptInput

async def main():
    async with await EphemeralRuntimeDriver.open("first") as driver:
        print(type(await driver.accept_input(PromptInput.new("hello"))).__name__)

asyncio.run(main())
"""


@frozen
class Built:
    sdist: Path
    wheel: Path


def _clean_environment() -> dict[str, str]:
    """The environment without what would lead an interpreter back to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "COVERAGE_"))}


def _run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=_clean_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def built(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist, and the wheel that was built from it. A copy of the checkout is built: the checkout stays as it is."""
    source, out = tmp_path_factory.mktemp("source") / "holdstate", tmp_path_factory.mktemp("dist")
    shutil.copytree(project_root, source, symlinks=True, ignore=shutil.ignore_patterns(*CHECKOUT_ONLY))
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel)


def _package_files(root: Path) -> set[str]:
    """The files that the import package must have, by their path in it, read through src/holdstate's links."""
    package = root / "src" / "holdstate"
    found = {file.name for file in package.iterdir() if file.is_file()}
    for folder in FOLDERS:
        for file in (root / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                found.add(file.relative_to(root).as_posix())
    return found


def _below(names: list[str], prefix: str) -> set[str]:
    return {str(PurePosixPath(name).relative_to(prefix)) for name in names if name.startswith(f"{prefix}/")}


def test_src_holds_a_relative_link_to_each_of_the_four_folders(project_root: Path) -> None:
    """src/holdstate links to the folders relatively, so that a clone works wherever it is."""
    links = {
        path.name: str(path.readlink()) for path in (project_root / "src" / "holdstate").iterdir() if path.is_symlink()
    }
    assert links == {folder: f"../../{folder}" for folder in FOLDERS}


def test_wheel_holds_the_four_folders_and_nothing_else(built: Built, project_root: Path) -> None:
    """Every file of the package is in the wheel, under holdstate/, and besides them only the wheel's own metadata."""
    with zipfile.ZipFile(built.wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    assert _below(names, "holdstate") == _package_files(project_root)
    assert {PurePosixPath(name).parts[0] for name in names} == {"holdstate", "holdstate-0.1.0.dist-info"}


def test_sdist_holds_the_four_folders_as_files(built: Built, project_root: Path) -> None:
    """The sdist has the package's files as plain files where the checkout has links, so that it builds anywhere."""
    with tarfile.open(built.sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        names = [member.name for member in archive if member.isfile()]
    assert _below(names, "holdstate-0.1.0/src/holdstate") == _package_files(project_root)
    assert {"LICENSE", "pyproject.toml"} <= _below(names, "holdstate-0.1.0")


def test_wheel_carries_license_types_and_readme(built: Built, project_root: Path) -> None:
    """The wheel says its license, marks itself as typed, and its long description is README.md."""
    with zipfile.ZipFile(built.wheel) as archive:
        metadata = archive.read("holdstate-0.1.0.dist-info/METADATA").decode()
        assert "holdstate/py.typed" in archive.namelist()
        assert "holdstate-0.1.0.dist-info/licenses/LICENSE" in archive.namelist()
    assert "License-Expression: MIT" in metadata
    readme = project_root / "README.md"
    assert readme.exists()
    assert readme.read_text(encoding="utf-8").strip() in metadata


def test_version_is_the_same_everywhere(project_root: Path) -> None:
    """pyproject.toml, the installed metadata and holdstate.__version__ agree, and the changelog has an entry for it."""
    import holdstate

    with (project_root / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert holdstate.__version__ == distribution("holdstate").version == version
    assert f"## [{version}]" in (project_root / "CHANGELOG.md").read_text(encoding="utf-8")


def _closure(root: Distribution) -> Iterator[Distribution]:
    """Everything that ``root`` requires without extras, directly or not, as installed beside this test."""
    seen: set[str] = set()
    wanted = list(root.requires or ())
    while wanted:
        requirement = Requirement(wanted.pop())
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(requirement.name)
        found = distribution(requirement.name)
        wanted.extend(found.requires or ())
        yield found


@pytest.fixture(scope="session")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a clean environment that holds the wheel and what it declares to need, copied from here.

    Copied rather than fetched: so the test needs no index, and a requirement that the wheel forgot is missing.
    """
    home = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    bin_ = home / "venv" / "bin"
    target = Path(
        _run(bin_ / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    )
    pip = (sys.executable, "-m", "pip", "--python", bin_ / "python")
    _run(*pip, "install", "--quiet", "--no-index", "--no-deps", built.wheel, cwd=home)
    (wheel_metadata,) = target.glob("holdstate-*.dist-info")
    for needed in _closure(Distribution.at(wheel_metadata)):
        for file in needed.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(Path(str(file.locate())), target / file)
    _run(*pip, "check", cwd=home)
    return bin_


def test_installed_command_tells_its_version(installed: Path, tmp_path: Path) -> None:
    """The installed program answers, and so does ``python -m holdstate``."""
    assert _run(installed / "holdstate", "--version", cwd=tmp_path) == "holdstate 0.1.0\n"
    assert _run(installed / "python", "-m", "holdstate", "--version", cwd=tmp_path) == "holdstate 0.1.0\n"


def test_installed_package_accepts_a_prompt(installed: Path, tmp_path: Path) -> None:
    """The shortest program of use works with the wheel and its declared requirements alone."""
    assert _run(installed / "python", "-c", ACCEPT_A_PROMPT, cwd=tmp_path) == "Accepted\n"
