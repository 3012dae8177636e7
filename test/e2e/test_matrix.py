"""Every attack of endings.py against every mail server, sent to it directly and through Vestibule.

Directly, some of them take one message for two, or one line for two commands: that is what makes this worth testing.
Through Vestibule none does. matrix.md is the outcome; MATRIX=write writes it anew."""

import concurrent.futures
import itertools
import os
import pathlib
import re

import pytest

import client
import endings
import mta as mta_module
import tap as tap_module
import vestibule as program
from client import Closed
from mta import base

TABLE = pathlib.Path(__file__).parent / "matrix.md"
MODES = ["normalize", "reject"]
ALL = {**endings.ATTACKS, **endings.TRUE_ENDS}

# How long silence lasts before it is taken for an answer; longer where the first try says something new.
HASTY, PATIENT = 0.3, 2.0

numbers = itertools.count(1)


def addresses():
    number = next(numbers)
    return f"victim{number}@any.example", f"smuggled{number}@any.example"


def in_parallel(work, items, workers=8):
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


# Directly.


class Direct(client.Client):
    """The mail server's own port, and what it answers to things that are not allowed."""

    def __init__(self, port):
        super().__init__(port, tls=None)
        self.ehlo()

    def say(self, octets, patience, most):
        """How many replies come before it is silent for that long, up to most."""
        heard = 0
        try:
            self.send(octets)
            while heard < most and not self.quiet(patience):
                heard += self.line()[3:4] != b"-"
        except (Closed, OSError):
            pass
        return heard

    def line(self):
        """Some repeat whatever they were told."""
        while b"\r\n" not in self.buffer:
            self.buffer += self.receive()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line


def attack_directly(mta, message, patience):
    """Says the message, then what hides behind it a command at a time, as fast as the mail server lets it."""
    victim, smuggled = addresses()
    with Direct(mta.port) as session:
        session.begin_data(victim)
        ended = session.say(message, patience, most=1)
        for command in endings.hidden(smuggled):
            session.say(command, PATIENT if ended else 0.01, most=1)
        session.say(b"\r\n.\r\n", PATIENT, most=1)
    return victim, smuggled


def judge(mta, victim, smuggled):
    arrived = mta.inbox(victim)
    if mta.inbox(smuggled):
        return "two"
    if not arrived:
        return "none"
    return "one" if len(arrived) == 1 and b"boss@client.test" in arrived[0] else "cut off"


def commands_directly(mta, line, patience):
    with Direct(mta.port) as session:
        return str(session.say(line + b"\r\n", patience, most=9))


def parsed(text):
    """The two tables in it, {row: {column: cell}} each."""
    tables, header = [], None
    for line in text.splitlines():
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            header = None
        elif header is None:
            header = cells
            tables.append({})
        elif not cells[0].startswith("---"):
            tables[-1][cells[0]] = dict(zip(header[1:], cells[1:]))
    return tables


def recorded():
    return parsed(TABLE.read_text()) if TABLE.exists() else [{}, {}]


def column(mta):
    return f"{type(mta).__name__} {base.version(mta.package)}"


def direct_column(mta):
    """Both tables' column of one mail server."""
    before = [{row: cells.get(column(mta)) for row, cells in table.items()} for table in recorded()]

    def endings_with(names, patience):
        tried = in_parallel(lambda name: attack_directly(mta, ALL[name], patience), names)
        mta.settle()
        return {name: judge(mta, *pair) for name, pair in zip(names, tried)}

    def lines_with(names, patience):
        return dict(zip(names, in_parallel(lambda name: commands_directly(mta, endings.LINES[name], patience), names)))

    found = []
    for measure, names, known in ((endings_with, list(ALL), before[0]), (lines_with, list(endings.LINES), before[1])):
        cells = measure(names, HASTY)
        new = [name for name in names if cells[name] != known.get(name)]
        cells.update(measure(new, PATIENT) if new else {})
        found.append(cells)
    return found


@pytest.fixture(scope="module")
def mtas(request):
    return {name: request.getfixturevalue(name) for name in mta_module.ALL}


@pytest.fixture(scope="module")
def direct(mtas):
    """{mail server: (verdict by attack, number of replies by line)}"""
    return dict(zip(mtas, in_parallel(direct_column, mtas.values(), workers=4)))


# Through Vestibule.


