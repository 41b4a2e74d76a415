"""Questions as everybody of the estate reads them, with their answers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.domain.errors import not_found
from gateway.questions.asking import question_name
from gateway.store import among
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

EVERY_FUND: Final = "-"

_Q: Final = t.questions.c
_A: Final = t.answers.c


@dataclass(frozen=True, slots=True)
class QuestionFilter:
    """Which questions; what is empty or 0 leaves nothing out.

    Attributes:
        fund_id: the fund, or ``-`` for all that row-level security lets the caller see.
        line: fund and number of the line that they are about.
        state: ``OPEN``, ``OVERDUE`` or ``ANSWERED``.
    """

    fund_id: str
    line: tuple[str, int] | None = None
    state: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what became of it.

    Attributes:
        row: of `questions`, with `state`, `overdue_at` and `photo_media_type`.
        answers: rows of `answers`, in order.
    """

    row: Row
    answers: tuple[Row, ...]


def state_of(today: date) -> sa.ColumnElement[str]:
    """Where a question stands."""
    return sa.case(
        (_Q.answered_at.is_not(None), "ANSWERED"),
        (_Q.due_date < today, "OVERDUE"),
        else_="OPEN",
    )


async def list_questions(
    conn: AsyncConnection, chosen: QuestionFilter, before: str, limit: int, today: date
) -> Sequence[Question]:
    """Up to `limit` questions, newest first.

    Args:
        conn: a transaction of the reader's scope.
        chosen: which.
        before: id of the last question of the page before; empty for the first page.
        limit: at most so many.
        today: the banks' day.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the scope.
    """
    await _require_fund(conn, chosen.fund_id)
    query = _select(today).order_by(_Q.question_id.desc()).limit(limit)
    if chosen.fund_id != EVERY_FUND:
        query = query.where(_Q.fund_id == chosen.fund_id)
    if chosen.line is not None:
        query = query.where(sa.tuple_(_Q.fund_id, _Q.line_number) == chosen.line)
    if chosen.state:
        query = query.where(state_of(today) == chosen.state)
    if before:
        query = query.where(_Q.question_id < before)
    return await _with_answers(conn, (await conn.execute(query)).all())


async def get_question(
    conn: AsyncConnection, fund_id: str, question_id: str, today: date
) -> Question:
    """One question.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = _select(today).where(_Q.fund_id == fund_id, _Q.question_id == question_id)
    found = await _with_answers(conn, (await conn.execute(query)).all())
    if not found:
        raise not_found(question_name(fund_id, question_id))
    return found[0]


async def get_photo(conn: AsyncConnection, fund_id: str, question_id: str) -> Row:
    """The photo of a question, media type and bytes.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a question, or one with a photo.
    """
    photos = t.question_photos
    query = sa.select(photos).where(
        photos.c.fund_id == fund_id, photos.c.question_id == question_id
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"{question_name(fund_id, question_id)}/photo")
    return row


async def questions_of_lines(
    conn: AsyncConnection,
    fund_id: str,
    line_numbers: Collection[int],
    asked_before: datetime | None = None,
) -> Mapping[int, list[str]]:
    """Names of the questions about lines, oldest first; lines without any are empty."""
    query = sa.select(_Q.line_number, _Q.question_id).where(
        _Q.fund_id == fund_id, among(_Q.line_number, line_numbers)
    )
    if asked_before is not None:
        query = query.where(_Q.created_at < asked_before)
    names: dict[int, list[str]] = defaultdict(list)
    for number, question_id in await conn.execute(query.order_by(_Q.question_id)):
        names[number].append(question_name(fund_id, question_id))
    return names


async def questions_of_case(conn: AsyncConnection, fund_id: str, case_id: str) -> Sequence[str]:
    """Names of the questions that opened or joined a case, oldest first."""
    query = sa.select(_Q.question_id).where(_Q.fund_id == fund_id, _Q.case_id == case_id)
    ids = await conn.scalars(query.order_by(_Q.question_id))
    return [question_name(fund_id, each) for each in ids]


def _select(today: date) -> sa.Select[Any]:
    photos, lapses = t.question_photos.c, t.lapses.c
    noted = sa.and_(
        lapses.fund_id == _Q.fund_id,
        lapses.kind == "UNANSWERED_QUESTION",
        lapses.subject == _Q.question_id,
    )
    photo = sa.and_(photos.fund_id == _Q.fund_id, photos.question_id == _Q.question_id)
    return (
        sa.select(
            t.questions,
            state_of(today).label("state"),
            lapses.created_at.label("overdue_at"),
            sa.func.coalesce(photos.media_type, "").label("photo_media_type"),
        )
        .select_from(t.questions)
        .outerjoin(t.lapses, noted)
        .outerjoin(t.question_photos, photo)
    )


async def _with_answers(conn: AsyncConnection, rows: Sequence[Row]) -> Sequence[Question]:
    keys = [(row.fund_id, row.question_id) for row in rows]
    query = sa.select(t.answers).where(sa.tuple_(_A.fund_id, _A.question_id).in_(keys))
    answers: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in await conn.execute(query.order_by(_A.position)):
        answers[row.fund_id, row.question_id].append(row)
    return [Question(row, tuple(answers[key])) for row, key in zip(rows, keys, strict=True)]


async def _require_fund(conn: AsyncConnection, fund_id: str) -> None:
    query = sa.select(t.funds.c.fund_id).where(t.funds.c.fund_id == fund_id)
    if fund_id != EVERY_FUND and (await conn.execute(query)).one_or_none() is None:
        raise not_found(f"funds/{fund_id}")
