"""`xinyi bank`: files from and to the banks."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from xinyi.v1.bank_service_pb2 import (
    ImportStatementHeader,
    ImportStatementRequest,
    ListBankEntriesRequest,
    ListQuarantinedFilesRequest,
    ListStatementsRequest,
    ReplayQuarantinedFileRequest,
    Statement,
)

from gateway.cli import reach, transmission
from gateway.cli.frame import (
    EVERYONE,
    OPERATOR,
    Complaint,
    Session,
    group,
    offline,
    remote,
)
from gateway.cli.options import (
    From,
    Fund,
    InputFile,
    Limit,
    To,
    iso_date,
    new_request_id,
    resource,
)
from gateway.cli.screen import Column, Row, Screen, write_data
from gateway.cli.status import MISMATCH
from gateway.cli.text import day, last, minor, moment, money, to_day
from gateway.client import CHUNK_BYTES, LONG_TIMEOUT_S, call, collect
from gateway.settings import Settings

if TYPE_CHECKING:
    from adapters import model

app = group("Banks: import and read statements, follow payment files 银行文件.")
_quarantine = group("Files of the banks that could not be used 隔离文件.")
app.add_typer(_quarantine, name="quarantine", rich_help_panel=OPERATOR)
app.add_typer(transmission.app, name="transmission", rich_help_panel=OPERATOR)

MAX_IMPORT_BYTES = 64 << 20

_ACCOUNT = Column("账户", "Account")
_COUNT = Column("笔数", "Entries", right=True)
_AMOUNT = Column("金额", "Amount", right=True)
_STATEMENTS = (
    Column("对账单", "Statement"),
    _ACCOUNT,
    Column("起", "From"),
    Column("止", "To"),
    Column("期初", "Opening", right=True),
    Column("期末", "Closing", right=True),
    _COUNT,
    Column("提示", "Findings", prose=True),
)
_ENTRIES = (
    Column("入账日", "Booked"),
    _ACCOUNT,
    _AMOUNT,
    Column("对方", "Counterparty", prose=True),
    Column("对方账号", "Its account"),
    Column("参考号", "Reference"),
    Column("端到端标识", "End-to-end id"),
    Column("摘要", "Text", prose=True),
    Column("退票", "Returned"),
    Column("核对日", "Matched"),
    Column("流水", "Entry"),
)
_FILES = (
    Column("文件", "File", prose=True),
    Column("原因", "Reason"),
    Column("说明", "Detail", prose=True),
    Column("隔离（北京）", "Quarantined (Beijing)"),
    Column("重放（北京）", "Replayed (Beijing)"),
    Column("名称", "Name"),
)
_PARSED = (
    Column("账号", "Account"),
    Column("币种", "Currency"),
    Column("期初日", "Opening day"),
    Column("期初", "Opening", right=True),
    Column("期末日", "Closing day"),
    Column("期末", "Closing", right=True),
    _COUNT,
)
_PARSED_ENTRIES = (
    Column("账号", "Account"),
    Column("入账日", "Booked"),
    Column("起息日", "Value day"),
    _AMOUNT,
    Column("对方", "Counterparty", prose=True),
    Column("参考号", "Reference"),
    Column("端到端标识", "End-to-end id"),
    Column("摘要", "Text", prose=True),
)
_FINDINGS = (
    Column("程度", "Severity"),
    Column("代码", "Code"),
    Column("说明", "Message", prose=True),
    Column("位置", "Location"),
)
_PROFILES = (
    Column("接口", "Profile"),
    Column("银行", "Bank"),
    Column("付款格式", "Payment format"),
    Column("字符集", "Charset"),
    Column("单位", "Unit"),
    Column("批量入账", "Batch booking"),
)


@remote(app, "import", OPERATOR)
async def _import(
    session: Session,
    file: InputFile,
    account: Annotated[
        str,
        typer.Option(
            metavar="FUND/ACCOUNT", help="Of a table that masks or omits it, or a bank's own reply."
        ),
    ] = "",
) -> None:
    """Take in a bank's statement or status report; what is known already is not booked again."""
    parts = list(_parts(file, _account_name(account)))
    answer = await call(session.stubs.banks.ImportStatement, parts, LONG_TIMEOUT_S)
    if answer.already_imported:
        session.screen.say("内容此前均已导入，未重复入账", "all of it is known: nothing was booked")
    changed = answer.payments_changed
    session.screen.say(f"{changed} 笔付款状态有变化", f"{changed} payment(s) changed their state")
    session.screen.list(answer, _STATEMENTS, map(_statement_row, answer.statements))


@remote(app, "statements", OPERATOR)
async def _statements(session: Session, fund: Fund, limit: Limit = 500) -> None:
    """List the imported statements of a fund's accounts, newest first."""
    request = ListStatementsRequest(parent=fund)
    answer = await collect(session.stubs.banks.ListStatements, request, limit)
    session.screen.list(answer, _STATEMENTS, map(_statement_row, answer.statements))


