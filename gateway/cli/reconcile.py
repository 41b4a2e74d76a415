"""`xinyi reconcile`: two files against each other, without a gateway."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.frame import Complaint
from gateway.cli.options import AsOf
from gateway.cli.screen import Column, Row, Screen, print_error, write_data
from gateway.cli.status import MISMATCH
from gateway.cli.text import minor

if TYPE_CHECKING:
    from reconciliation.offline import Summary


def _file(summary: str) -> Any:  # noqa: ANN401 - as typer declares it
    return typer.Option(metavar="FILE", exists=True, dir_okay=False, readable=True, help=summary)


_MATCHES = (
    Column("方式", "Status"),
    Column("规则", "Rule"),
    Column("匹配", "Matches", right=True),
    Column("银行笔数", "Bank entries", right=True),
    Column("账上笔数", "Ledger lines", right=True),
    Column("金额", "Amount", right=True),
)
_CASES = (
    Column("差异", "Case"),
    Column("原因", "Cause"),
    Column("数量", "Cases", right=True),
    Column("银行金额", "Bank", right=True),
    Column("账上金额", "Ledger", right=True),
)
_PROOFS = (
    Column("账户", "Account"),
    Column("日期", "Day"),
    Column("银行期末", "Bank closing", right=True),
    Column("账面余额", "Ledger", right=True),
    Column("银行未达", "Open bank", right=True),
    Column("账面未达", "Open ledger", right=True),
    Column("差额", "Difference", right=True),
    Column("结论", "Result", prose=True),
)


def reconcile(
    screen: Screen,
    bank: Annotated[Path, _file("Bank entries.")],
    ledger: Annotated[Path, _file("Ledger lines.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets matches, cases, explanations, summary.")
    ],
    rules: Annotated[Path | None, _file("TOML or JSON, if not the default rules.")] = None,
    as_of: AsOf = None,
) -> int | None:
    """Match a bank file with a ledger file (Parquet or CSV) offline; mismatches become cases.

    Exit status: 0 everything matched or in transit, 1 mismatches, 2 failure.
    """
    # Only this command needs the matching kernel, and loading it takes longer than `--help`.
    from reconciliation.frames import InputError  # noqa: PLC0415 - as said above
    from reconciliation.offline import reconcile_files  # noqa: PLC0415 - as said above
    from reconciliation.rules import RulesError  # noqa: PLC0415 - as said above

    try:
        summary = reconcile_files(bank, ledger, out, rules, as_of, print_error)
    except (InputError, RulesError) as error:
        raise Complaint(str(error), "输入文件或规则有误") from None
    if screen.as_json:
        write_data(summary.model_dump(mode="json"))
    else:
        _print(screen, summary)
    return None if _clean(summary) else MISMATCH


def _clean(summary: "Summary") -> bool:
    """What is in transit is expected; anything else open, or a proof that fails, is not."""
    named = set(summary.cases_by_kind) <= {"timing"} and not summary.proposed_by_rule
    return named and all(account.status == "proved" for account in summary.proof)


def _print(screen: Screen, summary: "Summary") -> None:
    screen.table(_MATCHES, _match_rows(summary))
    screen.table(_CASES, _case_rows(summary))
    screen.table(_PROOFS, _proof_rows(summary))


def _match_rows(summary: "Summary") -> Iterator[Row]:
    for each in summary.matches:
        counts = (f"{each.matches:,}", f"{each.bank_entries:,}", f"{each.ledger_lines:,}")
        yield each.status, each.rule, *counts, minor(each.amount_minor, each.currency)


def _case_rows(summary: "Summary") -> Iterator[Row]:
    for each in summary.cases:
        sums = (
            minor(sum_minor, each.currency) for sum_minor in (each.bank_minor, each.ledger_minor)
        )
        yield each.kind, each.cause, f"{each.cases:,}", *sums


def _proof_rows(summary: "Summary") -> Iterator[Row]:
    for each in summary.proof:
        terms = (
            each.bank_closing_minor,
            each.ledger_balance_minor,
            each.open_bank_minor,
            each.open_ledger_minor,
            each.difference_minor,
        )
        amounts = (minor(term_minor, each.currency) for term_minor in terms)
        yield each.account_id, each.date, *amounts, "; ".join((each.status, *each.findings))