class Attempt:
    """One attack: what was answered, and where its messages would be."""

    def __init__(self, name, style):
        self.name, self.style = name, style
        self.victim, self.smuggled = addresses()
        self.replies, self.trouble = [], None

    def run(self, session):
        (self.say_chunks if self.style.startswith("BDAT") else self.say_data)(session)
        self.replies.append(session.command("NOOP"))

    def say_chunks(self, session):
        """Nothing in a chunk is an end; an edge between two may stand anywhere around what looks like one."""
        message = {**ALL, **endings.CHUNKED}[self.name]
        end = len(message)
        octets = message + b"".join(endings.hidden(self.smuggled))
        edges = {"BDAT": [0, len(octets)], "BDAT, cut": [0, *range(end - 5, end + 2), len(octets)]}[self.style]
        session.envelope(self.victim)
        edges = sorted({max(0, edge) for edge in edges})
        for begin, after in zip(edges, edges[1:]):
            last = " LAST" if after == len(octets) else ""
            session.send(f"BDAT {after - begin}{last}\r\n".encode() + octets[begin:after])
            reply = session.reply()
            if last or reply.code != 250:
                self.replies.append(reply)
                break

    def say_data(self, session):
        session.begin_data(self.victim)
        message = ALL[self.name]
        tail = b"" if self.name in endings.TRUE_ENDS else b"".join(endings.hidden(self.smuggled))
        if self.style == "octets":
            session.send_slowly(message + tail, pause=0)
        elif self.style == "pause":
            session.send(message)
            if tail and not session.quiet(0.2):
                self.trouble = "it answered before the true end"
            session.send(tail)
        else:
            session.send(message + tail)
        self.replies.append(session.reply())

    def judge(self, mta):
        """None, or what is wrong: there must be one reply, and one message with all in it or none."""
        if self.trouble:
            return self.trouble
        codes = [reply.code for reply in self.replies]
        if len(codes) != 2 or codes[0] not in (250, 550) or codes[1] != 250:
            return f"the replies were {self.replies}"
        arrived = mta.inbox(self.victim)
        if mta.inbox(self.smuggled):
            return "the hidden message arrived"
        if len(arrived) != (1 if codes[0] == 250 else 0):
            return f"{len(arrived)} messages arrived after {codes[0]}"
        if arrived and b"boss@client.test" not in arrived[0]:
            return "the message was cut off"
        return None

    @property
    def cell(self):
        return "one" if self.replies and self.replies[0].code == 250 else "none"


def attack_through(vestibule, attempts):
    """Some attempts in one session each, so that none has made enough errors to be sent away."""

    def one_session(some):
        attempt = some[0]
        try:
            with vestibule.connect("implicit", timeout=10) as session:
                session.login()
                for attempt in some:
                    attempt.run(session)
        except (Closed, OSError, AssertionError) as error:
            attempt.trouble = f"{type(error).__name__}: {error}"

    in_parallel(one_session, [attempts[at:at + 5] for at in range(0, len(attempts), 5)])


@pytest.fixture(scope="module")
def through(mtas, workshop, pki):
    """{(mail server, mode): attempts}: every attack in one piece and as BDAT, some in other pieces as well."""

    def attempted(case):
        name, mode = case
        attempts = [Attempt(attack, "whole") for attack in ALL]
        attempts += [Attempt(attack, style) for style in ("octets", "pause") for attack in ALL
                     if attack in endings.FIRST or attack in list(endings.ENDINGS)[:3] or "NUL" in attack]
        attempts += [Attempt(attack, "BDAT") for attack in ALL]
        attempts += [Attempt(attack, style) for style in ("BDAT", "BDAT, cut") for attack in endings.CHUNKED]
        with program.running(workshop / f"matrix-{name}-{mode}", pki, mtas[name].port,
                             {"message": {"bare_newline": mode}}) as vestibule:
            attack_through(vestibule, attempts)
        return attempts

    cases = list(itertools.product(mtas, MODES))
    outcome = dict(zip(cases, in_parallel(attempted, cases, workers=4)))
    for mta in mtas.values():
        mta.settle()
    return outcome


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", mta_module.ALL)
def test_through_vestibule_one_message_arrives_or_none(through, mtas, name, mode):
    wrong = [f"{attempt.name} ({attempt.style}): {trouble}" for attempt in through[name, mode]
             if (trouble := attempt.judge(mtas[name]))]
    assert not wrong, "\n".join(wrong)


