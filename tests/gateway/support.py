"""A small world, a running gateway in it, and its people as callers: for end-to-end tests.

Two estates, each with its firm and committee, one trustee for both, a supervisor and the owners of
the first. `wutong` and `jinjiang` are ids of the estates and of their funds alike.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.rpc import status_pb2  # type: ignore[import-untyped] # it ships no stubs
from stdnum.iso7064 import mod_11_10
from xinyi.v1 import change_service_pb2 as change_pb

from adapters.reach import Banks
from gateway.client import CallRefused, Stubs, decode_error, stubs
from gateway.clock import bank_date
from gateway.domain.party import Mandate, Role
from gateway.domain.policy import Tier
from gateway.pki import Pair, Validity, issue_person
from gateway.registry import funds, parties
from gateway.store import GATEWAY, Store

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sqlalchemy.ext.asyncio import AsyncConnection

NOW = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
"""The tests' present moment: nine in the morning of a Friday at the bank."""
TODAY = date(2026, 11, 20)
LONG = Validity(datetime(2020, 1, 1, tzinfo=UTC), datetime(2049, 12, 31, tzinfo=UTC))
"""Around the tests' present and the real one, which TLS goes by."""
YEAR = timedelta(days=365)

BANK_CODE = "10565100001" + mod_11_10.calc_check_digit("10565100001")
OPENING_MINOR = 86_500_000
LIMIT_MINOR = 20_000_000
"""What each signer may sign."""


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who acts for a party."""

    party_id: str
    person_id: str
    role: Role

    @property
    def name(self) -> str:
        """Resource name."""
        return f"parties/{self.party_id}/persons/{self.person_id}"

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        """The person's own key, the same in every run."""
        return Ed25519PrivateKey.from_private_bytes(sha256(self.name.encode()).digest())


OPERATOR = Who("gateway", "operator", Role.OPERATOR)
MAKER = Who("trust", "maker", Role.TRUSTEE_MAKER)
CHECKER = Who("trust", "checker", Role.TRUSTEE_CHECKER)
FIRM = Who("anju", "cashier", Role.PROPERTY_FIRM)
OTHER_FIRM = Who("hexin", "cashier", Role.PROPERTY_FIRM)
CHAIR = Who("wutong-committee", "chair", Role.OWNERS_COMMITTEE)
OTHER_CHAIR = Who("jinjiang-committee", "chair", Role.OWNERS_COMMITTEE)
SUPERVISOR = Who("community", "supervisor", Role.SUPERVISOR)
OWNER = Who("wutong-owners", "owner", Role.OWNER)

PEOPLE = (OPERATOR, MAKER, CHECKER, FIRM, OTHER_FIRM, CHAIR, OTHER_CHAIR, SUPERVISOR, OWNER)
BY_ROLE = {who.role: who for who in reversed(PEOPLE)}
"""One person a role, of the first estate."""

SIGNERS = (FIRM, OTHER_FIRM, CHAIR, OTHER_CHAIR, CHECKER)

APPOINTED = {
    "wutong": ("trust", "anju", "wutong-committee", "community", "wutong-owners"),
    "jinjiang": ("trust", "hexin", "jinjiang-committee"),
}
"""Estate to the parties appointed to it."""

ACCOUNT_NUMBERS = {"wutong": "6222010000000001", "jinjiang": "6222010000000002"}
BUDGETS = (("wages", "工资社保", 12_000_000), ("cleaning", "清洁", 800_000))
"""Of each fund, in the common book: id, category, limit in fen."""

SLOTS = (frozenset({Role.OWNERS_COMMITTEE}), frozenset({Role.TRUSTEE_CHECKER}))
"""Who signs, whatever the amount."""


@dataclass(slots=True)
class StillClock:
    """A clock that stands until a test moves it."""

    moment: datetime = NOW

    def __call__(self) -> datetime:
        return self.moment


# --- the world --------------------------------------------------------------------------------


async def seed(store: Store, certificates: dict[Who, Pair], now: datetime = NOW) -> None:
    """Writes the whole world into an empty database, as of a moment."""
    async with store.transaction(GATEWAY) as conn:
        for party_id in sorted({who.party_id for who in PEOPLE}):
            await parties.create_party(conn, party_id, display_name=f"{party_id}机构", now=now)
        for who in PEOPLE:
            await _seed_person(conn, who, certificates[who], now)
        for estate_id in APPOINTED:
            await _seed_estate(conn, estate_id, now)


async def _seed_person(conn: AsyncConnection, who: Who, certificate: Pair, now: datetime) -> None:
    ids = (who.party_id, who.person_id)
    await parties.create_person(
        conn,
        *ids,
        display_name=f"{who.person_id}某",
        natural_person=sha256(who.name.encode()).hexdigest(),
        roles=[who.role],
        now=now,
    )
    pem = certificate.certificate_pem.decode()
    await parties.create_certificate(conn, *ids, pem=pem, now=now)
    if who in SIGNERS:
        await _seed_signer(conn, who, now)


