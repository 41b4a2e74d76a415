"""Personal data put in wherever somebody writes, and looked for wherever the public reads.

What is asked of the services comes from the contract: a new method that owners may call is asked as
soon as it is described.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from stdnum import luhn
from xinyi.v1 import common_pb2 as common
from xinyi.v1 import disclosure_service_pb2 as disclosure
from xinyi.v1 import duty_service_pb2 as duty
from xinyi.v1 import ledger_service_pb2 as ledger
from xinyi.v1 import payment_service_pb2 as payment
from xinyi.v1 import question_service_pb2 as question

from gateway import app
from gateway.domain.party import Role
from gateway.rpc.access import METHODS
from gateway.rpc.convert import day
from gateway.settings import Settings
from tests.gateway.cases.desk import FUND as FUND_ID
from tests.gateway.cases.desk import Desk
from tests.gateway.disclosure.papers import SECRETS as ON_PAPER
from tests.gateway.disclosure.papers import pdf
from tests.gateway.payments.desk import ask, cny, envelope, voucher_header
from tests.gateway.rpc.requests import Builder
from tests.gateway.rpc.test_access import DESCRIBED
from tests.gateway.rpc.test_isolation import OF_ANYTHING
from tests.gateway.support import (
    BANK_CODE,
    CHAIR,
    CHECKER,
    FIRM,
    MAKER,
    OWNER,
    TODAY,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.gateway.conftest import TlsSettings
    from tests.gateway.support import Callers, StillClock

FUND: Final = f"funds/{FUND_ID}"
NAME: Final = "欧阳小明"
PHONE, EMAIL, HOME = "13800138000", "ouyang@example.com", "3栋1单元502"
IDENTITY, CARD = "11010519491231002X", f"622202000000000{luhn.calc_check_digit('622202000000000')}"
SECRETS: Final = (*ON_PAPER, NAME, PHONE, EMAIL, HOME, IDENTITY, CARD, "小明", "3-1-502")
"""A name may stand where it is masked by rule; nobody can tell it from other words in a text."""

TEXT: Final = f"电话{PHONE}，邮箱 {EMAIL}，身份证{IDENTITY}，卡号{CARD}，{HOME}室"
"""What an office might write: everything that can be told from other words."""

PAPER: Final = pdf(
    (50, 700, f"{ON_PAPER[0]} tel {ON_PAPER[1]} id {ON_PAPER[2]}"), info=" ".join(ON_PAPER)
)
WHERE: Final = disclosure.VoucherRegion(page=1, x=60, y=140, width=800, height=60)


@pytest.fixture
async def gateway(
    database_url: str, tls_settings: TlsSettings, clock: StillClock, tmp_path: Path
) -> AsyncIterator[app.Gateway]:
    """A whole gateway with pages for everybody and for monitors."""
    settings = Settings(
        listen="127.0.0.1:0",
        metrics_listen="0",
        public_listen="127.0.0.1:0",
        data_dir=tmp_path,
        **tls_settings,
    )
    async with app.running(settings, database_url, clock) as running:
        yield running


# --- putting in ---------------------------------------------------------------------------------


async def fill(desk: Desk, callers: Callers) -> list[str]:
    """Everything that happens to a fund, told with personal data; names of what owners may ask."""
    voucher = await _voucher(callers)
    line = await _entry(callers)
    await _payment(callers, voucher)
    named = {"counterparty_name": NAME, "counterparty_account": CARD, "text": TEXT}
    await desk.entry(12_345, reference=f"{PHONE}", **named)
    paid = await desk.line(-777, summary=TEXT, counterparty_name=NAME, counterparty_account=CARD)
    number = int(paid.rpartition("/")[2])
    await desk.line(777, corrects=number, correction_reason=TEXT, counterparty_name=NAME)
    asked = await _question(callers, line)
    await desk.night()
    await desk.gateway.publisher.log_all()
    return [
        *(asked, line, voucher, f"{FUND}/nightCertificates/1", f"{FUND}/periods/monthly-2026-10"),
        *OF_ANYTHING,
    ]


async def _voucher(callers: Callers) -> str:
    header = voucher_header(content=PAPER, file_name=f"{NAME}{PHONE}.pdf")
    parts = [header, payment.UploadVoucherRequest(content=PAPER)]
    await (await callers.as_(FIRM)).payments.UploadVoucher(iter(parts))
    name = f"{FUND}/vouchers/{sha256(PAPER).hexdigest()}"
    request = duty.RenderVoucherRequest(name=name, regions=[WHERE], request_id=request_id())
    await (await callers.as_(FIRM)).duties.RenderVoucher(request)
    return name


async def _entry(callers: Callers) -> str:
    """A household's fee, booked by hand and told by item."""
    entry = ledger.EntryDraft(
        book=common.BOOK_COMMON,
        category="物业费",
        summary=TEXT,
        amount=cny(12_345),
        effective_date=day(TODAY),
        bank_account=f"{FUND}/bankAccounts/main",
        counterparty_name=NAME,
        counterparty_account=CARD,
    )
    request = ledger.PostEntryRequest(parent=FUND, entry=entry, request_id=request_id())
    line = (await (await callers.as_(MAKER)).ledger.PostEntry(request)).disclosed_line
    items = [disclosure.LineItem(label=f"{HOME} {PHONE}", count=1, amount=cny(12_345))]
    told = duty.ItemiseLineRequest(name=line, items=items, request_id=request_id())
    await (await callers.as_(FIRM)).duties.ItemiseLine(told)
    return str(line)


