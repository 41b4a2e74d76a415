"""The page that checks a proof in a browser: one file that can be saved, and sends nothing."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Final

_PARTS: Final = {
    "style": "verify.css",
    "check": "verify.js",
    "page": "page.js",
}


def verify_page() -> str:
    """The page, whole: it may run what stands in it, and load nothing."""
    folder = files("gateway.disclosure") / "page"
    parts = {name: (folder / file).read_text("utf-8") for name, file in _PARTS.items()}
    page = (folder / "verify.html").read_text("utf-8")
    values = {
        "script_hashes": f"{_hash(parts['check'])} {_hash(parts['page'])}",
        "style_hash": _hash(parts["style"]),
        **parts,
    }
    for name, value in values.items():
        page = page.replace(f"{{{name}}}", value)
    return page


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
