"""Whoever dies, and whenever: no half message is left behind, none is lost after its 250, none is there twice."""

import os
import signal
import threading
import time

import pytest

import canary as canary_module
import client
import proc
import vestibule as program
from mta import base

HEAD = (b"From: <alice@client.test>\r\nTo: <r@any.example>\r\nSubject: t\r\nMessage-ID: <1@client.test>\r\n"
        b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n")
MESSAGE = HEAD + b"text\r\n"


# The front dies.


@pytest.mark.smoke
def test_a_front_killed_in_mid_message_leaves_nothing_and_is_replaced(start, mta, tls, recipient):
    vestibule = start(mta.port)
    with vestibule.connect(tls) as session:
        session.login().begin_data(recipient)
        session.send(HEAD + b"half of it\r\n" * 20000)
        os.kill(vestibule.front, signal.SIGKILL)
        killed = time.monotonic()
        with vestibule.connect(tls) as next_session:
            assert next_session.login().deliver(recipient, MESSAGE).code == 250
        assert time.monotonic() - killed < (5 if program.SANITIZED else 1)
    arrived, = mta.arrived(recipient)
    assert base.content(arrived, MESSAGE) == MESSAGE.replace(b"\r\n", b"\n")
    assert vestibule.wait_logged("level=(error|warning)", "front")


def test_a_front_killed_before_the_last_dot_is_passed_on_leaves_nothing(vestibule, canary):
    with vestibule.connect() as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD + b"half\r\n.")
        canary.wait_for(lambda c: c.visitors and c.visitors[0].messages, what="the message's beginning")
        os.kill(vestibule.front, signal.SIGKILL)
        canary.wait_until_left()
    assert not canary.messages and len(canary.cut_off) == 1


def test_fronts_that_die_at_once_are_started_ever_more_slowly(vestibule):
    """A crash loop must not eat the machine: the pauses grow, and the port answers again when it is over."""
    vestibule.wait_logged("event=ready")  # a first front that dies before that is a start that failed
    seen = set()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        for pid in vestibule.fronts:
            if pid not in seen:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
    assert 3 <= len(seen) <= 15, f"{len(seen)} fronts were started in 4 s"
    with vestibule.connect(timeout=20) as session:
        session.login().quit()


# The client leaves.


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("where", [HEAD + b"half\r\n", HEAD + b"half\r\n.", HEAD + b"half\r\n.\r", HEAD + b"half\r\n..\r\n"],
                         ids=["after a line", "after a dot", "after a dot and CR", "after a stuffed dot"])
def test_a_client_that_leaves_in_mid_message_leaves_nothing(start, mta, tls, recipient, leave, where):
    vestibule = start(mta.port)
    with vestibule.connect(tls) as session:
        session.login().begin_data(recipient)
        session.send(where)
        getattr(session, leave)()
    vestibule.wait_logged("event=session")
    assert mta.arrived(recipient, count=0, seconds=0) == []


def test_close_notify_in_mid_message_is_no_end_of_it_either(vestibule, canary, tls):
    with vestibule.connect(tls) as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD + b"half\r\n")
        session.sock.settimeout(5)
        try:
            session.sock.unwrap()
        except OSError:
            pass
    canary.wait_until_left()
    assert not canary.messages and len(canary.cut_off) == 1


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_gone_after_the_dot_does_not_cut_the_mail_server_off(vestibule, canary, tls, leave):
    """It has the whole message: hanging up now would make loss or duplicate depend on the server."""
    canary.on["."] = canary_module.after(2, canary_module.reply("250 2.0.0 Ok: queued as LATE"))
    with vestibule.connect(tls) as session:
        session.login().begin_data("r@any.example")
        session.send(MESSAGE + b".\r\n")
        canary.wait_for(lambda c: c.messages, what="the end of data")
        getattr(session, leave)()
    sent = canary.wait_for(lambda c: [one for one in c.visitors[0].sent if b"LATE" in one[1]], what="its own reply read")
    assert canary.visitors[0].ended is None or canary.visitors[0].ended >= sent[0][0]
    # An end of file alone may be half a close: who waits for the reply does that.
    gone = ["client_gone=yes"] if leave == "reset" else []
    assert vestibule.wait_logged("event=message", "outcome=delivered", *gone)


def test_a_client_that_says_all_and_half_closes_hears_all(vestibule, canary):
    """Lawful, if unusual: QUIT was said, so everything is answered."""
    with vestibule.plaintext() as session:
        session.send(b"EHLO client.test\r\n")
        session.reply()
        session.send(b"NOOP\r\nQUIT\r\n")
        session.sock.shutdown(1)
        assert [reply.code for reply in session.replies()[0]] == [250, 221]


