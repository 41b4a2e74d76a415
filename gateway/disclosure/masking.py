"""What owners may read of the other side: an organisation in full, a person as surname and `*`.

Personal Information Protection Law art. 25, 28: nothing that names a private person goes public
without consent. A name is taken for a person's unless something in it says organisation, so that a
doubtful name is masked. The rules look at names and account numbers only: `summary` and `category`
of a line are written for the owners, by those who book, and are shown as they are.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_MASK: Final = "*"
_SHOWN_OF_ACCOUNT: Final = 4

_MARKS: Final = (
    *("公司", "集团", "委员会", "居委会", "业委会", "管委会", "合作社", "信用社", "事务所"),
    *("办事处", "派出所", "经营部", "门市部", "服务部", "维修部", "工作室"),
)
"""What no person's name has in it, if it is longer than a name can be."""

_COMMITTEES: Final = frozenset({"居委会", "业委会", "管委会", "派出所", "办事处"})
"""Organisations as short as a name."""

_LONG_ENDINGS: Final = (
    *("银行", "支行", "分行", "商行", "商场", "超市", "市场", "中心", "政府", "学校", "大学"),
    *("中学", "小学", "协会", "商会", "基地", "企业", "物业"),
)
"""What an organisation's name ends in."""

_SHORT_ENDINGS: Final = "厂店院局所站厅园部社"
"""The same, in a name of five characters or more."""

_LONGEST_PERSON: Final = 4
"""Two characters of surname and two of given name."""

_LATIN: Final = re.compile(
    r"\b(?:co\.|ltd|limited|llc|llp|inc|corp|corporation|company|gmbh|plc|bank|trust|university"
    r"|association|foundation|committee)(?!\w)",
    re.IGNORECASE,
)

_COMPOUND_SURNAMES: Final = frozenset(
    (
        *("欧阳", "上官", "司马", "诸葛", "东方", "独孤", "南宫", "夏侯", "皇甫", "尉迟", "公孙"),
        *("慕容", "司徒", "令狐", "宇文", "长孙", "轩辕", "端木", "百里", "呼延", "东郭", "西门"),
        *("公冶", "公羊", "澹台", "赫连", "淳于", "太史", "仲孙", "濮阳", "拓跋", "司寇", "鲜于"),
    )
)
"""Those whose first character is hardly a surname; after 单 or 万 the next may be a given name."""

_LAST_BRACKET: Final = re.compile(r"\([^()]*\)$")
_FORMS_IN_BRACKETS: Final = ("(有限合伙)", "(普通合伙)", "(特殊普通合伙)", "(集团)")
_MIDDLE_DOT: Final = re.compile(r"[·•・]")
_HAN: Final = re.compile(r"[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]")


@lru_cache(maxsize=4096)
def mask_counterparty(name: str) -> str:
    """The other side's name as owners may read it; empty stays empty.

    Of an organisation the last brackets are left out, unless they hold a legal form: a contact's
    name may stand there.
    """
    plain = " ".join(unicodedata.normalize("NFKC", name).split())
    bare = _without_last_brackets(plain)
    return bare if _is_organisation(bare) else _surname(plain)


def mask_account(account: str) -> str:
    """The last four characters of an account number, of a short one less; empty stays empty."""
    bare = "".join(unicodedata.normalize("NFKC", account).split())
    shown = min(_SHOWN_OF_ACCOUNT, len(bare) // 2)
    return bare[len(bare) - shown :]


def _without_last_brackets(name: str) -> str:
    bracket = _LAST_BRACKET.search(name)
    if bracket is None or bracket[0] in _FORMS_IN_BRACKETS:
        return name
    return name[: bracket.start()].rstrip()


def _is_organisation(name: str) -> bool:
    """Whether the name says that it is no person's."""
    if not _HAN.search(name):
        return bool(_LATIN.search(name))
    if name.endswith(_FORMS_IN_BRACKETS) or name in _COMMITTEES:
        return True
    if _fits_a_person(name):
        return False
    return any(mark in name for mark in _MARKS) or _ends_as_organisation(name)


def _ends_as_organisation(name: str) -> bool:
    """Whether an ending tells; one character does only in a name of five."""
    if _MIDDLE_DOT.search(name):
        return False
    short = name.endswith(tuple(_SHORT_ENDINGS)) and len(name) > _LONGEST_PERSON
    return short or name.endswith(_LONG_ENDINGS)


def _fits_a_person(name: str) -> bool:
    """Whether surname and two characters of given name are as long, whatever they mean."""
    return len(name) <= _LONGEST_PERSON - (not _has_compound_surname(name))


def _has_compound_surname(name: str) -> bool:
    """Whether two characters are the surname; there must be a given name behind them."""
    return len(name) > 2 and name[:2] in _COMPOUND_SURNAMES  # noqa: PLR2004 - two, as said


def _surname(name: str) -> str:
    """Surname and mask; of a name in another script the first letter and mask."""
    if not name:
        return ""
    return f"{name[: 2 if _has_compound_surname(name) else 1]}{_MASK}"
