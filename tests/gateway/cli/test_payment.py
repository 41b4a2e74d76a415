from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from xinyi.v1.common_pb2 import Money
from xinyi.v1.party_service_pb2 import GetCallerResponse, Person
from xinyi.v1.payment_service_pb2 import (
    GetPaymentResponse,
    ListPaymentsResponse,
    Payee,
    Payment,
    PaymentState,
    PaymentTransition,
    PrepareResendResponse,
    RefusePaymentResponse,
    SignBatchResponse,
    SignPaymentResponse,
    SubmitPaymentResponse,
    SubmitPaymentsResponse,
    UploadVoucherResponse,
    Voucher,
    WatchPaymentsResponse,
    WithdrawPaymentResponse,
)

from gateway.cli.frame import Complaint
from gateway.cli.payment_file import COLUMNS, read_requests
from gateway.domain import envelope
from gateway.domain.batch import batch_bytes, digests_in
from gateway.domain.keys import dump_private_key
from gateway.domain.money import format_minor
from gateway.domain.payload import Resend, canonical_bytes
from gateway.domain.resend import Blocker
from tests.gateway.cli.fake import make_person, refusal
from tests.gateway.domain.examples import payload, private_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway
    from tests.gateway.support import Pki

NAME = "funds/f1/payments/p1"
BYTES = canonical_bytes(payload())
VOUCHER = f"funds/f1/vouchers/{'ab' * 32}"
PAYMENT = Payment(
    name=NAME,
    payee=Payee(
        display_name="成都某某电梯有限公司",
        account_number="6222020000000001",
        bank_code="102651000018",
    ),
    amount=Money(amount_minor=140950, currency="CNY"),
    purpose="五月电梯维修",
    budget_line="funds/f1/budgetLines/lift",
    vouchers=[VOUCHER],
    state=PaymentState.PAYMENT_STATE_HELD,
    signing_payload=BYTES,
)
AGAIN = canonical_bytes(
    payload(
        resend=Resend(
            attempt="2",
            payment_sha256="ef" * 32,
            transmission="transmissions/m1",
            missed_on=("2024-06-03", "2024-06-04"),
            stated_until="2024-06-04",
        )
    )
)
RESEND = ("payment", "resend", NAME)
SUBMIT = (
    *("payment", "submit", "--fund", "f1", "--payee-name", "成都某某电梯有限公司"),
    *("--payee-account", "6222020000000001", "--payee-bank", "102651000018"),
    *("--amount", "1,409.50", "--purpose", "五月电梯维修", "--budget-line", "lift"),
)


def stored(fake: FakeGateway, **changes: object) -> None:
    fake.answers["GetPayment"] = GetPaymentResponse(
        payment=Payment(name=NAME, signing_payload=canonical_bytes(payload(**changes)))
    )
    signed = Payment(name=NAME, state=PaymentState.PAYMENT_STATE_PARTLY_SIGNED)
    fake.answers["SignPayment"] = SignPaymentResponse(payment=signed)


