"""Estates, who is appointed to them, their funds, and what a fund is made of.

Every read takes the caller's scope and filters by it, although the database does the same by
row-level security: either of the two alone must be enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from adapters.profile import is_bank_code
from gateway.domain.errors import Reason, invalid, not_found, precondition
from gateway.domain.policy import SigningPolicy
from gateway.ledger.writer import lock_fund, open_account
from gateway.registry.authority import latest_policy
from gateway.registry.parties import get_party, require_order
from gateway.registry.rows import change_one, changed, end_once, insert_new, one_of, require_version
from gateway.store import GATEWAY
from gateway.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from adapters.reach import Banks
    from gateway.domain.policy import Tier
    from gateway.store import Row, Scope

BOOKS = ("COMMON", "MAINTENANCE")
"""Of every fund: 共有资金账 and 物业维护基金账."""


# --- estates ----------------------------------------------------------------------------------


async def create_estate(
    conn: AsyncConnection, estate_id: str, *, display_name: str, group: str, now: datetime
) -> Row:
    """Registers an estate.

    Raises:
        GatewayError: RESOURCE_EXISTS.
    """
    values = {
        "estate_id": estate_id,
        "display_name": display_name,
        "group_name": group,
        "created_at": now,
    }
    return await insert_new(conn, t.estates, estate_name(estate_id), values)


async def get_estate(conn: AsyncConnection, scope: Scope, estate_id: str) -> Row:
    """One estate of the scope.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.estates).where(
        t.estates.c.estate_id == estate_id, _mine(t.estates.c.estate_id, scope)
    )
    return await one_of(conn, query, estate_name(estate_id))


async def list_estates(
    conn: AsyncConnection, scope: Scope, *, group: str, after: str, limit: int
) -> Sequence[Row]:
    """Estates of the scope by id; of one group, or of all where `group` is empty."""
    estates = t.estates
    query = (
        sa.select(estates)
        .where(
            _mine(estates.c.estate_id, scope),
            sa.or_(sa.literal(group) == "", estates.c.group_name == group),
            estates.c.estate_id > after,
        )
        .order_by(estates.c.estate_id)
        .limit(limit)
    )
    return (await conn.execute(query)).all()


# --- appointments -----------------------------------------------------------------------------


async def create_appointment(
    conn: AsyncConnection, estate_id: str, party_id: str, *, now: datetime
) -> Row:
    """Appoints a party: from now on its persons see the estate.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such an estate or party, RESOURCE_EXISTS.
    """
    await get_estate(conn, GATEWAY, estate_id)
    await get_party(conn, party_id)
    values = {"estate_id": estate_id, "party_id": party_id, "created_at": now}
    return await insert_new(conn, t.appointments, appointment_name(estate_id, party_id), values)


