"""`xinyi case export` and `import`: cases as a file that a person fills in."""

from collections.abc import AsyncIterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from xinyi.v1.reconciliation_service_pb2 import (
    ExportCasesRequest,
    ExportCasesResponse,
    ImportedRow,
    ImportResolutionsRequest,
    ImportResolutionsResponse,
    ResolutionAction,
    SheetFormat,
)

from gateway.cli import resolution_view
from gateway.cli.case_filter import Wanted, filtered
from gateway.cli.frame import Complaint, Session
from gateway.cli.labels import label, refusal
from gateway.cli.options import InputFile, RequestId, Yes, announced, new_request_id
from gateway.cli.screen import Column, Row, write_data
from gateway.cli.status import MISMATCH
from gateway.cli.text import short
from gateway.client import LONG_TIMEOUT_S, call, receive, write_private

MAX_EXPORT_BYTES: Final = 256 << 20
MAX_IMPORT_BYTES: Final = 3 << 20

_FORMATS: Final = {
    ".xlsx": SheetFormat.SHEET_FORMAT_XLSX,
    ".csv": SheetFormat.SHEET_FORMAT_CSV,
}
_ROWS = (
    Column("行", "Row", right=True),
    Column("差异", "Case"),
    Column("处理", "Action"),
    Column("将提议，或哪里有误", "What it proposes, or what is wrong", prose=True),
)


@filtered
async def export(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.xlsx or FILE.csv, new.")],
    wanted: Wanted,
) -> None:
    """Write cases to a file with empty columns for what to do about them.

    Fill in 处理 Action and 理由 Reason, and what the action needs; rows left empty are left alone.
    Then `xinyi case import FILE`.
    """
    form = _format(file)
    if file.exists():
        raise Complaint(f"{file} is there already", "文件已存在，不会覆盖")
    request = ExportCasesRequest(
        parent=wanted.parent, filter=wanted.filter, format=form, language=session.screen.lang
    )
    parts = receive(session.stubs.reconciliation.ExportCases, request, LONG_TIMEOUT_S)
    content = await _whole(parts)
    write_private(file, content)
    if session.screen.as_json:
        write_data({"file": str(file), "size_bytes": len(content)})
        return
    pick = session.screen.pick
    facts = (
        (pick("已写入", "Written to"), str(file)),
        (pick("字节", "Bytes"), f"{len(content):,}"),
    )
    session.screen.facts(facts)


async def import_(
    session: Session,
    file: InputFile,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only say what it would propose.")
    ] = False,
    yes: Yes = False,
    request_id: RequestId = None,
) -> int | None:
    """Propose what a filled-in file of `case export` says, after showing it; all rows or none.

    Exit status 1 where a row has a fault: then nothing is proposed.
    """
    form, content = _format(file), _content(file)
    looked = await _import(session, content, form, None)
    if preview or not looked.rows or any(row.reason for row in looked.rows):
        return _report(session, looked, preview=preview)
    session.screen.table(_ROWS, _rows(looked, session), on_error=True)
    if not (yes or session.screen.agree("以上内容无误，全部提议吗？", "Propose all of this?")):
        session.screen.say("未提议", "nothing was proposed")
        return MISMATCH
    told = announced(session.screen, request_id)
    return _report(session, await _import(session, content, form, told), preview=False)


async def _import(
    session: Session, content: bytes, form: "SheetFormat.ValueType", request_id: str | None
) -> ImportResolutionsResponse:
    """Without a request id it is only looked at."""
    request = ImportResolutionsRequest(
        content=content,
        format=form,
        validate_only=request_id is None,
        request_id=request_id or new_request_id(),
    )
    return await call(session.stubs.reconciliation.ImportResolutions, request, LONG_TIMEOUT_S)


def _report(session: Session, said: ImportResolutionsResponse, *, preview: bool) -> int | None:
    if session.screen.as_json:
        session.screen.json(said)
    elif said.rows:
        session.screen.table(_ROWS, _rows(said, session))
    faults = sum(1 for row in said.rows if row.reason)
    if not said.rows:
        session.screen.say("文件中没有填写处理的行", "no row of the file says what to do")
    elif faults:
        session.screen.say(f"{faults} 行有误，未提议", f"{faults} rows are wrong: nothing proposed")
    elif said.proposed:
        session.screen.say(
            f"已提议 {len(said.rows)} 项，须由另一人批准：xinyi resolution approve --all-proposed",
            f"{len(said.rows)} proposed; another person approves them: "
            "xinyi resolution approve --all-proposed",
        )
    elif preview:
        session.screen.say("仅预览，未提议", "only a preview: nothing was proposed")
    return MISMATCH if faults else None


def _rows(said: ImportResolutionsResponse, session: Session) -> Iterator[Row]:
    for row in said.rows:
        action = label(ResolutionAction, row.resolution.action, session.screen.lang)
        yield str(row.row), short(row.case), action, _told(row, session)


def _told(row: ImportedRow, session: Session) -> str:
    if row.reason:
        # The message names the column; a reason in Chinese alone would not.
        why = refusal(row.reason, "", session.screen.lang)
        return " · ".join(dict.fromkeys(filter(None, (why, row.message))))
    said = (resolution_view.what(row.resolution, session), row.resolution.reason)
    return " · ".join(filter(None, said))


def _format(file: Path) -> "SheetFormat.ValueType":
    form = _FORMATS.get(file.suffix.lower())
    if form is None:
        raise Complaint(f"{file.name} is neither .xlsx nor .csv", "文件须为 .xlsx 或 .csv")
    return form


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(MAX_IMPORT_BYTES + 1)
    if not 0 < len(content) <= MAX_IMPORT_BYTES:
        raise Complaint(f"{file.name} is empty or above 3 MiB", "文件为空或超过 3 MiB")
    return content


async def _whole(parts: AsyncIterable[ExportCasesResponse]) -> bytes:
    content = bytearray()
    async for part in parts:
        content += part.content
        if len(content) > MAX_EXPORT_BYTES:
            raise Complaint("the file is too large: give a filter", "文件过大，请加筛选条件")
    return bytes(content)
