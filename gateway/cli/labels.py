"""The contract's names as people read them."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from google.protobuf.descriptor import EnumDescriptor

from gateway.domain import case_words as words
from gateway.domain.describe import Language
from gateway.domain.errors import MESSAGES_ZH, Reason
from gateway.domain.money import format_minor
from gateway.domain.party import ROLES_ZH
from gateway.domain.resend import Blocker


class Enumeration(Protocol):
    """An enum of the contract, as generated."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor:  # noqa: N802 - protobuf's name
        """Its names and numbers."""


ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{f"ROLE_{role}": zh for role, zh in ROLES_ZH.items()},
        **{f"BOOK_{name}": zh for name, zh in words.BOOKS_ZH.items()},
        "PAYMENT_STATE_SUBMITTED": "已提交",
        "PAYMENT_STATE_HELD": "已占用额度",
        "PAYMENT_STATE_PARTLY_SIGNED": "已签一方",
        "PAYMENT_STATE_SIGNED": "两方已签",
        "PAYMENT_STATE_RELEASED": "已放行",
        "PAYMENT_STATE_SENT": "已发银行",
        "PAYMENT_STATE_ACCEPTED": "银行已受理",
        "PAYMENT_STATE_UNKNOWN": "结果不明",
        "PAYMENT_STATE_REJECTED": "银行拒绝",
        "PAYMENT_STATE_SETTLED": "已入账",
        "PAYMENT_STATE_RETURNED": "已退票",
        "PAYMENT_STATE_REFUSED": "签署人拒签",
        "PAYMENT_STATE_WITHDRAWN": "已撤回",
        "PAYMENT_STATE_EXPIRED": "已过期",
        "LINE_STATE_PENDING": "待银行确认",
        "LINE_STATE_SETTLED": "银行已确认",
        "LINE_STATE_REVERSED": "已红字冲回",
        "LINE_STATE_RETURNED": "银行退回",
        "ACCOUNT_KIND_BANK": "银行",
        "ACCOUNT_KIND_TRANSIT": "在途",
        "ACCOUNT_KIND_BOOK": "账簿",
        "TRANSMISSION_STATE_QUEUED": "待发送",
        "TRANSMISSION_STATE_DELIVERED": "已送达",
        "TRANSMISSION_STATE_ANSWERED": "已回执",
        "TRANSMISSION_STATE_SENDING": "正在发送",
        "TRANSMISSION_STATE_STUCK": "被拒收，待处理",
        "TRANSMISSION_STATE_BY_HAND": "手工交付，待确认",
        "TRANSMISSION_STATE_IN_DOUBT": "是否送达不明",
        "TRANSMISSION_STATE_SUPERSEDED": "已由新报文取代",
        **{f"CASE_KIND_{name}": zh for name, zh in words.KINDS_ZH.items()},
        **{f"CASE_STATE_{name}": zh for name, zh in words.STATES_ZH.items()},
        "CASE_SIDE_BANK": "银行",
        "CASE_SIDE_LEDGER": "账上",
        "RUN_STATE_RUNNING": "进行中",
        "RUN_STATE_DONE": "已完成",
        "RUN_STATE_FAILED": "已中断",
        "CASE_ORDER_OLDEST": "最早在前",
        "CASE_ORDER_DUE": "先到期在前",
        "CASE_ORDER_WEIGHT": "金额大在前",
        **{f"RESOLUTION_ACTION_{name}": zh for name, zh in words.ACTIONS_ZH.items()},
        "QUESTION_STATE_OPEN": "待答复",
        "QUESTION_STATE_OVERDUE": "逾期未答",
        "QUESTION_STATE_ANSWERED": "已答复",
        "DISCLOSURE_CYCLE_MONTHLY": "每月",
        "DISCLOSURE_CYCLE_QUARTERLY": "每季度",
        "DISCLOSURE_CYCLE_HALF_YEARLY": "每半年",
        "SHARE_BASIS_AREA": "按面积",
        "SHARE_BASIS_HOUSEHOLDS": "按户数",
        "SHARE_BASIS_EQUAL": "均摊",
        "PERIOD_STATE_RUNNING": "未到期末",
        "PERIOD_STATE_DUE": "待公示",
        "PERIOD_STATE_LATE": "逾期未公示",
        "PERIOD_STATE_POSTED": "公示中",
        "PERIOD_STATE_DONE": "已公示",
        "FACT_KIND_LATE_DISCLOSURE": "逾期公示",
        "FACT_KIND_UNANSWERED_QUESTION": "逾期未答",
        "FACT_KIND_MISSING_DETAIL": "总数无明细",
        "FACT_KIND_UNRECONCILED_LINE": "逾期未核对",
        "CHANGE_STATE_PROPOSED": "待另一方确认",
        "CHANGE_STATE_CONFIRMED": "两方确认生效",
        "CHANGE_STATE_FOUNDED": "创立时单方生效",
        "CHANGE_STATE_ENDED": "单方终止生效",
        "CHANGE_STATE_REJECTED": "已驳回或撤回",
        "CHANGE_STATE_LAPSED": "逾期失效",
        "RESOLUTION_STATE_PROPOSED": "待复核",
        "RESOLUTION_STATE_APPROVED": "已批准",
        "RESOLUTION_STATE_REJECTED": "已驳回",
        "RESOLUTION_STATE_WITHDRAWN": "已撤回",
        "RESOLUTION_STATE_UNDONE": "已撤销",
        "EVIDENCE_RESULT_AGREES": "一致",
        "EVIDENCE_RESULT_CLOSE": "相近",
        "EVIDENCE_RESULT_DIFFERS": "不符",
        "EVIDENCE_RESULT_UNKNOWN": "未知",
    }
)


