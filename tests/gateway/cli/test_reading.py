from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from xinyi.v1 import bank_service_pb2 as bank
from xinyi.v1 import common_pb2 as common
from xinyi.v1 import disclosure_service_pb2 as disclosure
from xinyi.v1 import duty_service_pb2 as duty
from xinyi.v1 import fund_service_pb2 as fund
from xinyi.v1 import ledger_service_pb2 as ledger
from xinyi.v1 import party_service_pb2 as party
from xinyi.v1 import payment_service_pb2 as payment
from xinyi.v1 import question_service_pb2 as question
from xinyi.v1 import reconciliation_service_pb2 as reconciliation

from gateway.cli import screen
from gateway.cli.labels import RULES_ZH, ZH, choices, label, prefix
from gateway.domain.case_words import CAUSES_ZH
from reconciliation.matching import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result
    from google.protobuf.message import Message

    from tests.gateway.cli.fake import FakeGateway

NASTY = "x\x1b[31m\u202e[b]y"

READS: list[tuple[str, type[Message]]] = [
    ("whoami", party.GetCallerResponse),
    ("party list", party.ListPartiesResponse),
    ("party show firm", party.GetPartyResponse),
    ("party persons firm", party.ListPersonsResponse),
    ("party certificates firm/zhao", party.ListCertificatesResponse),
    ("party keys firm/zhao", party.ListPublicKeysResponse),
    ("party mandates firm/zhao", party.ListMandatesResponse),
    ("party record firm --kind missing-detail", duty.GetFirmRecordResponse),
    ("estate list", fund.ListEstatesResponse),
    ("estate clocks f1", duty.ListPeriodsResponse),
    ("estate rules f1", duty.GetDisclosureRulesResponse),
    ("fund list", fund.ListFundsResponse),
    ("fund show f1", fund.GetFundResponse),
    ("fund balance f1 --as-of 2026-11-22", ledger.GetBalanceResponse),
    ("fund budget f1", fund.ListBudgetLinesResponse),
    ("fund policy f1", fund.GetSigningPolicyResponse),
    ("fund accounts f1", fund.ListBankAccountsResponse),
    ("payment show funds/f1/payments/p1", payment.GetPaymentResponse),
    ("payment list --fund f1", payment.ListPaymentsResponse),
    ("line list --fund f1 --book common", disclosure.ListDisclosedLinesResponse),
    ("line show f1/7", disclosure.GetDisclosedLineResponse),
    ("question list --state open", question.ListQuestionsResponse),
    ("question show f1/q1", question.GetQuestionResponse),
    ("ledger lines --fund f1 --kind transit", ledger.ListLinesResponse),
    ("bank statements --fund f1", bank.ListStatementsResponse),
    ("bank entries --fund f1 --only-open", bank.ListBankEntriesResponse),
    ("bank transmissions", bank.ListTransmissionsResponse),
    ("bank quarantine list --all", bank.ListQuarantinedFilesResponse),
    ("run show", reconciliation.GetRunResponse),
    ("run list", reconciliation.ListRunsResponse),
    ("run proofs latest", reconciliation.ListBalanceProofsResponse),
    ("case list --kind timing --kind returned", reconciliation.ListCasesResponse),
    ("case show funds/f1/cases/c1", reconciliation.GetCaseResponse),
    ("resolution list --state proposed", reconciliation.ListResolutionsResponse),
    ("match list --fund f1 --entry e1", reconciliation.ListMatchesResponse),
    ("match show f1/m1/r1", reconciliation.GetMatchResponse),
    ("rule list", reconciliation.ListRuleRecordsResponse),
]
SAY_SO_WHERE_EMPTY = ("case list", "resolution list", "match list", "run list", "rule list")
ONLY_AMOUNTS = {
    "fund policy f1": "0.01",
    "fund balance f1 --as-of 2026-11-22": "-1,234.56",
}
KINDS = (
    common.Role,
    common.Book,
    payment.PaymentState,
    disclosure.LineState,
    ledger.AccountKind,
    bank.TransmissionState,
    reconciliation.CaseKind,
    reconciliation.CaseSide,
    reconciliation.RunState,
    reconciliation.CaseState,
    reconciliation.CaseOrder,
    reconciliation.ResolutionAction,
    reconciliation.ResolutionState,
    reconciliation.EvidenceResult,
    question.QuestionState,
    duty.DisclosureCycle,
    duty.PeriodState,
    duty.FactKind,
)


