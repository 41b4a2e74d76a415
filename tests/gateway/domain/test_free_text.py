"""What is left out of what people write for everybody to read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.iso7064 import mod_11_2

from gateway.domain.free_text import mask_text

SALT = bytes(16)
IDENTITY_CARD = "110105194912310021"[:17]
IDENTITY_CARD += mod_11_2.calc_check_digit(IDENTITY_CARD)
CARD = "622202000000000"
CARD += luhn.calc_check_digit(CARD)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("请打13800138000找我", "请打[手机号已隐去]找我"),
        ("+86 138-0013-8000", "[手机号已隐去]"),
        ("１３８００１３８０００", "[手机号已隐去]"),
        ("20261120 13800138000", "20261120 [手机号已隐去]"),
        (f"身份证{IDENTITY_CARD}。", "身份证[证件号已隐去]。"),
        (f"{IDENTITY_CARD[:6]} {IDENTITY_CARD[6:14]} {IDENTITY_CARD[14:]}", "[证件号已隐去]"),
        (f"卡号{CARD}", "卡号[卡号已隐去]"),
        (f"2026 {CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]}", "2026 [卡号已隐去]"),
        ("邮箱wang.wu@example.com谢谢", "邮箱[邮箱已隐去]谢谢"),
        ("wang＠example．com", "[邮箱已隐去]"),
    ],
)
def test_a_number_that_leads_to_a_person_is_left_out(text: str, shown: str) -> None:
    assert mask_text(text, SALT) == shown


@pytest.mark.parametrize(
    "text",
    [
        "第16行 2026-11-20 支出 1,280.00 元，为什么？",
        "发票号 12345678901，合同 2026110100012345",
        f"票据 {int(CARD) + 1}",
        f"编号 {IDENTITY_CARD[:17]}{'0' if IDENTITY_CARD[17] != '0' else '1'}",
        "服务电话 028-85551234",
        "转账 138001380000 分",
        "10栋电梯年检，共120户，每户 12.50 元",
        "合同 12-3-2026，2026-11-20 付",
        "会议室 2 间，1单元门禁，302 号文件",
    ],
)
def test_amounts_days_and_numbers_of_documents_stay(text: str) -> None:
    assert mask_text(text, SALT) == text


@given(st.text(alphabet="0123456789 -@.aX，王\u3000１３栋单元室户", max_size=80))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = mask_text(text, SALT)
    assert mask_text(once, SALT) == once


@given(st.text(max_size=40), st.integers(3, 9), st.integers(0, 10**9 - 1))
def test_no_phone_number_comes_through_whatever_stands_around_it(
    around: str, second: int, rest: int
) -> None:
    phone = f"1{second}{rest:09}"
    text = f"{around}，{phone}，{around}"
    assert phone not in mask_text(text, SALT)


@pytest.mark.parametrize(
    "home",
    [
        *(
            "3栋1单元502室",
            "3栋1单元502",
            "3号楼 1单元 502户",
            "3#1单元502",
            "3-1-502",
            "3-1-502室",
        ),
        *("3幢1单元502号", "３栋１单元５０２室", "3座1单元-502"),
    ],
)
def test_a_home_has_one_pseudonym_however_it_is_written(home: str) -> None:
    shown = mask_text(f"{home}补交物业费", SALT)
    assert shown == mask_text("3-1-502补交物业费", SALT)
    assert re.fullmatch(r"\[住户[0-9a-f]{6}\]补交物业费", shown)


def test_another_home_has_another_pseudonym_and_so_has_another_fund_s() -> None:
    shown = {
        mask_text("3-1-502", SALT),
        mask_text("3-1-503", SALT),
        mask_text("3-1-502", bytes(15) + b"x"),
        mask_text("502室", SALT),
        mask_text("A座1203", SALT),
    }
    assert len(shown) == 5
    assert all(each.startswith("[住户") for each in shown)
