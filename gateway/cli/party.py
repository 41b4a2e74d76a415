"""`xinyi party`: who is registered, and with what rights."""

from typing import Annotated

import typer
from xinyi.v1.common_pb2 import Role
from xinyi.v1.duty_service_pb2 import FactKind, GetFirmRecordRequest
from xinyi.v1.party_service_pb2 import (
    GetCallerRequest,
    GetPartyRequest,
    ListCertificatesRequest,
    ListMandatesRequest,
    ListPartiesRequest,
    ListPersonsRequest,
    ListPublicKeysRequest,
    Person,
)

from gateway.cli.frame import EVERYONE, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import Limit, PersonArgument, one_of, resource
from gateway.cli.screen import Column
from gateway.cli.text import day, last, moment, money, short
from gateway.client import call, collect

app = group("Parties, their persons, certificates, keys and mandates 参与方登记.")

_NAME = Column("名称", "Name")
_TITLE = Column("全称", "Registered name", prose=True)
_ROLES = Column("角色", "Roles", prose=True)
_EXPIRES = Column("有效期至（北京）", "Valid until (Beijing)")
_REVOKED = Column("撤销时间（北京）", "Revoked (Beijing)")
_CREDIT_CODE = Column("统一社会信用代码", "Credit code")

_FACTS = (
    Column("事项", "What"),
    Column("基金", "Fund"),
    Column("对象", "About"),
    Column("应办日", "Due"),
    Column("补办日", "Done"),
    Column("记录时间（北京）", "Recorded (Beijing)"),
)

_PartyArgument = Annotated[
    str, typer.Argument(parser=resource("parties"), metavar="PARTY", help="ID, or parties/ID.")
]


def _roles(person: Person, session: Session) -> str:
    return ", ".join(label(Role, role, session.screen.lang) for role in person.roles)


async def whoami(session: Session) -> None:
    """Show who the gateway takes you for, and your roles."""
    answer = await call(session.stubs.parties.GetCaller, GetCallerRequest())
    facts = (
        (Column("身份", "Person"), answer.person.name),
        (Column("姓名", "Name", prose=True), answer.person.display_name),
        (_ROLES, _roles(answer.person, session)),
        (Column("机构", "Party"), answer.party.display_name),
        (Column("网关", "Gateway"), session.profile.server),
        (Column("环境", "Environment"), session.profile.environment),
    )
    session.screen.one(answer, facts)


@remote(app, "list", EVERYONE)
async def _list(session: Session, limit: Limit = 500) -> None:
    """List the parties."""
    answer = await collect(session.stubs.parties.ListParties, ListPartiesRequest(), limit)
    rows = ((p.name, p.display_name, p.social_credit_code) for p in answer.parties)
    session.screen.list(answer, (_NAME, _TITLE, _CREDIT_CODE), rows)


@remote(app, "show", EVERYONE)
async def _show(session: Session, party: _PartyArgument) -> None:
    """Show one party."""
    answer = await call(session.stubs.parties.GetParty, GetPartyRequest(name=party))
    said = answer.party
    facts = (
        (_NAME, said.name),
        (_TITLE, said.display_name),
        (_CREDIT_CODE, said.social_credit_code),
        (Column("登记时间（北京）", "Registered (Beijing)"), moment(said.create_time)),
    )
    session.screen.one(answer, facts)


@remote(app, "persons", EVERYONE)
async def _persons(session: Session, party: _PartyArgument, limit: Limit = 500) -> None:
    """List the persons who act for a party."""
    request = ListPersonsRequest(parent=party)
    answer = await collect(session.stubs.parties.ListPersons, request, limit)
    rows = ((p.name, p.display_name, _roles(p, session)) for p in answer.persons)
    session.screen.list(answer, (_NAME, Column("姓名", "Person", prose=True), _ROLES), rows)


@remote(app, "certificates", EVERYONE)
async def _certificates(session: Session, person: PersonArgument, limit: Limit = 500) -> None:
    """List a person's client certificates, revoked ones included."""
    request = ListCertificatesRequest(parent=person)
    answer = await collect(session.stubs.parties.ListCertificates, request, limit)
    rows = (
        (last(c.name), moment(c.expire_time), moment(c.revoke_time)) for c in answer.certificates
    )
    columns = (Column("证书摘要（SHA-256）", "Certificate (SHA-256)"), _EXPIRES, _REVOKED)
    session.screen.list(answer, columns, rows)


@remote(app, "keys", EVERYONE)
async def _keys(session: Session, person: PersonArgument, limit: Limit = 500) -> None:
    """List a person's signing keys, revoked ones included."""
    request = ListPublicKeysRequest(parent=person)
    answer = await collect(session.stubs.parties.ListPublicKeys, request, limit)
    rows = (
        (last(k.name), moment(k.expire_time), moment(k.revoke_time)) for k in answer.public_keys
    )
    columns = (Column("公钥摘要（SHA-256）", "Public key (SHA-256)"), _EXPIRES, _REVOKED)
    session.screen.list(answer, columns, rows)


@remote(app, "mandates", EVERYONE)
async def _mandates(session: Session, person: PersonArgument, limit: Limit = 500) -> None:
    """List what a person may sign and up to how much, ended mandates included."""
    request = ListMandatesRequest(parent=person)
    answer = await collect(session.stubs.parties.ListMandates, request, limit)
    rows = (
        (
            last(m.name),
            label(Role, m.role, session.screen.lang),
            m.fund or session.screen.pick("全部", "all"),
            money(m.limit),
            moment(m.expire_time),
            moment(m.revoke_time),
        )
        for m in answer.mandates
    )
    columns = (
        Column("授权", "Mandate"),
        Column("角色", "Role", prose=True),
        Column("基金", "Fund"),
        Column("单笔上限", "Limit", right=True),
        _EXPIRES,
        _REVOKED,
    )
    session.screen.list(answer, columns, rows)


@remote(app, "record", EVERYONE)
async def _record(
    session: Session,
    party: _PartyArgument,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            parser=one_of(FactKind),
            metavar="KIND",
            help="LATE_DISCLOSURE, UNANSWERED_QUESTION, MISSING_DETAIL or UNRECONCILED_LINE.",
        ),
    ] = None,
    limit: Limit = 500,
) -> None:
    """List what was not done by its day in the estates that a firm serves: facts, no score."""
    request = GetFirmRecordRequest(name=party, kinds=map(FactKind.Value, kinds or ()))
    answer = await collect(session.stubs.duties.GetFirmRecord, request, limit)
    lang = session.screen.lang
    rows = (
        (
            label(FactKind, fact.kind, lang),
            last(fact.fund),
            short(fact.resource),
            day(fact.due_date),
            day(fact.done_date),
            moment(fact.record_time),
        )
        for fact in answer.facts
    )
    session.screen.list(answer, _FACTS, rows)
