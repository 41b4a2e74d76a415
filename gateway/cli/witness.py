"""`xinyi witness`: the supervisor's own program, with its own key and its own memory."""

from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.cli.frame import Complaint, group, offline
from gateway.cli.screen import Screen, write_data
from gateway.client import write_private
from gateway.domain.keys import dump_private_key, load_private_key
from gateway.transparency.note import Cosigner, Key, NoteError, parse_key

app = group("Witness: sees that logs only grow, and cosigns them 见证.")

_KEY: Final = "witness.key"
_NAME: Final = "name"
_LOGS: Final = "logs"
_SEEN: Final = "seen"

_Folder = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Where key and memory of the witness are.")
]


@offline(app, "new")
def _new(
    screen: Screen,
    folder: _Folder,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="As witness.example/supervisor; for ever.")
    ],
) -> None:
    """Make a witness: its key, which never leaves this folder, and its empty memory."""
    if (folder / _KEY).exists():
        raise Complaint(f"{folder} is a witness already", "该目录已是见证人，不会覆盖")
    cosigner = Cosigner(name, Ed25519PrivateKey.generate())
    try:
        parse_key(str(cosigner.key))
    except NoteError as error:
        raise Complaint(str(error), "名称不可用") from None
    (folder / _SEEN).mkdir(parents=True)
    write_private(folder / _KEY, dump_private_key(cosigner.private_key))
    (folder / _NAME).write_text(f"{name}\n")
    (folder / _LOGS).write_text("")
    _tell(screen, "见证公钥", "Key of the witness", str(cosigner.key))


@offline(app, "key")
def _key(screen: Screen, folder: _Folder) -> None:
    """Print the witness's public key, for gateways and for those who verify."""
    _tell(screen, "见证公钥", "Key of the witness", str(_cosigner(folder).key))


@offline(app, "trust")
def _trust(
    screen: Screen,
    folder: _Folder,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The log's key, name+id+base64.")],
) -> None:
    """Watch a log from now on; its key comes from the trust company, not from the gateway."""
    log = _log(key)
    known = _logs(folder)
    if log.name in known and known[log.name] != log:
        raise Complaint(f"{log.name} is watched under another key", "该日志已登记另一密钥")
    if log.name not in known:
        with (folder / _LOGS).open("a") as file:
            file.write(f"{log}\n")
    _tell(screen, "见证的日志", "Watched", str(log))


@offline(app, "run")
def _run(
    screen: Screen,
    folder: _Folder,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to answer.")
    ] = "127.0.0.1:50480",
) -> None:
    """Answer gateways until stopped: cosign what goes on from what was seen, refuse the rest."""
    # Only here is a web server loaded.
    import uvicorn  # noqa: PLC0415 - as said above

    from gateway.logs import log_to  # noqa: PLC0415 - as above
    from gateway.transparency.witness import Witness  # noqa: PLC0415 - as above
    from gateway.transparency.witness_server import witness_app  # noqa: PLC0415 - as above

    logs = _logs(folder)
    if not logs:
        raise Complaint(
            "no log is watched; use `witness trust`", "尚未登记日志，请先 witness trust"
        )
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise Complaint("--listen is HOST:PORT", "--listen 应为 主机:端口")
    log_to()
    app = witness_app(Witness(_cosigner(folder), logs, folder / _SEEN))
    screen.say(f"见证人就绪 {listen}", f"witness ready at {listen}")
    uvicorn.run(app, host=host, port=int(port), log_config=None, access_log=False)


def _cosigner(folder: Path) -> Cosigner:
    if not (folder / _KEY).is_file():
        raise Complaint(f"{folder} is no witness; use `witness new`", "尚未建立，请先 witness new")
    key = load_private_key((folder / _KEY).read_bytes())
    return Cosigner((folder / _NAME).read_text().strip(), key)


def _logs(folder: Path) -> dict[str, Key]:
    _cosigner(folder)
    listed = (_log(line) for line in (folder / _LOGS).read_text().splitlines())
    return {log.name: log for log in listed}


def _log(written: str) -> Key:
    try:
        key = parse_key(written)
    except NoteError as error:
        raise Complaint(str(error), "不是日志的公钥") from None
    if not isinstance(key, Key):
        raise Complaint(f"{key.name} is the key of a witness", "这是见证人的公钥，不是日志的")
    return key


def _tell(screen: Screen, zh: str, en: str, key: str) -> None:
    if screen.as_json:
        write_data({"key": key})
    else:
        screen.facts([(screen.pick(zh, en), key)])
