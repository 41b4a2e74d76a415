"""The one table of who may call what. A method that is not in it is refused to everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.domain.errors import Reason, denied
from gateway.domain.party import Role
from gateway.rpc.trail import changes

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRM, _COMMITTEE = Role.PROPERTY_FIRM, Role.OWNERS_COMMITTEE
_MAKER, _CHECKER = Role.TRUSTEE_MAKER, Role.TRUSTEE_CHECKER
_OPERATOR, _SUPERVISOR = Role.OPERATOR, Role.SUPERVISOR

_ALL: Final = frozenset(Role)
_ALL_BUT_OWNER: Final = _ALL - {Role.OWNER}
_OFFICE: Final = frozenset({_OPERATOR, _MAKER, _CHECKER, _SUPERVISOR})
_DESK: Final = frozenset({_OPERATOR, _MAKER, _CHECKER})
"""Who works on cases."""
_DECIDERS: Final = frozenset({_OPERATOR, _CHECKER})
_ONLY_OPERATOR: Final = frozenset({_OPERATOR})


def _service(name: str, methods: Mapping[str, frozenset[Role]]) -> dict[str, frozenset[Role]]:
    return {f"/xinyi.v1.{name}/{method}": roles for method, roles in methods.items()}


METHODS: Final[Mapping[str, frozenset[Role]]] = {
    **_service(
        "ChangeService",
        {
            "ListChanges": _ALL_BUT_OWNER,
            "ConfirmChanges": frozenset({_COMMITTEE, _CHECKER}),
            "RejectChanges": frozenset({_OPERATOR, _COMMITTEE, _CHECKER}),
        },
    ),
    **_service(
        "PartyService",
        {
            "GetCaller": _ALL,
            "CreateParty": _ONLY_OPERATOR,
            # All, because everybody reads their own party; the servicer hides the others.
            "GetParty": _ALL,
            "ListParties": _OFFICE,
            "UpdateParty": _ONLY_OPERATOR,
            "CreatePerson": _ONLY_OPERATOR,
            "ListPersons": _ALL,
            "CreateCertificate": _ONLY_OPERATOR,
            "RevokeCertificate": _ONLY_OPERATOR,
            "ListCertificates": _ALL,
            "CreatePublicKey": _ONLY_OPERATOR,
            # All, because everybody may end their own key.
            "RevokePublicKey": _ALL,
            "ListPublicKeys": _ALL,
            "CreateMandate": _ONLY_OPERATOR,
            "RevokeMandate": _ONLY_OPERATOR,
            "ListMandates": _ALL,
        },
    ),
    **_service(
        "FundService",
        {
            "CreateEstate": _ONLY_OPERATOR,
            "GetEstate": _ALL,
            "ListEstates": _ALL,
            "CreateAppointment": _ONLY_OPERATOR,
            "EndAppointment": _ONLY_OPERATOR,
            "ListAppointments": _ALL_BUT_OWNER,
            "CreateFund": _ONLY_OPERATOR,
            "GetFund": _ALL,
            "ListFunds": _ALL,
            "UpdateFund": _ONLY_OPERATOR,
            "CreateBankAccount": _ONLY_OPERATOR,
            "ListBankAccounts": _ALL_BUT_OWNER,
            "CreateBudgetLine": frozenset({_OPERATOR, _MAKER}),
            "UpdateBudgetLine": frozenset({_OPERATOR, _MAKER}),
            "ListBudgetLines": _ALL_BUT_OWNER,
            "SetSigningPolicy": _ONLY_OPERATOR,
            "GetSigningPolicy": _ALL_BUT_OWNER,
        },
    ),
    **_service(
        "PaymentService",
        {
            "UploadVoucher": frozenset({_FIRM, _MAKER}),
            "SubmitPayment": frozenset({_FIRM}),
            "SubmitPayments": frozenset({_FIRM}),
            "GetPayment": _ALL_BUT_OWNER,
            "ListPayments": _ALL_BUT_OWNER,
            "SignPayment": frozenset({_FIRM, _COMMITTEE, _CHECKER}),
            "SignBatch": frozenset({_FIRM, _COMMITTEE, _CHECKER}),
            "PrepareResend": frozenset({_OPERATOR, _MAKER}),
            "RefusePayment": frozenset({_COMMITTEE, _CHECKER}),
            "WithdrawPayment": frozenset({_FIRM}),
            "WatchPayments": _ALL_BUT_OWNER,
        },
    ),
    **_service(
        "LedgerService",
        {
            "PostEntry": frozenset({_MAKER}),
            "ListLines": _OFFICE | {_COMMITTEE},
            "GetBalance": _ALL_BUT_OWNER,
        },
    ),
    **_service(
        "BankService",
        {
            "ImportStatement": _ONLY_OPERATOR,
            "ListStatements": _OFFICE,
            "ListBankEntries": _OFFICE,
            "ListTransmissions": frozenset({_OPERATOR, _MAKER, _CHECKER}),
            "GetTransmission": frozenset({_OPERATOR, _MAKER, _CHECKER}),
            "GetTransmissionFile": _ONLY_OPERATOR,
            "DeliverByHand": _ONLY_OPERATOR,
            "ConfirmDelivery": frozenset({_OPERATOR, _CHECKER}),
            "RetryTransmission": _ONLY_OPERATOR,
            "ListQuarantinedFiles": _ONLY_OPERATOR,
            "ReplayQuarantinedFile": _ONLY_OPERATOR,
        },
    ),
    **_service(
        "DisclosureService",
        {
            "ListDisclosedLines": _ALL,
            "GetDisclosedLine": _ALL,
            # An original may name private persons: owners read its rendition; signers sign it.
            "GetVoucher": _ALL_BUT_OWNER,
            "GetVoucherRendition": _ALL,
            "GetLineProof": _ALL,
            "ListNightCertificates": _ALL,
            "GetNightCertificateProof": _ALL,
            "GetFundSummary": _ALL,
            "GetGroupSummary": _ALL,
            "GetCheckpoint": _ALL,
        },
    ),
    **_service(
        "QuestionService",
        {
            "AskQuestion": frozenset({Role.OWNER, _COMMITTEE, _SUPERVISOR}),
            "AnswerQuestion": frozenset({_FIRM, _MAKER, _CHECKER}),
            "GetQuestion": _ALL,
            "ListQuestions": _ALL,
            "GetQuestionPhoto": _ALL,
            "OpenCase": _OFFICE,
        },
    ),
    **_service(
        "DutyService",
        {
            "SetDisclosureRules": _ONLY_OPERATOR,
            "GetDisclosureRules": _ALL,
            "PublishPeriod": frozenset({_FIRM, _MAKER, _CHECKER}),
            "ListPeriods": _ALL,
            "ItemiseLine": frozenset({_FIRM, _MAKER}),
            "EraseLine": _ONLY_OPERATOR,
            "RenderVoucher": frozenset({_FIRM, _MAKER, _CHECKER}),
            "GetFirmRecord": _ALL,
        },
    ),
    **_service(
        "ReconciliationService",
        {
            "StartRun": _ONLY_OPERATOR,
            "GetRun": _OFFICE,
            "ListRuns": _OFFICE,
            "UndoRun": _ONLY_OPERATOR,
            "ListBalanceProofs": _OFFICE,
            "ListMatches": _OFFICE,
            "GetMatch": _OFFICE,
            "UndoMatch": _DESK,
            "ListRuleRecords": _OFFICE,
            "ListCases": _OFFICE,
            "GetCase": _OFFICE,
            "AssignCase": _DESK,
            "CommentCase": _OFFICE,
            "ProposeResolution": _DESK,
            "ListResolutions": _OFFICE,
            "ApproveResolution": _DECIDERS,
            "RejectResolution": _DECIDERS,
            "WithdrawResolution": _DESK,
            "UndoResolution": _DECIDERS,
            "AcceptProposals": _DESK,
            "ApproveResolutions": _DECIDERS,
            "ExportCases": _OFFICE,
            "ImportResolutions": _DESK,
        },
    ),
    **_service(
        "AuditService",
        {
            "ListAuditEntries": _OFFICE,
            "GetRollback": _OFFICE,
            "AcknowledgeRollback": frozenset({_OPERATOR, _CHECKER, _SUPERVISOR}),
        },
    ),
}
"""Full method name to the roles of which the caller must hold one; from the contract's comments."""


def admit(method: str, roles: frozenset[Role]) -> None:
    """Passes if one of the roles may call the method.

    Raises:
        GatewayError: ROLE_NOT_ALLOWED.
    """
    if roles.isdisjoint(METHODS.get(method, frozenset())):
        raise denied(Reason.ROLE_NOT_ALLOWED, f"no role of yours may call {method}", method=method)


SERVICES_OF_MONEY: Final = frozenset(
    f"xinyi.v1.{name}Service" for name in ("Payment", "Ledger", "Bank", "Reconciliation")
)
_OF_MONEY: Final = tuple(f"/{name}/" for name in sorted(SERVICES_OF_MONEY))


def is_held(method: str) -> bool:
    """Whether nobody may call the method while the database lacks what was anchored.

    That is whatever would move money or change the books on top of what is lost, and the files for
    a bank. Reads go on, and so does the register: keys can be revoked, and who has to acknowledge
    the loss can be registered again.
    """
    hands_out = method.endswith("/GetTransmissionFile")
    return method.startswith(_OF_MONEY) and (changes(method) or hands_out)


def is_published(method: str) -> bool:
    """Whether the method shows owners what is published, and so must not while that is broken."""
    return method.startswith("/xinyi.v1.DisclosureService/")