async def end_appointment(
    conn: AsyncConnection, estate_id: str, party_id: str, *, now: datetime
) -> Row:
    """Ends an appointment; one that had ended keeps its moment.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    table = t.appointments
    this = sa.and_(table.c.estate_id == estate_id, table.c.party_id == party_id)
    return await end_once(conn, table.c.ended_at, this, appointment_name(estate_id, party_id), now)


async def list_appointments(
    conn: AsyncConnection, estate_id: str, *, after: str, limit: int
) -> Sequence[Row]:
    """Appointments to an estate by party, ended ones included.

    Needs a transaction of the GATEWAY scope to see more than the caller's own; check first, with
    `get_estate`, that the estate is the caller's.
    """
    appointments = t.appointments
    query = (
        sa.select(appointments)
        .where(appointments.c.estate_id == estate_id, appointments.c.party_id > after)
        .order_by(appointments.c.party_id)
        .limit(limit)
    )
    return (await conn.execute(query)).all()


# --- funds ------------------------------------------------------------------------------------


async def create_fund(
    conn: AsyncConnection,
    fund_id: str,
    *,
    estate_id: str,
    display_name: str,
    trustee_id: str,
    currency: str,
    now: datetime,
) -> Row:
    """Opens the fund of an estate, with both its books.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such an estate or trustee; RESOURCE_EXISTS if the
            id is taken or the estate has its fund.
    """
    await get_estate(conn, GATEWAY, estate_id)
    await get_party(conn, trustee_id)
    values = {
        "fund_id": fund_id,
        "estate_id": estate_id,
        "display_name": display_name,
        "trustee_id": trustee_id,
        "currency": currency,
        "created_at": now,
    }
    fund = await insert_new(conn, t.funds, fund_name(fund_id), values)
    await conn.execute(t.books.insert(), [{"fund_id": fund_id, "book": book} for book in BOOKS])
    return fund


async def get_fund(conn: AsyncConnection, scope: Scope, fund_id: str) -> Row:
    """One fund of the scope.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND.
    """
    query = sa.select(t.funds).where(
        t.funds.c.fund_id == fund_id, _mine(t.funds.c.estate_id, scope)
    )
    return await one_of(conn, query, fund_name(fund_id))


async def list_funds(
    conn: AsyncConnection, scope: Scope, *, group: str, after: str, limit: int
) -> Sequence[Row]:
    """Funds of the scope by id; of estates of one group, or of all where `group` is empty."""
    funds = t.funds
    query = (
        sa.select(funds)
        .join(t.estates, t.estates.c.estate_id == funds.c.estate_id)
        .where(
            _mine(funds.c.estate_id, scope),
            sa.or_(sa.literal(group) == "", t.estates.c.group_name == group),
            funds.c.fund_id > after,
        )
        .order_by(funds.c.fund_id)
        .limit(limit)
    )
    return (await conn.execute(query)).all()


async def rename_fund(conn: AsyncConnection, fund_id: str, *, display_name: str, etag: str) -> Row:
    """Changes a fund's name.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND, ETAG_MISMATCH.
    """
    require_version(await lock_fund(conn, fund_id), etag, fund_name(fund_id))
    this = t.funds.c.fund_id == fund_id
    return await change_one(conn, t.funds, this, {"display_name": display_name})


# --- bank accounts ----------------------------------------------------------------------------


async def create_bank_account(  # noqa: PLR0913 - an account is that much
    conn: AsyncConnection,
    fund_id: str,
    account_id: str,
    *,
    account_number: str,
    holder_name: str,
    bank_code: str,
    profile_id: str,
    opening_minor: int,
    opening_date: date,
    banks: Banks,
    now: datetime,
) -> Row:
    """Names the bank account that holds the fund's money, and takes over what it holds.

    Args:
        conn: a transaction.
        fund_id: the fund.
        account_id: last segment of its resource name.
        account_number: as in the bank's statements; no other fund may have it.
        holder_name: as the bank has it.
        bank_code: 联行号 of the branch.
        profile_id: the bank's profile, by which files are made and read.
        opening_minor: minor units of the fund's currency that the account holds; not below zero.
        opening_date: the day it held them.
        banks: the banks that the gateway can speak to.
        now: UTC.

    Raises:
        GatewayError: FIELD_INVALID for a wrong check digit or an unknown profile;
            AMOUNT_OUT_OF_RANGE; RESOURCE_NOT_FOUND without such a fund; RESOURCE_EXISTS.
    """
    await lock_fund(conn, fund_id)
    _require_bank(bank_code, profile_id, banks)
    if opening_minor < 0:
        path = "bank_account.opening_balance.amount_minor"
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, path, "is below zero")
    values = {
        "fund_id": fund_id,
        "account_id": account_id,
        "account_number": account_number,
        "holder_name": holder_name,
        "bank_code": bank_code,
        "profile_id": profile_id,
        "opening_minor": opening_minor,
        "opening_date": opening_date,
        "created_at": now,
    }
    name = f"{fund_name(fund_id)}/bankAccounts/{account_id}"
    account = await insert_new(conn, t.bank_accounts, name, values)
    await open_account(
        conn,
        fund_id=fund_id,
        account_id=account_id,
        opening_minor=opening_minor,
        opening_date=opening_date,
        now=now,
    )
    return account


async def list_bank_accounts(
    conn: AsyncConnection, scope: Scope, fund_id: str, *, after: str, limit: int
) -> Sequence[Row]:
    """Bank accounts of a fund by id.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the scope.
    """
    key = t.bank_accounts.c.account_id
    return await _list_of_fund(conn, scope, key, fund_id, after, limit)


# --- budget lines -----------------------------------------------------------------------------


async def create_budget_line(  # noqa: PLR0913 - a budget line is that much
    conn: AsyncConnection,
    scope: Scope,
    fund_id: str,
    budget_line_id: str,
    *,
    book: str,
    category: str,
    display_name: str,
    limit_minor: int,
    start_date: date,
    end_date: date,
    now: datetime,
) -> Row:
    """Adds what may be spent for one purpose, in minor units of the fund's currency.

    Raises:
        GatewayError: FIELD_INVALID for days out of order; AMOUNT_OUT_OF_RANGE below zero;
            RESOURCE_NOT_FOUND without such a fund in the scope; RESOURCE_EXISTS.
    """
    await get_fund(conn, scope, fund_id)
    require_order(start_date, end_date, "budget_line.end_date")
    _require_limit(limit_minor)
    values = {
        "fund_id": fund_id,
        "budget_line_id": budget_line_id,
        "book": book,
        "category": category,
        "display_name": display_name,
        "limit_minor": limit_minor,
        "start_date": start_date,
        "end_date": end_date,
        "created_at": now,
    }
    name = budget_line_name(fund_id, budget_line_id)
    return await insert_new(conn, t.budget_lines, name, values)


async def change_budget_line(
    conn: AsyncConnection,
    scope: Scope,
    fund_id: str,
    budget_line_id: str,
    *,
    changes: Mapping[str, Any],
    etag: str,
) -> Row:
    """Changes `display_name` and `limit_minor`, or one of them; what is held or spent stays.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND, ETAG_MISMATCH, AMOUNT_OUT_OF_RANGE below zero,
            BUDGET_EXCEEDED for a limit below what is held and spent.
    """
    await get_fund(conn, scope, fund_id)
    # Holds change under the same lock, so what is read here still stands when it is written.
    await lock_fund(conn, fund_id)
    lines, name = t.budget_lines, budget_line_name(fund_id, budget_line_id)
    this = sa.and_(lines.c.fund_id == fund_id, lines.c.budget_line_id == budget_line_id)
    row = await one_of(conn, sa.select(lines).where(this), name)
    require_version(row, etag, name)
    _require_room(row, changes.get("limit_minor", row.limit_minor), name)
    return await change_one(conn, lines, this, changes)


async def list_budget_lines(
    conn: AsyncConnection, scope: Scope, fund_id: str, *, after: str, limit: int
) -> Sequence[Row]:
    """Budget lines of a fund by id.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the scope.
    """
    key = t.budget_lines.c.budget_line_id
    return await _list_of_fund(conn, scope, key, fund_id, after, limit)


# --- signing policies -------------------------------------------------------------------------


async def set_policy(
    conn: AsyncConnection,
    fund_id: str,
    tiers: Sequence[Tier],
    *,
    read_version: int,
    now: datetime,
) -> Row:
    """Puts the next version of the signing policy in force.

    Args:
        conn: a transaction.
        fund_id: the fund.
        tiers: who signs, by rising amount.
        read_version: the version that was in force when the caller read it; 0 for none.
        now: UTC.

    Raises:
        GatewayError: FIELD_INVALID where `SigningPolicy` refuses the tiers; ETAG_MISMATCH if
            another version is in force; RESOURCE_NOT_FOUND without such a fund.
    """
    await lock_fund(conn, fund_id)
    row = await latest_policy(conn, fund_id)
    name = f"{fund_name(fund_id)}/signingPolicy"
    if read_version != (row.version if row else 0):
        raise changed(name)
    policy = SigningPolicy(read_version + 1, tuple(tiers))
    values = {
        "fund_id": fund_id,
        "version": policy.version,
        "tiers": [_stored_tier(tier) for tier in policy.tiers],
        "created_at": now,
    }
    return await insert_new(conn, t.signing_policies, name, values)


async def get_policy(conn: AsyncConnection, scope: Scope, fund_id: str) -> Row:
    """The row of the signing policy in force.

    Raises:
        GatewayError: RESOURCE_NOT_FOUND without such a fund in the scope, or before the first.
    """
    await get_fund(conn, scope, fund_id)
    row = await latest_policy(conn, fund_id)
    if row is None:
        raise not_found(f"{fund_name(fund_id)}/signingPolicy")
    return row


# --- shared -----------------------------------------------------------------------------------


def estate_name(estate_id: str) -> str:
    """Resource name of an estate."""
    return f"estates/{estate_id}"


def appointment_name(estate_id: str, party_id: str) -> str:
    """Resource name of an appointment; its id is the party's."""
    return f"estates/{estate_id}/appointments/{party_id}"


