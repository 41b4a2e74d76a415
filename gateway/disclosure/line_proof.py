"""The file by which an owner checks one line without the gateway: a tlog-proof with the line in it.

The proof is https://c2sp.org/tlog-proof; its extra data is what the owner was shown, the line's
salt, and the keys under which it was made. From line and salt the entry is made again, so that a
line that was shown otherwise than it was logged does not verify.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gateway.disclosure.entry import Line, line_entry
from gateway.domain.canonical import canonical_json
from gateway.transparency.note import CosigningKey, Key, NoteError, cosigned_at, parse_key
from gateway.transparency.proof import Proof, parse_proof, verify_proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.transparency.note import Note

SUFFIX: Final = ".tlog-proof"
"""Of the file's name, as the specification wants it."""


class _Extra(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    schema_: Literal["xinyi.line-proof/v1"] = Field(default="xinyi.line-proof/v1", alias="schema")
    line: Line
    salt: Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
    log_key: str
    witness_keys: Annotated[tuple[str, ...], Field(strict=False, max_length=16)]


@dataclass(frozen=True, slots=True)
class Shown:
    """A line with what it takes to make its entry, and the keys that its log goes by.

    Attributes:
        line: as owners are shown it.
        salt: of the line.
        log_key: of the log, written ``name+id+base64``.
        witness_keys: of the witnesses whose cosignatures the proof holds.
    """

    line: Line
    salt: bytes
    log_key: str
    witness_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a proof has proved.

    Attributes:
        line: the line that stands in the log, word for word.
        index: where.
        size: of the tree that was signed.
        root: of that tree.
        log_key: under which key the log signed.
        pinned: whether that key, and every witness's, came from the reader and not from the file.
        witnesses: name and POSIX time of each cosignature.
    """

    line: Line
    index: int
    size: int
    root: bytes
    log_key: str
    pinned: bool
    witnesses: tuple[tuple[str, int], ...]


def written(shown: Shown, index: int, hashes: Sequence[bytes], checkpoint: Note) -> str:
    """The proof file."""
    extra = _Extra(
        line=shown.line,
        salt=shown.salt.hex(),
        log_key=shown.log_key,
        witness_keys=shown.witness_keys,
    )
    data = canonical_json(extra.model_dump(mode="json", by_alias=True))
    return str(Proof(index, tuple(hashes), checkpoint, data))


def check(text: str, log_key: str | None = None, witness_keys: Sequence[str] = ()) -> Checked:
    """Passes only if every signature, every hash and the line as it is shown agree.

    Args:
        text: of the file.
        log_key: under which the log must have signed; None to take the file's word for it.
        witness_keys: each of these must have cosigned; none to take those of the file.

    Raises:
        NoteError: if it is no such file, or a signature is missing or wrong.
        ProofError: if the line is not where the proof says.
    """
    proof = parse_proof(text)
    extra = _extra(proof.extra)
    log = parse_key(log_key or extra.log_key)
    if not isinstance(log, Key):
        raise NoteError(f"{log.name} is the key of a witness, not of a log")
    witnesses = [_witness(key) for key in witness_keys or extra.witness_keys]
    entry = line_entry(extra.line, bytes.fromhex(extra.salt))
    verified = verify_proof(proof, entry, log, witnesses, len(witnesses))
    return Checked(
        extra.line,
        proof.index,
        verified.checkpoint.size,
        verified.checkpoint.root,
        str(log),
        log_key is not None and bool(witness_keys or not extra.witness_keys),
        tuple((each.name, cosigned_at(each)) for each in verified.witnesses),
    )


def _extra(data: bytes) -> _Extra:
    try:
        return _Extra.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise NoteError(f"its extra data are no line: {where}: {first['msg']}") from None


def _witness(written_key: str) -> CosigningKey:
    key = parse_key(written_key)
    if not isinstance(key, CosigningKey):
        raise NoteError(f"{key.name} is not the key of a witness")
    return key
