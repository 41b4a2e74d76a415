"""Mutual TLS of the server, whose certificate and client authorities change without a restart.

Each handshake looks whether a file changed. Connections that are open go on as they began; whoever
connects anew meets the new certificate and is held to the new authorities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the server.

    Attributes:
        certificate: the server's certificate chain.
        key: its private key.
        client_ca: certificates that sign the clients'.
    """

    certificate: Path
    key: Path
    client_ca: Path

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What the files say.

        Raises:
            OSError: if one cannot be read.
            ValueError: if they are no certificates, or the key is not the certificate's.
        """
        chain, key, authorities = (path.read_bytes() for path in self._paths())
        served, *_ = x509.load_pem_x509_certificates(chain)
        x509.load_pem_x509_certificates(authorities)
        private = load_pem_private_key(key, password=None)
        if private.public_key() != served.public_key():
            raise ValueError("the key is not that of the certificate")
        return grpc.ssl_server_certificate_configuration(
            [(key, chain)], root_certificates=authorities
        )

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Tells whether a file was written or replaced since.

        Raises:
            OSError: if one is not there.
        """
        found = (path.stat() for path in self._paths())
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in found)

    def _paths(self) -> tuple[Path, Path, Path]:
        return self.certificate, self.key, self.client_ca


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """TLS that lets in only clients with a certificate of the client CA, from files read anew.

    Files that cannot be used, such as a certificate whose key is not written yet, change nothing.

    Raises:
        OSError: if a file cannot be read at the start.
        ValueError: if the files cannot be used at the start.
    """
    stamp = files.stamp()
    watch: Any = _Watch(files, stamp)  # the stubs do not know that None means "as before"
    return grpc.dynamic_ssl_server_credentials(
        files.read(), watch, require_client_authentication=True
    )


class _Watch:
    """Answers gRPC before each handshake: the files if they changed, else None."""

    def __init__(self, files: TlsFiles, stamp: object) -> None:
        self._files = files
        self._stamp = stamp

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """What new connections are to be met with, if that is not what it was."""
        try:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return None
            # Once for each change, so that what is wrong with the files is told once.
            self._stamp = stamp
            read = self._files.read()
        except (OSError, ValueError) as error:
            _log.error("tls_files_unusable", cause=type(error).__qualname__, detail=str(error))
            return None
        _log.info("tls_files_read")
        return read
