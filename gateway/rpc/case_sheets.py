"""ReconciliationService: cases as a file, and such a file filled in by a person."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.cases import listing, sheet
from gateway.cases.accept import one_by_one
from gateway.cases.even import Part
from gateway.cases.plan import POSTING, Ask, Posting
from gateway.cases.propose import propose
from gateway.cases.record import case_name
from gateway.cases.rows import key_of, members_of, row_name
from gateway.cases.sheet.rows import SheetCase, SheetMember
from gateway.clock import bank_date
from gateway.domain.errors import GatewayError, Kind, Reason, invalid, not_found
from gateway.rpc.caller import current_caller
from gateway.rpc.cases import FUND, actor_of, filter_of, read_of
from gateway.rpc.convert import enum_name, split_name
from gateway.rpc.once import once
from gateway.rpc.resolutions import shown_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.cases.accept import Outcome
    from gateway.cases.actor import Actor
    from gateway.cases.policy import CasePolicy
    from gateway.cases.propose import Read
    from gateway.cases.rows import OpenRow
    from gateway.cases.sheet.rows import SheetRow
    from gateway.clock import Clock
    from gateway.domain.describe import Language
    from gateway.store import Row, Store

MOST_CASES: Final = 100_000
"""In one file; Excel holds ten times as many rows."""
_PAGE: Final = 1_000


class SheetMethods:
    """Cases out to a spreadsheet and decisions back.

    Attributes:
        store: the database.
        clock: the present moment.
        policy: what people who work on cases hold to.
    """

    store: Store
    clock: Clock
    policy: CasePolicy

    async def ExportCases(  # noqa: N802 - the contract's name
        self,
        request: pb.ExportCasesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> AsyncIterator[pb.ExportCasesResponse]:
        """Every case that the filter lets through, the oldest first, as of one moment."""
        (fund_id,) = split_name(request.parent, FUND, "parent")
        today = bank_date(self.clock())
        async with self.store.snapshot(current_caller().scope) as conn:
            cases = await _every_case(conn, fund_id, filter_of(request.filter), today)
        language: Language = "en" if request.language == "en" else "zh"
        # Seconds of arithmetic: in a thread, so that other calls are answered meanwhile.
        write = partial(_written, cases, _format(request.format), language)
        for part in await asyncio.to_thread(write):
            yield pb.ExportCasesResponse(content=part)

    async def ImportResolutions(  # noqa: N802 - the contract's name
        self,
        request: pb.ImportResolutionsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ImportResolutionsResponse:
        """Proposes what a file says, all of it or nothing."""
        rows = await asyncio.to_thread(_read, request)
        actor = actor_of(current_caller(), self.clock)

        async def work(conn: AsyncConnection) -> pb.ImportResolutionsResponse:
            return await _take_in(conn, self.policy, rows, actor, store=not request.validate_only)

        if request.validate_only:
            # A preview is no use of the request id: the file itself may come under the same one.
            async with self.store.transaction(current_caller().scope) as conn:
                return await work(conn)
        answer = pb.ImportResolutionsResponse
        return await once(self.store, current_caller(), request, answer, work)


def _format(number: int) -> sheet.Format:
    return "xlsx" if enum_name(pb.SheetFormat, number) == "XLSX" else "csv"


# --- out ----------------------------------------------------------------------------------------


async def _every_case(
    conn: AsyncConnection, fund_id: str, which: listing.Filter, today: date
) -> list[SheetCase]:
    found: list[SheetCase] = []
    order, after = listing.ORDERS["OLDEST"], None
    while rows := await listing.list_cases(conn, fund_id, which, order, after, _PAGE, today):
        members = await members_of(conn, [(row.fund_id, row.case_id) for row in rows])
        found += [_sheet_case(row, members[row.fund_id, row.case_id], today) for row in rows]
        if len(found) > MOST_CASES:
            raise _too_many()
        after = (str(rows[-1].sort_key), rows[-1].fund_id, rows[-1].case_id)
    return found


def _too_many() -> GatewayError:
    return GatewayError(
        Kind.EXHAUSTED,
        Reason.LIMIT_EXCEEDED,
        f"more than {MOST_CASES} cases: narrow the filter",
        {"limit": str(MOST_CASES)},
    )


def _written(cases: Sequence[SheetCase], format_: sheet.Format, language: Language) -> list[bytes]:
    return list(sheet.write(cases, format_, language))


def _sheet_case(row: Row, members: Sequence[OpenRow], today: date) -> SheetCase:
    return SheetCase(
        case=case_name(row.fund_id, row.case_id),
        etag=str(row.version),
        kind=row.kind.upper(),
        cause=row.cause,
        state=row.state,
        amount_minor=row.amount_minor,
        weight_minor=row.weight_minor,
        currency=row.currency,
        oldest_date=row.oldest_date,
        due_date=row.due_date,
        age_days=(today - row.oldest_date).days,
        assignee=row.assignee,
        detail=row.detail,
        account=f"funds/{row.fund_id}/bankAccounts/{row.account_id}",
        members=tuple(_sheet_member(row.fund_id, each) for each in members),
    )


def _sheet_member(fund_id: str, row: OpenRow) -> SheetMember:
    return SheetMember(
        side=row.key.side,
        name=row_name(fund_id, row.key),
        amount_minor=row.amount_minor,
        open_minor=row.open_minor,
        date=row.day,
        reference=row.own_id or row.reference,
        text=row.text,
        counterparty_name=row.counterparty_name,
        counterparty_account=row.counterparty_account,
    )


# --- in -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one row of the file proposes, about which case as it was read."""

    read: Read
    row: SheetRow


