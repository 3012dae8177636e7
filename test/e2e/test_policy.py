"""What a login may send: as whom, and how much; and what is left of the mail server for the others."""

import os
import signal
import threading

import pytest

import client

HELLO = b"Subject: x\r\n\r\nhello\r\n"


@pytest.fixture
def users(folder, pki):
    """alice owns two addresses and a domain, bob none."""
    path = folder / "users"
    lines = dict(line.split(":", 1) for line in pki.users.read_text().splitlines())
    path.write_text(f"alice:{lines['alice']}:alice@client.test,sales@client.test,@alice.test\nbob:{lines['bob']}\n")
    path.chmod(0o644)
    return path


def bob(vestibule, tls="implicit"):
    return vestibule.connect(tls).login("bob", "bobs password")


@pytest.mark.parametrize("sender,owned", [
    ("alice@client.test", True), ("sales@client.test", True), ("anything@alice.test", True), ("alice@CLIENT.test", True), ("", True),
    ("Alice@client.test", False), ("boss@client.test", False), ("alice@client.test.evil.test", False), ("x@sub.alice.test", False)])
def test_a_sender_must_be_the_logins_own(start, canary, tls, users, sender, owned):
    vestibule = start(canary.port, {"policy": {"sender": "login"}}, users=users)
    with vestibule.connect(tls).login() as session:
        reply = session.command(f"MAIL FROM:<{sender}>")
        assert reply.code == (250 if owned else 550)
        if not owned:
            assert "5.7.1" in reply.text
            assert all(connection.is_probe for connection in canary.connections)
            assert session.envelope("b@any.example")  # and the session goes on


def test_the_senders_file_counts_too_and_is_read_again(start, canary, tls, users, folder):
    senders = folder / "senders"
    senders.write_text("bob: bob@client.test\n")
    senders.chmod(0o644)
    vestibule = start(canary.port, {"policy": {"sender": "login", "senders": senders}}, users=users)
    with bob(vestibule, tls) as session:
        assert session.command("MAIL FROM:<bob@client.test>").code == 250
        session.command("RSET")
        assert session.command("MAIL FROM:<alice@client.test>").code == 550
        senders.write_text("bob: bob@client.test, alice@client.test\n")
        assert session.command("MAIL FROM:<alice@client.test>").code == 250


def test_a_login_sends_so_many_messages_and_no_more(start, canary, users):
    vestibule = start(canary.port, {"policy": {"messages": "5/1h"}}, users=users)
    accepted, lock = [], threading.Lock()

    def push(tls):
        with vestibule.connect(tls).login() as session:
            for _ in range(4):
                reply = session.command("MAIL FROM:<alice@client.test>")
                assert reply.code in (250, 450), reply
                if reply.code == 250:
                    with lock:
                        accepted.append(reply)
                    session.command("RSET")

    pushers = [threading.Thread(target=push, args=[tls]) for tls in ("implicit", "starttls") * 2]
    for pusher in pushers:
        pusher.start()
    for pusher in pushers:
        pusher.join()
    assert len(accepted) == 5
    with bob(vestibule) as other:
        assert other.command("MAIL FROM:<bob@client.test>").code == 250


def test_the_count_outlives_a_reload(start, canary, users):
    vestibule = start(canary.port, {"policy": {"messages": "1/1h"}}, users=users)
    with vestibule.connect().login() as session:
        assert session.deliver("b@any.example", HELLO).code == 250
        session.quit()
    vestibule.reload()
    vestibule.wait_logged("event=reloaded")
    with vestibule.connect().login() as session:
        assert session.command("MAIL FROM:<alice@client.test>").code == 450


def test_a_login_names_so_many_recipients_and_no_more(start, canary, tls, users):
    vestibule = start(canary.port, {"policy": {"recipients": "3/1h"}}, users=users)
    with vestibule.connect(tls).login() as session:
        session.command("MAIL FROM:<alice@client.test>")
        codes = [session.command(f"RCPT TO:<r{number}@any.example>").code for number in range(5)]
        assert codes == [250, 250, 250, 450, 450]
        assert session.command("DATA").code == 354
        session.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
        assert session.reply().code == 250
    assert len(canary.messages[0].rcpt) == 3


def test_one_login_leaves_connections_for_the_others(start, canary, users):
    """Of three connections a login may hold one."""
    vestibule = start(canary.port, {"upstream": {"max_connections": "3", "queue_timeout": "1s"}}, users=users)
    with vestibule.connect().login() as first, vestibule.connect().login() as second, bob(vestibule) as other:
        assert first.command("MAIL FROM:<alice@client.test>").code == 250
        reply = second.command("MAIL FROM:<alice@client.test>")
        assert reply.code == 451 and "4.3.2" in reply.text
        assert other.command("MAIL FROM:<bob@client.test>").code == 250
        first.quit()
        assert second.command("MAIL FROM:<alice@client.test>").code == 250


def test_who_waits_in_line_gets_the_connection_that_falls_free(start, canary, users):
    vestibule = start(canary.port, {"upstream": {"max_connections": "1", "queue_timeout": "10s"}}, users=users)
    with vestibule.connect().login() as first, bob(vestibule) as second:
        assert first.command("MAIL FROM:<alice@client.test>").code == 250
        second.send(b"MAIL FROM:<bob@client.test>\r\n")
        second.quiet(0.5)
        first.quit()
        assert second.reply().code == 250


def test_a_front_that_dies_gives_back_what_it_held(start, canary, users):
    vestibule = start(canary.port, {"upstream": {"max_connections": "1", "queue_timeout": "2s"}}, users=users)
    with vestibule.connect().login() as session:
        assert session.command("MAIL FROM:<alice@client.test>").code == 250
        os.kill(vestibule.front, signal.SIGKILL)
        session.closed()
    vestibule.wait_logged("event=front_died")
    with vestibule.connect().login() as session:
        assert session.deliver("b@any.example", HELLO).code == 250


def test_after_so_many_messages_a_new_connection(start, canary, users):
    vestibule = start(canary.port, {"upstream": {"messages_per_connection": "2"}}, users=users)
    with vestibule.connect().login() as session:
        for _ in range(5):
            assert session.deliver("b@any.example", HELLO).code == 250
    used = [len(connection.messages) for connection in canary.visitors]
    assert used == [2, 2, 1]


def test_an_idle_session_holds_no_connection(start, canary, users):
    vestibule = start(canary.port, {"upstream": {"max_connections": "1", "queue_timeout": "30s"}}, users=users)
    with vestibule.connect().login() as idle, bob(vestibule) as other:
        assert idle.deliver("b@any.example", HELLO).code == 250
        other.send(b"MAIL FROM:<bob@client.test>\r\n")
        assert other.reply().code == 250  # while the first stays
        assert idle.command("NOOP").code == 250
