"""Cases as people read them: in a list, and one with all that is known of it."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any

from xinyi.v1.reconciliation_service_pb2 import (
    Candidate,
    Case,
    CaseKind,
    CaseMember,
    CaseSide,
    CaseState,
    Evidence,
    EvidenceResult,
    Explanation,
    GetCaseResponse,
)

from gateway.cli import resolution_view
from gateway.cli.frame import Session
from gateway.cli.labels import cause, compared_field, comparison, event, label, passed, search_limit
from gateway.cli.screen import Column, Row
from gateway.cli.text import day, member, minor, moment, money, person, short
from gateway.clock import bank_date, system_clock
from gateway.domain.case_words import sentence_zh
from gateway.domain.describe import Language
from gateway.domain.money import format_minor

CASE = Column("差异", "Case")
_AGE = Column("天数", "Days", right=True)
_DUE = Column("到期", "Due")
_AMOUNT = Column("差额", "Amount", right=True)
_STATE = Column("状态", "State", prose=True)
_ASSIGNEE = Column("经办", "Assignee")
_WHAT = Column("差异内容", "What differs", prose=True)
CASES = (CASE, _AGE, _DUE, _AMOUNT, _STATE, _ASSIGNEE, _WHAT)

_ROW = Column("流水／明细", "Entry / line")
_DAY = Column("日期", "Day")
_MEMBER_AMOUNT = Column("金额", "Amount", right=True)
_OPEN = Column("未决", "Open", right=True)
_TEXT = Column("摘要与对方", "Text and other side", prose=True)
_SIDE = Column("一侧", "Side")
MEMBERS = (_SIDE, _ROW, _DAY, _MEMBER_AMOUNT, _OPEN, _TEXT)
MATCHED = (_SIDE, _ROW, _DAY, _MEMBER_AMOUNT, Column("所匹配", "Matched", right=True), _TEXT)
EVIDENCE = (
    Column("比较", "Field"),
    Column("银行", "Bank", prose=True),
    Column("账上", "Ledger", prose=True),
    Column("结果", "Result"),
    Column("相差", "By how much", prose=True),
)
_CANDIDATES = (
    Column("名次", "Rank", right=True),
    Column("分值", "Score", right=True),
    *(_ROW, _DAY, _OPEN, _TEXT),
    Column("相符与不符之处", "What speaks for it and against", prose=True),
)
_EVENTS = (
    Column("时间（北京）", "Time (Beijing)"),
    Column("经过", "What"),
    Column("何人", "Who"),
    Column("内容", "Detail", prose=True),
)
_FEN = re.compile(r"-?[0-9]{1,15}")
_SPEAKING = (
    EvidenceResult.EVIDENCE_RESULT_AGREES,
    EvidenceResult.EVIDENCE_RESULT_CLOSE,
    EvidenceResult.EVIDENCE_RESULT_DIFFERS,
)
"""Results in the order in which they are told: first what speaks for a candidate."""


# --- in a list -----------------------------------------------------------------------------------


def rows(cases: Iterable[Case], session: Session) -> Iterator[Row]:
    """One row a case."""
    for case in cases:
        yield (
            short(case.name),
            _age(case),
            day(case.due_date),
            money(case.amount),
            _state(case, session.screen.lang),
            person(case.assignee),
            what(case, session.screen.lang),
        )


def summarise(cases: Sequence[Case], session: Session) -> None:
    """How many, how many of them overdue, and what is open in them: one line on stderr."""
    if not cases:
        session.screen.say("没有符合条件的差异", "no such cases")
        return
    overdue = sum(case.overdue for case in cases)
    weights: Counter[str] = Counter()
    for case in cases:
        weights[case.weight.currency] += case.weight.amount_minor
    total = " + ".join(minor(weight, currency) for currency, weight in weights.items() if currency)
    session.screen.say(
        f"共 {len(cases)} 项，逾期 {overdue} 项，未决金额合计 {total or '0.00'}",
        f"{len(cases)} cases, {overdue} overdue, {total or '0.00'} open in them",
    )


def _age(case: Case) -> str:
    said = case.oldest_date
    if not said.year:
        return ""
    today = bank_date(system_clock())
    return str((today - date(said.year, said.month, said.day)).days)


def _state(case: Case, lang: Language) -> str:
    overdue, escalated = ("逾期", "升级") if lang == "zh" else ("overdue", "escalated")
    said = (
        label(CaseState, case.state, lang),
        overdue if case.overdue else "",
        f"{escalated} {case.escalation}" if case.escalation else "",
    )
    return " · ".join(filter(None, said))


def what(case: Case, lang: Language) -> str:
    """What kind it is, its likely cause, and what differs, in one line."""
    said = (label(CaseKind, case.kind, lang), cause(case.cause, lang), sentence(case, lang))
    return " · ".join(filter(None, said))


def sentence(case: Case, lang: Language) -> str:
    """What differs, in one sentence of the person's language."""
    if lang == "en":
        return case.detail
    kind = CaseKind.Name(case.kind).removeprefix("CASE_KIND_").lower()
    amount = format_minor(abs(case.amount.amount_minor))
    return sentence_zh(kind, case.cause, amount, day(case.oldest_date)) or case.detail


