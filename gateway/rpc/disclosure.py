"""DisclosureService: the live account book (公示账本), read only and masked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import common_pb2, disclosure_service_pb2
from xinyi.v1.disclosure_service_pb2_grpc import DisclosureServiceServicer

from gateway.clock import end_of
from gateway.disclosure.certificates import list_certificates, prove_certificate
from gateway.disclosure.detail import is_lump_sum, items_of_lines
from gateway.disclosure.group import group_summary
from gateway.disclosure.lines import (
    LineFilter,
    get_line,
    get_voucher,
    list_lines,
    shown,
    state_of,
    voucher_chunks,
)
from gateway.disclosure.period import Period
from gateway.disclosure.proving import fund_checkpoint, prove_line
from gateway.disclosure.renditions import get_rendition, rendition_chunks
from gateway.disclosure.summary import fund_summary
from gateway.domain.certificate import Certificate
from gateway.questions.listing import questions_of_lines
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import day, day_of, enum_name, fund_id_of, moment, money, split_name
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.payment import voucher_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from google.protobuf.message import Message
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.clock import Clock
    from gateway.disclosure.detail import Item
    from gateway.disclosure.entry import Mark
    from gateway.disclosure.group import FundOfGroup
    from gateway.disclosure.summary import BookSummary, Summary
    from gateway.domain.certificate import Total
    from gateway.store import Row, Store

CHUNK_BYTES: Final = 256 * 1024
"""Of a file in one message."""


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
            lines = await _lines(conn, rows[: page.size], chosen.disclosed_by)
        return disclosure_service_pb2.ListDisclosedLinesResponse(
            lines=lines,
            next_page_token=next_token(key, rows, page.size, lambda row: (str(row.line_number),)),
        )

    async def GetDisclosedLine(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetDisclosedLineRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> disclosure_service_pb2.GetDisclosedLineResponse:
        """One disclosed line."""
        fund_id, number = split_name(request.name, "funds/{}/lines/{}")
        async with self.store.transaction(current_caller().scope) as conn:
            row = await get_line(conn, fund_id, int(number))
            (line,) = await _lines(conn, [row], None)
        return disclosure_service_pb2.GetDisclosedLineResponse(line=line)

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

    async def GetVoucherRendition(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetVoucherRenditionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> AsyncIterator[disclosure_service_pb2.GetVoucherRenditionResponse]:
        """What is shown of a voucher, then its pictures."""
        fund_id, sha256 = split_name(request.name, "funds/{}/vouchers/{}")
        async with self.store.transaction(current_caller().scope) as conn:
            row = await get_rendition(conn, fund_id, sha256)
            said = rendition_message(row)
            yield disclosure_service_pb2.GetVoucherRenditionResponse(rendition=said)
            async for chunk in rendition_chunks(conn, row, CHUNK_BYTES):
                yield disclosure_service_pb2.GetVoucherRenditionResponse(content=chunk)

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
        return disclosure_service_pb2.GetFundSummaryResponse(books=_books(summary))

    async def GetGroupSummary(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetGroupSummaryRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> disclosure_service_pb2.GetGroupSummaryResponse:
        """The same of each fund of a group, and added up."""
        period = Period.of_months(request.first_month, request.last_month)
        async with self.store.snapshot(current_caller().scope) as conn:
            found = await group_summary(conn, request.group, period, _day(request, "disclosed_by"))
        return disclosure_service_pb2.GetGroupSummaryResponse(
            funds=map(_fund_of_group, found.funds), totals=map(_group_total, found.totals)
        )

    async def GetCheckpoint(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetCheckpointRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> disclosure_service_pb2.GetCheckpointResponse:
        """The last signed tree of a fund's log."""
        async with self.store.snapshot(current_caller().scope) as conn:
            checkpoint, keys = await fund_checkpoint(conn, fund_id_of(request.parent))
        return disclosure_service_pb2.GetCheckpointResponse(
            checkpoint=checkpoint, log_key=keys.log, sm2_key=keys.sm2
        )

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

    async def ListNightCertificates(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.ListNightCertificatesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> disclosure_service_pb2.ListNightCertificatesResponse:
        """A fund's nights, the newest first."""
        fund_id = fund_id_of(request.parent)
        key = f"ListNightCertificates/{fund_id}"
        page = page_of(request, key, int)
        before = int(page.after[0]) if page.after else None
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await list_certificates(conn, fund_id, before, page.fetch)
        return disclosure_service_pb2.ListNightCertificatesResponse(
            night_certificates=map(_night, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (str(row.number),)),
        )

    async def GetNightCertificateProof(  # noqa: N802 - the contract's name
        self,
        request: disclosure_service_pb2.GetNightCertificateProofRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> AsyncIterator[disclosure_service_pb2.GetNightCertificateProofResponse]:
        """The file that proves a night."""
        fund_id, number = split_name(request.name, "funds/{}/nightCertificates/{}")
        async with self.store.snapshot(current_caller().scope) as conn:
            proof = await prove_certificate(conn, fund_id, int(number), self.witness_keys)
        content = proof.encode()
        for start in range(0, len(content), CHUNK_BYTES):
            yield disclosure_service_pb2.GetNightCertificateProofResponse(
                content=content[start : start + CHUNK_BYTES]
            )


def _filter(request: disclosure_service_pb2.ListDisclosedLinesRequest) -> LineFilter:
    return LineFilter(
        fund_id=fund_id_of(request.parent),
        book=_chosen(enum_name(common_pb2.Book, request.book)),
        first_date=_day(request, "start_date"),
        last_date=_day(request, "end_date"),
        state=_chosen(enum_name(disclosure_service_pb2.LineState, request.state)),
        disclosed_by=_day(request, "disclosed_by"),
        lacking_detail=request.missing_detail,
    )


def _chosen(name: str) -> str:
    return "" if name == "UNSPECIFIED" else name


def _day(request: Message, field: str) -> date | None:
    return day_of(getattr(request, field), field) if request.HasField(field) else None


def _night(row: Row) -> disclosure_service_pb2.NightCertificate:
    certificate = Certificate.model_validate_json(row.entry)

    def total(of: Total) -> disclosure_service_pb2.NightTotal:
        amount = money(int(of.amount_minor), certificate.currency)
        return disclosure_service_pb2.NightTotal(count=int(of.count), amount=amount)

    totals = certificate.totals
    return disclosure_service_pb2.NightCertificate(
        name=f"{certificate.fund}/nightCertificates/{certificate.number}",
        number=row.number,
        date=day(date.fromisoformat(certificate.date)),
        run=certificate.run,
        create_time=moment(row.created_at),
        came=total(totals.came),
        matched=total(totals.matched),
        open_entries=total(totals.open_entries),
        open_lines=total(totals.open_lines),
        unproved_account_count=sum(each.proved == "no" for each in certificate.accounts),
    )


def _fund_of_group(fund: FundOfGroup) -> disclosure_service_pb2.FundOfGroup:
    return disclosure_service_pb2.FundOfGroup(
        fund=f"funds/{fund.fund_id}", estate_display_name=fund.estate, books=_books(fund.summary)
    )


def _group_total(total: Summary) -> disclosure_service_pb2.GroupTotal:
    return disclosure_service_pb2.GroupTotal(currency=total.currency, books=_books(total))


def _books(summary: Summary) -> Iterator[disclosure_service_pb2.BookSummary]:
    return (_book(book, summary.currency) for book in summary.books)


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


async def _lines(
    conn: AsyncConnection, rows: Sequence[Row], disclosed_by: date | None
) -> list[disclosure_service_pb2.DisclosedLine]:
    """Lines of one fund, with what had been asked about them and told of them by then."""
    if not rows:
        return []
    numbers = [row.line_number for row in rows]
    before = None if disclosed_by is None else end_of(disclosed_by)
    questions = await questions_of_lines(conn, rows[0].fund_id, numbers, before)
    items = await items_of_lines(conn, rows[0].fund_id, numbers, before)
    return [
        _line(row, questions.get(row.line_number, ()), items.get(row.line_number, ()))
        for row in rows
    ]


def _line(
    row: Row, questions: Sequence[str], items: Sequence[Item]
) -> disclosure_service_pb2.DisclosedLine:
    """A line as owners read it: what the log has of it, and what has become of it since."""
    line, fund = shown(row), f"funds/{row.fund_id}"
    return disclosure_service_pb2.DisclosedLine(
        name=f"{fund}/lines/{line.number}",
        number=row.line_number,
        book=common_pb2.Book.Value(f"BOOK_{line.book}"),
        category=line.category,
        summary=line.summary,
        amount=money(row.amount_minor, line.currency),
        running_balance=money(row.running_minor, line.currency),
        effective_date=day(row.effective_date),
        bank_value_date=day(row.bank_value_date),
        disclose_time=moment(row.disclosed_at),
        state=disclosure_service_pb2.LineState.Value(f"LINE_STATE_{state_of(row)}"),
        counterparty=line.counterparty,
        counterparty_account=line.counterparty_account,
        vouchers=[f"{fund}/vouchers/{voucher}" for voucher in line.vouchers],
        corrects=f"{fund}/lines/{row.corrects}" if row.corrects else "",
        correction_reason=line.correction_reason,
        corrected_by=f"{fund}/lines/{row.corrected_by}" if row.corrected_by else "",
        signatures=map(_signature, line.signatures),
        match_date=day(row.match_date),
        questions=questions,
        missing_detail=is_lump_sum(row, items),
        items=(item_message(item, line.currency) for item in items),
        erased=row.salt is None,
    )


def item_message(item: Item, currency: str) -> disclosure_service_pb2.LineItem:
    """A part of a line."""
    return disclosure_service_pb2.LineItem(
        label=item.label, count=item.count, amount=money(item.amount_minor, currency)
    )


def rendition_message(row: Row) -> disclosure_service_pb2.VoucherRendition:
    """What everybody may see of a voucher."""
    return disclosure_service_pb2.VoucherRendition(
        voucher=f"funds/{row.fund_id}/vouchers/{row.sha256}",
        number=row.number,
        sha256=row.rendition_sha256,
        media_type=row.media_type,
        page_sizes=row.page_sizes,
        regions=(disclosure_service_pb2.VoucherRegion(**region) for region in row.regions),
        numbers_masked=row.numbers_masked,
        maker_role=common_pb2.Role.Value(f"ROLE_{row.role}"),
        maker=row.party_name,
        create_time=moment(row.created_at),
    )


def _signature(mark: Mark) -> disclosure_service_pb2.SignatureMark:
    return disclosure_service_pb2.SignatureMark(
        party_name=mark.party_name,
        role=common_pb2.Role.Value(f"ROLE_{mark.role}"),
        create_time=moment(datetime.fromisoformat(mark.created_at)),
    )
