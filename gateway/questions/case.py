"""A case that a question opens: the line is looked at by people, whatever the bank says of it.

A line that no bank entry is matched to may be in a case already, which the question then joins. Of
one that is matched nothing is open, so nothing can be proposed: the case is there to be looked at,
and to undo the match if the question was right. It stays open until the question is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from gateway.cases.record import (
    Event,
    balance,
    case_id_of,
    note,
    open_cases_of,
    weight,
)
from gateway.cases.rows import Key, load_rows
from gateway.domain.errors import Reason, not_found, precondition
from gateway.questions.asking import question_name
from gateway.store import tables as t

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.rows import OpenRow

_KIND: Final = "questioned"
_Q: Final = t.questions.c


async def open_case(
    conn: AsyncConnection, fund_id: str, question_id: str, *, actor: str, now: datetime
) -> str:
    """Links a question with a case about its line, opened for it if there is none; returns its id.

    Args:
        conn: a transaction of the caller's scope.
        fund_id: the fund.
        question_id: the question.
        actor: resource name of who opens it.
        now: UTC.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND; STATE_FORBIDS for a question that has its case, and while
            no run was ever made.
    """
    name, this = question_name(fund_id, question_id), _Q.question_id == question_id
    query = sa.select(t.questions).where(_Q.fund_id == fund_id, this).with_for_update()
    question = (await conn.execute(query)).one_or_none()
    if question is None:
        raise not_found(name)
    if question.case_id is not None:
        raise precondition(Reason.STATE_FORBIDS, name, "the question has its case already")
    key = Key("ledger", str(question.line_number))
    event = Event("QUESTIONED", actor, now, name)
    joined = await open_cases_of(conn, fund_id, [key])
    if key in joined:
        case_id = min(joined[key])
        await note(conn, fund_id, [case_id], event)
    else:
        line = (await load_rows(conn, fund_id, [key]))[key]
        case_id = await _open(conn, fund_id, line, name, event)
    linked = t.questions.update().where(_Q.fund_id == fund_id, this)
    await conn.execute(linked.values(case_id=case_id))
    return case_id


async def _open(conn: AsyncConnection, fund_id: str, line: OpenRow, name: str, event: Event) -> str:
    """A case of the line alone: the one that a run would open, under the same id."""
    case_id = case_id_of(fund_id, [line])
    values = {
        "fund_id": fund_id,
        "case_id": case_id,
        "run_id": await _last_run(conn, name),
        "account_id": line.account_id,
        "kind": _KIND,
        "cause": _KIND,
        "detail": f"Line {line.key.member_id} is questioned.",
        "amount_minor": balance([line]),
        "weight_minor": weight([line]),
        "oldest_date": line.day,
        "open": True,
        "opened_at": event.now,
    }
    added = pg.insert(t.cases).values(values).on_conflict_do_nothing()
    if not (await conn.execute(added)).rowcount:
        again = {"open": True, "closed_at": None, "closed_by": ""}
        called = {key: values[key] for key in ("kind", "cause", "detail")}
        await note(conn, fund_id, [case_id], event.of("REOPENED"), **again, **called)
    member = {"fund_id": fund_id, "case_id": case_id, **line.key._asdict()}
    await conn.execute(pg.insert(t.case_members).values(member).on_conflict_do_nothing())
    await note(conn, fund_id, [case_id], event)
    return case_id


async def _last_run(conn: AsyncConnection, name: str) -> str:
    """A case names the run that saw it last; before the first one there is nothing to name."""
    query = sa.select(t.runs.c.run_id).order_by(t.runs.c.started_at.desc()).limit(1)
    run_id = await conn.scalar(query)
    if run_id is None:
        raise precondition(Reason.STATE_FORBIDS, name, "nothing has been reconciled yet")
    return str(run_id)
