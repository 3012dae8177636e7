"""Certificates instead of passwords: SASL EXTERNAL for whom the client's authority signed, and for nobody else."""

import shutil
import ssl
import subprocess

import pytest

import client
import pages
import pki as pki_module
import proc
import scram
import vestibule as program
from client import b64
from pki import openssl

NO_EXTENDED_MASTER_SECRET = 1  # SSL_OP_NO_EXTENDED_MASTER_SECRET, which Python has no name for


class ClientAuthority(pki_module.Authority):
    """One that signs clients' certificates."""

    def client(self, name, subject, *extensions, days=2, by=None):
        issued = pki_module.Certificate(self.folder, name)
        options = self.folder / f"{name}.ext"
        options.write_text("\n".join(("basicConstraints = CA:FALSE", *extensions)) + "\n")
        openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", issued.key)
        request = openssl("req", "-new", "-key", issued.key, "-subj", subject)
        signer, key = (by.chain, by.key) if by else (self.certificate, self.key)
        issued.chain.write_bytes(openssl("x509", "-req", "-CA", signer, "-CAkey", key, "-CAcreateserial", "-days", days,
                                         "-extfile", options, input=request))
        if by:
            issued.chain.write_bytes(issued.chain.read_bytes() + by.chain.read_bytes())
        return issued


@pytest.fixture(scope="module")
def clients(workshop):
    folder = workshop / "clients"
    folder.mkdir()
    return ClientAuthority(folder)


@pytest.fixture(scope="module")
def alice(clients):
    return clients.client("alice", "/CN=alice", "extendedKeyUsage = clientAuth")


def said(pki, clients, folder):
    """What the page says."""
    users = folder / "users"
    shutil.copy(pki.users, users)
    settings = pages.settings("external", {"/etc/vestibule/clients-ca.pem": clients.certificate, "/etc/vestibule/users": users})
    return program.merge(settings, {"auth": {"failure_delay": "0", "lockout": "off"}})


@pytest.fixture
def door(start, canary, pki, clients, folder):
    return start(canary.port, said(pki, clients, folder))


def context(door, certificate=None, version=None, **options):
    made = client.trusting(door.ca, **options)
    if certificate is not None:
        made.load_cert_chain(certificate.chain, certificate.key)
    if version is not None:
        made.minimum_version = made.maximum_version = version
    return made


def mechanisms(session):
    offered = [line[4:] for line in session.ehlo().lines if line[4:].startswith("AUTH ")]
    return offered[0].split()[1:] if offered else []