# --- one -----------------------------------------------------------------------------------------


def show(answer: GetCaseResponse, session: Session) -> None:
    """A case with its sides, evidence, candidates, proposal, explanation and history."""
    session.screen.one(answer, facts(answer.case, session))
    if session.screen.as_json:
        return
    section(session, "两侧", "Both sides", MEMBERS, members(answer.case.members, session))
    compared = evidence(answer.evidence, session)
    section(session, "两侧比较", "How they compare", EVIDENCE, compared)
    ranked = _candidates(answer.candidates, session)
    section(session, "可能的对应", "What may belong to it", _CANDIDATES, ranked)
    if answer.case.HasField("proposal"):
        title(session, "待复核的提议", "Proposal that waits for another person")
        show_facts(resolution_view.facts(answer.case.proposal, session), session)
    if answer.HasField("explanation"):
        title(session, "为何未匹配", "Why the run left it")
        show_facts(explanation(answer.explanation, session), session)
    decided = (each for each in answer.resolutions if each.name != answer.case.proposal.name)
    rows = (resolution_view.row(each, session) for each in decided)
    section(session, "此前的处理", "Resolutions before", resolution_view.RESOLUTIONS, rows)
    section(session, "经过", "What happened", _EVENTS, _events(answer, session))


def facts(case: Case, session: Session) -> Iterator[tuple[Column, str]]:
    """What is known of a case without its members."""
    lang = session.screen.lang
    yield CASE, case.name
    yield Column("种类", "Kind"), label(CaseKind, case.kind, lang)
    yield Column("原因", "Cause"), cause(case.cause, lang)
    yield Column("说明", "Detail"), sentence(case, lang)
    yield _AMOUNT, money(case.amount)
    yield Column("未决金额", "Open in it"), money(case.weight)
    yield _STATE, _state(case, lang)
    yield Column("最早日期", "Oldest day"), day(case.oldest_date)
    yield _AGE, _age(case)
    told = (
        (Column("到期", "Due"), day(case.due_date)),
        (Column("等待至", "Waits until"), day(case.wait_until)),
        (_ASSIGNEE, person(case.assignee)),
        (Column("结案（北京）", "Closed (Beijing)"), moment(case.close_time)),
        (Column("结案依据", "Closed by"), case.closed_by),
    )
    yield from ((column, value) for column, value in told if value)
    yield Column("账户", "Account"), case.bank_account
    yield Column("对账", "Run"), case.run
    yield Column("版本", "Version"), case.etag


def section(
    session: Session, zh: str, en: str, columns: tuple[Column, ...], rows: Iterable[Row]
) -> None:
    """A table under its title; nothing where it has no rows."""
    if found := list(rows):
        title(session, zh, en)
        session.screen.table(columns, found)


def title(session: Session, zh: str, en: str) -> None:
    """What stands below it."""
    session.screen.line("")
    session.screen.line(f"== {session.screen.pick(zh, en)} ==")


def show_facts(facts: Iterable[tuple[Column, str]], session: Session) -> None:
    """Facts of a result that has more than one part."""
    pick = session.screen.pick
    session.screen.facts((pick(column.zh, column.en), value) for column, value in facts)


def members(rows: Iterable[CaseMember], session: Session) -> Iterator[Row]:
    """Entries and lines, each with what of it is open."""
    for each in rows:
        side = label(CaseSide, each.side, session.screen.lang)
        amounts = (money(each.amount), money(each.open_amount))
        yield side, member(each.name), day(each.date), *amounts, _text(each)


