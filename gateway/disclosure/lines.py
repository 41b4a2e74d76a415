"""Disclosed lines and vouchers, as the tables have them; masking happens where they leave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from gateway.clock import end_of
from gateway.disclosure.detail import is_to_be_itemised, lacks_detail
from gateway.disclosure.entry import Line, Mark
from gateway.disclosure.masking import mask_account, mask_counterparty
from gateway.domain.errors import Reason, invalid, not_found
from gateway.store import narrow
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row

_L = t.disclosed_lines.c
_V = t.vouchers.c

_LATER = t.disclosed_lines.alias("later")
_CAME_BACK = sa.exists().where(
    _LATER.c.fund_id == _L.fund_id,
    _LATER.c.line_number == _L.corrected_by,
    _LATER.c.payment_id != "",
)
"""Only the bank's word on a payment takes its line back in the payment's own name."""

_STATES: Final[Mapping[str, sa.ColumnElement[bool]]] = {
    # As the index of pending lines has it, which `IS FALSE` does not.
    "PENDING": _L.corrected_by.is_(None) & ~_L.settled,
    "SETTLED": _L.corrected_by.is_(None) & _L.settled,
    "REVERSED": _L.corrected_by.is_not(None) & ~_CAME_BACK,
    "RETURNED": _L.corrected_by.is_not(None) & _CAME_BACK,
}


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines of a fund; what is empty or None leaves nothing out.

    Attributes:
        fund_id: the fund.
        book: ``COMMON`` or ``MAINTENANCE``.
        first_date: lines that count for this day or a later one.
        last_date: lines that count for this day or an earlier one.
        state: ``PENDING``, ``SETTLED``, ``REVERSED`` or ``RETURNED``; not with `disclosed_by`.
        disclosed_by: lines as they stood at the end of this day, and those alone (回头看).
        lacking_detail: only sums that are to be told by item; not together with `disclosed_by`.

    Raises:
        GatewayError: FIELD_INVALID if the two are asked together: of a past day nobody can tell.
    """

    fund_id: str
    book: str = ""
    first_date: date | None = None
    last_date: date | None = None
    state: str = ""
    disclosed_by: date | None = None
    lacking_detail: bool = False

    def __post_init__(self) -> None:
        if self.disclosed_by is None:
            return
        for field, asked in (("state", self.state), ("missing_detail", self.lacking_detail)):
            if asked:
                raise invalid(Reason.FIELD_INVALID, field, "cannot be asked of a past day")


def state_of(line: Row) -> str:
    """What has become of a line: taken back by another, confirmed by the bank, or neither yet.

    Args:
        line: as `list_lines` has it.
    """
    if line.corrected_by is not None:
        return "RETURNED" if line.came_back else "REVERSED"
    return "SETTLED" if line.settled else "PENDING"


async def list_lines(
    conn: AsyncConnection, chosen: LineFilter, after: int, limit: int
) -> Sequence[Row]:
    """Up to `limit` lines by number, those numbered above `after`.

    Returns:
        Rows of `disclosed_lines` with the fund's `currency`, `to_be_itemised` and `came_back`.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope.
    """
    currency = await fund_currency(conn, chosen.fund_id)
    columns = _L if chosen.disclosed_by is None else _as_of(chosen.disclosed_by)
    query = (
        sa.select(
            *columns,
            sa.literal(currency).label("currency"),
            *_of_the_rest(),
        )
        .where(_L.fund_id == chosen.fund_id, _L.line_number > after, *_conditions(chosen))
        .order_by(_L.line_number)
        .limit(limit)
    )
    return (await conn.execute(query)).all()


def _of_the_rest() -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """What the fund's rules and a later line say of a line."""
    return is_to_be_itemised().label("to_be_itemised"), _CAME_BACK.label("came_back")


async def get_line(conn: AsyncConnection, fund_id: str, line_number: int) -> Row:
    """One line, as `list_lines` has them.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a line in the caller's scope.
    """
    query = (
        sa.select(
            t.disclosed_lines,
            t.funds.c.currency,
            *_of_the_rest(),
        )
        .join(t.funds, t.funds.c.fund_id == _L.fund_id)
        .where(_L.fund_id == fund_id, _L.line_number == line_number)
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}/lines/{line_number}")
    return row


