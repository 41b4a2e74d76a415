"""The figures, the pool and the certificates, as Prometheus reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from prometheus_client.core import Metric

    from gateway.observe.figures import Figures, Night, Outbox
    from gateway.store import Store


@dataclass(slots=True, eq=False)
class StateCollector(Collector):
    """Gauges of a state that is read when it is asked for.

    Attributes:
        store: the database of the calls, whose connections are counted.
        certificates: PEM files by what they are.
        figures: those to publish next; None if the database did not give them.
    """

    store: Store
    certificates: Mapping[str, Path]
    figures: Figures | None = None

    def collect(self) -> Iterator[Metric]:
        """All gauges; those of the figures are absent, not zero, where they are not known."""
        yield from self._pool()
        yield _by(
            "xinyi_certificate_expiry_timestamp_seconds",
            "When the first certificate of a file runs out.",
            "file",
            _expiries(self.certificates),
        )
        known = self.figures is not None
        yield _gauge("xinyi_figures_up", "Whether the database gave its figures.", int(known))
        if self.figures is not None:
            yield from _figures(self.figures)

    def _pool(self) -> Iterator[Metric]:
        pool = self.store.engine.pool
        if isinstance(pool, QueuePool):  # the only kind that we open; mypy cannot know
            most, used = pool.size(), pool.checkedout()
            yield _gauge("xinyi_database_connections_max", "Connections for calls.", most)
            yield _gauge("xinyi_database_connections_in_use", "Of these, those at work.", used)


def first_expiry(pem: bytes) -> float:
    """When the first of some certificates runs out, in seconds of Unix time.

    Raises:
        ValueError: if there is none, or it cannot be read.
    """
    return min(
        certificate.not_valid_after_utc.timestamp()
        for certificate in x509.load_pem_x509_certificates(pem)
    )


def _expiries(files: Mapping[str, Path]) -> Iterator[tuple[str, float]]:
    for name, path in files.items():
        try:
            yield name, first_expiry(path.read_bytes())
        except (OSError, ValueError):
            continue  # absent is what an alarm can see


def _figures(figures: Figures) -> Iterator[Metric]:
    yield from _outboxes(figures)
    yield _gauge(
        "xinyi_payments_unknown",
        "Payments of which nobody knows whether the bank paid them.",
        figures.unknown_payment_count,
    )
    yield _by(
        "xinyi_cases_open",
        "Open cases by the age of their oldest member.",
        "age",
        figures.open_cases.items(),
    )
    yield _gauge(
        "xinyi_cases_overdue", "Open cases past their due day.", figures.overdue_case_count
    )
    yield _gauge(
        "xinyi_quarantined_files",
        "Bank files that could not be used and wait for a person.",
        figures.quarantined_file_count,
    )
    yield from _night(figures.night)


def _outboxes(figures: Figures) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "xinyi_outbox_transmissions",
        "Files of which nobody is sure that the bank has them.",
        labels=("bank", "stage"),
    )
    for bank, outbox in figures.outboxes.items():
        for stage, count in outbox.counts.items():
            depth.add_metric((bank, stage.lower()), count)
    yield depth
    yield _by(
        "xinyi_outbox_oldest_age_seconds",
        "For how long the oldest file that is not sent has waited.",
        "bank",
        ((bank, _age_s(outbox, figures)) for bank, outbox in figures.outboxes.items()),
    )


def _age_s(outbox: Outbox, figures: Figures) -> float:
    if outbox.oldest_at is None:
        return 0.0
    return (figures.asked_at - outbox.oldest_at).total_seconds()


def _night(night: Night) -> Iterator[Metric]:
    yield _gauge(
        "xinyi_night_due_days",
        "Days that should be reconciled by now and are not.",
        night.due_day_count,
    )
    if night.ended_at is not None:
        yield _gauge(
            "xinyi_night_end_timestamp_seconds",
            "When the run of the last reconciled day ended.",
            night.ended_at.timestamp(),
        )
        yield _gauge(
            "xinyi_night_unproved_accounts",
            "Accounts whose balance that run could not prove.",
            night.unproved_account_count,
        )


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _by(name: str, documentation: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family: Any = GaugeMetricFamily(name, documentation, labels=(label,))
    for key, value in values:
        family.add_metric((key,), value)
    found: Metric = family
    return found
