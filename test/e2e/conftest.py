"""What every test finds ready: certificates, users, mail servers, and the program itself."""

import contextlib
import itertools
import pathlib
import shutil
import signal
import subprocess
import tempfile
import types

import pytest

import canary as canary_module
import client
import mta as mta_module
import pki as pki_module
import vestibule as program


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the logs of what was running."""
    report = (yield).get_result()
    if report.failed and call.when == "call":
        for running in program.live:
            report.sections.append((f"log of vestibule {running.pid}", running.log()[-12000:]))


def pytest_sessionstart(session):
    # Told to end before it is done, a run still stops the servers that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not program.BINARY.exists():
        pytest.exit(f"{program.BINARY} is not there: run make first, or set VESTIBULE_BINARY", returncode=3)


@pytest.fixture(scope="session")
def workshop():
    """A folder for the whole run that users other than root can enter."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vestibule-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def cheap_hash(password):
    """Hashes that cost a millisecond: the tests log in a thousand times."""
    made = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True,
                          check=True, timeout=20)
    return made.stdout.strip()


@pytest.fixture(scope="session")
def pki(workshop):
    """Authority, certificates of both kinds, and a users file beside them."""
    folder = workshop / "pki"
    folder.mkdir()
    authority = pki_module.Authority(folder)
    made = types.SimpleNamespace(
        authority=authority,
        ecdsa=authority.issue("ecdsa"),
        rsa=authority.issue("rsa", kind="rsa"),
        other=authority.issue("other", names="DNS:smtp.other.test, DNS:*.wild.test"),
        users=folder / "users",
    )
    made.certificates = [made.ecdsa, made.rsa, made.other]
    made.users.write_text(
        f"{client.USER}:{cheap_hash(client.PASSWORD)}\n"
        f"bob:{cheap_hash('bobs password')}\n"
        f"locked:!{cheap_hash('locked')}\n"
        "star:*\n"
        "empty:\n")
    made.users.chmod(0o644)
    return made


@pytest.fixture
def folder(workshop, request):
    """The test's own folder."""
    made = pathlib.Path(tempfile.mkdtemp(dir=workshop))
    made.chmod(0o755)
    return made


@pytest.fixture
def canary():
    """The scripted mail server."""
    stand_in = canary_module.Canary().start()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def start(folder, pki):
    """start(upstream=PORT, changes={section: {key: value}}, ...) gives a running Vestibule, stopped after the test."""
    with contextlib.ExitStack() as stack:
        count = 0

        def start_one(upstream, changes=None, **options):
            nonlocal count
            count += 1
            return stack.enter_context(program.running(folder / f"v{count}", pki, upstream, changes, **options))

        yield start_one


@pytest.fixture
def vestibule(start, canary):
    """The program as most tests want it: both listeners, in front of the scripted mail server."""
    return start(canary.port)


@pytest.fixture(params=["implicit", "starttls"])
def tls(request):
    """Both ports."""
    return request.param


def _server(kind):
    server = kind()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postfix():
    yield from _server(mta_module.Postfix)


@pytest.fixture(scope="session")
def exim():
    yield from _server(mta_module.Exim)


@pytest.fixture(scope="session")
def sendmail():
    yield from _server(mta_module.Sendmail)


@pytest.fixture(scope="session")
def opensmtpd():
    yield from _server(mta_module.OpenSMTPD)


@pytest.fixture(params=mta_module.ALL)
def mta(request):
    """Each of the real mail servers."""
    return request.getfixturevalue(request.param)


numbers = itertools.count(1)


@pytest.fixture
def recipient():
    """An address of this test's own, so that its messages can be told from all others."""
    return f"r{next(numbers)}@any.example"
