"""What each of the two processes may do and knows: the front has no key, no file, no rights; the vault gives up root."""

import os
import pwd
import re
import shutil
import signal
import types

import pytest

import client
import pki as pki_module
import proc
import vestibule as program

ACCOUNT = "nobody"


@pytest.fixture
def dropped(start, canary, pki, folder):
    """Started as root, told to become somebody else, with files that only the other one may read."""
    assert os.geteuid() == 0, "giving up root can be shown by root only: run the end to end tests as root"
    account = pwd.getpwnam(ACCOUNT)
    own = folder / "own"
    own.mkdir()
    for path in [pki.users, pki.ecdsa.chain, pki.ecdsa.key, pki.rsa.chain, pki.rsa.key]:
        shutil.copy(path, own)
    for path in [own, *own.iterdir()]:
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, account.pw_uid, account.pw_gid)
    certificates = [f"{own}/{name}.pem {own}/{name}.key" for name in ("ecdsa", "rsa")]
    vestibule = start(canary.port, {"server": {"user": ACCOUNT}}, certificates=certificates, users=own / "users")
    return types.SimpleNamespace(vestibule=vestibule, account=account, own=own)


def test_both_processes_become_the_user(dropped, tls):
    vestibule, account = dropped.vestibule, dropped.account
    for pid in (vestibule.pid, vestibule.front):
        status = proc.status(pid)
        assert set(status["Uid"].split()) == {str(account.pw_uid)}
        assert set(status["Gid"].split()) == {str(account.pw_gid)}
        assert set(status["Groups"].split()) <= {str(gid) for gid in os.getgrouplist(ACCOUNT, account.pw_gid)}
        assert "0" not in status["Groups"].split()
    with vestibule.connect(tls) as session:
        assert session.login().deliver("r@any.example", b"Subject: t\r\n\r\nx\r\n").code == 250


def test_reload_and_restart_work_without_root(dropped, canary):
    vestibule = dropped.vestibule
    vestibule.reload()
    with vestibule.connect() as session:
        session.login().quit()
    proc.wait_until(lambda: len(vestibule.fronts) == 1, 5, "the old front leaves")
    os.kill(vestibule.front, signal.SIGKILL)
    with vestibule.connect() as session:
        session.login().quit()


@pytest.fixture(params=["as root", "as another user"])
def either(request):
    """The front has no rights, whoever started it."""
    if request.param == "as root":
        return request.getfixturevalue("vestibule")
    return request.getfixturevalue("dropped").vestibule


def test_the_front_has_no_rights(either):
    status = proc.status(either.front)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"


def test_the_vault_keeps_two_rights_at_most(dropped):
    """To bind a new port below 1024 and to read a renewed key at a reload."""
    effective = int(proc.status(dropped.vestibule.pid)["CapEff"], 16)
    assert effective & ~(1 << 10 | 1 << 2) == 0


def test_nobody_may_look_into_either(dropped):
    """Not dumpable: the kernel gives /proc/PID to root, and not even the same user may trace."""
    for pid in (dropped.vestibule.pid, dropped.vestibule.front):
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0
        assert re.search(r"Max core file size +0 +0", open(f"/proc/{pid}/limits", encoding="ascii").read())


def test_the_front_was_started_with_an_empty_environment(either):
    with open(f"/proc/{either.front}/environ", "rb") as file:
        assert file.read().strip(b"\0") == b""


def test_the_front_has_no_file_open(either):
    """Sockets, the loops' own kernel objects, the log, and nothing that has a name."""
    log = str(either.log_path)
    for number, what in proc.descriptors(either.front).items():
        assert what.startswith(("socket:", "anon_inode:", "pipe:", "/dev/null")) or what == log, (number, what)


def secrets(key):
    """Parts of a private key as they would lie in memory, either way round."""
    text = pki_module.openssl("pkey", "-in", key, "-noout", "-text").decode()
    for name, octets in re.findall(r"(\w+):\n((?: {4}[0-9a-f:]+\n)+)", text):
        if name in ("priv", "prime1", "prime2", "privateExponent", "exponent1"):
            number = bytes.fromhex(re.sub(r"[\s:]", "", octets)).lstrip(b"\0")
            yield number[:24]
            yield number[::-1][:24]
            yield number[-24:]
            yield number[::-1][-24:]


@pytest.mark.skipif(program.SANITIZED, reason="a sanitizer's shadow memory is terabytes to search")
def test_the_front_never_has_a_key(either, pki):
    """After handshakes with both certificates and a login; the vault, in contrast, has both."""
    with either.connect() as session:
        session.login()
    with either.connect(context=rsa_only(pki)) as session:
        session.login()
    for key in (pki.ecdsa.key, pki.rsa.key):
        wanted = list(secrets(key))
        assert len(wanted) >= 4
        assert not found_in(either.front, wanted)
        assert found_in(either.pid, wanted), "the search would not find a key where it is"


def rsa_only(pki):
    context = client.trusting(pki.authority.certificate)
    context.maximum_version = client.ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    return context


def found_in(pid, wanted):
    return any(part in octets for octets in proc.memory(pid) for part in wanted)


@pytest.mark.skipif(program.SANITIZED, reason="a sanitizer keeps freed memory as it was, to find its use")
def test_neither_keeps_a_password(either):
    """Wiped after use: nothing of it in the vault, and not decoded in the front. (The last record that a client sent may
    stand a while in memory that BoringSSL has freed, as base64.)"""
    with either.connect() as session:
        session.login()
        with either.connect() as other:
            other.ehlo()
            assert other.command("AUTH LOGIN").code == 334
            assert other.command(client.b64(client.USER)).code == 334
            assert other.command(client.b64(client.PASSWORD)).code == 235
            decoded = [client.PASSWORD.encode()]
            encoded = [client.plain().encode(), client.b64(client.PASSWORD).encode()]
            assert not found_in(either.front, decoded)
            assert not found_in(either.pid, decoded + encoded)
