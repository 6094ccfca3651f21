"""Every contract holds for every store: the homes that tests run in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from .kit import Home, LmdbHome, MemoryHome, NewHome


@pytest.fixture(params=["memory", "lmdb"])
def store_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewHome]:
    """Makes homes for new stores; all of them are closed at the end."""
    numbers = count()
    homes: list[Home] = []

    def new_home() -> Home:
        home: Home = MemoryHome() if request.param == "memory" else LmdbHome(tmp_path / f"store-{next(numbers)}")
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
