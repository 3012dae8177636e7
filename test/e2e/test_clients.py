"""Programs that people really use deliver over both ports, with PLAIN and with LOGIN, and believe the certificate."""

import shutil
import smtplib
import ssl
import subprocess

import pytest

import client
from mta import base

MESSAGE = (b"From: <alice@client.test>\r\nTo: <r@any.example>\r\nSubject: hello\r\nMessage-ID: <1@client.test>\r\n"
           b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\ncaf\xc3\xa9\r\n.dot\r\n")


def program(name, package):
    assert shutil.which(name), f"{name} is not there: apt-get install {package} (test/install test)"
    return name


def run(*command, stdin=b"", **environment):
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, timeout=60,
                          env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment})
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout + done.stderr


def python_smtplib(port, tls, mechanism, ca, recipient, folder):
    context = ssl.create_default_context(cafile=ca)
    if tls == "implicit":
        session = smtplib.SMTP_SSL("localhost", port, context=context, timeout=20)
    else:
        session = smtplib.SMTP("localhost", port, timeout=20)
        session.starttls(context=context)
    with session:
        session.ehlo()
        session.user, session.password = client.USER, client.PASSWORD
        session.auth(mechanism, session.auth_plain if mechanism == "PLAIN" else session.auth_login)
        session.sendmail("alice@client.test", [recipient], MESSAGE, mail_options=["BODY=8BITMIME"])


def swaks(port, tls, mechanism, ca, recipient, folder):
    (folder / "message").write_bytes(MESSAGE.replace(b"\r\n", b"\n"))
    run(program("swaks", "swaks"), "--server", f"localhost:{port}", "--tlsc" if tls == "implicit" else "--tls",
        "--tls-ca-path", ca, "--tls-verify", "-a", mechanism, "-au", client.USER, "-ap", client.PASSWORD,
        "-f", "alice@client.test", "-t", recipient, "-d", folder / "message")


def curl(port, tls, mechanism, ca, recipient, folder):
    (folder / "message").write_bytes(MESSAGE)
    run(program("curl", "curl"), "-sS", "--ssl-reqd", "--url", f"{'smtps' if tls == 'implicit' else 'smtp'}://localhost:{port}",
        "--cacert", ca, "-u", f"{client.USER}:{client.PASSWORD}", "--login-options", f"AUTH={mechanism}",
        "--mail-from", "alice@client.test", "--mail-rcpt", recipient, "-T", folder / "message")


def msmtp(port, tls, mechanism, ca, recipient, folder):
    (folder / "password").write_text(client.PASSWORD)
    run(program("msmtp", "msmtp"), "--file=/dev/null", "--host=localhost", f"--port={port}", "--tls=on",
        f"--tls-starttls={'off' if tls == 'implicit' else 'on'}", f"--tls-trust-file={ca}", f"--auth={mechanism.lower()}",
        f"--user={client.USER}", f"--passwordeval=cat {folder}/password", "-f", "alice@client.test", recipient,
        stdin=MESSAGE.replace(b"\r\n", b"\n"))


NODE = """
const [port, secure, method, ca, user, pass, to, file] = process.argv.slice(2);
const transport = require('nodemailer').createTransport({
    host: '127.0.0.1', port: Number(port), secure: secure === 'implicit', requireTLS: true, authMethod: method,
    auth: {user, pass}, tls: {ca: require('fs').readFileSync(ca), servername: 'localhost'}});
transport.sendMail({envelope: {from: 'alice@client.test', to}, raw: require('fs').readFileSync(file)})
    .catch(error => { console.error(error); process.exit(1); });
"""


def nodemailer(port, tls, mechanism, ca, recipient, folder):
    (folder / "message").write_bytes(MESSAGE)
    (folder / "send.js").write_text(NODE)
    run(program("node", "nodejs node-nodemailer"), folder / "send.js", port, tls, mechanism, ca, client.USER,
        client.PASSWORD, recipient, folder / "message", NODE_PATH="/usr/share/nodejs", PATH="/usr/local/bin:/usr/bin:/bin")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("send", [python_smtplib, swaks, curl, msmtp, nodemailer])
def test_a_client_delivers(start, mta, tls, folder, pki, recipient, send, mechanism):
    vestibule = start(mta.port)
    send(vestibule.port(tls), tls, mechanism, str(pki.authority.certificate), recipient, folder)
    arrived, = mta.arrived(recipient)
    lines = MESSAGE.replace(b"\r\n", b"\n")
    if send is swaks:  # ends what it reads from a file with an empty line
        assert base.content(arrived, MESSAGE + b"\r\n").rstrip(b"\n") == lines.rstrip(b"\n")
    else:
        assert base.content(arrived, MESSAGE) == lines
    line, = vestibule.wait_logged("event=session", f"mechanism={mechanism}", "login=alice", "messages=1")
    assert "TLSv1." in line
    assert client.PASSWORD not in vestibule.log()


@pytest.mark.parametrize("send", [python_smtplib, curl])
def test_a_wrong_password_is_told_to_the_client(vestibule, canary, tls, folder, pki, monkeypatch, send):
    monkeypatch.setattr(client, "PASSWORD", "wrong")
    with pytest.raises((smtplib.SMTPAuthenticationError, AssertionError)) as refusal:
        send(vestibule.port(tls), tls, "PLAIN", str(pki.authority.certificate), "r@any.example", folder)
    assert "535" in str(refusal.value) or "67" in str(refusal.value)  # curl's own word for a refused login
    assert not canary.visitors
