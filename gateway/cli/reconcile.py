"""`xinyi reconcile`: two files against each other, without a gateway, and any run proved again."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.frame import Complaint, offline
from gateway.cli.labels import cause, rule
from gateway.cli.options import AsOf
from gateway.cli.screen import Column, Row, Screen, print_error, write_data
from gateway.cli.status import MISMATCH
from gateway.cli.text import minor
from gateway.domain.case_words import KINDS_ZH, word
from gateway.settings import Settings

if TYPE_CHECKING:
    from reconciliation.engines import Engine
    from reconciliation.offline import Summary
    from reconciliation.replay import Certificate

app = typer.Typer()


class _Engine(StrEnum):
    """Where shards are worked on."""

    local = "local"
    ray = "ray"


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


_EngineOption = Annotated[
    _Engine,
    typer.Option("--engine", help="Processes of this machine, or a Ray cluster; same results."),
]
_Bank = Annotated[Path | None, _file("Bank entries; required.")]
_Ledger = Annotated[Path | None, _file("Ledger lines; required.")]
_Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Gets matches, cases, explanations, summary, and what a replay needs; required.",
    ),
]


def reconcile(  # noqa: PLR0913, PLR0917 - each is an option of the command
    screen: Screen,
    context: typer.Context,
    bank: _Bank = None,
    ledger: _Ledger = None,
    out: _Out = None,
    rules: Annotated[Path | None, _file("TOML or JSON, if not the default rules.")] = None,
    as_of: AsOf = None,
    engine: _EngineOption = _Engine.local,
) -> int | None:
    """Match a bank file with a ledger file (Parquet or CSV) offline; mismatches become cases.

    Exit status: 0 everything matched or in transit, 1 mismatches, 2 failure.
    """
    if context.invoked_subcommand is not None:
        return None
    # Only these commands need the matching kernel, and loading it takes longer than `--help`.
    from reconciliation.engines import EngineError  # noqa: PLC0415 - as said above
    from reconciliation.frames import InputError  # noqa: PLC0415 - as said above
    from reconciliation.offline import reconcile_files  # noqa: PLC0415 - as said above
    from reconciliation.rules import RulesError  # noqa: PLC0415 - as said above

    files = (_required(bank, "bank"), _required(ledger, "ledger"), _required(out, "out"))
    try:
        chosen = _chosen(engine)
        summary = reconcile_files(*files, rules, as_of, print_error, engine=chosen)
    except (InputError, RulesError) as error:
        raise Complaint(str(error), "输入文件或规则有误") from None
    except EngineError as error:
        raise Complaint(str(error), "计算引擎不可用") from None
    if screen.as_json:
        write_data(summary.model_dump(mode="json"))
    else:
        _print(screen, summary)
    return None if _clean(summary) else MISMATCH


def _chosen(engine: _Engine) -> "Engine":
    from reconciliation.engines import engine_named  # noqa: PLC0415 - as said above

    return engine_named(engine.value, Settings().ray_address if engine is _Engine.ray else "")


def _required(path: Path | None, name: str) -> Path:
    """An option that only the group's own work needs, not its commands."""
    if path is None:
        raise typer.BadParameter(f"--{name} is required / 缺少 --{name}")
    return path


def _replay(
    screen: Screen,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A DIR of --out, or a run of the gateway kept here."),
    ],
    engine: _EngineOption = _Engine.local,
) -> int | None:
    """Prove a run: its kept input through the same kernel again, every byte compared.

    Exit status: 0 identical, 1 different, 2 the archive is not whole.
    """
    from reconciliation.archive import ArchiveError  # noqa: PLC0415 - as said above
    from reconciliation.engines import EngineError  # noqa: PLC0415 - as said above
    from reconciliation.replay import replay  # noqa: PLC0415 - as said above

    try:
        chosen = _chosen(engine)
        certificate = replay(_directory(run), print_error, chosen)
    except ArchiveError as error:
        raise Complaint(str(error), "存档不完整或已被改动") from None
    except EngineError as error:
        raise Complaint(str(error), "计算引擎不可用") from None
    if screen.as_json:
        write_data(certificate.model_dump(mode="json"))
    else:
        _print_certificate(screen, certificate)
    return None if certificate.identical else MISMATCH