def _read(request: pb.ImportResolutionsRequest) -> tuple[SheetRow, ...]:
    """The rows of the file.

    Raises:
        GatewayError: FILE_UNREADABLE, with row and column.
    """
    try:
        return sheet.read(request.content, _format(request.format))
    except sheet.SheetError as error:
        raise invalid(Reason.FILE_UNREADABLE, "content", str(error)) from None


async def _take_in(
    conn: AsyncConnection,
    policy: CasePolicy,
    rows: Sequence[SheetRow],
    actor: Actor,
    *,
    store: bool,
) -> pb.ImportResolutionsResponse:
    """What came of each row; unless all can be proposed and are to be, nothing of it is kept."""

    async def one(asked: _Asked) -> Row:
        return await propose(conn, policy, asked.read, _ask(asked), actor)

    async with conn.begin_nested() as whole:
        asked = [_Asked(read_of(row.case, row.etag, "content"), row) for row in rows]
        outcomes = await one_by_one(conn, [(each.read.fund_id, each) for each in asked], one)
        answer = await _imported(conn, rows, outcomes)
        answer.proposed = store and all(each.refusal is None for each in outcomes)
        if not answer.proposed:
            await whole.rollback()
            for row in answer.rows:
                row.resolution.ClearField("name")
    return answer


def _ask(asked: _Asked) -> Ask:
    row = asked.row
    posting = Posting(book=row.book, category=row.category, summary=row.summary)
    said = row.action in POSTING or posting != Posting()
    return Ask(
        action=row.action,
        reason=row.reason,
        parts=tuple(_part(each, asked.read.fund_id) for each in row.allocations),
        posting=posting if said else None,
        wait_until=row.wait_until,
        bank_reference=row.bank_reference,
    )


def _part(allocation: tuple[str, int | None], fund_id: str) -> Part:
    name, amount_minor = allocation
    owner, key = key_of(name)
    if owner != fund_id:
        raise not_found(name)
    return Part(key, amount_minor)


async def _imported(
    conn: AsyncConnection, rows: Sequence[SheetRow], outcomes: Sequence[Outcome]
) -> pb.ImportResolutionsResponse:
    done = iter(await shown_all(conn, [each.resolution for each in outcomes if each.resolution]))
    return pb.ImportResolutionsResponse(
        rows=[
            _imported_row(row, outcome, next(done) if outcome.resolution else None)
            for row, outcome in zip(rows, outcomes, strict=True)
        ]
    )


def _imported_row(
    row: SheetRow, outcome: Outcome, resolution: pb.Resolution | None
) -> pb.ImportedRow:
    refusal = outcome.refusal
    return pb.ImportedRow(
        row=row.row,
        case=row.case,
        resolution=resolution,
        reason=refusal.reason if refusal else "",
        message=refusal.message if refusal else "",
    )
