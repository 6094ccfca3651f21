"""What a service notes of its open runtimes after each of their commits: load, events, problems, telemetry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import final

from .backpressure import Load
from .delta import Delta
from .driver import PersistentRuntimeDriver
from .errors import StoreError
from .executor import Executor
from .service_settings import ServiceSettings
from .status import Problems, StoreGauge, Tally
from .store import RuntimeStore, StoreStats
from .subscriptions import EventHub
from .telemetry import LOGGER, TracedExecutor, log_events, telemetry_if_set_up


@final
class Observation:
    """One per service. Nothing here waits or raises."""

    def __init__(self, store: RuntimeStore, settings: ServiceSettings, now: Callable[[], datetime]) -> None:
        self._keeps_payloads = settings.runtime.retention.keep_payloads
        self._now = now
        self.load = Load(settings.max_active_total, settings.max_queued_bytes, now)
        self.hub = EventHub()
        self.problems = Problems()
        self.telemetry = telemetry_if_set_up()
        self.gauge = StoreGauge(store, now, self._read)
        self.gauge.read_now()

    def _read(self, stats: StoreStats) -> None:
        self.load.adjust(stats, keeps_payloads=self._keeps_payloads)

    def traced(self, executor: Executor | None) -> Executor | None:
        """``executor`` with a span around each run, where there is telemetry."""
        if executor is None or self.telemetry is None:
            return executor
        return TracedExecutor(executor, self.telemetry)

    def opened(self, driver: PersistentRuntimeDriver) -> Tally:
        """A runtime was opened and recovered."""
        report = driver.recovery_report
        self.load.ended_unseen(report.consumed + report.abandoned)
        self._publish(driver)
        return Tally(driver.image)

    def committed(self, driver: PersistentRuntimeDriver, tally: Tally, deltas: list[Delta]) -> None:
        """Something of a runtime was committed."""
        runtime_id, run_since = driver.runtime_id, tally.run_since
        self.load.committed(runtime_id, deltas)
        tally.committed(deltas, self._now())
        self.problems.committed(runtime_id)
        for delta in deltas:
            log_events(runtime_id, delta.announcements)
        if self.telemetry is not None:
            self.telemetry.committed(deltas, run_since, self.load.active)
        self._publish(driver)

    def _publish(self, driver: PersistentRuntimeDriver) -> None:
        if self.hub.is_heard(driver.runtime_id):
            self.hub.publish(driver.runtime_id, driver.drain_events())
        else:
            driver.discard_events()

    def closed(self, runtime_id: str) -> None:
        """A runtime is no longer open."""
        self.load.closed(runtime_id)

    def note(self, runtime_id: str, what: str, error: BaseException) -> None:
        """Log a problem and keep it for the status."""
        LOGGER.warning("%s", what, extra={"runtime_id": runtime_id, "cause": type(error).__name__}, exc_info=error)
        self.problems.note(runtime_id, what, error, self._now(), is_of_store=isinstance(error, StoreError))
