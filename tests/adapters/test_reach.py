"""Banks reached as a file of the operator says: folders, a real SSH server, a real TLS server."""

import json
import os
from importlib import resources
from pathlib import Path

import asyncssh
import pytest
from cryptography.hazmat.primitives import serialization

from adapters.connection import (
    ChannelConnection,
    NotSentError,
    RefusedError,
    retrying,
)
from adapters.model import Outcome
from adapters.profile import ProfileError, list_profiles
from adapters.reach import Banks, HttpsReach, ReachError, reach_schema, read_reach
from tests.adapters.samples import NOW, batch
from tests.adapters.test_https import Bank as HttpsBank
from tests.adapters.test_sftp import Bank as SftpBank

SFTP = """\
kind = "sftp"
host = "127.0.0.1"
user = "xinyi"
private_key = "client"
known_hosts = "known_hosts"
remote_out = "/in"
remote_in = "/out"
"""
HTTPS = """\
kind = "https"
url = "https://127.0.0.1/pay"
certificate = "us.pem"
private_key = "us.key"
authority = "authority.pem"
"""
ANSWER = (
    b"<CMS><eb><pub><TransCode>PAYENT</TransCode><fSeqno>M1</fSeqno><RetCode>0</RetCode></pub>"
    b"<out><rd><iSeqno>P1</iSeqno><Result>7</Result></rd></out></eb></CMS>"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "__defaults__", (1, 0.01))


def written(root: Path, profile_id: str, text: str) -> Path:
    """The bank's folder, with this `reach.toml`."""
    folder = root / profile_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reach.toml").write_text(text, encoding="utf-8")
    return folder


def sftp_bank(folder: Path) -> SftpBank:
    bank = SftpBank(folder)
    (folder / "client").chmod(0o600)
    return bank


def https_bank(folder: Path) -> HttpsBank:
    bank = HttpsBank(folder)
    (folder / "us.key").chmod(0o600)
    return bank


def own_profile(folder: Path, profile_id: str) -> None:
    packaged = (resources.files("adapters.banks") / "cib-batch.toml").read_text(encoding="utf-8")
    folder.mkdir(exist_ok=True)
    text = packaged.replace('"cib-batch"', f'"{profile_id}"')
    (folder / f"{profile_id}.toml").write_text(text, encoding="utf-8")


# Folders


async def test_without_a_file_the_folder_is_the_way(tmp_path: Path) -> None:
    banks = Banks(tmp_path)
    connection = banks.connection("demo")
    made = connection.render(batch())
    await connection.submit(made, NOW)
    folder = banks.folder("demo")
    assert (folder / "out" / made.name).read_bytes() == made.content
    assert (folder / "audit" / made.name).read_bytes() == made.content


async def test_files_put_into_the_folder_are_neither_moved_nor_lost(tmp_path: Path) -> None:
    banks = Banks(tmp_path)
    inbox = banks.folder("demo") / "in"
    inbox.mkdir(parents=True)
    (inbox / "a.sta").write_bytes(b"statement")
    fetched = await banks.connection("demo").fetch(inbox)
    assert (fetched.paths, fetched.left) == ((), ())
    found = [path for path in banks.folder("demo").rglob("*") if path.is_file()]
    assert found == [inbox / "a.sta"]


def test_every_profile_of_files_is_connected_without_a_file_of_its_own(tmp_path: Path) -> None:
    banks = Banks(tmp_path)
    assert banks.ids() == list_profiles()
    of_files = [one for one in banks.ids() if banks.profile(one).channel is None]
    assert [banks.connection(one).profile.id for one in of_files] == of_files
    assert list(tmp_path.iterdir()) == []  # and nothing was made


# SFTP


async def test_an_order_goes_to_the_server_and_its_files_come_here(tmp_path: Path) -> None:
    banks = Banks(tmp_path)
    folder = written(tmp_path, "demo", "")
    bank = sftp_bank(folder)
    (bank.folder / "out" / "a.sta").write_bytes(b"statement")
    async with bank.open() as served:
        written(tmp_path, "demo", f'{SFTP}port = {served.port}\nremote_done = "/done"\n')
        connection = banks.connection("demo")
        made = connection.render(batch())
        await connection.submit(made, NOW)
        fetched = await connection.fetch(folder / "in")
    assert (bank.folder / "in" / made.name).read_bytes() == made.content
    assert (folder / "audit" / made.name).read_bytes() == made.content
    assert fetched.paths == (folder / "in" / "a.sta",)
    assert (folder / "in" / "a.sta").read_bytes() == b"statement"
    assert [path.name for path in (bank.folder / "done").iterdir()] == ["a.sta"]
    assert not (folder / "out").exists()


