"""Cases out to a file, decisions back from it: previewed, and all of it or nothing."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from xinyi.v1 import reconciliation_service_pb2 as pb

from gateway.store import tables as t
from tests.gateway.cases.desk import FUND, OTHER_FUND
from tests.gateway.support import CHECKER, MAKER, SUPERVISOR, TODAY, refusal, request_id

if TYPE_CHECKING:
    from tests.gateway.cases.desk import Desk

_CSV, _XLSX = pb.SHEET_FORMAT_CSV, pb.SHEET_FORMAT_XLSX


async def _export(desk: Desk, **fields: Any) -> bytes:
    fields = {"parent": "funds/-", "format": _CSV, "language": "en", **fields}
    service = await desk.cases_of(SUPERVISOR if fields["parent"] != "funds/-" else MAKER)
    parts = [each.content async for each in service.ExportCases(pb.ExportCasesRequest(**fields))]
    return b"".join(parts)


def _rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def _filled(content: bytes, *rows: dict[str, str]) -> bytes:
    """The file with these cells filled in, row by row."""
    read = _rows(content)
    held = io.StringIO(newline="")
    writer = csv.DictWriter(held, read[0])
    writer.writeheader()
    for row, cells in zip(read, rows, strict=True):
        writer.writerow({**row, **cells})
    return held.getvalue().encode()


async def _import(desk: Desk, content: bytes, **fields: Any) -> pb.ImportResolutionsResponse:
    service = await desk.cases_of(MAKER)
    request = pb.ImportResolutionsRequest(
        content=content, format=_CSV, request_id=request_id(), **fields
    )
    answer: pb.ImportResolutionsResponse = await service.ImportResolutions(request)
    return answer


async def _two_cases(desk: Desk) -> None:
    await desk.entry(-500, text="=手续费")
    await desk.entry(700, fund_id=OTHER_FUND)
    await desk.night()


_WAIT = {
    "Action": "WAIT",
    "Wait until": str(TODAY + timedelta(days=3)),
    "Reason": "the bank said so",
}
_FEE = {"Action": "ADJUST", "Book": "COMMON", "Category": "银行手续费", "Summary": "手续费"}


async def test_every_case_of_the_callers_funds_is_in_the_file(desk: Desk) -> None:
    await _two_cases(desk)

    rows = _rows(await _export(desk))

    assert {row["Case"] for row in rows} == {each.name for each in await desk.listed()}
    own = _rows(await _export(desk, parent=f"funds/{FUND}"))
    assert [row["Case"].split("/")[1] for row in own] == [FUND]
    heavy = _rows(await _export(desk, filter=pb.CaseFilter(min_escalation=1)))
    assert heavy == []


async def test_the_file_opens_as_a_workbook_without_a_formula(desk: Desk) -> None:
    await _two_cases(desk)

    content = await _export(desk, format=_XLSX, language="")

    with zipfile.ZipFile(io.BytesIO(content)) as book:
        parts = {name: book.read(name).decode() for name in book.namelist() if "xml" in name}
    assert any("手续费" in part for part in parts.values())
    assert not [name for name, part in parts.items() if "<f>" in part or "<f " in part]


async def test_a_filled_in_file_is_previewed_and_then_proposed(desk: Desk) -> None:
    await _two_cases(desk)
    exported = await _export(desk)
    fills = [
        {**_FEE, "Reason": "the fee"} if f"funds/{FUND}/" in row["Case"] else _WAIT
        for row in _rows(exported)
    ]
    content = _filled(exported, *fills)

    preview = await _import(desk, content, validate_only=True)

    assert not preview.proposed
    assert [each.reason for each in preview.rows] == ["", ""]
    assert {each.resolution.name for each in preview.rows} == {""}
    assert await desk.world.rows(t.resolutions) == []
    answer = await _import(desk, content)
    assert answer.proposed
    assert [each.row for each in answer.rows] == [2, 3]
    for each in answer.rows:
        await desk.approve(each.resolution, CHECKER)
    assert {each.state for each in await desk.listed()} == {pb.CASE_STATE_WAITING}


async def test_a_file_with_one_fault_proposes_nothing_and_names_it(desk: Desk) -> None:
    await _two_cases(desk)
    exported = await _export(desk)
    late = {**_WAIT, "Wait until": str(TODAY)}

    answer = await _import(desk, _filled(exported, _WAIT, late))

    assert not answer.proposed
    assert [(each.row, each.reason) for each in answer.rows] == [(2, ""), (3, "FIELD_INVALID")]
    assert "wait_until" in answer.rows[1].message
    assert await desk.world.rows(t.resolutions) == []


async def test_a_row_of_a_case_that_changed_since_is_refused(desk: Desk) -> None:
    await _two_cases(desk)
    exported = await _export(desk, parent=f"funds/{FUND}")
    (case,) = await desk.listed(parent=f"funds/{FUND}")
    await desk.decide(case, "SEND_BACK")

    answer = await _import(desk, _filled(exported, _WAIT))

    assert [each.reason for each in answer.rows] == ["ETAG_MISMATCH"]


async def test_a_file_that_cannot_be_read_is_refused_with_row_and_column(desk: Desk) -> None:
    await _two_cases(desk)
    exported = await _export(desk, parent=f"funds/{FUND}")

    refused = await refusal(_import(desk, _filled(exported, {**_WAIT, "Action": "DANCE"})))

    assert refused.reason == "FILE_UNREADABLE"
    assert "row 2, column Action" in refused.message
