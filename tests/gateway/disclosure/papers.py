"""Vouchers made by hand, so that it is known what is in them and where."""

from __future__ import annotations

import zlib
from io import BytesIO

from PIL import Image, PngImagePlugin

NAME = "OUYANG-XIAOMING"
PHONE = "13800138000"
IDENTITY = "11010519491231002X"
SECRETS = (NAME, PHONE, IDENTITY)
"""What must not come through in any form."""

SIZE_PT = (595, 842)

_FONT = b"/Resources<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"


def pdf(*lines: tuple[int, int, str], pages: int = 1, page: bytes = b"", info: str = "") -> bytes:
    """A PDF whose pages each have these lines of text.

    Args:
        lines: place from the left and the lower edge, in points, and text.
        pages: how many.
        page: further entries of each page.
        info: its title and author, and a file attached to it.
    """
    drawn = "".join(f"BT /F 12 Tf {x} {y} Td ({text}) Tj ET\n" for x, y, text in lines).encode()
    first = 6
    kids = " ".join(f"{first + at} 0 R" for at in range(pages)).encode()
    names = b"/Names<</EmbeddedFiles<</Names[(a)<</Type/Filespec/F(a)/EF<</F 5 0 R>>>>]>>>>"
    box = b"/MediaBox[0 0 %d %d]" % SIZE_PT
    own = b"<</Type/Page/Parent 2 0 R/Contents 4 0 R" + (page or box) + _FONT + b">>"
    return whole(
        b"<</Type/Catalog/Pages 2 0 R" + names + b">>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        f"<</Title({info})/Author({info})>>".encode(),
        stream(b"", drawn),
        stream(b"/Type/EmbeddedFile", info.encode()),
        *[own] * pages,
    )


def whole(*objects: bytes, trailer: bytes = b"") -> bytes:
    """A PDF of objects, of which the first is its catalogue and the third its description."""
    out, starts = b"%PDF-1.7\n", []
    for number, each in enumerate(objects, 1):
        starts.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    count = len(objects) + 1
    end = b"trailer\n<</Size %d/Root 1 0 R/Info 3 0 R%s>>\n" % (count, trailer)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % count
    return out + head + table + end + b"startxref\n%d\n%%%%EOF\n" % len(out)


def stream(entries: bytes, content: bytes) -> bytes:
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(content), content)


def encrypted() -> bytes:
    """Opens with a password that nobody has."""
    locked = b"/Encrypt<</Filter/Standard/V 1/R 2/Length 40/P -4/O<%s>/U<%s>>>/ID[<00><00>]"
    return whole(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[]/Count 0>>",
        b"<<>>",
        trailer=locked % (b"41" * 32, b"42" * 32),
    )


def photo(kind: str = "JPEG", size: tuple[int, int] = (400, 200), turned: int = 1) -> bytes:
    """White, its upper left quarter red; names a person in EXIF, comment and description.

    Args:
        kind: JPEG or PNG.
        size: as stored.
        turned: the camera's note which way is up.
    """
    picture = Image.new("RGB", size, "white")
    picture.paste("red", (0, 0, size[0] // 2, size[1] // 2))
    exif = picture.getexif()
    exif[0x0112], exif[0x010E], exif[0x013B] = turned, PHONE, NAME
    told, out = PngImagePlugin.PngInfo(), BytesIO()
    told.add_text("Author", f"{NAME} {IDENTITY}")
    extra = {"comment": f"{NAME} {IDENTITY}"} if kind == "JPEG" else {"pnginfo": told}
    picture.save(out, kind, exif=exif, **extra)
    return out.getvalue()


def boundless_png() -> bytes:
    """A small file of 100,000 by 100,000 pixels."""
    head = (100_000).to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, parts))


def _chunk(part: tuple[bytes, bytes]) -> bytes:
    kind, content = part
    check = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + check