EVENTS_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "FOUND": "发现",
        "QUESTIONED": "业主提问",
        "RENAMED": "改判",
        "ASSIGNED": "分派",
        "COMMENTED": "备注",
        "PROPOSED": "提议",
        "APPROVED": "批准",
        "REJECTED": "驳回",
        "WITHDRAWN": "撤回提议",
        "UNDONE": "撤销",
        "ESCALATED": "升级",
        "CLOSED": "结案",
        "REOPENED": "重新打开",
    }
)
"""What happens to a case, as `xinyi.v1.CaseEvent` names it."""

FIELDS_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "own_id": "付款编号",
        "reference": "参考号",
        "batch_id": "批次",
        "amount": "金额",
        "account": "账户",
        "currency": "币种",
        "date": "日期",
        "counterparty_account": "对方账号",
        "counterparty_name": "对方名称",
        "text": "摘要",
    }
)
"""The fields that reconciliation compares."""

RULES_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pin": "人工决定",
        "own_id": "付款编号相同",
        "reference": "参考号相同",
        "declared_batch": "批次合计相符",
        "returns": "退票对付款",
        "fee_adjustment": "差额为手续费",
        "amount_window": "金额与日期相符",
        "subset_sum": "多笔合计相符",
        "equal_amounts": "等额成组",
    }
)
"""The rules of the matching kernel."""

LIMITS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "candidates": ("候选过多，未搜完", "too many candidates: not searched to the end"),
        "states": ("组合过多，未搜完", "too many combinations: not searched to the end"),
        "account": ("账户搜索额度用尽", "the account's budget for searches was used up"),
    }
)
"""What ended a search for a sum: in Chinese, in English."""

COMPARED: Final[tuple[tuple[str, str, str], ...]] = (
    ("other id", "付款编号不同", "other id"),
    (r"amount differs by (?:difference_minor=)?(-?[0-9]+)", "金额差 {yuan}", "{yuan} apart"),
    (r"difference_minor=(-?[0-9]+)", "差 {yuan}", "{yuan} apart"),
    (r"charge=(.+)", "差额为 {0}", "the difference is {0}"),
    (r"days=(-?[0-9]+)", "相差 {0} 天", "{0} days"),
    (r"(-?[0-9]+) days?", "相差 {0} 天", "{0} days"),
    (r"(-?[0-9]+) days? apart", "相差 {0} 天", "{0} days apart"),
    (r"matched elsewhere with (\w+)", "已按“{rule}”匹配他处", "matched elsewhere: {rule}"),
    (r"proposed elsewhere with (\w+)", "已按“{rule}”提议他处", "proposed elsewhere: {rule}"),
    ("not unique", "与别的候选无从区分", "not unique"),
    ("not proved", "仅此一个，但不足为凭", "the only one, but that is no proof"),
    ("equal", "相同", "equal"),
    ("cut", "被截短", "cut short"),
    ("shared", "部分相同", "alike in part"),
)
"""What reconciliation says of a comparison, as patterns: in Chinese, in English."""

TROUBLES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "NotSentError": (
            "未能交出，稍后自动重试",
            "nothing was handed over; tried again by itself",
        ),
        "ShortWriteError": ("未写完整，稍后自动重试", "not written whole; tried again by itself"),
        "RefusedError": ("对方拒收，须人工处理", "refused at the door; a person has to look"),
        "NameTakenError": (
            "对方已有同名而内容不同的文件，须人工处理",
            "another content has this name there; a person has to look",
        ),
        "OutcomeUnknownError": (
            "是否送达不明，不再发送",
            "nobody knows whether it arrived; never sent again",
        ),
        "ReachError": (
            "reach.toml 或密钥不可用，见 xinyi bank reach",
            "its reach.toml or a key cannot be used: see xinyi bank reach",
        ),
        "ProfileError": (
            "银行配置不可用，见 xinyi bank reach",
            "the bank's profile cannot be used: see xinyi bank reach",
        ),
        "LookupError": (
            "没有此银行配置，见 xinyi bank reach",
            "there is no such bank profile: see xinyi bank reach",
        ),
    }
)
"""Why a hand-over did not work, as the gateway's sender names it: in Chinese, in English."""

