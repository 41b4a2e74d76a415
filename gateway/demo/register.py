"""Building the demo's world through the gateway's own calls, as an operator and a trustee would.

The operator proposes who may act, sign and decide; the trustee's checker, whom the founding of the
gateway registered, reads it and confirms it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from google.type import date_pb2  # type: ignore[import-untyped] # it ships no stubs
from xinyi.v1 import change_service_pb2 as change_pb
from xinyi.v1 import common_pb2 as common
from xinyi.v1 import fund_service_pb2 as fund_pb
from xinyi.v1 import party_service_pb2 as party_pb

from gateway.client import MAX_ITEMS, call, collect, confirm_changes
from gateway.demo import world
from gateway.demo.people import request_id
from gateway.domain.keys import key_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.client import Stubs
    from gateway.demo.people import People

BANK_CODE = "102651000010"
"""联行号 of the demo's bank."""

_FEN = 100


@dataclass(frozen=True, slots=True)
class Register:
    """The operator at work.

    Attributes:
        people: everybody's certificates and keys.
        operator: the operator's calls.
        day: the first day of the demo.
    """

    people: People
    operator: Stubs
    day: date

    async def everything(self) -> None:
        """Parties and persons, estates and funds, and who may do what."""
        for party_id, name in world.PARTIES.items():
            if party_id != world.OPERATOR:
                await self._party(party_id, name)
        for person in world.PEOPLE:
            if person != world.OPERATOR_PERSON:
                await self._person(person)
        for estate in world.ESTATES:
            await self._estate(estate)

    async def confirm_as(self, person: world.Person) -> int:
        """Has a person of another party confirm all that they may; how many changes it was."""
        changes = (await self.people.calls(person)).changes
        request = change_pb.ListChangesRequest(confirmable=True)
        shown = await collect(changes.ListChanges, request, MAX_ITEMS)
        return len(await confirm_changes(changes, shown.changes))

    async def _party(self, party_id: str, name: str) -> None:
        party = party_pb.Party(display_name=name)
        await call(
            self.operator.parties.CreateParty,
            party_pb.CreatePartyRequest(party_id=party_id, party=party, request_id=request_id()),
        )

    async def _person(self, person: world.Person) -> None:
        parent = f"parties/{person.party}"
        message = party_pb.Person(
            display_name=person.display_name,
            natural_person=natural_person(person),
            roles=[role(person.role.value)],
        )
        await call(
            self.operator.parties.CreatePerson,
            party_pb.CreatePersonRequest(
                parent=parent, person_id=person.person, person=message, request_id=request_id()
            ),
        )
        name = f"{parent}/persons/{person.person}"
        pem = (self.people.home(person) / "client.pem").read_text()
        await call(
            self.operator.parties.CreateCertificate,
            party_pb.CreateCertificateRequest(
                parent=name, certificate=party_pb.Certificate(pem=pem), request_id=request_id()
            ),
        )
        if person.limit_yuan:
            await self._right_to_sign(person, name)

    async def _right_to_sign(self, person: world.Person, name: str) -> None:
        public_key = self.people.signing_key(person).public_key()
        start, end = self._span()
        message = party_pb.PublicKey(
            name=f"{name}/publicKeys/{key_id(public_key)}",
            ed25519=public_key.public_bytes_raw(),
            start_time=start,
            expire_time=end,
        )
        await call(
            self.operator.parties.CreatePublicKey,
            party_pb.CreatePublicKeyRequest(
                parent=name, public_key=message, request_id=request_id()
            ),
        )
        mandate = party_pb.Mandate(
            role=role(person.role.value),
            limit=cny(person.limit_yuan * _FEN),
            start_time=start,
            expire_time=end,
        )
        await call(
            self.operator.parties.CreateMandate,
            party_pb.CreateMandateRequest(
                parent=name, mandate_id="payments", mandate=mandate, request_id=request_id()
            ),
        )

    def _span(self) -> tuple[Timestamp, Timestamp]:
        """From before the demo to long after it."""
        first = datetime.combine(self.day, datetime.min.time(), UTC) - timedelta(days=1)
        start, end = Timestamp(), Timestamp()
        start.FromDatetime(first)
        end.FromDatetime(first + timedelta(days=730))
        return start, end

    async def _estate(self, estate: world.Estate) -> None:
        funds = self.operator.funds
        message = fund_pb.Estate(display_name=estate.display_name, group=estate.group)
        await call(
            funds.CreateEstate,
            fund_pb.CreateEstateRequest(
                estate_id=estate.estate_id, estate=message, request_id=request_id()
            ),
        )
        parent = f"estates/{estate.estate_id}"
        for party_id in self._appointed(estate):
            appointment = fund_pb.Appointment(party=f"parties/{party_id}")
            await call(
                funds.CreateAppointment,
                fund_pb.CreateAppointmentRequest(
                    parent=parent, appointment=appointment, request_id=request_id()
                ),
            )
        await self._fund(estate)

    def _appointed(self, estate: world.Estate) -> Sequence[str]:
        owners = f"{estate.estate_id}-owners"
        known = (owners,) if owners in world.PARTIES else ()
        return (world.TRUSTEE, world.SUPERVISOR, estate.firm, estate.committee, *known)

    async def _fund(self, estate: world.Estate) -> None:
        funds = self.operator.funds
        fund = fund_pb.Fund(
            estate=f"estates/{estate.estate_id}",
            display_name=f"{estate.display_name}共有基金",
            trustee=f"parties/{world.TRUSTEE}",
        )
        await call(
            funds.CreateFund,
            fund_pb.CreateFundRequest(fund_id=estate.estate_id, fund=fund, request_id=request_id()),
        )
        parent = f"funds/{estate.estate_id}"
        account = fund_pb.BankAccount(
            account_number=estate.account_number,
            holder_name=f"{world.PARTIES[world.TRUSTEE]}（{estate.display_name}）",
            bank_code=BANK_CODE,
            bank_profile=world.BANK,
            opening_balance=cny(estate.opening_minor),
            opening_date=day_message(self.day),
        )
        await call(
            funds.CreateBankAccount,
            fund_pb.CreateBankAccountRequest(
                parent=parent,
                bank_account_id="main",
                bank_account=account,
                request_id=request_id(),
            ),
        )
        for budget in world.BUDGETS:
            await self._budget(parent, budget)
        await self._policy(parent)

    async def _budget(self, parent: str, budget: world.Budget) -> None:
        line = fund_pb.BudgetLine(
            book=common.Book.Value(f"BOOK_{budget.book}"),
            category=budget.category,
            display_name=f"{budget.category}年度预算",
            limit=cny(budget.limit_yuan * _FEN),
            start_date=day_message(self.day - timedelta(days=30)),
            end_date=day_message(self.day + timedelta(days=365)),
        )
        await call(
            self.operator.funds.CreateBudgetLine,
            fund_pb.CreateBudgetLineRequest(
                parent=parent,
                budget_line_id=budget.budget_id,
                budget_line=line,
                request_id=request_id(),
            ),
        )

    async def _policy(self, parent: str) -> None:
        tier = fund_pb.SigningTier(
            first_roles=[role("OWNERS_COMMITTEE")], second_roles=[role("TRUSTEE_CHECKER")]
        )
        await call(
            self.operator.funds.SetSigningPolicy,
            fund_pb.SetSigningPolicyRequest(
                parent=parent,
                signing_policy=fund_pb.SigningPolicy(tiers=[tier]),
                request_id=request_id(),
            ),
        )


def natural_person(person: world.Person) -> str:
    """Stands in for the registrar's keyed digest of an identity document."""
    return sha256(f"demo human {person.human or person.key}".encode()).hexdigest()


def role(name: str) -> common.Role.ValueType:
    """A role of the contract by its name without prefix."""
    return common.Role.Value(f"ROLE_{name}")


def cny(amount_minor: int) -> common.Money:
    """So many fen."""
    return common.Money(amount_minor=amount_minor, currency="CNY")


def day_message(day: date) -> date_pb2.Date:
    """A day as the contract writes it."""
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)
