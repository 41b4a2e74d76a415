"""FundService: estates, their funds, and what a fund is made of."""

# ruff: noqa: N802, ARG002, D102 - names and words are the contract's; the edge uses the context

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from xinyi.v1 import common_pb2, fund_service_pb2_grpc
from xinyi.v1 import fund_service_pb2 as pb

from gateway.domain.policy import Tier
from gateway.registry import funds as register
from gateway.registry.changes import Subject
from gateway.rpc.caller import current_caller
from gateway.rpc.convert import (
    day,
    day_of,
    enum_name,
    fund_id_of,
    masked_paths,
    minor_of,
    moment,
    money,
    role_number,
    roles_of,
    split_name,
)
from gateway.rpc.once import once
from gateway.rpc.paging import next_token, page_of
from gateway.rpc.proposal import Proposal, propose, record_end
from gateway.store import GATEWAY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.clock import Clock
    from gateway.store import Row, Store

_CURRENCY: Final = "CNY"
"""Of a fund that names none."""

_ESTATE, _PARTY = "estates/{}", "parties/{}"


class FundServicer(fund_service_pb2_grpc.FundServiceServicer):
    """The estates, and the one fund of each."""

    def __init__(self, store: Store, clock: Clock, banks: Banks) -> None:
        self._store = store
        self._clock = clock
        self._banks = banks

    # --- estates ---

    async def CreateEstate(
        self, request: pb.CreateEstateRequest, context: object
    ) -> pb.CreateEstateResponse:
        async def work(conn: AsyncConnection) -> pb.CreateEstateResponse:
            row = await register.create_estate(
                conn,
                request.estate_id,
                display_name=request.estate.display_name,
                group=request.estate.group,
                now=self._clock(),
            )
            return pb.CreateEstateResponse(estate=_estate(row))

        return await once(self._store, current_caller(), request, pb.CreateEstateResponse, work)

    async def GetEstate(
        self, request: pb.GetEstateRequest, context: object
    ) -> pb.GetEstateResponse:
        scope = current_caller().scope
        (estate_id,) = split_name(request.name, _ESTATE)
        async with self._store.transaction(scope) as conn:
            row = await register.get_estate(conn, scope, estate_id)
        return pb.GetEstateResponse(estate=_estate(row))

    async def ListEstates(
        self, request: pb.ListEstatesRequest, context: object
    ) -> pb.ListEstatesResponse:
        scope = current_caller().scope
        key = f"ListEstates/{request.group}"
        page = page_of(request, key)
        async with self._store.transaction(scope) as conn:
            rows = await register.list_estates(
                conn, scope, group=request.group, after=page.after_id, limit=page.fetch
            )
        return pb.ListEstatesResponse(
            estates=map(_estate, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (row.estate_id,)),
        )

    # --- appointments ---

    async def CreateAppointment(
        self, request: pb.CreateAppointmentRequest, context: object
    ) -> pb.CreateAppointmentResponse:
        return await propose(
            self._store, self._clock, APPOINTMENT, request, pb.CreateAppointmentResponse
        )

    async def EndAppointment(
        self, request: pb.EndAppointmentRequest, context: object
    ) -> pb.EndAppointmentResponse:
        async def work(conn: AsyncConnection) -> pb.EndAppointmentResponse:
            estate_id, party_id = split_name(request.name, f"{_ESTATE}/appointments/{{}}")
            now = self._clock()
            row = await register.end_appointment(conn, estate_id, party_id, now=now)
            if row.ended_at == now:
                await record_end(conn, request.name, Subject(estate_id, party_id), now)
            return pb.EndAppointmentResponse(appointment=_appointment(row))

        return await once(self._store, current_caller(), request, pb.EndAppointmentResponse, work)

    async def ListAppointments(
        self, request: pb.ListAppointmentsRequest, context: object
    ) -> pb.ListAppointmentsResponse:
        scope = current_caller().scope
        key = f"ListAppointments/{request.parent}"
        page = page_of(request, key)
        (estate_id,) = split_name(request.parent, _ESTATE, "parent")
        async with self._store.transaction(scope) as conn:
            await register.get_estate(conn, scope, estate_id)
        # The estate is the caller's; who else is appointed to it shows in the gateway's scope only.
        async with self._store.transaction(GATEWAY) as conn:
            rows = await register.list_appointments(
                conn, estate_id, after=page.after_id, limit=page.fetch
            )
        return pb.ListAppointmentsResponse(
            appointments=map(_appointment, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (row.party_id,)),
        )

    # --- funds ---

    async def CreateFund(
        self, request: pb.CreateFundRequest, context: object
    ) -> pb.CreateFundResponse:
        async def work(conn: AsyncConnection) -> pb.CreateFundResponse:
            fund = request.fund
            (estate_id,) = split_name(fund.estate, _ESTATE, "fund.estate")
            (trustee_id,) = split_name(fund.trustee, _PARTY, "fund.trustee")
            row = await register.create_fund(
                conn,
                request.fund_id,
                estate_id=estate_id,
                display_name=fund.display_name,
                trustee_id=trustee_id,
                currency=fund.currency or _CURRENCY,
                now=self._clock(),
            )
            return pb.CreateFundResponse(fund=_fund(row))

        return await once(self._store, current_caller(), request, pb.CreateFundResponse, work)

    async def GetFund(self, request: pb.GetFundRequest, context: object) -> pb.GetFundResponse:
        scope = current_caller().scope
        async with self._store.transaction(scope) as conn:
            row = await register.get_fund(conn, scope, fund_id_of(request.name))
        return pb.GetFundResponse(fund=_fund(row))

    async def ListFunds(
        self, request: pb.ListFundsRequest, context: object
    ) -> pb.ListFundsResponse:
        scope = current_caller().scope
        key = f"ListFunds/{request.group}"
        page = page_of(request, key)
        async with self._store.transaction(scope) as conn:
            rows = await register.list_funds(
                conn, scope, group=request.group, after=page.after_id, limit=page.fetch
            )
        return pb.ListFundsResponse(
            funds=map(_fund, rows[: page.size]),
            next_page_token=next_token(key, rows, page.size, lambda row: (row.fund_id,)),
        )

    async def UpdateFund(
        self, request: pb.UpdateFundRequest, context: object
    ) -> pb.UpdateFundResponse:
        async def work(conn: AsyncConnection) -> pb.UpdateFundResponse:
            masked_paths(request.update_mask, {"display_name"})
            (fund_id,) = split_name(request.fund.name, "funds/{}", "fund.name")
            row = await register.rename_fund(
                conn, fund_id, display_name=request.fund.display_name, etag=request.fund.etag
            )
            return pb.UpdateFundResponse(fund=_fund(row))

        return await once(self._store, current_caller(), request, pb.UpdateFundResponse, work)

    # --- bank accounts ---

    async def CreateBankAccount(
        self, request: pb.CreateBankAccountRequest, context: object
    ) -> pb.CreateBankAccountResponse:
        async def work(conn: AsyncConnection) -> pb.CreateBankAccountResponse:
            asked = request.bank_account
            fund = await register.get_fund(conn, GATEWAY, fund_id_of(request.parent))
            row = await register.create_bank_account(
                conn,
                fund.fund_id,
                request.bank_account_id,
                account_number=asked.account_number,
                holder_name=asked.holder_name,
                bank_code=asked.bank_code,
                profile_id=asked.bank_profile,
                opening_minor=minor_of(
                    asked.opening_balance, fund.currency, "bank_account.opening_balance"
                ),
                opening_date=day_of(asked.opening_date, "bank_account.opening_date"),
                banks=self._banks,
                now=self._clock(),
            )
            return pb.CreateBankAccountResponse(bank_account=_bank_account(row, fund.currency))

        return await once(
            self._store, current_caller(), request, pb.CreateBankAccountResponse, work
        )

    async def ListBankAccounts(
        self, request: pb.ListBankAccountsRequest, context: object
    ) -> pb.ListBankAccountsResponse:
        scope = current_caller().scope
        key = f"ListBankAccounts/{request.parent}"
        page = page_of(request, key)
        async with self._store.transaction(scope) as conn:
            fund = await register.get_fund(conn, scope, fund_id_of(request.parent))
            rows = await register.list_bank_accounts(
                conn, scope, fund.fund_id, after=page.after_id, limit=page.fetch
            )
        return pb.ListBankAccountsResponse(
            bank_accounts=[_bank_account(row, fund.currency) for row in rows[: page.size]],
            next_page_token=next_token(key, rows, page.size, lambda row: (row.account_id,)),
        )

    # --- budget lines ---

    async def CreateBudgetLine(
        self, request: pb.CreateBudgetLineRequest, context: object
    ) -> pb.CreateBudgetLineResponse:
        scope = current_caller().scope

        async def work(conn: AsyncConnection) -> pb.CreateBudgetLineResponse:
            asked = request.budget_line
            fund = await register.get_fund(conn, scope, fund_id_of(request.parent))
            row = await register.create_budget_line(
                conn,
                scope,
                fund.fund_id,
                request.budget_line_id,
                book=enum_name(common_pb2.Book, asked.book),
                category=asked.category,
                display_name=asked.display_name,
                limit_minor=minor_of(asked.limit, fund.currency, "budget_line.limit"),
                start_date=day_of(asked.start_date, "budget_line.start_date"),
                end_date=day_of(asked.end_date, "budget_line.end_date"),
                now=self._clock(),
            )
            return pb.CreateBudgetLineResponse(budget_line=_budget_line(row, fund.currency))

        return await once(self._store, current_caller(), request, pb.CreateBudgetLineResponse, work)

    async def UpdateBudgetLine(
        self, request: pb.UpdateBudgetLineRequest, context: object
    ) -> pb.UpdateBudgetLineResponse:
        scope = current_caller().scope

        async def work(conn: AsyncConnection) -> pb.UpdateBudgetLineResponse:
            asked = request.budget_line
            pattern = "funds/{}/budgetLines/{}"
            fund_id, budget_line_id = split_name(asked.name, pattern, "budget_line.name")
            fund = await register.get_fund(conn, scope, fund_id)
            row = await register.change_budget_line(
                conn,
                scope,
                fund_id,
                budget_line_id,
                changes=_budget_changes(request, fund.currency),
                etag=asked.etag,
            )
            return pb.UpdateBudgetLineResponse(budget_line=_budget_line(row, fund.currency))

        return await once(self._store, current_caller(), request, pb.UpdateBudgetLineResponse, work)

    async def ListBudgetLines(
        self, request: pb.ListBudgetLinesRequest, context: object
    ) -> pb.ListBudgetLinesResponse:
        scope = current_caller().scope
        key = f"ListBudgetLines/{request.parent}"
        page = page_of(request, key)
        async with self._store.transaction(scope) as conn:
            fund = await register.get_fund(conn, scope, fund_id_of(request.parent))
            rows = await register.list_budget_lines(
                conn, scope, fund.fund_id, after=page.after_id, limit=page.fetch
            )
        return pb.ListBudgetLinesResponse(
            budget_lines=[_budget_line(row, fund.currency) for row in rows[: page.size]],
            next_page_token=next_token(key, rows, page.size, lambda row: (row.budget_line_id,)),
        )

    # --- signing policy ---

    async def SetSigningPolicy(
        self, request: pb.SetSigningPolicyRequest, context: object
    ) -> pb.SetSigningPolicyResponse:
        return await propose(
            self._store, self._clock, SIGNING_POLICY, request, pb.SetSigningPolicyResponse
        )

    async def GetSigningPolicy(
        self, request: pb.GetSigningPolicyRequest, context: object
    ) -> pb.GetSigningPolicyResponse:
        scope = current_caller().scope
        async with self._store.transaction(scope) as conn:
            row = await register.get_policy(conn, scope, fund_id_of(request.parent))
        return pb.GetSigningPolicyResponse(signing_policy=_policy(row))


