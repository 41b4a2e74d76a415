"""Every method of the contract, called by every role for an estate that is not theirs.

Refused by the table of roles, or answered exactly as if the estate did not exist; nothing of it is
told, and nothing in the database changes. A new method is called here as soon as it is described.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding
from grpc_status import rpc_status
from xinyi.v1 import common_pb2
from xinyi.v1 import fund_service_pb2 as fund_pb
from xinyi.v1 import payment_service_pb2 as payment_pb
from xinyi.v1 import question_service_pb2 as question_pb

from gateway.domain.keys import key_id
from gateway.domain.party import Role
from gateway.registry.parties import create_certificate, revoke_certificate
from gateway.rpc.access import METHODS
from gateway.rpc.caller import Caller
from gateway.rpc.convert import day
from gateway.store import GATEWAY
from gateway.store import tables as t
from tests.gateway.cases.desk import Desk
from tests.gateway.payments.desk import CONTENT, ask, envelope, voucher_header
from tests.gateway.rpc.requests import Builder
from tests.gateway.rpc.test_access import DESCRIBED
from tests.gateway.support import (
    ACCOUNT_NUMBERS,
    CHAIR,
    CHECKER,
    FIRM,
    NOW,
    OPERATOR,
    OTHER_CHAIR,
    OTHER_FIRM,
    OWNER,
    SUPERVISOR,
    TODAY,
    Callers,
    StillClock,
    Who,
    request_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.app import Gateway
    from gateway.store import Store

FOREIGN, NOWHERE = "jinjiang", "nowherex"
"""An estate that is there and not the callers', and one that is not there: of one length, because
lengths stand in what is compared."""

STRANGERS: Final = {
    Role.PROPERTY_FIRM: FIRM,
    Role.OWNERS_COMMITTEE: CHAIR,
    Role.TRUSTEE_MAKER: Who("other-trust", "maker", Role.TRUSTEE_MAKER),
    Role.TRUSTEE_CHECKER: Who("other-trust", "checker", Role.TRUSTEE_CHECKER),
    Role.SUPERVISOR: SUPERVISOR,
    Role.OWNER: OWNER,
}
"""Somebody of each role who has nothing to do with the foreign estate."""

OPEN_REGISTER: Final = {
    "/xinyi.v1.PartyService/GetParty",
    "/xinyi.v1.PartyService/ListParties",
    "/xinyi.v1.PartyService/ListPersons",
    "/xinyi.v1.PartyService/ListPublicKeys",
    "/xinyi.v1.PartyService/ListMandates",
}
"""Parties are no estate's own: by the contract the offices read the register of all of them."""
OFFICES: Final = {Role.TRUSTEE_MAKER, Role.TRUSTEE_CHECKER, Role.SUPERVISOR}

RECORDS: Final = {"requests", "audit_entries", "audit_links"}
"""Tables of which every call that is refused may leave a row: they say that it was."""

WATCH_S = 1.0
"""How long a watch is read; it would never end by itself."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller is told: a status with its details, or the messages."""

    code: str
    said: str


@dataclass(slots=True)
class Estate:
    """A foreign estate in full life: a name of everything that the contract can name.

    Attributes:
        names: resource names, of which the more special come first.
        secrets: texts that only its own people may read.
        payload: of its payment, for a signature that would be sound.
    """

    names: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    payload: bytes = b""


