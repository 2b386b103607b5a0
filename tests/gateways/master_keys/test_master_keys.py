"""All providers of master keys behave alike; then the differences of each."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from customer_certificates.crypto.secret import Secret
from customer_certificates.errors import Unavailable
from customer_certificates.gateways.master_keys import (
    MasterKey,
    MasterKeyError,
    WrongMasterKey,
    make,
    open_master_keys,
)
from customer_certificates.setting_parsers import MasterKeyAddress

from ...servers import Server, free_port, start_openbao
from .kms import ARN, kms

TOKEN = "root-of-a-test"
DATA_KEY = Secret(bytes(range(32)))
HERE = b"cc/data-key/v1 of user 1"


@pytest.fixture(scope="module")
def openbao(folder: Path) -> Iterator[Server]:
    server = start_openbao(folder / "openbao", TOKEN)
    for name in ("ours", "another"):
        httpx.post(
            f"{server.url}/v1/transit/keys/{name}",
            headers={"X-Vault-Token": TOKEN},
            trust_env=False,
        ).raise_for_status()
    yield server
    server.stop()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with kms() as url:
        for name, value in {
            "AWS_ENDPOINT_URL_KMS": url,
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        yield url


def opened(address: MasterKeyAddress, token: str | None = None) -> MasterKey:
    return open_master_keys(address, [], token).current


def in_file(path: Path) -> MasterKey:
    return opened(MasterKeyAddress("file", str(path)))


def transit(url: str, name: str = "ours", token: str | None = TOKEN) -> MasterKey:
    return opened(MasterKeyAddress("transit", f"{url}/{name}"), token)


@pytest.fixture(params=["file", "transit", "aws-kms"])
def master_key(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MasterKey]:
    match request.param:
        case "file":
            make(tmp_path / "key")
            key = in_file(tmp_path / "key")
        case "transit":
            key = transit(request.getfixturevalue("openbao").url)
        case _:
            request.getfixturevalue("aws")
            key = opened(MasterKeyAddress("aws-kms", ARN))
    yield key
    key.close()


def test_a_wrapped_data_key_is_unwrapped(master_key: MasterKey) -> None:
    wrapped = master_key.wrap(DATA_KEY, HERE)

    assert master_key.unwrap(wrapped, HERE) == DATA_KEY
    assert DATA_KEY.reveal() not in wrapped
    assert master_key.wrap(DATA_KEY, HERE) != wrapped


@pytest.mark.parametrize("aad", [b"cc/data-key/v1 of user 2", b""])
def test_a_data_key_is_not_unwrapped_for_another_user(master_key: MasterKey, aad: bytes) -> None:
    with pytest.raises(WrongMasterKey):
        master_key.unwrap(master_key.wrap(DATA_KEY, HERE), aad)


def test_a_modified_data_key_is_rejected(master_key: MasterKey) -> None:
    wrapped = master_key.wrap(DATA_KEY, HERE)
    changed = wrapped[:-3] + bytes([wrapped[-3] ^ 1]) + wrapped[-2:]
    for wrong in (changed, wrapped[:-4], b""):
        with pytest.raises(WrongMasterKey):
            master_key.unwrap(wrong, HERE)


def test_a_key_file_is_created_once_and_private_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"

    assert make(path) is True
    before = path.read_bytes()
    assert make(path) is False
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["key"]


def test_a_key_has_one_id_wherever_its_file_is(tmp_path: Path) -> None:
    make(tmp_path / "key")
    make(tmp_path / "another")
    shutil.copy2(tmp_path / "key", tmp_path / "copy")
    key, copy, another = (in_file(tmp_path / name) for name in ("key", "copy", "another"))

    assert key.id == copy.id != another.id
    assert copy.unwrap(key.wrap(DATA_KEY, HERE), HERE) == DATA_KEY
    with pytest.raises(WrongMasterKey):
        another.unwrap(key.wrap(DATA_KEY, HERE), HERE)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o777])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    make(path)
    path.chmod(mode)

    with pytest.raises(MasterKeyError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        in_file(path)


@pytest.mark.parametrize("mode", [0o702, 0o757, 0o777])
@pytest.mark.parametrize("place", ["a/b/key", "a/key", "linked/key", "a/b/../../a/b/key"])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int, place: str) -> None:
    """The folder `a`, above the key's own or reached by a link, as well as that itself."""
    path = tmp_path / place
    (folder := tmp_path / "a").mkdir(0o700)
    (folder / "b").mkdir(0o700)
    (tmp_path / "linked").symlink_to("a/b")
    make(path)
    in_file(path)
    folder.chmod(mode)

    for use in (in_file, make):
        with pytest.raises(MasterKeyError, match=f"chmod go-w {folder}") as caught:
            use(path)
        assert f"Others can write to the folder {folder} (mode {mode:04o})" in str(caught.value)
    folder.chmod(mode & 0o755)
    in_file(path)


