"""Small pictures, made by hand so that every byte of them is known."""

from __future__ import annotations

import struct
import zlib

SECRET = b"GPS 30.6570,104.0660 PHONE-OF-WANG"
"""What must not come through."""


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(*extra: bytes, behind: bytes = b"") -> bytes:
    """With a scan whose data has a stuffed 0xFF and a restart marker in it."""
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"
    tables = segment(0xDB, bytes(65)) + segment(0xC0, bytes(9)) + segment(0xC4, bytes(20))
    jfif = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
    return b"\xff\xd8" + jfif + b"".join(extra) + tables + scan + b"\xff\xd9" + behind


def chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def png(*extra: bytes, behind: bytes = b"") -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + data + chunk(b"IEND", b"") + behind


def riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def webp(*extra: bytes, flags: int = 0, behind: bytes = b"") -> bytes:
    head = riff(b"VP8X", bytes((flags, 0, 0, 0, 0, 0, 0, 0, 0, 0)))
    whole = b"WEBP" + head + riff(b"VP8 ", b"\x10\x20\x30") + b"".join(extra)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole + behind