async def _fill(desk: Desk, callers: Callers) -> Estate:
    """Lets a payment, a night, a case, a proposal and a change happen to the foreign estate."""
    fund = f"funds/{FOREIGN}"
    firm = (await callers.as_(OTHER_FIRM)).payments
    await firm.UploadVoucher(
        iter([voucher_header(fund), payment_pb.UploadVoucherRequest(content=CONTENT)])
    )

    async def submit() -> payment_pb.Payment:
        request = payment_pb.SubmitPaymentRequest(
            parent=fund, payment=ask(fund=fund), request_id=request_id()
        )
        return (await firm.SubmitPayment(request)).payment

    released, waiting = await submit(), await submit()
    for who in (OTHER_CHAIR, CHECKER):
        signed = envelope(released.signing_payload, who)
        await (await callers.as_(who)).payments.SignPayment(
            payment_pb.SignPaymentRequest(
                name=released.name, envelope=signed, request_id=request_id()
            )
        )
    header = payment_pb.SubmitPaymentsHeader(parent=fund, payment_count=1, request_id=request_id())
    parts = [
        payment_pb.SubmitPaymentsRequest(header=header),
        payment_pb.SubmitPaymentsRequest(payment=ask(fund=fund)),
    ]
    await firm.SubmitPayments(iter(parts))
    entry = await desk.entry(777, FOREIGN, text="物业费 某户")
    line = await desk.line(900, FOREIGN)
    await desk.entry(100, FOREIGN, reference="R1")
    await desk.line(100, FOREIGN, reference="R1")
    run = await desk.night()
    first, second, *_ = await desk.listed(parent=fund)
    resolution = await desk.propose(first, "WAIT", wait_until=day(TODAY + timedelta(days=3)))
    policy = await _propose_policy(callers, fund)
    question = await _ask(callers, line)
    async with desk.store.transaction(GATEWAY) as conn:
        matched = (await conn.execute(sa.select(t.matches))).all()
        sent = (await conn.execute(sa.select(t.transmissions))).one()
        batch_id = await conn.scalar(sa.select(t.batches.c.batch_id))
    digest = sha256(CONTENT).hexdigest()
    person = f"parties/hexin/persons/{OTHER_FIRM.person_id}"
    key = key_id(OTHER_FIRM.signing_key.public_key())
    certificate = sha256(
        callers.pki.people[OTHER_FIRM].certificate.public_bytes(Encoding.DER)
    ).hexdigest()
    matches = [f"{fund}/matches/{row.match_id}/{row.made_by}" for row in matched]
    names = [
        waiting.name,
        f"{fund}/batches/{batch_id}",
        f"transmissions/{sent.transmission_id}",
        second.name,
        resolution.name,
        *matches,
        f"{fund}/vouchers/{digest}",
        f"{fund}/bankAccounts/main",
        f"{fund}/budgetLines/cleaning",
        question,
        f"{fund}/periods/monthly-2026-10",
        f"{fund}/nightCertificates/1",
        line,
        entry,
        f"{person}/publicKeys/{key}",
        f"{person}/mandates/m1",
        f"{person}/certificates/{certificate}",
        f"estates/{FOREIGN}/appointments/hexin",
        policy,
        run.name,
        f"quarantinedFiles/{digest}",
        fund,
        f"estates/{FOREIGN}",
        person,
        "parties/hexin",
    ]
    secrets = [
        FOREIGN,
        ACCOUNT_NUMBERS[FOREIGN],
        *(name.rpartition("/")[2] for name in (waiting.name, released.name, first.name)),
        "某户",
    ]
    return Estate(names, secrets, waiting.signing_payload)


async def _ask(callers: Callers, line: str) -> str:
    header = question_pb.AskQuestionHeader(parent=line, text="某户的款", request_id=request_id())
    asked = await (await callers.as_(OTHER_CHAIR)).questions.AskQuestion(
        iter([question_pb.AskQuestionRequest(header=header)])
    )
    return asked.question.name


async def _propose_policy(callers: Callers, fund: str) -> str:
    tier = fund_pb.SigningTier(
        first_roles=[common_pb2.ROLE_PROPERTY_FIRM], second_roles=[common_pb2.ROLE_TRUSTEE_CHECKER]
    )
    answer = await (await callers.as_(OPERATOR)).funds.SetSigningPolicy(
        fund_pb.SetSigningPolicyRequest(
            parent=fund,
            signing_policy=fund_pb.SigningPolicy(version=1, tiers=[tier]),
            request_id=request_id(),
        )
    )
    return answer.change


