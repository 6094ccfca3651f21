"""What the tests of the LMDB store share: an open store in a temporary directory, and a runtime in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdstate.stores.lmdb_store import LmdbStore

from .builders import Books


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with LmdbStore.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def books(store: LmdbStore) -> Books:
    """A runtime that is open in ``store``."""
    opened = Books()
    opened.open(store)
    return opened
