"""One bill of several funds, made into a payment file for each of them by what they published."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from xinyi.v1 import duty_service_pb2 as duty

from gateway.cli.payment_file import COLUMNS, read_requests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from tests.gateway.cli.fake import FakeGateway

AREA, HOUSEHOLDS = duty.SHARE_BASIS_AREA, duty.SHARE_BASIS_HOUSEHOLDS
EQUAL = duty.SHARE_BASIS_EQUAL
PAYEE = "示例电梯有限公司,6222,105651000016"
BILL = f'{",".join(COLUMNS)}\n{PAYEE},"{{amount}}",{{purpose}},{{line}}\n'


@pytest.fixture
def bill(tmp_path: Path) -> Callable[..., None]:
    def write(amount: str = "100,000.00", purpose: str = "电梯维保", line: str = "lifts") -> None:
        text = BILL.format(amount=amount, purpose=purpose, line=line)
        (tmp_path / "bill.csv").write_text(text, "utf-8")

    return write


@pytest.fixture
def split(zhao: Callable[..., Result], fake: FakeGateway) -> Callable[..., Result]:
    """Divides the bill over funds whose estates have published these shares."""

    def run(**shares: tuple[duty.ShareBasis.ValueType, int] | None) -> Result:
        fake.turns["GetDisclosureRules"] = [
            duty.GetDisclosureRulesResponse(
                disclosure_rules=duty.DisclosureRules(
                    version=2,
                    bill_share=share and duty.BillShare(basis=share[0], weight=share[1]),
                )
            )
            for share in shares.values()
        ]
        funds = [word for fund in shares for word in ("--fund", fund)]
        return zhao("payment", "split", "bill.csv", *funds, "--out", "parts")

    return run


def test_each_fund_gets_a_file_of_its_part_that_says_how_it_came_about(
    split: Callable[..., Result], bill: Callable[..., None], fake: FakeGateway, tmp_path: Path
) -> None:
    bill()
    done = split(wutong=(AREA, 1_234_567), jinjiang=(AREA, 4_028_491))
    assert done.exit_code == 0
    [own], [other] = (read_requests(tmp_path / f"parts/{f}.csv") for f in ("wutong", "jinjiang"))
    assert own.amount_minor + other.amount_minor == 10_000_000
    assert own.amount_minor == round(Fraction(10_000_000 * 1_234_567, 5_263_058))
    told = "份额 23,457.22 / 全部 100,000.00，按面积 12,345.67/52,630.58 m²，规则第 2 版"
    assert own.purpose == f"电梯维保（{told}）"
    assert (own.payee_name, own.budget_line) == ("示例电梯有限公司", "lifts")
    assert "23,457.22" in done.stdout
    asked = [request.parent for [request] in fake.requests("GetDisclosureRules")]
    assert asked == ["funds/wutong", "funds/jinjiang"]


def test_nothing_is_overwritten(
    split: Callable[..., Result], bill: Callable[..., None], tmp_path: Path
) -> None:
    bill()
    assert split(b=(EQUAL, 1)).exit_code == 0
    assert split(a=(EQUAL, 1), b=(EQUAL, 1)).exit_code == 2
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["b.csv"]


def test_a_fund_whose_part_is_nothing_has_no_file(
    split: Callable[..., Result], bill: Callable[..., None], tmp_path: Path
) -> None:
    bill("0.01")
    assert split(a=(HOUSEHOLDS, 1), b=(HOUSEHOLDS, 9)).exit_code == 0
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["b.csv"]


@pytest.mark.parametrize(
    ("shares", "fault", "why"),
    [
        ({"a": (EQUAL, 1), "b": None}, {}, "b 没有公布分摊份额"),
        ({"a": (EQUAL, 1), "b": (AREA, 1)}, {}, "分摊依据不同"),
        ({"a": (EQUAL, 1)}, {"purpose": "长" * 140}, "过长"),
        ({"a": (EQUAL, 1)}, {"line": "funds/a/budgetLines/lifts"}, "预算科目"),
    ],
)
def test_what_cannot_be_divided_leaves_no_file(
    shares: dict[str, tuple[duty.ShareBasis.ValueType, int] | None],
    fault: dict[str, str],
    why: str,
    split: Callable[..., Result],
    bill: Callable[..., None],
    tmp_path: Path,
) -> None:
    bill(**fault)
    done = split(**shares)
    assert done.exit_code == 2
    assert why in done.stderr
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize(
    ("given", "basis", "weight"),
    [("area:12,345.67", AREA, 1_234_567), ("households:820", HOUSEHOLDS, 820), ("equal", EQUAL, 1)],
)
def test_a_share_is_proposed_with_the_rules(
    given: str, basis: int, weight: int, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetDisclosureRules"] = duty.GetDisclosureRulesResponse()
    fake.answers["SetDisclosureRules"] = duty.SetDisclosureRulesResponse()
    assert zhao("estate", "set-rules", "f1", "--share", given).exit_code == 0
    [[asked]] = fake.requests("SetDisclosureRules")
    share = asked.disclosure_rules.bill_share
    assert (share.basis, share.weight) == (basis, weight)


@pytest.mark.parametrize("given", ["area", "area:soon", "households:1.5", "equal:2", "floors:3"])
def test_what_is_no_share_is_not_proposed(
    given: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    fake.answers["GetDisclosureRules"] = duty.GetDisclosureRulesResponse()
    assert zhao("estate", "set-rules", "f1", "--share", given).exit_code == 2
    assert fake.requests("SetDisclosureRules") == []
