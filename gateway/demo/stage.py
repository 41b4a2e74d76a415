"""Setting the demo's stage: directories, certificates, keys, database, the first operator."""

from __future__ import annotations

import ipaddress
import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.client import write_profile
from gateway.demo import world
from gateway.demo.register import natural_person
from gateway.domain.errors import GatewayError, Kind, Reason
from gateway.domain.keys import dump_private_key
from gateway.pki import Validity, create_ca, issue_person, issue_server
from gateway.registry.founding import Founder, found

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from gateway.pki import Pair
    from gateway.settings import Settings
    from gateway.store import Store

MARK: Final = "demo.json"
"""Stands in a data directory that the demo made, and may therefore clear."""

_LIFE: Final = timedelta(days=730)


def has_demo(settings: Settings) -> bool:
    """Whether the demo has run to its end here."""
    mark = settings.data_dir / MARK
    return mark.exists() and json.loads(mark.read_text())["complete"]


def clear(settings: Settings, day: date) -> None:
    """Makes the data directory empty, if the demo made it or nobody has.

    Raises:
        GatewayError: if it holds something else, or a gateway is running on it.
    """
    directory = settings.data_dir
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARK).exists():
            raise _in_the_way(f"{directory} holds data that is not the demo's; name another place")
        if (directory / "postgres" / "postmaster.pid").exists():
            raise _in_the_way(f"a gateway is running on {directory}; stop it first")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    mark(settings, day, complete=False)


def mark(settings: Settings, day: date, *, complete: bool) -> None:
    """Says that this directory is the demo's."""
    content = json.dumps({"day": str(day), "complete": complete})
    (settings.data_dir / MARK).write_text(content + "\n")


def make_certificates(settings: Settings, people_dir: Path, day: date) -> None:
    """An authority, the server's certificate, and each person's directory with their keys."""
    # Certificates are read by clocks of this world, the demo's days may lie before them.
    begin = min(datetime.combine(day, datetime.min.time(), UTC), datetime.now(UTC))
    validity = Validity(begin - timedelta(days=1), begin + _LIFE)
    ca = create_ca("Xinyi demo", validity)
    pki_dir = settings.data_dir / "pki"
    ca.write(pki_dir / "ca.pem", pki_dir / "ca.key")
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    issue_server(ca, names, validity).write(settings.tls_certificate, settings.tls_key)
    for person in world.PEOPLE:
        _make_person(settings, people_dir, person, ca, validity)


def _make_person(
    settings: Settings, people_dir: Path, person: world.Person, ca: Pair, validity: Validity
) -> None:
    pair = issue_person(ca, person.party, person.person, validity)
    signs = person.limit_yuan > 0
    write_profile(
        people_dir / f"{person.party}.{person.person}",
        server=settings.listen,
        environment=settings.environment,
        lang="zh",
        ca_pem=ca.certificate_pem,
        certificate_pem=pair.certificate_pem,
        key_pem=pair.key_pem,
        signing_key_pem=dump_private_key(Ed25519PrivateKey.generate()) if signs else None,
    )


async def found_operator(store: Store, people_dir: Path, now: datetime) -> None:
    """Registers the first operator, who registers everybody else."""
    person = world.OPERATOR_PERSON
    home = people_dir / f"{person.party}.{person.person}"
    founder = Founder(
        party_id=person.party,
        party_name=world.PARTIES[person.party],
        person_id=person.person,
        person_name=person.display_name,
        natural_person=natural_person(person),
        certificate_pem=(home / "client.pem").read_text(),
    )
    await found(store, founder, now)


def _in_the_way(message: str) -> GatewayError:
    return GatewayError(Kind.EXISTS, Reason.RESOURCE_EXISTS, message)