def fund_name(fund_id: str) -> str:
    """Resource name of a fund."""
    return f"funds/{fund_id}"


def budget_line_name(fund_id: str, budget_line_id: str) -> str:
    """Resource name of a budget line."""
    return f"funds/{fund_id}/budgetLines/{budget_line_id}"


def _mine(estate_id: sa.ColumnElement[str], scope: Scope) -> sa.ColumnElement[bool]:
    """The estate is one that the scope's party is appointed to."""
    if scope == GATEWAY:
        return sa.true()
    appointments = t.appointments.c
    return estate_id.in_(
        sa.select(appointments.estate_id).where(
            appointments.party_id == scope.party_id, appointments.ended_at.is_(None)
        )
    )


async def _list_of_fund(
    conn: AsyncConnection,
    scope: Scope,
    key: sa.Column[Any],
    fund_id: str,
    after: str,
    limit: int,
) -> Sequence[Row]:
    await get_fund(conn, scope, fund_id)
    table = key.table
    query = (
        sa.select(table).where(table.c.fund_id == fund_id, key > after).order_by(key).limit(limit)
    )
    return (await conn.execute(query)).all()


def _require_bank(bank_code: str, profile_id: str, banks: Banks) -> None:
    if not is_bank_code(bank_code):
        path = "bank_account.bank_code"
        raise invalid(Reason.FIELD_INVALID, path, "has a wrong check digit (ISO 7064 MOD 11,10)")
    if profile_id not in banks.ids():
        path = "bank_account.bank_profile"
        raise invalid(Reason.FIELD_INVALID, path, "is not a bank profile of this gateway")


def _require_limit(limit_minor: int) -> None:
    if limit_minor < 0:
        path = "budget_line.limit.amount_minor"
        raise invalid(Reason.AMOUNT_OUT_OF_RANGE, path, "is below zero")


def _require_room(row: Row, limit_minor: int, name: str) -> None:
    _require_limit(limit_minor)
    used_minor = row.held_minor + row.spent_minor
    if limit_minor < used_minor:
        raise precondition(
            Reason.BUDGET_EXCEEDED,
            name,
            f"{used_minor} minor units are held or spent",
            used_minor=str(used_minor),
        )


def _stored_tier(tier: Tier) -> dict[str, Any]:
    return {"up_to_minor": tier.up_to_minor, "slots": [sorted(slot) for slot in tier.slots]}
