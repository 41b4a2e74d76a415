"""The witnesses that the gateway shows its logs to, and what comes of asking them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, HttpUrl, ValidationError
from sqlalchemy.dialects import postgresql as pg

from gateway.disclosure import log
from gateway.store import tables as t
from gateway.transparency.checkpoint import parse_checkpoint
from gateway.transparency.merkle import consistency_nodes, consistency_proof
from gateway.transparency.note import CosigningKey, NoteError, open_note, parse_key, parse_note
from gateway.transparency.witness import Request

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.store import Row
    from gateway.transparency.note import Signature

_TIMEOUT_S: Final = 10.0
_MAX_ANSWER_BYTES: Final = 64 * 1024


class WitnessesError(ValueError):
    """The file of witnesses cannot be used; the message says why."""


class ForkedError(Exception):
    """A witness has seen another tree than the one the database has."""


class _Listed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    url: HttpUrl


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    witness: tuple[_Listed, ...]


@dataclass(frozen=True, slots=True)
class WitnessAt:
    """A witness that is asked.

    Attributes:
        key: by which it cosigns.
        url: where, without ``/add-checkpoint``.
    """

    key: CosigningKey
    url: str


def load_witnesses(path: Path) -> tuple[WitnessAt, ...]:
    """The witnesses in a TOML file: tables ``[[witness]]`` with ``key`` and ``url``.

    Raises:
        WitnessesError: if it is no such file.
        OSError: if it cannot be read.
    """
    try:
        listed = _File.model_validate(tomllib.loads(path.read_text())).witness
        return tuple(_witness(each) for each in listed)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError, NoteError) as error:
        raise WitnessesError(f"{path}: {error}") from None


def _witness(listed: _Listed) -> WitnessAt:
    key = parse_key(listed.key)
    if not isinstance(key, CosigningKey):
        raise NoteError(f"{key.name} is the key of a log, not of a witness")
    return WitnessAt(key, str(listed.url).rstrip("/"))


async def last_cosigned(conn: AsyncConnection, log_id: str, witness: WitnessAt) -> int:
    """Size of the largest tree of the log that the witness is known to have cosigned."""
    line = t.cosignatures.c
    query = sa.select(sa.func.coalesce(sa.func.max(line.size), 0)).where(
        line.log_id == log_id, line.witness == witness.key.name
    )
    return int((await conn.execute(query)).scalar_one())


async def keep(conn: AsyncConnection, row: Row, witness: WitnessAt, line: Signature) -> None:
    """Puts a cosignature of the log's last checkpoint on record."""
    await conn.execute(
        pg.insert(t.cosignatures)
        .values(log_id=row.log_id, size=row.size, witness=witness.key.name, line=str(line))
        .on_conflict_do_nothing()
    )


async def ask(
    conn: AsyncConnection, client: httpx.AsyncClient, row: Row, witness: WitnessAt
) -> Signature:
    """The witness's cosignature of the log's last checkpoint.

    Args:
        conn: a snapshot of the database.
        client: by which it is asked.
        row: the log, of that snapshot.
        witness: whom.

    Raises:
        ForkedError: if the witness has seen what the database has not.
        httpx.HTTPError: if it cannot be reached, or answers with trouble of its own.
        NoteError: if its answer is none of its own.
    """
    old_size = await last_cosigned(conn, row.log_id, witness)
    # Once for what we believe it has seen, once for what it says.
    for _ in range(2):
        answer = await _post(conn, client, row, witness, old_size)
        if answer.status_code != HTTPStatus.CONFLICT:
            break
        old_size = _size_in(answer, row, witness)
    if answer.status_code in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}:
        message = f"{witness.key.name} has seen another tree of the log of {row.log_id}"
        raise ForkedError(message)
    answer.raise_for_status()
    note = await log.signed(conn, row.log_id)
    return open_note(parse_note(note + answer.text), [witness.key])[-1]


async def _post(
    conn: AsyncConnection,
    client: httpx.AsyncClient,
    row: Row,
    witness: WitnessAt,
    old_size: int,
) -> httpx.Response:
    note = parse_note(await log.signed(conn, row.log_id))
    size = parse_checkpoint(note.text).size
    read = await log.tree(conn, row.log_id, size, consistency_nodes(old_size, size))
    request = Request(old_size, tuple(consistency_proof(old_size, size, read)), note)
    url = f"{witness.url}/add-checkpoint"
    return await client.post(url, content=str(request).encode(), timeout=_TIMEOUT_S)


def _size_in(answer: httpx.Response, row: Row, witness: WitnessAt) -> int:
    """The size that a witness says it has seen last."""
    text = answer.text[:_MAX_ANSWER_BYTES].strip()
    if not text.isascii() or not text.isdecimal():
        raise NoteError(f"{witness.key.name} answers with no size")
    size = int(text)
    if size > row.size:
        raise ForkedError(
            f"{witness.key.name} has seen {size} entries of the log of {row.log_id},"
            f" the database has {row.size}"
        )
    return size
