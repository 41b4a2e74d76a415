"""The gateway and a witness over a real socket."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.disclosure.keys import LogKeys
from gateway.disclosure.proof_file import check
from gateway.disclosure.proving import prove_line
from gateway.disclosure.publisher import Publisher
from gateway.disclosure.witnesses import WitnessAt, WitnessesError, load_witnesses
from gateway.domain.errors import GatewayError, Reason
from gateway.store import GATEWAY
from gateway.transparency.note import Cosigner, open_note, parse_note
from gateway.transparency.witness import Witness
from gateway.transparency.witness_server import witness_app
from tests.gateway.night.world import TODAY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.gateway.night.world import World

SUPERVISOR = Cosigner("witness.example/w", Ed25519PrivateKey.from_private_bytes(b"w" * 32))


@asynccontextmanager
async def answering(witness: Witness) -> AsyncIterator[WitnessAt]:
    """The witness behind a port of its own."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(witness_app(witness), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        yield WitnessAt(SUPERVISOR.key, f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture
async def publisher(world: World, tmp_path: Path) -> AsyncIterator[Publisher]:
    """A publisher of a log with three lines, and a witness that it asks."""
    keys = LogKeys(tmp_path / "keys", "log.example")
    (tmp_path / "seen").mkdir()
    log = keys.signer("trustee").key
    async with answering(Witness(SUPERVISOR, {log.name: log}, tmp_path / "seen")) as at:
        await world.fund(opening_minor=5000)
        await world.line("f1", -1, TODAY)
        await world.line("f1", -2, TODAY)
        publisher = Publisher(world.store, world.clock, keys, tmp_path / "public", (at,))
        await publisher.log_all()
        yield publisher


def checkpoint(publisher: Publisher) -> str:
    return (publisher.directory / "trustee" / "checkpoint").read_text()


async def test_each_tree_is_cosigned_once_and_published_with_it(
    world: World, publisher: Publisher
) -> None:
    assert [await publisher.ask_witnesses() for _ in range(2)] == [1, 0]
    assert open_note(parse_note(checkpoint(publisher)), [SUPERVISOR.key])
    await world.line("f1", -3, TODAY)
    await publisher.log_all()
    assert await publisher.ask_witnesses() == 1
    assert open_note(parse_note(checkpoint(publisher)), [SUPERVISOR.key])


async def test_a_proof_carries_the_cosignature_though_the_log_has_grown_since(
    world: World, publisher: Publisher
) -> None:
    await publisher.ask_witnesses()
    await world.line("f1", -3, TODAY)
    await publisher.log_all()
    async with world.store.snapshot(GATEWAY) as conn:
        proof = await prove_line(conn, "f1", 2, publisher.witness_keys)
    checked = check(proof, witness_keys=[str(SUPERVISOR.key)])
    assert ([name for name, _ in checked.witnesses], checked.size) == (["witness.example/w"], 3)


async def test_what_the_gateway_forgot_it_is_told_by_the_witness(
    world: World, publisher: Publisher
) -> None:
    await publisher.ask_witnesses()
    async with world.store.engine.begin() as conn:
        await conn.execute(sa.text("DELETE FROM cosignatures"))
    await world.line("f1", -3, TODAY)
    await publisher.log_all()
    assert await publisher.ask_witnesses() == 1


async def test_a_database_cut_back_is_found_out_by_the_witness_alone(
    world: World, publisher: Publisher, tmp_path: Path
) -> None:
    """Even if the public files were cut back with it."""
    await publisher.ask_witnesses()
    async with world.store.engine.begin() as conn:
        for statement in (
            "SET LOCAL session_replication_role = replica",
            "DELETE FROM cosignatures",
            "DELETE FROM checkpoints",
            "DELETE FROM log_entries",
            "DELETE FROM log_tiles",
            "UPDATE logs SET size = 0",
            "UPDATE log_position SET transaction_id = 0",
            "UPDATE disclosed_lines SET summary = 'another' WHERE line_number = 3",
        ):
            await conn.execute(sa.text(statement))
    elsewhere = replace(publisher, directory=tmp_path / "elsewhere")
    await elsewhere.log_all()
    with pytest.raises(GatewayError) as refused:
        await elsewhere.ask_witnesses()
    assert refused.value.reason is Reason.LOG_BROKEN


async def test_a_witness_that_is_away_holds_up_nobody(world: World, publisher: Publisher) -> None:
    away = replace(publisher, witnesses=(WitnessAt(SUPERVISOR.key, "http://127.0.0.1:1"),))
    assert await away.ask_witnesses() == 0
    await world.line("f1", -3, TODAY)
    assert await away.log_all() == 1


def test_the_file_of_witnesses(tmp_path: Path) -> None:
    path = tmp_path / "witnesses.toml"
    path.write_text(f'[[witness]]\nkey = "{SUPERVISOR.key}"\nurl = "https://w.example/x/"\n')
    assert load_witnesses(path) == (WitnessAt(SUPERVISOR.key, "https://w.example/x"),)


@pytest.mark.parametrize(
    "text", ["x", "[[witness]]\nurl = 'https://a'", "[[witness]]\nkey='a'\nurl='https://a'"]
)
def test_a_file_that_is_none_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "witnesses.toml"
    path.write_text(text)
    with pytest.raises(WitnessesError, match=r"witnesses\.toml"):
        load_witnesses(path)
