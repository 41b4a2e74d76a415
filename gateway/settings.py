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


_PlainAddress = Annotated[
    str,
    AfterValidator(_on_loopback),
    Field(pattern=r"^((\[[0-9A-Fa-f:.]+\]|[^:\s]+):)?[0-9]{1,5}$|^$"),
]
"""Where something is read over plain HTTP; empty for nowhere."""


class Settings(BaseSettings):
    """What one gateway process is told. Every field is an environment variable ``XINYI_<NAME>``.

    Attributes:
        data_dir: where the embedded database, the banks' directories and the demo's keys live.
        database_url: ``postgresql://…`` of a server; empty for the embedded one in `data_dir`.
        database_owner_url: the same database for the login that owns its tables and migrates them
            at the start; empty where `database_url` does both, which is told in the log.
        listen: address and port of the gRPC server.
        workers: how many processes serve that port together, on this machine; see
            `gateway.workers`.
        tls_certificate: the server's certificate chain, PEM.
        tls_key: the server's private key, PEM.
        tls_client_ca: certificates that sign the clients', PEM.
        party_calls_per_s: how often one party may call in the long run, of each server process.
        party_burst: how often at once, after a pause.
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
        log_origin: how the names of the logs of disclosed lines begin, such as
            ``trust.example/xinyi``; the trust company's id follows. A log keeps its name for ever.
        log_sm2: whether each log is signed by SM2 as well, in a line beside the Ed25519 one. A log
            keeps that key for ever too.
        witnesses: the witnesses of these logs, a TOML file; None for none.
        anchor_dirs: further places for the audit log's anchor, best on another disk or host: a list
            in JSON, such as ``["/mnt/anchor"]``. Each holds the anchor of one gateway.
        poll_interval: pause between two looks at the outbox and at the banks' directories.
        metrics_listen: where metrics, health and readiness are read over plain HTTP, as
            ``host:port`` or a port of the loopback address; empty for nowhere. They name nobody,
            but whoever reaches them reads them. Of several workers each has a port of its own, the
            next ones from this.
        public_listen: where anybody reads the book in a browser, over plain HTTP behind a web
            server with TLS, as ``host:port`` or a port of the loopback address; empty for nowhere.
            Of several workers the first one answers there.
        otlp_endpoint: of a collector of OpenTelemetry traces, ``http://host:4318``; empty for no
            traces, unless a standard ``OTEL_EXPORTER_OTLP_…ENDPOINT`` variable names one.
        log_level: what is less urgent is not logged.
        log_format: ``json``, one object a line; ``console`` for people; ``auto`` for the second
            on a terminal and the first elsewhere.
    """

    model_config = SettingsConfigDict(env_prefix="XINYI_", env_file=".env", extra="ignore")

    data_dir: Path = Path("var/xinyi")
    database_url: str = ""
    database_owner_url: str = ""
    listen: str = "127.0.0.1:50443"
    workers: int = Field(default=1, ge=1, le=8)
    tls_certificate: Path = Field(default_factory=lambda given: _pki(given, "server.pem"))
    tls_key: Path = Field(default_factory=lambda given: _pki(given, "server.key"))
    tls_client_ca: Path = Field(default_factory=lambda given: _pki(given, "ca.pem"))
    party_calls_per_s: float = Field(default=1_000.0, gt=0)
    party_burst: int = Field(default=4_000, gt=0)
    environment: str = Field(default="demo", pattern="^[a-z][a-z0-9-]{0,31}$")
    payment_ttl: timedelta = timedelta(days=7)
    answer_due: timedelta = timedelta(hours=4)
    profiles_dir: Path | None = None
    night_at: time = time(5, 30)
    case_policy: Path | None = None
    rules: Path | None = None
    night_engine: Literal["local", "ray"] = "local"
    ray_address: str = ""
    log_origin: str = Field(default="xinyi.localhost", pattern=r"^[a-z0-9][a-z0-9./-]{0,200}$")
    log_sm2: bool = False
    witnesses: Path | None = None
    anchor_dirs: tuple[Path, ...] = ()
    poll_interval: timedelta = timedelta(seconds=1)
    metrics_listen: _PlainAddress = ""
    public_listen: _PlainAddress = ""
    otlp_endpoint: str = Field(default="", pattern=r"^(https?://.+)?$")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @property
    def workers_dir(self) -> Path:
        """The sockets between several workers."""
        return self.data_dir / "workers"

    @property
    def nights_dir(self) -> Path:
        """One folder a run of the night: what it was given and what came of it."""
        return self.data_dir / "nights"

    @property
    def log_keys_dir(self) -> Path:
        """The private key of each log, one PEM file."""
        return self.data_dir / "log-keys"

    @property
    def public_dir(self) -> Path:
        """What anybody may read, as plain files: one folder a log."""
        return self.data_dir / "public" / "log"

    @property
    def banks_dir(self) -> Path:
        """One folder a bank: ``out`` (ours to it), ``in``, ``audit``, ``quarantine``, or its reach.

        What a ``reach.toml`` in it says: `adapters.reach`.
        """
        return self.data_dir / "banks"