# The mail server is away, or leaves.


def test_an_absent_mail_server_is_a_451_and_no_more_once_it_is_back(start, canary, tls):
    vestibule = start(canary.port, {"upstream": {"queue_timeout": "300ms"}})
    canary.stop()
    with vestibule.connect(tls) as session:
        session.login()
        assert session.command("MAIL FROM:<alice@client.test>") == "451 4.4.1"
        assert session.command("MAIL FROM:<alice@client.test>") == "451 4.4.1"
        canary.start()
        assert session.deliver("r@any.example", MESSAGE).code == 250
    assert len(canary.messages) == 1


def test_a_session_waits_for_a_mail_server_that_restarts(start, canary, tls):
    vestibule = start(canary.port, {"upstream": {"queue_timeout": "10s"}})
    canary.stop()
    with vestibule.connect(tls) as session:
        session.login()
        threading.Timer(0.8, canary.start).start()
        assert session.deliver("r@any.example", MESSAGE).code == 250


@pytest.mark.smoke
@pytest.mark.parametrize("leave", [canary_module.hang_up, canary_module.reset], ids=["closes", "resets"])
def test_a_mail_server_lost_in_mid_message_is_a_451(vestibule, canary, tls, leave):
    """The rest of the message is read and thrown away; the next one goes over a new connection."""
    canary.on["data"] = leave
    with vestibule.connect(tls) as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD + b"long\r\n" * 50000)
        canary.wait_for(lambda c: c.visitors[0].ended, what="its own leaving")
        session.send(b".\r\n")
        assert session.reply() == "451 4.4.2"
        canary.on["data"] = canary_module.ordinary()["data"]
        assert session.deliver("r@any.example", MESSAGE).code == 250
    assert len(canary.messages) == 1


@pytest.mark.parametrize("answer", [
    canary_module.hang_up, canary_module.reset, canary_module.both(canary_module.raw(b"2"), canary_module.hang_up),
    canary_module.both(canary_module.raw(b"250"), canary_module.hang_up),
    canary_module.both(canary_module.raw(b"250 2.0.0 Ok"), canary_module.hang_up),
    canary_module.both(canary_module.raw(b"250-2.0.0 Ok\r\n"), canary_module.hang_up)],
    ids=["nothing", "a reset", "2", "250", "a line without its end", "half of two lines"])
def test_a_mail_server_lost_after_the_dot_is_never_a_250(vestibule, canary, answer):
    canary.on["."] = answer
    with vestibule.connect() as session:
        assert session.login().deliver("r@any.example", MESSAGE) == "451 4.4.2"
        canary.on["."] = canary_module.ordinary()["."]
        assert session.deliver("r@any.example", MESSAGE).code == 250