async def _payment(callers: Callers, voucher: str) -> None:
    payee = payment.Payee(display_name=NAME, account_number=CARD, bank_code=BANK_CODE)
    request = payment.SubmitPaymentRequest(
        parent=FUND,
        payment=ask(payee=payee, purpose=TEXT[:60], vouchers=[voucher]),
        request_id=request_id(),
    )
    asked = (await (await callers.as_(FIRM)).payments.SubmitPayment(request)).payment
    for who in (CHAIR, CHECKER):
        signed = payment.SignPaymentRequest(
            name=asked.name, envelope=envelope(asked.signing_payload, who), request_id=request_id()
        )
        await (await callers.as_(who)).payments.SignPayment(signed)


async def _question(callers: Callers, line: str) -> str:
    header = question.AskQuestionHeader(parent=line, text=TEXT, request_id=request_id())
    parts = iter([question.AskQuestionRequest(header=header)])
    asked = (await (await callers.as_(OWNER)).questions.AskQuestion(parts)).question
    answer = question.AnswerQuestionRequest(name=asked.name, text=TEXT, request_id=request_id())
    await (await callers.as_(FIRM)).questions.AnswerQuestion(answer)
    return str(asked.name)


# --- looking for it -----------------------------------------------------------------------------


def leaks(where: str, content: bytes) -> list[str]:
    """What of it stands there, in UTF-8 or as PDF and Windows write Chinese."""
    return [
        f"{where}: {secret}"
        for secret in SECRETS
        for coding in ("utf-8", "utf-16-be", "gb18030")
        if secret.encode(coding) in content
    ]


async def of_services(callers: Callers, names: list[str]) -> list[str]:
    """What an owner is answered by every method of the contract, asked fully and asked shortly."""
    channel: Any = await callers.channel(callers.pki.people[OWNER])
    builder = Builder(names, {"first_month": "2026-01", "last_month": "2026-12"})
    found, answered = [], 0
    for name, method in DESCRIBED.items():
        if Role.OWNER not in METHODS[name] or method.client_streaming:
            continue
        for message in (builder.messages(method)[0], _short(builder.messages(method)[0])):
            answers = await _answers(channel, name, method, message)
            answered += len(answers)
            found += [leak for each in answers for leak in leaks(name, each)]
    assert answered > 20
    return found


def _short(message: Any) -> Any:
    """Only what names something, so that no filter leaves anything out."""
    for field in message.DESCRIPTOR.fields:
        if field.name not in {"name", "parent", "first_month", "last_month"}:
            message.ClearField(field.name)
    return message


async def _answers(channel: Any, name: str, method: Any, message: Any) -> list[bytes]:
    content = message.SerializeToString()
    try:
        if method.server_streaming:
            return [part async for part in channel.unary_stream(name)(content, timeout=60)]
        return [await channel.unary_unary(name)(content, timeout=60)]
    except Exception as refused:  # noqa: BLE001 - a refusal is read as well
        return [str(refused).encode()]


async def of_pages(port: int) -> list[str]:
    """Every page that a reader comes to from the first one, with its pictures and files."""
    found: list[str] = []
    waiting, known = ["/", "/?lang=en"], {"/", "/?lang=en"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while waiting:
            path = waiting.pop()
            answer = await client.get(path)
            assert answer.status_code == 200, path
            found += leaks(path, answer.content)
            if answer.headers["content-type"].startswith("text/html"):
                for link in re.findall(r'(?:href|src)="(/[^"#]*)"', answer.text):
                    address = link.replace("&amp;", "&")
                    if address not in known:
                        known.add(address)
                        waiting.append(address)
    assert any("/vouchers/" in each and "/pages/1" in each for each in known)
    assert any("/nights" in each for each in known)
    return found


def of_files(directory: Path) -> Iterator[str]:
    """What lies in public, tiles and all."""
    files = [each for each in directory.rglob("*") if each.is_file()]
    assert len(files) > 3
    for each in files:
        yield from leaks(str(each), each.read_bytes())


async def test_nothing_public_names_a_private_person(
    gateway: app.Gateway,
    callers: Callers,
    clock: StillClock,
    capfd: pytest.CaptureFixture[str],
) -> None:
    desk = Desk(gateway, callers, clock)
    names = await fill(desk, callers)
    assert gateway.public_port is not None
    found = await of_services(callers, names)
    found += await of_pages(gateway.public_port)
    found += of_files(gateway.publisher.directory)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.monitor_port}") as client:
        for path in ("/metrics", "/readyz"):
            found += leaks(path, (await client.get(path)).content)
    said = capfd.readouterr()
    assert "SubmitPayment" in said.out + said.err
    found += leaks("log", (said.out + said.err).encode())
    assert found == []


async def test_the_search_finds_what_is_there(
    gateway: app.Gateway, callers: Callers, clock: StillClock
) -> None:
    """An office's own list names the payer: were it public, it would be found."""
    await fill(Desk(gateway, callers, clock), callers)
    request = payment.ListPaymentsRequest(parent=FUND)
    answer = await (await callers.as_(CHECKER)).payments.ListPayments(request)
    assert leaks("payments", answer.SerializeToString())