async def _seed_signer(conn: AsyncConnection, who: Who, now: datetime) -> None:
    await parties.create_public_key(
        conn,
        who.party_id,
        who.person_id,
        raw=who.signing_key.public_key().public_bytes_raw(),
        starts_at=now - YEAR,
        expires_at=now + YEAR,
        now=now,
    )
    mandate = Mandate("m1", who.person_id, who.role, "", LIMIT_MINOR, "CNY", now - YEAR, now + YEAR)
    await parties.create_mandate(conn, who.party_id, mandate, now=now)


async def _seed_estate(conn: AsyncConnection, estate_id: str, now: datetime) -> None:
    await funds.create_estate(conn, estate_id, display_name=f"{estate_id}小区", group="", now=now)
    for party_id in APPOINTED[estate_id]:
        await funds.create_appointment(conn, estate_id, party_id, now=now)
    await funds.create_fund(
        conn,
        estate_id,
        estate_id=estate_id,
        display_name=f"{estate_id}共有基金",
        trustee_id="trust",
        currency="CNY",
        now=now,
    )
    await funds.create_bank_account(
        conn,
        estate_id,
        "main",
        account_number=ACCOUNT_NUMBERS[estate_id],
        holder_name="信托财产专户",
        bank_code=BANK_CODE,
        profile_id="demo",
        opening_minor=OPENING_MINOR,
        opening_date=bank_date(now) - timedelta(days=1),
        banks=Banks(Path("nowhere")),
        now=now,
    )
    for budget_line_id, category, limit_minor in BUDGETS:
        await funds.create_budget_line(
            conn,
            GATEWAY,
            estate_id,
            budget_line_id,
            book="COMMON",
            category=category,
            display_name=category,
            limit_minor=limit_minor,
            start_date=date(now.year, 1, 1),
            end_date=date(now.year + 1, 1, 31),
            now=now,
        )
    await funds.set_policy(conn, estate_id, (Tier(None, SLOTS),), read_version=0, now=now)


# --- callers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pki:
    """The authority of one test run, and everybody's pair."""

    ca: Pair
    people: dict[Who, Pair]

    def issue(self, who: Who) -> Pair:
        """A further certificate of a person, not registered."""
        return issue_person(self.ca, who.party_id, who.person_id, LONG)


@dataclass(slots=True)
class Callers:
    """Channels to the gateway, over mutual TLS on a real socket; closed with the test."""

    port: int
    pki: Pki
    _open: dict[Who, Stubs] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def as_(self, who: Who) -> Stubs:
        """The services, called by this person."""
        if who not in self._open:
            self._open[who] = stubs(await self.channel(self.pki.people[who]))
        return self._open[who]

    async def channel(self, pair: Pair | None) -> grpc.aio.Channel:
        """A channel with this certificate, or with none."""
        credentials = grpc.ssl_channel_credentials(
            root_certificates=self.pki.ca.certificate_pem,
            private_key=pair.key_pem if pair else None,
            certificate_chain=pair.certificate_pem if pair else None,
        )
        channel = grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials)
        return await self._stack.enter_async_context(channel)


async def refusal(answer: Awaitable[Any]) -> CallRefused:
    """How a call was refused; a call that was answered fails the test."""
    return decode_error(await failure(answer))


async def failure(answer: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """The error of a call; a call that was answered fails the test."""
    try:
        found = await answer
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"answered instead of refused: {found}")


def details(error: grpc.aio.AioRpcError) -> bytes:
    """The bytes of the `google.rpc.Status` that came with an error."""
    trailing = error.trailing_metadata()
    assert trailing is not None
    found = trailing["grpc-status-details-bin"]
    assert isinstance(found, bytes)
    assert status_pb2.Status.FromString(found).message == error.details()
    return found


async def confirm(callers: Callers, who: Who, *names: str) -> list[change_pb.Change]:
    """Confirms changes, by the digests that the person computes from what is shown."""
    changes = (await callers.as_(who)).changes
    listed = await changes.ListChanges(change_pb.ListChangesRequest())
    shown = {each.name: sha256(each.content.value).hexdigest() for each in listed.changes}
    refs = [change_pb.ChangeRef(name=name, digest=shown.get(name, "0" * 64)) for name in names]
    request = change_pb.ConfirmChangesRequest(changes=refs, request_id=request_id())
    return list((await changes.ConfirmChanges(request)).changes)


_NUMBERS = count(1)


def request_id() -> str:
    """A request id that no other call of this test run has."""
    return f"request-{next(_NUMBERS)}"
