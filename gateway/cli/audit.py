"""`xinyi audit`: who did what, and the proof that nobody changed the record of it."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from xinyi.v1 import audit_service_pb2 as pb

from gateway.cli.database import existing_database
from gateway.cli.frame import OPERATOR, Complaint, Session, group, offline, remote
from gateway.cli.options import From, Limit, To, one_of, resource
from gateway.cli.screen import Column, Screen, write_data
from gateway.cli.status import MISMATCH
from gateway.cli.text import moment, person, start_of
from gateway.client import collect
from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.audit.verify import Verdict

app = group("The audit log: who, what, when, from where, outcome 审计日志.")

_ENTRIES = (
    Column("序号", "No.", right=True),
    Column("时间", "Time"),
    Column("何人", "Who"),
    Column("来自", "From"),
    Column("操作", "What"),
    Column("对象", "About"),
    Column("结果", "Outcome"),
)


@remote(app, "list", OPERATOR)
async def _list(  # noqa: PLR0913, PLR0917 - each is one option
    session: Session,
    party: Annotated[
        str | None,
        typer.Option(parser=resource("parties"), metavar="PARTY", help="Only this party's calls."),
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this, such as SignPayment or FileSent.")
    ] = None,
    about: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only what is about this or lies beneath: funds/wutong."),
    ] = None,
    first: From = None,
    last: To = None,
    outcome: Annotated[
        str | None,
        typer.Option(
            parser=one_of(pb.AuditOutcome), metavar="OUTCOME", help="Only `done`, or `refused`."
        ),
    ] = None,
    limit: Limit = 100,
) -> None:
    """List entries of the audit log, newest first."""
    request = pb.ListAuditEntriesRequest(
        party=party or "",
        method=method or "",
        resource=about or "",
        start_time=start_of(first),
        end_time=start_of(last, days_later=1),
        outcome=pb.AuditOutcome.Value(outcome or "AUDIT_OUTCOME_UNSPECIFIED"),
    )
    answer = await collect(session.stubs.audit.ListAuditEntries, request, limit)
    session.screen.list(answer, _ENTRIES, map(_row, answer.entries))


def _row(entry: pb.AuditEntry) -> tuple[str, ...]:
    return (
        str(entry.sequence or "…"),
        moment(entry.time),
        person(entry.person) or "—",
        entry.peer.partition(":")[2].rpartition(":")[0] or "—",
        entry.method.rpartition("/")[2].removeprefix("gateway."),
        entry.resource,
        " ".join(filter(None, (entry.code, entry.reason))),
    )


@offline(app, "verify", OPERATOR)
def _verify(screen: Screen) -> int | None:
    """Prove that no entry was changed, removed, added or moved; needs the database, no gateway.

    Exit status: 0 whole, 1 broken (the first wrong entry is named), 2 it could not be done.
    """
    verdict = asyncio.run(_verdict(Settings()))
    _show(screen, verdict)
    return None if verdict.fault is None else MISMATCH


async def _verdict(settings: Settings) -> "Verdict":
    # Only here the database is loaded.
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - as said above

    from gateway.audit.verify import verify  # noqa: PLC0415 - as said above
    from gateway.store import open_store  # noqa: PLC0415 - as said above

    store = open_store(await asyncio.to_thread(existing_database, settings), pool_size=1)

    def progress(count: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{count:,}")

    try:
        return await verify(store, (settings.data_dir, *settings.anchor_dirs), progress)
    except DBAPIError as error:
        why = type(error.orig).__name__
        raise Complaint(f"the audit log cannot be read: {why}", "审计日志无法读取") from None
    finally:
        await store.close()


def _show(screen: Screen, verdict: "Verdict") -> None:
    fault = verdict.fault
    if screen.as_json:
        write_data(
            {
                "whole": fault is None,
                "sequence": verdict.head.sequence,
                "hash": verdict.head.hash.hex(),
                "unsealed": verdict.unsealed,
                "anchors": verdict.anchors,
                "fault": fault and {"sequence": fault.sequence, "detail": fault.en},
            }
        )
        return
    screen.facts(
        (screen.pick(zh, en), value)
        for zh, en, value in (
            ("已验记录", "Proved", f"{verdict.head.sequence:,}"),
            ("链头", "Head", verdict.head.hash.hex()),
            ("尚未链接", "Not linked yet", f"{verdict.unsealed:,}"),
            ("比对锚点", "Anchors compared", str(verdict.anchors)),
        )
    )
    if fault is None:
        screen.say("审计日志完整", "the audit log is whole")
    else:
        screen.say(f"第 {fault.sequence} 条: {fault.zh}", f"entry {fault.sequence}: {fault.en}")
