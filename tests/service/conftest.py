"""What the tests of the service need from pytest."""

from __future__ import annotations

import pytest

from holdstate.runtime.status import StoreGauge


@pytest.fixture
def refreshed(monkeypatch: pytest.MonkeyPatch) -> list[StoreGauge]:
    """Who wanted the counters of a store read again; in place of a thread, which the clock of a test does not know."""
    gauges: list[StoreGauge] = []

    def refresh(gauge: StoreGauge) -> None:
        gauges.append(gauge)

    monkeypatch.setattr(StoreGauge, "refresh", refresh)
    return gauges
