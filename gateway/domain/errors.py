"""The one error type of the gateway, mapped to a gRPC status once, at the edge.

Every refusal has one `Reason`. The same names stand in the contract as `xinyi.v1.ErrorReason`, so
that a caller can act on the name and a person can read the message, in English and in Chinese.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """What a caller can do about a refusal; the edge maps each kind to one gRPC status code."""

    INVALID = auto()
    """The request is malformed: change it. INVALID_ARGUMENT."""
    PRECONDITION = auto()
    """The request is well formed, the state of things forbids it. FAILED_PRECONDITION."""
    NOT_FOUND = auto()
    """No such thing, or not one this caller may see. NOT_FOUND."""
    EXISTS = auto()
    """The name is taken by something else. ALREADY_EXISTS."""
    DENIED = auto()
    """This caller may not do this. PERMISSION_DENIED."""
    UNAUTHENTICATED = auto()
    """The certificate names nobody the gateway knows. UNAUTHENTICATED."""
    CONFLICT = auto()
    """Somebody else changed it first: read again. ABORTED."""
    EXHAUSTED = auto()
    """A limit is reached. RESOURCE_EXHAUSTED."""
    UNAVAILABLE = auto()
    """The gateway cannot answer now: try the same request id again. UNAVAILABLE."""


class Reason(StrEnum):
    """Why a call was refused. One name for one rule; the value is the name in the contract."""

    FIELD_INVALID = "FIELD_INVALID"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    PAGE_TOKEN_INVALID = "PAGE_TOKEN_INVALID"  # noqa: S105 - a name, not a password
    CERTIFICATE_UNKNOWN = "CERTIFICATE_UNKNOWN"
    CERTIFICATE_REVOKED = "CERTIFICATE_REVOKED"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    RESOURCE_NOT_FOUND = "RESOURCE_NOT_FOUND"
    RESOURCE_EXISTS = "RESOURCE_EXISTS"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    BALANCE_INSUFFICIENT = "BALANCE_INSUFFICIENT"
    BUDGET_LINE_CLOSED = "BUDGET_LINE_CLOSED"
    VOUCHER_MISSING = "VOUCHER_MISSING"
    VOUCHER_DIGEST_MISMATCH = "VOUCHER_DIGEST_MISMATCH"
    STATE_FORBIDS = "STATE_FORBIDS"
    PAYMENT_EXPIRED = "PAYMENT_EXPIRED"
    PAYLOAD_MISMATCH = "PAYLOAD_MISMATCH"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    KEY_UNKNOWN = "KEY_UNKNOWN"
    KEY_REVOKED = "KEY_REVOKED"
    SIGNER_NOT_CALLER = "SIGNER_NOT_CALLER"
    SAME_PERSON = "SAME_PERSON"
    SAME_PARTY = "SAME_PARTY"
    MANDATE_MISSING = "MANDATE_MISSING"
    MANDATE_LIMIT_EXCEEDED = "MANDATE_LIMIT_EXCEEDED"
    ROLE_NOT_REQUIRED = "ROLE_NOT_REQUIRED"
    POLICY_MISSING = "POLICY_MISSING"
    ENTRY_UNBALANCED = "ENTRY_UNBALANCED"
    ENTRY_CROSSES_FUNDS = "ENTRY_CROSSES_FUNDS"
    LINE_ALREADY_CORRECTED = "LINE_ALREADY_CORRECTED"
    BANK_CLOSED = "BANK_CLOSED"
    RESEND_TOO_EARLY = "RESEND_TOO_EARLY"
    FILE_UNREADABLE = "FILE_UNREADABLE"
    FILE_DUPLICATE = "FILE_DUPLICATE"
    ACCOUNT_UNKNOWN = "ACCOUNT_UNKNOWN"
    STATEMENT_INCONSISTENT = "STATEMENT_INCONSISTENT"
    RUN_IN_PROGRESS = "RUN_IN_PROGRESS"
    ITEM_NOT_OPEN = "ITEM_NOT_OPEN"
    MATCH_UNEVEN = "MATCH_UNEVEN"
    LOG_BROKEN = "LOG_BROKEN"
    NOT_LOGGED = "NOT_LOGGED"
    DATA_ERASED = "DATA_ERASED"
    VOUCHER_NOT_RENDERABLE = "VOUCHER_NOT_RENDERABLE"
    RENDITION_MISSING = "RENDITION_MISSING"
    DEADLINE_TOO_SHORT = "DEADLINE_TOO_SHORT"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    RATE_EXCEEDED = "RATE_EXCEEDED"
    HISTORY_LOST = "HISTORY_LOST"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    INTERNAL = "INTERNAL"


MESSAGES_ZH: Mapping[Reason, str] = {
    Reason.FIELD_INVALID: "请求内容不符合要求",
    Reason.REQUEST_ID_REUSED: "同一请求编号已用于不同的内容",
    Reason.PAGE_TOKEN_INVALID: "翻页标记无效",
    Reason.CERTIFICATE_UNKNOWN: "证书未登记",
    Reason.CERTIFICATE_REVOKED: "证书已吊销或已过期",
    Reason.ROLE_NOT_ALLOWED: "当前角色无权进行此操作",
    Reason.RESOURCE_NOT_FOUND: "未找到，或无权查看",
    Reason.RESOURCE_EXISTS: "名称已被占用",
    Reason.ETAG_MISMATCH: "内容已被他人修改，请重新读取",
    Reason.CURRENCY_MISMATCH: "币种与基金不一致",
    Reason.AMOUNT_OUT_OF_RANGE: "金额超出允许范围",
    Reason.BUDGET_EXCEEDED: "超出预算科目可用额度",
    Reason.BALANCE_INSUFFICIENT: "账簿可用余额不足",
    Reason.BUDGET_LINE_CLOSED: "预算科目不在有效期内",
    Reason.VOUCHER_MISSING: "缺少凭证",
    Reason.VOUCHER_DIGEST_MISMATCH: "凭证内容与摘要不符",
    Reason.STATE_FORBIDS: "当前状态不允许此操作",
    Reason.PAYMENT_EXPIRED: "付款申请已过期",
    Reason.PAYLOAD_MISMATCH: "所签内容与登记的付款内容不一致",
    Reason.SIGNATURE_INVALID: "签名验证失败",
    Reason.KEY_UNKNOWN: "签名密钥未登记",
    Reason.KEY_REVOKED: "签名密钥已吊销或不在有效期内",
    Reason.SIGNER_NOT_CALLER: "签名密钥不属于当前登录人",
    Reason.SAME_PERSON: "必须由不同的自然人作出",
    Reason.SAME_PARTY: "必须由不同的机构作出",
    Reason.MANDATE_MISSING: "签署人没有该基金的有效授权",
    Reason.MANDATE_LIMIT_EXCEEDED: "金额超出签署人授权限额",
    Reason.ROLE_NOT_REQUIRED: "签署规则不需要该角色签名",
    Reason.POLICY_MISSING: "该基金尚未设定签署规则",
    Reason.ENTRY_UNBALANCED: "分录借贷不平",
    Reason.ENTRY_CROSSES_FUNDS: "分录跨越了两个基金",
    Reason.LINE_ALREADY_CORRECTED: "该明细已被红字更正",
    Reason.BANK_CLOSED: "尚不知银行哪一天受理此付款",
    Reason.RESEND_TOO_EARLY: "银行仍可能已受理此付款，暂不能再次发送",
    Reason.FILE_UNREADABLE: "文件无法读取，已隔离",
    Reason.FILE_DUPLICATE: "该文件编号已导入过不同的内容",
    Reason.ACCOUNT_UNKNOWN: "对账单账户不属于任何基金",
    Reason.STATEMENT_INCONSISTENT: "对账单期初加发生额不等于期末",
    Reason.RUN_IN_PROGRESS: "同一日期的对账正在进行",
    Reason.ITEM_NOT_OPEN: "流水或明细已匹配，或未决金额不足",
    Reason.MATCH_UNEVEN: "两侧金额不等、不属同一账户，或不构成匹配",
    Reason.LOG_BROKEN: "公示日志与已公开的不一致，已停止服务",
    Reason.NOT_LOGGED: "尚未记入公示日志，请稍后再试",
    Reason.DATA_ERASED: "该明细的个人信息已依法删除，无法再出具证明",
    Reason.VOUCHER_NOT_RENDERABLE: "该凭证无法制作公开副本",
    Reason.RENDITION_MISSING: "该凭证尚未制作公开副本",
    Reason.DEADLINE_TOO_SHORT: "剩余时间不足以完成请求",
    Reason.LIMIT_EXCEEDED: "超出数量或大小限制",
    Reason.RATE_EXCEEDED: "本机构调用过于频繁，请稍后重试",
    Reason.HISTORY_LOST: "数据库缺少已锚定的记录（可能恢复自旧备份），付款已停止，须两方确认",
    Reason.STORE_UNAVAILABLE: "系统暂时无法处理，请用同一请求编号重试",
    Reason.INTERNAL: "系统内部错误，请联系运维",
}


@dataclass(frozen=True)
class FieldViolation:
    """One field of the request that is wrong.

    Attributes:
        field: path of the field in the request message, such as ``payment.amount.amount_minor``.
        description: what is wrong with it, without repeating its value.
    """

    field: str
    description: str


@dataclass
class GatewayError(Exception):
    """A refusal that the caller is told about.

    Attributes:
        kind: what the caller can do about it.
        reason: the rule that refused.
        message: one English sentence, free of personal data and of secrets.
        metadata: every variable of the message, for programs (AIP-193).
        violations: the fields at fault, when the request itself is.
        subject: resource name the precondition is about, such as ``funds/f1/payments/p1``.
    """

    kind: Kind
    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    subject: str = ""

    def __str__(self) -> str:
        """The reason and the sentence."""
        return f"{self.reason}: {self.message}"

    @property
    def message_zh(self) -> str:
        """The same refusal for a Chinese reader."""
        return MESSAGES_ZH[self.reason]


def invalid(reason: Reason, path: str, description: str) -> GatewayError:
    """A refusal that names the one field at fault."""
    return GatewayError(
        Kind.INVALID,
        reason,
        f"{path}: {description}",
        {"field": path},
        (FieldViolation(path, description),),
    )


def precondition(reason: Reason, subject: str, message: str, **metadata: str) -> GatewayError:
    """A refusal because of the state of `subject`."""
    return GatewayError(Kind.PRECONDITION, reason, message, metadata, subject=subject)


def not_found(name: str) -> GatewayError:
    """No such resource, or none this caller may see: the two look the same on purpose."""
    return GatewayError(
        Kind.NOT_FOUND,
        Reason.RESOURCE_NOT_FOUND,
        f"{name} does not exist or is not yours to see",
        {"name": name},
        subject=name,
    )


def denied(reason: Reason, message: str, **metadata: str) -> GatewayError:
    """A refusal because of who is calling."""
    return GatewayError(Kind.DENIED, reason, message, metadata)
