from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gateway.domain.describe import describe
from gateway.domain.errors import GatewayError
from gateway.domain.payload import canonical_bytes
from tests.gateway.domain.examples import FIELDS, payload

if TYPE_CHECKING:
    from gateway.domain.describe import Language

BYTES = canonical_bytes(payload())
AGAIN = canonical_bytes(
    payload(
        resend={
            "attempt": "2",
            "payment_sha256": "ef" * 32,
            "transmission": "transmissions/m1",
            "missed_on": ("2024-05-31", "2024-06-01"),
            "stated_until": "2024-06-02",
        }
    )
)
WHOLE = {
    "zh": [
        ("再次发送", "第 2 次：银行未曾收到此前的文件"),
        ("未收到的文件", "transmissions/m1"),
        ("银行查无此付款的日期", "2024-05-31、2024-06-01"),
        ("对账单无此付款，截至", "2024-06-02"),
        ("首次签署内容（SHA-256）", "ef" * 32),
        ("收款人", "成都某某电梯有限公司"),
        ("收款账号", "6222020000000001"),
        ("收款行联行号", "102651000018"),
        ("金额", "1,409.50 CNY"),
        ("金额（大写）", "壹仟肆佰零玖元伍角"),
        ("用途", "五月电梯维修"),
        ("预算科目", "funds/f1/budgetLines/lift"),
        ("付款编号", "funds/f1/payments/p1"),
        ("付款基金", "funds/f1"),
        ("小区", "estates/e1"),
        ("环境", "test"),
        ("有效期自", "2024-05-31T08:00:00Z（世界协调时）"),
        ("有效期至", "2024-06-07T08:00:00Z（世界协调时）"),
        ("签名 1", "业主委员会或物业公司"),
        ("签名 2", "受托人复核"),
        ("签署规则版本", "1"),
        ("凭证 1（SHA-256）", "ab" * 32),
        ("凭证 2（SHA-256）", "cd" * 32),
        ("随机数", "0123456789abcdef" * 2),
        ("格式", "xinyi.payment/v1"),
    ],
    "en": [
        ("Sent again", "attempt 2: the bank never had the file before"),
        ("Lost file", "transmissions/m1"),
        ("The bank did not know it on", "2024-05-31, 2024-06-01"),
        ("Statements lack it until", "2024-06-02"),
        ("First signed bytes (SHA-256)", "ef" * 32),
        ("Payee", "成都某某电梯有限公司"),
        ("Payee account", "6222020000000001"),
        ("Payee bank code", "102651000018"),
        ("Amount", "1,409.50 CNY"),
        ("Purpose", "五月电梯维修"),
        ("Budget line", "funds/f1/budgetLines/lift"),
        ("Payment", "funds/f1/payments/p1"),
        ("Fund", "funds/f1"),
        ("Estate", "estates/e1"),
        ("Environment", "test"),
        ("Valid from", "2024-05-31T08:00:00Z (UTC)"),
        ("Valid until", "2024-06-07T08:00:00Z (UTC)"),
        ("Signature 1", "owners' committee or property firm"),
        ("Signature 2", "trustee checker"),
        ("Signing policy version", "1"),
        ("Voucher 1 (SHA-256)", "ab" * 32),
        ("Voucher 2 (SHA-256)", "cd" * 32),
        ("Nonce", "0123456789abcdef" * 2),
        ("Schema", "xinyi.payment/v1"),
    ],
}


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_everything_stands_under_its_own_label_in_the_order_it_should_be_read(
    lang: Language,
) -> None:
    """A signer who sees one account under the other's label signs something else."""
    assert describe(AGAIN, lang) == WHOLE[lang]


def test_a_chinese_signer_reads_the_amount_in_figures_and_in_capitals() -> None:
    shown = dict(describe(BYTES, "zh"))
    assert shown["收款人"] == "成都某某电梯有限公司"
    assert shown["金额"] == "1,409.50 CNY"
    assert shown["金额（大写）"] == "壹仟肆佰零玖元伍角"
    assert (shown["签名 1"], shown["签名 2"]) == ("业主委员会或物业公司", "受托人复核")


def test_an_english_signer_reads_the_same() -> None:
    shown = dict(describe(BYTES, "en"))
    assert shown["Payee"] == "成都某某电梯有限公司"
    assert shown["Amount"] == "1,409.50 CNY"
    assert shown["Signature 1"] == "owners' committee or property firm"


def test_capitals_are_for_renminbi_only() -> None:
    shown = dict(describe(canonical_bytes(payload(currency="USD")), "zh"))
    assert shown["金额"] == "1,409.50 USD"
    assert "金额（大写）" not in shown


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("field", sorted(set(FIELDS) - {"amount_minor", "required_roles"}))
def test_nothing_that_is_signed_is_kept_from_the_signer(field: str, lang: Language) -> None:
    shown = " ".join(text for _, text in describe(BYTES, lang))
    value = json.loads(BYTES)[field]
    assert all(each in shown for each in ([value] if isinstance(value, str) else value))


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize(
    "changes",
    [
        {"payee_name": "另一公司"},
        {"payee_account": "6222020000000002"},
        {"amount_minor": "140951"},
        {"vouchers": ("ab" * 32,)},
        {"required_roles": (("TRUSTEE_CHECKER",), ("TRUSTEE_CHECKER",))},
    ],
)
def test_a_swapped_field_is_seen(changes: dict[str, object], lang: Language) -> None:
    swapped = {**json.loads(BYTES), **changes}
    data = json.dumps(swapped, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    assert describe(data, lang) != describe(BYTES, lang)


@pytest.mark.parametrize("data", [b"", b"{}", BYTES + b" ", BYTES.replace("成".encode(), b"\\n")])
def test_what_cannot_be_read_exactly_is_not_shown_at_all(data: bytes) -> None:
    with pytest.raises(GatewayError):
        describe(data, "zh")
