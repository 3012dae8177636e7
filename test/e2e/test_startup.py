"""What is wrong is said in one clear sentence, with the right exit status: 2 for usage and configuration, 1 for the rest."""

import os
import re
import socket
import subprocess

import pytest

import client
import net
import proc
import vestibule as program

KEYS = {
    "server": ["hostname", "user", "workers", "state_dir", "max_sessions", "drain_timeout"],
    "tls": ["certificate", "min_version", "ciphers", "groups", "ticket_keys", "handshake_timeout"],
    "listener submissions": ["address", "tls", "require_tls", "auth", "upstream", "min_version", "trusted", "recipients",
                             "proxy_protocol", "idle_timeout"],
    "auth": ["backend", "mechanisms", "failure_delay", "max_failures"],
    "upstream": ["address", "tls", "identity", "helo", "hide", "queue_timeout", "connect_timeout", "reply_timeout",
                 "data_timeout", "banner_timeout", "data_init_timeout", "block_timeout", "max_connections",
                 "messages_per_connection"],
    "message": ["max_size", "received", "bare_newline"],
    "policy": ["sender", "senders", "messages", "recipients", "sessions_per_client", "connects_per_client"],
    "log": ["target", "format", "level"],
}


@pytest.fixture
def refused(folder, pki):
    """Starts with a changed configuration; gives the exit status and what it said, which must be short."""

    def try_to_start(changes, *arguments, upstream=1, **environment):
        stopped = program.Vestibule(folder / "refused", pki.certificates, pki.users, upstream, changes)
        stopped.configure()
        done = program.run(*arguments, "-c", stopped.path, timeout=15, **environment)
        assert not program.SANITIZER_REPORT.search(done.stderr), done.stderr
        return done.returncode, done.stderr

    return try_to_start


def one_sentence(text):
    lines = text.strip().splitlines()
    assert len(lines) == 1 and 20 < len(lines[0]) < 400, text
    return lines[0]


def test_an_unknown_key_is_named_with_its_place_and_the_nearest_one(refused):
    status, said = refused({"server": {"hostnam": "x"}})
    assert status == 2
    line = one_sentence(said)
    assert re.search(r"vestibule\.conf:\d+: ", line) and "hostnam" in line and "hostname" in line and "[server]" in line


def test_an_unknown_section_is_an_error(refused):
    status, said = refused({"listner x": {"address": "127.0.0.1:1"}})
    assert status == 2 and "listener" in one_sentence(said)


def test_all_errors_are_shown_at_once(refused):
    status, said = refused({"server": {"workers": "many", "max_sessions": "-1"}, "log": {"level": "loud"}})
    assert status == 2
    assert len(said.strip().splitlines()) == 3
    assert all(word in said for word in ("workers", "max_sessions", "level"))


@pytest.mark.parametrize("changes", [
    {"cluster": {"redis": "redis://127.0.0.1/0"}}, {"metrics": {"address": "127.0.0.1:1"}}, {"listener submission": {"tls": "auto"}},
    {"upstream": {"tls": "starttls"}}])
def test_what_is_not_built_yet_is_refused_never_ignored(refused, changes):
    status, said = refused(changes)
    assert status == 2 and "not supported yet" in one_sentence(said)


@pytest.mark.parametrize("changes, words", [
    ({"tls": {"certificate": "/nonexistent/chain.pem /nonexistent/key.pem"}}, ["/nonexistent/chain.pem"]),
    ({"auth": {"backend": "file:/nonexistent/users"}}, ["/nonexistent/users", "vestibule passwd"]),
    ({"upstream": {"address": "no.such.host.invalid:25"}}, ["no.such.host.invalid"]),
    ({"tls": {"ciphers": "NO-SUCH-CIPHER"}}, ["ciphers"]),
    ({"server": {"user": "no-such-user"}}, ["no-such-user"]),
], ids=["certificate", "users file", "upstream", "ciphers", "user"])
def test_what_is_missing_is_named(refused, changes, words):
    status, said = refused(changes)
    line = one_sentence(said)
    assert status in (1, 2) and all(word in line for word in words), line
    assert status == 2 or "user" in changes.get("server", {})


def test_a_key_of_another_certificate_is_refused(refused, pki):
    status, said = refused({"tls": {"certificate": f"{pki.ecdsa.chain} {pki.other.key}"}})
    assert status == 2
    assert str(pki.other.key) in one_sentence(said)


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
                         ids=["empty", "no PEM", "PEM of nothing"])
