"""The file by which an owner checks a line or a night without the gateway: a tlog-proof with it in.

The proof is https://c2sp.org/tlog-proof; its extra data are what the owner was shown, and the keys
under which it was made. Of a line the entry is made again from the line and its salt, so that a
line that was shown otherwise than it was logged does not verify. Of a night's certificate it is the
certificate itself, and what that sums up must come to what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from gateway.disclosure.entry import Line, line_entry
from gateway.domain.canonical import canonical_json
from gateway.domain.certificate import Certificate, Details, contradiction
from gateway.domain.logged import Logged
from gateway.transparency.note import (
    CosigningKey,
    Key,
    NoteError,
    cosigned_at,
    open_note,
    parse_key,
)
from gateway.transparency.proof import Proof, parse_proof, verify_proof
from gateway.transparency.sm2 import parse_sm2_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.transparency.note import Note

SUFFIX: Final = ".tlog-proof"
"""Of the file's name, as the specification wants it."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys under which a proof is made, each written ``name+id+base64``.

    Attributes:
        log: of the log.
        sm2: of the SM2 line beside it; empty where there is none.
        witnesses: of those whose cosignatures the proof holds.
    """

    log: str
    sm2: str = ""
    witnesses: tuple[str, ...] = ()


_Salt = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]


class _Shown(Logged):
    """What an owner was shown; nothing of it is believed before it is checked.

    Attributes:
        log_key: of the log, written ``name+id+base64``.
        sm2_key: of the SM2 line beside the log's own; empty where there is none.
        witness_keys: of the witnesses whose cosignatures the proof holds.
    """

    log_key: str
    sm2_key: str = ""
    witness_keys: Annotated[tuple[str, ...], Field(strict=False, max_length=16)]


class ShownLine(_Shown):
    """A line with what it takes to make its entry.

    Attributes:
        schema_: of this record.
        line: as owners are shown it.
        salt: of the line, hexadecimal.
    """

    schema_: Literal["xinyi.line-proof/v1"] = Field(default="xinyi.line-proof/v1", alias="schema")
    line: Line
    salt: _Salt

    def entry(self) -> bytes:
        """The entry that the log must have."""
        return line_entry(self.line, bytes.fromhex(self.salt))


class ShownCertificate(_Shown):
    """A night's certificate with what it sums up.

    Attributes:
        schema_: of this record.
        certificate: as it was logged.
        details: every entry of the bank that it speaks of, and every line.
    """

    schema_: Literal["xinyi.certificate-proof/v1"] = Field(
        default="xinyi.certificate-proof/v1", alias="schema"
    )
    certificate: Certificate
    details: Details

    def entry(self) -> bytes:
        """The entry that the log must have.

        Raises:
            NoteError: if the certificate and what it sums up do not agree.
        """
        if why := contradiction(self.certificate, self.details):
            raise NoteError(why)
        return self.certificate.entry()


Shown: TypeAlias = ShownLine | ShownCertificate
_SHOWN: Final[TypeAdapter[Shown]] = TypeAdapter(Annotated[Shown, Field(discriminator="schema_")])


@dataclass(frozen=True, slots=True)
class Checked:
    """What a proof has proved.

    Attributes:
        shown: the line or the certificate that stands in the log, word for word.
        index: where.
        size: of the tree that was signed.
        root: of that tree.
        log_key: under which key the log signed.
        sm2_key: under which it signed by SM2 as well; empty where it did not.
        pinned: whether these keys, and every witness's, came from the reader and not from the file.
        witnesses: name and POSIX time of each cosignature.
    """

    shown: Shown
    index: int
    size: int
    root: bytes
    log_key: str
    sm2_key: str
    pinned: bool
    witnesses: tuple[tuple[str, int], ...]


def written(shown: Shown, index: int, hashes: Sequence[bytes], checkpoint: Note) -> str:
    """The proof file."""
    data = canonical_json(shown.model_dump(mode="json", by_alias=True))
    return str(Proof(index, tuple(hashes), checkpoint, data))


def check(
    text: str,
    log_key: str | None = None,
    witness_keys: Sequence[str] = (),
    sm2_key: str | None = None,
) -> Checked:
    """Passes only if every signature, every hash and what is shown agree.

    Args:
        text: of the file.
        log_key: under which the log must have signed; None to take the file's word for it.
        sm2_key: under which it must have signed by SM2 as well; None to take the file's word.
        witness_keys: each of these must have cosigned; none to take those of the file.

    Raises:
        NoteError: if it is no such file, or a signature is missing or wrong.
        ProofError: if what is shown is not where the proof says.
    """
    proof = parse_proof(text)
    shown = _shown(proof.extra)
    log = parse_key(log_key or shown.log_key)
    if not isinstance(log, Key):
        raise NoteError(f"{log.name} is the key of a witness, not of a log")
    witnesses = [_witness(key) for key in witness_keys or shown.witness_keys]
    verified = verify_proof(proof, shown.entry(), log, witnesses, len(witnesses))
    sm2 = sm2_key or shown.sm2_key
    if sm2:
        _require_sm2(proof.checkpoint, sm2, log)
    return Checked(
        shown,
        proof.index,
        verified.checkpoint.size,
        verified.checkpoint.root,
        str(log),
        sm2,
        log_key is not None
        and bool(witness_keys or not shown.witness_keys)
        and bool(sm2_key or not shown.sm2_key),
        tuple((each.name, cosigned_at(each)) for each in verified.witnesses),
    )


def _shown(data: bytes) -> Shown:
    try:
        return _SHOWN.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = f"its extra data are no line and no certificate: {where}: {first['msg']}"
        raise NoteError(message) from None


def _require_sm2(checkpoint: Note, written_key: str, log: Key) -> None:
    key = parse_sm2_key(written_key)
    if key.name != log.name:
        raise NoteError(f"the SM2 key is of {key.name}, not of {log.name}")
    open_note(checkpoint, [key])


def _witness(written_key: str) -> CosigningKey:
    key = parse_key(written_key)
    if not isinstance(key, CosigningKey):
        raise NoteError(f"{key.name} is not the key of a witness")
    return key
