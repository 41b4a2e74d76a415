"""Those who ask and sign, with a journal of what they were told; who is not told asks again."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
from xinyi.v1 import payment_service_pb2 as pb

from gateway.client import decode_error, stubs
from tests.gateway.payments.desk import CONTENT, ask, envelope, voucher_header
from tests.gateway.support import BANK_CODE, CHAIR, CHECKER, FIRM, OTHER_CHAIR, OTHER_FIRM, details

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from random import Random

    from google.protobuf.message import Message

    from gateway.client import Stubs
    from tests.gateway.support import Pki, Who

FIRMS: Final = {"funds/wutong": FIRM, "funds/jinjiang": OTHER_FIRM}
CHAIRS: Final = {"funds/wutong": CHAIR, "funds/jinjiang": OTHER_CHAIR}

ORDINARY: Final = "6222020000000001"
REFUSED: Final = "6222020000000002"
SILENT: Final = "6222020000000003"
"""The payees' accounts, by what the bank does with payments to them."""

_TIMEOUT_S: Final = 5.0
_PATIENCE_S: Final = 200.0
"""After this a caller who was never answered fails the test."""
_PAUSE_S: Final = 0.2
_RECONNECT: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    # This one is how long a handshake may take.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 200),
)
_REPEATABLE: Final = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED})
"""Beside what is undecided: the gateway had no room, and did nothing."""


NO_ANSWERS: Final = frozenset({"INTERNAL", "UNKNOWN"})
"""What a caller may never hear of a fault: a defect of the gateway."""


@dataclass(frozen=True, slots=True)
class Told:
    """One call as its caller remembers it.

    Attributes:
        who: the caller.
        method: of the payment service.
        request: what was sent, over and over.
        answer: the bytes of the response, or of the status of a refusal.
        reason: of the refusal; empty for a response.
    """

    who: Who
    method: str
    request: Any
    answer: bytes
    reason: str = ""


@dataclass(slots=True)
class People:
    """Everybody's channels, and the journal.

    Attributes:
        port: where the gateway is.
        pki: everybody's certificates.
        journal: every call that was answered, in the order of the answers.
        troubles: how often a call failed so that its caller had to repeat it, by reason.
    """

    port: int
    pki: Pki
    journal: list[Told] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    _open: dict[Who, Stubs] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def upload(self, fund: str) -> None:
        """The voucher that every payment names."""
        stub = (await self.stubs(FIRMS[fund])).payments
        await stub.UploadVoucher(
            iter([voucher_header(fund), pb.UploadVoucherRequest(content=CONTENT)]),
            wait_for_ready=True,
        )

    async def tell(self, who: Who, method: str, request: Any) -> Message | None:
        """Calls until there is an answer, and writes it down.

        Returns:
            The response; None if it was refused.
        """
        told, response = await self._insist(who, method, request)
        self.journal.append(told)
        return response

    async def ask_again(self, told: Told) -> Told:
        """The same request once more, as after a lost answer."""
        again, _ = await self._insist(told.who, told.method, told.request)
        return again

    async def _insist(self, who: Who, method: str, request: Any) -> tuple[Told, Message | None]:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                call = getattr((await self.stubs(who)).payments, method)
                try:
                    response = await call(request, timeout=_TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    refused = decode_error(error)
                    if not (refused.undecided or refused.code in _REPEATABLE):
                        return Told(who, method, request, details(error), refused.reason), None
                    self.troubles[refused.reason] += 1
                    await asyncio.sleep(_PAUSE_S)
                else:
                    answer = response.SerializeToString(deterministic=True)
                    return Told(who, method, request, answer), response

    async def stubs(self, who: Who) -> Stubs:
        """The services, called by this person."""
        if who not in self._open:
            pair = self.pki.people[who]
            credentials = grpc.ssl_channel_credentials(
                self.pki.ca.certificate_pem, pair.key_pem, pair.certificate_pem
            )
            address = f"127.0.0.1:{self.port}"
            channel = grpc.aio.secure_channel(address, credentials, options=_RECONNECT)
            self._open[who] = stubs(await self._stack.enter_async_context(channel))
        return self._open[who]


@dataclass(slots=True)
class Watcher:
    """One who follows every change of every payment, and goes on from where the stream broke.

    Attributes:
        people: whose channels it uses.
        seen: each change that it was told: the payment's name and its state.
    """

    people: People
    seen: list[tuple[str, str]] = field(default_factory=list)
    _token: str = ""

    async def run(self) -> None:
        """Watches without end."""
        while True:
            try:
                await self._follow()
            except grpc.aio.AioRpcError as error:
                refused = decode_error(error)
                assert refused.undecided, refused
                assert refused.reason not in NO_ANSWERS, refused
            await asyncio.sleep(_PAUSE_S)

    async def _follow(self) -> None:
        request = pb.WatchPaymentsRequest(resume_token=self._token)
        async for change in (await self.people.stubs(CHECKER)).payments.WatchPayments(request):
            state = pb.PaymentState.Name(change.transition.state)
            self.seen.append((change.payment, state.removeprefix("PAYMENT_STATE_")))
            self._token = change.resume_token


@dataclass(slots=True)
class Load:
    """Payments from asking to the second signature, several at a time.

    Attributes:
        people: who ask and sign.
        rng: what is asked for, and by whom.
        payment_count: how many.
        prefix: of the request ids; no other load has it.
    """

    people: People
    rng: Random
    payment_count: int
    prefix: str
    _begun: int = 0
    _numbers: int = 0

    async def run(self, clerk_count: int) -> None:
        """All of it."""
        async with asyncio.TaskGroup() as clerks:
            for _ in range(clerk_count):
                clerks.create_task(self._work())

    async def _work(self) -> None:
        while self._begun < self.payment_count:
            self._begun += 1
            await self._one()

    async def _one(self) -> None:
        """One payment; some are never signed, some twice by the same person, which is refused."""
        fund = self.rng.choice(sorted(FIRMS))
        asked = await self.people.tell(FIRMS[fund], "SubmitPayment", self._submission(fund))
        assert isinstance(asked, pb.SubmitPaymentResponse), self.people.journal[-1]
        signers = self.rng.choice(
            ([CHAIRS[fund], CHECKER],) * 6 + ([CHAIRS[fund], CHAIRS[fund], CHECKER], [CHECKER], [])
        )
        for who in signers:
            request = pb.SignPaymentRequest(
                name=asked.payment.name,
                envelope=envelope(asked.payment.signing_payload, who),
                request_id=self._request_id(),
            )
            await self.people.tell(who, "SignPayment", request)

    def _submission(self, fund: str) -> pb.SubmitPaymentRequest:
        payment = ask(
            self.rng.randint(1, 300),
            fund,
            payee=pb.Payee(
                display_name="锐达电梯工程有限公司",
                account_number=self.rng.choice((*(ORDINARY,) * 6, REFUSED, SILENT)),
                bank_code=BANK_CODE,
            ),
            budget_line=f"{fund}/budgetLines/wages",
        )
        return pb.SubmitPaymentRequest(parent=fund, payment=payment, request_id=self._request_id())

    def _request_id(self) -> str:
        self._numbers += 1
        return f"{self.prefix}-{self._numbers}"


async def all_of(work: list[Awaitable[Any]], at_a_time: int) -> list[Any]:
    """The results in order."""
    room = asyncio.Semaphore(at_a_time)

    async def one(each: Awaitable[Any]) -> Any:
        async with room:
            return await each

    return await asyncio.gather(*map(one, work))
