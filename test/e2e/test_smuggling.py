"""A message ends at CR LF . CR LF and nowhere else: what hides behind another ending is never a second message.

Postfix, Exim and others take several of these for an end when localhost sends them, so nothing but canonical lines may
reach them: every line ends in CR LF, every leading dot is stuffed, and the one final dot is ours."""

import pytest

import canary as canary_module
import vestibule as program
from client import Closed
from endings import ATTACKS, HEAD

SECOND = b"MAIL FROM:<boss@client.test>\r\nRCPT TO:<smuggled@any.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"


def attack(session, message, recipient, cut=None):
    """One message with a smuggled transaction inside; the replies, and how the server left, if it did."""
    session.begin_data(recipient)
    wire = message + SECOND
    if cut is None:
        session.send(wire)
    else:
        session.send(wire[:cut])
        session.send(wire[cut:])
    replies = [session.reply()]
    try:
        replies.append(session.command("NOOP"))
    except Closed:
        pass
    return replies


def outcome(replies):
    """Either it is one message with all in it, or none: whatever it is, only one reply to it, and NOOP is answered."""
    assert len(replies) == 2 and replies[1].code == 250, replies
    assert replies[0].code in (250, 550), replies
    return replies[0].code


@pytest.fixture(scope="module", params=["normalize", "reject"])
def watched(request, workshop, pki):
    canary = canary_module.Canary().start()
    with program.running(workshop / f"smuggling-{request.param}", pki, canary.port,
                         {"message": {"bare_newline": request.param}}) as vestibule:
        yield vestibule, canary
        canary.stop()


def judged_by_the_canary(canary, replies, before):
    code = outcome(replies)
    assert not canary.violations
    delivered = canary.messages[before:]
    assert len(delivered) == (1 if code == 250 else 0)
    for message in delivered:
        assert b"boss@client.test" in message.text and message.mail == b"MAIL FROM:<alice@client.test>"
    for connection in canary.visitors:
        assert not any(b"boss" in command or b"smuggled" in command for command in connection.commands)


@pytest.mark.parametrize("message", ATTACKS.values(), ids=ATTACKS.keys())
def test_the_canary_sees_one_message_or_none(watched, tls, message):
    vestibule, canary = watched
    before = len(canary.messages)
    with vestibule.connect(tls) as session:
        session.login()
        judged_by_the_canary(canary, attack(session, message, "r@any.example"), before)


@pytest.mark.parametrize("message", ATTACKS.values(), ids=ATTACKS.keys())
def test_it_is_the_same_wherever_the_octets_are_cut(watched, message):
    """Every edge around the ending, each half a TLS record of its own; one session, many messages."""
    vestibule, canary = watched
    with vestibule.connect("implicit") as session:
        session.login()
        verdicts = set()
        for cut in range(max(0, len(message) - 8), len(message) + 6):
            before = len(canary.messages)
            replies = attack(session, message, "r@any.example", cut)
            judged_by_the_canary(canary, replies, before)
            verdicts.add(replies[0].code)
        assert len(verdicts) == 1


def test_a_real_ending_does_end(watched):
    """The judgement above is worth something only if a true end of data is one."""
    vestibule, canary = watched
    before = len(canary.messages)
    with vestibule.connect("implicit") as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD + b"text\r\n.\r\n" + SECOND.partition(b"Subject")[0])
        assert [session.reply().code for _ in range(3)] == [250, 250, 250]
        # What follows DATA in the same flight is taken for an attack, so the second message is left at that.
    assert len(canary.messages) == before + 1


def test_a_bare_line_feed_is_made_whole(start, canary, tls):
    """bare_newline = normalize: each LF becomes CR LF, and a dot behind it is text."""
    vestibule = start(canary.port, {"message": {"bare_newline": "normalize"}})
    with vestibule.connect(tls) as session:
        session.login().begin_data("r@any.example")
        session.send(b"Subject: t\n\none\n.two\n.\nthree\r\n.\r\n")
        assert session.reply().code == 250
    assert canary.messages[0].body == b"Subject: t\r\n\r\none\r\n.two\r\n.\r\nthree\r\n"