# --- what another party confirms ---


async def _appointment_subject(
    _conn: AsyncConnection, request: pb.CreateAppointmentRequest
) -> Subject:
    (estate_id,) = split_name(request.parent, _ESTATE, "parent")
    (party_id,) = split_name(request.appointment.party, _PARTY, "appointment.party")
    return Subject(estate_id, party_id)


async def _add_appointment(
    conn: AsyncConnection, request: pb.CreateAppointmentRequest, now: datetime
) -> pb.Appointment:
    (estate_id,) = split_name(request.parent, _ESTATE, "parent")
    (party_id,) = split_name(request.appointment.party, _PARTY, "appointment.party")
    return _appointment(await register.create_appointment(conn, estate_id, party_id, now=now))


async def _policy_subject(conn: AsyncConnection, request: pb.SetSigningPolicyRequest) -> Subject:
    fund = await register.get_fund(conn, GATEWAY, fund_id_of(request.parent))
    return Subject(fund.estate_id)


async def _next_policy(
    conn: AsyncConnection, request: pb.SetSigningPolicyRequest, now: datetime
) -> pb.SigningPolicy:
    row = await register.set_policy(
        conn,
        fund_id_of(request.parent),
        tuple(map(_asked_tier, request.signing_policy.tiers)),
        read_version=request.signing_policy.version,
        now=now,
    )
    return _policy(row)


