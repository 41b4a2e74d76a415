"""Page tokens: every row once, in order, and no token that is not of this query."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xinyi.v1 import party_service_pb2 as pb

from gateway.domain.errors import GatewayError, Reason
from gateway.rpc.paging import DEFAULT_SIZE, MAX_SIZE, next_token, page_of
from tests.gateway.support import OPERATOR, Callers, refusal

KEY = "ListThings/all"


LONE = base64.urlsafe_b64encode(rb'["331d4008ed9c5353", "\ud800"]').decode()
"""Half of a pair of surrogates, which is no text to any database."""


def _request(size: int = 0, token: str = "") -> pb.ListPartiesRequest:
    return pb.ListPartiesRequest(page_size=size, page_token=token)


def _token(*parts: str, key: str = KEY) -> str:
    return next_token(key, [parts, parts], 1, lambda row: row)


@given(st.sets(st.text("abc", min_size=1, max_size=4)), st.integers(1, 7))
def test_pages_together_are_all_rows_once_in_order(ids: set[str], size: int) -> None:
    rows = sorted(ids)
    seen: list[str] = []
    token = ""
    for _ in range(len(rows) + 1):
        page = page_of(_request(size, token), KEY)
        found = [row for row in rows if row > page.after_id][: page.fetch]
        seen += found[: page.size]
        token = next_token(KEY, found, page.size, lambda row: (row,))
        if not token:
            break
    assert seen == rows


@given(st.lists(st.text(max_size=8).filter(lambda text: "\0" not in text), min_size=1, max_size=3))
def test_token_gives_back_the_key_it_was_made_of(parts: list[str]) -> None:
    page = page_of(_request(token=_token(*parts)), KEY, *[str] * len(parts))
    assert page.after == tuple(parts)


def test_size_is_a_hundred_unless_said_and_never_above_a_thousand() -> None:
    assert page_of(_request(), KEY).size == DEFAULT_SIZE
    assert page_of(_request(5), KEY).size == 5
    assert page_of(_request(5000), KEY).size == MAX_SIZE


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "!!!!",
        "bnVsbA",
        "W10",
        "WzFd",
        _token("a", key="Other"),
        _token("a", "b"),
        _token("a\0"),
        LONE,
    ],
)
def test_token_of_another_query_or_of_nobody_is_refused(token: str) -> None:
    with pytest.raises(GatewayError) as caught:
        page_of(_request(token=token), KEY)
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


@given(st.text(max_size=60))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with pytest.raises(GatewayError) as caught:
        page_of(_request(token=text or "-"), KEY)
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


def test_part_that_its_parser_refuses_is_refused() -> None:
    with pytest.raises(GatewayError):
        page_of(_request(token=_token("x")), KEY, int)


async def test_list_over_the_wire_comes_whole_in_pages(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    whole = await operator.parties.ListParties(_request())
    names: list[str] = []
    token = ""
    for _ in whole.parties:
        page = await operator.parties.ListParties(_request(2, token))
        names += [party.name for party in page.parties]
        token = page.next_page_token
        if not token:
            break
    assert names == [party.name for party in whole.parties]
    assert names == sorted(names)


async def test_token_of_one_parent_is_no_token_of_another(callers: Callers) -> None:
    operator = await callers.as_(OPERATOR)
    page = await operator.parties.ListPersons(
        pb.ListPersonsRequest(parent="parties/trust", page_size=1)
    )
    assert page.next_page_token
    refused = await refusal(
        operator.parties.ListPersons(
            pb.ListPersonsRequest(parent="parties/anju", page_token=page.next_page_token)
        )
    )
    assert refused.reason == "PAGE_TOKEN_INVALID"
    assert [violation.field for violation in refused.violations] == ["page_token"]