def test_a_yes_sends_an_envelope_over_exactly_the_stored_bytes(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored(fake)
    result = zhao("payment", "sign", NAME, typed="y\n")
    assert result.exit_code == 0
    [[asked]] = fake.requests("SignPayment")
    sent = envelope.from_json(asked.envelope)
    envelope.verify(sent, private_key("wang").public_key())
    assert (asked.name, sent.payload) == (NAME, BYTES)
    assert "已签一方" in result.stdout


def test_the_signer_reads_the_bytes_before_being_asked_and_stdout_keeps_only_the_result(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored(fake)
    result = zhao("payment", "sign", NAME, "--json", typed="y\n")
    assert result.stderr.index("壹仟肆佰零玖元伍角") < result.stderr.index("签名吗")
    assert json.loads(result.stdout)["payment"]["state"] == "PAYMENT_STATE_PARTLY_SIGNED"


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_signed(
    typed: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored(fake)
    result = zhao("payment", "sign", NAME, typed=typed)
    assert result.exit_code == 1
    assert fake.requests("SignPayment") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"payment": "funds/f1/payments/p2"}, "not of funds/f1/payments/p1"),
        ({"environment": "production"}, "you sign for test"),
    ],
)
def test_bytes_of_another_payment_or_environment_are_never_signed(
    changes: dict[str, object], said: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored(fake, **changes)
    result = zhao("payment", "sign", NAME, "--yes")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert fake.requests("SignPayment") == []


ME = "parties/wutong-committee/persons/chair"


def stored_batch(fake: FakeGateway, *signed_by: str) -> None:
    """A batch of the one payment, already signed by these persons."""
    stored(fake)
    for person in signed_by:
        fake.answers["GetPayment"].payment.signatures.add(person=person)
    fake.answers["GetCaller"] = GetCallerResponse(person=Person(name=ME))
    fake.answers["ListPayments"] = ListPaymentsResponse(payments=[PAYMENT])


def test_a_batch_is_read_once_and_signed_by_the_digests_of_what_was_read(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored_batch(fake, "parties/other/persons/someone")
    fake.answers["SignBatch"] = SignBatchResponse(signed_count=1)
    result = zhao("payment", "sign-batch", "b1", "--fund", "f1", typed="y\n")
    assert result.exit_code == 0
    [[asked]] = fake.requests("SignBatch")
    signed = envelope.from_json(asked.envelope)
    assert signed.payload_type == envelope.BATCH_TYPE
    assert signed.payload == batch_bytes("funds/f1/batches/b1", [BYTES])
    assert digests_in(signed.payload) == {"p1": sha256(BYTES).hexdigest()}
    assert result.stderr.index("1,409.50") < result.stderr.index("全部签名吗")


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_without_a_yes_nothing_of_a_batch_is_signed(
    typed: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored_batch(fake)
    assert zhao("payment", "sign-batch", "b1", "--fund", "f1", typed=typed).exit_code == 1
    assert fake.requests("SignBatch") == []


def test_what_the_caller_signed_before_is_not_signed_again(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored_batch(fake, ME)
    assert zhao("payment", "sign-batch", "b1", "--fund", "f1", "--yes").exit_code == 0
    assert fake.requests("SignBatch") == []


def test_a_batch_with_bytes_of_another_payment_is_not_signed_at_all(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored_batch(fake)
    fake.answers["GetPayment"].payment.signing_payload = canonical_bytes(
        payload(payment="funds/f1/payments/p2")
    )
    assert zhao("payment", "sign-batch", "b1", "--fund", "f1", "--yes").exit_code == 2
    assert fake.requests("SignBatch") == []


def test_bytes_that_cannot_be_read_are_never_signed(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored(fake)
    fake.answers["GetPayment"].payment.signing_payload = BYTES + b" "
    result = zhao("payment", "sign", NAME, "--yes")
    assert result.exit_code == 2
    assert "FIELD_INVALID" in result.stderr
    assert fake.requests("SignPayment") == []


def test_who_signs_to_send_again_reads_that_and_is_asked_that(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored(fake)
    fake.answers["GetPayment"].payment.signing_payload = AGAIN
    result = zhao("payment", "sign", NAME, typed="y\n")
    [[asked]] = fake.requests("SignPayment")
    assert envelope.from_json(asked.envelope).payload == AGAIN
    assert result.stderr.index("transmissions/m1") < result.stderr.index("签名即同意再次发送")
    stored(fake)
    assert "再次发送" not in zhao("payment", "sign", NAME, typed="y\n").stderr


def test_preparing_to_send_again_shows_what_is_signed_next_and_by_whom(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    prepared = Payment(name=NAME, signing_payload=AGAIN, attempt=2)
    fake.answers["PrepareResend"] = PrepareResendResponse(payment=prepared)
    chinese, english = (zhao(*RESEND, "--lang", lang) for lang in ("zh", "en"))
    assert (chinese.exit_code, english.exit_code) == (0, 0)
    said = ("第 2 次", "transmissions/m1", "2024-06-03、2024-06-04", "受托人复核")
    assert all(each in chinese.stdout for each in said)
    assert "trustee checker" in english.stdout
    assert f"xinyi payment sign {NAME}" in chinese.stderr
    assert fake.requests("SignPayment") == []
    assert json.loads(zhao(*RESEND, "--json").stdout)["payment"]["attempt"] == 2


@pytest.mark.parametrize("command", [RESEND, ("payment", "sign", NAME, "--yes")])
def test_every_reason_against_sending_again_is_told_in_words_of_both_languages(
    command: tuple[str, ...], zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored(fake)
    metadata = {"blockers": ",".join(Blocker), "missed_count": "1", "misses_needed": "3"}
    told = refusal("RESEND_TOO_EARLY", "it may have it", "暂不能再次发送", metadata=metadata)
    fake.answers.update(PrepareResend=told, SignPayment=told)
    result = zhao(*command)
    assert (result.exit_code, result.stdout) == (2, "")
    reasons = [line.strip() for line in result.stderr.splitlines() if line.startswith("  ")]
    reasons = [reason for reason in reasons if " / " in reason]
    assert len(reasons) == len(Blocker)
    assert "银行查无此付款的天数不足：1/3" in reasons[1]
    assert "1 of 3" in reasons[1]
    assert not any(blocker in reason for blocker in Blocker for reason in reasons)


def test_a_reason_that_only_a_newer_gateway_knows_is_told_by_its_name(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    metadata = {"blockers": "MOON_{FULL}"}
    fake.answers["PrepareResend"] = refusal("RESEND_TOO_EARLY", "x", "y", metadata=metadata)
    assert "  MOON_{FULL}" in zhao(*RESEND).stderr.splitlines()


def test_a_payment_shows_its_file_and_whether_it_is_sent_again(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    shown = Payment(name=NAME, transmission="transmissions/m2", attempt=1)
    fake.answers["GetPayment"] = GetPaymentResponse(payment=shown)
    once = zhao("payment", "show", NAME).stdout
    shown.attempt = 2
    fake.answers["GetPayment"] = GetPaymentResponse(payment=shown)
    again = zhao("payment", "show", NAME).stdout
    assert "transmissions/m2" in once
    assert ("第几次发送" in once, "第几次发送" in again) == (False, True)


def test_an_encrypted_key_asks_for_its_passphrase(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    stored(fake)
    key = Ed25519PrivateKey.generate()
    (tmp_path / "own.key").write_bytes(dump_private_key(key, b"open"))
    result = zhao("payment", "sign", NAME, "--yes", "--key", "own.key", typed="open\n")
    assert result.exit_code == 0
    [[asked]] = fake.requests("SignPayment")
    envelope.verify(envelope.from_json(asked.envelope), key.public_key())


def test_a_wrong_passphrase_signs_nothing(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    stored(fake)
    (tmp_path / "own.key").write_bytes(dump_private_key(Ed25519PrivateKey.generate(), b"open"))
    result = zhao("payment", "sign", NAME, "--yes", "--key", "own.key", typed="shut\n")
    assert result.exit_code == 2
    assert fake.requests("SignPayment") == []


def test_a_missing_key_file_is_named(zhao: Callable[..., Result], fake: FakeGateway) -> None:
    stored(fake)
    result = zhao("payment", "sign", NAME, "--yes", "--key", "no.key")
    assert (result.exit_code, "no signing key no.key" in result.stderr) == (2, True)


def test_a_refused_signature_says_why_in_both_languages(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    stored(fake)
    told = refusal("SAME_PERSON", "the person signed already", "两次签名必须由不同的自然人作出")
    fake.answers["SignPayment"] = told
    result = zhao("payment", "sign", NAME, "--yes")
    assert result.exit_code == 2
    expected = "SAME_PERSON: the person signed already / 两次签名必须由不同的自然人作出"
    assert expected in result.stderr.splitlines()
    assert "Traceback" not in result.stderr


def test_a_payment_is_submitted_in_fen_under_the_request_id_that_was_given(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["SubmitPayment"] = SubmitPaymentResponse(payment=PAYMENT)
    result = zhao(*SUBMIT, "--voucher", VOUCHER, "--request-id", "r1")
    assert result.exit_code == 0
    [[asked]] = fake.requests("SubmitPayment")
    assert asked.payment.amount == Money(amount_minor=140950, currency="CNY")
    assert asked.payment.budget_line == "funds/f1/budgetLines/lift"
    assert (asked.parent, asked.request_id) == ("funds/f1", "r1")
    assert "1,409.50" in result.stdout


def test_the_request_id_is_told_before_an_answer_can_be_lost(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["SubmitPayment"] = refusal(
        "INTERNAL", "a defect", "内部错误", code=grpc.StatusCode.INTERNAL
    )
    result = zhao(*SUBMIT, "--voucher", VOUCHER)
    [[asked]] = fake.requests("SubmitPayment")
    assert asked.request_id in result.stderr


def test_an_unavailable_gateway_is_asked_again_with_the_same_request_id(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    down = refusal("STORE_UNAVAILABLE", "later", "稍后", code=grpc.StatusCode.UNAVAILABLE)
    fake.turns["SubmitPayment"] = [down, SubmitPaymentResponse(payment=PAYMENT)]
    assert zhao(*SUBMIT, "--voucher", VOUCHER).exit_code == 0
    [first], [second] = fake.requests("SubmitPayment")
    assert first == second


def test_a_voucher_file_is_uploaded_and_named(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    content = b"%PDF-1.7" + bytes(3 << 20)
    (tmp_path / "发票.pdf").write_bytes(content)
    fake.answers["UploadVoucher"] = UploadVoucherResponse(voucher=Voucher(name=VOUCHER))
    fake.answers["SubmitPayment"] = SubmitPaymentResponse(payment=PAYMENT)
    assert zhao(*SUBMIT, "--voucher", "发票.pdf").exit_code == 0
    [[header, *parts]] = fake.requests("UploadVoucher")
    said = header.header.voucher
    assert said.name == f"funds/f1/vouchers/{sha256(content).hexdigest()}"
    assert (said.file_name, said.size_bytes) == ("发票.pdf", len(content))
    assert b"".join(part.content for part in parts) == content
    assert max(len(part.content) for part in parts) <= 1 << 20
    [[asked]] = fake.requests("SubmitPayment")
    assert list(asked.payment.vouchers) == [VOUCHER]


@pytest.mark.parametrize(
    ("name", "content"), [("a.exe", b"MZ"), ("a.pdf", b""), ("a.pdf", bytes((10 << 20) + 1))]
)
def test_what_cannot_be_a_voucher_is_not_sent(
    name: str, content: bytes, zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert zhao(*SUBMIT, "--voucher", name).exit_code == 2
    assert fake.asked == []


@pytest.mark.parametrize("amount", ["0", "0.00", "1.234", "-5", "1e3", "12,34.00", "一百", ""])
def test_what_is_no_amount_is_not_sent(
    amount: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao(*SUBMIT, "--voucher", VOUCHER, "--amount", amount)
    assert result.exit_code == 2
    assert fake.asked == []


def batch_file(directory: Path, *rows: str, charset: str = "utf-8") -> Path:
    file = directory / "工资.csv"
    file.write_bytes("\n".join([",".join(COLUMNS), *rows]).encode(charset))
    return file


ROW = "王某,6222020000000002,102651000018,3000.00,五月工资,wages"
BATCH = ("payment", "submit-batch", "--fund", "f1", "--voucher", VOUCHER)


def test_a_batch_is_sent_whole_with_its_count(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    names = [f"funds/f1/payments/p{i}" for i in range(3)]
    fake.answers["SubmitPayments"] = SubmitPaymentsResponse(batch_id="b1", payments=names)
    result = zhao(*BATCH, str(batch_file(tmp_path, ROW, "", ROW, ROW)))
    assert result.exit_code == 0
    [[header, *parts]] = fake.requests("SubmitPayments")
    sent = [payment for part in parts for payment in part.block.payments]
    assert header.header.payment_count == len(sent) == 3
    assert {payment.amount.amount_minor for payment in sent} == {300000}
    assert all(name in result.stdout for name in ["b1", *names])


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_batch_file_is_read_in_the_charsets_that_spreadsheets_save(
    charset: str, tmp_path: Path
) -> None:
    [asked] = read_requests(batch_file(tmp_path, ROW, charset=charset))
    assert (asked.payee_name, asked.amount_minor, asked.line) == ("王某", 300000, 2)


def test_every_fault_of_a_batch_file_names_its_line_and_nothing_is_sent(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    wrong = ROW.replace("3000.00", "3000.001")
    nobody = ROW.replace("王某", " ")
    free = ROW.replace("3000.00", "0")
    file = batch_file(tmp_path, ROW, wrong, '"王\n某"' + ROW.removeprefix("王某"), nobody, free)
    result = zhao(*BATCH, str(file))
    assert result.exit_code == 2
    faults = [line.strip() for line in result.stderr.splitlines() if line.startswith("  ")]
    assert [fault.partition(":")[0] for fault in faults] == [
        "line 3, amount",
        "line 6, payee_name",
        "line 7, amount",
    ]
    assert fake.asked == []


def test_a_payment_the_gateway_refuses_is_named_by_its_line(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    wrong = {"payments[1].payee.bank_code": "fails its check digit"}
    fake.answers["SubmitPayments"] = refusal(
        "FIELD_INVALID",
        "a field",
        "不符合要求",
        code=grpc.StatusCode.INVALID_ARGUMENT,
        fields=wrong,
    )
    result = zhao(*BATCH, str(batch_file(tmp_path, ROW, "", ROW)))
    assert result.exit_code == 2
    assert "  line 4.payee.bank_code: fails its check digit" in result.stderr.splitlines()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"payee_name,amount\n",
        ",".join(COLUMNS).encode(),
        f"{','.join(COLUMNS)}\na,b\n".encode(),
        f'{",".join(COLUMNS)}\n"a'.encode(),
        b"\xff\xff\xff",
    ],
)
def test_a_batch_file_of_another_shape_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    file.write_bytes(content)
    with pytest.raises(Complaint):
        read_requests(file)


@given(amounts=st.lists(st.integers(1, 10**15), min_size=1, max_size=20))
def test_a_batch_file_loses_no_fen(
    amounts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [ROW.replace("3000.00", f'"{format_minor(amount)}"') for amount in amounts]
    file = batch_file(tmp_path_factory.mktemp("batch"), *rows)
    assert [asked.amount_minor for asked in read_requests(file)] == amounts


def test_a_list_reads_all_pages_and_prints_amounts_with_two_decimals(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    first = ListPaymentsResponse(payments=[PAYMENT], next_page_token="more")  # noqa: S106 - of a page
    fake.turns["ListPayments"] = [first, ListPaymentsResponse(payments=[PAYMENT])]
    result = zhao("payment", "list", "--fund", "f1", "--state", "held")
    assert result.exit_code == 0
    assert result.stdout.count("1,409.50") == 2
    [one], [two] = fake.requests("ListPayments")
    assert (one.page_token, two.page_token) == ("", "more")
    assert list(one.states) == [PaymentState.PAYMENT_STATE_HELD]


def test_a_list_that_is_cut_says_so(zhao: Callable[..., Result], fake: FakeGateway) -> None:
    page = ListPaymentsResponse(payments=[PAYMENT], next_page_token="more")  # noqa: S106 - of a page
    fake.answers["ListPayments"] = page
    result = zhao("payment", "list", "--fund", "f1", "--limit", "1", "--json")
    assert json.loads(result.stdout)["next_page_token"] == "more"  # noqa: S105 - of a page
    assert "--limit" in result.stderr


def test_an_unknown_state_is_answered_with_those_there_are(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    result = zhao("payment", "list", "--fund", "f1", "--state", "PAID")
    assert (result.exit_code, fake.asked) == (2, [])
    assert "SETTLED" in result.stderr


def test_escape_sequences_from_the_gateway_reach_no_terminal(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    nasty = "\x1b]0;owned\x07\x9b31m\u202epay\r\n[red]x[/red]"
    shown = Payment(name=NAME, purpose=nasty, history=[PaymentTransition(detail=nasty)])
    fake.answers["GetPayment"] = GetPaymentResponse(payment=shown)
    plain, machine = (zhao("payment", "show", NAME, *more) for more in ((), ("--json",)))
    for output in (plain.stdout, machine.stdout):
        assert all(each.isprintable() or each == "\n" for each in output)
    assert "[red]x[/red]" in plain.stdout
    assert json.loads(machine.stdout)["payment"]["purpose"] == nasty


def test_a_signer_refuses_and_a_firm_withdraws_with_a_reason(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    refused = Payment(name=NAME, state=PaymentState.PAYMENT_STATE_REFUSED)
    fake.answers["RefusePayment"] = RefusePaymentResponse(payment=refused)
    fake.answers["WithdrawPayment"] = WithdrawPaymentResponse(payment=PAYMENT)
    assert "签署人拒签" in zhao("payment", "refuse", NAME, "--reason", "金额不符").stdout
    assert zhao("payment", "withdraw", NAME, "--reason", "重复").exit_code == 0
    [[refusing]], [[withdrawing]] = map(fake.requests, ("RefusePayment", "WithdrawPayment"))
    assert (refusing.reason, withdrawing.reason) == ("金额不符", "重复")


def test_watching_prints_a_line_a_change_and_how_to_go_on(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["WatchPayments"] = [
        WatchPaymentsResponse(
            resume_token=f"{i}-1",
            payment=NAME,
            transition=PaymentTransition(state=PaymentState.PAYMENT_STATE_SENT, actor="gateway"),
        )
        for i in (1, 2)
    ]
    plain = zhao("payment", "watch", "--resume", "0-1")
    machine = zhao("payment", "watch", "--json")
    assert plain.stdout.count("已发银行") == 2
    assert "--resume 2-1" in plain.stderr
    assert [json.loads(line)["resume_token"] for line in machine.stdout.splitlines()] == [
        "1-1",
        "2-1",
    ]


def test_another_environment_of_the_person_is_another_answer(
    xinyi: Callable[..., Result], fake: FakeGateway, pki: Pki, tmp_path: Path
) -> None:
    stored(fake)
    make_person(tmp_path / "people", "firm.qian", fake.address, pki, environment="production")
    result = xinyi("payment", "sign", NAME, "--yes", "--as", "firm/qian")
    assert (result.exit_code, fake.requests("SignPayment")) == (2, [])