@pytest.mark.parametrize("point", ["banner", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("leave", [canary_module.hang_up, canary_module.reset], ids=["closes", "resets"])
def test_a_mail_server_may_leave_at_any_word(start, canary, point, leave):
    """The client gets one temporary error for its command, and the next transaction works."""
    vestibule = start(canary.port, {"upstream": {"queue_timeout": "300ms"}})
    with vestibule.connect() as session:
        session.login()
        canary.on[point] = leave
        codes = [session.command("MAIL FROM:<alice@client.test>").code]
        if codes == [250]:
            codes.append(session.command("RCPT TO:<r@any.example>").code)
        if codes == [250, 250]:
            codes.append(session.command("DATA").code)
        assert codes[-1] == 451 and set(codes[:-1]) <= {250}
        canary.on[point] = canary_module.ordinary()[point]
        if len(codes) > 1:
            assert session.command("RSET").code == 250
        assert session.deliver("r@any.example", MESSAGE).code == 250


HOSTILE = {
    "a reply without an end": canary_module.endless("250 more and more"),
    "a line without an end": canary_module.raw(b"250 " + b"x" * 200000),
    "no digits": canary_module.reply("OK fine"),
    "four digits": canary_module.reply("2500 Ok"),
    "a code below 200": canary_module.reply("150 Ok"),
    "a code above 599": canary_module.reply("650 Ok"),
    "codes that differ": canary_module.reply("250-Ok\n550 no"),
    "octets of no kind": canary_module.raw(b"\xff\x00\xfe\r\n"),
    "a reply nobody waits for": canary_module.reply("250 2.0.0 Ok\n250 2.0.0 and again"),
    "421": canary_module.both(canary_module.reply("421 4.3.2 Going down"), canary_module.hang_up),
}


@pytest.mark.parametrize("point", ["banner", "EHLO", "MAIL", "RCPT", "DATA", "data", "."])
@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_mail_server_harms_nobody(start, canary, point, answer):
    """One well-formed reply to each command or a 421, never a 250 that was not earned, and the next client is served."""
    vestibule = start(canary.port, {"upstream": {"queue_timeout": "300ms", "reply_timeout": "3s", "data_timeout": "3s"}})
    with vestibule.connect(timeout=20) as session:
        session.login()
        canary.on[point] = answer
        try:
            codes = [session.command("MAIL FROM:<alice@client.test>").code,
                     session.command("RCPT TO:<r@any.example>").code, session.command("DATA").code]
            if codes[-1] == 354:
                session.send(HEAD + b"text\r\n" * 1000 + b".\r\n")
                codes.append(session.reply().code)
                twice = answer is HOSTILE["a reply nobody waits for"]
                assert codes[-1] >= 400 or (twice and codes[-1] == 250), codes
            session.command("NOOP")
        except (client.Closed, OSError):
            pass
    canary.on[point] = canary_module.ordinary()[point]
    with vestibule.connect() as session:
        assert session.login().deliver("r@any.example", MESSAGE).code == 250


def test_replies_in_single_octets_are_whole_replies(vestibule, canary, tls):
    for point, text in {"banner": "220 slow", "MAIL": "250 2.1.0 slow", "RCPT": "250 2.1.5 slow", "DATA": "354 slow",
                        ".": "250 2.0.0 slowly queued"}.items():
        canary.on[point] = canary_module.trickle(text)
    with vestibule.connect(tls) as session:
        assert session.login().deliver("r@any.example", MESSAGE).text == "250 2.0.0 slowly queued"


def test_octets_nobody_asked_for_close_both_sides(vestibule, canary, tls):
    """A fooled mail server would say 250 in the middle of a message: that is not passed on as anybody's reply."""
    canary.on["data"] = canary_module.reply("250 2.0.0 Ok: queued")
    with vestibule.connect(tls) as session:
        session.login().begin_data("r@any.example")
        canary.wait_until_left()
        try:
            session.send(b"text\r\n.\r\n")
            replies, _ = session.replies()
            assert all(reply.code >= 400 for reply in replies), replies
        except OSError:
            pass
    assert not canary.messages
    assert vestibule.wait_logged("event=desync")


def test_a_mail_server_that_knows_only_helo_works(start, canary, tls):
    canary.on["EHLO"] = canary_module.reply("500 5.5.1 What?")
    vestibule = start(canary.port)
    with vestibule.connect(tls) as session:
        assert session.login().deliver("r@any.example", MESSAGE).code == 250
    assert any(command.startswith(b"HELO ") for command in canary.visitors[0].commands)


def test_refusals_are_passed_on_in_order(vestibule, canary, tls):
    verdicts = [("250 2.1.5 Ok" if number % 3 else f"550 5.1.1 nobody {number}") for number in range(50)]
    canary.on["RCPT"] = canary_module.in_turn(*map(canary_module.reply, verdicts))
    with vestibule.connect(tls) as session:
        session.login()
        session.send(b"MAIL FROM:<a@client.test>\r\n" + b"".join(b"RCPT TO:<r%d@any.example>\r\n" % n for n in range(50)))
        assert session.reply().code == 250
        assert [session.reply().text for _ in range(50)] == verdicts


# The whole service ends, or begins anew.


def test_sigterm_lets_a_message_on_its_way_arrive(start, canary, tls):
    """A session that waits for the verdict on its message gets it; idle ones are told why they must leave."""
    vestibule = start(canary.port, {"server": {"drain_timeout": "10s"}})
    canary.on["."] = canary_module.after(1.5, canary_module.reply("250 2.0.0 Ok: queued as LATE"))
    with vestibule.connect(tls) as busy, vestibule.connect(tls) as idle, vestibule.plaintext() as early:
        idle.login()
        busy.login().begin_data("r@any.example")
        busy.send(MESSAGE + b".\r\n")
        canary.wait_for(lambda c: c.messages, what="the end of data")
        vestibule.process.send_signal(signal.SIGTERM)
        assert idle.reply() == "421 4.3.2" and idle.closed() != "rst"
        assert early.reply() == "421 4.3.2"
        assert busy.reply().text == "250 2.0.0 Ok: queued as LATE"
        assert busy.reply() == "421 4.3.2"
    assert vestibule.process.wait(10) == 0


def test_sigterm_lets_a_message_be_finished(start, canary):
    vestibule = start(canary.port, {"server": {"drain_timeout": "10s"}})
    with vestibule.connect() as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD)
        vestibule.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        session.send(b"the rest\r\n.\r\n")
        assert session.reply().code == 250
        assert session.reply() == "421 4.3.2"
    assert vestibule.process.wait(10) == 0
    assert canary.messages[0].body == HEAD + b"the rest\r\n"


def test_sigterm_does_not_wait_for_ever(start, canary):
    vestibule = start(canary.port, {"server": {"drain_timeout": "500ms"}})
    with vestibule.connect() as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD)
        vestibule.process.send_signal(signal.SIGTERM)
        assert vestibule.process.wait(4) == 0
    assert not canary.messages