offline(app, None)(reconcile)
offline(app, "replay")(_replay)


def _directory(run: str) -> Path:
    """A directory as it is; any other name is that of a run in the data directory."""
    return Path(run) if Path(run).is_dir() else Settings().nights_dir / run.rpartition("/")[2]


def _print_certificate(screen: Screen, certificate: "Certificate") -> None:
    verdict = screen.pick("一致", "identical"), screen.pick("不一致", "different")
    facts = (
        (("对账", "Run"), certificate.run),
        (("截至", "Up to"), certificate.as_of),
        (("输入摘要", "Input digest"), certificate.input_digest),
        (("规则版本", "Rules"), f"{certificate.rules_version} sha256:{certificate.rules_digest}"),
        (("降级规则", "Demoted rules"), ", ".join(certificate.demoted_rules)),
        (("分片", "Shards"), f"{certificate.shard_count:,}"),
        (("当时输出", "Output then"), certificate.recorded_digest),
        (("重放输出", "Output now"), certificate.recomputed_digest),
        (("当时程序库", "Libraries then"), _versions(certificate.recorded_libraries)),
        (("现在程序库", "Libraries now"), _versions(certificate.libraries)),
        (("结论", "Verdict"), verdict[0] if certificate.identical else verdict[1]),
        (("差异", "Difference"), certificate.difference),
    )
    screen.facts((screen.pick(*label), value) for label, value in facts if value)


def _versions(libraries: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(libraries.items()))


def _clean(summary: "Summary") -> bool:
    """What is in transit is expected; anything else open, or a proof that fails, is not."""
    named = set(summary.cases_by_kind) <= {"timing"} and not summary.proposed_by_rule
    return named and all(account.status == "proved" for account in summary.proof)


def _print(screen: Screen, summary: "Summary") -> None:
    screen.table(_MATCHES, _match_rows(summary, screen))
    screen.table(_CASES, _case_rows(summary, screen))
    screen.table(_PROOFS, _proof_rows(summary, screen))


def _match_rows(summary: "Summary", screen: Screen) -> Iterator[Row]:
    statuses = {
        "automatic": screen.pick("自动", "automatic"),
        "proposed": screen.pick("待确认", "proposed"),
    }
    for each in summary.matches:
        counts = (f"{each.matches:,}", f"{each.bank_entries:,}", f"{each.ledger_lines:,}")
        named = (statuses[each.status], rule(each.rule, screen.lang))
        yield *named, *counts, minor(each.amount_minor, each.currency)


def _case_rows(summary: "Summary", screen: Screen) -> Iterator[Row]:
    for each in summary.cases:
        sums = (
            minor(sum_minor, each.currency) for sum_minor in (each.bank_minor, each.ledger_minor)
        )
        kind = word(KINDS_ZH, each.kind.upper(), screen.lang)
        yield kind, cause(each.cause, screen.lang), f"{each.cases:,}", *sums


_VERDICTS_ZH: Final[Mapping[str, str]] = MappingProxyType(
    {
        "proved": "已平",
        "not_proved": "未平",
        "statement_missing": "缺对账单",
        "inconsistent": "期初加发生额不等于期末",
        "discontinuous": "期初不接上期期末",
        "unclassified": "有未归类的行",
        "difference": "有差额",
    }
)


def _proof_rows(summary: "Summary", screen: Screen) -> Iterator[Row]:
    for each in summary.proof:
        terms = (
            each.bank_closing_minor,
            each.ledger_balance_minor,
            each.open_bank_minor,
            each.open_ledger_minor,
            each.difference_minor,
        )
        amounts = (minor(term_minor, each.currency) for term_minor in terms)
        said = (word(_VERDICTS_ZH, name, screen.lang) for name in (each.status, *each.findings))
        yield each.account_id, each.date, *amounts, "; ".join(said)
