"""The page that checks a proof in a browser: one file that can be saved, and sends nothing."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import Final

from gateway.domain.case_words import FINDINGS_ZH, KINDS_ZH

_PARTS: Final = {
    "style": "verify.css",
    "check": "verify.js",
    "page": "page.js",
}


def verify_page() -> str:
    """The page, whole: it may run what stands in it, and load nothing."""
    folder = files("gateway.disclosure") / "page"
    parts = {name: (folder / file).read_text("utf-8") for name, file in _PARTS.items()}
    parts["page"] = parts["page"].replace("{words}", _words())
    page = (folder / "verify.html").read_text("utf-8")
    values = {
        "script_hashes": f"{_hash(parts['check'])} {_hash(parts['page'])}",
        "style_hash": _hash(parts["style"]),
        **parts,
    }
    for name, value in values.items():
        page = page.replace(f"{{{name}}}", value)
    return page


def _words() -> str:
    """What reconciliation's names are in Chinese, as they are called everywhere else."""
    kinds = {name.lower(): zh for name, zh in KINDS_ZH.items()}
    return json.dumps({**kinds, **FINDINGS_ZH}, ensure_ascii=False)


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"
