"""What a signer is shown before signing, rendered from the signed bytes and from nothing else."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from gateway.domain.capitals import in_capitals
from gateway.domain.money import Money
from gateway.domain.party import ROLES_ZH, Role
from gateway.domain.payload import parse_payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.domain.payload import PaymentPayload

Language = Literal["zh", "en"]

_ROLES_EN: Mapping[Role, str] = MappingProxyType(
    {
        Role.PROPERTY_FIRM: "property firm",
        Role.OWNERS_COMMITTEE: "owners' committee",
        Role.TRUSTEE_CHECKER: "trustee checker",
    }
)


def describe(payload: bytes, lang: Language) -> list[tuple[str, str]]:
    """Label and text of everything the bytes say, in the order a person should read it.

    Args:
        payload: the bytes about to be signed.
        lang: ``zh`` (with the amount in capitals too, for renminbi) or ``en``.

    Raises:
        GatewayError: whatever `parse_payload` refuses: what cannot be shown must not be signed.
    """
    said = parse_payload(payload)
    return list(_in_chinese(said) if lang == "zh" else _in_english(said))


def _in_chinese(said: PaymentPayload) -> Iterator[tuple[str, str]]:
    if again := said.resend:
        yield "再次发送", f"第 {again.attempt} 次：银行未曾收到此前的文件"
        yield "未收到的文件", again.transmission
        yield "银行查无此付款的日期", "、".join(again.missed_on)
        yield "对账单无此付款，截至", again.stated_until
        yield "首次签署内容（SHA-256）", again.payment_sha256
    amount = _amount(said)
    yield "收款人", said.payee_name
    yield "收款账号", said.payee_account
    yield "收款行联行号", said.payee_bank_code
    yield "金额", str(amount)
    if amount.currency == "CNY":
        yield "金额（大写）", in_capitals(amount.amount_minor)
    yield "用途", said.purpose
    yield "预算科目", said.budget_line
    yield "付款编号", said.payment
    yield "付款基金", said.fund
    yield "小区", said.estate
    yield "环境", said.environment
    yield "有效期自", f"{said.not_before}（世界协调时）"
    yield "有效期至", f"{said.expires}（世界协调时）"
    for number, slot in enumerate(said.required_roles, start=1):
        yield f"签名 {number}", "或".join(ROLES_ZH[role] for role in slot)
    yield "签署规则版本", said.policy_version
    for number, digest in enumerate(said.vouchers, start=1):
        yield f"凭证 {number}（SHA-256）", digest
    yield "随机数", said.nonce
    yield "格式", said.schema_


def _in_english(said: PaymentPayload) -> Iterator[tuple[str, str]]:
    if again := said.resend:
        yield "Sent again", f"attempt {again.attempt}: the bank never had the file before"
        yield "Lost file", again.transmission
        yield "The bank did not know it on", ", ".join(again.missed_on)
        yield "Statements lack it until", again.stated_until
        yield "First signed bytes (SHA-256)", again.payment_sha256
    yield "Payee", said.payee_name
    yield "Payee account", said.payee_account
    yield "Payee bank code", said.payee_bank_code
    yield "Amount", str(_amount(said))
    yield "Purpose", said.purpose
    yield "Budget line", said.budget_line
    yield "Payment", said.payment
    yield "Fund", said.fund
    yield "Estate", said.estate
    yield "Environment", said.environment
    yield "Valid from", f"{said.not_before} (UTC)"
    yield "Valid until", f"{said.expires} (UTC)"
    for number, slot in enumerate(said.required_roles, start=1):
        yield f"Signature {number}", " or ".join(_ROLES_EN[role] for role in slot)
    yield "Signing policy version", said.policy_version
    for number, digest in enumerate(said.vouchers, start=1):
        yield f"Voucher {number} (SHA-256)", digest
    yield "Nonce", said.nonce
    yield "Schema", said.schema_


def _amount(said: PaymentPayload) -> Money:
    return Money(int(said.amount_minor), said.currency)
