"""Attacks on TLS itself, with a client that no library would be: any ClientHello, any record."""

import contextlib
import ctypes
import ctypes.util
import hashlib
import hmac
import os
import random
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

import client
import proc
import vestibule as program
from endings import HEAD

MEGABYTE = 1 << 20
SECONDS = 8
MESSAGE = HEAD + b"text\r\n"
plain_build = pytest.mark.skipif(program.SANITIZED, reason="a sanitizer's own memory hides the program's")


def works(vestibule, tls="implicit"):
    with vestibule.connect(tls) as session:
        assert session.login().deliver("r@any.example", MESSAGE).code == 250
        session.quit()


# A ClientHello by hand.


def vector(length, octets):
    return len(octets).to_bytes(length, "big") + octets


def extension(number, octets):
    return struct.pack("!H", number) + vector(2, octets)


def server_name(name):
    return extension(0, vector(2, b"\0" + vector(2, name)))


def client_hello(*extensions, suites=(0x1301, 0xC02B, 0xC02F), versions=(0x0304, 0x0303)):
    """In as many records as it needs; the extensions come on top of those that a handshake needs."""
    body = (b"\x03\x03" + os.urandom(32) + vector(1, os.urandom(32)) + vector(2, b"".join(struct.pack("!H", s) for s in suites)) +
            b"\x01\0")
    needed = [extension(10, vector(2, b"\0\x1d\0\x17")), extension(11, b"\x01\0"),
              extension(13, vector(2, b"\x04\x03\x08\x04\x04\x01\x02\x01")),
              extension(51, vector(2, b"\0\x1d" + vector(2, b"\x09" + os.urandom(30) + b"\x40")))]
    if versions:
        needed.append(extension(43, vector(1, b"".join(struct.pack("!H", version) for version in versions))))
    body += vector(2, b"".join([*extensions, *needed]))
    message = b"\x01" + vector(3, body)
    return b"".join(b"\x16\x03\x01" + vector(2, message[at:at + 16384]) for at in range(0, len(message), 16384))


def answer(vestibule, octets):
    """What the server says to it first: ("alert", number), ("hello", suite), or ("closed", None)."""
    with socket.create_connection(("127.0.0.1", vestibule.implicit), timeout=10) as sock:
        sock.sendall(octets)
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while len(heard) < 5 or len(heard) < 5 + int.from_bytes(heard[3:5], "big"):
                piece = sock.recv(4096)
                if not piece:
                    break
                heard += piece
    if heard[:1] == b"\x15":
        return "alert", heard[6]
    if heard[:1] == b"\x16":
        after_session = 44 + heard[43]
        return "hello", int.from_bytes(heard[after_session:after_session + 2], "big")
    assert not heard, heard
    return "closed", None


# Names.


def grown(vestibule, before):
    return {pid: proc.resident(pid) - was for pid, was in before.items()}


@plain_build
def test_names_without_number_cost_no_memory(start, canary):
    """Each asks for a name that nobody asked for before: whole handshakes that get tickets, and ones that go no further."""
    vestibule = start(canary.port, {"log": {"level": "error"}})
    pids = vestibule.pid, vestibule.front
    context = client.trusting(vestibule.ca, check_hostname=False)
    done = {"whole": 0, "begun": 0}
    until = 0

    def whole():
        while time.monotonic() < until:
            name = f"{random.getrandbits(64):x}.{random.getrandbits(64):x}.example"
            with vestibule.connect(context=context, name=name) as session:
                session.send(b"QUIT\r\n")
                session.reply()
                assert session.sock.session.has_ticket
            done["whole"] += 1

    def begun():
        while time.monotonic() < until:
            name = b"%x." % random.getrandbits(500) + b"x" * random.randrange(1, 60) + b".example"
            with socket.create_connection(("127.0.0.1", vestibule.implicit), timeout=10) as sock:
                sock.sendall(client_hello(server_name(name)))
                sock.recv(64)
            done["begun"] += 1

    def for_a_while(seconds):
        nonlocal until
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=target) for target in (whole, begun)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for_a_while(SECONDS / 4)  # what the first thousand need, all need
    before = {pid: proc.resident(pid) for pid in pids}
    warm = sum(done.values())
    for_a_while(SECONDS)
    handshakes = sum(done.values()) - warm
    assert done["whole"] > 300 and done["begun"] > 300, done
    # 100 octets for each name would be seen.
    assert all(more < max(handshakes * 100, MEGABYTE) for more in grown(vestibule, before).values()), (done, grown(vestibule, before))
    works(vestibule)


