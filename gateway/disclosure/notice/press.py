"""Sets notices by typst: PDF/A-2b and PDF/UA-1, tagged, with its fonts inside."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from datetime import UTC
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import segno
import typst

from gateway.disclosure.notice.content import Notice, content
from gateway.disclosure.notice.fonts import FONT, FONT_DIRS, cjk_fonts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_STANDARDS: Final[list[Any]] = ["a-2b", "ua-1"]


@dataclass(frozen=True, slots=True)
class Press:
    """Sets one notice after the other; the fonts are read once.

    Attributes:
        fonts: the fonts that it may use.
    """

    fonts: typst.Fonts
    _template: bytes = field(repr=False)
    _compiler: typst.Compiler = field(repr=False)

    @classmethod
    def with_fonts(cls, directories: Sequence[Path] = FONT_DIRS) -> Press:
        """A press with Noto CJK from one of these folders.

        Raises:
            FontsError: if none has it.
        """
        fonts = cjk_fonts(directories)
        template = (files("gateway.disclosure.notice") / "notice.typ").read_bytes()
        return cls(fonts, template, typst.Compiler(font_paths=fonts, ignore_system_fonts=True))

    def pdf(self, notice: Notice) -> bytes:
        """The notice as PDF; the same notice gives the same bytes."""
        made = self._compiler.compile(
            self._template,
            format="pdf",
            sys_inputs={"notice": json.dumps(_data(notice), ensure_ascii=False)},
            pdf_standards=_STANDARDS,
            timestamp=notice.printed_at.astimezone(UTC).replace(microsecond=0),
        )
        assert isinstance(made, bytes)  # noqa: S101 - one file, as the format says
        return made


def _data(notice: Notice) -> dict[str, Any]:
    return content(notice) | {"font": FONT, "qr": _qr(notice)}


def _qr(notice: Notice) -> str:
    """Address and signed tree, so that what is on paper binds what is online; empty without."""
    text = "\n".join(filter(None, (notice.url, notice.checkpoint)))
    if not text:
        return ""
    drawn = io.BytesIO()
    segno.make(text, error="m", micro=False).save(drawn, kind="svg", border=2, xmldecl=False)
    return drawn.getvalue().decode()
