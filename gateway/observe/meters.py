"""What one gateway counts as it goes. No label has a value that a caller can choose."""

from __future__ import annotations

from importlib.metadata import version
from platform import python_version
from time import time
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN_METHOD: Final = "unknown"
"""Stands for every method that the contract does not have."""

_CALL_BUCKETS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
)

# When each counter was made would be as many series again, and tells nothing.
disable_created_metrics()  # type: ignore[no-untyped-call] # it ships types, not of this one


class Meters:
    """The metrics of one gateway.

    Attributes:
        registry: all of them, for who publishes them.
        in_flight: calls that are being answered; only the event loop counts them.
    """

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Info("xinyi_build", "What runs here.", registry=registry)
        build.info({"version": version("xinyi-gateway"), "python": python_version()})
        self.in_flight = 0
        answering = Gauge("xinyi_calls_in_flight", "Calls being answered.", registry=registry)
        answering.set_function(lambda: self.in_flight)
        self._calls = Counter(
            "xinyi_calls", "Calls that ended, by status.", ("method", "code"), registry=registry
        )
        self._seconds = Histogram(
            "xinyi_call_seconds",
            "How long calls took.",
            ("method",),
            registry=registry,
            buckets=_CALL_BUCKETS_S,
        )
        self._failures = Counter(
            "xinyi_work_failures", "Rounds of work that broke.", ("work",), registry=registry
        )
        self._done_at = Gauge(
            "xinyi_work_done_timestamp_seconds",
            "When a round of work last ended well.",
            ("work",),
            registry=registry,
        )
        # Looking a series up costs more than counting.
        self._ended: dict[tuple[str, str], Callable[[], None]] = {}
        self._took: dict[str, Callable[[float], None]] = {}

    def call_ended(self, method: str, code: str, took_s: float) -> None:
        """Counts a call of a method of the contract, or of `UNKNOWN_METHOD`."""
        count = self._ended.get((method, code))
        if count is None:
            count = self._ended[method, code] = self._calls.labels(method, code).inc
        observe = self._took.get(method)
        if observe is None:
            observe = self._took[method] = self._seconds.labels(method).observe
        count()
        observe(took_s)

    def work_done(self, name: str) -> None:
        """Notes that a round of work ended well."""
        self._done_at.labels(name).set(time())
        self._failures.labels(name)  # so that it is there, as zero, before the first failure

    def work_failed(self, name: str) -> None:
        """Notes that a round of work broke."""
        self._failures.labels(name).inc()
