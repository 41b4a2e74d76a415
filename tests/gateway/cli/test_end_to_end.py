"""The command as its users run it: a process of its own, against a whole gateway."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from xinyi.v1 import fund_service_pb2 as fund_pb

from gateway.client import write_profile
from gateway.domain.keys import dump_private_key
from tests.gateway.payments.desk import Desk, open_bank
from tests.gateway.support import (
    BANK_CODE,
    CHAIR,
    CHECKER,
    FIRM,
    OPERATOR,
    OTHER_CHAIR,
    OWNER,
    SIGNERS,
    TODAY,
    Callers,
    Pki,
    StillClock,
    Who,
    request_id,
)

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.app import Gateway


@dataclass(frozen=True, slots=True)
class Done:
    """How one run of the command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def said(self) -> Any:
        assert self.status in {0, 1}, self.stderr
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell in a folder, with everybody's directory at hand."""

    folder: Path

    async def xinyi(self, who: Who, *args: str) -> Done:
        return await self.offline(*args, "--as", f"{who.party_id}/{who.person_id}")

    async def offline(self, *args: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from gateway.cli import main; main()", *args),
            cwd=self.folder,
            env={**os.environ, "XINYI_DATA_DIR": str(self.folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await process.communicate()
        return Done(process.returncode or 0, stdout.decode(), stderr.decode())


@pytest.fixture
def terminal(gateway: Gateway, pki: Pki, tmp_path: Path) -> Terminal:
    for who, pair in pki.people.items():
        write_profile(
            tmp_path / "people" / f"{who.party_id}.{who.person_id}",
            server=f"127.0.0.1:{gateway.port}",
            environment="demo",
            lang="zh",
            ca_pem=pki.ca.certificate_pem,
            certificate_pem=pair.certificate_pem,
            key_pem=pair.key_pem,
            signing_key_pem=dump_private_key(who.signing_key) if who in SIGNERS else None,
        )
    (tmp_path / "发票.pdf").write_bytes(b"%PDF-1.7 one invoice")
    return Terminal(tmp_path)


def submit(amount: str) -> tuple[str, ...]:
    return (
        *("payment", "submit", "--fund", "wutong", "--payee-name", "成都清运有限公司"),
        *("--payee-account", "6222020000000009", "--payee-bank", BANK_CODE),
        *("--amount", amount, "--purpose", "垃圾清运", "--budget-line", "cleaning"),
        *("--voucher", "发票.pdf", "--json"),
    )


async def test_a_payment_goes_from_request_to_release_by_two_persons_commands(
    terminal: Terminal,
) -> None:
    asked = (await terminal.xinyi(FIRM, *submit("1,234.56"))).said["payment"]
    assert (asked["state"], asked["amount"]["amount_minor"]) == ("PAYMENT_STATE_HELD", "123456")
    unasked = await terminal.xinyi(CHAIR, "payment", "sign", asked["name"])
    assert (unasked.status, "1,234.56 CNY" in unasked.stderr) == (1, True)
    signing = ("payment", "sign", asked["name"], "--yes", "--json")
    first = (await terminal.xinyi(CHAIR, *signing)).said["payment"]
    again = await terminal.xinyi(CHAIR, *signing)
    assert (again.status, again.stdout, "SAME_PERSON" in again.stderr) == (2, "", True)
    second = (await terminal.xinyi(CHECKER, *signing)).said["payment"]
    assert first["state"] == "PAYMENT_STATE_PARTLY_SIGNED"
    assert second["state"] == "PAYMENT_STATE_RELEASED"
    assert len(second["signatures"]) == 2


async def test_a_request_beyond_the_budget_is_refused_in_both_languages(
    terminal: Terminal,
) -> None:
    refused = await terminal.xinyi(FIRM, *submit("8,000.01"))
    assert (refused.status, refused.stdout) == (2, "")
    assert "BUDGET_EXCEEDED" in refused.stderr
    assert "超出预算科目可用额度" in refused.stderr
    assert "Traceback" not in refused.stderr


async def test_everybody_reads_what_their_role_may_read(terminal: Terminal) -> None:
    caller = (await terminal.xinyi(OWNER, "whoami", "--json")).said
    lines = (await terminal.xinyi(OWNER, "line", "list", "--fund", "wutong", "--json")).said
    denied = await terminal.xinyi(OWNER, "payment", "list", "--fund", "wutong", "--json")
    funds = (await terminal.xinyi(OPERATOR, "fund", "list", "--json")).said
    assert caller["person"]["name"] == OWNER.name
    assert lines["lines"][0]["amount"]["amount_minor"] == "86500000"
    assert (denied.status, "ROLE_NOT_ALLOWED" in denied.stderr) == (2, True)
    assert {fund["name"] for fund in funds["funds"]} >= {"funds/wutong"}


async def test_an_owner_saves_the_proof_of_a_night_and_checks_it_without_the_gateway(
    terminal: Terminal, gateway: Gateway
) -> None:
    await terminal.xinyi(OPERATOR, "run", "start", "--date", TODAY.isoformat(), "--json")
    await gateway.publisher.log_all()
    nights = await terminal.xinyi(OWNER, "proof", "nights", "--fund", "wutong")
    out = terminal.folder / "night-1.tlog-proof"
    export = ("proof", "export", "--fund", "wutong", "--out", str(out))
    saved = await terminal.xinyi(OWNER, *export, "--night", "1")
    vague = await terminal.xinyi(OWNER, *export, "--night", "1", "--line", "1")
    assert TODAY.isoformat() in nights.stdout
    assert (saved.status, vague.status) == (0, 2)
    assert "--night" in vague.stderr
    checked = await terminal.offline("verify", str(out), "--json")
    assert checked.said["certificate"]["date"] == TODAY.isoformat()
    assert checked.said["verified"] is True
    told = await terminal.offline("verify", str(out))
    assert "成立：该夜核对记在公示日志中" in told.stderr
    out.write_text(out.read_text().replace("index ", "index 1"))
    forged = await terminal.offline("verify", str(out))
    assert (forged.status, "不成立" in forged.stderr) == (1, True)


@pytest.fixture
async def desk(gateway: Gateway, callers: Callers, clock: StillClock) -> Desk:
    """The steps before those that a test is about, without a process for each."""
    opened = Desk(gateway, callers, clock)
    await opened.upload()
    return opened


async def test_a_file_is_fetched_handed_over_by_one_person_and_confirmed_by_another(
    terminal: Terminal, desk: Desk
) -> None:
    payment = await desk.released()
    queued = (await terminal.xinyi(OPERATOR, "bank", "transmissions", "--json")).said
    (name,) = (sent["name"] for sent in queued["transmissions"])
    does = ("bank", "transmission")
    taken = await terminal.xinyi(OPERATOR, *does, "by-hand", name, "--reason", "专线中断")
    assert (taken.status, "手工交付，待确认" in taken.stdout) == (0, True), taken.stderr
    assert await desk.gateway.sender.send_all() == 0
    said = (await terminal.xinyi(OPERATOR, *does, "file", name, "--json")).said
    same = await terminal.xinyi(OPERATOR, *does, "confirm", name)
    assert (same.status, "SAME_PERSON" in same.stderr) == (2, True)
    confirmed = (await terminal.xinyi(CHECKER, *does, "confirm", name, "--json")).said
    assert confirmed["transmission"]["state"] == "TRANSMISSION_STATE_DELIVERED"
    assert confirmed["transmission"]["file_sha256"] == said["sha256"]
    file = terminal.folder / said["file_name"]
    assert payment.rpartition("/")[2].encode() in file.read_bytes()
    assert await desk.state(payment) == "SENT"


async def test_a_payment_its_bank_never_had_is_signed_again_by_two_and_sent_again(
    terminal: Terminal, desk: Desk, tmp_path: Path
) -> None:
    payment = await desk.released()
    await desk.gateway.work()
    root = desk.gateway.sender.banks.root / "demo"
    bank = open_bank(tmp_path / "bank", root, desk.clock)
    (lost,) = (root / "out").iterdir()
    lost.unlink()
    desk.clock.moment += timedelta(hours=5)
    await desk.gateway.work()
    resend = ("payment", "resend", payment)
    early = await terminal.xinyi(OPERATOR, *resend)
    assert (early.status, "尚无覆盖付款日的对账单" in early.stderr) == (2, True)
    for days in range(3):
        bank.close(TODAY + timedelta(days=days))
        await desk.gateway.work()
    prepared = await terminal.xinyi(OPERATOR, *resend)
    assert (prepared.status, "第 2 次" in prepared.stdout) == (0, True), prepared.stderr
    await desk.sign(payment, CHAIR)
    signed = await terminal.xinyi(CHECKER, "payment", "sign", payment, "--yes", "--json")
    again = signed.said["payment"]
    assert (again["state"], again["attempt"]) == ("PAYMENT_STATE_RELEASED", 2)
    await desk.gateway.sender.send_all()
    fetch = ("bank", "transmission", "file", again["transmission"], "--json")
    fetched = terminal.folder / (await terminal.xinyi(OPERATOR, *fetch)).said["file_name"]
    (delivered,) = (root / "out").iterdir()
    assert (delivered.name, delivered.read_bytes()) == (fetched.name, fetched.read_bytes())


async def test_many_changes_of_the_register_are_confirmed_by_the_digest_of_their_listing(
    terminal: Terminal, callers: Callers
) -> None:
    operator = await callers.as_(OPERATOR)
    for party_id in ("anju", "community"):
        await operator.funds.CreateAppointment(
            fund_pb.CreateAppointmentRequest(
                parent="estates/jinjiang",
                appointment=fund_pb.Appointment(party=f"parties/{party_id}"),
                request_id=request_id(),
            )
        )
    listed = await terminal.xinyi(CHECKER, "change", "list", "--waiting")
    assert "任用; parties/anju" in listed.stdout
    digest = listed.stderr.split()[-1]

    other = await terminal.xinyi(
        CHECKER, "change", "confirm", "--all-waiting", "--digest", "0" * 64
    )
    assert (other.status, "不同" in other.stderr) == (2, True)
    silent = await terminal.xinyi(CHECKER, "change", "confirm", "--all-waiting")
    assert silent.status == 1
    done = await terminal.xinyi(
        CHECKER, "change", "confirm", "--all-waiting", "--digest", digest, "--json"
    )
    assert {each["state"] for each in done.said["changes"]} == {"CHANGE_STATE_CONFIRMED"}
    history = await terminal.xinyi(OTHER_CHAIR, "change", "list", "--estate", "jinjiang", "--json")
    assert {each["decider"] for each in history.said["changes"]} == {CHECKER.name}
    assert history.said["changes"][0]["content"]["appointment"]["party"]
