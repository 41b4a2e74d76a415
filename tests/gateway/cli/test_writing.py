from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import grpc
import pytest
from xinyi.v1 import bank_service_pb2 as bank
from xinyi.v1 import ledger_service_pb2 as ledger
from xinyi.v1.common_pb2 import BOOK_COMMON, Money
from xinyi.v1.disclosure_service_pb2 import GetVoucherResponse
from xinyi.v1.payment_service_pb2 import UploadVoucherResponse, Voucher

from tests.gateway.cli.fake import refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway

CONTENT = b"%PDF-1.7 a voucher"
NAME = f"funds/f1/vouchers/{sha256(CONTENT).hexdigest()}"
POST = (
    *("ledger", "post", "--fund", "f1", "--account", "main", "--book", "common"),
    *("--category", "广告收入", "--summary", "电梯广告", "--date", "2026-11-22"),
)


def parts(*contents: bytes) -> list[GetVoucherResponse]:
    voucher = GetVoucherResponse(voucher=Voucher(name=NAME, file_name="发票.pdf"))
    return [voucher, *(GetVoucherResponse(content=each) for each in contents)]


def test_a_voucher_is_fetched_whole(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["GetVoucher"] = parts(CONTENT[:5], CONTENT[5:])
    assert zhao("voucher", "get", NAME, "--out", "got.pdf").exit_code == 0
    assert (tmp_path / "got.pdf").read_bytes() == CONTENT


def test_a_voucher_whose_bytes_are_not_its_names_is_not_written(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["GetVoucher"] = parts(CONTENT + b"!")
    result = zhao("voucher", "get", NAME, "--out", "got.pdf")
    assert (result.exit_code, (tmp_path / "got.pdf").exists()) == (2, False)


def test_a_voucher_without_end_is_given_up(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    fake.answers["GetVoucher"] = parts(*[bytes(1 << 20)] * 12)
    result = zhao("voucher", "get", NAME, "--out", "got.pdf")
    assert (result.exit_code, (tmp_path / "got.pdf").exists()) == (2, False)


def test_an_uploaded_voucher_prints_its_name(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    (tmp_path / "a.PDF").write_bytes(CONTENT)
    fake.answers["UploadVoucher"] = UploadVoucherResponse(voucher=Voucher(name=NAME))
    assert NAME in zhao("voucher", "upload", "--fund", "f1", "a.PDF").stdout


@pytest.mark.parametrize(("option", "amount_minor"), [("--received", 123456), ("--paid", -123456)])
def test_what_is_paid_is_booked_negative(
    option: str, amount_minor: int, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["PostEntry"] = ledger.PostEntryResponse(disclosed_line="funds/f1/lines/7")
    result = zhao(*POST, option, "1,234.56", "--corrects", "6", "--request-id", "r1")
    assert result.exit_code == 0
    [[asked]] = fake.requests("PostEntry")
    draft = asked.entry
    assert draft.amount == Money(amount_minor=amount_minor, currency="CNY")
    assert (draft.book, draft.bank_account) == (BOOK_COMMON, "funds/f1/bankAccounts/main")
    assert (draft.corrects, asked.request_id) == ("funds/f1/lines/6", "r1")
    assert (draft.effective_date.month, draft.effective_date.day) == (11, 22)


@pytest.mark.parametrize("amounts", [(), ("--received", "1.00", "--paid", "1.00")])
def test_an_entry_is_either_received_or_paid(
    amounts: tuple[str, ...], zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    assert zhao(*POST, *amounts).exit_code == 2
    assert fake.asked == []


def test_a_bank_file_is_sent_under_its_name(
    zhao: Callable[..., Result], fake: FakeGateway, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 8192
    (tmp_path / "camt.xml").write_bytes(content)
    fake.answers["ImportStatement"] = bank.ImportStatementResponse(
        statements=[bank.Statement(statement_id="S-1")], payments_changed=3, already_imported=True
    )
    result = zhao("bank", "import", "camt.xml")
    assert (result.exit_code, "S-1" in result.stdout) == (0, True)
    assert "3 笔付款" in result.stderr
    assert "未重复入账" in result.stderr
    [[header, *contents]] = fake.requests("ImportStatement")
    assert header.header.file_name == "camt.xml"
    assert b"".join(part.content for part in contents) == content


def test_a_file_in_quarantine_is_replayed_by_its_name(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["ReplayQuarantinedFile"] = refusal(
        "ACCOUNT_UNKNOWN", "no fund has it", "对账单账户不属于任何基金"
    )
    result = zhao("bank", "quarantine", "replay", "ab" * 32)
    assert (result.exit_code, "ACCOUNT_UNKNOWN" in result.stderr) == (2, True)
    [[asked]] = fake.requests("ReplayQuarantinedFile")
    assert asked.name == f"quarantinedFiles/{'ab' * 32}"


def test_every_field_at_fault_is_named(zhao: Callable[..., Result], fake: FakeGateway) -> None:
    wrong = {"entry.summary": "is too long", "entry.category": "is empty\x1b[2J"}
    fake.answers["PostEntry"] = refusal(
        "FIELD_INVALID", "two", "不符合要求", code=grpc.StatusCode.INVALID_ARGUMENT, fields=wrong
    )
    result = zhao(*POST, "--paid", "1.00")
    assert result.exit_code == 2
    assert "  entry.summary: is too long" in result.stderr.splitlines()
    assert "\x1b" not in result.stderr
