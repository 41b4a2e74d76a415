"""FundService over the wire: estates and funds are seen by who is appointed, and by nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type import date_pb2  # type: ignore[import-untyped] # it ships no stubs
from grpc import StatusCode
from xinyi.v1 import common_pb2
from xinyi.v1 import fund_service_pb2 as pb
from xinyi.v1 import ledger_service_pb2 as ledger

from tests.gateway.support import (
    ACCOUNT_NUMBERS,
    APPOINTED,
    BANK_CODE,
    CHAIR,
    CHECKER,
    FIRM,
    MAKER,
    OPENING_MINOR,
    OPERATOR,
    OTHER_FIRM,
    OWNER,
    Callers,
    confirm,
    refusal,
    request_id,
)

ROLE = common_pb2.Role
DAY = date_pb2.Date(year=2026, month=11, day=1)


def _money(amount_minor: int, currency: str = "CNY") -> common_pb2.Money:
    return common_pb2.Money(amount_minor=amount_minor, currency=currency)


def _account(**fields: Any) -> pb.CreateBankAccountRequest:
    given: dict[str, Any] = {
        "account_number": "6222010000009999",
        "holder_name": "信托财产专户",
        "bank_code": BANK_CODE,
        "bank_profile": "demo",
        "opening_balance": _money(500),
        "opening_date": DAY,
        **fields,
    }
    return pb.CreateBankAccountRequest(
        parent="funds/wutong",
        bank_account_id="second",
        bank_account=pb.BankAccount(**given),
        request_id=request_id(),
    )


def _budget(fund_id: str = "wutong", **fields: Any) -> pb.CreateBudgetLineRequest:
    given: dict[str, Any] = {
        "book": common_pb2.BOOK_MAINTENANCE,
        "category": "维修",
        "display_name": "电梯",
        "limit": _money(1000),
        "start_date": DAY,
        "end_date": DAY,
        **fields,
    }
    return pb.CreateBudgetLineRequest(
        parent=f"funds/{fund_id}",
        budget_line_id="lift",
        budget_line=pb.BudgetLine(**given),
        request_id=request_id(),
    )


def _policy(version: int, *ends: int) -> pb.SetSigningPolicyRequest:
    tiers = [
        pb.SigningTier(
            up_to_minor=end,
            first_roles=[ROLE.ROLE_PROPERTY_FIRM, ROLE.ROLE_OWNERS_COMMITTEE],
            second_roles=[ROLE.ROLE_TRUSTEE_CHECKER],
        )
        for end in ends
    ]
    return pb.SetSigningPolicyRequest(
        parent="funds/wutong",
        signing_policy=pb.SigningPolicy(version=version, tiers=tiers),
        request_id=request_id(),
    )


# --- who sees what ---


async def test_caller_sees_the_estates_and_funds_of_the_own_party_only(callers: Callers) -> None:
    for who, seen in (
        (OPERATOR, ["jinjiang", "wutong"]),
        (CHECKER, ["jinjiang", "wutong"]),
        (FIRM, ["wutong"]),
        (OTHER_FIRM, ["jinjiang"]),
        (OWNER, ["wutong"]),
    ):
        funds = (await callers.as_(who)).funds
        estates = await funds.ListEstates(pb.ListEstatesRequest())
        assert [estate.name for estate in estates.estates] == [f"estates/{each}" for each in seen]
        listed = await funds.ListFunds(pb.ListFundsRequest())
        assert [fund.name for fund in listed.funds] == [f"funds/{each}" for each in seen]


async def test_estate_and_fund_of_others_look_the_same_as_none(callers: Callers) -> None:
    funds = (await callers.as_(CHAIR)).funds
    for estate_id in ("jinjiang", "nowhere"):
        name, parent = f"estates/{estate_id}", f"funds/{estate_id}"
        for answer in (
            funds.GetEstate(pb.GetEstateRequest(name=name)),
            funds.ListAppointments(pb.ListAppointmentsRequest(parent=name)),
            funds.GetFund(pb.GetFundRequest(name=parent)),
            funds.ListBankAccounts(pb.ListBankAccountsRequest(parent=parent)),
            funds.ListBudgetLines(pb.ListBudgetLinesRequest(parent=parent)),
            funds.GetSigningPolicy(pb.GetSigningPolicyRequest(parent=parent)),
        ):
            assert (await refusal(answer)).code is StatusCode.NOT_FOUND


async def test_appointment_opens_an_estate_and_its_end_closes_it(callers: Callers) -> None:
    operator, firm = (await callers.as_(OPERATOR)).funds, (await callers.as_(FIRM)).funds
    get = pb.GetFundRequest(name="funds/jinjiang")
    proposed = await operator.CreateAppointment(
        pb.CreateAppointmentRequest(
            parent="estates/jinjiang",
            appointment=pb.Appointment(party="parties/anju"),
            request_id=request_id(),
        )
    )
    await confirm(callers, CHECKER, proposed.change)
    assert (await firm.GetFund(get)).fund.name == "funds/jinjiang"
    await operator.EndAppointment(
        pb.EndAppointmentRequest(name="estates/jinjiang/appointments/anju", request_id=request_id())
    )
    assert (await refusal(firm.GetFund(get))).code is StatusCode.NOT_FOUND


async def test_appointed_party_sees_who_else_is_appointed(callers: Callers) -> None:
    funds = (await callers.as_(FIRM)).funds
    listed = await funds.ListAppointments(pb.ListAppointmentsRequest(parent="estates/wutong"))
    parties = [appointment.party for appointment in listed.appointments]
    assert parties == sorted(f"parties/{party_id}" for party_id in APPOINTED["wutong"])


# --- estates and funds ---


async def test_new_estate_and_fund_begin_with_two_empty_books(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    estate = await operator.funds.CreateEstate(
        pb.CreateEstateRequest(
            estate_id="new",
            estate=pb.Estate(display_name="新小区", group="east"),
            request_id=request_id(),
        )
    )
    fund = await operator.funds.CreateFund(
        pb.CreateFundRequest(
            fund_id="new",
            fund=pb.Fund(estate="estates/new", display_name="新基金", trustee="parties/trust"),
            request_id=request_id(),
        )
    )
    assert fund.fund.currency == "CNY"
    group = await operator.funds.ListFunds(pb.ListFundsRequest(group="east"))
    assert list(group.funds) == [fund.fund]
    group_estates = await operator.funds.ListEstates(pb.ListEstatesRequest(group="east"))
    assert list(group_estates.estates) == [estate.estate]
    balance = await operator.ledger.GetBalance(ledger.GetBalanceRequest(parent="funds/new"))
    assert [(book.book, book.total.amount_minor) for book in balance.books] == [
        (common_pb2.BOOK_COMMON, 0),
        (common_pb2.BOOK_MAINTENANCE, 0),
    ]


@pytest.mark.parametrize(
    ("fund_id", "estate", "trustee", "reason"),
    [
        ("wutong", "estates/wutong", "parties/trust", "RESOURCE_EXISTS"),
        ("second", "estates/wutong", "parties/trust", "RESOURCE_EXISTS"),
        ("new", "estates/none", "parties/trust", "RESOURCE_NOT_FOUND"),
        ("new", "estates/wutong", "parties/none", "RESOURCE_NOT_FOUND"),
    ],
)
async def test_fund_that_cannot_be_is_refused(
    callers: Callers, fund_id: str, estate: str, trustee: str, reason: str
) -> None:
    """One fund an estate, and never a second."""
    funds = (await callers.as_(OPERATOR)).funds
    fund = pb.Fund(estate=estate, display_name="x", trustee=trustee)
    refused = await refusal(
        funds.CreateFund(pb.CreateFundRequest(fund_id=fund_id, fund=fund, request_id=request_id()))
    )
    assert refused.reason == reason


async def test_renamed_fund_keeps_everything_else(callers: Callers) -> None:
    funds = (await callers.as_(OPERATOR)).funds
    before = (await funds.GetFund(pb.GetFundRequest(name="funds/wutong"))).fund
    asked = pb.Fund()
    asked.CopyFrom(before)
    asked.display_name, asked.trustee = "新名", "parties/anju"

    def request() -> pb.UpdateFundRequest:
        return pb.UpdateFundRequest(
            fund=asked, update_mask=FieldMask(paths=["display_name"]), request_id=request_id()
        )

    after = (await funds.UpdateFund(request())).fund
    assert (after.display_name, after.trustee) == ("新名", before.trustee)
    assert (await refusal(funds.UpdateFund(request()))).reason == "ETAG_MISMATCH"


# --- bank accounts ---


async def test_opening_balance_is_at_the_bank_and_in_the_common_book(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    await operator.funds.CreateBankAccount(_account())
    balance = await operator.ledger.GetBalance(ledger.GetBalanceRequest(parent="funds/wutong"))
    assert balance.bank.amount_minor == OPENING_MINOR + 500
    assert balance.transit.amount_minor == 0
    assert balance.books[0].total.amount_minor == OPENING_MINOR + 500


@pytest.mark.parametrize(
    ("fields", "reason", "path"),
    [
        (
            {"bank_code": f"{BANK_CODE[:-1]}{(int(BANK_CODE[-1]) + 1) % 10}"},
            "FIELD_INVALID",
            "bank_account.bank_code",
        ),
        ({"bank_profile": "no-bank"}, "FIELD_INVALID", "bank_account.bank_profile"),
        (
            {"opening_balance": _money(-1)},
            "AMOUNT_OUT_OF_RANGE",
            "bank_account.opening_balance.amount_minor",
        ),
        (
            {"opening_balance": _money(1, "USD")},
            "CURRENCY_MISMATCH",
            "bank_account.opening_balance.currency",
        ),
        (
            {"opening_date": date_pb2.Date(year=2026, month=2, day=30)},
            "FIELD_INVALID",
            "bank_account.opening_date",
        ),
    ],
)
async def test_bank_account_that_cannot_be_is_refused_with_its_path(
    callers: Callers, fields: dict[str, Any], reason: str, path: str
) -> None:
    funds = (await callers.as_(OPERATOR)).funds
    refused = await refusal(funds.CreateBankAccount(_account(**fields)))
    assert refused.reason == reason
    assert [violation.field for violation in refused.violations] == [path]


async def test_account_of_another_fund_is_never_a_second_funds(callers: Callers) -> None:
    funds = (await callers.as_(OPERATOR)).funds
    taken = _account(account_number=ACCOUNT_NUMBERS["jinjiang"])
    assert (await refusal(funds.CreateBankAccount(taken))).reason == "RESOURCE_EXISTS"


# --- budget lines ---


async def test_trustee_adds_a_budget_line_and_changes_its_limit(callers: Callers) -> None:
    funds = (await callers.as_(MAKER)).funds
    line = (await funds.CreateBudgetLine(_budget())).budget_line
    assert line.available == _money(1000)
    line.limit.amount_minor, line.display_name = 2000, "不改"
    changed = await funds.UpdateBudgetLine(
        pb.UpdateBudgetLineRequest(
            budget_line=line, update_mask=FieldMask(paths=["limit"]), request_id=request_id()
        )
    )
    assert changed.budget_line.available == _money(2000)
    assert changed.budget_line.display_name == "电梯"
    listed = await funds.ListBudgetLines(pb.ListBudgetLinesRequest(parent="funds/wutong"))
    assert changed.budget_line in listed.budget_lines


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"limit": _money(-1)}, "AMOUNT_OUT_OF_RANGE"),
        ({"limit": _money(1, "USD")}, "CURRENCY_MISMATCH"),
        ({"start_date": date_pb2.Date(year=2027, month=1, day=1)}, "FIELD_INVALID"),
    ],
)
async def test_budget_line_that_cannot_be_is_refused(
    callers: Callers, fields: dict[str, Any], reason: str
) -> None:
    funds = (await callers.as_(MAKER)).funds
    assert (await refusal(funds.CreateBudgetLine(_budget(**fields)))).reason == reason


# --- signing policy ---


async def test_next_policy_counts_up_and_is_in_force(callers: Callers) -> None:
    funds = (await callers.as_(OPERATOR)).funds
    proposed = await funds.SetSigningPolicy(_policy(1, 100_000, 0))
    put = proposed.signing_policy
    await confirm(callers, CHECKER, proposed.change)
    assert put.version == 2
    get = pb.GetSigningPolicyRequest(parent="funds/wutong")
    assert (await funds.GetSigningPolicy(get)).signing_policy == put
    assert [tier.up_to_minor for tier in put.tiers] == [100_000, 0]


@pytest.mark.parametrize(
    ("version", "ends", "reason"),
    [
        (0, (0,), "ETAG_MISMATCH"),
        (7, (0,), "ETAG_MISMATCH"),
        (1, (100,), "FIELD_INVALID"),
        (1, (0, 0), "FIELD_INVALID"),
        (1, (200, 100, 0), "FIELD_INVALID"),
    ],
)
async def test_policy_that_is_late_or_unsound_is_refused(
    callers: Callers, version: int, ends: tuple[int, ...], reason: str
) -> None:
    funds = (await callers.as_(OPERATOR)).funds
    refused = await refusal(funds.SetSigningPolicy(_policy(version, *ends)))
    assert refused.reason == reason
