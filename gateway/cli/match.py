"""`xinyi match`: what was matched, why, and how one match is taken back."""

from collections.abc import Iterator
from typing import Annotated

import typer
from xinyi.v1.reconciliation_service_pb2 import (
    GetMatchRequest,
    ListMatchesRequest,
    Match,
    UndoMatchRequest,
)

from gateway.cli import case_view
from gateway.cli.frame import OPERATOR, TRUSTEE, Complaint, Session, group, remote
from gateway.cli.labels import rule as rule_label
from gateway.cli.options import Limit, OnlyFund, Reason, RequestId, announced, in_fund, resource
from gateway.cli.screen import Column
from gateway.cli.text import day, last, moment, money, person, short
from gateway.client import call, collect

app = group("Matches: look into them, take one back 匹配.")

_MATCH = Column("匹配", "Match")
_RULE = Column("依据", "Rule")
_DAY = Column("日期", "Day")
_AMOUNT = Column("金额", "Amount", right=True)
_ACCOUNT = Column("账户", "Account")
_UNDONE = Column("已撤销（北京）", "Taken back (Beijing)")
_MATCHES = (_MATCH, _DAY, _RULE, _AMOUNT, _ACCOUNT, _UNDONE)

_Name = Annotated[
    str,
    typer.Argument(
        parser=in_fund("matches"), metavar="MATCH", help="As `match list` shows it, FUND/ID/RUN."
    ),
]


@remote(app, "list", OPERATOR)
async def _list(  # noqa: PLR0913 - a filter has this many conditions
    session: Session,
    *,
    fund: OnlyFund = None,
    run: Annotated[
        str | None,
        typer.Option(parser=resource("reconciliationRuns"), metavar="RUN", help="Only this run's."),
    ] = None,
    rule: Annotated[
        str, typer.Option(metavar="RULE", help="Only this rule's; `pin` for people's decisions.")
    ] = "",
    entry: Annotated[
        str, typer.Option(metavar="ID", help="Only the one this bank entry is in; needs --fund.")
    ] = "",
    line: Annotated[
        str, typer.Option(metavar="NUMBER", help="Only the one this line is in; needs --fund.")
    ] = "",
    undone: Annotated[
        bool, typer.Option("--undone", help="Also those that were taken back.")
    ] = False,
    limit: Limit = 500,
) -> None:
    """List matches of your funds, newest first."""
    request = ListMatchesRequest(
        parent=fund or "funds/-",
        run=run or "",
        rule=rule,
        member=_member(fund, entry, line),
        include_undone=undone,
    )
    answer = await collect(session.stubs.reconciliation.ListMatches, request, limit)
    lang = session.screen.lang
    rows = (
        (
            short(match.name),
            day(match.date),
            rule_label(match.rule, lang),
            money(match.amount),
            last(match.bank_account),
            moment(match.undo_time),
        )
        for match in answer.matches
    )
    session.screen.list(answer, _MATCHES, rows)
    if not answer.matches:
        session.screen.say("没有符合条件的匹配", "no such matches")


@remote(app, "show", OPERATOR)
async def _show(session: Session, name: _Name) -> None:
    """Show a match: its entries and lines, how they compare, and what came second."""
    answer = await call(session.stubs.reconciliation.GetMatch, GetMatchRequest(name=name))
    session.screen.one(answer, _facts(answer.match, session))
    if session.screen.as_json:
        return
    members = case_view.members(answer.match.members, session)
    case_view.section(session, "两侧", "Both sides", case_view.MATCHED, members)
    if answer.match.HasField("explanation"):
        said = answer.match.explanation
        compared = case_view.evidence(said.evidence, session)
        case_view.section(session, "两侧比较", "How they compare", case_view.EVIDENCE, compared)
        case_view.title(session, "为何匹配", "Why it was matched")
        case_view.show_facts(case_view.explanation(said, session), session)


@remote(app, "undo", f"{OPERATOR} · {TRUSTEE}")
async def _undo(
    session: Session, name: _Name, reason: Reason, request_id: RequestId = None
) -> None:
    """Take back a match that a run made: its rows are open again and never matched so again."""
    request = UndoMatchRequest(
        name=name, reason=reason, request_id=announced(session.screen, request_id)
    )
    answer = await call(session.stubs.reconciliation.UndoMatch, request)
    session.screen.one(answer, _facts(answer.match, session))


def _member(fund: str | None, entry: str, line: str) -> str:
    if entry and line:
        raise Complaint("give one of --entry and --line", "--entry 与 --line 只能给一个")
    if not (entry or line):
        return ""
    if fund is None:
        raise Complaint("--entry and --line need --fund", "--entry 与 --line 须同时给出 --fund")
    return f"{fund}/bankEntries/{entry}" if entry else f"{fund}/lines/{line}"


def _facts(match: Match, session: Session) -> Iterator[tuple[Column, str]]:
    yield _MATCH, match.name
    yield _DAY, day(match.date)
    yield _RULE, rule_label(match.rule, session.screen.lang)
    yield _AMOUNT, money(match.amount)
    yield _ACCOUNT, match.bank_account
    yield Column("建立（北京）", "Made (Beijing)"), moment(match.create_time)
    if match.undo_time.seconds:
        told = (moment(match.undo_time), person(match.undone_by), match.undo_reason)
        yield Column("撤销", "Taken back"), "  ".join(filter(None, told))
