"""Settings, from the environment (prefix ``XINYI_``) or a ``.env`` file."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _pki(given: dict[str, Any], name: str) -> Path:
    """Where the demo puts the server's files: in the data directory that was set before."""
    return Path(given["data_dir"]) / "pki" / name


def _on_loopback(address: str) -> str:
    """A port alone is one that only this machine reaches."""
    return f"127.0.0.1:{address}" if address.isdigit() else address


class Settings(BaseSettings):
    """What one gateway process is told. Every field is an environment variable ``XINYI_<NAME>``.

    Attributes:
        data_dir: where the embedded database, the banks' directories and the demo's keys live.
        database_url: ``postgresql://…`` of a server; empty for the embedded one in `data_dir`.
        listen: address and port of the gRPC server.
        tls_certificate: the server's certificate chain, PEM.
        tls_key: the server's private key, PEM.
        tls_client_ca: certificates that sign the clients', PEM.
        environment: name that stands in every signed payload, so that what was signed for a trial
            never pays in production.
        payment_ttl: how long a payment may wait for its two signatures.
        answer_due: how long a bank may take before its payments count as UNKNOWN.
        profiles_dir: bank profiles of one's own, one TOML file each, besides those that come along.
        night_at: from this hour on, in China, the day before is reconciled; a day that was missed
            is made up for.
        case_policy: TOML file of the case policy, see `gateway.cases.policy`; without one its
            defaults hold.
        rules: the reconciliation's rules, a TOML or JSON file; None for the default rules.
        night_engine: where a night's shards are worked on: processes of this machine, or Ray.
        ray_address: of the Ray cluster; empty for Ray on this machine alone.
        poll_interval: pause between two looks at the outbox and at the banks' directories.
        metrics_listen: where metrics, health and readiness are read over plain HTTP, as
            ``host:port`` or a port of the loopback address; empty for nowhere. They name nobody,
            but whoever reaches them reads them.
        otlp_endpoint: of a collector of OpenTelemetry traces, ``http://host:4318``; empty for no
            traces, unless a standard ``OTEL_EXPORTER_OTLP_…ENDPOINT`` variable names one.
        log_level: what is less urgent is not logged.
        log_format: ``json``, one object a line; ``console`` for people; ``auto`` for the second
            on a terminal and the first elsewhere.
    """

    model_config = SettingsConfigDict(env_prefix="XINYI_", env_file=".env", extra="ignore")

    data_dir: Path = Path("var/xinyi")
    database_url: str = ""
    listen: str = "127.0.0.1:50443"
    tls_certificate: Path = Field(default_factory=lambda given: _pki(given, "server.pem"))
    tls_key: Path = Field(default_factory=lambda given: _pki(given, "server.key"))
    tls_client_ca: Path = Field(default_factory=lambda given: _pki(given, "ca.pem"))
    environment: str = Field(default="demo", pattern="^[a-z][a-z0-9-]{0,31}$")
    payment_ttl: timedelta = timedelta(days=7)
    answer_due: timedelta = timedelta(hours=4)
    profiles_dir: Path | None = None
    night_at: time = time(5, 30)
    case_policy: Path | None = None
    rules: Path | None = None
    night_engine: Literal["local", "ray"] = "local"
    ray_address: str = ""
    poll_interval: timedelta = timedelta(seconds=1)
    metrics_listen: Annotated[str, AfterValidator(_on_loopback)] = Field(
        default="", pattern=r"^((\[[0-9A-Fa-f:.]+\]|[^:\s]+):)?[0-9]{1,5}$|^$"
    )
    otlp_endpoint: str = Field(default="", pattern=r"^(https?://.+)?$")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @property
    def nights_dir(self) -> Path:
        """One folder a run of the night: what it was given and what came of it."""
        return self.data_dir / "nights"

    @property
    def banks_dir(self) -> Path:
        """One folder a bank: ``out`` (ours to it), ``in``, ``audit``, ``quarantine``, or its reach.

        What a ``reach.toml`` in it says: `adapters.reach`.
        """
        return self.data_dir / "banks"
