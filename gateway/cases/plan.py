"""What a proposal would do, checked: the same when it is proposed and when it is approved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from gateway.cases.even import (
    Part,
    difference,
    require_distinct,
    require_even,
    require_one_account,
    side_of,
    take,
    uneven,
)
from gateway.cases.record import case_name
from gateway.cases.rows import load_rows, members_of_case, row_name
from gateway.clock import BANK_ZONE
from gateway.domain.errors import Reason, invalid, not_found, precondition
from gateway.ledger.posting import require_available, require_day, require_vouchers
from gateway.ledger.writer import LineDraft
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.even import Taken
    from gateway.cases.policy import CasePolicy
    from gateway.cases.rows import OpenRow
    from gateway.store import Row

POSTING: Final = frozenset({"ADJUST", "WRITE_OFF"})
"""Actions that post a line."""
WRITE_OFF_CATEGORY: Final = "尾差核销"

_LEAST_APART: Final = 2
_AT: Final = "resolution"


@dataclass(frozen=True, slots=True)
class Posting:
    """The line that is asked for; empty text and None stand for what was not said.

    Attributes:
        book: ``COMMON`` or ``MAINTENANCE``.
        category: under which the owners read it.
        summary: what for.
        amount_minor: in fen; must be what makes the rows even.
        currency: of the amount.
        effective_date: the day it counts for.
        vouchers: SHA-256 of each voucher.
    """

    book: str = ""
    category: str = ""
    summary: str = ""
    amount_minor: int | None = None
    currency: str = ""
    effective_date: date | None = None
    vouchers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person proposes.

    Attributes:
        action: a name of `ResolutionAction` without its prefix.
        reason: why.
        parts: of which rows how much; none for all that is open of the case's members.
        posting: the line to post, of what posts one.
        wait_until: of WAIT.
        bank_reference: of SEND_BACK.
        supersedes: resource name of the undone resolution or match that it replaces.
    """

    action: str
    reason: str
    parts: tuple[Part, ...] = ()
    posting: Posting | None = None
    wait_until: date | None = None
    bank_reference: str = ""
    supersedes: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done.

    Attributes:
        account_id: the bank account it is about.
        taken: the rows it matches, or says not to belong together.
        line: the line to post first; None for none.
    """

    account_id: str
    taken: tuple[Taken, ...] = ()
    line: LineDraft | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a proposal is looked at: the case, its members, the policy, the banks' day."""

    conn: AsyncConnection
    policy: CasePolicy
    case: Row
    members: tuple[OpenRow, ...]
    today: date

    @property
    def fund_id(self) -> str:
        """The fund, which is locked."""
        return str(self.case.fund_id)

    @property
    def name(self) -> str:
        """Resource name of the case."""
        return case_name(self.case.fund_id, self.case.case_id)


async def plan_of(
    conn: AsyncConnection, policy: CasePolicy, case: Row, ask: Ask, today: date
) -> Plan:
    """What a proposal would do now; the fund is locked.

    Raises:
        GatewayError: FIELD_INVALID; ITEM_NOT_OPEN; MATCH_UNEVEN; CURRENCY_MISMATCH;
            AMOUNT_OUT_OF_RANGE, also above a limit for write-offs; VOUCHER_MISSING;
            BALANCE_INSUFFICIENT; RESOURCE_NOT_FOUND for a row that the fund does not have.
    """
    _require_fields(ask)
    members = await members_of_case(conn, case.fund_id, case.case_id)
    setting = Setting(conn, policy, case, members, today)
    await _require_superseded(setting, ask.supersedes)
    return await _PLANS[ask.action](setting, ask)


_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "MATCH": frozenset({"allocations"}),
    "ADJUST": frozenset({"allocations", "adjustment"}),
    "WRITE_OFF": frozenset({"allocations", "adjustment"}),
    "WAIT": frozenset({"wait_until"}),
    "SEND_BACK": frozenset({"bank_reference"}),
    "KEEP_APART": frozenset({"allocations"}),
}
"""What may be said with each action."""


def _require_fields(ask: Ask) -> None:
    said = {
        "allocations": ask.parts,
        "adjustment": ask.posting,
        "wait_until": ask.wait_until,
        "bank_reference": ask.bank_reference,
    }
    for field, value in said.items():
        if value and field not in _FIELDS[ask.action]:
            where = f"{_AT}.{field}"
            raise invalid(Reason.FIELD_INVALID, where, f"is nothing to say with {ask.action}")


