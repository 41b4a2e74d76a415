from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from xinyi.v1.party_service_pb2 import (
    GetCallerRequest,
    ListPartiesRequest,
    ListPartiesResponse,
    Party,
)

from gateway.client import (
    CallRefused,
    ProfileError,
    call,
    collect,
    connect,
    decode_error,
    read_profile,
    stubs,
    write_profile,
)
from gateway.domain.errors import FieldViolation
from tests.gateway.cli.fake import make_person, refusal
from tests.gateway.support import FIRM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.cli.fake import FakeGateway
    from tests.gateway.support import Pki


def test_a_profile_that_was_written_is_read_back_and_nobody_else_can_read_it(
    tmp_path: Path, pki: Pki
) -> None:
    make_person(tmp_path, "firm.zhao", "localhost:50443", pki)
    profile = read_profile(tmp_path / "firm.zhao")
    assert (profile.server, profile.environment, profile.lang) == ("localhost:50443", "test", "zh")
    assert profile.key.read_bytes() == pki.people[FIRM].key_pem
    assert all(file.stat().st_mode & 0o077 == 0 for file in profile.directory.iterdir())
    assert profile.directory.stat().st_mode & 0o077 == 0


def test_who_never_signs_has_no_signing_key(tmp_path: Path) -> None:
    profile = write_profile(
        tmp_path / "gateway.ops",
        server="localhost:1",
        environment="test",
        lang="en",
        ca_pem=b"a",
        certificate_pem=b"b",
        key_pem=b"c",
    )
    assert not profile.signing_key.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "server = ",
        'server = "x:1"\nenvironment = "test"\nlang = "fr"\n',
        'server = "no port"\nenvironment = "test"\nlang = "zh"\n',
        'server = "x:1"\nenvironment = "test"\nlang = "zh"\nproxy = "y"\n',
        '\ud800server = "x:1"',
    ],
)
def test_a_profile_that_breaks_a_rule_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ProfileError, match=r"profile\.toml"):
        read_profile(tmp_path)


def test_a_profile_without_its_certificate_is_refused_by_name(tmp_path: Path, pki: Pki) -> None:
    make_person(tmp_path, "firm.zhao", "localhost:1", pki)
    profile = read_profile(tmp_path / "firm.zhao")
    profile.certificate.unlink()
    with pytest.raises(ProfileError, match=r"client\.pem"):
        connect(profile)


async def test_a_refusal_is_decoded_with_all_its_details(
    fake: FakeGateway, tmp_path: Path, pki: Pki
) -> None:
    make_person(tmp_path, "firm.zhao", fake.address, pki)
    fake.answers["GetCaller"] = refusal(
        "FIELD_INVALID",
        "it is wrong",
        "不符合要求",
        code=grpc.StatusCode.INVALID_ARGUMENT,
        fields={"payment.purpose": "is empty"},
    )
    async with connect(read_profile(tmp_path / "firm.zhao")) as channel:
        with pytest.raises(CallRefused) as raised:
            await call(stubs(channel).parties.GetCaller, GetCallerRequest())
    refused = raised.value
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert (refused.message, refused.message_zh) == ("it is wrong", "不符合要求")
    assert refused.violations == (FieldViolation("payment.purpose", "is empty"),)
    assert refused.metadata == {"a": "b"}


def test_a_failure_without_details_still_has_a_reason_in_both_languages() -> None:
    empty = grpc.aio.Metadata()
    error = grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, empty, empty, "too late")
    assert str(decode_error(error)) == "DEADLINE_EXCEEDED: too late / 请求未完成"


def test_details_that_contradict_the_status_are_not_believed() -> None:
    status = refusal("SAME_PERSON", "no", "不").SerializeToString()
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status))
    error = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailing, "gone")
    assert decode_error(error).reason == "NOT_FOUND"


async def test_pages_are_asked_for_until_the_limit_and_no_further(
    fake: FakeGateway, tmp_path: Path, pki: Pki
) -> None:
    make_person(tmp_path, "firm.zhao", fake.address, pki)
    page = ListPartiesResponse(parties=[Party(name="parties/p")], next_page_token="t")  # noqa: S106 - of a page
    fake.turns["ListParties"] = [page, ListPartiesResponse(next_page_token="t"), page]  # noqa: S106 - as above
    async with connect(read_profile(tmp_path / "firm.zhao")) as channel:
        whole = await collect(stubs(channel).parties.ListParties, ListPartiesRequest(), 2)
    assert (len(whole.parties), whole.next_page_token) == (2, "t")
    assert [asked.page_size for [asked] in fake.requests("ListParties")] == [2, 1, 1]