def _as_of(day: date) -> Iterator[sa.ColumnElement[Any]]:
    """The columns of a line, of which those that change as they were at the end of a past day."""
    later = t.disclosed_lines.alias()
    corrected = sa.exists().where(
        later.c.fund_id == _L.fund_id,
        later.c.line_number == _L.corrected_by,
        later.c.disclosed_at < end_of(day),
    )
    # A line that was voided together with its correction was closed without a date of the bank's.
    closed_on = sa.func.coalesce(_L.bank_value_date, _L.match_date)
    then: dict[str, sa.ColumnElement[Any]] = {
        "corrected_by": sa.case((corrected, _L.corrected_by)),
        "settled": sa.func.coalesce(_L.settled & (closed_on <= day), sa.false()),
        "bank_value_date": sa.case((_L.bank_value_date <= day, _L.bank_value_date)),
        "match_date": sa.case((_L.match_date <= day, _L.match_date)),
    }
    for column in _L:
        yield then[column.name].label(column.name) if column.name in then else column


def _conditions(chosen: LineFilter) -> Iterator[sa.ColumnElement[bool]]:
    if chosen.book:
        yield _L.book == chosen.book
    if chosen.first_date is not None:
        yield _L.effective_date >= chosen.first_date
    if chosen.last_date is not None:
        yield _L.effective_date <= chosen.last_date
    if chosen.first_date is not None or chosen.last_date is not None:
        yield _numbers_within(chosen)
    if chosen.state:
        yield _STATES[chosen.state]
    if chosen.disclosed_by is not None:
        yield _L.disclosed_at < end_of(chosen.disclosed_by)
    if chosen.lacking_detail:
        yield lacks_detail()


def _numbers_within(chosen: LineFilter) -> sa.ColumnElement[bool]:
    """Between the lowest and the highest number of the days asked for.

    Numbers rise with the days but for a few late lines, so that next to no others are passed by.
    """
    day = t.book_days.c
    days = [day.fund_id == chosen.fund_id]
    if chosen.first_date is not None:
        days.append(day.day >= chosen.first_date)
    if chosen.last_date is not None:
        days.append(day.day <= chosen.last_date)
    lowest = sa.select(sa.func.min(day.first_line)).where(*days).scalar_subquery()
    highest = sa.select(sa.func.max(day.last_line)).where(*days).scalar_subquery()
    return _L.line_number.between(lowest, highest)


async def fund_currency(conn: AsyncConnection, fund_id: str) -> str:
    """ISO 4217 code of the fund, to which the transaction is narrowed.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the caller's scope.
    """
    currency = await narrow(conn, fund_id)
    if currency is None:
        raise not_found(f"funds/{fund_id}")
    return currency


async def get_voucher(conn: AsyncConnection, fund_id: str, sha256: str) -> Row:
    """A voucher without its bytes.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a voucher in the caller's scope.
    """
    query = sa.select(*(column for column in _V if column is not _V.content)).where(
        _V.fund_id == fund_id, _V.sha256 == sha256
    )
    row = (await conn.execute(query)).one_or_none()
    if row is None:
        raise not_found(f"funds/{fund_id}/vouchers/{sha256}")
    return row


async def voucher_chunks(
    conn: AsyncConnection, fund_id: str, sha256: str, size_bytes: int, chunk_bytes: int
) -> AsyncIterator[bytes]:
    """The bytes of a voucher, in order; no more than one chunk is in memory."""
    for start in range(0, size_bytes, chunk_bytes):
        part = sa.func.substring(_V.content, start + 1, chunk_bytes, type_=sa.LargeBinary)
        query = sa.select(part).where(_V.fund_id == fund_id, _V.sha256 == sha256)
        yield (await conn.execute(query)).scalar_one()


def shown(row: Row) -> Line:
    """A line as owners are shown it and as the log has it: the one place where it is masked.

    Args:
        row: of `disclosed_lines`, with the fund's currency.
    """
    return Line(
        fund=f"funds/{row.fund_id}",
        number=str(row.line_number),
        book=row.book,
        category=row.category,
        summary=row.summary,
        amount_minor=str(row.amount_minor),
        running_minor=str(row.running_minor),
        currency=row.currency,
        effective_date=row.effective_date.isoformat(),
        disclosed_at=row.disclosed_at.astimezone(UTC).isoformat(),
        counterparty=mask_counterparty(row.counterparty_name),
        counterparty_account=mask_account(row.counterparty_account),
        vouchers=tuple(row.vouchers),
        corrects=str(row.corrects or 0),
        correction_reason=row.correction_reason,
        signatures=tuple(Mark.model_validate(mark) for mark in row.signatures),
    )
