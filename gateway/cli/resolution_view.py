"""What a resolution does, in words that a person who was not there can check."""

from collections.abc import Iterable, Iterator

from xinyi.v1.common_pb2 import Book
from xinyi.v1.reconciliation_service_pb2 import (
    Adjustment,
    Allocation,
    ItemOutcome,
    Resolution,
    ResolutionAction,
    ResolutionState,
)

from gateway.cli.frame import Session
from gateway.cli.labels import label, refusal
from gateway.cli.screen import Column, Row
from gateway.cli.status import MISMATCH
from gateway.cli.text import day, joined, member, moment, money, person, short

RESOLUTION = Column("处理", "Resolution")
CASE = Column("差异", "Case")
STATE = Column("状态", "State")
ACTION = Column("做法", "Action")
WHAT = Column("内容", "What it does", prose=True)
REASON = Column("理由", "Reason", prose=True)
PROPOSER = Column("提议人", "Proposed by")

RESOLUTIONS = (RESOLUTION, CASE, STATE, ACTION, PROPOSER, WHAT, REASON)
_TAKES_NOTHING = frozenset(
    {
        ResolutionAction.RESOLUTION_ACTION_WAIT,
        ResolutionAction.RESOLUTION_ACTION_SEND_BACK,
    }
)
_OUTCOMES = (
    Column("对象", "Item"),
    RESOLUTION,
    Column("结果", "Outcome", prose=True),
)


def row(resolution: Resolution, session: Session) -> Row:
    """A resolution in a list."""
    lang = session.screen.lang
    return (
        short(resolution.name),
        short(resolution.case),
        label(ResolutionState, resolution.state, lang),
        label(ResolutionAction, resolution.action, lang),
        person(resolution.proposer),
        what(resolution, session),
        resolution.reason,
    )


def what(resolution: Resolution, session: Session) -> str:
    """What it takes, posts or waits for, in one line."""
    lines = (value for _, value in content(resolution, session))
    return session.screen.pick("；", "; ").join(lines)


def content(resolution: Resolution, session: Session) -> Iterator[tuple[Column, str]]:
    """What it takes, posts or waits for, part by part."""
    if resolution.action not in _TAKES_NOTHING:
        every = session.screen.pick("差异中全部未决金额", "all that is open in the case")
        taken = (_taken(each, session) for each in resolution.allocations)
        yield Column("涉及", "Takes"), session.screen.pick("；", "; ").join(taken) or every
    if resolution.HasField("adjustment"):
        yield Column("记账", "Posts"), _posted(resolution.adjustment, session)
    if resolution.wait_until.year:
        yield Column("等待至", "Waits until"), day(resolution.wait_until)
    if resolution.bank_reference:
        yield Column("银行查询号", "Bank reference"), resolution.bank_reference


def _taken(allocation: Allocation, session: Session) -> str:
    taken = money(allocation.amount) or session.screen.pick("全部未决", "all that is open")
    return f"{member(allocation.name)} {taken}"


def _posted(adjustment: Adjustment, session: Session) -> str:
    even = session.screen.pick("金额使两侧相等", "what makes both sides even")
    said = (
        label(Book, adjustment.book, session.screen.lang),
        adjustment.category,
        adjustment.summary,
        money(adjustment.amount) or even,
        day(adjustment.effective_date),
        joined(adjustment.vouchers),
    )
    return " · ".join(filter(None, said))


def proposal(resolution: Resolution, session: Session) -> Iterator[tuple[Column, str]]:
    """What is proposed, for whoever proposes it or has to approve it."""
    yield ACTION, label(ResolutionAction, resolution.action, session.screen.lang)
    yield from content(resolution, session)
    yield REASON, resolution.reason


def facts(resolution: Resolution, session: Session) -> Iterator[tuple[Column, str]]:
    """All of a resolution, and how far it has come."""
    yield RESOLUTION, resolution.name
    yield CASE, resolution.case
    yield from proposal(resolution, session)
    yield STATE, label(ResolutionState, resolution.state, session.screen.lang)
    told = (
        (PROPOSER, _when_and_who(resolution, "create_time", resolution.proposer)),
        (Column("复核", "Decided"), _when_and_who(resolution, "decide_time", resolution.decider)),
        (Column("复核意见", "Note"), resolution.decision_note),
        (Column("取代", "Replaces"), resolution.supersedes),
        (Column("匹配", "Match"), resolution.match),
        (Column("公示明细", "Line"), resolution.line),
        (Column("撤销", "Undone"), _when_and_who(resolution, "undo_time", resolution.undone_by)),
        (Column("撤销理由", "Why undone"), resolution.undo_reason),
    )
    yield from ((column, value) for column, value in told if value)


def _when_and_who(resolution: Resolution, field: str, who: str) -> str:
    return "  ".join(filter(None, (moment(getattr(resolution, field)), person(who))))


def show_on_error(facts: Iterable[tuple[Column, str]], session: Session) -> None:
    """Facts that belong to a prompt or come before a result."""
    pick = session.screen.pick
    session.screen.facts(((pick(each.zh, each.en), value) for each, value in facts), on_error=True)


def report(outcomes: Iterable[ItemOutcome], session: Session) -> int | None:
    """Says of each of many what came of it; the exit status where one could not be done."""
    told = list(outcomes)
    failed = sum(1 for each in told if each.reason)
    if not session.screen.as_json:
        session.screen.table(_OUTCOMES, (_outcome(each, session) for each in told))
    session.screen.say(
        f"共 {len(told)} 项：成功 {len(told) - failed}，未成 {failed}",
        f"{len(told)} in all: {len(told) - failed} done, {failed} not",
    )
    return MISMATCH if failed else None


def _outcome(outcome: ItemOutcome, session: Session) -> Row:
    done = label(ResolutionState, outcome.resolution.state, session.screen.lang)
    why = refusal(outcome.reason, outcome.message, session.screen.lang)
    said = f"{outcome.reason}: {why}" if outcome.reason else done
    return short(outcome.name), short(outcome.resolution.name), said