def _text(row: CaseMember) -> str:
    said = (
        *(row.text, row.reference, row.batch),
        *(row.counterparty_name, row.counterparty_account),
    )
    return " · ".join(filter(None, said))


def evidence(rows: Iterable[Evidence], session: Session) -> Iterator[Row]:
    """How two sides compare, a field a row."""
    lang = session.screen.lang
    for each in rows:
        yield (
            compared_field(each.field, lang),
            _value(each.field, each.bank_value),
            _value(each.field, each.ledger_value),
            label(EvidenceResult, each.result, lang),
            comparison(each.detail, lang),
        )


def _value(field: str, said: str) -> str:
    """What a side says; an amount that is told in fen, as yuan."""
    return format_minor(int(said)) if field == "amount" and _FEN.fullmatch(said) else said


def _candidates(candidates: Iterable[Candidate], session: Session) -> Iterator[Row]:
    for each in candidates:
        row = each.member
        also = session.screen.pick("另属差异", "also in case")
        text = f"{_text(row)} · {also} {short(each.case)}" if each.case else _text(row)
        yield (
            str(each.rank),
            _bits(each.score),
            *(member(row.name), day(row.date), money(row.open_amount), text),
            _in_words(each.evidence, session.screen.lang),
        )


def _bits(hundredths: int) -> str:
    """``-3.05``."""
    return f"{'-' if hundredths < 0 else ''}{abs(hundredths) // 100}.{abs(hundredths) % 100:02}"


def _in_words(rows: Iterable[Evidence], lang: Language) -> str:
    told = [each for each in rows if each.result in _SPEAKING]
    told.sort(key=lambda each: _SPEAKING.index(each.result))
    return ("；" if lang == "zh" else "; ").join(_said(each, lang) for each in told)


def _said(row: Evidence, lang: Language) -> str:
    result = label(EvidenceResult, row.result, lang)
    detail = comparison(row.detail, lang)
    if lang == "zh":
        return f"{compared_field(row.field, lang)}{result}" + (f"（{detail}）" if detail else "")
    return f"{compared_field(row.field, lang)} {result}" + (f" ({detail})" if detail else "")


def explanation(said: Explanation, session: Session) -> Iterator[tuple[Column, str]]:
    """Why a match was made or a case left, in words."""
    lang = session.screen.lang
    yield Column("依据", "Rule"), passed(getattr(said, "pass"), lang)
    candidates = f"{said.bank_candidates:,} / {said.ledger_candidates:,}"
    yield Column("候选 银行／账上", "Candidates bank / ledger"), candidates
    told = (
        (Column("落选最接近者", "Runner-up"), runner_up(said.runner_up, lang)),
        (Column("凑巧的期望次数", "Expected by accident"), said.expected_accidents),
        (Column("搜索步数", "Sums looked at"), f"{said.states:,}" if said.states else ""),
        (Column("搜索中止", "Search ended"), search_limit(said.search_limit, lang)),
        (Column("提议人", "Proposed by"), person(said.proposer)),
        (Column("批准人", "Approved by"), person(said.approver)),
        (Column("取代", "Replaces"), said.supersedes),
        (Column("对账", "Run"), said.run),
        (Column("规则版本", "Rules"), said.rules_version),
        (Column("输入摘要", "Input digest"), said.input_digest),
    )
    yield from ((column, value) for column, value in told if value)


def runner_up(text: str, lang: Language) -> str:
    """The best row that was not taken, and why; as it came where it is not what is known here."""
    if not text:
        return ""
    try:
        said: dict[str, Any] = json.loads(text)
        row = f"{'E' if said['side'] == 'bank' else 'L'}:{said['id']}"
        reasons = [comparison(str(each), lang) for each in said["lost_by"]]
        score = _bits(int(said["score"]))
    except (ValueError, TypeError, KeyError):
        return text
    if lang == "zh":
        return f"{row}（分值 {score}）：{'；'.join(reasons)}"
    return f"{row} (score {score}): {'; '.join(reasons)}"


def _events(answer: GetCaseResponse, session: Session) -> Iterator[Row]:
    for each in answer.events:
        detail = " · ".join(filter(None, (each.detail, short(each.resolution))))
        what = event(each.kind, session.screen.lang)
        yield moment(each.create_time), what, person(each.actor), detail