async def test_without_a_done_folder_a_fetched_file_is_deleted_there(tmp_path: Path) -> None:
    folder = written(tmp_path, "demo", "")
    bank = sftp_bank(folder)
    (bank.folder / "out" / "a.sta").write_bytes(b"statement")
    async with bank.open() as served:
        written(tmp_path, "demo", f"{SFTP}port = {served.port}\n")
        await Banks(tmp_path).connection("demo").fetch(folder / "in")
    assert (folder / "in" / "a.sta").read_bytes() == b"statement"
    assert [list((bank.folder / name).iterdir()) for name in ("out", "done")] == [[], []]


@pytest.mark.parametrize("is_empty", [True, False])
async def test_a_server_that_is_not_the_known_one_gets_nothing(
    tmp_path: Path, is_empty: bool
) -> None:
    folder = written(tmp_path, "demo", "")
    bank = sftp_bank(folder)
    async with bank.open() as served:
        other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
        known = "" if is_empty else f"[127.0.0.1]:{served.port} {other}"
        (folder / "known_hosts").write_text(known)
        written(tmp_path, "demo", f"{SFTP}port = {served.port}\n")
        connection = Banks(tmp_path).connection("demo")
        with pytest.raises(RefusedError, match="HostKeyNotVerifiable"):
            await connection.submit(connection.render(batch()), NOW)
    assert bank.there() == []


async def test_a_bank_of_the_operators_own_needs_no_code(tmp_path: Path) -> None:
    own_profile(tmp_path / "profiles", "own-bank")
    banks = Banks(tmp_path / "banks", tmp_path / "profiles")
    folder = written(banks.root, "own-bank", "")
    bank = sftp_bank(folder)
    async with bank.open() as served:
        written(banks.root, "own-bank", f"{SFTP}port = {served.port}\n")
        connection = banks.connection("own-bank")
        made = connection.render(batch())
        await connection.submit(made, NOW)
    assert "own-bank" in banks.ids()
    assert (bank.folder / "in" / made.name).read_bytes() == made.content


async def test_an_edit_counts_for_the_next_connection(tmp_path: Path) -> None:
    folder = written(tmp_path, "demo", f"{SFTP}port = 1\n")
    banks = Banks(tmp_path)
    bank = sftp_bank(folder)
    async with bank.open() as served:
        with pytest.raises(NotSentError):
            await banks.connection("demo").fetch(folder / "in")
        written(tmp_path, "demo", f"{SFTP}port = {served.port}\n")
        assert (await banks.connection("demo").fetch(folder / "in")).left == ()


# HTTPS


async def test_an_order_is_answered_over_certificates_of_both_sides(tmp_path: Path) -> None:
    folder = written(tmp_path, "icbc-channel", "")
    bank = https_bank(folder)
    bank.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    async with bank.open() as served:
        written(tmp_path, "icbc-channel", HTTPS.replace("https://127.0.0.1/pay", served.url))
        connection = Banks(tmp_path).connection("icbc-channel")
        made = connection.render(batch())
        submitted = await connection.submit(made, NOW)
    head, _, body = bank.received[0].partition(b"\r\n\r\n")
    assert body == made.content
    declared = made.content.partition(b'encoding="')[2].partition(b'"')[0]
    assert b"Content-Type: application/xml; charset=" + declared in head
    assert submitted.report is not None
    assert [status.outcome for status in submitted.report.statuses] == [Outcome.SETTLED]
    assert (folder / "audit" / f"{made.name}.reply").read_bytes() == ANSWER


async def test_a_door_that_no_authority_of_ours_signed_gets_nothing(tmp_path: Path) -> None:
    folder = written(tmp_path, "icbc-channel", "")
    bank = https_bank(folder)
    bank.certificate = "intruder"
    async with bank.open() as served:
        written(tmp_path, "icbc-channel", HTTPS.replace("https://127.0.0.1/pay", served.url))
        connection = Banks(tmp_path).connection("icbc-channel")
        with pytest.raises(NotSentError):
            await connection.submit(connection.render(batch()), NOW)
    assert bank.received == []