def filled(message: Any) -> Any:
    """The message with something in every field, text that a terminal must not obey included."""
    for field in message.DESCRIPTOR.fields:
        if field.name == "next_page_token":
            continue
        if field.message_type is not None:
            inner = filled(field.message_type._concrete_class())
            target = getattr(message, field.name)
            (target.add() if field.is_repeated else target).CopyFrom(inner)
        elif field.is_repeated:
            getattr(message, field.name).append(_value(field))
        else:
            setattr(message, field.name, _value(field))
    return message


def _value(field: Any) -> Any:
    by_name = {"year": 2026, "month": 11, "day": 22, "currency": "CNY", "amount_minor": -123456}
    by_type = {FieldDescriptor.TYPE_STRING: NASTY, FieldDescriptor.TYPE_BYTES: b"\x00\xff"}
    return by_name.get(field.name, by_type.get(field.type, 1))


def answered(fake: FakeGateway, kind: type[Message]) -> Any:
    method = kind.DESCRIPTOR.name.removesuffix("Response")
    answer = filled(kind())
    fake.answers[method] = answer
    fake.answers.setdefault("ListQuestions", filled(question.ListQuestionsResponse()))
    fake.answers["GetFund"] = (
        answer if method == "GetFund" else fund.GetFundResponse(fund=fund.Fund(currency="CNY"))
    )
    return answer