@remote(app, "entries", OPERATOR)
async def _entries(
    session: Session,
    fund: Fund,
    start: From = None,
    end: To = None,
    only_open: Annotated[bool, typer.Option("--only-open", help="Only unmatched ones.")] = False,
    limit: Limit = 500,
) -> None:
    """List bank entries of a fund's accounts, newest first."""
    request = ListBankEntriesRequest(
        parent=fund, start_date=to_day(start), end_date=to_day(end), only_open=only_open
    )
    answer = await collect(session.stubs.banks.ListBankEntries, request, limit)
    rows = (
        (
            day(entry.booking_date),
            last(entry.bank_account),
            money(entry.amount),
            entry.counterparty_name,
            entry.counterparty_account,
            entry.reference,
            entry.end_to_end_id,
            entry.text,
            entry.return_reason,
            day(entry.match_date),
            last(entry.name),
        )
        for entry in answer.bank_entries
    )
    session.screen.list(answer, _ENTRIES, rows)


remote(app, "transmissions", OPERATOR)(transmission.transmissions)


@remote(_quarantine, "list")
async def _quarantined(
    session: Session,
    replayed: Annotated[bool, typer.Option("--all", help="Replayed ones too.")] = False,
    limit: Limit = 500,
) -> None:
    """List files in quarantine with the reason, newest first."""
    request = ListQuarantinedFilesRequest(include_replayed=replayed)
    answer = await collect(session.stubs.banks.ListQuarantinedFiles, request, limit)
    rows = (
        (
            file.file_name,
            file.reason,
            file.detail,
            moment(file.create_time),
            moment(file.replay_time),
            file.name,
        )
        for file in answer.files
    )
    session.screen.list(answer, _FILES, rows)


@remote(_quarantine, "replay")
async def _replay(
    session: Session,
    name: Annotated[
        str, typer.Argument(parser=resource("quarantinedFiles"), metavar="NAME", help="As listed.")
    ],
) -> None:
    """Try a file in quarantine again, after its cause was mended."""
    request = ReplayQuarantinedFileRequest(name=name, request_id=new_request_id())
    answer = await call(session.stubs.banks.ReplayQuarantinedFile, request, LONG_TIMEOUT_S)
    session.screen.list(answer, _STATEMENTS, map(_statement_row, answer.statements))


@offline(app, "simulate", OPERATOR)
def _simulate(
    screen: Screen,
    close_day: Annotated[
        date | None,
        typer.Option(
            parser=iso_date, metavar="DATE", help="Then end this day: statements are written."
        ),
    ] = None,
) -> None:
    """Let the demo's simulated bank read its orders, pay, and answer; the gateway takes it in."""
    # Only the demo's data has such a bank.
    from gateway.demo.banking import Banking  # noqa: PLC0415 - as said above

    data_dir = Settings().data_dir
    if not (data_dir / "simulated-bank").is_dir():
        raise Complaint("there is no simulated bank", "没有模拟银行", "run `make demo` first")
    banking = Banking.open(data_dir)
    carried = banking.work(datetime.now(UTC))
    if close_day is not None:
        carried += banking.close_day(close_day)
    if screen.as_json:
        write_data({"files_to_gateway": carried})
        return
    screen.line(screen.pick(f"银行送出 {carried} 个文件", f"files from the bank: {carried}"))


@offline(app, "parse", EVERYONE)
def _parse(
    screen: Screen,
    file: InputFile,
    map_id: Annotated[
        str | None,
        typer.Option("--map", metavar="MAP", help="Column map of a CSV or .xlsx, if not found."),
    ] = None,
    account: Annotated[
        str, typer.Option(metavar="NUMBER", help="Account of a table that masks or omits it.")
    ] = "",
) -> int | None:
    """Read a bank's statement file offline and print it.

    Knows camt.052/053/054, MT940/942, BAI2, OFX, CSV and .xlsx of Chinese banks, and a zip of
    these, by their content.
    """
    from adapters import read  # noqa: PLC0415 - its parsers would slow every other command

    parsed = _read(file, map_id, account)
    if screen.as_json:
        write_data(read.to_json(parsed))
    else:
        _print_parsed(screen, parsed)
    return _status(parsed.findings)