def test_a_folder_with_the_sticky_bit_is_fine(tmp_path: Path) -> None:
    (folder := tmp_path / "a").mkdir()
    folder.chmod(0o1777)
    make(folder / "key")

    in_file(folder / "key")


def test_a_folder_of_a_group_with_other_members_is_refused(tmp_path: Path) -> None:
    """A group of the account alone, as many systems give it, is fine."""
    (folder := tmp_path / "a").mkdir(0o700)
    make(folder / "key")
    folder.chmod(0o770)
    if os.geteuid() == 0:
        nobody = 65534
        os.chown(folder, -1, nobody)
        with pytest.raises(MasterKeyError, match=f"chmod go-w {folder}"):
            in_file(folder / "key")
        folder.chmod(0o700)
        os.chown(folder, nobody, -1)
        with pytest.raises(MasterKeyError, match=f"{folder} is owned by uid {nobody}"):
            in_file(folder / "key")
        # With a folder that is another's, a link in /tmp leads where that one wants.
        (sticky := tmp_path / "sticky").mkdir()
        sticky.chmod(0o1777)
        (tmp_path / "safe").mkdir(0o700)
        make(tmp_path / "safe" / "key")
        (link := sticky / "link").symlink_to(tmp_path / "safe")
        in_file(link / "key")
        os.lchown(link, nobody, nobody)
        with pytest.raises(MasterKeyError, match=f"{link} is owned by uid {nobody}"):
            in_file(link / "key")


def test_only_the_folder_of_the_default_key_is_checked(tmp_path: Path) -> None:
    """A checkout may be in a folder that its group can write."""
    (data := tmp_path / "checkout" / "var").parent.mkdir()
    data.parent.chmod(0o777)
    address = MasterKeyAddress("file", str(data / "master-key"), may_be_made=True)
    opened(address)
    data.chmod(0o777)

    with pytest.raises(MasterKeyError, match=f"chmod go-w {data}"):
        opened(address)


def test_a_file_of_another_account_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    make(path)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)

    with pytest.raises(MasterKeyError, match=f"owned by uid {own}.*chown"):
        in_file(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"customer-certificates-master-key-1:",
        b"customer-certificates-master-key-1:" + b"A" * 40,
        b"A" * 44,
        b"\xff" * 100,
    ],
)
def test_a_file_with_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    make(path)
    path.write_bytes(content)

    with pytest.raises(MasterKeyError, match="is not a master key") as refused:
        in_file(path)
    assert "AAAA" not in str(refused.value)


def test_the_error_of_a_missing_key_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match=r"does not exist\..*customer-certificates keys init"):
        in_file(tmp_path / "none")
    with pytest.raises(MasterKeyError, match="is not a regular file"):
        in_file(tmp_path)


def test_transit_needs_a_token(openbao: Server) -> None:
    with pytest.raises(MasterKeyError, match="CC_TRANSIT_TOKEN_FILE"):
        transit(openbao.url, token=None)


@pytest.mark.parametrize("token", ["wrong", TOKEN])
def test_transit_rejects_a_wrong_token_or_key(openbao: Server, token: str) -> None:
    """The token is wrong, or the key is another one."""
    ours = transit(openbao.url)
    wrapped = ours.wrap(DATA_KEY, HERE)
    key = transit(openbao.url, "ours" if token == "wrong" else "another", token)

    with pytest.raises(Unavailable if token == "wrong" else WrongMasterKey):
        key.unwrap(wrapped, HERE)
    for one in (ours, key):
        one.close()


def test_an_unreachable_transit_or_kms_is_unavailable(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", nobody)
    for key in (transit(nobody), opened(MasterKeyAddress("aws-kms", ARN))):
        with pytest.raises(Unavailable, match="master key"):
            key.wrap(DATA_KEY, HERE)
        with pytest.raises(Unavailable, match="master key"):
            key.unwrap(b"wrapped", HERE)
        key.close()