BLOCKERS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        Blocker.BANK_STILL_OPEN: (
            "银行尚未停止受理付款当日的业务",
            "the bank still takes payments for the payment's day",
        ),
        Blocker.TOO_FEW_MISSES: (
            "银行查无此付款的天数不足：{missed_count}/{misses_needed}",
            "days on which the bank did not know it: {missed_count} of {misses_needed}",
        ),
        Blocker.STATEMENT_MISSING: (
            "尚无覆盖付款日的对账单",
            "no statement reaches the payment's day yet",
        ),
        Blocker.STATEMENT_UNCLEAN: (
            "其后的对账单有疑点，见 xinyi bank statements",
            "a statement since has findings: see xinyi bank statements",
        ),
        Blocker.DEBIT_UNEXPLAINED: (
            "有未核对的扣款，可能就是这笔付款，见 xinyi bank entries --only-open",
            "an unmatched debit may be this payment: see xinyi bank entries --only-open",
        ),
    }
)
"""Why a payment may not be sent again, or not yet: in Chinese, in English."""


def prefix(kind: Enumeration) -> str:
    """What all names of an enum begin with: its zero is always ``<PREFIX>_UNSPECIFIED``."""
    return kind.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")


def label(kind: Enumeration, number: int, lang: Language) -> str:
    """A value in the person's language; empty where it is not said, its number where it is new."""
    if not number:
        return ""
    value = kind.DESCRIPTOR.values_by_number.get(number)
    if value is None:
        return str(number)
    short = value.name.removeprefix(prefix(kind))
    return ZH.get(value.name, short) if lang == "zh" else short.lower().replace("_", " ")


def cause(name: str, lang: Language) -> str:
    """The likely cause of a case in the person's language; its name where it is new."""
    return words.word(words.CAUSES_ZH, name, lang)


def event(kind: str, lang: Language) -> str:
    """What happened to a case, in the person's language; its name where it is new."""
    return words.word(EVENTS_ZH, kind, lang)


def compared_field(name: str, lang: Language) -> str:
    """A field that was compared, in the person's language; its name where it is new."""
    return words.word(FIELDS_ZH, name, lang)


def rule(name: str, lang: Language) -> str:
    """A rule in the person's language; its name where it is new."""
    return words.word(RULES_ZH, name, lang)


def passed(said: str, lang: Language) -> str:
    """Why a match was made or a case left: its rule, or its kind and cause."""
    known = {name.lower(): zh for name, zh in words.KINDS_ZH.items()}
    known |= {**words.CAUSES_ZH, **RULES_ZH}
    return " · ".join(words.word(known, each, lang) for each in said.split())


def search_limit(name: str, lang: Language) -> str:
    """What ended a search, in the person's language; its name where it is new."""
    zh, en = LIMITS.get(name, (name, name))
    return zh if lang == "zh" else en


def comparison(said: str, lang: Language) -> str:
    """What reconciliation says of a comparison, in the person's language; itself where new."""
    for pattern, zh, en in COMPARED:
        if found := re.fullmatch(pattern, said):
            return _filled(zh if lang == "zh" else en, found.groups(), lang)
    return said


def _filled(sentence: str, said: tuple[str, ...], lang: Language) -> str:
    """The sentence with what was said in its places: as it is, as yuan, or as a rule."""
    first = said[0] if said else ""
    yuan = format_minor(int(first)) if "{yuan}" in sentence else ""
    return sentence.format(first, yuan=yuan, rule=rule(first, lang))


def refusal(reason: str, message: str, lang: Language) -> str:
    """Why one of many could not be done: the sentence of the reason in Chinese, or the message."""
    known = reason in Reason.__members__
    return MESSAGES_ZH[Reason(reason)] if known and lang == "zh" else message or reason


def trouble(name: str, lang: Language) -> str:
    """Why a hand-over did not work, in the person's language; findings keep their codes."""
    zh, en = TROUBLES.get(name, (name, name))
    return zh if lang == "zh" else en


def blockers(metadata: Mapping[str, str]) -> list[str]:
    """What a refusal says against sending a payment again, one sentence each, in both languages.

    Args:
        metadata: the variables of the refusal; those of RESEND_TOO_EARLY name blockers.
    """
    counts = {key: metadata.get(key, "?") for key in ("missed_count", "misses_needed")}
    return [
        " / ".join(BLOCKERS[name]).format_map(counts) if name in BLOCKERS else name
        for name in metadata.get("blockers", "").split(",")
        if name
    ]


def choices(kind: Enumeration) -> tuple[str, ...]:
    """The names that a person may type for a value, without the prefix."""
    return tuple(each.name.removeprefix(prefix(kind)) for each in kind.DESCRIPTOR.values[1:])
