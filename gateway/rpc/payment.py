"""PaymentService: from voucher to signatures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from xinyi.v1 import payment_service_pb2 as pb
from xinyi.v1 import payment_service_pb2_grpc as pb_grpc

from gateway.domain.envelope import MAX_BATCH_ENVELOPE_BYTES
from gateway.domain.errors import Reason, denied, invalid
from gateway.domain.party import person_name
from gateway.domain.payment import Event
from gateway.payments import listing
from gateway.payments.approve import Ending, end, read_envelope
from gateway.payments.docket import Asking, BatchSigning, Signing
from gateway.payments.group import Done
from gateway.payments.record import load
from gateway.payments.resend import Preparing, prepare
from gateway.payments.signatures import load_papers
from gateway.payments.submit import Ask
from gateway.payments.vouchers import Voucher, load_voucher, store_voucher
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import enum_name, fund_id_of, moment, money, split_name
from gateway.rpc.group import Item
from gateway.rpc.once import Use, once, once_for, use_of
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.streams import header_and_content, header_first, required

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import timedelta

    from google.protobuf.message import Message
    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.clock import Clock
    from gateway.payments.docket import Order
    from gateway.rpc.group import Submits
    from gateway.rpc.once import Parser
    from gateway.store import Row, Store

MAX_VOUCHER_BYTES: Final = 10 * 1024 * 1024

_PAYMENT: Final = "funds/{}/payments/{}"


@dataclass(frozen=True, slots=True)
class PaymentServicer(pb_grpc.PaymentServiceServicer):
    """The contract's methods over `gateway.payments`.

    Attributes:
        store: the database.
        clock: the present moment.
        banks: what each bank wants.
        payment_ttl: how long a payment may wait for its signatures.
        writers: who asks and who signs, group by group.
    """

    store: Store
    clock: Clock
    banks: Banks
    payment_ttl: timedelta
    writers: Submits

    async def UploadVoucher(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[pb.UploadVoucherRequest],
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.UploadVoucherResponse:
        """Stores a voucher from a header and its bytes."""
        header, content = await header_and_content(request_iterator, MAX_VOUCHER_BYTES)
        fund_id = fund_id_of(header.parent)
        _, digest = split_name(header.voucher.name, "funds/{}/vouchers/{}")
        if header.voucher.name != f"{header.parent}/vouchers/{digest}":
            raise invalid(Reason.FIELD_INVALID, "header.voucher.name", "is of another fund")
        declared = header.voucher
        voucher = Voucher(
            digest, declared.file_name, declared.media_type, declared.size_bytes, content
        )

        async def work(conn: AsyncConnection) -> pb.UploadVoucherResponse:
            await store_voucher(conn, fund_id, voucher, self.clock())
            row = await load_voucher(conn, fund_id, digest)
            return pb.UploadVoucherResponse(voucher=voucher_message(row))

        whole = header.SerializeToString(deterministic=True) + sha256(content).digest()
        return await once_for(
            self.store,
            current_caller(),
            method=pb.UploadVoucherRequest.DESCRIPTOR.full_name,
            request_id=header.request_id,
            content_digest=sha256(whole).digest(),
            response_type=pb.UploadVoucherResponse,
            work=work,
        )

    async def SubmitPayment(  # noqa: N802 - the contract's name
        self,
        request: pb.SubmitPaymentRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.SubmitPaymentResponse:
        """Holds the money for one payment."""
        ask = _ask(request.payment, request.parent, "payment")
        caller = current_caller()
        order = Asking(fund_id_of(request.parent), caller.by, (ask,), is_batch=False)
        item = item_of(use_of(caller, request), order)
        return cast("pb.SubmitPaymentResponse", await self.writers.submit(order.fund_id, item))

    async def SubmitPayments(  # noqa: N802 - the contract's name
        self,
        request_iterator: AsyncIterator[pb.SubmitPaymentsRequest],
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.SubmitPaymentsResponse:
        """Holds the money for a batch, or for none of it."""
        header, asks, digest = await _collect_batch(request_iterator)
        caller = current_caller()
        method = pb.SubmitPaymentsRequest.DESCRIPTOR.full_name
        use = Use(caller.party_id, header.request_id, method, digest)
        order = Asking(fund_id_of(header.parent), caller.by, tuple(asks), is_batch=True)
        answer = await self.writers.submit(order.fund_id, item_of(use, order))
        return cast("pb.SubmitPaymentsResponse", answer)

    async def GetPayment(  # noqa: N802 - the contract's name
        self,
        request: pb.GetPaymentRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.GetPaymentResponse:
        """One payment, whole."""
        fund_id, payment_id = split_name(request.name, _PAYMENT)
        async with self.store.transaction(current_caller().scope) as conn:
            return pb.GetPaymentResponse(payment=await _full(conn, fund_id, payment_id))

    async def ListPayments(  # noqa: N802 - the contract's name
        self,
        request: pb.ListPaymentsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.ListPaymentsResponse:
        """Payments of a fund, newest first."""
        fund_id = fund_id_of(request.parent)
        states = tuple(enum_name(pb.PaymentState, state) for state in request.states)
        chosen = listing.Filter(states, request.batch_id)
        query_key = f"ListPayments/{fund_id}/{sorted(states)}/{chosen.batch_id}"
        page = page_of(request, query_key, datetime.fromisoformat, str)
        after = page.after and (datetime.fromisoformat(page.after[0]), page.after[1])
        async with self.store.transaction(current_caller().scope) as conn:
            rows = await listing.page(conn, fund_id, chosen, size=page.size, after=after or None)
        return pb.ListPaymentsResponse(
            payments=[payment_message(row) for row in rows[: page.size]],
            next_page_token=next_token(
                query_key, rows, page.size, lambda row: (row.created_at.isoformat(), row.payment_id)
            ),
        )

    async def SignPayment(  # noqa: N802 - the contract's name
        self,
        request: pb.SignPaymentRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.SignPaymentResponse:
        """Adds the caller's signature; the second one releases."""
        fund_id, payment_id = split_name(request.name, _PAYMENT)
        caller, sent = current_caller(), request.envelope
        order = Signing(fund_id, caller.by, payment_id, sent, read_envelope(sent))
        item = item_of(use_of(caller, request), order)
        return cast("pb.SignPaymentResponse", await self.writers.submit(fund_id, item))

    async def SignBatch(  # noqa: N802 - the contract's name
        self,
        request: pb.SignBatchRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.SignBatchResponse:
        """Adds the caller's signature to payments of a batch, by one envelope."""
        fund_id, batch_id = split_name(request.name, "funds/{}/batches/{}")
        caller, sent = current_caller(), request.envelope
        envelope = read_envelope(sent, MAX_BATCH_ENVELOPE_BYTES)
        order = BatchSigning(fund_id, caller.by, batch_id, sent, envelope)
        item = item_of(use_of(caller, request), order)
        return cast("pb.SignBatchResponse", await self.writers.submit(fund_id, item))

    async def PrepareResend(  # noqa: N802 - the contract's name
        self,
        request: pb.PrepareResendRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.PrepareResendResponse:
        """Stores the bytes that two persons sign to send a payment again."""
        fund_id, payment_id = split_name(request.name, _PAYMENT)
        caller = current_caller()

        async def work(conn: AsyncConnection) -> pb.PrepareResendResponse:
            preparing = Preparing(caller.actor, self.payment_ttl, self.clock())
            await prepare(conn, fund_id, payment_id, preparing, self.banks)
            return pb.PrepareResendResponse(payment=await _full(conn, fund_id, payment_id))

        return await once(self.store, caller, request, pb.PrepareResendResponse, work)

    async def RefusePayment(  # noqa: N802 - the contract's name
        self,
        request: pb.RefusePaymentRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.RefusePaymentResponse:
        """Ends a payment because a signer declines."""
        fund_id, payment_id = split_name(request.name, _PAYMENT)
        caller = current_caller()

        async def work(conn: AsyncConnection) -> pb.RefusePaymentResponse:
            ending = Ending(Event.REFUSE, caller.actor, request.reason, self.clock())
            await end(conn, fund_id, payment_id, ending, self.banks)
            return pb.RefusePaymentResponse(payment=await _full(conn, fund_id, payment_id))

        return await once(self.store, caller, request, pb.RefusePaymentResponse, work)

    async def WithdrawPayment(  # noqa: N802 - the contract's name
        self,
        request: pb.WithdrawPaymentRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> pb.WithdrawPaymentResponse:
        """Ends a payment because its submitter takes it back."""
        fund_id, payment_id = split_name(request.name, _PAYMENT)
        caller = current_caller()

        async def work(conn: AsyncConnection) -> pb.WithdrawPaymentResponse:
            payment = await load(conn, fund_id, payment_id)
            if payment.submitter_party_id != caller.party_id:
                raise denied(Reason.ROLE_NOT_ALLOWED, "another party submitted this payment")
            ending = Ending(Event.WITHDRAW, caller.actor, request.reason, self.clock())
            await end(conn, fund_id, payment_id, ending, self.banks)
            return pb.WithdrawPaymentResponse(payment=await _full(conn, fund_id, payment_id))

        return await once(self.store, caller, request, pb.WithdrawPaymentResponse, work)

    async def WatchPayments(  # noqa: N802 - the contract's name
        self,
        request: pb.WatchPaymentsRequest,
        context: Any,  # noqa: ANN401, ARG002 - gRPC's
    ) -> AsyncIterator[pb.WatchPaymentsResponse]:
        """Every change, without end."""
        fund_id = fund_id_of(request.parent) if request.parent else ""
        start = listing.Position.parse(request.resume_token)
        changes = listing.watch(self.store, current_caller().scope, fund_id, start)
        async for position, row in changes:
            yield pb.WatchPaymentsResponse(
                resume_token=str(position),
                payment=f"funds/{row.fund_id}/payments/{row.payment_id}",
                transition=_transition(row),
            )


# --- streams ----------------------------------------------------------------------------------


async def _collect_batch(
    parts: AsyncIterator[pb.SubmitPaymentsRequest],
) -> tuple[pb.SubmitPaymentsHeader, Sequence[Ask], bytes]:
    """Header, payments and digest of a bulk submission, as many as the header says.

    The digest is over the payments, however they were put into messages.
    """
    header = None
    digest = sha256()
    asks: list[Ask] = []
    async for part in parts:
        header = header_first(header, part)
        if part.HasField("header"):
            _extend(digest, header)
        for payment in _payments_in(part):
            _extend(digest, payment)
            asks.append(_ask(payment, header.parent, f"payments[{len(asks)}]"))
        if len(asks) > header.payment_count:
            break
    header = required(header)
    if len(asks) != header.payment_count:
        raise invalid(
            Reason.FIELD_INVALID,
            "header.payment_count",
            f"{header.payment_count} payments were announced, not what followed",
        )
    return header, asks, digest.digest()


def _payments_in(part: pb.SubmitPaymentsRequest) -> Sequence[pb.Payment]:
    if part.HasField("payment"):
        return (part.payment,)
    return part.block.payments


def _extend(digest: Any, message: Message) -> None:  # noqa: ANN401 - hashlib names no type
    content = message.SerializeToString(deterministic=True)
    digest.update(len(content).to_bytes(4) + content)


# --- messages ---------------------------------------------------------------------------------


def _ask(payment: pb.Payment, parent: str, path: str) -> Ask:
    """What is asked for; budget line and vouchers must be of the fund that pays."""
    own = f"{parent}/"
    if not payment.budget_line.startswith(own):
        raise invalid(Reason.FIELD_INVALID, f"{path}.budget_line", "is of another fund")
    for index, voucher in enumerate(payment.vouchers):
        if not voucher.startswith(own):
            raise invalid(Reason.FIELD_INVALID, f"{path}.vouchers[{index}]", "is of another fund")
    return Ask(
        payee_name=payment.payee.display_name,
        payee_account=payment.payee.account_number,
        payee_bank_code=payment.payee.bank_code,
        amount_minor=payment.amount.amount_minor,
        currency=payment.amount.currency,
        purpose=payment.purpose,
        budget_line_id=payment.budget_line.rpartition("/")[2],
        vouchers=tuple(voucher.rpartition("/")[2] for voucher in payment.vouchers),
    )


async def _full(conn: AsyncConnection, fund_id: str, payment_id: str) -> pb.Payment:
    row = await load(conn, fund_id, payment_id)
    papers = await load_papers(conn, [row])
    subject = papers.subject(row)
    given = papers.given(row, subject.attempt)
    expires = subject.facts.expires
    message = _to_sign(Done([row], expires, subject.attempt, subject.payload, given))
    message.history.extend(map(_transition, await listing.history(conn, row)))
    return message


def _to_sign(done: Done) -> pb.Payment:
    """A payment with its bytes to sign and its signatures."""
    message = payment_message(done.payments[0])
    message.attempt, message.signing_payload = done.attempt, done.payload
    message.expire_time.FromDatetime(done.expires)
    for signature in done.signatures:
        message.signatures.add(
            person=person_name(signature.party_id, signature.person_id),
            key_id=signature.key_id,
            create_time=moment(signature.created_at),
        )
    return message


def _submitted(done: Done) -> pb.SubmitPaymentResponse:
    return pb.SubmitPaymentResponse(payment=_to_sign(done))


def _batch_submitted(done: Done) -> pb.SubmitPaymentsResponse:
    names = [f"funds/{row.fund_id}/payments/{row.payment_id}" for row in done.payments]
    return pb.SubmitPaymentsResponse(batch_id=done.payments[0].batch_id, payments=names)


def _signed(done: Done) -> pb.SignPaymentResponse:
    return pb.SignPaymentResponse(payment=_to_sign(done))


def _batch_signed(done: Done) -> pb.SignBatchResponse:
    transmission = _transmission(done.payments[0])
    return pb.SignBatchResponse(signed_count=len(done.payments), transmission=transmission)


_ANSWERS: Final[Mapping[str, tuple[Parser[Message], Callable[[Done], Message]]]] = {
    "xinyi.v1.SubmitPaymentRequest": (pb.SubmitPaymentResponse, _submitted),
    "xinyi.v1.SubmitPaymentsRequest": (pb.SubmitPaymentsResponse, _batch_submitted),
    "xinyi.v1.SignPaymentRequest": (pb.SignPaymentResponse, _signed),
    "xinyi.v1.SignBatchRequest": (pb.SignBatchResponse, _batch_signed),
}


def item_of(use: Use, order: Order) -> Item:
    """What a writer is given of a call of this method, in the task of the call."""
    response_type, answer = _ANSWERS[use.method]
    return Item(use, order, response_type, answer)


def payment_message(row: Row) -> pb.Payment:
    """A payment as in lists: without signatures, bytes to sign and history."""
    fund = f"funds/{row.fund_id}"
    return pb.Payment(
        name=f"{fund}/payments/{row.payment_id}",
        payee=pb.Payee(
            display_name=row.payee_name,
            account_number=row.payee_account,
            bank_code=row.payee_bank_code,
        ),
        amount=money(row.amount_minor, row.currency),
        purpose=row.purpose,
        budget_line=f"{fund}/budgetLines/{row.budget_line_id}",
        vouchers=[f"{fund}/vouchers/{digest}" for digest in row.vouchers],
        state=pb.PaymentState.Value(f"PAYMENT_STATE_{row.state}"),
        batch_id=row.batch_id,
        submitter=f"parties/{row.submitter_party_id}",
        create_time=moment(row.created_at),
        expire_time=moment(row.expires_at),
        transmission=_transmission(row),
    )


def _transmission(row: Row) -> str:
    return f"transmissions/{row.transmission_id}" if row.transmission_id else ""


def _transition(event: Row) -> pb.PaymentTransition:
    return pb.PaymentTransition(
        state=pb.PaymentState.Value(f"PAYMENT_STATE_{event.state}"),
        create_time=moment(event.created_at),
        actor=event.actor,
        detail=event.detail,
    )


def voucher_message(row: Row) -> pb.Voucher:
    """A voucher without its bytes."""
    return pb.Voucher(
        name=f"funds/{row.fund_id}/vouchers/{row.sha256}",
        file_name=row.file_name,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        create_time=moment(row.created_at),
    )
