"""Attacks on what is said in SMTP, on names and on the mail server's side: each must come to nothing."""

import json
import os
import pathlib
import re
import resource
import signal
import socket
import ssl
import time

import pytest

import canary as canary_module
import client
import proc
import vestibule as program
from client import plain
from endings import HEAD

MESSAGE = HEAD + b"text\r\n"


# Message data.


def test_a_line_too_long_for_opensmtpd_is_one_refusal(start, opensmtpd, tls, recipient):
    """It says 500 in the middle of the message and forgets it: a proxy must not take that for the answer to what follows."""
    vestibule = start(opensmtpd.port)
    with vestibule.connect(tls, timeout=20) as session:
        session.login().begin_data(recipient)
        session.send(HEAD + b"x" * 70000 + b"\r\nmore\r\n" * 100 + b".\r\nNOOP\r\n")
        assert session.reply().code >= 500
        assert session.reply().code == 250
        assert session.deliver(recipient, MESSAGE).code == 250
    arrived, = opensmtpd.arrived(recipient)
    assert b"xxx" not in arrived


# Replies.


def test_every_reply_has_an_enhanced_code_though_exim_gives_none(start, exim, tls, recipient):
    """All but the banner and the answers to EHLO, HELO and DATA; of the class that the reply is of."""
    vestibule = start(exim.port)
    with vestibule.connect(tls) as session:
        assert "ENHANCEDSTATUSCODES" in session.ehlo().text
        replies = [session.command(line) for line in (
            "FOO", "VRFY a", "EXPN a", "HELP", "MAIL FROM:<a@b.test>", "AUTH PLAIN " + plain(password="wrong"),
            "AUTH PLAIN " + plain(), "NOOP", "RSET", "RCPT TO:<a@b.test>", "DATA", "MAIL FROM:<a b>",
            "MAIL FROM:<alice@client.test> FOO=1", "MAIL FROM:<alice@client.test> SIZE=99999999999",
            "MAIL FROM:<alice@client.test>", "RCPT TO:<>", f"RCPT TO:<{recipient}>", "RCPT TO:<user@@any.example>",
            "RCPT TO:<user@[192.0.2.1]>")]
        assert "literal" in replies[-1].text  # which is Exim's own word
        assert session.command("DATA").code == 354
        session.send(MESSAGE + b".\r\n")
        replies.append(session.reply())
        replies.append(session.command("QUIT"))
    assert {reply.code for reply in replies} >= {214, 221, 235, 250, 252, 500, 501, 503, 530, 535, 555}
    for line in (line for reply in replies for line in reply.lines):
        assert re.match(r"([245])\d\d[ -]\1\.\d{1,3}\.\d{1,3} ", line), line


def test_tls_is_not_asked_of_the_mail_server(vestibule, canary, tls):
    """It offers STARTTLS; what it says behind a 220 could be anybody's."""
    assert "STARTTLS" in canary_module.EHLO
    with vestibule.connect(tls) as session:
        assert session.login().deliver("r@any.example", MESSAGE).code == 250
    said = [command.upper() for connection in canary.connections for command in connection.commands]
    assert any(command.startswith(b"EHLO") for command in said)
    assert not any(b"STARTTLS" in command for command in said)


# Connections.


