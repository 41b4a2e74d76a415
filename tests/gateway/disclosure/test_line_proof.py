"""A line's proof, made by the gateway and checked by whoever does not believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from gateway.disclosure.keys import LogKeys
from gateway.disclosure.line_proof import check
from gateway.disclosure.proving import prove_line
from gateway.disclosure.publisher import Publisher
from gateway.domain.errors import GatewayError, Reason
from gateway.store import GATEWAY, Scope
from gateway.transparency.merkle import ProofError
from gateway.transparency.note import NoteError, NoteSigner
from tests.gateway.night.world import TODAY

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.store import Store
    from tests.gateway.night.world import World


@pytest.fixture
def publisher(world: World, tmp_path: Path) -> Publisher:
    keys = LogKeys(tmp_path / "keys", "log.example")
    return Publisher(world.store, world.clock, keys, tmp_path / "public")


async def proof(store: Store, fund_id: str, number: int, scope: Scope = GATEWAY) -> str:
    async with store.transaction(scope) as conn:
        return await prove_line(conn, fund_id, number, {})


@pytest.fixture
async def text(world: World, publisher: Publisher) -> str:
    """The proof of the second of three lines."""
    await world.fund(opening_minor=5000)
    await world.line("f1", -1234, TODAY, summary="十一月垃圾袋", counterparty_name="欧阳小明")
    await world.line("f1", -5, TODAY)
    await publisher.log_all()
    return await proof(world.store, "f1", 2)


async def test_it_shows_the_line_masked_and_proves_it(text: str) -> None:
    checked = check(text)
    assert (checked.line.summary, checked.line.counterparty) == ("十一月垃圾袋", "欧阳*")
    assert (checked.line.amount_minor, checked.line.running_minor) == ("-1234", "3766")
    assert (checked.index, checked.size, checked.pinned) == (1, 3, False)
    assert "小明" not in text


async def test_it_holds_under_the_key_that_the_reader_brings(
    publisher: Publisher, text: str
) -> None:
    own = publisher.keys.signer("trustee")
    assert check(text, str(own.key)).pinned
    stranger = NoteSigner(own.name, LogKeys(publisher.directory, "x").signer("y").private_key)
    with pytest.raises(NoteError, match="trusted key"):
        check(text, str(stranger.key))


@pytest.mark.usefixtures("text")
@pytest.mark.parametrize("field", ["summary", "amount_minor", "running_minor", "counterparty"])
async def test_a_line_shown_otherwise_than_logged_does_not_verify(world: World, field: str) -> None:
    changes = {
        "summary": "UPDATE disclosed_lines SET summary = 'x' WHERE line_number = 2",
        "amount_minor": "UPDATE disclosed_lines SET amount_minor = -1 WHERE line_number = 2",
        "running_minor": "UPDATE disclosed_lines SET running_minor = 1 WHERE line_number = 2",
        "counterparty": "UPDATE disclosed_lines SET counterparty_name = '某' WHERE line_number = 2",
    }
    async with world.store.engine.begin() as conn:
        await conn.execute(sa.text(changes[field]))
    with pytest.raises(ProofError, match="another root"):
        check(await proof(world.store, "f1", 2))


@pytest.mark.usefixtures("text")
async def test_a_line_of_a_minute_ago_is_asked_for_again(world: World) -> None:
    await world.line("f1", 1, TODAY)
    with pytest.raises(GatewayError) as refused:
        await proof(world.store, "f1", 4)
    assert refused.value.reason is Reason.LINE_NOT_LOGGED


@pytest.mark.usefixtures("text")
async def test_once_its_salt_is_erased_nothing_tells_what_it_said_and_others_still_prove(
    world: World,
) -> None:
    async with world.store.transaction(GATEWAY) as conn:
        await conn.execute(sa.text("UPDATE disclosed_lines SET salt = NULL WHERE line_number = 2"))
    with pytest.raises(GatewayError) as refused:
        await proof(world.store, "f1", 2)
    assert refused.value.reason is Reason.DATA_ERASED
    assert check(await proof(world.store, "f1", 3)).line.number == "3"


@pytest.mark.usefixtures("text")
async def test_another_estate_s_line_is_not_found(world: World) -> None:
    with pytest.raises(GatewayError) as refused:
        await proof(world.store, "f1", 2, Scope("stranger"))
    assert refused.value.reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.parametrize("damage", ["salt", "number", "schema"])
async def test_a_file_with_other_extra_data_says_what_is_wrong(text: str, damage: str) -> None:
    lines = text.split("\n")
    lines[1] = "extra " + {"salt": "e30=", "number": "W10=", "schema": "bnVsbA=="}[damage]
    with pytest.raises(NoteError, match="no line"):
        check("\n".join(lines))