@pytest.mark.parametrize(("command", "kind"), READS)
def test_json_on_stdout_is_the_answer_and_nothing_else(
    command: str, kind: type[Message], zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    answer = answered(fake, kind)
    result = zhao(*command.split(), "--json")
    assert json_format.Parse(result.stdout, kind()) == answer
    assert all(each.isprintable() or each == "\n" for each in result.stdout)


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize(("command", "kind"), READS)
def test_a_table_shows_the_answer_and_obeys_none_of_its_text(
    command: str, kind: type[Message], lang: str, zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    answered(fake, kind)
    result = zhao(*command.split(), "--lang", lang)
    assert result.exit_code == (1 if command == "run show" else 0)
    assert all(each.isprintable() or each == "\n" for each in result.stdout)
    shown = ONLY_AMOUNTS.get(command, "x\\x1b[31m\\u202e[b]y")
    assert shown in result.stdout


@pytest.mark.parametrize(("command", "kind"), READS)
def test_an_empty_answer_is_no_failure(
    command: str, kind: type[Message], zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    answered(fake, kind)
    fake.answers[kind.DESCRIPTOR.name.removesuffix("Response")] = kind()
    result = zhao(*command.split())
    assert result.exit_code == 0
    assert bool(result.stderr) == command.startswith(SAY_SO_WHERE_EMPTY)


def test_amounts_stand_in_one_column_to_the_right(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    amounts = [5, 123456, -100000000]
    entries = [
        bank.BankEntry(amount=common.Money(amount_minor=each, currency="CNY")) for each in amounts
    ]
    fake.answers["ListBankEntries"] = bank.ListBankEntriesResponse(bank_entries=entries)
    lines = zhao("bank", "entries", "--fund", "f1").stdout.splitlines()
    ends = {
        line.index(shown) + len(shown)
        for line in lines
        for shown in ("0.05", "1,234.56", "-1,000,000.00")
        if shown in line
    }
    assert len(ends) == 1


def test_a_narrow_terminal_folds_prose_and_leaves_names_and_amounts_whole(
    zhao: Callable[..., Result], fake: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "_PIPE_WIDTH", 40)
    case = reconciliation.Case(
        name=f"funds/f1/cases/{'ab' * 16}",
        detail="一" * 200,
        amount=common.Money(amount_minor=-(10**15), currency="CNY"),
    )
    fake.answers["ListCases"] = reconciliation.ListCasesResponse(cases=[case])
    shown = zhao("case", "list").stdout
    assert "f1/abababab" in shown
    assert "-10,000,000,000,000.00" in shown
    assert shown.count("一") == 200


def test_received_and_paid_stand_in_columns_of_their_own(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    amounts = (common.Money(amount_minor=each, currency="CNY") for each in (700, -300))
    lines = [disclosure.DisclosedLine(number=1, amount=amount) for amount in amounts]
    fake.answers["ListDisclosedLines"] = disclosure.ListDisclosedLinesResponse(lines=lines)
    received, paid = zhao("line", "list", "--fund", "f1").stdout.splitlines()[-3:-1]
    assert received.index("7.00") < paid.index("3.00")
    assert "-" not in paid


def test_a_group_is_summed_up_instead_of_a_fund_and_never_both(
    zhao: Callable[..., Result], fake: FakeGateway
) -> None:
    closing = common.Money(amount_minor=12345, currency="CNY")
    book = disclosure.BookSummary(book=common.BOOK_COMMON, closing=closing)
    fund_of_group = disclosure.FundOfGroup(fund="funds/f1", books=[book])
    fake.answers["GetGroupSummary"] = disclosure.GetGroupSummaryResponse(
        funds=[fund_of_group], totals=[disclosure.GroupTotal(currency="CNY", books=[book])]
    )
    months = ("line", "summary", "--from", "2026-10")
    shown = zhao(*months, "--group", "城南片区")
    assert shown.exit_code == 0
    assert "123.45" in shown.stdout
    assert "互不混用" in shown.stderr
    [[asked]] = fake.requests("GetGroupSummary")
    assert (asked.group, asked.last_month) == ("城南片区", "2026-10")
    assert zhao(*months, "--group", "城南片区", "--fund", "f1").exit_code == 2
    assert zhao(*months).exit_code == 2


def test_filters_reach_the_gateway(zhao: Callable[..., Result], fake: FakeGateway) -> None:
    fake.answers["ListDisclosedLines"] = disclosure.ListDisclosedLinesResponse()
    fake.answers["ListCases"] = reconciliation.ListCasesResponse()
    days = ("--from", "2026-11-01", "--to", "2026-11-30")
    zhao("line", "list", "--fund", "funds/f1", "--state", "pending", *days)
    zhao("case", "list", "--kind", "amount-differs")
    fake.answers["ListTransmissions"] = bank.ListTransmissionsResponse()
    zhao("bank", "transmissions")
    [[asked]], [[cases]] = map(fake.requests, ("ListDisclosedLines", "ListCases"))
    [[transmissions]] = fake.requests("ListTransmissions")
    assert transmissions.parent == ""
    assert (asked.parent, asked.state) == ("funds/f1", disclosure.LINE_STATE_PENDING)
    assert (asked.start_date.day, asked.end_date.day) == (1, 30)
    assert (cases.parent, list(cases.filter.kinds)) == (
        "funds/-",
        [reconciliation.CASE_KIND_AMOUNT_DIFFERS],
    )


@pytest.mark.parametrize(
    ("counts", "beyond_transit", "status"),
    [
        ({}, 0, 0),
        ({"case_count": 1}, 1, 1),
        ({"case_count": 1}, 0, 0),
        ({"unproved_account_count": 1}, 0, 1),
    ],
)
def test_a_night_with_mismatches_ends_with_status_one_and_transit_alone_is_none(
    counts: dict[str, Any],
    beyond_transit: int,
    status: int,
    zhao: Callable[..., Result],
    fake: FakeGateway,
) -> None:
    run = reconciliation.Run(name="reconciliationRuns/r1", **counts)
    cases = [reconciliation.Case(name="funds/f1/cases/c1")] * beyond_transit
    fake.answers["ListCases"] = reconciliation.ListCasesResponse(cases=cases)
    fake.answers["StartRun"] = reconciliation.StartRunResponse(run=run)
    result = zhao("run", "start", "--date", "2026-11-22", "--json")
    assert result.exit_code == status
    assert json.loads(result.stdout)["run"]["name"] == "reconciliationRuns/r1"
    for (asked,) in fake.requests("ListCases"):
        assert reconciliation.CASE_KIND_TIMING not in asked.filter.kinds


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_of_the_contract_has_a_chinese_label(kind: Any) -> None:
    names = {prefix(kind) + choice for choice in choices(kind)}
    assert names <= set(ZH)
    assert len({label(kind, number, "zh") for number in kind.values()}) == len(kind.values())


def test_every_rule_and_what_it_only_proposes_has_a_chinese_name() -> None:
    assert set(kernel.RULES) <= set(RULES_ZH)
    assert {f"proposed_{rule}" for rule in kernel.RULES if rule != "pin"} <= set(CAUSES_ZH)


def test_a_name_that_only_a_newer_gateway_knows_is_shown_by_its_number() -> None:
    assert label(payment.PaymentState, 99, "zh") == "99"
