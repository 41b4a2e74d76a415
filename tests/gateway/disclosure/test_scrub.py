"""A book that is not the one in the log is found out, and nothing goes on on top of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from xinyi.v1.disclosure_service_pb2 import ListDisclosedLinesRequest
from xinyi.v1.payment_service_pb2 import ListPaymentsRequest, WithdrawPaymentRequest

from gateway.disclosure.keys import LogKeys
from gateway.disclosure.publisher import Publisher, broken
from gateway.domain.errors import GatewayError, Reason
from gateway.duties.erasing import erase
from gateway.store import GATEWAY
from tests.gateway.night.world import TODAY
from tests.gateway.support import FIRM, refusal, request_id

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway
    from tests.gateway.night.world import World
    from tests.gateway.support import Callers


@pytest.fixture
async def publisher(world: World, tmp_path: Path) -> Publisher:
    """A publisher of a log with a few lines of two funds."""
    keys = LogKeys(tmp_path / "keys", "log.example")
    made = Publisher(world.store, world.clock, keys, tmp_path / "public")
    await world.fund("f1", opening_minor=5000)
    await world.fund("f2", opening_minor=7000)
    await world.line("f1", -1234, TODAY, counterparty_name="欧阳小明")
    await world.line("f2", -5, TODAY)
    await world.reconcile()
    await made.log_all()
    return made


async def change(world: World, *statements: str) -> None:
    """As somebody who owns the database does it, past every right and rule of the gateway."""
    async with world.store.engine.begin() as conn:
        await conn.execute(sa.text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await conn.execute(sa.text(statement))


async def test_an_honest_book_is_looked_through_again_and_again(
    world: World, publisher: Publisher
) -> None:
    for _ in range(3):
        await publisher.scrub()
    await world.line("f1", -1, TODAY)
    await publisher.scrub()
    publisher.require_whole()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE disclosed_lines SET amount_minor = -1233 WHERE fund_id='f1' AND line_number = 2",
        "UPDATE disclosed_lines SET summary = 'x' WHERE fund_id = 'f1' AND line_number = 2",
        "UPDATE disclosed_lines SET counterparty_name = '' WHERE fund_id='f1' AND line_number = 2",
        (
            "DELETE FROM postings WHERE fund_id = 'f1'; DELETE FROM entries WHERE fund_id = 'f1';"
            " DELETE FROM disclosed_lines WHERE fund_id = 'f1' AND line_number = 2"
        ),
        (
            "INSERT INTO disclosed_lines"
            " SELECT (jsonb_populate_record(l, '{\"line_number\": 3}')).*"
            " FROM disclosed_lines l WHERE fund_id = 'f1' AND line_number = 2"
        ),
        "UPDATE night_certificates SET entry = '{}' WHERE fund_id = 'f1'",
        "UPDATE night_certificates SET details = '{}' WHERE fund_id = 'f1'",
        "DELETE FROM night_certificates WHERE fund_id = 'f1'",
    ],
    ids=[
        *("amount", "summary", "counterparty", "removed", "added behind the log"),
        *("a night", "what a night sums up", "a night removed"),
    ],
)
async def test_a_book_that_was_changed_is_found_out(
    world: World, publisher: Publisher, damage: str
) -> None:
    await change(world, *damage.split(";"))
    with pytest.raises(GatewayError) as found:
        await publisher.scrub()
    assert found.value.reason is Reason.LOG_BROKEN
    assert "f1" in found.value.message
    with pytest.raises(GatewayError, match="broken"):
        publisher.require_whole()
    # And nothing is signed any more, though the log itself is whole.
    with pytest.raises(GatewayError, match="broken"):
        await publisher.log_all()


async def test_a_line_that_was_erased_is_no_tampering(world: World, publisher: Publisher) -> None:
    async with world.store.transaction(GATEWAY) as conn:
        await erase(conn, "f1", 2, "当事人申请", world.now)
    await publisher.scrub()
    await change(world, "UPDATE disclosed_lines SET amount_minor = -1 WHERE line_number = 2")
    with pytest.raises(GatewayError, match="line 2 of fund f1 is not what was disclosed"):
        await publisher.scrub()


async def test_a_salt_that_is_gone_without_a_record_is_tampering(
    world: World, publisher: Publisher
) -> None:
    await change(world, "UPDATE disclosed_lines SET salt = NULL WHERE line_number = 2")
    with pytest.raises(GatewayError, match="nobody erased it"):
        await publisher.scrub()


@pytest.mark.parametrize(
    "other",
    ["summary = 'x'", "salt = NULL", "counterparty_name = ''", "salt = gen_random_uuid()"],
)
async def test_the_gateway_itself_can_write_nothing_else_in_place_of_what_was_disclosed(
    world: World, publisher: Publisher, other: str
) -> None:
    statement = sa.text(f"UPDATE disclosed_lines SET {other} WHERE line_number = 2")  # noqa: S608 - of the above
    with pytest.raises(sa.exc.DBAPIError, match="never changes"):
        async with world.store.transaction(GATEWAY) as conn:
            await conn.execute(statement)
    async with world.store.transaction(GATEWAY) as conn:
        await erase(conn, "f1", 2, "当事人申请", world.now)
    if other != "salt = NULL":
        with pytest.raises(sa.exc.DBAPIError, match="never changes"):
            async with world.store.transaction(GATEWAY) as conn:
                await conn.execute(statement)
    await publisher.scrub()


async def test_at_the_start_a_log_cut_back_is_found_out(world: World, publisher: Publisher) -> None:
    await change(world, "UPDATE logs SET size = size - 1")
    begun = Publisher(world.store, world.clock, publisher.keys, publisher.directory)
    await begun.look()
    with pytest.raises(GatewayError, match="the database has 5"):
        begun.require_whole()


async def test_while_a_log_is_broken_nothing_is_served_or_paid_and_the_rest_goes_on(
    gateway: Gateway, callers: Callers
) -> None:
    cashier = await callers.as_(FIRM)
    lines = ListDisclosedLinesRequest(parent="funds/wutong")
    await cashier.disclosure.ListDisclosedLines(lines)
    gateway.publisher.standing.trouble = broken("trust", "line 2 of fund wutong is gone")
    withdraw = WithdrawPaymentRequest(
        name="funds/wutong/payments/p1", reason="x", request_id=request_id()
    )
    for answer in (
        cashier.disclosure.ListDisclosedLines(lines),
        cashier.payments.WithdrawPayment(withdraw),
    ):
        refused = await refusal(answer)
        assert refused.reason == "LOG_BROKEN"
        assert "line 2 of fund wutong is gone" in str(refused)
    assert await gateway.work() == 0
    await cashier.payments.ListPayments(ListPaymentsRequest(parent="funds/wutong"))