@offline(app, "check", OPERATOR)
def _check(
    screen: Screen,
    profile: Annotated[str, typer.Argument(metavar="PROFILE", help="As `bank profiles` lists.")],
    file: InputFile,
) -> int | None:
    """Say what is wrong with a file for or from a bank, by the bank's own profile.

    Exit status: 0 nothing that the bank would refuse, 1 errors, 2 failure.
    """
    from adapters.connection import check_file  # noqa: PLC0415 - as above
    from adapters.profile import ProfileError  # noqa: PLC0415 - as above

    try:
        findings = check_file(profile, file.read_bytes(), Settings().profiles_dir)
    except LookupError as error:
        raise Complaint(str(error.args[0]), "没有此银行配置") from None
    except ProfileError as error:
        raise Complaint(str(error), "银行配置不可用") from None
    if screen.as_json:
        write_data([asdict(each) for each in findings])
    elif findings:
        screen.table(_FINDINGS, map(_finding_row, findings))
    else:
        screen.line(screen.pick("没有问题", "nothing wrong"))
    return _status(findings)


@offline(app, "profiles", OPERATOR)
def _profiles(screen: Screen) -> None:
    """List the banks that payment files can be made for: ours and those of XINYI_PROFILES_DIR."""
    from adapters.profile import ProfileError, list_profiles, load_profile  # noqa: PLC0415 - as above

    own = Settings().profiles_dir
    try:
        profiles = [load_profile(each, own) for each in list_profiles(own)]
    except ProfileError as error:
        all_of_them = "xinyi bank reach: says it of each profile / 逐个查看"
        raise Complaint(str(error), "银行配置不可用", all_of_them) from None
    if screen.as_json:
        write_data([each.model_dump(mode="json") for each in profiles])
        return
    rows = (
        (
            p.id,
            screen.pick(p.name_zh, p.name_en),
            p.outbound_format,
            p.charset,
            p.unit,
            p.batch_booking,
        )
        for p in profiles
    )
    screen.table(_PROFILES, rows)


offline(app, "reach", OPERATOR)(reach.reach)


def _read(file: Path, map_id: str | None, account: str) -> "model.Parsed":
    from adapters import model, read  # noqa: PLC0415 - as above

    if file.stat().st_size > model.MAX_FILE_BYTES:
        raise Complaint(f"{file.name} is too large", "文件过大")
    try:
        return read.parse(file.read_bytes(), file.name, map_id, account)
    except model.ParseError as error:
        raise Complaint(f"{file.name}: {error}", "文件无法读取") from None
    except LookupError as error:
        raise Complaint(str(error.args[0]), "没有此列映射") from None


def _status(findings: "tuple[model.Finding, ...]") -> int | None:
    """A warning is for a person to know of; an error is for one to mend."""
    return MISMATCH if any(each.severity == "error" for each in findings) else None


def _finding_row(finding: "model.Finding") -> Row:
    return finding.severity.value, finding.code, finding.message, finding.location


def _print_parsed(screen: Screen, parsed: "model.Parsed") -> None:
    screen.table(_PARSED, map(_parsed_row, parsed.statements))
    screen.table(_PARSED_ENTRIES, _parsed_entry_rows(parsed.statements))
    if parsed.findings:
        screen.table(_FINDINGS, map(_finding_row, parsed.findings))


def _parsed_row(statement: "model.Statement") -> Row:
    ends = (statement.opening, statement.closing)
    balances = (
        (end.date.isoformat(), minor(end.amount_minor, statement.currency)) if end else ("", "")
        for end in ends
    )
    (opened, opening), (closed, closing) = balances
    count = f"{len(statement.entries):,}"
    return (statement.account, statement.currency, opened, opening, closed, closing, count)


def _parsed_entry_rows(statements: "Iterable[model.Statement]") -> Iterator[Row]:
    for statement in statements:
        for entry in statement.entries:
            yield (
                statement.account,
                entry.booking_date.isoformat(),
                entry.value_date.isoformat(),
                minor(entry.amount_minor, entry.currency),
                entry.counterparty_name,
                entry.reference,
                entry.end_to_end_id,
                entry.text,
            )


def _account_name(text: str) -> str:
    """Reads ``wutong/main`` as the resource name that it stands for."""
    fund, slash, account = text.partition("/")
    return f"funds/{fund}/bankAccounts/{account}" if slash and "/" not in account else text


def _parts(file: Path, bank_account: str) -> Iterator[ImportStatementRequest]:
    with file.open("rb") as opened:
        content = opened.read(MAX_IMPORT_BYTES + 1)
    if not 0 < len(content) <= MAX_IMPORT_BYTES:
        raise Complaint(f"{file.name} is empty or above 64 MiB", "文件为空或超过 64 MiB")
    header = ImportStatementHeader(
        file_name=file.name, request_id=new_request_id(), bank_account=bank_account
    )
    yield ImportStatementRequest(header=header)
    for start in range(0, len(content), CHUNK_BYTES):
        yield ImportStatementRequest(content=content[start : start + CHUNK_BYTES])


def _statement_row(statement: Statement) -> Row:
    return (
        statement.statement_id,
        statement.bank_account,
        day(statement.start_date),
        day(statement.end_date),
        money(statement.opening),
        money(statement.closing),
        f"{statement.entry_count:,}",
        "; ".join(statement.findings),
    )