ODD = {"300 octets": b"x" * 300, "255 octets": b"x" * 255, "256 octets": b"x" * 256, "65,000 octets": b"x" * 65000, "empty": b"",
       "NUL": b"mail.example.test\0.evil.test", "controls": b"\x1b[2J\r\nlevel=error", "8-bit": b"b\xfccher.test",
       "UTF-8": "b\u00fccher.test".encode(), "blanks": b"two words", "dots": b"." * 50, "percent": b"%n%n%s%s", "paths": b"../../etc/passwd",
       "a literal": b"[127.0.0.1]", "stars": b"*.wild.test", "a quote": b'x" level=error'}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())
def test_a_name_that_is_none_harms_nobody(vestibule, canary, name):
    """It is the first certificate or an alert, and the log does not hold it."""
    how, _ = answer(vestibule, client_hello(server_name(name)))
    assert how in ("hello", "alert")
    assert how == "alert" or len(name) < 256, "a name longer than any was taken"
    works(vestibule)
    vestibule.stop()
    assert all(line.isascii() and line.isprintable() for line in vestibule.log().splitlines())
    assert not vestibule.log_lines("^time=[^ ]* level=error")


@pytest.mark.parametrize("octets", [
    client_hello(extension(0, b"")), client_hello(extension(0, vector(2, b""))), client_hello(extension(0, b"\xff\xff\0\xff\xff")),
    client_hello(extension(0, vector(2, b"\0" + vector(2, b"a") + b"\0" + vector(2, b"b")))),
    client_hello(server_name(b"a.test"), server_name(b"b.test")), client_hello(extension(0, vector(2, b"\x07" + vector(2, b"a"))))],
    ids=["nothing", "an empty list", "lengths that lie", "two names", "the extension twice", "another kind of name"])
def test_an_sni_extension_that_is_malformed_is_an_alert(vestibule, octets):
    how, _ = answer(vestibule, octets)
    assert how == "alert"
    with vestibule.connect() as session:
        session.login().quit()


# Renegotiation.


def test_a_client_that_renegotiates_is_left(vestibule, canary, tls):
    """s_client does it at a line that begins with R; its input stays open, so that it is the server who ends this."""
    starttls = ["-starttls", "smtp"] if tls == "starttls" else []
    shell = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{vestibule.port(tls)}", *starttls, "-tls1_2"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        time.sleep(0.3)
        shell.stdin.write(b"R\n")
        shell.stdin.flush()
        shell.wait(5)
    finally:
        shell.kill()
        printed = shell.communicate()[0]
    assert b"RENEGOTIATING" in printed and b"Cipher is ECDHE" in printed, printed
    assert shell.returncode != 0
    assert vestibule.wait_logged("event=session", "tls=TLSv1.2", "end=.tls: the client asked for a renegotiation")
    works(vestibule, tls)


# Records.


# What a suite of TLS 1.3 is made of: OpenSSL's name of the cipher, octets of a key, the hash.
SUITES = {"TLS_AES_256_GCM_SHA384": ("EVP_aes_256_gcm", 32, "sha384"), "TLS_AES_128_GCM_SHA256": ("EVP_aes_128_gcm", 16, "sha256"),
          "TLS_CHACHA20_POLY1305_SHA256": ("EVP_chacha20_poly1305", 32, "sha256")}
DATA, HANDSHAKE, ALERT = 23, 22, 21
KEY_UPDATE = b"\x18\0\0\x01\0"
USER_CANCELED = b"\x01\x5a"


def seal(cipher, key, nonce, text, more):
    """With the library that Python's own TLS uses."""
    crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
    for name in ("EVP_CIPHER_CTX_new", cipher):
        getattr(crypto, name).restype = ctypes.c_void_p
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    sealed, tag, length = ctypes.create_string_buffer(len(text) + 16), ctypes.create_string_buffer(16), ctypes.c_int()
    assert crypto.EVP_EncryptInit_ex(context, ctypes.c_void_p(getattr(crypto, cipher)()), None, key, nonce) == 1
    assert crypto.EVP_EncryptUpdate(context, None, ctypes.byref(length), more, len(more)) == 1
    assert crypto.EVP_EncryptUpdate(context, sealed, ctypes.byref(length), text, len(text)) == 1
    assert crypto.EVP_EncryptFinal_ex(context, None, ctypes.byref(length)) == 1
    assert crypto.EVP_CIPHER_CTX_ctrl(context, 0x10, 16, tag) == 1
    crypto.EVP_CIPHER_CTX_free(context)
    return sealed.raw[:len(text)] + tag.raw