async def _require_superseded(setting: Setting, name: str) -> None:
    """What it replaces is of this fund, and was undone."""
    if not name:
        return
    table, ids = _named(setting.fund_id, name)
    same = [table.c[column] == value for column, value in ids.items()]
    query = sa.select(table.c.undone_at).where(table.c.fund_id == setting.fund_id, *same)
    row = (await setting.conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(name)
    if row.undone_at is None:
        raise invalid(Reason.FIELD_INVALID, f"{_AT}.supersedes", "names what was not undone")


def _named(fund_id: str, name: str) -> tuple[sa.Table, dict[str, str]]:
    match name.split("/"):
        case ["funds", fund, "resolutions", resolution_id] if fund == fund_id:
            return t.resolutions, {"resolution_id": resolution_id}
        case ["funds", fund, "matches", match_id, made_by] if fund == fund_id:
            return t.matches, {"match_id": match_id, "made_by": made_by}
    raise not_found(name)


# --- which rows ---------------------------------------------------------------------------------


async def _taken(setting: Setting, ask: Ask) -> tuple[Taken, ...]:
    """The rows asked for, open by as much; one of them at least is a member of the case."""
    keys = [part.key for part in ask.parts]
    require_distinct(keys)
    rows = await load_rows(setting.conn, setting.fund_id, keys)
    for key in keys:
        if key not in rows:
            raise not_found(row_name(setting.fund_id, key))
    if keys and not {row.key for row in setting.members} & set(keys):
        raise invalid(Reason.FIELD_INVALID, f"{_AT}.allocations", "has no member of the case")
    parts = ask.parts or _whole(setting)
    rows |= {row.key: row for row in setting.members}
    return tuple(
        take(setting.fund_id, rows[part.key], part, f"{_AT}.allocations[{place}]")
        for place, part in enumerate(parts)
    )


def _whole(setting: Setting) -> tuple[Part, ...]:
    """Everything that is open of the case's members."""
    parts = tuple(Part(row.key) for row in setting.members if row.open_minor != 0)
    if not parts:
        message = "nothing of the case is open any more"
        raise precondition(Reason.ITEM_NOT_OPEN, setting.name, message)
    return parts


async def _of_one_account(setting: Setting, ask: Ask) -> tuple[Taken, ...]:
    taken = await _taken(setting, ask)
    require_one_account(taken, setting.name)
    return taken


# --- by action ----------------------------------------------------------------------------------


async def _match(setting: Setting, ask: Ask) -> Plan:
    taken = await _of_one_account(setting, ask)
    require_even(taken, setting.name)
    return Plan(taken[0].row.account_id, taken)


async def _adjust(setting: Setting, ask: Ask) -> Plan:
    taken = await _of_one_account(setting, ask)
    if not side_of(taken, "bank"):
        message = (
            "no bank entry takes part: a line that the bank will never book is taken back by a"
            " correction (PostEntry)"
        )
        raise uneven(setting.name, message)
    posting = ask.posting or Posting()
    for field in ("book", "category", "summary"):
        if not getattr(posting, field):
            where = f"{_AT}.adjustment.{field}"
            raise invalid(Reason.FIELD_INVALID, where, "is needed for the line to post")
    return await _with_line(setting, taken, posting)


async def _write_off(setting: Setting, ask: Ask) -> Plan:
    taken = await _of_one_account(setting, ask)
    for side in ("bank", "ledger"):
        if not side_of(taken, side):
            message = f"nothing of the {side}'s side takes part: only a difference is written off"
            raise uneven(setting.name, message)
    await _require_within_limits(setting, abs(difference(taken)))
    asked = ask.posting or Posting()
    posting = Posting(
        book=asked.book or _book_of(taken),
        category=WRITE_OFF_CATEGORY,
        summary=f"{WRITE_OFF_CATEGORY} {_labels(taken)}",
        amount_minor=asked.amount_minor,
        currency=asked.currency,
        effective_date=asked.effective_date,
        vouchers=asked.vouchers,
    )
    return await _with_line(setting, taken, posting)


def _book_of(taken: Sequence[Taken]) -> str:
    """The book of the lines, where it is one."""
    books = {each.row.book for each in side_of(taken, "ledger")}
    if len(books) != 1:
        where = f"{_AT}.adjustment.book"
        raise invalid(Reason.FIELD_INVALID, where, "is needed: the lines are of both books")
    return books.pop()


def _labels(taken: Sequence[Taken]) -> str:
    """The numbers of a few lines, for the owners to find them by."""
    lines = [each.row.key.member_id for each in side_of(taken, "ledger")]
    more = "…" if len(lines) > _LINES_NAMED else ""
    return "#" + ", #".join(lines[:_LINES_NAMED]) + more


_LINES_NAMED: Final = 5


async def _require_within_limits(setting: Setting, amount_minor: int) -> None:
    """Small enough by itself, and with what the fund wrote off in this month."""
    policy, path = setting.policy, f"{_AT}.allocations"
    if amount_minor > policy.write_off_max_minor:
        problem = f"differ by {amount_minor}, at most {policy.write_off_max_minor} is written off"
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, path, problem)
    before = await _written_off(setting)
    if before + amount_minor > policy.write_off_month_minor:
        raise precondition(
            Reason.AMOUNT_OUT_OF_RANGE,
            f"funds/{setting.fund_id}",
            f"the fund wrote off {before} this month, the limit is {policy.write_off_month_minor}",
            written_off_minor=str(before),
            limit_minor=str(policy.write_off_month_minor),
        )