def test_a_closed_door_is_given_up_before_the_whole_exchange_is(tmp_path: Path) -> None:
    folder = written(tmp_path, "icbc-channel", f"{HTTPS}timeout_s = 4\n")
    https_bank(folder)
    connection = Banks(tmp_path).connection("icbc-channel")
    assert isinstance(connection, ChannelConnection)
    assert getattr(connection.wire, "connect_timeout_s") == 2.0  # noqa: B009 - not of the protocol


# What does not fit or cannot be used


@pytest.mark.parametrize(
    ("profile_id", "text"), [("icbc-channel", SFTP), ("icbc-channel", None), ("demo", HTTPS)]
)
def test_a_way_that_does_not_fit_the_bank_is_named(
    tmp_path: Path, profile_id: str, text: str | None
) -> None:
    if text is not None:
        written(tmp_path, profile_id, text)
    with pytest.raises(ReachError, match=rf"^{profile_id}/reach\.toml: kind: "):
        Banks(tmp_path).connection(profile_id)


def test_a_link_to_nothing_is_not_taken_for_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "reach.toml").symlink_to(tmp_path / "nothing")
    assert Banks(tmp_path).reached() == ("demo",)
    with pytest.raises(ReachError, match=r"demo/reach\.toml cannot be read"):
        Banks(tmp_path).connection("demo")


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo" / "reach.toml").mkdir(parents=True)
    with pytest.raises(ReachError, match=r"demo/reach\.toml cannot be read"):
        Banks(tmp_path).connection("demo")


def changed(text: str, setting: str) -> str:
    """One setting replaced, added, or with no value left out."""
    name, _, value = setting.partition(" = ")
    kept = [line for line in text.splitlines() if not line.startswith(f"{name} =")]
    return "\n".join([*kept, *([setting] if value else [])])


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        (SFTP, "kind"),
        (SFTP, 'kind = "ftp"'),
        (SFTP, 'password = "hunter2"'),
        (SFTP, "host"),
        (SFTP, 'host = "bank example"'),
        (SFTP, "port = 0"),
        (SFTP, "port = 65536"),
        (SFTP, "port = true"),
        (SFTP, 'port = "22"'),
        (SFTP, "user"),
        (SFTP, 'user = "a\\u0000b"'),
        (SFTP, "private_key"),
        (SFTP, "known_hosts"),
        (SFTP, 'known_hosts = ""'),
        (SFTP, 'remote_in = "/in"'),
        (SFTP, 'remote_in = "in/"'),
        (SFTP, 'remote_done = "//out/."'),
        (SFTP, 'remote_done = "/in"'),
        (SFTP, "timeout_s = 0"),
        (SFTP, "timeout_s = 1.5"),
        (SFTP, "timeout_s = 601"),
        (HTTPS, 'url = "http://bank.example/pay"'),
        (HTTPS, 'url = "HTTPS//bank.example"'),
        (HTTPS, 'url = "https://"'),
        (HTTPS, 'url = "https://user:hunter2@bank.example/"'),
        (HTTPS, 'url = "https://bank.example\\\\@elsewhere/"'),
        (HTTPS, 'url = "https://bank.example/#pay"'),
        (HTTPS, 'url = "https://bank.example:65536/"'),
        (HTTPS, 'url = "https://bank.example:0/"'),
        (HTTPS, 'url = "https://[::::]/"'),
        (HTTPS, 'url = "https://bank.example/\\n"'),
        (HTTPS, "certificate"),
        (HTTPS, "authority"),
        (HTTPS, 'host = "bank.example"'),
    ],
)
def test_a_wrong_setting_is_named_and_never_repeated(text: str, setting: str) -> None:
    name = setting.partition(" = ")[0]
    with pytest.raises(ReachError, match=rf"^b/reach\.toml: {name}: ") as told:
        read_reach(changed(text, setting).encode(), "b/reach.toml")
    assert "hunter2" not in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    "content", [b"kind = ", b"\xff", b"a = " + b"[" * 5000, SFTP.encode() + b"#" * (1 << 16)]
)
def test_a_file_that_is_no_toml_or_far_too_large_is_named(content: bytes) -> None:
    with pytest.raises(ReachError, match=r"^b/reach\.toml is "):
        read_reach(content, "b/reach.toml")


