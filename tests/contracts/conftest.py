"""Every contract holds for every store: the homes that tests run in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from shutil import copytree

import pytest

from holdstate.stores.lmdb_store import LmdbStore

from .kit import Home, LmdbHome, MemoryHome, NewHome


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty LMDB store, to be copied: making one takes many syncs."""
    path = tmp_path_factory.mktemp("empty") / "store"
    LmdbStore.open(path).close()
    return path


@pytest.fixture(params=["memory", "lmdb"])
def store_factory(request: pytest.FixtureRequest, tmp_path: Path, empty_store: Path) -> Iterator[NewHome]:
    """Makes homes for new stores; all of them are closed at the end."""
    numbers = count()
    homes: list[Home] = []

    def new_home() -> Home:
        home: Home
        if request.param == "memory":
            home = MemoryHome()
        else:
            home = LmdbHome(copytree(empty_store, tmp_path / f"store-{next(numbers)}"))
        homes.append(home)
        return home

    yield new_home
    for home in homes:
        home.close()


@pytest.fixture
def home(store_factory: NewHome) -> Home:
    """One home of a new store."""
    return store_factory()


@pytest.fixture
def lmdb_home(tmp_path: Path) -> Iterator[LmdbHome]:
    """One home of a new LMDB store."""
    home = LmdbHome(tmp_path / "store")
    yield home
    home.close()
