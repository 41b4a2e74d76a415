"""The files of mutual TLS: there, readable by the right ones only, a pair, and in their time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.doctor.finding import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from gateway.doctor.finding import Finding
    from gateway.settings import Settings

SOON: Final = timedelta(days=30)

_OTHERS: Final = 0o007
_GROUP: Final = 0o070


def examine(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Certificate, key and client authority of the server."""
    yield _certificates("certificate", settings.tls_certificate, now)
    yield _key(settings.tls_key, settings.tls_certificate)
    yield _certificates("client_ca", settings.tls_client_ca, now)


def _certificates(check: str, path: Path, now: datetime) -> Finding:
    """Whether the certificates of a file can be read and are in their time."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as wrong:
        return _unreadable(check, path, wrong)
    ends = min(each.not_valid_after_utc for each in found)
    begins = max(each.not_valid_before_utc for each in found)
    day = f"{ends:%Y-%m-%d}"
    todo = ("换发证书并替换文件", "have it issued anew and replace the file")
    if ends <= now:
        what = (
            f"{path} 已于 {day} 过期，无人能连接",
            f"{path} ran out on {day}: nobody can connect",
        )
        return fail(check, what, todo)
    if begins > now:
        clock = ("检查本机时钟与证书", "look at this machine's clock and at the certificate")
        return fail(check, (f"{path} 尚未生效", f"{path} is not valid yet"), clock)
    if ends - now < SOON:
        return warn(check, (f"{path} 将于 {day} 过期", f"{path} runs out on {day}"), todo)
    return ok(check, f"{path} 有效至 {day}", f"{path} is valid until {day}")


def _key(path: Path, certificate: Path) -> Finding:
    """Whether the key is the certificate's, and reached by nobody else."""
    try:
        mode = path.stat().st_mode
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as wrong:
        return _unreadable("key", path, wrong)
    todo = (f"chmod 600 {path}", f"chmod 600 {path}")
    if mode & _OTHERS:
        who = (f"{path} 任何用户可读写", f"every user of this machine reaches {path}")
        return fail("key", who, todo)
    if not _is_pair(key, certificate):
        return fail(
            "key",
            (f"{path} 与证书不配对", f"{path} is not the key of the certificate"),
            (
                "XINYI_TLS_KEY 应为 XINYI_TLS_CERTIFICATE 首张证书的私钥",
                "XINYI_TLS_KEY must be of the first certificate in XINYI_TLS_CERTIFICATE",
            ),
        )
    if mode & _GROUP:
        return warn("key", (f"{path} 同组用户可读", f"the group reaches {path}"), todo)
    return ok("key", f"{path} 与证书配对", f"{path} is the certificate's key")


def _is_pair(key: PrivateKeyTypes, certificate: Path) -> bool:
    """False only if there is a certificate, and it is another key's."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    except (OSError, ValueError):
        return True  # told of where the certificate is looked at
    return chain[0].public_key() == key.public_key()


def _unreadable(check: str, path: Path, wrong: Exception) -> Finding:
    why = wrong.strerror if isinstance(wrong, OSError) else "not PEM, or encrypted"
    return fail(
        check,
        (f"{path} 不能使用：{why}", f"{path} cannot be used: {why}"),
        (
            f"检查 XINYI_TLS_{check.upper()} 指向的文件及其属主",
            f"look at the file that XINYI_TLS_{check.upper()} names, and at its owner",
        ),
    )
