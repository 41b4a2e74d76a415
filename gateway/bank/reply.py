"""Answers in a bank's own format: known by the bank they come from, read beside what was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from adapters.formats import batch_cib
from adapters.model import ParseError
from gateway.bank.refusal import refuse
from gateway.domain.errors import Reason
from gateway.payments.transmissions import load_batch
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.model import StatusReport
    from adapters.profile import BankProfile
    from adapters.reach import Banks
    from gateway.store import Row


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that cannot be read without the order: it repeats rows, not who sent them.

    Attributes:
        format: the profile's outbound format, whose rows it repeats.
        content: its bytes.
        reference: our reference in its first row.
        profile: the bank.
    """

    format: str
    content: bytes
    reference: str
    profile: BankProfile


def reply_in(content: bytes, profile_id: str, banks: Banks) -> Reply | None:
    """The answer that a bank's file is; None for any other file.

    Raises:
        ParseError: it is one, and damaged.
    """
    if profile_id not in banks.ids():
        return None
    profile = banks.profile(profile_id)
    if profile.outbound_format != "batch-cib" or not batch_cib.is_reply(content, profile):
        return None
    return Reply(profile.outbound_format, content, batch_cib.reference(content, profile), profile)


async def answered(conn: AsyncConnection, reply: Reply, now: datetime) -> StatusReport:
    """What an answer says of the file that it is about: the newest one whose rows it repeats.

    Raises:
        GatewayError: FILE_UNREADABLE if it repeats no file that was sent to this bank.
    """
    wrong = "it repeats no file that was sent"
    for transmission in await _carriers(conn, reply):
        batch = await load_batch(conn, transmission)
        try:
            return batch_cib.parse_reply(reply.content, reply.profile, batch, now)
        except ParseError as error:
            wrong = f"{error.code} at {error.location}: {error.message}"
    raise refuse(Reason.FILE_UNREADABLE, wrong)


async def _carriers(conn: AsyncConnection, reply: Reply) -> Sequence[Row]:
    """The transmissions to this bank that carry the payment of the first row, newest first."""
    sent, carried, accounts = t.transmissions, t.transmission_payments, t.bank_accounts
    query = (
        sa.select(sent)
        .join(carried)
        .join(accounts)
        .where(carried.c.payment_id == reply.reference, accounts.c.profile_id == reply.profile.id)
        .order_by(sent.c.created_at.desc(), sent.c.transmission_id.desc())
    )
    return (await conn.execute(query)).all()