class Records:
    """A connection of TLS 1.3 with its handshake done and the banner read: what follows is written record by record."""

    def __init__(self, vestibule, folder):
        context = client.trusting(vestibule.ca, minimum_version=ssl.TLSVersion.TLSv1_3)
        keys = folder / "keys"
        keys.unlink(missing_ok=True)
        context.keylog_filename = str(keys)
        session = vestibule.connect(context=context)
        self.cipher, self.key_length, self.hash = SUITES[session.sock.cipher()[0]]
        self.secret = bytes.fromhex(re.search(r"CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)", keys.read_text()).group(1))
        self.count = 0
        self.sock = socket.socket(fileno=session.sock.detach())
        self.sock.settimeout(10)

    def expand(self, label, length):
        info = struct.pack("!H", length) + vector(1, b"tls13 " + label) + b"\0\x01"
        return hmac.new(self.secret, info, self.hash).digest()[:length]

    def record(self, kind, octets):
        nonce = int.from_bytes(self.expand(b"iv", 12), "big") ^ self.count
        self.count += 1
        head = b"\x17\x03\x03" + struct.pack("!H", len(octets) + 17)
        return head + seal(self.cipher, self.expand(b"key", self.key_length), nonce.to_bytes(12, "big"), octets + bytes([kind]), head)

    def key_update(self):
        made = self.record(HANDSHAKE, KEY_UPDATE)
        self.secret, self.count = self.expand(b"traffic upd", hashlib.new(self.hash).digest_size), 0
        return made

    def send(self, records):
        """False: the server has left."""
        try:
            self.sock.sendall(b"".join(records))
            return True
        except OSError:
            return False

    def ended(self):
        """Does the server leave?"""
        try:
            while self.sock.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


FLOODS = {"empty records": lambda records: records.record(DATA, b""), "key updates": Records.key_update,
          "warnings": lambda records: records.record(ALERT, USER_CANCELED)}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_records_that_say_nothing_have_an_end(vestibule, canary, folder, flood):
    """A few are lawful, and the session goes on; a flood of them ends it."""
    records = Records(vestibule, folder)
    records.send([flood(records) for _ in range(3)] + [records.record(DATA, b"QUIT\r\n")])
    assert records.ended()
    assert vestibule.wait_logged("event=session", "end=quit")
    records = Records(vestibule, folder)
    before = time.monotonic()
    for _ in range(20):
        if not records.send([flood(records) for _ in range(100)]):
            break
    assert records.ended() and time.monotonic() - before < 9
    assert "decrypt" not in vestibule.wait_logged("event=session", "end=.tls: ")[0]
    works(vestibule)


@plain_build
@pytest.mark.parametrize("octet, lines", [(b" ", False), (b"\n", False), (b"\r\n", True)], ids=["blanks", "line feeds", "empty lines"])
def test_ten_thousand_records_of_blanks_bring_nothing(vestibule, canary, tls, octet, lines):
    """They are no command, take no memory, and do not put the end off."""
    front = vestibule.front
    before = proc.resident(front)
    with vestibule.connect(tls) as session:
        with contextlib.suppress(OSError):
            for _ in range(10000):
                session.send(octet)
            session.send(b"\r\n")
        codes = []
        with contextlib.suppress(client.Closed, OSError):
            while not codes or codes[-1] != 421:
                codes.append(session.reply().code)
                if not lines:
                    break
    assert set(codes) <= {500, 421} and len(codes) < 30, codes
    assert proc.resident(front) - before < 5 * MEGABYTE
    assert not canary.visitors
    works(vestibule, tls)


# Early data.


def with_early_data(ticket):
    """The session of openssl's file, made to believe that early data was offered with it: [15] of its SEQUENCE."""
    octets = subprocess.run(["openssl", "sess_id", "-in", ticket, "-outform", "DER"], capture_output=True, check=True, timeout=10).stdout
    assert octets[:2] == b"\x30\x82"
    at = 4
    while at < len(octets) and octets[at] <= 0xAE:
        length = octets[at + 1]
        size = 0 if length < 0x80 else length & 0x7F
        at += 2 + size + (int.from_bytes(octets[at + 2:at + 2 + size], "big") if size else length)
    content = octets[4:at] + b"\xaf\x04\x02\x02\x40\x00" + octets[at:]
    changed = ticket.with_suffix(".der")
    changed.write_bytes(b"\x30\x82" + vector(2, content))
    subprocess.run(["openssl", "sess_id", "-inform", "DER", "-in", changed, "-out", ticket], check=True, capture_output=True, timeout=10)