# --- calling ----------------------------------------------------------------------------------


async def _call(channel: Any, name: str, messages: Sequence[Any]) -> Told:
    """Calls a method of any shape, and says in one form what came of it."""
    method = DESCRIBED[name]
    sent = [message.SerializeToString() for message in messages]
    try:
        answers = await _answers(channel, name, method, sent)
    except grpc.aio.AioRpcError as error:
        status: Any = rpc_status.from_call(error)  # type: ignore[arg-type] # it has what is asked
        return Told(error.code().name, str(status) if status else error.details() or "")
    return Told("OK", repr(answers))


async def _answers(channel: Any, name: str, method: Any, sent: list[bytes]) -> list[bytes]:
    if method.server_streaming:
        stream = channel.unary_stream(name)(sent[0], timeout=60)
        found: list[bytes] = []
        try:
            async with asyncio.timeout(WATCH_S if name.endswith("/WatchPayments") else 60):
                while (answer := await stream.read()) is not grpc.aio.EOF:
                    found.append(answer)
        except TimeoutError:
            stream.cancel()
        return found
    if method.client_streaming:
        return [await channel.stream_unary(name)(iter(sent), timeout=60)]
    return [await channel.unary_unary(name)(sent[0], timeout=60)]


def _twin(name: str) -> str:
    """A name of the same form, of what is not there."""
    if name.startswith("reconciliationRuns/"):
        return name  # the whole gateway's own: every office reads them
    other = name.replace(FOREIGN, NOWHERE).replace("hexin", "nobod")
    return other if other != name else name.translate(_NEXT_DIGIT)


_NEXT_DIGIT: Final = str.maketrans("0123456789", "1234567890")


def _as_of_nowhere(said: str, estate: Estate) -> str:
    """What was said, with the names of what is not there in place of the foreign ones."""
    for name in sorted(estate.names, key=len, reverse=True):
        said = said.replace(name, _twin(name))
    return said.replace(FOREIGN, NOWHERE)


# --- what must hold ---------------------------------------------------------------------------


def test_only_the_operator_sees_every_estate() -> None:
    """So every other role is called with a foreign estate below."""
    all_seeing = {
        role for role in Role if Caller("p", "x", "0", frozenset({role})).scope == GATEWAY
    }
    assert all_seeing == {Role.OPERATOR}
    assert set(STRANGERS) == set(Role) - all_seeing


async def test_no_method_tells_or_changes_anything_of_a_foreign_estate(
    gateway: Gateway, callers: Callers, clock: StillClock
) -> None:
    desk = Desk(gateway, callers, clock)
    await _enrol_strangers(desk)
    estate = await _fill(desk, callers)
    before = await _digests(gateway.store)
    wrong = [
        f"{role} {name}: {trouble}"
        for role, who in STRANGERS.items()
        for name, trouble in (await _troubles(callers, who, estate)).items()
    ]
    assert wrong == []
    assert await _digests(gateway.store) == before


async def _enrol_strangers(desk: Desk) -> None:
    known = set(desk.callers.pki.people)
    new_party = True
    for who in STRANGERS.values():
        if who not in known:
            await desk.enrol(who, new_party=new_party)
            new_party = False


async def _troubles(callers: Callers, who: Who, estate: Estate) -> dict[str, str]:
    """By method, what is wrong with how it answers somebody with a foreign estate."""
    channel: Any = await callers.channel(callers.pki.people[who])
    sound = {
        "envelope": envelope(estate.payload, who),
        "content": CONTENT,
        "size_bytes": len(CONTENT),
    }
    foreign = Builder(estate.names, sound)
    nowhere = Builder([_twin(name) for name in estate.names], sound)
    found = {}
    for name, method in DESCRIBED.items():
        told = await _call(channel, name, foreign.messages(method))
        if who.role not in METHODS[name]:
            wrong = "" if "ROLE_NOT_ALLOWED" in told.said else f"not refused: {told}"
        elif name in OPEN_REGISTER and who.role in OFFICES:
            continue
        else:
            twin = await _call(channel, name, nowhere.messages(method))
            wrong = _difference(told, twin, estate)
        if wrong:
            found[name] = wrong
    return found


