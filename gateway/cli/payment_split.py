"""`xinyi payment split`: one bill of several funds made into a payment file for each of them."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import typer
from xinyi.v1.duty_service_pb2 import DisclosureRules, GetDisclosureRulesRequest, ShareBasis

from gateway.cli.frame import Complaint, Session
from gateway.cli.labels import prefix
from gateway.cli.options import InputFile, resource
from gateway.cli.payment_file import COLUMNS, Request, read_requests
from gateway.cli.screen import Column, Row, write_data
from gateway.client import call
from gateway.domain.money import format_minor
from gateway.domain.split import Basis, split, square_metres

MAX_PURPOSE: Final = 140
"""Characters, as the contract has it."""

_COLUMNS = (
    Column("基金", "Fund"),
    Column("份额", "Part", right=True),
    Column("用途", "Purpose", prose=True),
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the estates have published of how they divide a bill.

    Attributes:
        basis: what the weights are, the same in all.
        weights: by fund id.
        versions: of each fund's rules, by fund id.
    """

    basis: Basis
    weights: Mapping[str, int]
    versions: Mapping[str, int]

    def told(self, fund: str) -> str:
        """``按面积 12,345.67/52,630.58 m²，规则第 2 版``."""
        own, whole = self.weights[fund], sum(self.weights.values())
        match self.basis:
            case Basis.AREA:
                by = f"按面积 {square_metres(own)}/{square_metres(whole)} m²"
            case Basis.HOUSEHOLDS:
                by = f"按户数 {own}/{whole}"
            case Basis.EQUAL:
                by = f"均摊 1/{whole}"
        return f"{by}，规则第 {self.versions[fund]} 版"


async def split_bill(
    session: Session,
    file: InputFile,
    funds: Annotated[
        list[str],
        typer.Option("--fund", parser=resource("funds"), metavar="FUND", help="Who pays a part."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where each fund's file goes.")],
) -> None:
    """Divide the payments of a file over funds: DIR/FUND.csv for `xinyi payment submit-batch`.

    Each fund pays its own part from its own account, by the share that its estate has published:
    `xinyi estate rules`. The parts come to the bill to the fen, by the largest remainder; of equal
    remainders the fund whose id comes first pays the fen.
    """
    rule = await _published(session, funds)
    parts = _parts(read_requests(file), rule)
    _write(out, parts)
    if session.screen.as_json:
        write_data({fund: [_named(each) for each in asked] for fund, asked in parts.items()})
    else:
        rows = [_row(fund, each) for fund, asked in parts.items() for each in asked]
        session.screen.table(_COLUMNS, rows)


async def _published(session: Session, funds: Sequence[str]) -> _Rule:
    rules = {fund.removeprefix("funds/"): await _rules_of(session, fund) for fund in funds}
    bases = {each.bill_share.basis for each in rules.values()}
    if len(bases) > 1:
        zh = "各小区公布的分摊依据不同，不能一起分摊"
        raise Complaint("the estates have published shares of different kinds", zh)
    return _Rule(
        Basis(ShareBasis.Name(bases.pop()).removeprefix(prefix(ShareBasis))),
        {fund: each.bill_share.weight for fund, each in rules.items()},
        {fund: each.version for fund, each in rules.items()},
    )


async def _rules_of(session: Session, fund: str) -> DisclosureRules:
    request = GetDisclosureRulesRequest(parent=fund)
    rules = (await call(session.stubs.duties.GetDisclosureRules, request)).disclosure_rules
    if not rules.HasField("bill_share"):
        zh = f"{fund} 没有公布分摊份额，见 `xinyi estate set-rules --share`"
        raise Complaint(f"{fund} has published no share, see `xinyi estate set-rules --share`", zh)
    return rules


def _parts(bills: Sequence[Request], rule: _Rule) -> dict[str, list[Request]]:
    """What each fund asks for; a fund whose part is nothing asks for nothing."""
    parts = dict[str, list[Request]]()
    for bill in bills:
        if "/" in bill.budget_line:
            zh = "预算科目应只写编号，各基金用各自的"
            raise Complaint(f"line {bill.line}: give the budget line by its id alone", zh)
        for part in split(bill.amount_minor, rule.weights):
            if part.amount_minor:
                purpose = _purpose(bill, part.amount_minor, rule.told(part.fund_id))
                own = replace(bill, amount_minor=part.amount_minor, purpose=purpose)
                parts.setdefault(part.fund_id, []).append(own)
    return parts


def _purpose(bill: Request, part_minor: int, told: str) -> str:
    """What for, and how the part came about, as the owners read it on their line."""
    part, whole = (format_minor(each, "CNY") for each in (part_minor, bill.amount_minor))
    purpose = f"{bill.purpose}（份额 {part} / 全部 {whole}，{told}）"
    if len(purpose) > MAX_PURPOSE:
        raise Complaint(f"line {bill.line}: the purpose is too long", "用途加份额说明后过长")
    return purpose


def _write(folder: Path, parts: Mapping[str, Sequence[Request]]) -> None:
    """A file a fund; none is written where one of them is there already."""
    files = {fund: folder / f"{fund}.csv" for fund in parts}
    for path in files.values():
        if path.exists():
            raise Complaint(f"{path} is there already", "文件已存在，不覆盖")
    folder.mkdir(parents=True, exist_ok=True)
    for fund, path in files.items():
        with path.open("x", encoding="utf-8", newline="") as opened:
            writer = csv.DictWriter(opened, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(_named(each) for each in parts[fund])


def _named(asked: Request) -> dict[str, str]:
    name, account, bank_code, part_minor, purpose, budget_line, _ = astuple(asked)
    cells = (name, account, bank_code, format_minor(part_minor, "CNY"), purpose, budget_line)
    return dict(zip(COLUMNS, cells, strict=True))


def _row(fund: str, asked: Request) -> Row:
    return fund, format_minor(asked.amount_minor, "CNY"), asked.purpose
