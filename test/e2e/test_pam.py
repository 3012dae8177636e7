"""The helper that asks PAM: what it may do, and that it comes to no harm by modules, by being killed, by the end."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

import client
import proc
import vestibule as program
from cred.base import USERS, crypt_hash
from cred.pam import Pam
from test_backends import opened, try_login

READ, AUDIT = 1 << 2, 1 << 29  # CAP_DAC_READ_SEARCH, CAP_AUDIT_WRITE


@pytest.fixture
def store(folder):
    made = Pam(folder / "store")
    made.start()
    yield made
    made.remove()


@pytest.fixture
def vestibule(store, folder, pki):
    with opened(store, folder / "v", pki, 1) as running:
        yield running


def helpers(vestibule):
    """The one that starts the other again, and that one."""
    found = []
    for pid in proc.descendants(vestibule.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0pam\0"):
                found.append(pid)
    return sorted(found, key=lambda pid: len(proc.children(pid)), reverse=True)


def test_it_keeps_two_rights_and_nothing_else(vestibule):
    assert try_login(vestibule, client.USER, client.PASSWORD).code == 235
    assert "0" not in proc.status(vestibule.pid)["Uid"].split(), "the vault itself has given up root"
    assert len(helpers(vestibule)) == 2
    for pid in helpers(vestibule):
        status = proc.status(pid)
        assert set(status["Uid"].split()) == {"0"}
        assert status["Groups"] == ""
        assert status["NoNewPrivs"] == "1"
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status[name], 16) & ~(READ | AUDIT) == 0, (name, status[name])
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
        assert pathlib.Path(f"/proc/{pid}/environ").read_bytes() == b""
        assert re.search(r"Max core file size +0 +0", pathlib.Path(f"/proc/{pid}/limits").read_text())
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0
        named = {what for what in proc.descriptors(pid).values() if what.startswith("/")}
        assert named <= {"/dev/null", str(vestibule.log_path)}


@pytest.mark.skipif(program.SANITIZED, reason="a sanitizer keeps freed memory as it was, to find its use")
def test_it_keeps_no_password(vestibule):
    for login, password in USERS.items():
        assert try_login(vestibule, login, password).code == 235
    for pid in [vestibule.pid, *helpers(vestibule)]:
        for octets in proc.memory(pid):
            assert not [login for login, password in USERS.items() if password.encode() in octets]


def test_the_systemd_unit_gives_enough(store, folder, pki):
    unit = (program.REPOSITORY / "conf/vestibule.service").read_text()
    rights = re.search(r"(?m)^CapabilityBoundingSet=(.*)$", unit).group(1).split()
    assert "NoNewPrivileges=yes" in unit
    bounds = ",".join(f"+{right.removeprefix('CAP_').lower()}" for right in rights)
    store.prefix = (*store.prefix, "setpriv", "--no-new-privs", f"--bounding-set=-all,{bounds}")
    with opened(store, folder / "v", pki, 1) as vestibule:
        assert try_login(vestibule, client.USER, client.PASSWORD).code == 235
        assert try_login(vestibule, client.USER, "wrong").code == 535
        for pid in helpers(vestibule):
            assert int(proc.status(pid)["CapEff"], 16) == READ | AUDIT


def test_a_reload_goes_on_with_it(vestibule):
    before = helpers(vestibule)
    vestibule.reload()
    assert try_login(vestibule, client.USER, client.PASSWORD).code == 235
    vestibule.wait_logged("event=reloaded")
    assert helpers(vestibule) == before
    assert try_login(vestibule, client.USER, client.PASSWORD).code == 235


def test_one_that_is_killed_is_started_again(vestibule):
    keeper, worker = helpers(vestibule)
    os.kill(worker, signal.SIGKILL)
    proc.wait_until(lambda: len(helpers(vestibule)) == 2 and worker not in helpers(vestibule), 5, "another one works")
    assert keeper in helpers(vestibule)
    assert try_login(vestibule, client.USER, client.PASSWORD).code == 235


def test_who_waits_when_it_is_killed_hears_later(store, vestibule):
    store.hang()
    with vestibule.connect() as session:
        session.ehlo()
        session.send("AUTH PLAIN " + client.plain() + "\r\n")
        proc.wait_until(lambda: proc.children(helpers(vestibule)[1]), 5, "the check runs")
        os.kill(helpers(vestibule)[1], signal.SIGKILL)
        assert session.reply() == "454 4.7.0"
    store.start()
    assert try_login(vestibule, client.USER, client.PASSWORD).code == 235


def test_what_only_root_could_start_again_is_not_replaced_by_less(vestibule):
    """pam_unix would tell anybody else that every password is wrong."""
    keeper, worker = helpers(vestibule)
    for pid in (keeper, worker):
        os.kill(pid, signal.SIGKILL)
    proc.wait_until(lambda: not helpers(vestibule), 5, "both are gone")
    vestibule.wait_logged("PAM helper was killed.*restart Vestibule")
    assert try_login(vestibule, client.USER, client.PASSWORD) == "454 4.7.0"
    assert not helpers(vestibule)


def test_nothing_is_left_behind_of_a_check_that_hangs(store, folder, pki):
    with opened(store, folder / "v", pki, 1) as vestibule:
        store.hang()
        with vestibule.connect() as session:
            session.ehlo()
            session.send("AUTH PLAIN " + client.plain() + "\r\n")
            check = proc.wait_for(lambda: proc.descendants(helpers(vestibule)[1])[1:], 5, "the check runs a module")
    proc.wait_until(lambda: not [pid for pid in check if proc.alive(pid)], 2, "it ended with us")


MODULE = """\
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int pam_sm_authenticate(void *h, int flags, int argc, const char **argv) { (void)h, (void)flags, (void)argc, (void)argv; %s; return 7; }
int pam_sm_setcred(void *h, int flags, int argc, const char **argv) { (void)h, (void)flags, (void)argc, (void)argv; return 0; }
"""


@pytest.mark.parametrize("act", ["exit(0)", "exit(1)", "_exit(1)", "_exit(2)", "abort()", "kill(getpid(), SIGKILL)",
                                 "if (fork() == 0) sleep(100); exit(1)"])
def test_a_module_that_takes_the_check_with_it_is_no_verdict(store, vestibule, folder, act):
    source, module = folder / "module.c", folder / "pam_wild.so"
    source.write_text(MODULE % act)
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", module, source], check=True, timeout=60)
    store.rules(f"auth required {module}\naccount required pam_permit.so\n")
    assert try_login(vestibule, client.USER, client.PASSWORD) == "454 4.7.0"
    store.start()
    assert try_login(vestibule, client.USER, client.PASSWORD).code == 235


def test_the_second_half_of_the_rules_counts(store, vestibule):
    store.rules("auth required pam_permit.so\naccount required pam_deny.so\n")
    assert try_login(vestibule, client.USER, client.PASSWORD).code != 235


@pytest.mark.parametrize("fields, code", [
    (f"{crypt_hash('x y')}:19000:0:99999:7:::", 235),
    (f"!{crypt_hash('x y')}:19000:0:99999:7:::", 535),
    (f"{crypt_hash('x y')}:19000:0:99999:7::19001:", 535),  # the account has expired
    (f"{crypt_hash('x y')}:0:0:99999:7:::", 535),  # the password must be changed
    (f"{crypt_hash('x y')}:19000:0:10:7:3::", 535),  # it is too old
    ("*:19000:0:99999:7:::", 535),
])
def test_accounts_that_may_not(store, folder, pki, fields, code):
    with (store.folder / "passwd").open("a") as accounts, (store.folder / "shadow").open("a") as shadow:
        accounts.write("zoe:x:30999:65534::/nonexistent:/usr/sbin/nologin\n")
        shadow.write(f"zoe:{fields}\n")
    with opened(store, folder / "v", pki, 1) as vestibule:
        assert try_login(vestibule, "zoe", "x y").code == code


def test_passwords_in_a_file_of_somebody_elses(store, vestibule, folder):
    passwords = folder / "passwords"
    passwords.write_text(f"mail user:{crypt_hash('pass word')}\n")
    passwords.chmod(0o600)
    os.chown(passwords, 31000, 31000)
    store.rules(f"auth required pam_pwdfile.so pwdfile={passwords}\naccount required pam_permit.so\n")
    assert try_login(vestibule, "mail user", "pass word").code == 235
    assert try_login(vestibule, "mail user", "wrong") == "535 5.7.8"
    assert try_login(vestibule, client.USER, client.PASSWORD) == "535 5.7.8"


def test_the_rules_hear_who_and_from_where(store, vestibule, folder):
    heard = folder / "heard"
    script = folder / "script"
    script.write_text(f"#!/bin/sh\nenv >{heard}\n")
    script.chmod(0o755)
    store.rules(f"auth required pam_exec.so quiet {script}\naccount required pam_permit.so\n")
    assert try_login(vestibule, client.USER, client.PASSWORD).code == 235
    told = dict(line.split("=", 1) for line in heard.read_text().splitlines() if "=" in line)
    assert told["PAM_USER"] == client.USER
    assert told["PAM_RHOST"] == "127.0.0.1"
    assert told["PAM_SERVICE"] == "vestibule"


def test_refusals_wait_as_long_as_we_say_not_as_pam_does(store, vestibule):
    store.rules("auth required pam_faildelay.so delay=5000000\nauth required pam_unix.so\naccount required pam_unix.so\n")
    begun = time.monotonic()
    assert try_login(vestibule, client.USER, "wrong") == "535 5.7.8"
    assert time.monotonic() - begun < 2


def test_check_misses_the_rules(store, folder, pki):
    store.service.unlink()
    conf = folder / "check.conf"
    conf.write_text(program.render(store.changes()))
    said = subprocess.run([*store.prefix, program.BINARY, "check", "-c", conf], capture_output=True, text=True, timeout=60,
                          env=program.environment())
    assert "/etc/pam.d/vestibule: No such file or directory" in said.stdout


def test_by_hand_it_does_nothing():
    said = program.run("pam")
    assert said.returncode == 2
    assert "not by hand" in said.stderr
