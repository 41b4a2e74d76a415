"""What the demo's firms and signers do, by the same calls as anybody else's."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from xinyi.v1 import payment_service_pb2 as pb
from xinyi.v1.duty_service_pb2 import RenderVoucherRequest

from gateway.client import LONG_TIMEOUT_S, call
from gateway.demo import world
from gateway.demo.people import request_id
from gateway.demo.register import cny
from gateway.domain.envelope import sign, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xinyi.v1.disclosure_service_pb2 import VoucherRegion, VoucherRendition

    from gateway.demo.people import People

PAYEE_BANK: Final = "105651000225"
"""联行号 of the payees' bank."""


@dataclass(frozen=True, slots=True)
class Order:
    """A payment that a firm asks for.

    Attributes:
        budget: budget line.
        purpose: what for.
        payee: who is paid.
        account: the payee's account.
        amount_minor: fen.
        paper: its voucher as PDF; a few words of text where there is none.
    """

    budget: str
    purpose: str
    payee: str
    account: str
    amount_minor: int
    paper: bytes = b""


@dataclass(frozen=True, slots=True)
class Office:
    """The desks of firms, committees and trustee."""

    people: People

    async def voucher(self, estate: world.Estate, title: str, paper: bytes = b"") -> str:
        """Uploads a voucher for an estate's fund and returns its name."""
        fund = f"funds/{estate.estate_id}"
        content = paper or f"凭证（演示）\n{estate.display_name}\n{title}\n".encode()
        voucher = pb.Voucher(
            name=f"{fund}/vouchers/{sha256(content).hexdigest()}",
            file_name=f"{title}.pdf" if paper else f"{title}.txt",
            media_type="application/pdf" if paper else "text/plain",
            size_bytes=len(content),
        )
        header = pb.UploadVoucherHeader(parent=fund, voucher=voucher, request_id=request_id())
        cashier = await self.people.calls(world.CASHIERS[estate.firm])
        parts = [pb.UploadVoucherRequest(header=header), pb.UploadVoucherRequest(content=content)]
        return (await call(cashier.payments.UploadVoucher, parts)).voucher.name

    async def mask(
        self, estate: world.Estate, voucher: str, regions: Sequence[VoucherRegion]
    ) -> VoucherRendition:
        """Makes the public copy of a voucher."""
        cashier = await self.people.calls(world.CASHIERS[estate.firm])
        request = RenderVoucherRequest(name=voucher, regions=regions, request_id=request_id())
        return (await call(cashier.duties.RenderVoucher, request, LONG_TIMEOUT_S)).rendition

    async def request(self, estate: world.Estate, order: Order) -> pb.SubmitPaymentRequest:
        """The call by which the firm asks for an order, its voucher uploaded."""
        voucher = await self.voucher(estate, order.purpose, order.paper)
        return pb.SubmitPaymentRequest(
            parent=f"funds/{estate.estate_id}",
            payment=_payment(estate, order, voucher),
            request_id=request_id(),
        )

    async def submit(self, estate: world.Estate, order: Order) -> pb.Payment:
        """Asks for one payment."""
        cashier = await self.people.calls(world.CASHIERS[estate.firm])
        request = await self.request(estate, order)
        return (await call(cashier.payments.SubmitPayment, request)).payment

    async def submit_wages(self, estate: world.Estate, orders: Sequence[Order]) -> Sequence[str]:
        """Asks for a batch; returns the payments' names."""
        voucher = await self.voucher(estate, "工资表")
        header = pb.SubmitPaymentsHeader(
            parent=f"funds/{estate.estate_id}",
            payment_count=len(orders),
            request_id=request_id(),
        )
        parts = [pb.SubmitPaymentsRequest(header=header)]
        for order in orders:
            payment = _payment(estate, order, voucher)
            parts.append(pb.SubmitPaymentsRequest(payment=payment))
        cashier = await self.people.calls(world.CASHIERS[estate.firm])
        return (await call(cashier.payments.SubmitPayments, parts)).payments

    async def sign_request(
        self, person: world.Person, name: str, *, tampered: bool = False
    ) -> pb.SignPaymentRequest:
        """The call by which a person signs, over the stored bytes or over others."""
        calls = await self.people.calls(person)
        answer = await call(calls.payments.GetPayment, pb.GetPaymentRequest(name=name))
        payload = answer.payment.signing_payload
        if tampered:
            payload = payload.replace(PAYEE_BANK.encode(), b"102651000010")
        envelope = sign(payload, self.people.signing_key(person))
        return pb.SignPaymentRequest(name=name, envelope=to_json(envelope), request_id=request_id())

    async def sign(self, person: world.Person, name: str) -> pb.Payment:
        """Signs a payment."""
        calls = await self.people.calls(person)
        request = await self.sign_request(person, name)
        return (await call(calls.payments.SignPayment, request)).payment

    async def sign_by_both(self, estate: world.Estate, name: str) -> pb.Payment:
        """The committee's chair, then the trustee's checker."""
        await self.sign(world.CHAIRS[estate.committee], name)
        return await self.sign(world.CHECKER, name)

    async def state(self, name: str) -> str:
        """Where a payment stands."""
        calls = await self.people.calls(world.CHECKER)
        answer = await call(calls.payments.GetPayment, pb.GetPaymentRequest(name=name))
        return pb.PaymentState.Name(answer.payment.state).removeprefix("PAYMENT_STATE_")


def _payment(estate: world.Estate, order: Order, voucher: str) -> pb.Payment:
    payee = pb.Payee(display_name=order.payee, account_number=order.account, bank_code=PAYEE_BANK)
    return pb.Payment(
        payee=payee,
        amount=cny(order.amount_minor),
        purpose=order.purpose,
        budget_line=f"funds/{estate.estate_id}/budgetLines/{order.budget}",
        vouchers=[voucher],
    )
