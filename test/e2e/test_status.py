"""`vestibule status`: what it tells, to whom, and what becomes of its socket."""

import json
import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

import client
import proc
import vestibule as program
from client import plain


def ask(vestibule, *arguments):
    return program.run("status", "-c", vestibule.path, *arguments)


def told(vestibule):
    answer = ask(vestibule, "--json")
    assert answer.returncode == 0 and answer.stderr == "", answer.stderr
    assert answer.stdout.count("\n") == 1
    return json.loads(answer.stdout)


def talk(path, octets):
    """What the socket itself says."""
    with socket.socket(socket.AF_UNIX) as plug:
        plug.settimeout(10)
        plug.connect(str(path))
        plug.sendall(octets)
        heard = b""
        while more := plug.recv(65536):
            heard += more
        return heard


def test_a_person_is_told_how_it_does(vestibule):
    with vestibule.connect() as session:
        session.login()
    with vestibule.connect() as session:
        session.ehlo()
        session.command("AUTH PLAIN " + plain(password="wrong"))
    answer = ask(vestibule)
    assert answer.returncode == 0 and answer.stderr == ""
    text = answer.stdout
    assert re.match(rf"vestibule \S+, serving, pid {vestibule.pid}\n", text)
    assert re.search(r"^running since +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(\d+s\)$", text, re.M)
    assert re.search(rf"^front +pid {vestibule.front}, serving$", text, re.M)
    assert re.search(r"^upstream +mta: 0 of 15 connections in use, 0 waiting$", text, re.M)
    assert re.search(r"^logins +1 accepted \(0 from the cache\), 1 refused, 0 not to be checked,$", text, re.M)
    assert re.search(r"^locked out now +nobody$", text, re.M)
    assert re.search(r"^mechanisms +.*PLAIN", text, re.M)


def test_a_program_is_told_the_same(vestibule):
    with vestibule.connect() as session:
        session.login().envelope("r@any.example")
        status = told(vestibule)
        assert status["upstreams"] == [{"name": "mta", "in_use": 1, "waiting": 0, "max": 15}]
    assert status["ok"] is True and status["state"] == "serving" and status["pid"] == vestibule.pid
    assert status["fronts"] == [{"pid": vestibule.front, "state": "serving"}]
    assert status["logins"]["accepted"] == 1 and status["lockouts"] == [] and status["lockout_count"] == 0
    assert {"PLAIN", "LOGIN"} <= set(status["mechanisms"])
    assert 0 <= status["configuration_seconds"] <= status["uptime_seconds"] < 60


def test_a_reload_shows(vestibule):
    with vestibule.connect() as session:
        session.login()
        vestibule.reload()
        vestibule.wait_logged("event=reloaded")
        assert sorted(front["state"] for front in told(vestibule)["fronts"]) == ["draining", "serving"]
    proc.wait_until(lambda: len(told(vestibule)["fronts"]) == 1, 5, "the old front leaves")


def test_a_reload_moves_the_socket(vestibule, folder):
    elsewhere = folder / "elsewhere"
    vestibule.configure({"server": {"control": elsewhere}})
    vestibule.reload()
    proc.wait_until(elsewhere.exists, 5, "the socket has moved")
    assert told(vestibule)["state"] == "serving"
    assert not (vestibule.state / "control").exists()
    vestibule.configure({"server": {"control": "/nowhere/at/all"}})
    vestibule.reload()
    vestibule.wait_logged("event=control", "/nowhere/at/all", "stays where it was")
    vestibule.configure({"server": {"control": elsewhere}})
    assert told(vestibule)["state"] == "serving"


def test_where_nothing_runs_it_says_so(vestibule):
    vestibule.stop()
    answer = ask(vestibule)
    assert answer.returncode == 1 and answer.stdout == ""
    assert "no service answers at" in answer.stderr and answer.stderr.count("\n") == 1
    assert not (vestibule.state / "control").exists()


