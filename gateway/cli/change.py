"""`xinyi change`: what decides who can pay, proposed by one party and confirmed by another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from google.protobuf.message import Message
from xinyi.v1.change_service_pb2 import (
    Change,
    ChangeState,
    ListChangesRequest,
    ListChangesResponse,
    RejectChangesRequest,
)
from xinyi.v1.common_pb2 import Role
from xinyi.v1.duty_service_pb2 import EraseLineRequest, SetDisclosureRulesRequest
from xinyi.v1.fund_service_pb2 import CreateAppointmentRequest, SetSigningPolicyRequest, SigningTier
from xinyi.v1.party_service_pb2 import (
    CreateCertificateRequest,
    CreateMandateRequest,
    CreatePublicKeyRequest,
)

from gateway.cli.estate import clock_in_words, share_in_words
from gateway.cli.frame import Complaint, Session, group, remote
from gateway.cli.labels import label
from gateway.cli.options import Limit, Reason, Yes, new_request_id, resource
from gateway.cli.screen import Column, Row
from gateway.cli.status import MISMATCH
from gateway.cli.text import minor, moment, money, person
from gateway.client import MAX_ITEMS, call, collect, confirm_changes, listing_digest
from gateway.domain.duties import BEFORE_ANY

app = group("What decides who can pay: proposed by one party, confirmed by another 登记变更.")

_CHANGES: Final = (
    Column("变更", "Change"),
    Column("状态", "State"),
    Column("对象", "What", prose=True),
    Column("内容", "Content", prose=True),
    Column("提议人", "Proposed by"),
    Column("提议（北京）", "When (Beijing)"),
    Column("决定人", "Decided by"),
    Column("决定（北京）", "When (Beijing)"),
    Column("理由", "Reason", prose=True),
)

_Name = Annotated[
    str,
    typer.Argument(parser=resource("changes"), metavar="CHANGE", help="As `change list` shows it."),
]


@remote(app, "list")
async def _list(
    session: Session,
    party: Annotated[
        str | None,
        typer.Option("--party", parser=resource("parties"), metavar="PARTY", help="About a party."),
    ] = None,
    estate: Annotated[
        str | None,
        typer.Option(
            "--estate", parser=resource("estates"), metavar="ESTATE", help="About an estate."
        ),
    ] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that wait for you; tells their digest.")
    ] = False,
    limit: Limit = 500,
) -> None:
    """List who changed what decides who can pay, and who confirmed it, newest first."""
    if party and estate:
        raise Complaint("--party or --estate, not both", "--party 与 --estate 只能用一个")
    request = ListChangesRequest(parent=party or estate or "", confirmable=waiting)
    answer = await collect(session.stubs.changes.ListChanges, request, limit)
    session.screen.list(answer, _CHANGES, (_row(each, session) for each in answer.changes))
    if waiting and answer.changes:
        _say_digest(answer.changes, session)


@remote(app, "confirm")
async def _confirm(
    session: Session,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            parser=resource("changes"), metavar="[CHANGE]...", help="As `change list` shows them."
        ),
    ] = None,
    all_waiting: Annotated[
        bool, typer.Option("--all-waiting", help="All that wait for you.")
    ] = False,
    digest: Annotated[
        str,
        typer.Option(
            "--digest",
            metavar="HEX",
            help="Only if the whole listing still has this digest; then nothing is asked.",
        ),
    ] = "",
    yes: Yes = False,
) -> int | None:
    """Read what another party proposed, agree, and put it in force.

    Many at once: list them, check the list, and confirm the digest that it tells. Exit status 1
    where you said no.
    """
    if bool(names) == all_waiting:
        raise Complaint("give names, or --all-waiting", "请给出名称，或用 --all-waiting")
    shown = await _chosen(session, names or ())
    if not shown:
        session.screen.say("没有待您确认的变更", "nothing waits for you")
        return None
    if digest and digest != listing_digest(shown):
        raise Complaint("what waits is not what was listed", "待确认的内容与所列不同")
    if not digest and not yes and not _agreed(shown, session):
        session.screen.say("未确认", "not confirmed")
        return MISMATCH
    confirmed = await confirm_changes(session.stubs.changes, shown)
    answer = ListChangesResponse(changes=confirmed)
    session.screen.list(answer, _CHANGES, (_row(each, session) for each in confirmed))
    return None


@remote(app, "reject")
async def _reject(session: Session, name: _Name, reason: Reason) -> None:
    """Turn a change down, or take your own party's back; it never takes effect."""
    request = RejectChangesRequest(names=[name], reason=reason, request_id=new_request_id())
    answer = await call(session.stubs.changes.RejectChanges, request)
    session.screen.list(answer, _CHANGES, (_row(each, session) for each in answer.changes))