@pytest.mark.smoke
def test_reloads_under_load_lose_nothing(start, canary):
    """Ten reloads while clients connect, log in and send without pause: no refusal, no loss, no double."""
    vestibule = start(canary.port, {"server": {"drain_timeout": "20s"}})
    sent, failed, over = [], [], threading.Event()

    def keep_sending(name):
        number = 0
        while not over.is_set():
            number += 1
            mark = f"{name}-{number}"
            try:
                with vestibule.connect("implicit" if number % 2 else "starttls") as session:
                    session.login()
                    for part in "ab":
                        reply = session.deliver("r@any.example", HEAD + f"mark {mark}{part}\r\n".encode())
                        assert reply.code == 250, reply
                        sent.append(f"{mark}{part}")
                    session.quit()
            except (AssertionError, OSError, client.Closed) as error:
                failed.append((mark, repr(error)))

    threads = [threading.Thread(target=keep_sending, args=(name,)) for name in "wxyz"]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            vestibule.reload()
            time.sleep(0.1)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    received = [message.body.partition(b"mark ")[2].strip().decode() for message in canary.messages]
    assert not failed
    assert sorted(received) == sorted(sent) and len(sent) > 20
    proc.wait_until(lambda: len(vestibule.fronts) == 1, 10, "the old fronts leave when their sessions have ended")


def test_an_old_front_finishes_its_message_while_the_new_one_serves(vestibule, canary):
    with vestibule.connect() as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD)
        vestibule.reload()
        with vestibule.connect() as other:
            assert other.login().deliver("r@any.example", MESSAGE).code == 250
        session.send(b"the rest\r\n.\r\n")
        assert session.reply().code == 250
    assert len(canary.messages) == 2


def test_a_session_of_an_old_front_goes_on_as_long_as_it_is_at_work(start, canary):
    """Once it is idle it is told to come again, by a reply."""
    vestibule = start(canary.port)
    with vestibule.connect() as session:
        session.ehlo()
        vestibule.reload()
        session.login()
        assert session.deliver("r@any.example", MESSAGE).code == 250
        assert session.reply() == "421 4.3.2"
    proc.wait_until(lambda: len(vestibule.fronts) == 1, 5, "the old front leaves")


def test_a_reload_takes_up_what_was_changed(vestibule, canary, pki):
    vestibule.configure({"server": {"hostname": "renamed.example.test"}})
    vestibule.reload()
    proc.wait_until(lambda: "renamed.example.test" in vestibule.plaintext().greeting.text, 3, "the new name is in use")


@pytest.mark.parametrize("change", [
    {"server": {"hostnam": "x"}}, {"tls": {"certificate": "/nonexistent.pem"}}, {"auth": {"backend": "file:/nonexistent"}}],
    ids=["an unknown key", "a missing certificate", "a missing users file"])
def test_a_bad_configuration_leaves_the_running_one_in_force(vestibule, canary, change):
    front = vestibule.front
    vestibule.configure(change)
    vestibule.process.send_signal(signal.SIGHUP)
    line = vestibule.wait_logged("level=error", "reload")[0]
    assert "hostname" in line or "/nonexistent" in line
    with vestibule.connect() as session:
        assert session.login().deliver("r@any.example", MESSAGE).code == 250
    assert vestibule.fronts == [front]


def test_a_new_certificate_is_served_after_a_reload(vestibule, canary, pki):
    with vestibule.connect() as session:
        first = session.sock.getpeercert()["serialNumber"]
    renewed = pki.authority.issue("renewed")
    vestibule.configure({"tls": {"certificate": str(renewed)}})
    vestibule.reload()

    def served():
        with vestibule.connect() as session:
            return session.sock.getpeercert()["serialNumber"] != first

    proc.wait_until(served, 3, "the new certificate is served")
