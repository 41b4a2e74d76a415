"""`xinyi payment`: from request to signature to outcome."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Money
from xinyi.v1.party_service_pb2 import GetCallerRequest
from xinyi.v1.payment_service_pb2 import (
    GetPaymentRequest,
    ListPaymentsRequest,
    Payee,
    Payment,
    PaymentBlock,
    PaymentState,
    PrepareResendRequest,
    RefusePaymentRequest,
    SignBatchRequest,
    SignPaymentRequest,
    SignPaymentResponse,
    SubmitPaymentRequest,
    SubmitPaymentsHeader,
    SubmitPaymentsRequest,
    WatchPaymentsRequest,
    WatchPaymentsResponse,
    WithdrawPaymentRequest,
)

from gateway.cli.frame import (
    EVERYONE,
    FIRM,
    OPERATOR,
    SIGNERS,
    Complaint,
    Session,
    group,
    remote,
)
from gateway.cli.keys import open_key
from gateway.cli.labels import label
from gateway.cli.options import (
    Fund,
    InputFile,
    Limit,
    OnlyFund,
    PaymentArgument,
    RequestId,
    Vouchers,
    amount_minor,
    announced,
    new_request_id,
    one_of,
    resource,
)
from gateway.cli.payment_file import Request, name_lines, read_requests
from gateway.cli.payment_split import split_bill
from gateway.cli.screen import Column, Row
from gateway.cli.status import MISMATCH
from gateway.cli.text import joined, last, moment, money
from gateway.cli.voucher import voucher_names
from gateway.client import LONG_TIMEOUT_S, MAX_ITEMS, CallRefused, call, collect, receive
from gateway.domain import envelope, errors
from gateway.domain.batch import batch_bytes
from gateway.domain.describe import describe
from gateway.domain.money import format_minor
from gateway.domain.payload import PaymentPayload, parse_payload

app = group("Payments: request, sign, refuse, withdraw, follow 付款.")

_PAYMENT = Column("付款", "Payment")
_STATE = Column("状态", "State")
_AMOUNT = Column("金额", "Amount", right=True)
_PAYEE = Column("收款人", "Payee", prose=True)
_PURPOSE = Column("用途", "Purpose", prose=True)
_BUDGET = Column("预算科目", "Budget line")
_BATCH = Column("批次", "Batch")
_TIME = Column("时间（北京）", "Time (Beijing)")

_LISTED = (_PAYMENT, _STATE, _AMOUNT, _PAYEE, _PURPOSE, _BUDGET, _TIME, _BATCH)
_TO_SIGN = (_PAYEE, Column("收款账号", "Payee account"), _AMOUNT, _PURPOSE)

_BLOCK = 500
"""The most payments that one message may carry."""

_ONCE = ("以上内容无误，签名吗？", "Sign exactly this?")
_AGAIN = (
    "银行查无此付款，签名即同意再次发送。以上内容无误，签名吗？",
    "The bank does not know this payment; to sign is to send it again. Sign exactly this?",
)

_Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="Your key, if not signing.key.")
]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: you have read it.")]
_Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; the other side reads it.")
]


@remote(app, "submit", FIRM)
async def _submit(  # noqa: PLR0913 - a payment has this many parts
    session: Session,
    *,
    fund: Fund,
    payee_name: Annotated[str, typer.Option(metavar="NAME", help="Holder, as the bank has it.")],
    payee_account: Annotated[str, typer.Option(metavar="NUMBER", help="Account number.")],
    payee_bank: Annotated[str, typer.Option(metavar="CODE", help="联行号, 12 digits.")],
    amount: Annotated[
        int, typer.Option(parser=amount_minor, metavar="1,234.56", help="How much, in yuan.")
    ],
    purpose: Annotated[str, typer.Option(metavar="TEXT", help="What for; the owners read it.")],
    budget_line: Annotated[str, typer.Option(metavar="LINE", help="The budget line that pays.")],
    voucher: Vouchers,
    request_id: RequestId = None,
) -> None:
    """Ask for one payment out of a fund, with its vouchers."""
    names = await voucher_names(session, fund, voucher)
    asked = Request(payee_name, payee_account, payee_bank, amount, purpose, budget_line, 0)
    request = SubmitPaymentRequest(
        parent=fund,
        payment=_payment(fund, asked, names),
        request_id=announced(session.screen, request_id),
    )
    answer = await call(session.stubs.payments.SubmitPayment, request)
    session.screen.one(answer, _summary(answer.payment, session))


@remote(app, "submit-batch", FIRM)
async def _submit_batch(
    session: Session, file: InputFile, fund: Fund, voucher: Vouchers, request_id: RequestId = None
) -> None:
    """Ask for many payments at once from a CSV file; all are taken, or none.

    Columns: payee_name, payee_account, payee_bank_code, amount, purpose, budget_line.
    """
    asked = read_requests(file)
    names = await voucher_names(session, fund, voucher)
    header = SubmitPaymentsHeader(
        parent=fund, payment_count=len(asked), request_id=announced(session.screen, request_id)
    )
    payments = [_payment(fund, each, names) for each in asked]
    blocks = [payments[start : start + _BLOCK] for start in range(0, len(payments), _BLOCK)]
    parts = [SubmitPaymentsRequest(block=PaymentBlock(payments=block)) for block in blocks]
    whole = [SubmitPaymentsRequest(header=header), *parts]
    try:
        answer = await call(session.stubs.payments.SubmitPayments, whole, LONG_TIMEOUT_S)
    except CallRefused as refused:
        raise name_lines(refused, asked) from None
    facts = [(_BATCH, answer.batch_id), *((_PAYMENT, name) for name in answer.payments)]
    session.screen.one(answer, facts)


remote(app, "split", FIRM)(split_bill)


@remote(app, "show", EVERYONE)
async def _show(session: Session, name: PaymentArgument) -> None:
    """Show one payment with its signatures and its history."""
    answer = await call(session.stubs.payments.GetPayment, GetPaymentRequest(name=name))
    facts = (*_summary(answer.payment, session), *_story(answer.payment, session))
    session.screen.one(answer, facts)


@remote(app, "list", EVERYONE)
async def _list(
    session: Session,
    fund: Fund,
    state: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(PaymentState), metavar="STATE", help="Only this state, such as HELD."
        ),
    ] = None,
    batch: Annotated[str, typer.Option(metavar="ID", help="Only this batch.")] = "",
    limit: Limit = 500,
) -> None:
    """List the payments of a fund, newest first."""
    states = map(PaymentState.Value, state or ())
    request = ListPaymentsRequest(parent=fund, states=states, batch_id=batch)
    answer = await collect(session.stubs.payments.ListPayments, request, limit)
    session.screen.list(answer, _LISTED, (_row(each, session) for each in answer.payments))


@remote(app, "sign", SIGNERS)
async def _sign(
    session: Session,
    name: PaymentArgument,
    key: _Key = None,
    yes: _Yes = False,
) -> int | None:
    """Read what a payment's bytes say, agree, and sign exactly these bytes with your own key."""
    stored = await call(session.stubs.payments.GetPayment, GetPaymentRequest(name=name))
    payload = stored.payment.signing_payload
    said = _require_asked_for(session, name, payload)
    session.screen.facts(describe(payload, session.screen.lang), on_error=True)
    if not (yes or session.screen.agree(*(_AGAIN if said.resend else _ONCE))):
        session.screen.say("未签名", "not signed")
        return MISMATCH
    signed = envelope.sign(payload, open_key(session.screen, key or session.profile.signing_key))
    answer = await _send_signature(session, name, signed)
    session.screen.one(answer, _summary(answer.payment, session))
    return None