def test_a_refused_message_is_read_to_its_true_end(start, canary, tls):
    """Its rest is never taken for commands, even when it comes later, and the session goes on with a fresh connection."""
    vestibule = start(canary.port, {"message": {"bare_newline": "reject"}})
    with vestibule.connect(tls) as session:
        session.login().begin_data("r@any.example")
        session.send(HEAD + b"text\n.\n")
        assert session.quiet(0.2)
        session.send(SECOND[: SECOND.index(b"x\r\n.\r\n")])
        assert session.quiet(0.2)
        session.send(b"x\r\n.\r\n")
        assert session.reply() == "550 5.6.0"
        assert session.deliver("r@any.example", HEAD + b"fine\r\n").code == 250
    assert [message.body for message in canary.messages] == [HEAD + b"fine\r\n"]
    assert not canary.violations


def test_body_octets_before_the_354_are_an_attack(vestibule, canary, tls):
    """Whoever sends them wants them read as something else, should DATA fail."""
    refused = canary_module.reply("550 5.1.1 nobody")
    canary.on["RCPT"] = refused
    with vestibule.connect(tls) as session:
        session.login()
        session.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nSubject: t\r\nNOOP\r\n.\r\n")
        replies, _ = session.replies()
    assert [reply.code for reply in replies][:2] == [250, 550]
    assert not any(reply.code in (250, 354) for reply in replies[2:]), replies
    assert not canary.messages


def test_commands_are_written_anew(vestibule, canary, tls):
    """Odd but lawful spellings reach the mail server in one form only."""
    with vestibule.connect(tls) as session:
        session.login()
        assert session.command("mail from:<@relay.test:alice@client.test> size=100 body=8bitmime").code == 250
        assert session.command('RCPT to:<"bob"@any.example>').code == 250
        assert session.command("rset").code == 250
    canary.wait_for(lambda c: c.visitors and c.visitors[0].ended, what="the session's end")
    commands = [command for command in canary.visitors[0].commands if command.startswith((b"MAIL", b"RCPT"))]
    assert commands == [b"MAIL FROM:<alice@client.test> SIZE=100 BODY=8BITMIME", b"RCPT TO:<bob@any.example>"]


@pytest.mark.parametrize("octet", [*range(0x00, 0x0a), 0x0b, 0x0c, *range(0x0e, 0x20), 0x7f, 0x80, 0xff])
def test_no_control_octet_passes_in_any_argument(watched, octet):
    vestibule, canary = watched
    bad = bytes([octet])
    with vestibule.connect("implicit") as session:
        session.login()
        for line in (b"MAIL FROM:<a" + bad + b"@b.test>", b"MAIL FROM:<a@b.test> SIZE=1" + bad, b"EHLO a" + bad + b"b"):
            reply = session.command(line)
            assert reply.code in (500, 501, 550, 553, 555), (line, reply)
    assert not canary.violations
    for connection in canary.visitors:
        assert not any(bad in command for command in connection.commands)


def test_two_sessions_never_share_a_connection(vestibule, canary):
    """Another login gets another connection, and what one breaks leaves the other whole."""
    with vestibule.connect("implicit") as one, vestibule.connect("starttls") as two:
        one.login().begin_data("one@any.example")
        one.send(b"half a mess")
        two.login("bob", "bobs password")
        assert two.deliver("two@any.example", HEAD + b"two\r\n").code == 250
        one.reset()
        assert two.deliver("two@any.example", HEAD + b"again\r\n").code == 250
    assert len(canary.visitors) == 2
    assert [message.body[-7:] for message in canary.messages][0].endswith(b"two\r\n")
    assert len(canary.messages) == 2
