"""What cases and resolutions are called in Chinese; in English they keep the contract's names.

Keys are the names of the contract's values without their prefix, and the causes that
reconciliation gives.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.domain.describe import Language

KINDS_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "MISSING_IN_BANK": "银行未记",
        "MISSING_IN_LEDGER": "账上未记",
        "TIMING": "在途",
        "AMOUNT_DIFFERS": "金额不符",
        "DUPLICATE_BANK": "银行重复",
        "DUPLICATE_LEDGER": "账上重复",
        "RETURNED": "退票未记",
        "WRONG_ACCOUNT": "账户不符",
        "AMBIGUOUS": "无法唯一配对",
        "SEARCH_LIMITED": "组合过多未搜完",
        "QUESTIONED": "业主提问",
    }
)

FINDINGS_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "statement_missing": "缺对账单",
        "inconsistent": "对账单期初加发生额不等于期末",
        "discontinuous": "对账单期初不接上期期末",
        "duplicate_statement": "对账单重复",
        "chain_broken": "前一份余额证明被改过",
        "reopened": "有迟来的账，重新核对",
    }
)
"""What stands against the proof of a balance, or came since."""

STATES_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "OPEN": "待处理",
        "PROPOSED": "待复核",
        "WAITING": "等待中",
        "AT_BANK": "已退银行",
        "CLOSED": "已结",
    }
)

ACTIONS_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "MATCH": "匹配",
        "ADJUST": "调账",
        "WRITE_OFF": "核销",
        "WAIT": "等待",
        "SEND_BACK": "退银行",
        "KEEP_APART": "不属一起",
    }
)

BOOKS_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {"COMMON": "共有资金账", "MAINTENANCE": "物业维护基金账"}
)

CAUSES_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bank_fee": "银行手续费",
        "bank_interest": "银行结息",
        "unidentified_receipt": "来款不明",
        "unexplained_debit": "扣款不明",
        "overdue": "逾期未到",
        "in_transit": "在途",
        "amount": "金额不同",
        "split": "拆分",
        "currency": "币种不同",
        "batch_total": "批次合计不同",
        "repeated_entry": "银行重复入账",
        "repeated_line": "账上重复记账",
        "no_correction_line": "缺红字冲回",
        "other_account": "记入别的账户",
        "equal_amounts": "等额难分",
        "same_id": "编号相同",
        "too_many_candidates": "候选过多",
        "entry_sum": "流水可能由多笔合成",
        "line_sum": "明细可能由多笔合成",
        "taken_apart": "人工拆开",
        "questioned": "业主提问",
        "proposed_own_id": "编号相符，待人确认",
        "proposed_reference": "参考号相符，待人确认",
        "proposed_declared_batch": "批次合计相符，待人确认",
        "proposed_returns": "退票与付款相符，待人确认",
        "proposed_equal_amounts": "等额成组，待人确认",
        "proposed_amount_window": "金额与日期相符，待人确认",
        "proposed_subset_sum": "多笔合计相符，待人确认",
        "proposed_fee_adjustment": "差额为手续费，待人确认",
    }
)
"""The causes that reconciliation names, in `reconciliation.breaks`."""


_SENTENCES_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "missing_in_bank": "{day} 的明细 {amount}，银行一直未入账",
        "missing_in_ledger": "银行 {day} 的流水 {amount}，账上没有对应明细",
        "bank_fee": "银行 {day} 扣收费用 {amount}，账上未记",
        "bank_interest": "银行 {day} 付息 {amount}，账上未记",
        "unidentified_receipt": "银行 {day} 来款 {amount}，账上没有对应明细",
        "unexplained_debit": "银行 {day} 扣款 {amount}，账上没有对应明细",
        "timing": "{day} 的明细 {amount}，银行可能稍后入账",
        "amount_differs": "两侧所指相同，金额相差 {amount}",
        "split": "两侧合计相同，笔数不同",
        "currency": "两侧所指相同，币种不同",
        "batch_total": "两侧是同一批次，合计相差 {amount}",
        "proposed_fee_adjustment": "两侧所指相同，相差的 {amount} 正是银行费用，待人确认",
        "duplicate_bank": "银行 {day} 的流水 {amount} 重复了另一笔",
        "duplicate_ledger": "{day} 的明细 {amount} 重复了另一笔",
        "returned": "银行 {day} 退回 {amount}，账上没有红字冲回",
        "wrong_account": "{day} 的同一笔款，银行与账上记在不同账户",
        "ambiguous": "{day} 起有多笔等额，配对不止一种",
        "same_id": "{day} 起有多笔编号相同，配对不止一种",
        "taken_apart": "{day} 起的匹配由人拆开，待重新处理",
        "questioned": "业主对 {day} 的明细提出疑问",
        "search_limited": "{day} 的 {amount} 可能由多笔合成，组合太多，未能搜完",
    }
)
"""By cause where it has a sentence of its own, else by kind; amounts without their sign."""
_PROPOSED_ZH: Final = "{day} 起的流水与明细相合，待人确认"


def sentence_zh(kind: str, cause: str, amount: str, day: str) -> str:
    """What is the matter with a case, in Chinese, as the kernel says it in English.

    Args:
        kind: as the kernel names it.
        cause: likewise.
        amount: of what is open, bank less ledger, without its sign, as people write it.
        day: the oldest day among its members.
    """
    found = _SENTENCES_ZH.get(cause)
    if found is None and cause.startswith("proposed_"):
        found = _PROPOSED_ZH
    return (found or _SENTENCES_ZH.get(kind, "")).format(amount=amount, day=day)


def word(names_zh: Mapping[str, str], name: str, language: Language) -> str:
    """What a value is called: in English its name in small letters; its name where it is new."""
    if language == "zh":
        return names_zh.get(name, name)
    return name.lower().replace("_", " ")


def named(names_zh: Mapping[str, str], text: str) -> str | None:
    """The name of the value that somebody wrote, in either language; None if there is none."""
    name = text.strip().upper().replace(" ", "_").replace("-", "_")
    by_word = {zh: each for each, zh in names_zh.items()}
    return name if name in names_zh else by_word.get(text.strip())