def test_a_file_that_is_no_certificate_is_refused(refused, pki, folder, content):
    (folder / "bad.pem").write_bytes(content)
    status, said = refused({"tls": {"certificate": f"{folder}/bad.pem {pki.ecdsa.key}"}})
    assert status == 2 and "bad.pem" in one_sentence(said)
    status, said = refused({"tls": {"certificate": f"{pki.ecdsa.chain} {folder}/bad.pem"}})
    assert status == 2 and "bad.pem" in one_sentence(said)


@pytest.mark.parametrize("line", ["no colon", ":nobody", "a:$6$x\na:$6$y", "a:plaintext"],
                         ids=["no colon", "no login", "a login twice", "no hash"])
def test_a_bad_users_file_is_refused_with_the_line(refused, folder, line):
    (folder / "users").write_text("# users\n" + line + "\n")
    status, said = refused({"auth": {"backend": f"file:{folder}/users"}})
    assert status == 2
    assert f"{folder}/users:" in one_sentence(said) and "plaintext" not in said


def test_a_port_in_use_is_named(refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, said = refused({"listener submissions": {"address": f"127.0.0.1:{port}"}})
    assert status == 1
    line = one_sentence(said)
    assert f"127.0.0.1:{port}" in line and "in use" in line


def test_a_file_that_others_may_write_is_refused(folder, pki):
    writable = program.Vestibule(folder / "w", pki.certificates, pki.users, 1)
    writable.configure()
    writable.path.chmod(0o666)
    done = program.run("-c", writable.path)
    assert done.returncode == 2 and "vestibule.conf" in one_sentence(done.stderr)


def test_a_configuration_file_that_is_not_there(folder):
    done = program.run("-c", folder / "none.conf")
    assert done.returncode == 2 and "none.conf" in one_sentence(done.stderr)


def test_an_unreadable_file_is_named(folder, pki):
    """As a user who may not read the key."""
    key = folder / "secret.key"
    key.write_bytes(pki.ecdsa.key.read_bytes())
    key.chmod(0o000)
    stopped = program.Vestibule(folder / "u", [f"{pki.ecdsa.chain} {key}"], pki.users, 1)
    stopped.configure()
    os.chmod(pki.users.parent, 0o755)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
                           program_for_others(folder), "-c", stopped.path], capture_output=True, text=True, timeout=15,
                          env=program.environment())
    assert done.returncode == 2 and "secret.key" in one_sentence(done.stderr)


def program_for_others(folder):
    """The binary may lie where only its owner can enter."""
    copy = folder / "vestibule"
    copy.write_bytes(program.BINARY.read_bytes())
    copy.chmod(0o755)
    return copy


def test_the_environment_wins_over_the_file(folder, pki):
    here = program.Vestibule(folder / "e", pki.certificates, pki.users, 1)
    here.configure()
    shown = program.run("config", "-c", here.path, VESTIBULE_SERVER_HOSTNAME="other.example.test",
                        VESTIBULE_LISTENER_SUBMISSION_ADDRESS="127.0.0.1:2587")
    assert shown.returncode == 0 and "other.example.test" in shown.stdout and "127.0.0.1:2587" in shown.stdout
    assert "mail.example.test" not in shown.stdout
    wrong = program.run("config", "-c", here.path, VESTIBULE_SERVER_HOSTNAM="x")
    assert wrong.returncode == 2 and "VESTIBULE_SERVER_HOSTNAM" in one_sentence(wrong.stderr)


def test_config_prints_every_key_and_reads_back(folder, pki):
    here = program.Vestibule(folder / "c", pki.certificates, pki.users, 1)
    here.configure()
    shown = program.run("config", "-c", here.path)
    assert shown.returncode == 0 and shown.stderr == ""
    sections = {}
    for line in shown.stdout.splitlines():
        if line.startswith("["):
            keys = sections.setdefault(line.strip("[]"), [])
        elif (key := re.match(r"(?:# )?([a-z_]+)(?: =|:)", line)):
            keys.append(key.group(1))
    for section, keys in KEYS.items():
        found = next((sections[name] for name in sections if name == section or name.startswith(section + " ")), [])
        assert set(keys) <= set(found), f"[{section}] lacks {set(keys) - set(found)}\n{shown.stdout}"
    again = folder / "again.conf"
    again.write_text(shown.stdout)
    assert program.run("config", "-c", again).stdout == shown.stdout