async def _written_off(setting: Setting) -> int:
    """What the fund wrote off in this calendar month, signs aside, and did not undo."""
    r = t.resolutions.c
    decided = sa.func.timezone(BANK_ZONE.key, r.decided_at)
    query = sa.select(sa.func.sum(sa.func.abs(r.adjust_minor))).where(
        r.fund_id == setting.fund_id,
        r.action == "WRITE_OFF",
        r.state == "APPROVED",
        sa.cast(decided, sa.Date) >= setting.today.replace(day=1),
    )
    return int(await setting.conn.scalar(query) or 0)


async def _with_line(setting: Setting, taken: tuple[Taken, ...], posting: Posting) -> Plan:
    """The plan with the line that makes the rows even, if such a line may be posted."""
    line = _line(setting, taken, posting)
    await require_vouchers(setting.conn, setting.fund_id, posting.vouchers, f"{_AT}.adjustment")
    path = f"{_AT}.adjustment"
    await require_day(setting.conn, setting.fund_id, line, setting.today, path)
    await require_available(setting.conn, setting.fund_id, line)
    return Plan(line.account_id, taken, line)


def _line(setting: Setting, taken: Sequence[Taken], posting: Posting) -> LineDraft:
    """The line; it has the one entry's reference and other side, for whoever looks for it."""
    entries = [each.row for each in side_of(taken, "bank")]
    rest = difference(taken)
    where = f"{_AT}.adjustment.amount"
    if rest == 0:
        raise uneven(setting.name, "both sides come to the same: there is nothing to post")
    if posting.currency not in ("", entries[0].currency):
        problem = f"must be {entries[0].currency}"
        raise invalid(Reason.CURRENCY_MISMATCH, f"{where}.currency", problem)
    if posting.amount_minor not in (None, rest):
        raise uneven(setting.name, f"the line must be over {rest}", difference_minor=str(rest))
    only = entries[0] if len(entries) == 1 else None
    return LineDraft(
        account_id=entries[0].account_id,
        book=posting.book,
        category=posting.category,
        summary=posting.summary,
        amount_minor=rest,
        effective_date=posting.effective_date or max(entry.day for entry in entries),
        reference=only.reference if only else "",
        counterparty_name=only.counterparty_name if only else "",
        counterparty_account=only.counterparty_account if only else "",
        vouchers=posting.vouchers,
    )


async def _wait(setting: Setting, ask: Ask) -> Plan:
    where, until = f"{_AT}.wait_until", ask.wait_until
    if until is None or until <= setting.today:
        raise invalid(Reason.FIELD_INVALID, where, "must be a day after today")
    if until > setting.today + timedelta(days=setting.policy.wait_most_days):
        problem = f"is more than {setting.policy.wait_most_days} days ahead"
        raise invalid(Reason.FIELD_INVALID, where, problem)
    return Plan(setting.case.account_id)


async def _send_back(setting: Setting, _: Ask) -> Plan:
    return Plan(setting.case.account_id)


async def _keep_apart(setting: Setting, ask: Ask) -> Plan:
    taken = await _taken(setting, ask)
    if any(part.amount_minor is not None for part in ask.parts):
        where = f"{_AT}.allocations"
        raise invalid(Reason.FIELD_INVALID, where, "whole rows are kept apart, not amounts")
    if len(taken) < _LEAST_APART:
        raise uneven(setting.name, "one row alone cannot be kept apart from another")
    return Plan(setting.case.account_id, taken)


_PLANS: Final[Mapping[str, Callable[[Setting, Ask], Awaitable[Plan]]]] = {
    "MATCH": _match,
    "ADJUST": _adjust,
    "WRITE_OFF": _write_off,
    "WAIT": _wait,
    "SEND_BACK": _send_back,
    "KEEP_APART": _keep_apart,
}
