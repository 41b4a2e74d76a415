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
