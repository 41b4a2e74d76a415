"""The demo's world, as data: six funds on four estates, two firms, one trustee, one bank.

The fourth estate is a group of three old compounds under one management (连片管理): one firm, one
committee, three funds. Everybody is named by what they do; nobody here is a real person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.domain.party import Role

BANK: Final = "demo"
"""Id of the bank profile."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who acts for a party.

    Attributes:
        party: id of the party.
        person: id within the party.
        display_name: what they do.
        role: what they may do.
        limit_yuan: the largest payment they may sign; 0 for who never signs.
        human: names the human behind; one human can be two persons.
    """

    party: str
    person: str
    display_name: str
    role: Role
    limit_yuan: int = 0
    human: str = ""

    @property
    def key(self) -> str:
        """How commands name them: ``party/person``."""
        return f"{self.party}/{self.person}"


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget line of a fund, in yuan."""

    budget_id: str
    book: str
    category: str
    limit_yuan: int


@dataclass(frozen=True, slots=True)
class Estate:
    """An estate, its fund of the same id, and who serves it."""

    estate_id: str
    display_name: str
    group: str
    firm: str
    committee: str
    account_number: str
    opening_minor: int
    employees: int
    """How many wages are paid as one batch; 0 for none."""


TRUSTEE: Final = "xinyi-trust"
OPERATOR: Final = "gateway"
SUPERVISOR: Final = "community"
FIRM_A, FIRM_B = "anju", "hexin"

PARTIES: Final = {
    OPERATOR: "信义网关运营部",
    TRUSTEE: "蓉信信托有限公司",
    FIRM_A: "安居物业服务有限公司",
    FIRM_B: "和馨物业管理有限公司",
    SUPERVISOR: "红星社区居民委员会",
    "wutong-committee": "梧桐苑业主委员会",
    "jinjiang-committee": "锦江花园业主委员会",
    "xiangyang-committee": "向阳小区业主委员会",
    "dongfeng-committee": "东风院落联合业主委员会",
    "wutong-owners": "梧桐苑全体业主",
}

OPERATOR_PERSON: Final = Person(OPERATOR, "operator", "运营员", Role.OPERATOR)
MAKER: Final = Person(TRUSTEE, "maker", "信托经办", Role.TRUSTEE_MAKER)
CHECKER: Final = Person(TRUSTEE, "checker", "信托复核", Role.TRUSTEE_CHECKER, 500_000)
CHAIR_AS_CHECKER: Final = Person(
    TRUSTEE, "checker-2", "信托复核（兼任）", Role.TRUSTEE_CHECKER, 500_000, human="wutong-chair"
)
"""The chair of one committee who also works for the trustee: never both signatures."""

CHAIRS: Final = {
    committee: Person(
        committee, "chair", "业委会主任", Role.OWNERS_COMMITTEE, 200_000, human=f"{name}-chair"
    )
    for committee, name in (
        ("wutong-committee", "wutong"),
        ("jinjiang-committee", "jinjiang"),
        ("xiangyang-committee", "xiangyang"),
        ("dongfeng-committee", "dongfeng"),
    )
}

CASHIERS: Final = {
    firm: Person(firm, "cashier", "物业出纳", Role.PROPERTY_FIRM) for firm in (FIRM_A, FIRM_B)
}

PEOPLE: Final = (
    OPERATOR_PERSON,
    MAKER,
    CHECKER,
    CHAIR_AS_CHECKER,
    Person(SUPERVISOR, "supervisor", "信托监察人", Role.SUPERVISOR),
    Person("wutong-owners", "owner", "业主", Role.OWNER),
    *CASHIERS.values(),
    *CHAIRS.values(),
)

ESTATES: Final = (
    Estate("wutong", "梧桐苑", "", FIRM_A, "wutong-committee", "6222010000000001", 86_500_000, 20),
    Estate(
        "jinjiang", "锦江花园", "", FIRM_A, "jinjiang-committee", "6222010000000002", 52_340_000, 12
    ),
    Estate(
        "xiangyang",
        "向阳小区",
        "",
        FIRM_B,
        "xiangyang-committee",
        "6222010000000003",
        30_120_050,
        0,
    ),
    *(
        Estate(
            f"dongfeng-{number}",
            f"东风院落 {number} 号院",
            "dongfeng",
            FIRM_B,
            "dongfeng-committee",
            f"622201000000010{number}",
            4_000_000 + 310_025 * number,
            0,
        )
        for number in (1, 2, 3)
    ),
)

BUDGETS: Final = (
    Budget("wages", "COMMON", "工资社保", 120_000),
    Budget("upkeep", "COMMON", "共用部分运行维护", 60_000),
    Budget("cleaning", "COMMON", "清洁", 8_000),
    Budget("power", "COMMON", "公共水电", 20_000),
    Budget("greening", "COMMON", "绿化", 6_000),
)

ORDINARY: Final = (
    # budget line, purpose, payee, amount in fen
    ("cleaning", "垃圾袋采购", "锦蓉日杂用品有限公司", 48_650),
    ("power", "公共区域电费", "城市供电有限公司", 326_418),
    ("upkeep", "门禁系统维修", "安达智能设备有限公司", 128_000),
    ("greening", "绿化修剪", "青禾园林服务有限公司", 96_000),
    ("upkeep", "消防设施检测", "平安消防检测有限公司", 210_000),
)
"""What every fund pays on the day."""

FEES: Final = (
    # category, summary, amount in fen, how many
    ("本期物业费收入", "物业费", 18_360, 6),
    ("停车收入", "地面停车费", 30_000, 3),
    ("广告收入", "电梯广告费", 150_000, 1),
)
"""What every fund receives on the day."""