APPOINTMENT: Final = Proposal(
    pb.CreateAppointmentRequest, "appointment", _appointment_subject, _add_appointment
)
SIGNING_POLICY: Final = Proposal(
    pb.SetSigningPolicyRequest, "signing_policy", _policy_subject, _next_policy
)


def _budget_changes(request: pb.UpdateBudgetLineRequest, currency: str) -> Mapping[str, Any]:
    """Columns to change, as the mask wants it."""
    asked = request.budget_line
    paths = masked_paths(request.update_mask, {"display_name", "limit"})
    changes: dict[str, Any] = {}
    if "display_name" in paths:
        changes["display_name"] = asked.display_name
    if "limit" in paths:
        changes["limit_minor"] = minor_of(asked.limit, currency, "budget_line.limit")
    return changes


def _estate(row: Row) -> pb.Estate:
    return pb.Estate(
        name=register.estate_name(row.estate_id),
        display_name=row.display_name,
        group=row.group_name,
        create_time=moment(row.created_at),
    )


def _appointment(row: Row) -> pb.Appointment:
    return pb.Appointment(
        name=register.appointment_name(row.estate_id, row.party_id),
        party=f"parties/{row.party_id}",
        create_time=moment(row.created_at),
        end_time=moment(row.ended_at),
    )


