"""The banks' directories and the quarantine: nothing lost, nothing twice, nothing held up."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from structlog.testing import capture_logs
from xinyi.v1 import bank_service_pb2 as pb

from gateway.bank import inbox, quarantine
from gateway.store import tables as t
from tests.gateway.bank.files import entry, statement
from tests.gateway.support import NOW, OPERATOR, TODAY, refusal, request_id

if TYPE_CHECKING:
    import pytest

    from gateway.bank.inbound import BankFile
    from tests.gateway.payments.desk import Bank, Desk

UNKNOWN_ACCOUNT = "6222019999999999"


async def _import(desk: Desk, content: bytes, request: str = "") -> pb.ImportStatementResponse:
    header = pb.ImportStatementHeader(file_name="对账单.xml", request_id=request or request_id())
    parts = [
        pb.ImportStatementRequest(header=header),
        pb.ImportStatementRequest(content=content[:9]),
        pb.ImportStatementRequest(content=content[9:]),
    ]
    banks = (await desk.callers.as_(OPERATOR)).banks
    answer: pb.ImportStatementResponse = await banks.ImportStatement(parts)  # type: ignore[arg-type]
    return answer


async def _replay(desk: Desk, content: bytes) -> pb.ReplayQuarantinedFileResponse:
    name = f"quarantinedFiles/{sha256(content).hexdigest()}"
    banks = (await desk.callers.as_(OPERATOR)).banks
    answer: pb.ReplayQuarantinedFileResponse = await banks.ReplayQuarantinedFile(
        pb.ReplayQuarantinedFileRequest(name=name, request_id=request_id())
    )
    return answer


async def _held(desk: Desk, *, replayed: bool = False) -> list[str]:
    banks = (await desk.callers.as_(OPERATOR)).banks
    request = pb.ListQuarantinedFilesRequest(include_replayed=replayed)
    return [file.reason for file in (await banks.ListQuarantinedFiles(request)).files]


async def _register(desk: Desk, number: str) -> None:
    await desk.execute(
        t.bank_accounts.insert().values(
            fund_id="wutong",
            account_id="second",
            account_number=number,
            holder_name="信托财产专户",
            bank_code="105651000019",
            profile_id="demo",
            opening_minor=0,
            opening_date=TODAY,
            created_at=NOW,
        )
    )


async def _entries(desk: Desk) -> int:
    return len(await desk.rows(sa.select(t.bank_entries.c.bank_entry_id)))


async def test_an_operator_imports_a_file_once_whatever_the_request(desk: Desk) -> None:
    content = statement(entry(5), entry(-2))

    first = await _import(desk, content)
    second = await _import(desk, content)

    (said,) = first.statements
    assert (said.entry_count, said.closing.amount_minor - said.opening.amount_minor) == (2, 3)
    assert (first.already_imported, second.already_imported) == (False, True)
    assert await _entries(desk) == 2


async def test_a_refused_file_is_replayed_once_its_cause_is_mended(desk: Desk) -> None:
    content = statement(entry(5), account=UNKNOWN_ACCOUNT, opening_minor=0)
    refused = await refusal(_import(desk, content))
    still = await refusal(_replay(desk, content))
    assert (refused.reason, still.reason) == ("ACCOUNT_UNKNOWN", "ACCOUNT_UNKNOWN")
    assert await _held(desk) == ["ACCOUNT_UNKNOWN"]
    await _register(desk, UNKNOWN_ACCOUNT)

    replayed, again = await _replay(desk, content), await _replay(desk, content)

    assert (len(replayed.statements), len(again.statements)) == (1, 0)
    assert await _entries(desk) == 1
    assert (await _held(desk), await _held(desk, replayed=True)) == ([], ["ACCOUNT_UNKNOWN"])


async def test_a_refusal_never_says_the_whole_account_number(desk: Desk) -> None:
    refused = await refusal(_import(desk, statement(entry(5), account=UNKNOWN_ACCOUNT)))

    assert UNKNOWN_ACCOUNT not in str(refused)
    assert UNKNOWN_ACCOUNT[-4:] in refused.message


async def test_the_same_request_id_with_another_file_is_refused(desk: Desk) -> None:
    await _import(desk, statement(entry(5)), "import")

    refused = await refusal(_import(desk, statement(entry(6)), "import"))

    assert refused.reason == "REQUEST_ID_REUSED"
    assert (await _entries(desk), await _held(desk)) == (1, [])


async def test_only_the_operator_imports(desk: Desk) -> None:
    for who in desk.callers.pki.people:
        if who != OPERATOR:
            banks = (await desk.callers.as_(who)).banks
            header = pb.ImportStatementHeader(file_name="x", request_id=request_id())
            refused = await refusal(
                banks.ImportStatement([pb.ImportStatementRequest(header=header)])  # type: ignore[arg-type]
            )
            assert refused.reason == "ROLE_NOT_ALLOWED"


# --- directories ------------------------------------------------------------------------------


async def test_a_bad_file_holds_up_no_other_and_lies_aside_with_its_reason(
    desk: Desk, bank: Bank
) -> None:
    bank.leave("1-broken.xml", b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'>")
    bank.leave("2-good.xml", statement(entry(5)))
    bank.leave("3-unknown.xml", statement(entry(5), account=UNKNOWN_ACCOUNT))

    taken = await desk.gateway.inbox.take_all()

    assert (taken, await _entries(desk)) == (1, 1)
    assert sorted(await _held(desk)) == ["ACCOUNT_UNKNOWN", "FILE_UNREADABLE"]
    aside = {path.name for path in (bank.folder / "quarantine").iterdir()}
    assert aside == {
        "1-broken.xml",
        "1-broken.xml.reason.json",
        "3-unknown.xml",
        "3-unknown.xml.reason.json",
    }
    assert list((bank.folder / "in").iterdir()) == []


async def test_a_file_named_in_gbk_is_taken_like_any_other(desk: Desk, bank: Bank) -> None:
    path = bank.leave("x.xml", statement(entry(5)))
    path.rename(os.fsdecode(os.fsencode(path.parent) + b"/" + "对账单.xml".encode("gbk")))

    taken = await desk.gateway.inbox.take_all()

    assert (taken, await _entries(desk)) == (1, 1)
    assert list((bank.folder / "in").iterdir()) == []


async def test_a_file_still_being_written_is_left_alone(desk: Desk, bank: Bank) -> None:
    bank.leave(".statement.xml.part", statement(entry(5))[:100])
    bank.leave("statement.part", statement(entry(5))[:100])

    assert await desk.gateway.inbox.take_all() == 0
    assert await _held(desk) == []


async def test_a_defect_in_the_middle_leaves_the_file_for_the_next_round(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.leave("1-first.xml", statement(entry(5)))
    bank.leave("2-second.xml", statement(entry(7), account="6222010000000002"))
    real = quarantine.import_file

    async def failing(store: Any, file: BankFile, *rest: Any) -> Any:
        if file.name.startswith("1"):
            raise RuntimeError("张三 6222010000000001")
        return await real(store, file, *rest)

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(inbox, "import_file", failing)
        assert await desk.gateway.inbox.take_all() == 1
    assert "张三" not in str(logs)

    assert await desk.gateway.inbox.take_all() == 1
    assert await _entries(desk) == 2


async def test_a_crash_between_booking_and_putting_away_books_once(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.leave("1.xml", statement(entry(5)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(inbox, "_put_away", full)
        assert await desk.gateway.inbox.take_all() == 0
    assert await desk.gateway.inbox.take_all() == 1

    assert await _entries(desk) == 1
    assert len(list((bank.folder / "done").iterdir())) == 1


async def test_a_crash_between_quarantine_and_putting_aside_keeps_one_copy(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank.leave("1.xml", b"broken")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(inbox, "_set_aside", full)
        await desk.gateway.inbox.take_all()
    await desk.gateway.inbox.take_all()

    assert await _held(desk) == ["FILE_UNREADABLE"]
    assert list((bank.folder / "in").iterdir()) == []


async def test_a_failure_of_the_database_puts_nothing_aside(
    desk: Desk, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bank.leave("1.xml", statement(entry(5)))

    async def gone(*_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(quarantine, "take_in", gone)
        await desk.gateway.inbox.take_all()

    assert path.exists()
    assert await _held(desk) == []


# --- reading ----------------------------------------------------------------------------------


async def test_entries_come_in_pages_newest_first_each_once(desk: Desk) -> None:
    await _import(desk, statement(*[entry(each) for each in range(1, 8)]))
    banks = (await desk.callers.as_(OPERATOR)).banks
    seen, token = [], ""
    while True:
        request = pb.ListBankEntriesRequest(parent="funds/wutong", page_size=3, page_token=token)
        page = await banks.ListBankEntries(request)
        seen += [each.amount.amount_minor for each in page.bank_entries]
        token = page.next_page_token
        if not token:
            break

    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_a_page_token_of_another_query_is_refused(desk: Desk) -> None:
    await _import(desk, statement(entry(1), entry(2)))
    banks = (await desk.callers.as_(OPERATOR)).banks
    page = await banks.ListBankEntries(
        pb.ListBankEntriesRequest(parent="funds/wutong", page_size=1)
    )

    refused = await refusal(
        banks.ListBankEntries(
            pb.ListBankEntriesRequest(parent="funds/jinjiang", page_token=page.next_page_token)
        )
    )

    assert refused.reason == "PAGE_TOKEN_INVALID"