async def _chosen(session: Session, names: Sequence[str]) -> list[Change]:
    """The changes of these names that wait for the person, or all that do."""
    request = ListChangesRequest(confirmable=True)
    waiting = (await collect(session.stubs.changes.ListChanges, request, MAX_ITEMS)).changes
    by_name = {each.name: each for each in waiting}
    if missing := [name for name in names if name not in by_name]:
        raise Complaint("no such change waits for you", "没有这样的变更待您确认", *missing)
    return [by_name[name] for name in names] if names else list(waiting)


def _agreed(shown: Sequence[Change], session: Session) -> bool:
    rows = (_row(each, session) for each in shown)
    session.screen.table(_CHANGES, rows, on_error=True)
    _say_digest(shown, session)
    return session.screen.agree("以上内容无误，确认生效吗？", "Put exactly this in force?")


def _say_digest(changes: Sequence[Change], session: Session) -> None:
    digest = listing_digest(changes)
    session.screen.say(
        f"共 {len(changes)} 项，摘要 {digest}", f"{len(changes)} in all, digest {digest}"
    )


def _row(change: Change, session: Session) -> Row:
    return (
        change.name,
        label(ChangeState, change.state, session.screen.lang),
        change.resource,
        _content(change, session),
        person(change.proposer),
        moment(change.create_time),
        person(change.decider),
        moment(change.decide_time),
        change.reason,
    )


# --- what a change consists of, from its own bytes ---


def _content(change: Change, session: Session) -> str:
    """The proposed content in one line; empty where something was ended."""
    for message_type, words in _WORDS.items():
        message = message_type()
        if change.content.Unpack(message):
            return "; ".join(words(message, session))
    return change.content.type_url


def _certificate(asked: CreateCertificateRequest, session: Session) -> Iterable[str]:
    yield session.screen.pick("登录证书", "client certificate")
    yield asked.parent


def _key(asked: CreatePublicKeyRequest, session: Session) -> Iterable[str]:
    yield session.screen.pick("签名公钥", "signing key")
    yield asked.parent
    yield f"{moment(asked.public_key.start_time)} – {moment(asked.public_key.expire_time)}"


def _mandate(asked: CreateMandateRequest, session: Session) -> Iterable[str]:
    mandate = asked.mandate
    yield session.screen.pick("签署授权", "may sign")
    yield asked.parent
    yield label(Role, mandate.role, session.screen.lang)
    yield mandate.fund or session.screen.pick("所任小区的全部基金", "every fund it serves")
    yield "≤ " + money(mandate.limit)
    yield f"{moment(mandate.start_time)} – {moment(mandate.expire_time)}"


def _appointment(asked: CreateAppointmentRequest, session: Session) -> Iterable[str]:
    yield session.screen.pick("任用", "appoint")
    yield asked.appointment.party


def _policy(asked: SetSigningPolicyRequest, session: Session) -> Iterable[str]:
    yield session.screen.pick("签署规则", "signing policy")
    for tier in asked.signing_policy.tiers:
        yield _tier(tier, session)


def _rules(asked: SetDisclosureRulesRequest, session: Session) -> Iterable[str]:
    rules, pick = asked.disclosure_rules, session.screen.pick
    yield pick("公示规则", "rules of disclosure")
    days = rules.answer_working_days or BEFORE_ANY.answer_working_days
    yield pick(f"答复 {days} 个工作日", f"answers in {days} working days")
    for clock in rules.clocks:
        yield clock_in_words(clock, session.screen.lang)
    if rules.itemised_categories:
        categories = "、".join(rules.itemised_categories)
        yield pick(f"须列明细：{categories}", f"told by item: {categories}")
    if rules.HasField("bill_share"):
        share = share_in_words(rules.bill_share, session.screen.lang)
        yield pick(f"分摊：{share}", f"share in common bills: {share}")


def _erasure(asked: EraseLineRequest, session: Session) -> Iterable[str]:
    yield session.screen.pick("删除个人信息，不可恢复", "erase personal data, for ever")
    yield asked.line
    yield asked.reason


def _tier(tier: SigningTier, session: Session) -> str:
    """``≤ 1,000.00: committee + checker``."""
    bound = f"≤ {minor(tier.up_to_minor, 'CNY')}" if tier.up_to_minor else "∞"
    slots = (
        "/".join(label(Role, role, session.screen.lang) for role in roles)
        for roles in (tier.first_roles, tier.second_roles)
    )
    return f"{bound}: {' + '.join(slots)}"


_WORDS: Final[Mapping[type[Message], Callable[[Any, Session], Iterable[str]]]] = {
    CreateCertificateRequest: _certificate,
    CreatePublicKeyRequest: _key,
    CreateMandateRequest: _mandate,
    CreateAppointmentRequest: _appointment,
    SetSigningPolicyRequest: _policy,
    SetDisclosureRulesRequest: _rules,
    EraseLineRequest: _erasure,
}