@remote(app, "sign-batch", SIGNERS)
async def _sign_batch(
    session: Session,
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="As `payment list` shows it.")],
    fund: Fund,
    key: _Key = None,
    yes: _Yes = False,
) -> int | None:
    """Read what the bytes of a batch's payments say, agree once, and sign all of them as one.

    What is signed lists each payment by the digest of the bytes that were shown.
    """
    payloads = await _unsigned(session, fund, batch)
    if not payloads:
        session.screen.say("这一批没有待您签名的付款", "nothing in this batch waits for you")
        return None
    said = [parse_payload(payload) for payload in payloads]
    rows = [
        (p.payee_name, p.payee_account, format_minor(int(p.amount_minor), p.currency), p.purpose)
        for p in said
    ]
    session.screen.table(_TO_SIGN, rows, on_error=True)
    total = format_minor(sum(int(each.amount_minor) for each in said), said[0].currency)
    session.screen.say(f"共 {len(said)} 笔，{total} 元", f"{len(said)} payments, {total} together")
    if not (yes or session.screen.agree("以上内容无误，全部签名吗？", "Sign exactly these?")):
        session.screen.say("未签名", "not signed")
        return MISMATCH
    name = f"{fund}/batches/{batch}"
    opened = open_key(session.screen, key or session.profile.signing_key)
    signed = envelope.sign(batch_bytes(name, payloads), opened, envelope.BATCH_TYPE)
    request = SignBatchRequest(
        name=name, envelope=envelope.to_json(signed), request_id=new_request_id()
    )
    await call(session.stubs.payments.SignBatch, request, LONG_TIMEOUT_S)
    listed = ListPaymentsRequest(parent=fund, batch_id=batch)
    answer = await collect(session.stubs.payments.ListPayments, listed, MAX_ITEMS)
    session.screen.list(answer, _LISTED, (_row(each, session) for each in answer.payments))
    return None


