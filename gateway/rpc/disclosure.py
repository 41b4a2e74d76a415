"""DisclosureService: the live account book (公示账本), read only and masked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import common_pb2, disclosure_service_pb2
from xinyi.v1.disclosure_service_pb2_grpc import DisclosureServiceServicer

from gateway.disclosure.lines import (
    LineFilter,
    get_voucher,
    list_lines,
    state_of,
    voucher_chunks,
)
from gateway.disclosure.masking import mask_account, mask_counterparty
from gateway.disclosure.period import Period
from gateway.disclosure.proving import fund_checkpoint, prove_line
from gateway.disclosure.summary import fund_summary
from gateway.domain.errors import Reason, invalid
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import day, day_of, enum_name, fund_id_of, moment, money, split_name
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.payment import voucher_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import date

    from google.protobuf.message import Message

    from gateway.clock import Clock
    from gateway.disclosure.summary import BookSummary
    from gateway.store import Row, Store

CHUNK_BYTES: Final = 256 * 1024
"""Of a voucher in one message."""


@dataclass(frozen=True, slots=True)
class DisclosureServicer(DisclosureServiceServicer):
    """Shows disclosed lines and their vouchers.

    Attributes:
        store: the database.
        clock: the present moment.
        witness_keys: of the witnesses that are asked, by name.
    """

    store: Store
    clock: Clock
    witness_keys: Mapping[str, str] = field(default_factory=dict)

    async def ListDisclosedLines(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.ListDisclosedLinesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> disclosure_service_pb2.ListDisclosedLinesResponse:
        """Disclosed lines of a fund, by number."""
        chosen = _filter(request)
        key = f"ListDisclosedLines/{chosen}"
        page = page_of(request, key, int)
        after = int(page.after[0]) if page.after else 0
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await list_lines(conn, chosen, after, page.size + 1)
        return disclosure_service_pb2.ListDisclosedLinesResponse(
            lines=map(_line, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (str(row.line_number),)),
        )

    async def GetVoucher(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetVoucherRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> AsyncIterator[disclosure_service_pb2.GetVoucherResponse]:
        """What a voucher is, then its bytes."""
        fund_id, sha256 = split_name(request.name, "funds/{}/vouchers/{}")
        async with self.store.transaction(current_caller().scope) as conn:
            row = await get_voucher(conn, fund_id, sha256)
            yield disclosure_service_pb2.GetVoucherResponse(voucher=voucher_message(row))
            async for chunk in voucher_chunks(conn, fund_id, sha256, row.size_bytes, CHUNK_BYTES):
                yield disclosure_service_pb2.GetVoucherResponse(content=chunk)

    async def GetFundSummary(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetFundSummaryRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> disclosure_service_pb2.GetFundSummaryResponse:
        """Income and cost by kind and by month."""
        period = Period.of_months(request.first_month, request.last_month)
        disclosed_by = _day(request, "disclosed_by")
        fund_id = fund_id_of(request.parent)
        async with self.store.snapshot(current_caller().scope) as conn:
            summary = await fund_summary(conn, fund_id, period, disclosed_by)
        return disclosure_service_pb2.GetFundSummaryResponse(
            books=(_book(book, summary.currency) for book in summary.books)
        )

    async def GetCheckpoint(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetCheckpointRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> disclosure_service_pb2.GetCheckpointResponse:
        """The last signed tree of a fund's log."""
        async with self.store.snapshot(current_caller().scope) as conn:
            checkpoint, key = await fund_checkpoint(conn, fund_id_of(request.parent))
        return disclosure_service_pb2.GetCheckpointResponse(checkpoint=checkpoint, log_key=key)

    async def GetLineProof(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetLineProofRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> disclosure_service_pb2.GetLineProofResponse:
        """The file that proves a line."""
        fund_id, number = split_name(request.name, "funds/{}/lines/{}")
        async with self.store.snapshot(current_caller().scope) as conn:
            proof = await prove_line(conn, fund_id, int(number), self.witness_keys)
        return disclosure_service_pb2.GetLineProofResponse(proof=proof)


def _filter(request: disclosure_service_pb2.ListDisclosedLinesRequest) -> LineFilter:
    disclosed_by = _day(request, "disclosed_by")
    if disclosed_by is not None and request.state:
        raise invalid(Reason.FIELD_INVALID, "state", "cannot be asked of a past day")
    return LineFilter(
        fund_id=fund_id_of(request.parent),
        book=_chosen(enum_name(common_pb2.Book, request.book)),
        first_date=_day(request, "start_date"),
        last_date=_day(request, "end_date"),
        state=_chosen(enum_name(disclosure_service_pb2.LineState, request.state)),
        disclosed_by=disclosed_by,
    )


def _chosen(name: str) -> str:
    return "" if name == "UNSPECIFIED" else name


def _day(request: Message, field: str) -> date | None:
    return day_of(getattr(request, field), field) if request.HasField(field) else None


def _book(book: BookSummary, currency: str) -> disclosure_service_pb2.BookSummary:
    as_money = partial(money, currency=currency)
    return disclosure_service_pb2.BookSummary(
        book=common_pb2.Book.Value(f"BOOK_{book.book}"),
        opening=as_money(book.opening_minor),
        income=as_money(book.income_minor),
        cost=as_money(book.cost_minor),
        closing=as_money(book.closing_minor),
        kinds=(
            disclosure_service_pb2.KindSummary(
                category=kind.category,
                income=as_money(kind.income_minor),
                cost=as_money(kind.cost_minor),
            )
            for kind in book.kinds
        ),
        months=(
            disclosure_service_pb2.MonthSummary(
                month=f"{month.month:%Y-%m}",
                income=as_money(month.income_minor),
                cost=as_money(month.cost_minor),
                balance=as_money(month.balance_minor),
            )
            for month in book.months
        ),
    )


def _line(row: Row) -> disclosure_service_pb2.DisclosedLine:
    """A line as owners read it: the one place where it leaves, and the other side is masked."""
    fund = f"funds/{row.fund_id}"
    return disclosure_service_pb2.DisclosedLine(
        name=f"{fund}/lines/{row.line_number}",
        number=row.line_number,
        book=common_pb2.Book.Value(f"BOOK_{row.book}"),
        category=row.category,
        summary=row.summary,
        amount=money(row.amount_minor, row.currency),
        running_balance=money(row.running_minor, row.currency),
        effective_date=day(row.effective_date),
        bank_value_date=day(row.bank_value_date),
        disclose_time=moment(row.disclosed_at),
        state=disclosure_service_pb2.LineState.Value(f"LINE_STATE_{state_of(row)}"),
        counterparty=mask_counterparty(row.counterparty_name),
        counterparty_account=mask_account(row.counterparty_account),
        vouchers=[f"{fund}/vouchers/{voucher}" for voucher in row.vouchers],
        corrects=f"{fund}/lines/{row.corrects}" if row.corrects else "",
        correction_reason=row.correction_reason,
        corrected_by=f"{fund}/lines/{row.corrected_by}" if row.corrected_by else "",
        signatures=map(_signature, row.signatures),
        match_date=day(row.match_date),
    )


def _signature(mark: Mapping[str, str]) -> disclosure_service_pb2.SignatureMark:
    return disclosure_service_pb2.SignatureMark(
        party_name=mark["party_name"],
        role=common_pb2.Role.Value(f"ROLE_{mark['role']}"),
        create_time=moment(datetime.fromisoformat(mark["created_at"])),
    )