def external(door, certificate, said="=", tls="implicit", **options):
    """The reply to AUTH EXTERNAL."""
    with door.connect(tls, context=context(door, certificate, **options)) as session:
        session.ehlo()
        return session.command(f"AUTH EXTERNAL {said}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_logs_in(door, alice, tls, version):
    with door.connect(tls, context=context(door, alice, version)) as session:
        assert "EXTERNAL" in mechanisms(session)
        assert session.command("AUTH EXTERNAL").code == 334
        assert session.command("") == "235 2.7.0"
        assert session.deliver("r@any.example", b"Subject: x\r\n\r\nx\r\n").code == 250
        session.quit()
    door.wait_logged("event=session", "mechanism=EXTERNAL", "login=alice", "messages=1")


def test_who_it_is_may_be_said_but_nobody_else(door, alice):
    for own in ("=", b64("alice")):
        assert external(door, alice, own) == "235 2.7.0"
    for other in ("bob", "alice@any.example", "Alice", "alicex", "alic", "alice\0", "alice\0bob", "\0", "root"):
        assert external(door, alice, b64(other)) == "535 5.7.8", other


def test_without_a_certificate_there_is_no_external(door, tls):
    with door.connect(tls) as session:
        assert "EXTERNAL" not in mechanisms(session)
        assert session.command("AUTH EXTERNAL =") == "504 5.5.4"
        assert session.command(f"AUTH EXTERNAL {b64('alice')}") == "504 5.5.4"
        assert session.command("AUTH PLAIN " + client.plain()) == "235 2.7.0"


def test_where_no_authority_is_named_nobody_is_asked(vestibule, alice):
    with vestibule.connect(context=context(vestibule, alice)) as session:
        assert "EXTERNAL" not in mechanisms(session)
        assert session.command("AUTH EXTERNAL =") == "504 5.5.4"


def test_the_name_is_the_first_mail_address_else_the_common_name(start, canary, pki, clients, folder):
    settings = said(pki, clients, folder)
    (folder / "users").write_text("alice@any.example:*\nprinter:*\n")
    door = start(canary.port, settings)
    mailbox = clients.client("mailbox", "/CN=x", "subjectAltName = DNS:y, email:alice@any.example, email:bob@any.example")
    printer = clients.client("printer", "/CN=printer", "subjectAltName = DNS:printer.example")
    nameless = clients.client("nameless", "/O=x", "subjectAltName = DNS:alice")
    two = clients.client("two", "/CN=printer/CN=alice@any.example")
    assert external(door, mailbox) == "235 2.7.0"
    assert external(door, mailbox, b64("bob@any.example")) == "535 5.7.8"
    assert external(door, printer) == "235 2.7.0"
    for nobody in (nameless, two):
        assert external(door, nobody) == "504 5.5.4"
        assert external(door, nobody, b64("alice@any.example")) == "504 5.5.4"


def test_the_users_file_says_who_may(door, alice, clients, folder):
    stranger = clients.client("stranger", "/CN=stranger")
    assert external(door, stranger) == "535 5.7.8"
    assert external(door, alice) == "235 2.7.0"
    users = folder / "users"
    users.write_text("".join(line for line in users.open() if not line.startswith("alice:")) + "stranger:*\n")
    assert external(door, alice) == "535 5.7.8", "from the next login on the certificate is worth nothing"
    assert external(door, stranger) == "235 2.7.0"
    door.wait_logged("event=login_refused", "mechanism=EXTERNAL", "login=alice")


def test_where_nobody_knows_the_logins_the_certificate_is_enough(start, canary, pki, clients, folder):
    settings = said(pki, clients, folder)
    settings["auth"]["backend"] = f"dovecot:{folder}/nowhere"
    door = start(canary.port, settings)
    assert external(door, clients.client("anybody", "/CN=anybody")) == "235 2.7.0"


BAD = {
    "expired": "has expired",
    "foreign": "does not lead to an authority",
    "self-signed": "signed by itself",
    "for servers": "not meant for TLS clients",
    "for mail": "not meant for TLS clients",
    "signed by a client": "no authority",
    "of the web's authority": "does not lead to an authority",
}


@pytest.fixture(scope="module")
def bad(workshop, clients, alice, pki):
    folder = workshop / "foreign"
    folder.mkdir()
    foreign = ClientAuthority(folder)
    alone = pki_module.Certificate(folder, "alone")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=alice", "-days", "2",
            "-keyout", alone.key, "-out", alone.chain)
    return {
        "expired": clients.client("expired", "/CN=alice", days=-1),
        "foreign": foreign.client("foreign", "/CN=alice"),
        "self-signed": alone,
        "for servers": clients.client("server", "/CN=alice", "extendedKeyUsage = serverAuth"),
        "for mail": clients.client("mail", "/CN=alice", "extendedKeyUsage = emailProtection"),
        "signed by a client": clients.client("child", "/CN=bob", by=alice),
        "of the web's authority": pki.ecdsa,
    }


@pytest.mark.parametrize("why", BAD)
def test_a_bad_certificate_ends_the_handshake_and_the_log_says_why(door, bad, why):
    for tls in ("implicit", "starttls"):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with pytest.raises((ssl.SSLError, ConnectionError, client.Closed)) as failure:
                door.connect(tls, context=context(door, bad[why], version)).ehlo()
            assert "alert" in str(failure.value) or not isinstance(failure.value, ssl.SSLError)
    lines = door.wait_logged("event=tls_failed", BAD[why], count=4)
    assert len(lines) == 4


def test_a_session_with_a_certificate_is_not_resumed(door, alice):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for certificate, again in ((alice, False), (None, True)):
            shared = context(door, certificate, version)
            with door.connect(context=shared) as first:
                first.ehlo()
                session = first.sock.session
            with door.connect(context=shared, session=session) as second:
                assert ("EXTERNAL" in mechanisms(second)) == (certificate is not None)
                assert second.sock.session_reused == again


def test_authorities_are_read_again_at_a_reload(door, alice, clients, bad, folder):
    other = bad["foreign"]
    both = folder / "both.pem"
    both.write_bytes(clients.certificate.read_bytes() + other.chain.with_name("ca.pem").read_bytes())
    with pytest.raises((ssl.SSLError, ConnectionError, client.Closed)):
        external(door, other)
    door.configure({"tls": {"client_ca": both}})
    door.reload()
    proc.wait_until(lambda: len(door.fronts) == 1, 10, "the old front is gone")
    assert external(door, other) == "235 2.7.0"
    assert external(door, alice) == "235 2.7.0"
    door.configure({"tls": {"client_ca": other.chain}})
    door.process.send_signal(1)
    door.wait_logged("is no authority's")
    assert external(door, alice) == "235 2.7.0", "what cannot be used changes nothing"


