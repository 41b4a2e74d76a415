"""Organisations in full, persons as surname and mask, accounts as their end."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.disclosure.masking import mask_account, mask_counterparty

_SURNAMES = st.sampled_from(
    [*"王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗单万", "欧阳", "上官", "司马", "诸葛", "皇甫"]
)
# Given names may end in what a short organisation's name ends in.
_GIVEN = st.one_of(
    st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=2),
    st.sampled_from(["院", "大院", "中心", "银行", "建所", "新厂", "学校", "超市", "小店", "光厅"]),
)
_SPACES = st.sampled_from(["", " ", "\u3000", "\t"])
_NOTES = st.sampled_from(["", "(业主)", "（退款）", "(3栋201)"])


@given(_SURNAMES, _GIVEN, _SPACES, _NOTES)
def test_a_persons_given_name_is_never_shown(
    surname: str, given_name: str, space: str, note: str
) -> None:
    shown = mask_counterparty(f"{space}{surname}{given_name}{note}{space}")

    assert shown == f"{surname}*"


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_no_more_than_four_characters_of_an_account_are_shown(account: str) -> None:
    shown = mask_account(account)

    bare = "".join(unicodedata.normalize("NFKC", account).split())
    assert len(shown) <= 4
    assert bare.endswith(shown)
    assert len(shown) <= len(bare) // 2


@pytest.mark.parametrize(
    "name",
    [
        "成都锦江物业服务有限公司",
        "某某电梯维修有限责任公司",
        "锦官城小区业主委员会",
        "国网四川省电力公司成都供电局",
        "中国银行",
        "居委会",
        "第三小学",
        "晨光五金店",
        "社区卫生服务中心",
        "锦江环卫所",
        "某某企业管理中心(有限合伙)",
        "ACME Elevators Co., Ltd",
        "Stadtwerke GmbH",
    ],
)
def test_an_organisation_is_shown_in_full(name: str) -> None:
    assert mask_counterparty(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", ""),
        ("张三", "张*"),
        ("张三（个体工商户）", "张*"),
        ("王大院", "王*"),
        ("王集团", "王*"),
        ("东方", "东*"),
        ("欧阳大院", "欧阳*"),
        ("阿依古丽·买买提", "阿*"),
        ("ZHANG SAN", "Z*"),
        ("成都锦江（集团）有限公司(李四)", "成都锦江(集团)有限公司"),
        ("3栋2单元301王五", "3*"),
    ],
)
def test_a_doubtful_name_is_masked(name: str, shown: str) -> None:
    assert mask_counterparty(name) == shown


@pytest.mark.parametrize(
    ("account", "shown"),
    [("", ""), ("6222 0000 1234 5678", "5678"), ("1234", "34"), ("7", "")],
)
def test_an_account_is_its_last_four_characters(account: str, shown: str) -> None:
    assert mask_account(account) == shown