def test_the_socket_is_its_owners_alone(vestibule):
    path = vestibule.state / "control"
    assert stat.S_ISSOCK(path.stat().st_mode) and stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (vestibule.state, *vestibule.state.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/vestibule"):
            folder.chmod(0o755)
    answer = subprocess.run([program.BINARY, "status", "-c", vestibule.path], capture_output=True, text=True, timeout=20,
                            user="nobody", env=program.environment())
    assert answer.returncode == 1 and "permission denied; ask as root" in answer.stderr
    path.chmod(0o666)  # and even who gets as far as this is not heard
    answer = subprocess.run([program.BINARY, "status", "-c", vestibule.path], capture_output=True, text=True, timeout=20,
                            user="nobody", env=program.environment())
    assert answer.returncode == 1 and "only root and its own user are heard" in answer.stderr
    assert told(vestibule)["state"] == "serving"


def test_it_belongs_to_the_user_that_root_becomes(start, canary, folder):
    account = pwd.getpwnam("nobody")
    vestibule = start(canary.port, {"server": {"user": "nobody", "state_dir": folder / "own"}})
    path = folder / "own/control"
    assert path.stat().st_uid == account.pw_uid
    assert told(vestibule)["state"] == "serving"
    answer = subprocess.run([program.BINARY, "status", "-c", vestibule.path], capture_output=True, text=True, timeout=20,
                            user="nobody", env=program.environment())
    assert answer.returncode == 0, answer.stderr
    vestibule.stop()
    assert not path.exists()


def test_one_that_a_crash_left_is_replaced(vestibule):
    family = proc.descendants(vestibule.pid)
    os.kill(vestibule.pid, signal.SIGKILL)
    vestibule.process.wait()
    proc.wait_until(lambda: not [pid for pid in family if proc.alive(pid)], 5, "the front ends with the vault")
    assert (vestibule.state / "control").exists()
    assert "no service answers at" in ask(vestibule).stderr
    program.live.remove(vestibule)
    vestibule.start()
    assert told(vestibule)["pid"] == vestibule.pid


def test_a_second_service_at_the_same_place_does_not_start(vestibule, canary, folder, pki):
    second = program.Vestibule(folder / "second", pki.certificates, pki.users, canary.port,
                               {"server": {"state_dir": vestibule.state}})
    second.configure()
    done = program.run("-c", second.path, timeout=15)
    assert done.returncode == 1
    assert "another Vestibule answers at the control socket" in done.stderr and done.stderr.count("\n") == 1
    assert told(vestibule)["pid"] == vestibule.pid


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/etc/passwd", "/tmp/" + "x" * 120], ids=["no folder", "a file", "long"])
def test_a_place_where_it_cannot_be_is_an_error(canary, folder, pki, path):
    stopped = program.Vestibule(folder / "v", pki.certificates, pki.users, canary.port, {"server": {"control": path}})
    stopped.configure()
    done = program.run("-c", stopped.path, timeout=15)
    assert done.returncode == 1 and "[server] control" in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_where_nobody_named_a_place_the_service_goes_on_without(start, canary, folder):
    """A state_dir that cannot be written costs what would be kept there, no mail."""
    lengthy = folder / ("d" * 100)
    vestibule = start(canary.port, {"server": {"state_dir": lengthy}})
    with vestibule.connect() as session:
        session.login().quit()
    assert "give a shorter one as [server] control" in vestibule.log()
    answer = ask(vestibule)
    assert answer.returncode == 1 and "give a shorter one" in answer.stderr


def test_nonsense_over_the_socket_harms_nobody(vestibule):
    path = vestibule.state / "control"
    for octets in (b"\n", b"GET / HTTP/1.1\r\n\r\n", b"status\nstatus\n", b"lift \n", b"lift a\0b\n", b"\xff" * 5000, b"x" * 300,
                   b"lift " + b"a" * 256 + b"\n"):
        try:
            assert json.loads(talk(path, octets))["ok"] is False
        except ConnectionError:  # more was sent than is ever read
            assert len(octets) > 270
    idle = [socket.socket(socket.AF_UNIX) for _ in range(15)]
    for plug in idle:
        plug.connect(str(path))
    assert told(vestibule)["state"] == "serving"
    for plug in idle:
        plug.close()
    assert json.loads(talk(path, b"status\n"))["ok"] is True


def test_what_is_locked_out_cannot_draw_on_the_terminal(start, canary):
    vestibule = start(canary.port, {"auth": {"lockout": "2/1h", "max_failures": 9}})
    name = "caf\u00e9 \u2028 evil"
    with vestibule.connect() as session:
        session.ehlo()
        for number in range(2):
            session.command("AUTH PLAIN " + plain(name, f"guess {number}"))
    assert name in [lock["name"] for lock in told(vestibule)["lockouts"]]
    assert "caf\u00e9" in ask(vestibule).stdout
    assert ask(vestibule, "--lift", name).returncode == 0
    for wrong in ("", "a\nb", "x" * 300):
        refused = ask(vestibule, "--lift", wrong)
        assert refused.returncode == 1 and refused.stdout == "" and refused.stderr.startswith("vestibule: ")


def test_the_end_does_not_wait_for_who_asks_nothing(vestibule):
    plug = socket.socket(socket.AF_UNIX)
    plug.connect(str(vestibule.state / "control"))
    plug.sendall(b"stat")
    time.sleep(0.1)
    begun = time.monotonic()
    vestibule.stop()
    assert time.monotonic() - begun < 3
    assert plug.recv(1) == b""
    plug.close()
