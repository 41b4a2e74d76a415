"""What the database does not know, by the anchors and the banks' folders."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
import structlog

from adapters.model import ParseError
from adapters.orders import handed_over, payments_in
from gateway.audit.log import head_of
from gateway.domain.payment import State, reserves_money
from gateway.payments.record import payment_name
from gateway.payments.transmissions import Stage
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.model import Payment
    from adapters.reach import Banks
    from gateway.audit.anchor import Anchor
    from gateway.audit.chain import Head

NOT_SENT: Final = (Stage.QUEUED, Stage.STUCK)
"""Of such a transmission the database believes that nothing was handed over."""

UNSENT: Final = tuple(
    state.value for state in State if reserves_money(state) or state is State.RELEASED
)
"""A payment that the database would still hand to a bank."""

_AT_ONCE: Final = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LostPayment:
    """A payment in a lost file.

    Attributes:
        reference: our own; empty where the format has no room for it.
        amount_minor: minor units.
        currency: ISO 4217.
        account_ending: the last four digits of the payee's account.
        name: its resource name, where the database knows it as not sent yet; else empty.
    """

    reference: str
    amount_minor: int
    currency: str
    account_ending: str
    name: str


@dataclass(frozen=True, slots=True)
class LostFile:
    """A file that may have gone to a bank, of which the database does not know.

    Attributes:
        profile_id: the bank's.
        name: the file's.
        sha256: of its bytes, hexadecimal.
        transmission_id: its transmission, if the database knows that as not sent yet; else empty.
        payments: as far as the format tells them.
    """

    profile_id: str
    name: str
    sha256: str
    transmission_id: str
    payments: tuple[LostPayment, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """All that is known to be lost.

    Attributes:
        anchors: those that the database lacks.
        head: of its audit log now.
        last_at: when the last entry was made before the newest anchor; None where there is none.
        files: sent and not known to be.
    """

    anchors: tuple[Anchor, ...]
    head: Head
    last_at: datetime | None
    files: tuple[LostFile, ...]

    @property
    def digest(self) -> str:
        """What two persons acknowledge: SHA-256 over anchors and files, hexadecimal."""
        told = {
            "anchors": [[each.head.sequence, each.head.hash.hex()] for each in self.anchors],
            "files": [[each.profile_id, each.name, each.sha256] for each in self.files],
        }
        return sha256(json.dumps(told, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


async def assess(conn: AsyncConnection, anchors: Sequence[Anchor], banks: Banks) -> Loss:
    """Compares; the transaction must be the gateway's own."""
    entries = t.audit_entries.c
    newest = max(anchor.at for anchor in anchors)
    before = sa.select(sa.func.max(entries.at)).where(entries.at <= newest)
    files = [file async for file in _lost_files(conn, banks)]
    return Loss(tuple(anchors), await head_of(conn), await conn.scalar(before), tuple(files))


async def _lost_files(conn: AsyncConnection, banks: Banks) -> AsyncIterator[LostFile]:
    for folder in sorted(banks.root.glob("*/audit")):
        copies = await asyncio.to_thread(handed_over, folder)
        for some in _slices(copies):
            stages = await _stages(conn, [copy.stem for copy in some])
            for copy in some:
                if stages.get(copy.stem) in (None, *NOT_SENT):
                    known = copy.stem if copy.stem in stages else ""
                    yield await _lost_file(conn, copy, known, banks)


def _slices(copies: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (copies[start : start + _AT_ONCE] for start in range(0, len(copies), _AT_ONCE))


async def _stages(conn: AsyncConnection, ids: Sequence[str]) -> dict[str, str]:
    table = t.transmissions.c
    query = sa.select(table.transmission_id, table.state).where(table.transmission_id.in_(ids))
    return {row.transmission_id: row.state for row in await conn.execute(query)}


async def _lost_file(
    conn: AsyncConnection, copy: Path, transmission_id: str, banks: Banks
) -> LostFile:
    profile_id = copy.parent.parent.name
    content = await asyncio.to_thread(copy.read_bytes)
    try:
        orders = payments_in(content, banks.profile(profile_id))
    except (ParseError, LookupError) as wrong:
        # The file itself is told all the same.
        log.warning("lost_file_not_read", file=copy.name, why=type(wrong).__name__)
        orders = ()
    payments = [await _lost_payment(conn, order) for order in orders]
    digest = sha256(content).hexdigest()
    return LostFile(profile_id, copy.name, digest, transmission_id, tuple(payments))


async def _lost_payment(conn: AsyncConnection, order: Payment) -> LostPayment:
    table = t.payments
    query = sa.select(table).where(table.c.state.in_(UNSENT))
    if order.end_to_end_id:
        query = query.where(table.c.payment_id == order.end_to_end_id)
    else:
        # Which of several equal ones it was is not known: one of them must not be paid again.
        query = query.where(
            table.c.payee_account == order.payee_account,
            table.c.amount_minor == order.amount_minor,
        )
    row = (await conn.execute(query.order_by(table.c.payment_id).limit(1))).one_or_none()
    return LostPayment(
        reference=order.end_to_end_id,
        amount_minor=order.amount_minor,
        currency=order.currency,
        account_ending=order.payee_account[-4:],
        name="" if row is None else payment_name(row),
    )
