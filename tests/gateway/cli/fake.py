"""A gateway that answers what a test tells it to, behind real mutual TLS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import (  # type: ignore[import-untyped] # it ships no stubs
    error_details_pb2,
    status_pb2,
)
from grpc_status import rpc_status
from xinyi.v1 import (
    audit_service_pb2_grpc,
    bank_service_pb2_grpc,
    change_service_pb2_grpc,
    disclosure_service_pb2_grpc,
    duty_service_pb2_grpc,
    fund_service_pb2_grpc,
    ledger_service_pb2_grpc,
    party_service_pb2_grpc,
    payment_service_pb2_grpc,
    question_service_pb2_grpc,
    reconciliation_service_pb2_grpc,
)

from gateway.client import write_profile
from gateway.domain.keys import dump_private_key
from gateway.pki import create_ca, issue_person
from tests.gateway.domain.examples import private_key
from tests.gateway.support import FIRM, LONG, Pki

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_SERVICES = (
    audit_service_pb2_grpc,
    bank_service_pb2_grpc,
    change_service_pb2_grpc,
    disclosure_service_pb2_grpc,
    duty_service_pb2_grpc,
    fund_service_pb2_grpc,
    ledger_service_pb2_grpc,
    party_service_pb2_grpc,
    payment_service_pb2_grpc,
    question_service_pb2_grpc,
    reconciliation_service_pb2_grpc,
)

_HELD_S = 20


@dataclass
class FakeGateway:
    """Answers by method name: a message, a list of them (a stream), or a status to refuse with.

    The answer may be a list of turns under `turns`, one a call. What was asked is in `asked`.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    turns: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[tuple[str, list[Any]]] = field(default_factory=list)
    address: str = ""
    _held: dict[str, Event] = field(default_factory=dict)
    _after: dict[str, tuple[int, Event]] = field(default_factory=dict)

    def hold(self, method: str, answer: Any) -> Event:
        """Answers only once the event is set."""
        self.answers[method] = answer
        return self._held.setdefault(method, Event())

    def after(self, method: str, count: int, event: Event) -> None:
        """Sets the event once a method was asked so often."""
        self._after[method] = count, event

    def requests(self, method: str) -> list[list[Any]]:
        return [messages for name, messages in self.asked if name == method]

    def answer(self, method: str, messages: list[Any], context: Any) -> Any:
        self.asked.append((method, messages))
        count, event = self._after.get(method, (0, None))
        if event and len(self.requests(method)) >= count:
            event.set()
        if method in self._held:
            self._held[method].wait(_HELD_S)
        turns = self.turns.get(method)
        told = turns.pop(0) if turns else self.answers.get(method)
        if told is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the test gave no answer to {method}")
        if isinstance(told, status_pb2.Status):
            context.abort_with_status(rpc_status.to_status(told))
        return told


class _Handler(grpc.GenericRpcHandler):
    """Finds a method among the contract's descriptors and answers it from the fake."""

    def __init__(self, fake: FakeGateway) -> None:
        self._fake = fake

    def service(self, handler_call_details: Any) -> Any:
        _, service, method = handler_call_details.method.split("/")
        said = _method(service, method)
        request_type, answer_type = (
            said.input_type._concrete_class,
            said.output_type._concrete_class,
        )

        def run(asked: Any, context: Any) -> Any:
            messages = list(asked) if said.client_streaming else [asked]
            return self._fake.answer(method, messages, context)

        def run_stream(asked: Any, context: Any) -> Iterator[Any]:
            yield from self._fake.answer(method, [asked], context)

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
        }[said.client_streaming, said.server_streaming]
        return make(
            run_stream if said.server_streaming else run,
            request_deserializer=request_type.FromString,
            response_serializer=answer_type.SerializeToString,
        )


def _method(service: str, method: str) -> Any:
    from google.protobuf import descriptor_pool  # noqa: PLC0415 - only here

    return descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]


def refusal(
    reason: str,
    message: str,
    message_zh: str,
    *,
    code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION,
    fields: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> status_pb2.Status:
    """A refusal as the gateway writes it."""
    status = status_pb2.Status(code=code.value[0], message=f"{reason}: {message}")
    said = metadata or {"a": "b"}
    info = error_details_pb2.ErrorInfo(reason=reason, domain="xinyi.v1", metadata=said)
    status.details.add().Pack(info)
    zh = error_details_pb2.LocalizedMessage(locale="zh-CN", message=message_zh)
    status.details.add().Pack(zh)
    if fields:
        bad = error_details_pb2.BadRequest()
        for path, description in fields.items():
            bad.field_violations.add(field=path, description=description)
        status.details.add().Pack(bad)
    return status


@contextmanager
def serving(tls: dict[str, Path]) -> Iterator[FakeGateway]:
    fake = FakeGateway()
    with ThreadPoolExecutor(max_workers=4) as pool:
        server = grpc.server(pool, handlers=[_Handler(fake)])
        credentials = grpc.ssl_server_credentials(
            [(tls["tls_key"].read_bytes(), tls["tls_certificate"].read_bytes())],
            root_certificates=tls["tls_client_ca"].read_bytes(),
            require_client_auth=True,
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        fake.address = f"127.0.0.1:{port}"
        yield fake
        server.stop(grace=None).wait()


def other_pki() -> Pki:
    """The same person's certificate by an authority that the gateway does not trust."""
    ca = create_ca("another", LONG)
    return Pki(ca, {FIRM: issue_person(ca, FIRM.party_id, FIRM.person_id, LONG)})


def make_person(people: Path, name: str, address: str, pki: Pki, environment: str = "test") -> None:
    write_profile(
        people / name,
        server=address,
        environment=environment,
        lang="zh",
        ca_pem=pki.ca.certificate_pem,
        certificate_pem=pki.people[FIRM].certificate_pem,
        key_pem=pki.people[FIRM].key_pem,
        signing_key_pem=dump_private_key(private_key("wang")),
    )
