"""BankService: files in, and what went out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

from xinyi.v1 import bank_service_pb2 as pb
from xinyi.v1 import bank_service_pb2_grpc as pb_grpc

from gateway.bank import listing
from gateway.bank.inbound import BankFile, read, take_in
from gateway.bank.quarantine import held_file, put, replay
from gateway.domain.errors import GatewayError, Kind
from gateway.payments import by_hand
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import day, day_of, enum_name, fund_id_of, moment, money, split_name
from gateway.rpc.once import once, once_for
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.streams import header_and_content

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.bank.inbound import Imported
    from gateway.clock import Clock
    from gateway.store import Row, Store

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
_CHUNK_BYTES: Final = 1 << 20
_Handled = TypeVar(
    "_Handled", pb.DeliverByHandResponse, pb.ConfirmDeliveryResponse, pb.RetryTransmissionResponse
)
_TRANSMISSION: Final = "transmissions/{}"


@dataclass(frozen=True, slots=True)
class BankServicer(pb_grpc.BankServiceServicer):
    """The contract's methods over `gateway.bank`.

    Attributes:
        store: the database.
        clock: the present moment.
        banks: how each bank is reached, and what it wants.
        answer_due: how long a bank may take to answer.
    """

    store: Store
    clock: Clock
    banks: Banks
    answer_due: timedelta

    async def ImportStatement(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[pb.ImportStatementRequest],
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ImportStatementResponse:
        """Takes a bank's file in whole, or puts it in quarantine whole."""
        header, content = await header_and_content(request_iterator, MAX_FILE_BYTES)
        file = await self._named(header, content)

        async def work(conn: AsyncConnection) -> pb.ImportStatementResponse:
            said = await asyncio.to_thread(read, file, self.banks)
            imported = await take_in(conn, file, said, self.banks, self.clock())
            return pb.ImportStatementResponse(
                statements=await _statements(conn, imported),
                payments_changed=imported.payments_changed,
                already_imported=imported.already,
            )

        named = f"{header.file_name}\0{header.bank_account}\0"
        whole = named.encode() + sha256(content).digest()
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

    async def _named(self, header: pb.ImportStatementHeader, content: bytes) -> BankFile:
        """The file with what the header says of it."""
        if not header.bank_account:
            return BankFile(header.file_name, content)
        fund_id, account_id = split_name(header.bank_account, "funds/{}/bankAccounts/{}")
        async with self.store.transaction(current_caller().scope) as conn:
            account = await listing.account(conn, fund_id, account_id)
        return BankFile(header.file_name, content, account.account_number, account.profile_id)

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
        states = [enum_name(pb.TransmissionState, each) for each in request.states]
        query_key = f"ListTransmissions/{fund_id}/{','.join(states)}"
        page = page_of(request, query_key, datetime.fromisoformat, str)
        async with self.store.transaction(current_caller().scope) as conn:
            after = _by_moment(page.after)
            rows = await listing.transmissions(conn, fund_id, states, page.size, after)
        return pb.ListTransmissionsResponse(
            transmissions=[_transmission(row) for row in rows[: page.size]],
            next_page_token=next_token(
                query_key,
                rows,
                page.size,
                lambda row: (row.created_at.isoformat(), row.transmission_id),
            ),
        )

    async def GetTransmission(  # noqa: N802 - the contract's name
        self,
        request: pb.GetTransmissionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetTransmissionResponse:
        """One file to a bank."""
        (transmission_id,) = split_name(request.name, _TRANSMISSION)
        async with self.store.transaction(current_caller().scope) as conn:
            row = await listing.transmission(conn, transmission_id)
        return pb.GetTransmissionResponse(transmission=_transmission(row))

    async def GetTransmissionFile(  # noqa: N802 - the contract's name
        self,
        request: pb.GetTransmissionFileRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> AsyncIterator[pb.GetTransmissionFileResponse]:
        """The file's name and digest, then its bytes."""
        (transmission_id,) = split_name(request.name, _TRANSMISSION)
        async with self.store.transaction(current_caller().scope) as conn:
            outbound = await by_hand.render(conn, transmission_id, self.banks)
        header = pb.TransmissionFile(file_name=outbound.name, sha256=outbound.sha256)
        yield pb.GetTransmissionFileResponse(header=header)
        for start in range(0, len(outbound.content), _CHUNK_BYTES):
            chunk = outbound.content[start : start + _CHUNK_BYTES]
            yield pb.GetTransmissionFileResponse(content=chunk)

    async def DeliverByHand(  # noqa: N802 - the contract's name
        self,
        request: pb.DeliverByHandRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.DeliverByHandResponse:
        """Says that a person handed the file over."""

        async def act(conn: AsyncConnection, transmission_id: str, hand: by_hand.Hand) -> None:
            await by_hand.propose(conn, transmission_id, request.reason, hand)

        return await self._by_hand(request, pb.DeliverByHandResponse, act)

    async def ConfirmDelivery(  # noqa: N802 - the contract's name
        self,
        request: pb.ConfirmDeliveryRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ConfirmDeliveryResponse:
        """A second person confirms it."""

        async def act(conn: AsyncConnection, transmission_id: str, hand: by_hand.Hand) -> None:
            await by_hand.confirm(conn, transmission_id, hand, self.banks, self.answer_due)

        return await self._by_hand(request, pb.ConfirmDeliveryResponse, act)

    async def RetryTransmission(  # noqa: N802 - the contract's name
        self,
        request: pb.RetryTransmissionRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.RetryTransmissionResponse:
        """Puts it back in the queue."""
        return await self._by_hand(request, pb.RetryTransmissionResponse, by_hand.retry)

    async def _by_hand(
        self,
        request: pb.DeliverByHandRequest | pb.ConfirmDeliveryRequest | pb.RetryTransmissionRequest,
        response_type: type[_Handled],
        act: Callable[[AsyncConnection, str, by_hand.Hand], Awaitable[None]],
    ) -> _Handled:
        (transmission_id,) = split_name(request.name, _TRANSMISSION)
        caller = current_caller()

        async def work(conn: AsyncConnection) -> _Handled:
            hand = by_hand.Hand(
                caller.party_id, caller.person_id, caller.natural_person, self.clock()
            )
            await act(conn, transmission_id, hand)
            row = await listing.transmission(conn, transmission_id)
            return response_type(transmission=_transmission(row))

        return await once(self.store, caller, request, response_type, work)

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
            imported = await replay(conn, digest, self.banks, self.clock())
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
        execution_date=day(row.execution_date),
        file_name=row.file_name,
        last_error=row.last_error,
        delivered_by=row.delivered_by,
        delivery_reason=row.delivery_reason,
        confirmed_by=row.confirmed_by,
        inquire_time=moment(row.next_inquiry_at),
        attempt_time=moment(row.next_attempt_at),
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