def test_sent_directly_some_messages_become_two(direct):
    """Were there none, the test above would show nothing."""
    for name in ("postfix", "opensmtpd"):
        splits = [attack for attack, verdict in direct[name][0].items() if verdict == "two"]
        assert {"LF . LF", "LF . CRLF", "CRLF . LF", "first: . LF"} <= set(splits), splits


def test_sent_directly_some_lines_become_two_commands(direct):
    assert any(int(count) > 1 for _, lines in direct.values() for count in lines.values())


# Commands.


@pytest.fixture(scope="module", params=mta_module.ALL)
def tapped(request, workshop, pki):
    mta = request.getfixturevalue(request.param)
    with tap_module.Tap(mta.port) as tap:
        with program.running(workshop / f"tapped-{request.param}", pki, tap.port) as vestibule:
            yield vestibule, tap


@pytest.mark.parametrize("line", endings.LINES.values(), ids=endings.LINES.keys())
def test_through_vestibule_a_line_is_one_command_or_none(tapped, line):
    """The mail server is there and has nothing to do; not a word of the line reaches it."""
    vestibule, tap = tapped
    already = len(tap.talks)
    with vestibule.connect("implicit") as session:
        session.login().envelope("r@any.example")
        assert session.command("RSET").code == 250
        talk, = [talk for talk in tap.talks[already:] if any(b"MAIL" in command for command in talk.commands)]
        session.send(line + b"\r\n")
        assert session.reply() == "500 5.5.2"
        if b"\n" in line:
            assert session.closed() != "rst"
        else:
            assert session.command("NOOP").code == 250
            session.quit()
    assert talk.over.wait(5)
    words = [command.split(b" ")[0] for command in talk.commands]
    assert words in ([b"EHLO", b"MAIL", b"RCPT", b"RSET", b"QUIT"], [b"EHLO", b"MAIL", b"RCPT", b"RSET"]), talk.commands
    assert all(re.fullmatch(rb"[ -~]{4,1998}", command) for command in talk.commands)
    assert talk.to_mta.endswith(b"\r\n") and talk.to_mta.count(b"\n") == len(talk.commands)
    assert len(talk.replies) <= 1 + len(talk.commands)


# The table.


def loud(cell):
    """More than was meant."""
    return f"**{cell}**" if cell not in ("none", "one", "0", "1") else cell


def rendered(direct, through, mtas):
    columns = [column(mta) for mta in mtas.values()]

    def table(first, rows, more):
        head = [first, *columns, *more]
        return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]

    def vestibule(attack, mode):
        cells = {attempt.cell for name in mtas for attempt in through[name, mode]
                 if attempt.name == attack and not attempt.style.startswith("BDAT")}
        return " or ".join(sorted(cells, reverse=True))

    messages = [[attack, *(loud(direct[name][0][attack]) for name in mtas), *(vestibule(attack, mode) for mode in MODES)]
                for attack in ALL]
    lines = [[line, *(loud(direct[name][1][line]) for name in mtas), "none"] for line in endings.LINES]
    return "\n".join([
        "# One message or two",
        "",
        "Made by test_matrix.py. Mail servers as Debian has them, asked from localhost, which they trust; then Vestibule in",
        "front of each. The octets of each row: endings.py.",
        "",
        "A message that holds these octets and a whole transaction behind them is how many? \"cut off\": one, without what",
        "follows the octets. \"none\": it was refused. The true end is two by right; what Vestibule refuses there is its bare CR.",
        "",
        *table("octets", messages, [f"any of them behind Vestibule, {mode}" for mode in MODES]),
        "",
        "A line that holds another command: how many commands are answered? (\"1\" may be a refusal.)",
        "",
        *table("line", lines, ["any of them behind Vestibule"]),
        "",
    ])


def test_the_table_says_so(direct, through, mtas, capsys):
    text = rendered(direct, through, mtas)
    with capsys.disabled():
        print("\n" + text)
    if os.environ.get("MATRIX") == "write":
        TABLE.write_text(text)
        return
    for old, new in zip(recorded(), parsed(text)):
        assert old.keys() == new.keys()
        for row in new:
            # Another version's column is another column.
            differing = {name: (old[row][name], new[row][name]) for name in new[row]
                         if name in old[row] and old[row][name] != new[row][name]}
            assert not differing, f"{row}: {differing}; if that is so now, MATRIX=write writes {TABLE.name} anew"
