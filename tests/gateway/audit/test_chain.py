"""The entry's bytes and the chain over them, without a database."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit import anchor
from gateway.audit.anchor import Anchor, AnchorError
from gateway.audit.chain import GENESIS, Head, follow, links
from gateway.audit.entry import Entry

if TYPE_CHECKING:
    from pathlib import Path

# What PostgreSQL can hold and a bounded text may be.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1)).map(lambda each: each.replace(tzinfo=UTC))  # noqa: DTZ001 - its zone follows
ENTRIES = st.builds(Entry, MOMENTS, *[TEXTS] * (len(fields(Entry)) - 1))
HEADS = st.builds(Head, st.integers(0, 2**62), st.binary(min_size=32, max_size=32))


@given(ENTRIES)
def test_the_bytes_of_an_entry_are_those_of_rfc_8785(entry: Entry) -> None:
    assert entry.content == rfc8785.dumps(json.loads(entry.content))


@given(ENTRIES, st.sampled_from([field.name for field in fields(Entry)]), TEXTS)
def test_every_field_counts_for_the_digest(entry: Entry, name: str, other: str) -> None:
    value: Any = entry.at + timedelta(microseconds=1) if name == "at" else other
    changed = replace(entry, **{name: value})
    assert (changed.digest == entry.digest) is (changed == entry)


@given(ENTRIES)
def test_a_moment_counts_the_same_in_every_zone(entry: Entry) -> None:
    there = entry.at.astimezone(timezone(timedelta(hours=8)))
    assert replace(entry, at=there).digest == entry.digest


@given(HEADS, st.lists(st.binary(min_size=32, max_size=32), max_size=20), st.integers(0, 20))
def test_links_made_in_two_batches_are_those_of_one(
    head: Head, digests: list[bytes], cut: int
) -> None:
    first = links(head, digests[:cut])
    assert first + links(first[-1] if first else head, digests[cut:]) == links(head, digests)


@given(HEADS, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_is_linked_cannot_change_or_move(head: Head, digest: bytes, other: bytes) -> None:
    assert (follow(head, digest) == follow(head, other)) is (digest == other)
    assert follow(follow(head, digest), other).hash != follow(follow(head, other), digest).hash or (
        digest == other
    )
    assert follow(Head(head.sequence + 1, head.hash), digest).hash != follow(head, digest).hash


def test_an_anchor_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert anchor.read(tmp_path) is None
    for sequence in (1, 2):
        written = Anchor(follow(Head(sequence - 1, bytes(32)), b"x"), datetime.now(UTC))
        anchor.write(written, tmp_path)
        assert anchor.read(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == ["anchor.json"]


def test_an_anchor_set_aside_stays_as_evidence(tmp_path: Path) -> None:
    written = Anchor(follow(GENESIS, b"x"), datetime.now(UTC))
    anchor.write(written, tmp_path)
    anchor.set_aside(tmp_path)
    assert anchor.read(tmp_path) is None
    (kept,) = tmp_path.iterdir()
    assert written.head.hash.hex()[:16] in kept.name
    assert kept.read_bytes() == written.to_json()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"format": 2}',
        b'{"format": 1, "at": "then", "audit": {"sequence": 1, "hash": "00"}}',
        b'{"format": 1, "at": "2026-11-20T01:00:00+00:00", "audit": {"sequence": 1, "hash": "x"}}',
        b"\xff",
    ],
)
def test_a_broken_anchor_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / anchor.FILE_NAME).write_bytes(content)
    with pytest.raises(AnchorError, match=r"anchor\.json"):
        anchor.read(tmp_path)