def test_early_data_that_nobody_offered_is_not_read(vestibule, canary, folder):
    """What can be replayed must not be obeyed: the session begins as if it had not been sent."""
    ticket, early = folder / "ticket", folder / "early"
    early.write_bytes(f"EHLO early.test\r\nAUTH PLAIN {client.plain()}\r\nMAIL FROM:<early@client.test>\r\n".encode())
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{vestibule.implicit}", "-tls1_3", "-ign_eof"]

    def run(*options):
        return subprocess.run([*command, *options], input=b"EHLO late.test\r\nQUIT\r\n", capture_output=True, timeout=20).stdout

    run("-sess_out", ticket)
    with_early_data(ticket)
    printed = run("-sess_in", ticket, "-early_data", early)
    assert b"Early data was rejected" in printed, printed
    assert b"221 2.0.0" in printed, printed
    assert not canary.visitors
    line = vestibule.wait_logged("event=session", "helo=late.test", count=2)[1]
    assert "login=" not in line and not vestibule.log_lines("early")


# Versions and suites.

WEAK = {"AES, CBC, RSA": 0x002F, "AES-256, CBC, RSA": 0x0035, "3DES, RSA": 0x000A, "3DES, ECDHE": 0xC012, "RC4, RSA": 0x0005,
        "RC4, ECDHE": 0xC011, "NULL": 0x0002, "export": 0x0003, "DES": 0x0009, "GCM, RSA": 0x009C, "GCM-384, RSA": 0x009D,
        "CBC, ECDHE ECDSA": 0xC009, "CBC, ECDHE RSA": 0xC013, "CBC-SHA256, ECDHE ECDSA": 0xC023, "CBC-SHA256, ECDHE RSA": 0xC027,
        "GCM, DHE": 0x009E, "anonymous ECDH": 0xC018, "anonymous DH": 0x0034, "PSK": 0x00A8, "ECDHE PSK": 0xCCAC, "CCM": 0xC0AC}


def test_a_handshake_by_hand_is_one(vestibule):
    """The control: what the tests below send is refused for what it asks."""
    assert answer(vestibule, client_hello())[0] == "hello"
    assert answer(vestibule, client_hello(suites=[0xC02B], versions=[0x0303])) == ("hello", 0xC02B)
    assert answer(vestibule, client_hello(suites=[0xC02F], versions=None)) == ("hello", 0xC02F)


def test_no_weak_suite_is_spoken(vestibule):
    """Each alone, and all of them together."""
    for name, suite in WEAK.items():
        assert answer(vestibule, client_hello(suites=[suite], versions=[0x0303])) == ("alert", 40), name
    assert answer(vestibule, client_hello(suites=WEAK.values(), versions=[0x0303])) == ("alert", 40)
    assert answer(vestibule, client_hello(suites=[*WEAK.values(), 0xC02B], versions=[0x0303])) == ("hello", 0xC02B)


def test_every_suite_that_is_spoken_is_a_strong_one(vestibule):
    """All that OpenSSL has for TLS 1.2, one after the other."""
    listed = subprocess.run(["openssl", "ciphers", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"], capture_output=True, text=True,
                            check=True, timeout=10).stdout.strip().split(":")
    spoken = set()
    for name in listed:
        context = client.trusting(vestibule.ca, check_hostname=False, verify_mode=ssl.CERT_NONE,
                                  maximum_version=ssl.TLSVersion.TLSv1_2)
        try:
            context.set_ciphers(f"{name}:@SECLEVEL=0")
        except ssl.SSLError:  # one of TLS 1.3
            continue
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            with vestibule.connect(context=context) as session:
                spoken.add(session.sock.cipher()[0])
    assert spoken and all(re.fullmatch(r"ECDHE-(ECDSA|RSA)-(AES(128|256)-GCM-SHA(256|384)|CHACHA20-POLY1305)", name)
                          for name in spoken), spoken


@pytest.mark.parametrize("versions", [[0x0300], [0x0301], [0x0302], [0x0302, 0x0301, 0x0300], [0x0399], [0x0305]],
                         ids=["SSL 3", "TLS 1.0", "TLS 1.1", "all three", "one to come", "another"])
def test_no_other_version_is_spoken(vestibule, versions):
    assert answer(vestibule, client_hello(versions=versions, suites=[0xC02B, 0x1301])) == ("alert", 70)


def test_a_downgrade_that_says_so_is_refused(vestibule):
    """TLS_FALLBACK_SCSV: somebody between us made the client fall back to 1.2."""
    assert answer(vestibule, client_hello(suites=[0xC02B, 0x5600], versions=[0x0303])) == ("alert", 86)
