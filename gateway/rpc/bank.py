"""BankService: files in, and what went out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import bank_service_pb2 as pb
from xinyi.v1 import bank_service_pb2_grpc as pb_grpc

from gateway.bank import listing
from gateway.bank.inbound import BankFile, read, take_in
from gateway.bank.quarantine import held_file, put, replay
from gateway.domain.errors import GatewayError, Kind
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import day, day_of, fund_id_of, moment, money, split_name
from gateway.rpc.once import once, once_for
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.streams import header_and_content

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.bank.inbound import Imported
    from gateway.clock import Clock
    from gateway.store import Row, Store

MAX_FILE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class BankServicer(pb_grpc.BankServiceServicer):
    """The contract's methods over `gateway.bank`.

    Attributes:
        store: the database.
        clock: the present moment.
    """

    store: Store
    clock: Clock

    async def ImportStatement(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[pb.ImportStatementRequest],
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ImportStatementResponse:
        """Takes a bank's file in whole, or puts it in quarantine whole."""
        header, content = await header_and_content(request_iterator, MAX_FILE_BYTES)
        file = BankFile(header.file_name, content)

        async def work(conn: AsyncConnection) -> pb.ImportStatementResponse:
            said = await asyncio.to_thread(read, file)
            imported = await take_in(conn, file, said, self.clock())
            return pb.ImportStatementResponse(
                statements=await _statements(conn, imported),
                payments_changed=imported.payments_changed,
                already_imported=imported.already,
            )

        whole = header.file_name.encode() + b"\0" + sha256(content).digest()
        try:
            return await once_for(
                self.store,
                current_caller(),
                method=pb.ImportStatementRequest.DESCRIPTOR.full_name,
                request_id=header.request_id,
                content_digest=sha256(whole).digest(),
                response_type=pb.ImportStatementResponse,
                work=work,
            )
        except GatewayError as refusal:
            await put(self.store, file, refusal, self.clock())
            raise

    async def ListStatements(  # noqa: N802 - the contract's name
        self,
        request: pb.ListStatementsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListStatementsResponse:
        """Statements of a fund."""
        fund_id = fund_id_of(request.parent)
        query_key = f"ListStatements/{fund_id}"
        page = page_of(request, query_key, date.fromisoformat, str)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await listing.statements(conn, fund_id, page.size, _by_date(page.after))
        return pb.ListStatementsResponse(
            statements=[statement_message(row) for row in rows[: page.size]],
            next_page_token=next_token(
                query_key, rows, page.size, lambda row: (str(row.end_date), row.statement_key)
            ),
        )

    async def ListBankEntries(  # noqa: N802 - the contract's name
        self,
        request: pb.ListBankEntriesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListBankEntriesResponse:
        """Bank entries of a fund."""
        fund_id = fund_id_of(request.parent)
        span = _span(request)
        query_key = f"ListBankEntries/{fund_id}/{span}"
        page = page_of(request, query_key, date.fromisoformat, str)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await listing.entries(conn, fund_id, span, page.size, _by_date(page.after))
        return pb.ListBankEntriesResponse(
            bank_entries=[entry_message(row) for row in rows[: page.size]],
            next_page_token=next_token(
                query_key, rows, page.size, lambda row: (str(row.booking_date), row.bank_entry_id)
            ),
        )

    async def ListTransmissions(  # noqa: N802 - the contract's name
        self,
        request: pb.ListTransmissionsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListTransmissionsResponse:
        """Files to the banks."""
        fund_id = fund_id_of(request.parent) if request.parent else ""
        query_key = f"ListTransmissions/{fund_id}"
        page = page_of(request, query_key, datetime.fromisoformat, str)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await listing.transmissions(conn, fund_id, page.size, _by_moment(page.after))
        return pb.ListTransmissionsResponse(
            transmissions=[_transmission(row) for row in rows[: page.size]],
            next_page_token=next_token(
                query_key,
                rows,
                page.size,
                lambda row: (row.created_at.isoformat(), row.transmission_id),
            ),
        )

    async def ListQuarantinedFiles(  # noqa: N802 - the contract's name
        self,
        request: pb.ListQuarantinedFilesRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListQuarantinedFilesResponse:
        """Files that could not be used."""
        query_key = f"ListQuarantinedFiles/{request.include_replayed}"
        page = page_of(request, query_key, datetime.fromisoformat, str)
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await listing.quarantined(
                conn, page.size, _by_moment(page.after), replayed=request.include_replayed
            )
        return pb.ListQuarantinedFilesResponse(
            files=[_quarantined(row) for row in rows[: page.size]],
            next_page_token=next_token(
                query_key, rows, page.size, lambda row: (row.created_at.isoformat(), row.sha256)
            ),
        )

    async def ReplayQuarantinedFile(  # noqa: N802 - the contract's name
        self,
        request: pb.ReplayQuarantinedFileRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ReplayQuarantinedFileResponse:
        """Tries a file again."""
        (digest,) = split_name(request.name, "quarantinedFiles/{}")
        caller = current_caller()

        async def work(conn: AsyncConnection) -> pb.ReplayQuarantinedFileResponse:
            imported = await replay(conn, digest, self.clock())
            return pb.ReplayQuarantinedFileResponse(
                statements=await _statements(conn, imported),
                payments_changed=imported.payments_changed,
            )

        try:
            return await once(self.store, caller, request, pb.ReplayQuarantinedFileResponse, work)
        except GatewayError as refusal:
            if refusal.kind is Kind.PRECONDITION:
                async with self.store.transaction(caller.scope) as conn:
                    file = await held_file(conn, digest)
                await put(self.store, file, refusal, self.clock())
            raise


def _span(request: pb.ListBankEntriesRequest) -> listing.Span:
    first = day_of(request.start_date, "start_date") if request.HasField("start_date") else None
    last = day_of(request.end_date, "end_date") if request.HasField("end_date") else None
    return listing.Span(first, last, request.only_open)


def _by_date(after: tuple[str, ...] | None) -> tuple[date, str] | None:
    return (date.fromisoformat(after[0]), after[1]) if after else None


def _by_moment(after: tuple[str, ...] | None) -> tuple[datetime, str] | None:
    return (datetime.fromisoformat(after[0]), after[1]) if after else None


# --- messages ---------------------------------------------------------------------------------


async def _statements(conn: AsyncConnection, imported: Imported) -> Sequence[pb.Statement]:
    rows = await listing.statements_by_key(conn, imported.statements)
    return [statement_message(row) for row in rows]


def statement_message(row: Row) -> pb.Statement:
    """A statement without its entries."""
    return pb.Statement(
        name=f"funds/{row.fund_id}/statements/{row.statement_key}",
        bank_account=f"funds/{row.fund_id}/bankAccounts/{row.account_id}",
        statement_id=row.bank_statement_id,
        start_date=day(row.start_date),
        end_date=day(row.end_date),
        opening=money(row.opening_minor, row.currency),
        closing=money(row.closing_minor, row.currency),
        entry_count=row.entry_count,
        file_sha256=row.file_sha256,
        create_time=moment(row.created_at),
        findings=row.findings,
    )


def entry_message(row: Row) -> pb.BankEntry:
    """An entry of a statement."""
    return pb.BankEntry(
        name=f"funds/{row.fund_id}/bankEntries/{row.bank_entry_id}",
        bank_account=f"funds/{row.fund_id}/bankAccounts/{row.account_id}",
        entry_id=row.entry_id,
        booking_date=day(row.booking_date),
        value_date=day(row.value_date),
        amount=money(row.amount_minor, row.currency),
        reference=row.reference,
        end_to_end_id=row.end_to_end_id,
        batch_id=row.batch_id,
        counterparty_name=row.counterparty_name,
        counterparty_account=row.counterparty_account,
        text=row.text,
        reversal=row.reversal,
        return_reason=row.return_reason,
        match_date=day(row.match_date),
    )


def _transmission(row: Row) -> pb.Transmission:
    return pb.Transmission(
        name=f"transmissions/{row.transmission_id}",
        bank_account=f"funds/{row.fund_id}/bankAccounts/{row.account_id}",
        state=pb.TransmissionState.Value(f"TRANSMISSION_STATE_{row.state}"),
        payment_count=row.payment_count,
        amount=money(row.amount_minor, row.currency),
        file_sha256=row.file_sha256,
        create_time=moment(row.created_at),
        deliver_time=moment(row.delivered_at),
        attempt_count=row.attempt_count,
    )


def _quarantined(row: Row) -> pb.QuarantinedFile:
    return pb.QuarantinedFile(
        name=f"quarantinedFiles/{row.sha256}",
        file_name=row.file_name,
        reason=row.reason,
        detail=row.detail,
        create_time=moment(row.created_at),
        replay_time=moment(row.replayed_at),
    )
