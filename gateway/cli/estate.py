"""`xinyi estate`: the residential estates, what each owes its owners, and what was done of it."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Role
from xinyi.v1.duty_service_pb2 import (
    BillShare,
    DisclosureClock,
    DisclosureCycle,
    DisclosureRules,
    GetDisclosureRulesRequest,
    ListPeriodsRequest,
    Period,
    PeriodState,
    PublishPeriodRequest,
    SetDisclosureRulesRequest,
    ShareBasis,
)
from xinyi.v1.fund_service_pb2 import ListEstatesRequest

from gateway.cli.frame import EVERYONE, OPERATOR, TRUSTEE, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import (
    FundArgument,
    Limit,
    RequestId,
    amount_minor,
    announced,
    in_fund,
    one_of,
    say_waits,
)
from gateway.cli.screen import Column, Row
from gateway.cli.text import day, moment, short
from gateway.client import call, collect
from gateway.domain.describe import Language
from gateway.domain.split import square_metres

app = group("Residential estates, and what each owes its owners 小区与院落.")

_COLUMNS = (
    Column("小区", "Estate"),
    Column("名称", "Name", prose=True),
    Column("连片管理", "Group"),
)
_PERIODS = (
    Column("期间", "Period"),
    Column("始", "From"),
    Column("止", "To"),
    Column("应公示日", "Due"),
    Column("状态", "State"),
    Column("迟延", "Late"),
    Column("公示时间（北京）", "Disclosed (Beijing)"),
    Column("公示人", "By", prose=True),
    Column("张贴至", "Posted until"),
    Column("逾期记录（北京）", "Recorded as late (Beijing)"),
)


@remote(app, "list", EVERYONE)
async def _list(session: Session, limit: Limit = 500) -> None:
    """List the estates you may see."""
    answer = await collect(session.stubs.funds.ListEstates, ListEstatesRequest(), limit)
    session.screen.list(
        answer, _COLUMNS, ((e.name, e.display_name, e.group) for e in answer.estates)
    )


@remote(app, "clocks", EVERYONE)
async def _clocks(session: Session, fund: FundArgument, limit: Limit = 500) -> None:
    """List the periods that are to be disclosed: due, done, late; the last due first."""
    answer = await collect(session.stubs.duties.ListPeriods, ListPeriodsRequest(parent=fund), limit)
    session.screen.list(answer, _PERIODS, _period_rows(answer.periods, session))


@remote(app, "publish", TRUSTEE)
async def _publish(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(
            parser=in_fund("periods"), metavar="PERIOD", help="As in wutong/monthly-2026-10."
        ),
    ],
    request_id: RequestId = None,
) -> None:
    """Record that a period's notice was posted, with its figures and the log's tree."""
    named = announced(session.screen, request_id)
    request = PublishPeriodRequest(name=name, request_id=named)
    answer = await call(session.stubs.duties.PublishPeriod, request)
    session.screen.list(answer, _PERIODS, _period_rows([answer.period], session))


@remote(app, "rules", EVERYONE)
async def _rules(session: Session, fund: FundArgument) -> None:
    """Show by when an estate discloses and answers, and which income it tells by item."""
    request = GetDisclosureRulesRequest(parent=fund)
    answer = await call(session.stubs.duties.GetDisclosureRules, request)
    session.screen.one(answer, _rule_facts(answer.disclosure_rules, session.screen.lang))


@remote(app, "set-rules", OPERATOR)
async def _set_rules(
    session: Session,
    fund: FundArgument,
    clocks: Annotated[
        list[str] | None,
        typer.Option(
            "--clock",
            metavar="CYCLE:DAY[:DAYS]",
            help="monthly:10, or half-yearly:15:30: due on this day, then posted for so many.",
        ),
    ] = None,
    answer_days: Annotated[
        int, typer.Option("--answer-days", help="Working days for an answer to a question.")
    ] = 5,
    itemised: Annotated[
        list[str] | None,
        typer.Option("--itemised", metavar="CATEGORY", help="Income to be told by item."),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="BASIS[:WEIGHT]",
            help="In bills with other estates: area:12,345.67 in m², households:820, or equal.",
        ),
    ] = None,
    request_id: RequestId = None,
) -> None:
    """Propose the whole of an estate's rules; another party confirms: `xinyi change confirm`."""
    duties = session.stubs.duties
    read = await call(duties.GetDisclosureRules, GetDisclosureRulesRequest(parent=fund))
    rules = DisclosureRules(
        version=read.disclosure_rules.version,
        answer_working_days=answer_days,
        clocks=map(_clock, clocks or ()),
        itemised_categories=itemised or (),
        bill_share=None if share is None else _share(share),
    )
    named = announced(session.screen, request_id)
    request = SetDisclosureRulesRequest(parent=fund, disclosure_rules=rules, request_id=named)
    answer = await call(duties.SetDisclosureRules, request)
    session.screen.one(answer, _rule_facts(answer.disclosure_rules, session.screen.lang))
    if answer.waits:
        say_waits(session.screen, answer.change)


