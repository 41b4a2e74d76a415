"""`xinyi restore`: back to a moment, and what two parties acknowledge after something was lost."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from xinyi.v1 import audit_service_pb2 as pb

from gateway.cli.backup import PostgresBin, complaints, required
from gateway.cli.frame import OPERATOR, Session, group, offline, remote
from gateway.cli.options import RequestId, Yes, announced
from gateway.cli.screen import Column, Screen, write_data
from gateway.cli.status import MISMATCH
from gateway.cli.text import last, moment, money, person
from gateway.client import call
from gateway.clock import BANK_ZONE

app = group("Restoring, and going on after something was lost 恢复.")

_LOST = (
    Column("银行", "Bank"),
    Column("文件", "File"),
    Column("付款编号", "Payment"),
    Column("金额", "Amount", right=True),
    Column("收款账号尾号", "Account ends in"),
    Column("确认之后", "Once acknowledged", prose=True),
)


def a_moment(text: str) -> datetime:
    """Reads ``2026-11-20T09:30:00``, in Beijing unless it names its zone.

    Raises:
        typer.BadParameter: it is no such moment.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            "is not a moment as in 2026-11-20T09:30:00 / 时刻应如 2026-11-20T09:30:00"
        ) from None
    return read if read.tzinfo else read.replace(tzinfo=BANK_ZONE)


@offline(app, None, OPERATOR)
def _restore(
    screen: Screen,
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", exists=True, help="The backup directory; required."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="A new data directory, empty or not there."),
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=a_moment,
            metavar="TIME",
            help="Everything up to this moment, as 2026-11-20T09:30:00 in Beijing, "
            "or with a zone; without it all that was kept.",
        ),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="The old data directory, if it is there: its banks' folders and anchor are newer.",
        ),
    ] = None,
    postgres_bin: PostgresBin = None,
) -> None:
    """Restore into a new data directory; nothing is overwritten, nothing is started."""
    if context.invoked_subcommand is not None:
        return
    from gateway.backup.restore import Wanted, restore  # noqa: PLC0415 - only here it is loaded

    wanted = Wanted(required(source, "from"), required(target, "to"), at, files, postgres_bin)
    with complaints():
        backup = restore(wanted, screen.say)
    if screen.as_json:
        write_data({"backup": str(backup.path), "data_dir": str(wanted.target)})
    screen.say(
        f"已恢复到 {wanted.target}；将 XINYI_DATA_DIR 设为此目录后启动。"
        "若有丢失，网关停止付款，直至两方确认",
        f"restored into {wanted.target}: set XINYI_DATA_DIR to it, and start. If something is "
        "lost, the gateway pays nothing until two parties acknowledge it",
    )


@remote(app, "show", OPERATOR)
async def _show(session: Session) -> int | None:
    """Show what the anchors and the banks' folders prove that the database does not know."""
    answer = await call(session.stubs.audit.GetRollback, pb.GetRollbackRequest())
    _tell(session.screen, answer.rollback, on_error=False)
    return MISMATCH


@remote(app, "acknowledge", OPERATOR)
async def _acknowledge(
    session: Session, yes: Yes = False, request_id: RequestId = None
) -> int | None:
    """Acknowledge what is lost: an operator, and a person of another party.

    With the second one payments go on; what lies in a lost file is not paid again.
    """
    screen = session.screen
    rollback = (await call(session.stubs.audit.GetRollback, pb.GetRollbackRequest())).rollback
    _tell(screen, rollback, on_error=True)
    if not yes and not screen.agree(
        "您已阅读并确认这些丢失？", "have you read this, and acknowledge it?"
    ):
        return MISMATCH
    request = pb.AcknowledgeRollbackRequest(
        report_digest=rollback.report_digest, request_id=announced(screen, request_id)
    )
    answer = await call(session.stubs.audit.AcknowledgeRollback, request)
    if screen.as_json:
        screen.json(answer)
    elif answer.complete:
        screen.say("两方均已确认，付款恢复", "both have acknowledged it: payments go on")
    else:
        screen.say("已记录，尚需另一方确认", "kept; another party has to acknowledge it too")
    return None


def _tell(screen: Screen, rollback: pb.Rollback, *, on_error: bool) -> None:
    if screen.as_json and not on_error:
        screen.json(rollback)
        return
    newest = max(rollback.anchors, key=lambda each: each.sequence)
    acknowledged = ", ".join(map(person, rollback.acknowledged_by))
    facts = (
        ("锚点", "Anchored", f"{newest.sequence:,} · {moment(newest.time)}"),
        ("库中此前最后一条", "Last entry before it", moment(rollback.last_time)),
        ("库中现有记录", "Entries here", f"{rollback.sequence:,}"),
        (
            "可能已送银行而库中不知的文件",
            "Files the bank may have, unknown here",
            str(len(rollback.files)),
        ),
        ("已确认", "Acknowledged by", acknowledged or "—"),
    )
    screen.facts(((screen.pick(zh, en), value) for zh, en, value in facts), on_error=on_error)
    screen.table(_LOST, _rows(screen, rollback), on_error=on_error)


def _rows(screen: Screen, rollback: pb.Rollback) -> Iterable[tuple[str, ...]]:
    for file in rollback.files:
        known = (file.profile, file.file_name)
        for payment in file.payments:
            yield (
                *known,
                last(payment.payment) or payment.reference,
                money(payment.amount),
                payment.account_ending,
                screen.pick("不会再付", "is not paid again")
                if payment.payment
                else screen.pick(
                    "库中没有，只有银行对账单会显示", "not here: only the statement will tell"
                ),
            )
        if not file.payments:
            yield (*known, "", "", "", screen.pick("内容无法读出", "its content cannot be read"))
