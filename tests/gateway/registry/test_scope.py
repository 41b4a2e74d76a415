"""The register's own filter, tried without the database's: either must be enough alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from gateway.domain.errors import GatewayError, Reason
from gateway.registry import authority, funds
from gateway.store import GATEWAY, Scope
from tests.gateway.support import (
    APPOINTED,
    CHAIR,
    LIMIT_MINOR,
    NOW,
    SLOTS,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store import Store

FIRM = Scope("anju")


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection of the database's owner, whom row-level security does not bind."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as conn:
        yield conn
    await engine.dispose()


async def test_lists_hold_only_the_scopes_own(owner: AsyncConnection) -> None:
    estates = await funds.list_estates(owner, FIRM, group="", after="", limit=10)
    assert [row.estate_id for row in estates] == ["wutong"]
    listed = await funds.list_funds(owner, FIRM, group="", after="", limit=10)
    assert [row.fund_id for row in listed] == ["wutong"]
    everything = await funds.list_funds(owner, GATEWAY, group="", after="", limit=10)
    assert [row.fund_id for row in everything] == ["jinjiang", "wutong"]


async def test_what_belongs_to_another_fund_is_not_found(owner: AsyncConnection) -> None:
    for attempt in (
        funds.get_estate(owner, FIRM, "jinjiang"),
        funds.get_fund(owner, FIRM, "jinjiang"),
        funds.list_bank_accounts(owner, FIRM, "jinjiang", after="", limit=10),
        funds.list_budget_lines(owner, FIRM, "jinjiang", after="", limit=10),
        funds.get_policy(owner, FIRM, "jinjiang"),
        funds.change_budget_line(owner, FIRM, "jinjiang", "wages", changes={}, etag=""),
    ):
        with pytest.raises(GatewayError) as caught:
            await attempt
        assert caught.value.reason is Reason.RESOURCE_NOT_FOUND


async def test_ended_appointment_no_longer_counts(owner: AsyncConnection) -> None:
    assert "anju" in await authority.appointed_parties(owner, "wutong")
    await funds.end_appointment(owner, "wutong", "anju", now=NOW)
    assert "anju" not in await authority.appointed_parties(owner, "wutong")
    assert await funds.list_estates(owner, FIRM, group="", after="", limit=10) == []


async def test_limit_below_what_is_held_and_spent_is_refused(owner: AsyncConnection) -> None:
    await owner.exec_driver_sql(
        "UPDATE budget_lines SET held_minor = 300, spent_minor = 200"
        " WHERE fund_id = 'wutong' AND budget_line_id = 'wages'"
    )

    async def change(limit_minor: int) -> int:
        changes = {"limit_minor": limit_minor}
        row = await funds.change_budget_line(
            owner, FIRM, "wutong", "wages", changes=changes, etag=""
        )
        return int(row.limit_minor)

    assert await change(500) == 500
    with pytest.raises(GatewayError) as caught:
        await change(499)
    assert caught.value.reason is Reason.BUDGET_EXCEEDED


# --- what signing reads ---


async def test_signer_is_read_as_the_domain_wants_it(owner: AsyncConnection) -> None:
    person = await authority.load_person(owner, CHAIR.party_id, CHAIR.person_id)
    assert person.roles == {CHAIR.role}
    ids = (CHAIR.party_id, CHAIR.person_id)
    assert (await authority.load_persons(owner, [ids]))[ids] == person
    (mandate,) = (await authority.load_mandates(owner, [ids]))[ids]
    assert (mandate.role, mandate.limit_minor) == (CHAIR.role, LIMIT_MINOR)
    assert mandate.in_force(NOW)
    keys = await owner.exec_driver_sql("SELECT key_id FROM public_keys WHERE person_id = 'chair'")
    loaded = await authority.load_keys(owner, [row.key_id for row in keys])
    assert (CHAIR.party_id, CHAIR.signing_key.public_key()) in [
        (party_id, key.verifier) for party_id, key in loaded.values()
    ]


async def test_policy_is_read_by_version(owner: AsyncConnection) -> None:
    first = ("wutong", 1)
    tiers = (await authority.load_policies(owner, [first]))[first].tiers
    assert [tier.slots for tier in tiers] == [SLOTS]
    await funds.set_policy(owner, "wutong", tiers, read_version=1, now=NOW)
    assert set(await authority.load_policies(owner, [("wutong", 1), ("wutong", 2)])) == {
        ("wutong", 1),
        ("wutong", 2),
    }


async def test_what_is_not_there_is_missing(owner: AsyncConnection) -> None:
    with pytest.raises(GatewayError) as caught:
        await authority.load_person(owner, "anju", "nobody")
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    assert await authority.load_keys(owner, ["0" * 64]) == {}
    assert await authority.load_policies(owner, [("wutong", 9)]) == {}


@pytest.mark.parametrize("scope", [GATEWAY, FIRM])
async def test_appointed_parties_are_all_of_the_estates_in_any_scope(
    store: Store, scope: Scope
) -> None:
    """A signer's own transaction must know whether the other signer's party is appointed."""
    async with store.transaction(scope) as conn:
        assert await authority.appointed_parties(conn, "wutong") == set(APPOINTED["wutong"])
        appointed = await authority.load_appointed(conn, ["wutong"])
        assert appointed["wutong"] == set(APPOINTED["wutong"])
