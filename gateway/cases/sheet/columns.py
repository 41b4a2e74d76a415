"""The columns of a file of cases, and how a text stands in its cells."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from gateway.domain import case_words as words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.domain.describe import Language

Format = Literal["xlsx", "csv"]

ETAG: Final = "v:"
"""Before every etag: alone it may look like a number, and a spreadsheet would make it one."""
RISKY: Final = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
"""What a spreadsheet takes for a formula, and what was quoted because of that."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its headings, its width in characters; of one to fill in, what to write there."""

    key: str
    zh: str
    en: str
    width: int
    hint_zh: str = ""
    hint_en: str = ""

    @property
    def fill(self) -> bool:
        """Whether a person fills it in."""
        return bool(self.hint_zh)

    def heading(self, language: Language) -> str:
        """What stands above it."""
        return self.zh if language == "zh" else self.en

    def hint(self, language: Language) -> str:
        """What a spreadsheet says of its cells."""
        return self.hint_zh if language == "zh" else self.hint_en


COLUMNS: Final = (
    Column("case", "差异", "Case", 24),
    Column("part", "续行", "Part", 6),
    Column("kind", "种类", "Kind", 14),
    Column("cause", "原因", "Cause", 18),
    Column("detail", "说明", "Detail", 36),
    Column("amount", "差额", "Amount", 16),
    Column("weight", "未决金额", "Open amount", 16),
    Column("currency", "币种", "Currency", 8),
    Column("oldest", "最早日期", "Oldest day", 12),
    Column("age", "天数", "Age in days", 8),
    Column("due", "到期日", "Due", 12),
    Column("state", "状态", "State", 10),
    Column("assignee", "经办", "Assignee", 20),
    Column("account", "账户", "Account", 24),
    Column("bank", "银行侧", "Bank side", 60),
    Column("ledger", "账上侧", "Ledger side", 60),
    Column(
        *("action", "处理", "Action", 12),
        hint_zh="选一种做法；留空则不处理这一行",
        hint_en="Choose what to do; left empty, the row is left alone",
    ),
    Column(
        *("allocations", "分配", "Allocations", 30),
        hint_zh="留空：差异中全部未决金额。部分匹配如 E:编号=-15.00; L:12，正负同原行",
        hint_en="Empty: all that is open. A part: E:ID=-15.00; L:12, signed as the row is",
    ),
    Column(
        *("book", "账簿", "Book", 14),
        hint_zh="调账、核销时必填",
        hint_en="For adjust and write off",
    ),
    Column(
        *("category", "科目", "Category", 16),
        hint_zh="调账时必填，如 银行手续费",
        hint_en="For adjust, such as 银行手续费",
    ),
    Column(
        *("summary", "摘要", "Summary", 24),
        hint_zh="调账时必填；业主会看到，勿写个人姓名",
        hint_en="For adjust; the owners read it: no private names",
    ),
    Column(
        *("wait_until", "等待至", "Wait until", 12),
        hint_zh="等待时必填，最多 92 天",
        hint_en="For wait, 92 days ahead at most",
    ),
    Column(
        *("bank_reference", "银行查询号", "Bank reference", 16),
        hint_zh="退银行时可填银行的查询编号",
        hint_en="For send back, the bank's number of the inquiry, if there is one",
    ),
    Column(
        *("reason", "理由", "Reason", 36),
        hint_zh="必填；复核人据此判断，勿写个人姓名",
        hint_en="Always; who approves it was not there. No private names",
    ),
    Column("etag", "版本", "Version", 12),
)

LISTS: Final[Mapping[str, Mapping[str, str]]] = {
    "action": words.ACTIONS_ZH,
    "book": words.BOOKS_ZH,
}
"""What may stand in a cell to fill in, by the name of its column: names, and how they are shown."""


def plain(text: str) -> str:
    """The text with every control character but the line feed as a visible escape."""
    return "".join(
        ascii(each)[1:-1] if unicodedata.category(each) == "Cc" and each != "\n" else each
        for each in text
    )