def _fund(row: Row) -> pb.Fund:
    return pb.Fund(
        name=register.fund_name(row.fund_id),
        estate=register.estate_name(row.estate_id),
        display_name=row.display_name,
        trustee=f"parties/{row.trustee_id}",
        currency=row.currency,
        create_time=moment(row.created_at),
        etag=str(row.version),
    )


def _bank_account(row: Row, currency: str) -> pb.BankAccount:
    return pb.BankAccount(
        name=f"{register.fund_name(row.fund_id)}/bankAccounts/{row.account_id}",
        account_number=row.account_number,
        holder_name=row.holder_name,
        bank_code=row.bank_code,
        bank_profile=row.profile_id,
        opening_balance=money(row.opening_minor, currency),
        opening_date=day(row.opening_date),
    )


def _budget_line(row: Row, currency: str) -> pb.BudgetLine:
    available_minor = row.limit_minor - row.held_minor - row.spent_minor
    return pb.BudgetLine(
        name=register.budget_line_name(row.fund_id, row.budget_line_id),
        book=common_pb2.Book.Value(f"BOOK_{row.book}"),
        category=row.category,
        display_name=row.display_name,
        limit=money(row.limit_minor, currency),
        held=money(row.held_minor, currency),
        spent=money(row.spent_minor, currency),
        available=money(available_minor, currency),
        start_date=day(row.start_date),
        end_date=day(row.end_date),
        etag=str(row.version),
    )


def _asked_tier(asked: pb.SigningTier) -> Tier:
    slots = (roles_of(asked.first_roles), roles_of(asked.second_roles))
    return Tier(asked.up_to_minor or None, slots)


def _policy(row: Row) -> pb.SigningPolicy:
    return pb.SigningPolicy(
        name=f"{register.fund_name(row.fund_id)}/signingPolicy",
        version=row.version,
        tiers=map(_tier, row.tiers),
        create_time=moment(row.created_at),
    )


def _tier(stored: Mapping[str, Any]) -> pb.SigningTier:
    first, second = stored["slots"]
    return pb.SigningTier(
        up_to_minor=stored["up_to_minor"] or 0,
        first_roles=map(role_number, first),
        second_roles=map(role_number, second),
    )
