"""The contract's names as people read them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from google.protobuf.descriptor import EnumDescriptor

from gateway.domain.describe import Language


class Enumeration(Protocol):
    """An enum of the contract, as generated."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor:  # noqa: N802 - protobuf's name
        """Its names and numbers."""


ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ROLE_PROPERTY_FIRM": "物业公司",
        "ROLE_OWNERS_COMMITTEE": "业主委员会",
        "ROLE_TRUSTEE_MAKER": "受托人经办",
        "ROLE_TRUSTEE_CHECKER": "受托人复核",
        "ROLE_OPERATOR": "运维",
        "ROLE_SUPERVISOR": "信托监察人",
        "ROLE_OWNER": "业主",
        "BOOK_COMMON": "共有资金账",
        "BOOK_MAINTENANCE": "物业维护基金账",
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
        "ACCOUNT_KIND_BANK": "银行",
        "ACCOUNT_KIND_TRANSIT": "在途",
        "ACCOUNT_KIND_BOOK": "账簿",
        "TRANSMISSION_STATE_QUEUED": "待发送",
        "TRANSMISSION_STATE_DELIVERED": "已送达",
        "TRANSMISSION_STATE_ANSWERED": "已回执",
        "CASE_KIND_MISSING_IN_BANK": "银行未记",
        "CASE_KIND_MISSING_IN_LEDGER": "账上未记",
        "CASE_KIND_TIMING": "在途",
        "CASE_KIND_AMOUNT_DIFFERS": "金额不符",
        "CASE_KIND_DUPLICATE_BANK": "银行重复",
        "CASE_KIND_DUPLICATE_LEDGER": "账上重复",
        "CASE_KIND_RETURNED": "退票未记",
        "CASE_KIND_WRONG_ACCOUNT": "账户不符",
        "CASE_KIND_AMBIGUOUS": "无法唯一配对",
        "CASE_SIDE_BANK": "银行",
        "CASE_SIDE_LEDGER": "账上",
        "RUN_STATE_RUNNING": "进行中",
        "RUN_STATE_DONE": "已完成",
        "RUN_STATE_FAILED": "已中断",
    }
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
    }
)
"""The causes that reconciliation names, in `reconciliation.breaks`."""


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
    return CAUSES_ZH.get(name, name) if lang == "zh" else name.replace("_", " ")


def choices(kind: Enumeration) -> tuple[str, ...]:
    """The names that a person may type for a value, without the prefix."""
    return tuple(each.name.removeprefix(prefix(kind)) for each in kind.DESCRIPTOR.values[1:])