def _share(text: str) -> BillShare:
    named, _, weight = text.partition(":")
    basis = ShareBasis.Value(one_of(ShareBasis)(named))
    match basis:
        case ShareBasis.SHARE_BASIS_AREA:
            return BillShare(basis=basis, weight=amount_minor(weight))
        case ShareBasis.SHARE_BASIS_HOUSEHOLDS if weight.isdecimal():
            return BillShare(basis=basis, weight=int(weight))
        case ShareBasis.SHARE_BASIS_EQUAL if not weight:
            return BillShare(basis=basis, weight=1)
    raise typer.BadParameter("is not as in area:12,345.67, households:820 or equal / 应如 equal")


def _clock(text: str) -> DisclosureClock:
    cycle, _, rest = text.partition(":")
    due_day, _, posting_days = rest.partition(":")
    if not due_day.isdecimal() or not (posting_days or "0").isdecimal():
        raise typer.BadParameter("is not as in monthly:10 or half-yearly:15:30 / 应如 monthly:10")
    return DisclosureClock(
        cycle=DisclosureCycle.Value(one_of(DisclosureCycle)(cycle)),
        due_day=int(due_day),
        posting_days=int(posting_days or 0),
    )


def _rule_facts(rules: DisclosureRules, lang: Language) -> Iterator[tuple[Column, str]]:
    yield Column("规则", "Rules"), rules.name
    yield Column("版本", "Version"), str(rules.version)
    yield Column("生效时间（北京）", "In force since (Beijing)"), moment(rules.create_time)
    yield Column("答复期限", "Answers due"), _working_days(rules.answer_working_days, lang)
    for clock in rules.clocks:
        yield Column("公示期限", "Disclosure due"), clock_in_words(clock, lang)
    for category in rules.itemised_categories:
        yield Column("须列明细", "Told by item"), category
    if rules.HasField("bill_share"):
        yield Column("分摊", "Share in common bills"), share_in_words(rules.bill_share, lang)


def share_in_words(share: BillShare, lang: Language) -> str:
    """``按面积 · 12,345.67 m²``."""
    words = label(ShareBasis, share.basis, lang)
    match share.basis:
        case ShareBasis.SHARE_BASIS_AREA:
            return f"{words} · {square_metres(share.weight)} m²"
        case ShareBasis.SHARE_BASIS_HOUSEHOLDS:
            return f"{words} · {share.weight:,}"
        case _:
            return words


def _working_days(count: int, lang: Language) -> str:
    return f"{count} 个工作日" if lang == "zh" else f"{count} working days"


def clock_in_words(clock: DisclosureClock, lang: Language) -> str:
    """``每月 · 次月 10 日前 · 张贴 15 天``."""
    cycle = label(DisclosureCycle, clock.cycle, lang)
    if lang == "zh":
        posted = f" · 张贴 {clock.posting_days} 天" if clock.posting_days else ""
        return f"{cycle} · 次月 {clock.due_day} 日前{posted}"
    posted = f", posted for {clock.posting_days} days" if clock.posting_days else ""
    return f"{cycle}, by day {clock.due_day} of the next month{posted}"


def _period_rows(periods: Iterable[Period], session: Session) -> Iterator[Row]:
    lang = session.screen.lang
    for each in periods:
        by = " · ".join(filter(None, (each.publisher, label(Role, each.publisher_role, lang))))
        yield (
            short(each.name),
            day(each.start_date),
            day(each.end_date),
            day(each.due_date),
            label(PeriodState, each.state, lang),
            session.screen.pick("是", "yes") if each.late else "",
            moment(each.publish_time),
            by,
            day(each.post_until),
            moment(each.overdue_time),
        )
