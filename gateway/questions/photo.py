"""A photo that goes with a question, without what it says of where and by whom it was taken.

Nothing is decoded: the file is gone through part by part, and only those parts are kept that are
needed to show it. So place, device, time, thumbnail and whatever lies behind the picture go; the
camera's note which way is up goes with them.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from gateway.domain.errors import Reason, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_BYTES: Final = 5 * 1024 * 1024

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"bKGD"}
)
_WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ICCP", b"ANIM", b"ANMF"})
_WEBP_METADATA: Final = 0x0C
"""Of the flags in VP8X: there is EXIF, there is XMP."""

_START, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_APPLICATION: Final = range(0xE0, 0xF0)
_COLOURS: Final[Mapping[int, bytes]] = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
"""Segments of applications that say how colours are meant, by marker and how they begin."""
_JFIF_BARE: Final = 14
"""Bytes of its segment where it holds no thumbnail."""
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})


class _MalformedError(Exception):
    """The file is not what its first bytes say."""


def clean_photo(content: bytes) -> tuple[str, bytes]:
    """The media type of a photo, by its own bytes, and the photo without metadata.

    Raises:
        GatewayError: FIELD_INVALID for what is no JPEG, PNG or WebP, or a broken one.
    """
    for magic, media_type, cleaned in _FORMATS:
        if content.startswith(magic):
            try:
                return media_type, cleaned(content)
            except (_MalformedError, IndexError, struct.error):
                raise invalid(
                    Reason.FIELD_INVALID, "content", f"is a broken {media_type}"
                ) from None
    raise invalid(Reason.FIELD_INVALID, "content", "is no JPEG, PNG or WebP picture")


# --- JPEG (ITU-T T.81) --------------------------------------------------------------------------


def _clean_jpeg(content: bytes) -> bytes:
    return b"".join(_jpeg_parts(content))


def _jpeg_parts(content: bytes) -> Iterator[bytes]:
    """What is kept, up to the end of the image: phones put films and second images behind it."""
    yield content[:2]
    at, scanned = 2, False
    while True:
        at, marker = _next_marker(content, at)
        if marker == _END:
            if not scanned:
                raise _MalformedError
            yield bytes((0xFF, _END))
            return
        if marker == _START:
            raise _MalformedError
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack_from(">H", content, at)
        end = at + length
        if length < 2 or end > len(content):  # noqa: PLR2004 - the length counts itself
            raise _MalformedError
        if _is_kept(marker, content[at + 2 : end]):
            yield bytes((0xFF, marker)) + content[at:end]
        at = end
        if marker == _SCAN:
            scanned, at = True, _end_of_scan(content, end)
            yield content[end:at]


def _next_marker(content: bytes, at: int) -> tuple[int, int]:
    """Where the marker's segment begins, and the marker; any number of 0xFF may stand before."""
    if content[at] != 0xFF:  # noqa: PLR2004 - as the standard has it
        raise _MalformedError
    while content[at] == 0xFF:  # noqa: PLR2004 - as above
        at += 1
    return at + 1, content[at]


def _is_kept(marker: int, segment: bytes) -> bool:
    if marker == _APPLICATION[0] and len(segment) > _JFIF_BARE:
        return False
    if marker in _APPLICATION:
        return marker in _COLOURS and segment.startswith(_COLOURS[marker])
    return marker != _COMMENT


def _end_of_scan(content: bytes, at: int) -> int:
    """The marker behind coded data, in which 0xFF stands before 0 and restart markers only."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0:
            raise _MalformedError
        if content[at + 1] != 0 and content[at + 1] not in _WITHOUT_LENGTH:
            return at
        at += 2


# --- PNG (ISO/IEC 15948) ------------------------------------------------------------------------


def _clean_png(content: bytes) -> bytes:
    parts, at, kind = [_PNG], len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        (check,) = struct.unpack_from(">I", content, end - 4)
        if check != zlib.crc32(content[at + 4 : end - 4]):
            raise _MalformedError
        if kind in _PNG_KEPT:
            parts.append(content[at:end])
        at = end
    return b"".join(parts)


# --- WebP (RFC 9649) ----------------------------------------------------------------------------


def _clean_webp(content: bytes) -> bytes:
    (size,) = struct.unpack_from("<I", content, 4)
    end = 8 + size
    if content[8:12] != b"WEBP" or end > len(content):
        raise _MalformedError
    kept = b"WEBP" + b"".join(_webp_parts(content, 12, end))
    return b"RIFF" + struct.pack("<I", len(kept)) + kept


def _webp_parts(content: bytes, at: int, end: int) -> Iterator[bytes]:
    while at < end:
        kind, length = struct.unpack_from("<4sI", content, at)
        after = at + 8 + length + length % 2
        if after > end:
            raise _MalformedError
        chunk = content[at:after]
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes((chunk[8] & ~_WEBP_METADATA,)) + chunk[9:]
        if kind in _WEBP_KEPT:
            yield chunk
        at = after


_FORMATS: Final[tuple[tuple[bytes, str, Callable[[bytes], bytes]], ...]] = (
    (b"\xff\xd8\xff", "image/jpeg", _clean_jpeg),
    (_PNG, "image/png", _clean_png),
    (b"RIFF", "image/webp", _clean_webp),
)