@pytest.mark.parametrize("what, complaint", [("nowhere", "cannot be read"), ("empty", "no certificate in PEM"),
                                             ("alice", "no authority"), ("key", "private key")])
def test_what_cannot_work_is_said_at_the_start(pki, clients, alice, folder, what, complaint):
    (folder / "empty").write_text("")
    path = {"nowhere": folder / "nowhere", "empty": folder / "empty", "alice": alice.chain, "key": alice.key}[what]
    vestibule = program.Vestibule(folder / "v", pki.certificates, pki.users, 1, {"tls": {"client_ca": path}})
    vestibule.configure()
    done = program.run("-c", vestibule.path)
    assert done.returncode != 0 and "client_ca" in done.stderr and complaint in done.stderr, done.stderr
    assert complaint in program.run("check", "-c", vestibule.path).stdout


def test_check_counts_the_authorities(pki, clients, folder):
    vestibule = program.Vestibule(folder / "v", pki.certificates, pki.users, 1, said(pki, clients, folder))
    vestibule.configure()
    assert f"{clients.certificate}: 1 authority" in program.run("check", "-c", vestibule.path).stdout


# Real clients.

MESSAGE = b"Subject: certificate\r\n\r\nhello\r\n"


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, timeout=30, **options)


def curl(door, certificate, folder):
    (folder / "message").write_bytes(MESSAGE)
    return run("curl", "-sS", "--cacert", door.ca, "--cert", certificate.chain, "--key", certificate.key, "--login-options",
               "AUTH=EXTERNAL", "--user", "alice:", "--mail-from", "alice@any.example", "--mail-rcpt", "r@any.example",
               "--upload-file", folder / "message", f"smtps://localhost:{door.implicit}/client.test")


def msmtp(door, certificate, folder):
    settings = folder / "msmtprc"
    settings.write_text(f"""\
account default
host localhost
port {door.starttls}
tls on
tls_starttls on
tls_trust_file {door.ca}
tls_cert_file {certificate.chain}
tls_key_file {certificate.key}
auth external
user alice
from alice@any.example
""")
    settings.chmod(0o600)
    return run("msmtp", f"--file={settings}", "r@any.example", input=MESSAGE)


def s_client(door, certificate, folder):
    said = b"EHLO x\r\nAUTH EXTERNAL =\r\nMAIL FROM:<alice@any.example>\r\nRCPT TO:<r@any.example>\r\nDATA\r\n"
    talk = subprocess.Popen(["openssl", "s_client", "-quiet", "-ign_eof", "-connect", f"localhost:{door.implicit}", "-CAfile", door.ca,
                             "-cert", certificate.chain, "-key", certificate.key], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with talk:
        for line, code in zip([None, *said.splitlines(keepends=True), MESSAGE + b".\r\n", b"QUIT\r\n"],
                              ["220", "250", "235", "250", "250", "354", "250", "221"]):
            if line is not None:
                talk.stdin.write(line)
                talk.stdin.flush()
            heard = talk.stdout.readline()
            while heard[3:4] == b"-":
                heard = talk.stdout.readline()
            if not heard.startswith(code.encode()):
                talk.kill()
                return subprocess.CompletedProcess("s_client", 1, heard, heard)
        talk.kill()
    return subprocess.CompletedProcess("s_client", 0, b"", b"")


@pytest.mark.parametrize("send", [curl, msmtp, s_client])
def test_a_client_delivers(door, canary, alice, clients, folder, send):
    done = send(door, alice, folder)
    assert done.returncode == 0, f"{done.stderr}\n{door.log()}"
    door.wait_logged("event=session", "mechanism=EXTERNAL", "login=alice", "messages=1")
    assert send(door, clients.client("other", "/CN=other"), folder).returncode != 0


# What binds a login to its channel, where there is something to bind to.


def test_nothing_is_bound_without_the_extended_master_secret(start, canary, folder):
    """Two such connections can be made to look like one (RFC 7627, RFC 9266 4.2)."""
    users = folder / "users"
    users.write_text(f"alice:{scram.verifier(client.PASSWORD)}\n")
    users.chmod(0o644)
    door = start(canary.port, users=users)
    for version, options, bound in ((ssl.TLSVersion.TLSv1_3, 0, True), (ssl.TLSVersion.TLSv1_2, 0, True),
                                    (ssl.TLSVersion.TLSv1_2, NO_EXTENDED_MASTER_SECRET, False)):
        made = context(door, version=version)
        made.options |= options
        with door.connect(context=made) as session:
            offered = mechanisms(session)
            assert "SCRAM-SHA-256" in offered
            assert ("SCRAM-SHA-256-PLUS" in offered) == bound
            if not bound:
                assert session.command("AUTH SCRAM-SHA-256-PLUS") == "504 5.5.4"