@remote(app, "resend", OPERATOR)
async def _resend(session: Session, name: PaymentArgument) -> None:
    """Make the bytes that two persons sign to send again a payment that its bank never had.

    Refused, with every reason, while the bank may still have it. Nothing is sent by this.
    """
    request = PrepareResendRequest(name=name, request_id=new_request_id())
    answer = await call(session.stubs.payments.PrepareResend, request)
    said = describe(answer.payment.signing_payload, session.screen.lang)
    session.screen.one(answer, ((Column(label, label), value) for label, value in said))
    session.screen.say(
        f"须由上列两方各自签署，之后再次发送：xinyi payment sign {name}",
        f"both of the above sign it, then it is sent again: xinyi payment sign {name}",
    )


@remote(app, "refuse", SIGNERS)
async def _refuse(session: Session, name: PaymentArgument, reason: _Reason) -> None:
    """Refuse a payment for good, with the reason."""
    request = RefusePaymentRequest(name=name, reason=reason, request_id=new_request_id())
    answer = await call(session.stubs.payments.RefusePayment, request)
    session.screen.one(answer, _summary(answer.payment, session))


@remote(app, "withdraw", FIRM)
async def _withdraw(session: Session, name: PaymentArgument, reason: _Reason) -> None:
    """Take back a payment that is not released yet."""
    request = WithdrawPaymentRequest(name=name, reason=reason, request_id=new_request_id())
    answer = await call(session.stubs.payments.WithdrawPayment, request)
    session.screen.one(answer, _summary(answer.payment, session))


@remote(app, "watch", EVERYONE)
async def _watch(
    session: Session,
    fund: OnlyFund = None,
    resume: Annotated[
        str, typer.Option("--resume", metavar="TOKEN", help="Go on after this change.")
    ] = "",
) -> None:
    """Follow every change of payments until you stop it; one line a change."""
    request = WatchPaymentsRequest(parent=fund or "", resume_token=resume)
    try:
        while await _watched_its_time(session, request):
            pass
    finally:
        token = request.resume_token
        session.screen.say(f"继续请用 --resume {token}", f"to go on: --resume {token}")


async def _watched_its_time(session: Session, request: WatchPaymentsRequest) -> bool:
    """Whether the gateway ended a watch only because it had lasted as long as one may."""
    try:
        # A watch has no end, so it alone has no deadline.
        async for change in receive(session.stubs.payments.WatchPayments, request, None):
            request.resume_token = change.resume_token
            _print_change(session, change)
    except CallRefused as refused:
        if refused.reason == errors.Reason.DEADLINE_TOO_SHORT:
            return True
        raise
    return False


