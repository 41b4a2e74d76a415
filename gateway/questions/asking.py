"""Asking about a line, and answering: written once, masked before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.cases.ageing import due_day
from gateway.clock import bank_date
from gateway.disclosure.lines import get_line
from gateway.domain.errors import GatewayError, Kind, Reason, invalid, not_found
from gateway.domain.free_text import mask_text
from gateway.domain.pseudonym import pseudonym
from gateway.duties.rules import rules_in_force
from gateway.ids import new_id
from gateway.questions.photo import clean_photo
from gateway.registry.alias import alias_salt
from gateway.registry.marks import party_name
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.domain.party import Role

MOST_UNANSWERED: Final = 20
"""Questions of one person about one fund that may wait for their answers."""

_ALIAS_DIGITS: Final = 6
_Q: Final = t.questions.c


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who asks or answers.

    Attributes:
        human: equal for the same human in every party; never stored here.
        party_id: for whom the person speaks.
        role: in which.
    """

    human: str
    party_id: str
    role: Role


def alias_of(salt: bytes, human: str) -> str:
    """A person's pseudonym within a fund."""
    return pseudonym(salt, human.encode(), _ALIAS_DIGITS).upper()


async def ask(
    conn: AsyncConnection,
    fund_id: str,
    line_number: int,
    *,
    text: str,
    photo: bytes,
    asker: Speaker,
    now: datetime,
) -> str:
    """Stores a question about a line, with its photo if there is one; returns its id.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a line in the caller's scope; FIELD_INVALID
            for an empty text or what is no photo; LIMIT_EXCEEDED for who has too many waiting.
    """
    await get_line(conn, fund_id, line_number)
    salt = await alias_salt(conn, fund_id)
    alias = alias_of(salt, asker.human)
    await _require_few(conn, fund_id, alias)
    rules = await rules_in_force(conn, fund_id)
    question_id = new_id("q", now)
    values = {
        "fund_id": fund_id,
        "question_id": question_id,
        "line_number": line_number,
        "text": _public(text, salt),
        "asker_role": asker.role,
        "asker_alias": alias,
        "due_date": due_day(bank_date(now), rules.answer_working_days),
        "created_at": now,
    }
    await conn.execute(t.questions.insert().values(values))
    if photo:
        media_type, content = clean_photo(photo)
        added = {"media_type": media_type, "content": content}
        this = {"fund_id": fund_id, "question_id": question_id}
        await conn.execute(t.question_photos.insert().values({**this, **added}))
    return question_id


async def answer(
    conn: AsyncConnection,
    fund_id: str,
    question_id: str,
    *,
    text: str,
    by: Speaker,
    now: datetime,
) -> None:
    """Adds an answer; the first one ends the waiting.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a question in the caller's scope;
            FIELD_INVALID for an empty text.
    """
    this = (_Q.fund_id == fund_id) & (_Q.question_id == question_id)
    # Locked, so that two answers at one moment get positions of their own.
    question = await conn.execute(sa.select(_Q.question_id).where(this).with_for_update())
    if question.one_or_none() is None:
        raise not_found(question_name(fund_id, question_id))
    own = (t.answers.c.fund_id == fund_id) & (t.answers.c.question_id == question_id)
    count = await conn.scalar(sa.select(sa.func.count()).where(own)) or 0
    values = {
        "fund_id": fund_id,
        "question_id": question_id,
        "position": count + 1,
        "text": _public(text, await alias_salt(conn, fund_id)),
        "role": by.role,
        "party_name": await party_name(conn, by.party_id),
        "created_at": now,
    }
    await conn.execute(t.answers.insert().values(values))
    first = t.questions.update().where(this, _Q.answered_at.is_(None))
    await conn.execute(first.values(answered_at=now))


def question_name(fund_id: str, question_id: str) -> str:
    """Resource name of a question."""
    return f"funds/{fund_id}/questions/{question_id}"


async def _require_few(conn: AsyncConnection, fund_id: str, alias: str) -> None:
    waiting = await conn.scalar(
        sa.select(sa.func.count()).where(
            _Q.fund_id == fund_id, _Q.asker_alias == alias, _Q.answered_at.is_(None)
        )
    )
    if (waiting or 0) >= MOST_UNANSWERED:
        raise GatewayError(
            Kind.EXHAUSTED,
            Reason.LIMIT_EXCEEDED,
            f"{MOST_UNANSWERED} questions of yours wait for an answer",
            {"limit": str(MOST_UNANSWERED)},
        )


def _public(text: str, salt: bytes) -> str:
    shown = mask_text(text.strip(), salt)
    if not shown:
        raise invalid(Reason.FIELD_INVALID, "text", "says nothing")
    return shown
