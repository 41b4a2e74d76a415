"""`xinyi keys`: the key pair by which a person signs; it never leaves the person's machine."""

from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.cli.frame import SIGNERS, Complaint, group, offline
from gateway.cli.screen import Screen, write_data
from gateway.client import write_private
from gateway.domain.keys import dump_private_key, dump_public_key, key_id, load_private_key

app = group("Signing keys: make your own 签名密钥.")

_ENCRYPTED = b"ENCRYPTED PRIVATE KEY"
_MAX_KEY_BYTES = 64 * 1024


@offline(app, "new", SIGNERS)
def _new(
    screen: Screen,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the pair.")],
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Ask for a passphrase and encrypt the key.")
    ] = False,
) -> None:
    """Make an Ed25519 key pair: signing.key stays with you, signing.pub goes to the operator."""
    private, public = out / "signing.key", out / "signing.pub"
    if taken := next((each for each in (private, public) if each.exists()), None):
        raise Complaint(f"{taken} is there already", "文件已存在，不会覆盖")
    secret = _new_passphrase(screen) if passphrase else None
    key = Ed25519PrivateKey.generate()
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(private, dump_private_key(key, secret))
    public.write_bytes(dump_public_key(key.public_key()))
    _report(screen, key, private, public)


def _report(screen: Screen, key: Ed25519PrivateKey, private: Path, public: Path) -> None:
    made = {
        "key_id": key_id(key.public_key()),
        "ed25519": key.public_key().public_bytes_raw().hex(),
        "private_key": str(private),
        "public_key": str(public),
    }
    if screen.as_json:
        write_data(made)
    else:
        screen.facts(made.items())


def _new_passphrase(screen: Screen) -> bytes:
    prompt = screen.pick("口令", "Passphrase")
    typed: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True)
    return typed.encode()


def open_key(screen: Screen, file: Path) -> Ed25519PrivateKey:
    """A person's signing key; asks for its passphrase where it is encrypted.

    Raises:
        Complaint: there is no such file.
        GatewayError: FIELD_INVALID if it is no Ed25519 key, or not with this passphrase.
    """
    if not file.is_file():
        raise Complaint(f"no signing key {file}", "没有签名密钥，可用 --key 指定")
    with file.open("rb") as opened:
        pem = opened.read(_MAX_KEY_BYTES)
    if _ENCRYPTED not in pem:
        return load_private_key(pem)
    typed: str = typer.prompt(screen.pick("密钥口令", "Key passphrase"), hide_input=True, err=True)
    return load_private_key(pem, typed.encode())