def test_no_file_and_no_variables_is_a_configuration(folder):
    """The defaults: 465 and 587 on all addresses, the MTA at 127.0.0.1:25."""
    shown = program.run("config", VESTIBULE_SERVER_HOSTNAME="mail.example.test")
    if os.path.exists("/etc/vestibule/vestibule.conf"):
        pytest.skip("this machine has a /etc/vestibule/vestibule.conf, so the defaults cannot be seen")
    assert shown.returncode == 0
    assert "*:465" in shown.stdout and "*:587" in shown.stdout and "127.0.0.1:25" in shown.stdout


@pytest.mark.parametrize("arguments", [["--nonsense"], ["nonsense"], ["-c"], ["passwd"], ["check", "a", "b"], ["config", "-x"],
                                       ["front"], ["status", "x"], ["status", "--lift"], ["status", "--json", "--lift", "x"],
                                       ["check", "--json"], ["guide", "/tmp/x"]], ids=" ".join)
def test_wrong_usage_is_status_2(arguments):
    done = program.run(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    one_sentence(done.stderr)


@pytest.mark.parametrize("arguments", [["guide", "/tmp/x"]], ids=" ".join)
def test_commands_to_come_say_so(arguments):
    assert "not supported yet" in program.run(*arguments).stderr


@pytest.mark.smoke
def test_help_and_version(folder):
    shown = program.run("--help")
    assert shown.returncode == 0 and shown.stderr == ""
    assert all(word in shown.stdout for word in ("check", "passwd", "config", "-c FILE"))
    shown = program.run("--version")
    assert shown.returncode == 0 and re.fullmatch(r"vestibule \d+\.\d+\.\d+\n", shown.stdout)


# check


@pytest.fixture
def examine(folder, pki):
    """`vestibule check`: its status and its lines."""

    def check(upstream, changes=None, **options):
        here = program.Vestibule(folder / "checked", options.get("certificates", pki.certificates[:2]), pki.users, upstream, changes)
        here.configure()
        done = program.run("check", "-c", here.path, timeout=20)
        assert not program.SANITIZER_REPORT.search(done.stderr), done.stderr
        return done.returncode, (done.stdout + done.stderr).strip().splitlines()

    return check


def test_check_finds_a_good_house_good(examine, canary):
    status, lines = examine(canary.port)
    assert status == 0, lines
    assert any("127.0.0.1:%d" % canary.port in line and "8BITMIME" in line for line in lines), lines
    assert any("users" in line for line in lines), lines
    assert any("localhost" in line for line in lines), lines
    assert not canary.visitors


def test_check_tells_that_the_mta_is_missing(examine):
    port = net.free_port()
    status, lines = examine(port)
    assert status == 1
    assert len([line for line in lines if f"127.0.0.1:{port}" in line]) == 1, lines


def test_check_tells_that_a_certificate_has_another_name(examine, canary, pki):
    _, lines = examine(canary.port, certificates=[pki.other])
    assert len([line for line in lines if line.startswith("warning") and "mail.example.test" in line]) == 1, lines


def test_check_tells_that_a_certificate_ends_soon(examine, canary, pki):
    _, lines = examine(canary.port, certificates=[pki.authority.issue("ends-soon", days=3)])
    assert len([line for line in lines if line.startswith("warning") and "expires" in line]) == 1, lines


def test_check_tells_that_others_may_read_a_key(examine, canary, pki):
    careless = pki.authority.issue("careless")
    careless.key.chmod(0o644)
    _, lines = examine(canary.port, certificates=[careless])
    assert len([line for line in lines if line.startswith("warning") and str(careless.key) in line]) == 1, lines


def test_check_refuses_a_bad_configuration(examine, canary):
    status, lines = examine(canary.port, {"server": {"hostnam": "x"}})
    assert status == 2 and len(lines) == 1


def test_check_tells_what_is_wrong_with_files_one_line_each(examine, canary):
    status, lines = examine(canary.port, {"tls": {"certificate": "/nonexistent.pem"}, "auth": {"backend": "file:/nonexistent"}})
    assert status == 1
    assert len([line for line in lines if "/nonexistent.pem" in line]) == 1
    assert len([line for line in lines if "/nonexistent" in line and ".pem" not in line]) == 1


# passwd, health


@pytest.mark.smoke
def test_a_user_made_by_passwd_can_log_in_at_once(start, canary, folder, tls):
    users = folder / "users"
    users.write_text("# our users\n")
    users.chmod(0o600)
    vestibule = start(canary.port, users=users)
    done = program.run("passwd", "-c", vestibule.path, "carol", stdin="first secret\n")
    assert done.returncode == 0, done.stderr
    assert users.read_text().startswith("# our users\ncarol:$y$") and users.stat().st_mode & 0o777 == 0o600
    with vestibule.connect(tls) as session:
        session.login("carol", "first secret")
    assert program.run("passwd", "-c", vestibule.path, "carol", stdin="second secret\n").returncode == 0
    with vestibule.connect(tls) as session:
        session.ehlo()
        assert session.command("AUTH PLAIN " + client.plain("carol", "first secret")) == "535 5.7.8"
        assert session.command("AUTH PLAIN " + client.plain("carol", "second secret")) == "235 2.7.0"
    assert "secret" not in done.stdout + done.stderr + vestibule.log()


@pytest.mark.parametrize("user, password", [("a:b", "x"), ("", "x"), ("carol", ""), ("ca\nrol", "x"), ("x" * 300, "x")],
                         ids=["a colon", "no name", "no password", "a line end", "too long"])
def test_passwd_refuses_what_could_not_log_in(folder, pki, user, password):
    here = program.Vestibule(folder / "p", pki.certificates, folder / "users", 1)
    here.configure()
    (folder / "users").write_text("")
    done = program.run("passwd", "-c", here.path, user, stdin=password + "\n")
    assert done.returncode in (1, 2)
    one_sentence(done.stderr)
    assert (folder / "users").read_text() == ""


def test_health_asks_the_running_service(vestibule, canary):
    assert program.run("health", "-c", vestibule.path).returncode == 0
    os.kill(vestibule.pid, 19)  # SIGSTOP: the listening sockets are there, and nobody restarts the front
    try:
        os.kill(vestibule.front, 19)
        assert program.run("health", "-c", vestibule.path, timeout=60).returncode == 1
    finally:
        os.kill(vestibule.front, 18)
        os.kill(vestibule.pid, 18)


def test_health_of_nothing_is_1(folder, pki):
    here = program.Vestibule(folder / "h", pki.certificates, pki.users, 1)
    here.configure()
    done = program.run("health", "-c", here.path)
    assert done.returncode == 1
    said = (done.stdout + done.stderr).splitlines()
    assert len(said) == 2 and all("listener" in line for line in said)  # one a listener


# What it makes when nothing is given.


def test_a_self_signed_certificate_is_made_kept_and_warned_about(start, canary):
    vestibule = start(canary.port, {"tls": {"certificate": None}})
    assert vestibule.wait_logged("self_signed")

    def served():
        with vestibule.connect(context=client.ssl._create_unverified_context()) as session:
            return session.sock.getpeercert(binary_form=True)

    first = served()
    vestibule.stop()
    vestibule.start()
    assert served() == first
    assert [path.stat().st_mode & 0o777 for path in vestibule.state.glob("*.key")] == [0o600]


@pytest.mark.smoke
def test_the_first_client_is_offered_all_that_the_mail_server_can(start, canary, tls):
    """Right after a start, and right after a reload; never what is the mail server's own affair."""
    vestibule = start(canary.port)
    for _ in range(2):
        with vestibule.connect(tls) as session:
            offered = [line[4:] for line in session.ehlo().lines]
        assert offered[0].split()[0] == "mail.example.test"
        assert {"PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN", "SIZE 52428800"} <= set(offered)
        assert {word.split()[0] for word in offered[1:]} <= {
            "PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "AUTH", "SIZE", "CHUNKING", "HELP"}
        vestibule.reload()


def test_it_starts_without_its_mail_server_and_says_so(start, canary):
    canary.stop()
    vestibule = start(canary.port)
    assert vestibule.wait_logged("mta_away")
    canary.start()
    assert vestibule.wait_logged("mta_back", seconds=30)
    with vestibule.connect() as session:
        assert "8BITMIME" in session.ehlo().text


def test_no_word_is_lost_when_it_ends(start, canary):
    """Nothing listens any more, and no process of it is left."""
    vestibule = start(canary.port)
    family = [vestibule.pid, *proc.descendants(vestibule.pid)]
    assert len(family) == 2
    vestibule.stop()
    assert not [pid for pid in family if proc.alive(pid)]
    net.wait_until_closed(vestibule.implicit, 1)