@pytest.mark.parametrize(
    "url",
    [
        "https://bank.example",
        "https://bank.example:8443/pay?v=1",
        "https://10.0.0.1/",
        "https://[::1]:443/pay",
    ],
)
def test_an_address_is_kept_as_it_was_written(url: str) -> None:
    told = read_reach(changed(HTTPS, f'url = "{url}"').encode(), "b/reach.toml")
    assert isinstance(told, HttpsReach)
    assert told.url == url


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o611, 0o677])
@pytest.mark.parametrize("profile_id", ["demo", "icbc-channel"])
def test_a_private_key_that_others_may_use_is_refused(
    tmp_path: Path, profile_id: str, mode: int
) -> None:
    is_channel = profile_id == "icbc-channel"
    folder = written(tmp_path, profile_id, HTTPS if is_channel else SFTP)
    make = https_bank if is_channel else sftp_bank
    make(folder)
    key = folder / ("us.key" if is_channel else "client")
    (folder / "known_hosts").touch()
    Banks(tmp_path).connection(profile_id)
    key.chmod(mode)
    with pytest.raises(ReachError, match=rf"reach\.toml: private_key: .*{mode:o}"):
        Banks(tmp_path).connection(profile_id)


@pytest.mark.parametrize(
    ("profile_id", "name", "setting"),
    [
        ("demo", "client", "private_key"),
        ("demo", "known_hosts", "known_hosts"),
        ("icbc-channel", "us.pem", "certificate"),
        ("icbc-channel", "us.key", "private_key"),
        ("icbc-channel", "authority.pem", "authority"),
    ],
)
@pytest.mark.parametrize("harm", ["missing", "folder", "pipe", "broken"])
def test_a_file_that_cannot_be_used_is_named_before_anything_counts_as_sent(
    tmp_path: Path, profile_id: str, name: str, setting: str, harm: str
) -> None:
    is_channel = profile_id == "icbc-channel"
    folder = written(tmp_path, profile_id, HTTPS if is_channel else SFTP)
    make = https_bank if is_channel else sftp_bank
    make(folder)
    (folder / "known_hosts").touch()
    if harm == "broken":
        (folder / name).write_text("broken")
    else:
        (folder / name).unlink()
    if harm == "folder":
        (folder / name).mkdir()
    if harm == "pipe":  # reading it would wait for ever
        os.mkfifo(folder / name, 0o600)
    with pytest.raises(ReachError, match=rf"^{profile_id}/reach\.toml: .*{setting}"):
        Banks(tmp_path).connection(profile_id)
    assert not (folder / "audit").exists()


@pytest.mark.parametrize("profile_id", ["demo", "icbc-channel"])
def test_a_private_key_behind_a_passphrase_is_named_and_nobody_is_asked_for_it(
    tmp_path: Path, profile_id: str
) -> None:
    is_channel = profile_id == "icbc-channel"
    folder = written(tmp_path, profile_id, HTTPS if is_channel else SFTP)
    https_bank(folder)
    plain = serialization.load_pem_private_key((folder / "us.key").read_bytes(), None)
    locked = plain.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    for name in ("us.key", "client"):
        (folder / name).write_bytes(locked)
        (folder / name).chmod(0o600)
    (folder / "known_hosts").touch()
    with pytest.raises(ReachError, match="private_key"):
        Banks(tmp_path).connection(profile_id)


# The registry


@pytest.mark.parametrize("profile_id", ["nobank", "", "..", "../demo", "demo/../demo"])
def test_a_bank_that_is_no_profile_has_neither_folder_nor_connection(
    tmp_path: Path, profile_id: str
) -> None:
    banks = Banks(tmp_path)
    with pytest.raises(LookupError):
        banks.folder(profile_id)
    with pytest.raises(LookupError):
        banks.connection(profile_id)


def test_a_broken_profile_of_the_operators_own_is_named(tmp_path: Path) -> None:
    (tmp_path / "own-bank.toml").write_text("id = 7")
    with pytest.raises(ProfileError, match=r"own-bank\.toml: id"):
        Banks(tmp_path, tmp_path).connection("own-bank")


def test_folders_with_a_file_are_listed_also_those_of_no_bank(tmp_path: Path) -> None:
    assert Banks(tmp_path / "none").reached() == ()
    (tmp_path / "cib-batch").mkdir()
    for name in ("icbc-chanel", "demo"):
        written(tmp_path, name, SFTP)
    assert Banks(tmp_path).reached() == ("demo", "icbc-chanel")


def test_the_packaged_schema_is_that_of_the_code() -> None:
    published = resources.files("adapters.banks") / "reach.schema.json"
    assert json.loads(published.read_text(encoding="utf-8")) == reach_schema()