def test_words_before_the_banner_are_an_attack(vestibule, canary):
    """They are there before anybody could greet: the front is stopped until they have arrived."""
    front = vestibule.front
    os.kill(front, signal.SIGSTOP)
    try:
        proc.wait_until(lambda: all(" T " in stat.read_text() for stat in pathlib.Path(f"/proc/{front}/task").glob("*/stat")), 5,
                        "all of its threads have stopped")
        session = vestibule.plaintext(greet=False)
        session.send(b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\n")
    finally:
        os.kill(front, signal.SIGCONT)
    with session:
        heard, how = session.replies()
    assert [reply.code for reply in heard] == [554] and not canary.visitors, heard
    assert vestibule.wait_logged("event=injection")
    with vestibule.plaintext() as session:
        assert session.greeting.code == 220


def seconds_used(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_descriptors_that_run_out_stop_nobody_who_is_inside(vestibule, canary):
    """Who comes while there are none is let go or waits; that costs neither time nor a log without end, and it passes."""
    with vestibule.connect(timeout=30) as inside:
        inside.login().envelope("r@any.example")  # and so has its connection to the mail server
        front = vestibule.front
        limits = resource.prlimit(front, resource.RLIMIT_NOFILE)
        open_now = max(proc.descriptors(front)) + 1
        resource.prlimit(front, resource.RLIMIT_NOFILE, (open_now + 5, limits[1]))
        crowd = [socket.create_connection(("127.0.0.1", vestibule.starttls), timeout=5) for _ in range(60)]
        used = seconds_used(front)
        time.sleep(1)
        assert seconds_used(front) - used < 0.3, "it spins"
        assert inside.command("DATA").code == 354
        inside.send(MESSAGE + b".\r\n")
        assert inside.reply().code == 250
        assert len(vestibule.log_lines("level=(warning|error)")) in range(1, 10)
        for sock in crowd:
            sock.close()
        resource.prlimit(front, resource.RLIMIT_NOFILE, limits)
        proc.wait_until(lambda: welcome(vestibule), 5, "newcomers are served again")
        assert inside.deliver("r@any.example", MESSAGE).code == 250
    assert vestibule.front == front


def welcome(vestibule):
    try:
        with vestibule.connect(timeout=5) as session:
            return session.login() is session
    except (OSError, client.Closed):
        return False


# Bombs.

BOMBS = {"parameters": "MAIL FROM:<a@b.test>" + " X=1" * 400, "the same one": "MAIL FROM:<a@b.test>" + " SIZE=1" * 250,
         "routes": "RCPT TO:<" + "@a.test," * 200 + "@a.test:b@c.test>", "parentheses": "NOOP " + "(" * 1900, "quotes": 'MAIL FROM:<"' + '\\"' * 900 + '"@b.test>',
         "dots": "MAIL FROM:<" + "a." * 900 + "a@b.test>", "blanks": "MAIL FROM:<a@b.test>" + " " * 1900, "brackets": "RCPT TO:" + "<" * 1900}


@pytest.mark.parametrize("line", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_of_many_parameters_take_no_time(start, canary, line):
    """As long as a command may be, and as deep: each costs what any line of its length does."""
    vestibule = start(canary.port)
    with vestibule.connect() as session, vestibule.connect() as bystander:
        session.login()
        bystander.ehlo()
        begun = time.monotonic()
        for _ in range(8):
            session.send(f"{line}\r\nRSET\r\n")
            assert session.reply().code < 600
            assert session.reply().code == 250
        assert bystander.command("NOOP").code == 250
        assert time.monotonic() - begun < (0.5 if not program.SANITIZED else 5)


# Names.

LOGINS = ["a:b", "alice:x", "a\tfoo=1", "a\nOK", "a\r\nOK\t1\tuser=alice", "%u", "%{user}", "*)(uid=*", "*", "' OR 1=1--", "../../x",
          "/etc/passwd", "${run{id}}", "$(id)", "`id`", "alice ", " alice", "Alice", "alice@", "al\u00efce", "alice\x1b[2J", "a\x7f"]


def test_no_login_means_anything_but_itself(start, canary, tls):
    """Each with alice's own password, and with its parts where a file or a query would look for them."""
    vestibule = start(canary.port, {"auth": {"max_failures": 100}, "log": {"level": "debug"}})
    with vestibule.connect(tls) as session:
        session.ehlo()
        for login in LOGINS:
            reply = session.command("AUTH PLAIN " + plain(login))
            assert reply.code in (501, 535), (login, reply)
            for step in ("AUTH LOGIN", client.b64(login), client.b64(client.PASSWORD)):
                reply = session.command(step)
                if reply.code != 334:
                    break
            assert reply.code in (501, 535), (login, reply)
            # What begins with the login of one and ends with the hash of another.
            assert session.command("AUTH PLAIN " + client.b64(f"\0{login}\0alice\0{client.PASSWORD}")).code in (501, 535)
        assert session.command("AUTH PLAIN " + plain()).code == 235
        assert session.deliver("r@any.example", MESSAGE).code == 250
    assert len(canary.messages) == 1
    vestibule.stop()
    check_log(vestibule.log(), "logfmt")


def test_one_users_password_is_not_anothers(vestibule, canary, tls):
    """Right behind a success, should anything be remembered of it."""
    with vestibule.connect(tls) as first, vestibule.connect(tls) as second:
        first.login("bob", "bobs password")
        second.ehlo()
        assert second.command("AUTH PLAIN " + plain("alice", "bobs password")).code == 535
        assert second.command("AUTH PLAIN " + plain("bob")).code == 535
        assert second.command("AUTH PLAIN " + plain()).code == 235


def take_away(vestibule, users, login):
    users.write_text("".join(line for line in users.read_text().splitlines(True) if not line.startswith(login + ":")))
    vestibule.reload()
    vestibule.wait_logged("event=reloaded")


@pytest.fixture
def users(folder, pki):
    path = folder / "users"
    path.write_text(pki.users.read_text())
    path.chmod(0o644)
    return path


def test_a_login_that_was_taken_away_is_sent_away_by_a_reload(start, canary, tls, users):
    """Not only kept from coming back."""
    vestibule = start(canary.port, users=users)
    with vestibule.connect(tls) as session:
        assert session.login().deliver("r@any.example", MESSAGE).code == 250
        take_away(vestibule, users, "alice")
        heard, _ = session.replies()
        assert [reply.code for reply in heard] == [421]
    with vestibule.connect(tls) as session:
        session.ehlo()
        assert session.command("AUTH PLAIN " + plain()).code == 535


def test_a_login_that_was_taken_away_is_cut_however_busy_it_keeps(start, canary, users):
    """A session at work goes on, but no longer than drain_timeout."""
    vestibule = start(canary.port, {"server": {"drain_timeout": "1s"}}, users=users)
    with vestibule.connect() as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD)
        take_away(vestibule, users, "alice")
        begun = time.monotonic()
        session.send(b"the rest\r\n.\r\n")
        assert session.reply().code == 250
        reply = None
        while reply != "421 4.3.2" and time.monotonic() - begun < 10:
            session.send(b"MAIL FROM:<alice@client.test>\r\nRSET\r\n")
            reply = session.reply()
            if reply.code == 250:
                reply = session.reply()
            time.sleep(0.02)
        assert time.monotonic() - begun < (2 if not program.SANITIZED else 6)


NAMES = ["x) by evil (", "(", ")", '"', "\\", ";", "x;y", "a(b", 'a"b', "x by evil with ESMTPSA id 1", "[127.0.0.1", "[127.0.0.1])",
         "b\u00fccher", "x\\\r", "<a@b>", "a,b", "${run{id}}", "x" * 250, "-", ".", "a..b"]


def test_a_name_in_ehlo_stays_within_its_place(start, canary, tls):
    """Whatever it is, the header is one field that reads as it must, and the mail server hears a name that is one."""
    vestibule = start(canary.port)
    for name in NAMES:
        with vestibule.connect(tls) as session:
            session.send(f"EHLO {name}\r\n")
            if session.reply().code != 250:
                session.ehlo()
            assert session.command("AUTH PLAIN " + plain()).code == 235
            assert session.deliver("r@any.example", MESSAGE).code == 250
    header = re.compile(rb"Received: from [A-Za-z0-9.:?_\[\]-]+ \(\[127\.0\.0\.1\]\)\r\n"
                        rb"\tby mail\.example\.test with ESMTPSA \(TLSv1\.3 TLS_[A-Z0-9_]+\)\r\n"
                        rb"\tid [0-9a-f]+; [A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d{4} [\d:]{8} [+-]\d{4}\r\n")
    assert len(canary.messages) == len(NAMES)
    for message in canary.messages:
        assert message.body == MESSAGE
        assert header.fullmatch(message.received), message.received
    for connection in canary.visitors:
        assert re.fullmatch(rb"EHLO ([A-Za-z0-9.-]+|\[[0-9A-Fa-f.:IPv]+\])", connection.commands[0]), connection.commands[0]


def check_log(log, format):
    """Each line is one, holds nothing but printable ASCII, and reads as what it is said to be."""
    field = re.compile(r'[a-z_0-9]+=("([^"\\]|\\.)*"|[^" =]*)')
    for line in log.splitlines():
        assert line.isascii() and line.isprintable(), line
        if format == "json":
            assert "event" in json.loads(line), line
        else:
            assert re.fullmatch(rf"{field.pattern}( {field.pattern})*", line), line


FORGED = 'x\\" level=error event=forged","event":"forged'


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_nothing_that_is_said_forges_a_line_of_the_log(start, canary, tls, format):
    """Names, logins, addresses, what the mail server answers, and the name that TLS asks for."""
    vestibule = start(canary.port, {"log": {"format": format, "level": "debug"}, "auth": {"max_failures": 100}})
    canary.on["RCPT"] = canary_module.raw(b'550 5.1.1 no" level=error event=forged \x1b[2J\x9b31m\x07\\ {"event":"forged"}\r\n')
    evil = [FORGED, "\x1b[2J", "a\tb", "caf\u00e9", "\u2028", "a\u0085b", "{", "}", "'", "x=y z=w", "\\n", "a" * 900]
    for name in evil:
        with vestibule.connect(tls) as session:
            session.send(f"EHLO {name}\r\n")
            if session.reply().code != 250:
                session.ehlo()
            session.command("AUTH PLAIN " + plain(name, "x"))
            session.command("AUTH PLAIN " + plain("a\r\nlevel=error event=forged", "x"))
            assert session.command("AUTH PLAIN " + plain()).code == 235
            session.command(f"MAIL FROM:<{name}@client.test>")
            session.command("RSET")
            session.command('MAIL FROM:<"\\" level=error event=forged"@client.test>')
            session.command('RCPT TO:<"{\\"event\\":\\"forged\\"}"@any.example>')
            session.command(f"{name} {name}")
            session.command("QUIT")
    for name in ("level=error.test", 'x".test', "a{b}.test", "x\\.test"):
        context = client.trusting(vestibule.ca, check_hostname=False, verify_mode=ssl.CERT_NONE)
        try:
            with vestibule.connect(tls, context=context, name=name) as session:
                session.command("QUIT")
        except (ssl.SSLError, client.Closed, ConnectionError):
            pass
    vestibule.stop()
    log = vestibule.log()
    assert len(log.splitlines()) > 2 * len(evil)
    check_log(log, format)
    for line in log.splitlines():
        if format == "json":
            assert json.loads(line)["event"] != "forged" and json.loads(line)["level"] != "error"
        else:
            bare = re.sub(r'"([^"\\]|\\.)*"', '""', line)
            assert "forged" not in bare and "level=error" not in bare, line


# The mail server restarts, the client half leaves.


def test_a_mail_server_that_restarts_between_ehlo_and_mail_is_not_noticed(start, exim, tls, recipient):
    """Down it is a 451 at MAIL and at nothing else; up again the same session delivers."""
    vestibule = start(exim.port, {"upstream": {"queue_timeout": "300ms"}})
    with vestibule.connect(tls, timeout=30) as session:
        session.ehlo()
        exim.stop()
        try:
            assert session.command("AUTH PLAIN " + plain()).code == 235
            assert session.command("MAIL FROM:<alice@client.test>") == "451 4.4.1"
            assert session.command("NOOP").code == 250
        finally:
            exim.start()
        assert session.deliver(recipient, MESSAGE).code == 250
    exim.arrived(recipient)


ALL_OF_IT = b"EHLO client.test\r\n", b"MAIL FROM:<a@b.test>\r\nRCPT TO:<r@any.example>\r\nDATA\r\n", MESSAGE + b".\r\nNOOP\r\nQUIT\r\n"


def test_who_half_closes_behind_quit_hears_all(start, canary):
    """The mail server takes its time, so that the end of the client's words comes long before the replies."""
    canary.on["."] = canary_module.after(0.5, canary_module.reply("250 2.0.0 Ok: queued as LATE"))
    vestibule = start(canary.port, {"listener submission": {"tls": "none", "auth": "none", "trusted": "127.0.0.0/8"}})
    with vestibule.plaintext() as session:
        for flight in ALL_OF_IT[:2]:
            session.send(flight)
        assert [session.reply().code for _ in range(4)] == [250, 250, 250, 354]
        session.send(ALL_OF_IT[2])
        session.sock.shutdown(socket.SHUT_WR)
        heard, how = session.replies()
    assert [reply.code for reply in heard] == [250, 250, 221] and how != "rst"
    assert len(canary.messages) == 1


@pytest.mark.parametrize("goodbye", [True, False], ids=["with close_notify", "without"])
def test_who_half_closes_tls_behind_quit_loses_nothing(vestibule, canary, goodbye):
    """With a close_notify that is lawful, and all is heard; without it the message still counts once."""
    canary.on["."] = canary_module.after(0.3, canary_module.reply("250 2.0.0 Ok: queued as LATE"))
    with vestibule.connect() as session:
        session.login().begin_data("r@any.example")
        session.send(ALL_OF_IT[2])
        if goodbye:
            session.sock.settimeout(0)
            try:
                session.sock.unwrap()
            except (ssl.SSLWantReadError, ssl.SSLError):
                pass
            session.sock.settimeout(10)
            assert [reply.code for reply in session.replies()[0]] == [250, 250, 221]
        else:
            session.sock.shutdown(socket.SHUT_WR)
            time.sleep(0.1)
    canary.wait_for(lambda c: c.messages, what="the message")
    assert vestibule.wait_logged("event=message", "outcome=delivered")
    assert len(canary.messages) == 1
