"""What is kept of a photo: the picture, and nothing that says where or by whom it was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import GatewayError, Reason
from gateway.questions.photo import clean_photo
from tests.gateway.questions.pictures import SECRET, chunk, jpeg, png, riff, segment, webp

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = [("image/jpeg", jpeg()), ("image/png", png()), ("image/webp", webp())]

TOLD_ON = [
    (jpeg(segment(0xE1, b"Exif\0\0" + SECRET)), jpeg()),
    (jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + SECRET)), jpeg()),
    (jpeg(segment(0xED, b"Photoshop 3.0\0" + SECRET)), jpeg()),
    (jpeg(segment(0xE2, b"MPF\0" + SECRET)), jpeg()),
    (jpeg(segment(0xE0, b"JFXX\0" + SECRET)), jpeg()),
    (jpeg(segment(0xE0, b"JFIF\0" + SECRET)), jpeg()),
    (jpeg(segment(0xFE, SECRET)), jpeg()),
    (jpeg(behind=SECRET), jpeg()),
    (png(chunk(b"eXIf", SECRET)), png()),
    (png(chunk(b"tEXt", b"Author\0" + SECRET)), png()),
    (png(chunk(b"tIME", SECRET)), png()),
    (png(behind=SECRET), png()),
    (webp(riff(b"EXIF", SECRET), flags=0x08), webp()),
    (webp(riff(b"XMP ", SECRET), flags=0x04), webp()),
    (webp(behind=SECRET), webp()),
]


@pytest.mark.parametrize(("media_type", "content"), PLAIN)
def test_a_photo_without_metadata_stays_byte_for_byte(media_type: str, content: bytes) -> None:
    assert clean_photo(content) == (media_type, content)


@pytest.mark.parametrize(("told", "bare"), TOLD_ON)
def test_what_tells_on_who_took_it_is_left_out_and_the_picture_stays(
    told: bytes, bare: bytes
) -> None:
    assert SECRET in told
    assert clean_photo(told)[1] == bare


def test_colours_are_kept() -> None:
    profile = segment(0xE2, b"ICC_PROFILE\0\x01\x01colours")
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01")
    assert clean_photo(jpeg(profile, adobe))[1] == jpeg(profile, adobe)


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"GIF89a", b"%PDF-1.7", b"<svg/>", b"\xff\xd8", b"RIFF", b"RIFF\4\0\0\0WAVE"],
)
def test_what_is_no_such_picture_is_refused(content: bytes) -> None:
    assert _refused(lambda: clean_photo(content))


def test_a_jpeg_without_a_picture_is_refused() -> None:
    assert _refused(lambda: clean_photo(b"\xff\xd8\xff\xd9"))


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    broken = bytearray(png())
    broken[20] ^= 1
    assert _refused(lambda: clean_photo(bytes(broken)))


@pytest.mark.parametrize(("_type", "content"), PLAIN)
def test_a_photo_that_breaks_off_anywhere_is_refused(_type: str, content: bytes) -> None:
    for end in range(len(content)):
        assert _refused(lambda cut=content[:end]: clean_photo(cut)), end  # type: ignore[misc]


@given(st.sampled_from([content for _, content in PLAIN]), st.binary(max_size=200), st.data())
def test_whatever_comes_is_refused_or_clean_and_cleaning_twice_is_cleaning_once(
    content: bytes, noise: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(content)))
    disturbed = content[:at] + noise + content[at:]
    if not _refused(lambda: clean_photo(disturbed)):
        cleaned = clean_photo(disturbed)
        assert clean_photo(cleaned[1]) == cleaned


def _refused(work: Callable[[], object]) -> bool:
    try:
        work()
    except GatewayError as refusal:
        return refusal.reason is Reason.FIELD_INVALID
    return False