def _payment(fund: str, asked: Request, vouchers: list[str]) -> Payment:
    return Payment(
        payee=Payee(
            display_name=asked.payee_name,
            account_number=asked.payee_account,
            bank_code=asked.payee_bank_code,
        ),
        amount=Money(amount_minor=asked.amount_minor, currency="CNY"),
        purpose=asked.purpose,
        budget_line=resource(f"{fund}/budgetLines")(asked.budget_line),
        vouchers=vouchers,
    )


async def _unsigned(session: Session, fund: str, batch: str) -> list[bytes]:
    """The bytes of a batch's payments that wait for a signature of the caller's."""
    waiting = ListPaymentsRequest(
        parent=fund,
        batch_id=batch,
        states=[PaymentState.PAYMENT_STATE_HELD, PaymentState.PAYMENT_STATE_PARTLY_SIGNED],
    )
    listed = await collect(session.stubs.payments.ListPayments, waiting, MAX_ITEMS)
    me = (await call(session.stubs.parties.GetCaller, GetCallerRequest())).person.name
    payloads = []
    for name in sorted(each.name for each in listed.payments):
        stored = await call(session.stubs.payments.GetPayment, GetPaymentRequest(name=name))
        if me not in (signature.person for signature in stored.payment.signatures):
            _require_asked_for(session, name, stored.payment.signing_payload)
            payloads.append(stored.payment.signing_payload)
    return payloads


async def _send_signature(
    session: Session, name: str, signed: envelope.Envelope
) -> SignPaymentResponse:
    request = SignPaymentRequest(
        name=name, envelope=envelope.to_json(signed), request_id=new_request_id()
    )
    return await call(session.stubs.payments.SignPayment, request)


def _require_asked_for(session: Session, name: str, payload: bytes) -> PaymentPayload:
    """What the bytes say; refuses another payment or environment than the signer asked for."""
    said, meant = parse_payload(payload), session.profile.environment
    if said.payment != name:
        raise Complaint(f"the bytes are of {said.payment}, not of {name}", "待签内容属于另一笔付款")
    if said.environment != meant:
        raise Complaint(
            f"the bytes are for {said.environment}, you sign for {meant}", "待签内容属于另一环境"
        )
    return said


def _row(payment: Payment, session: Session) -> Row:
    return (
        payment.name,
        label(PaymentState, payment.state, session.screen.lang),
        money(payment.amount),
        payment.payee.display_name,
        payment.purpose,
        last(payment.budget_line),
        moment(payment.create_time),
        payment.batch_id,
    )


def _summary(payment: Payment, session: Session) -> Iterable[tuple[Column, str]]:
    yield _PAYMENT, payment.name
    yield _STATE, label(PaymentState, payment.state, session.screen.lang)
    yield _AMOUNT, money(payment.amount)
    yield _PAYEE, payment.payee.display_name
    yield Column("收款账号", "Payee account"), payment.payee.account_number
    yield Column("联行号", "Bank code"), payment.payee.bank_code
    yield _PURPOSE, payment.purpose
    yield _BUDGET, payment.budget_line
    yield Column("凭证", "Vouchers"), joined(payment.vouchers)
    yield Column("签署截止（北京）", "Sign until (Beijing)"), moment(payment.expire_time)


def _story(payment: Payment, session: Session) -> Iterable[tuple[Column, str]]:
    if payment.batch_id:
        yield _BATCH, payment.batch_id
    if payment.transmission:
        yield Column("报文", "Transmission"), payment.transmission
    if payment.attempt > 1:
        yield Column("第几次发送", "Attempt"), str(payment.attempt)
    for signature in payment.signatures:
        yield Column("签名", "Signed"), f"{moment(signature.create_time)}  {signature.person}"
    for change in payment.history:
        state = label(PaymentState, change.state, session.screen.lang)
        told = (moment(change.create_time), state, change.actor, change.detail)
        yield Column("经过", "History"), "  ".join(filter(None, told))


def _print_change(session: Session, change: WatchPaymentsResponse) -> None:
    if session.screen.as_json:
        session.screen.json(change, indent=None)
        return
    made = change.transition
    state = label(PaymentState, made.state, session.screen.lang)
    told = (moment(made.create_time), change.payment, state, made.actor, made.detail)
    session.screen.line("  ".join(filter(None, told)))