def _difference(told: Told, twin: Told, estate: Estate) -> str:
    """How a foreign estate is told from one that is not there; empty if it is not."""
    as_of_nowhere = _as_of_nowhere(told.said, estate)
    if (told.code, as_of_nowhere) != (twin.code, twin.said):
        return f"{told.code} {as_of_nowhere} is not {twin.code} {twin.said}"
    # What was sent may be repeated, as of what is not there it is.
    unasked = told.said
    for name in estate.names:
        unasked = unasked.replace(name, "")
    leaked = [secret for secret in estate.secrets if secret in unasked]
    return f"tells {leaked}" if leaked else ""


async def _digests(store: Store) -> dict[str, str]:
    """What each table holds, by a digest."""
    async with store.transaction(GATEWAY) as conn:
        return {
            name: await conn.scalar(
                sa.text(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {name} t")  # noqa: S608 - names of our own tables
            )
            for name in t.metadata.tables
            if name not in RECORDS
        }


@pytest.mark.parametrize(
    ("roles", "certificate", "reason"),
    [
        ([], "registered", "ROLE_NOT_ALLOWED"),
        (["OPERATOR"], "unknown", "CERTIFICATE_UNKNOWN"),
        (["OPERATOR"], "revoked", "CERTIFICATE_REVOKED"),
    ],
)
async def test_no_method_answers_somebody_without_a_role_or_a_certificate_in_force(
    store: Store, callers: Callers, roles: list[str], certificate: str, reason: str
) -> None:
    async with store.engine.begin() as owner:
        changed = t.persons.update().where(t.persons.c.person_id == OPERATOR.person_id)
        await owner.execute(changed.values(roles=roles))
    pair = callers.pki.people[OPERATOR]
    if certificate != "registered":
        pair = callers.pki.issue(OPERATOR)
    if certificate == "revoked":
        ids = (OPERATOR.party_id, OPERATOR.person_id)
        async with store.transaction(GATEWAY) as conn:
            pem = pair.certificate_pem.decode()
            added = await create_certificate(conn, *ids, pem=pem, now=NOW)
            await revoke_certificate(conn, *ids, added.fingerprint, now=NOW)
    channel: Any = await callers.channel(pair)
    builder = Builder(OF_ANYTHING)
    told = {
        name: await _call(channel, name, builder.messages(method))
        for name, method in DESCRIBED.items()
    }
    assert {name: each for name, each in told.items() if reason not in each.said} == {}


OF_ANYTHING: Final = (
    "funds/wutong/payments/p1",
    "funds/wutong/batches/b1",
    "transmissions/t1",
    f"funds/wutong/cases/{'0' * 32}",
    "funds/wutong/resolutions/r1",
    f"funds/wutong/matches/{'0' * 32}/r1",
    f"funds/wutong/vouchers/{'0' * 64}",
    "funds/wutong/bankAccounts/main",
    "funds/wutong/budgetLines/cleaning",
    "funds/wutong/questions/q1",
    "funds/wutong/periods/monthly-2026-10",
    "funds/wutong/nightCertificates/1",
    "funds/wutong/lines/1",
    f"parties/anju/persons/cashier/publicKeys/{'0' * 64}",
    f"parties/anju/persons/cashier/certificates/{'0' * 64}",
    "parties/anju/persons/cashier/mandates/m1",
    "estates/wutong/appointments/anju",
    "changes/c1",
    "reconciliationRuns/r1",
    f"quarantinedFiles/{'0' * 64}",
    "funds/wutong",
    "estates/wutong",
    "parties/anju/persons/cashier",
    "parties/anju",
)
"""A name of every form."""
