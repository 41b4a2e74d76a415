"""A line's proof, made by the gateway and checked by whoever does not believe it."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from gateway.disclosure.certificates import prove_certificate
from gateway.disclosure.keys import LogKeys
from gateway.disclosure.proof_file import ShownCertificate, ShownLine, check
from gateway.disclosure.proving import prove_line
from gateway.disclosure.publisher import Publisher
from gateway.domain.errors import GatewayError, Reason
from gateway.duties.erasing import erase
from gateway.store import GATEWAY, Scope
from gateway.transparency.merkle import ProofError
from gateway.transparency.note import NoteError, NoteSigner, parse_note
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


async def test_an_sm2_line_beside_is_checked_too(world: World, tmp_path: Path) -> None:
    """A log that began without one has it from the next checkpoint on."""
    await world.fund(opening_minor=5000)
    store, clock, public = world.store, world.clock, tmp_path / "public"
    plain = LogKeys(tmp_path / "keys", "log.example")
    await Publisher(store, clock, plain, public).log_all()
    assert check(await proof(store, "f1", 1)).sm2_key == ""
    await world.line("f1", -5, TODAY)
    both = replace(plain, sm2=True)
    await Publisher(store, clock, both, public).log_all()
    text, signer = await proof(store, "f1", 1), both.sm2_signer("trustee")
    assert signer is not None
    checked = check(text)
    assert (checked.sm2_key, checked.pinned) == (str(signer.key), False)
    assert check(text, checked.log_key).pinned is False
    assert check(text, checked.log_key, (), checked.sm2_key).pinned
    # Who does not know SM2 passes over the line, and who asks for it is not put off without.
    note = parse_note(text.partition("\n\n")[2])
    (line,) = (each for each in note.signatures if each.key_id == signer.key.key_id)
    with pytest.raises(NoteError, match="trusted key"):
        check(text.replace(str(line), ""))
    forged = replace(line, signature=signer.sign("another\n").signature)
    with pytest.raises(NoteError, match="does not verify"):
        check(text.replace(str(line), str(forged)))


async def test_a_log_does_not_go_on_with_another_sm2_key(world: World, tmp_path: Path) -> None:
    await world.fund(opening_minor=5000)
    keys = LogKeys(tmp_path / "keys", "log.example", sm2=True)
    publisher = Publisher(world.store, world.clock, keys, tmp_path / "public")
    await publisher.log_all()
    (tmp_path / "keys" / "trustee.sm2.pem").unlink()
    await world.line("f1", -5, TODAY)
    with pytest.raises(GatewayError, match="another SM2 key"):
        await publisher.log_all()
    with pytest.raises(sa.exc.DBAPIError, match="keeps its keys for ever"):
        async with world.store.transaction(GATEWAY) as conn:
            await conn.execute(sa.text("UPDATE logs SET sm2_key = 'another'"))


async def test_it_shows_the_line_masked_and_proves_it(text: str) -> None:
    checked = check(text)
    assert isinstance(checked.shown, ShownLine)
    line = checked.shown.line
    assert (line.summary, line.counterparty) == ("十一月垃圾袋", "欧阳*")
    assert (line.amount_minor, line.running_minor) == ("-1234", "3766")
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
        await conn.execute(sa.text("SET LOCAL session_replication_role = replica"))
        await conn.execute(sa.text(changes[field]))
    with pytest.raises(ProofError, match="another root"):
        check(await proof(world.store, "f1", 2))


@pytest.mark.usefixtures("text")
async def test_a_line_of_a_minute_ago_is_asked_for_again(world: World) -> None:
    await world.line("f1", 1, TODAY)
    with pytest.raises(GatewayError) as refused:
        await proof(world.store, "f1", 4)
    assert refused.value.reason is Reason.NOT_LOGGED


@pytest.mark.usefixtures("text")
async def test_once_its_salt_is_erased_nothing_tells_what_it_said_and_others_still_prove(
    world: World,
) -> None:
    async with world.store.transaction(GATEWAY) as conn:
        await erase(conn, "f1", 2, "当事人申请", world.now)
    with pytest.raises(GatewayError) as refused:
        await proof(world.store, "f1", 2)
    assert refused.value.reason is Reason.DATA_ERASED
    other = check(await proof(world.store, "f1", 3)).shown
    assert isinstance(other, ShownLine)
    assert other.line.number == "3"


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


# --- a night ------------------------------------------------------------------------------------


async def night_proof(store: Store, number: int, scope: Scope = GATEWAY) -> str:
    async with store.transaction(scope) as conn:
        return await prove_certificate(conn, "f1", number, {})


@pytest.fixture
async def night(world: World, publisher: Publisher) -> str:
    """The proof of a night with an entry that is matched and another that is open."""
    await world.fund(opening_minor=5000)
    await world.line("f1", 1234, TODAY, reference="R1", counterparty_name="欧阳小明")
    matched: dict[str, Any] = {"amount_minor": 1234, "reference": "R1"}
    await world.statement("f1", TODAY, [matched, {"amount_minor": 7}])
    await world.reconcile()
    await publisher.log_all()
    return await night_proof(world.store, 1)


async def test_a_night_is_proved_with_every_entry_of_it(night: str) -> None:
    checked = check(night)
    assert isinstance(checked.shown, ShownCertificate)
    assert (checked.index, checked.size) == (2, 3)
    assert checked.shown.certificate.totals.came.count == "2"
    assert [each.amount_minor for each in checked.shown.details.came] == ["1234", "7"]
    assert [each.amount_minor for each in checked.shown.details.open_entries] == ["7"]


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ('"amount_minor":"7"', '"amount_minor":"8"'),
        ('"difference_minor":"0"', '"difference_minor":"1"'),
        ('"date":"2026-11-20"', '"date":"2026-11-21"'),
        ('"number":"1"', '"number":"2"'),
    ],
)
async def test_a_night_told_otherwise_does_not_verify(night: str, there: str, instead: str) -> None:
    header, extra, *rest = night.split("\n")
    told = b64decode(extra.removeprefix("extra ")).decode()
    assert there in told
    for changed in (told.replace(there, instead), told.replace(there, instead, 1)):
        forged = f"extra {b64encode(changed.encode()).decode()}"
        with pytest.raises((NoteError, ProofError)):
            check("\n".join([header, forged, *rest]))


@pytest.mark.usefixtures("night")
async def test_a_night_is_logged_once_and_the_next_one_behind_it(
    world: World, publisher: Publisher
) -> None:
    assert await publisher.log_all() == 0
    await world.reconcile()
    assert await publisher.log_all() == 1
    second = check(await night_proof(world.store, 2))
    assert (second.index, second.size) == (3, 4)


@pytest.mark.usefixtures("night")
async def test_a_night_of_a_second_ago_is_asked_for_again_and_another_s_is_not_found(
    world: World,
) -> None:
    await world.reconcile()
    with pytest.raises(GatewayError) as refused:
        await night_proof(world.store, 2)
    assert refused.value.reason is Reason.NOT_LOGGED
    for number, scope in ((3, GATEWAY), (1, Scope("stranger"))):
        with pytest.raises(GatewayError) as refused:
            await night_proof(world.store, number, scope)
        assert refused.value.reason is Reason.RESOURCE_NOT_FOUND
