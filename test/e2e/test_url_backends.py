"""What is the URL backends' own: TLS to other servers, answers that are neither yes nor no, and who somebody is."""

import base64
import re
import time

import pytest

import client
import net
import pages
import pki as pki_module
import proc
import vestibule as program
from cred import base, over_tls
from cred.base import USERS
from cred.http import KEY, Http, HttpScript
from cred.imap import Imap
from cred.ldap import SUFFIX, Ldap
from cred.pop3 import Pop3
from cred.smtp import Smtp
from test_backends import OPEN, at_once, gets_in, opened, try_login

NAME = "mail.example.test"  # in every certificate of the tests


def started(kind, workshop):
    made = kind(workshop / f"url-{kind.name}")
    made.start()
    return made


@pytest.fixture(scope="module")
def stores(workshop):
    """Real servers of four protocols."""
    made = {}
    try:
        for kind in (Imap, Pop3, Smtp, Ldap):
            made[kind.name] = started(kind, workshop)
        yield made
    finally:
        for store in made.values():
            store.remove()


@pytest.fixture
def web(folder):
    made = Http(folder / "web")
    made.start()
    yield made
    made.remove()


@pytest.fixture
def script(folder):
    made = HttpScript(folder / "script")
    made.start()
    yield made
    made.remove()


def running(folder, pki, auth, prefix=()):
    return program.running(folder / "v", pki, 1, program.merge(OPEN, {"auth": auth}), prefix=prefix)


def trouble(vestibule):
    """What the log says of servers that cannot answer."""
    return "\n".join(vestibule.wait_logged("event=backend_unavailable"))


def unavailable(vestibule, login=client.USER, password=client.PASSWORD):
    reply = try_login(vestibule, login, password)
    assert reply == "454 4.7.0", f"{reply}\n{vestibule.log()}"
    return trouble(vestibule)


def checked(vestibule):
    return program.run("check", "-c", vestibule.path).stdout


def check_of(folder, pki, auth):
    """What `vestibule check` says of a configuration that nobody runs."""
    vestibule = program.Vestibule(folder / "c", pki.certificates, pki.users, 1, program.merge(OPEN, {"auth": auth}))
    vestibule.configure()
    return checked(vestibule)


def named(folder):
    """Where the name leads to this host, though nothing in it says so."""
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {NAME}\n")
    hosts.chmod(0o644)
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]


# Whose certificate is not right hears nothing.


def spoilt(authority, how):
    if how == "expired":
        certificate = authority.issue("expired", days=0)
        time.sleep(1.1)
        return certificate, "its certificate expired on"
    if how == "another name":
        return authority.issue("other", names="DNS:other.example.test"), "does not name 127.0.0.1"
    return authority.issue("strange"), "is no authority that is trusted here"


@pytest.mark.parametrize("how", ["expired", "another name", "another authority"])
def test_a_server_with_a_wrong_certificate_hears_nothing(folder, pki, how):
    theirs, ours = (pki_module.Authority(made) for made in (folder / "theirs", folder / "ours") if not made.mkdir())
    certificate, why = spoilt(theirs if how == "another authority" else ours, how)
    heard = []
    fakes, urls = [], []
    for scheme, path in (("imaps", ""), ("pop3s", ""), ("smtps", ""), ("https", "check"), ("ldaps", "uid=%u,dc=x")):
        fakes.append(base.Fake(net.free_port(), over_tls.inside(certificate, lambda c: heard.append(c.recv(1)))))
        urls.append(f"{scheme}://127.0.0.1:{fakes[-1].address}/{path}")
    try:
        with running(folder, pki, {"backend": urls, "ca": ours.certificate}) as vestibule:
            unavailable(vestibule)
            log = trouble(vestibule)
            for url in urls:
                server = url.rsplit("/", 1)[0]
                assert re.search(f"{re.escape(server)}: [^\n]*{re.escape(why)}", log), f"{url}: {log}"
            report = checked(vestibule)
            assert report.count(why) == len(urls), report
    finally:
        for fake in fakes:
            fake.stop()
    assert not any(heard), "something was said to whoever is not who he should be"


# STARTTLS.


@pytest.mark.parametrize("name", ["imap", "pop3", "smtp", "ldap"])
def test_plain_schemes_change_to_tls(stores, folder, pki, name):
    store = stores[name]
    auth = dict(store.changes()["auth"])
    auth["backend"] = f"{name}://{NAME}:{store.clear}/" + ("dc=example,dc=com?" if name == "ldap" else "")
    with running(folder, pki, auth, prefix=named(folder)) as vestibule:
        assert try_login(vestibule, client.USER, client.PASSWORD) == "235 2.7.0", vestibule.log()
        assert try_login(vestibule, client.USER, "wrong") == "535 5.7.8"
    auth["ca"] = pki.authority.certificate
    with running(folder, pki, auth, prefix=named(folder)) as vestibule:
        assert "is no authority that is trusted here" in unavailable(vestibule)


def dialogue(*lines, otherwise=b"", heard=None):
    """For Fake: a line protocol; (what comes in, what goes out), the first what is said at once."""
    def act(connection):
        stream = connection.makefile("rb")
        connection.sendall(lines[0])
        for line in stream:
            if heard is not None:
                heard.append(line)
            answers = [answer for pattern, answer in lines[1:] if re.match(pattern, line)]
            tag = line.split(b" ")[0].strip()
            connection.sendall((answers or [otherwise])[0].replace(b"TAG", tag))
            if answers and answers[0].startswith(b"* BYE"):
                return
    return act


IMAP = (b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n",
        (rb"\S+ CAPABILITY", b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\nTAG OK\r\n"))
POP3 = (b"+OK ready\r\n", (rb"CAPA", b"+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n"), (rb"AUTH PLAIN\r", b"+ \r\n"))
SMTP = (b"220 ready\r\n", (rb"EHLO", b"250-host\r\n250 AUTH PLAIN\r\n"))
# StartTLS: protocolError (2)
LDAP_NO = bytes.fromhex("300c02010178070a010204000400")


@pytest.mark.parametrize("scheme, act", [
    ("imap", dialogue(*IMAP, otherwise=b"TAG OK\r\n")), ("pop3", dialogue(*POP3, otherwise=b"+OK\r\n")),
    ("smtp", dialogue(*SMTP, otherwise=b"235 welcome\r\n")), ("ldap", base.saying(b""))])
def test_without_tls_nothing_is_told(folder, pki, scheme, act):
    """Servers that would take any login, but in clear."""
    heard = []

    def listening(connection):
        class Ear:
            def makefile(self, mode):
                return self

            def __iter__(self):
                for line in connection.makefile(mode="rb"):
                    heard.append(line)
                    yield line

            def recv(self, size):
                octets = connection.recv(size)
                heard.append(octets)
                if octets:
                    connection.sendall(LDAP_NO)
                return octets

            sendall = connection.sendall

        act(Ear())

    fake = base.Fake(net.free_port(), listening)
    try:
        url = f"{scheme}://{NAME}:{fake.address}/" + ("uid=%u,dc=x" if scheme == "ldap" else "")
        with running(folder, pki, {"backend": url}, prefix=named(folder)) as vestibule:
            assert "does not offer TLS" in unavailable(vestibule)
    finally:
        fake.stop()
    everything = b"".join(heard)
    assert everything, "it was never asked"
    for secret in (client.PASSWORD.encode(), base64.b64encode(f"\0{client.USER}\0{client.PASSWORD}".encode())):
        assert secret not in everything


# Answers of mail servers.


def answer_to(folder, pki, scheme, act, login=client.USER, password=client.PASSWORD):
    fake = base.Fake(net.free_port(), act)
    try:
        with running(folder, pki, {"backend": f"{scheme}://127.0.0.1:{fake.address}/"}) as vestibule:
            reply = try_login(vestibule, login, password)
            return reply.text[:9], vestibule.log()
    finally:
        fake.stop()


NOT_NOW = {
    "imap: out of order": ("imap", (*IMAP, (rb"\S+ AUTHENTICATE", b"TAG NO [UNAVAILABLE] not now\r\n"))),
    "imap: nonsense": ("imap", (*IMAP, (rb"\S+ AUTHENTICATE", b"TAG MAYBE\r\n"))),
    "imap: PREAUTH": ("imap", (b"* PREAUTH come in\r\n", IMAP[1])),
    "imap: goes": ("imap", (*IMAP, (rb"\S+ AUTHENTICATE", b"* BYE\r\n"))),
    "imap: LOGINDISABLED": ("imap", (b"* OK\r\n", (rb"\S+ CAPABILITY",
                                                  b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nTAG OK\r\n"))),
    "pop3: out of order": ("pop3", (*POP3, (rb"[A-Za-z0-9+/=]{8}", b"-ERR [SYS/TEMP] not now\r\n"))),
    "smtp: out of order": ("smtp", (*SMTP, (rb"AUTH", b"454 4.7.0 not now\r\n"))),
    "smtp: no AUTH at all": ("smtp", (b"220 ready\r\n", (rb"EHLO", b"250 host\r\n"))),
    "smtp: too busy": ("smtp", (b"421 too busy\r\n",)),
    "smtp: wants more": ("smtp", (*SMTP, (rb"AUTH", b"534 5.7.9 weak\r\n"))),
}


@pytest.mark.parametrize("case", NOT_NOW)
def test_what_is_neither_yes_nor_no_is_not_now(folder, pki, case):
    scheme, lines = NOT_NOW[case]
    reply, log = answer_to(folder, pki, scheme, dialogue(*lines, otherwise=b""))
    assert reply == "454 4.7.0", log
    assert f"{scheme}://127.0.0.1" in log


def test_a_mailbox_that_is_open_elsewhere_keeps_nobody_from_sending(folder, pki):
    lines = (*POP3, (rb"[A-Za-z0-9+/=]{8}", b"-ERR [IN-USE] another program reads it\r\n"))
    assert answer_to(folder, pki, "pop3", dialogue(*lines))[0] == "235 2.7.0"


def test_an_old_imap_server_is_asked_with_login(folder, pki):
    heard = []
    old = dialogue(b"* OK\r\n", (rb"\S+ CAPABILITY", b"* CAPABILITY IMAP4rev1\r\nTAG OK\r\n"),
                   (rb'\S+ LOGIN alice "se \\"c\\\\ret"\r\n', b"TAG OK\r\n"), (rb"\S+ LOGIN", b"TAG NO\r\n"),
                   heard=heard)
    assert answer_to(folder, pki, "imap", old, password='se "c\\ret')[0] == "235 2.7.0", heard
    assert answer_to(folder, pki, "imap", old, password="wrong")[0] == "535 5.7.8"


def test_an_old_pop3_server_is_asked_with_user_and_pass(folder, pki):
    old = dialogue(b"+OK\r\n", (rb"CAPA", b"-ERR what\r\n"), (rb"USER alice\r\n", b"+OK\r\n"),
                   (rb"PASS se cret\r\n", b"+OK\r\n"), (rb"PASS|USER", b"-ERR no\r\n"), otherwise=b"-ERR what\r\n")
    assert answer_to(folder, pki, "pop3", old, password="se cret")[0] == "235 2.7.0"
    assert answer_to(folder, pki, "pop3", old, password="wrong")[0] == "535 5.7.8"
    assert answer_to(folder, pki, "pop3", old, login="alice x", password="se cret")[0] == "535 5.7.8"


# HTTP.


def answering(store, status, headers=""):
    store.decide = lambda _: (status, headers)


@pytest.mark.parametrize("status, headers, reply", [
    ("200 OK", "Auth-Status: OK\r\n", "235 2.7.0"),
    ("200 OK", "Auth-Status: Temporary server problem, try again later\r\nAuth-Error-Code: 451 4.3.0\r\n", "454 4.7.0"),
    ("200 OK", "Auth-Status: WAIT\r\n", "454 4.7.0"),
    ("200 OK", "Auth-Status: no\r\nAuth-Error-Code: 535 5.7.8\r\n", "535 5.7.8"),
    ("302 Found", "Location: /check2\r\n", "454 4.7.0"),
    ("500 Internal Server Error", "", "454 4.7.0"),
    ("404 Not Found", "", "454 4.7.0"),
    ("403 Forbidden", "", "535 5.7.8"),
])
def test_each_answer_of_a_web_server_means_what_the_page_says(web, folder, pki, status, headers, reply):
    answering(web, status, headers)
    with opened(web, folder / "v", pki, 1) as vestibule:
        assert try_login(vestibule, client.USER, client.PASSWORD) == reply
    assert all("GET /check " in request for request in web.requests), "a redirection was followed"


def test_a_web_server_is_told_what_the_page_says(script, folder, pki):
    with opened(script, folder / "v", pki, 1) as vestibule:
        assert try_login(vestibule, "dora", USERS["dora"]) == "235 2.7.0"
    page = [line.split(":")[0] for line in pages.block("http", "http").splitlines()[1:]]
    told = dict(line.split(": ", 1) for line in script.requests[-1].split("\r\n")[1:])
    assert set(told) == {*page, KEY.split(":", maxsplit=1)[0], "Accept"}
    assert told["Auth-User"] == "dora"
    assert told["Auth-Pass"] == USERS["dora"].replace(" ", "%20")
    assert told["Auth-SSL-Protocol"] == "TLSv1.3"
    assert told["Client-IP"] == "127.0.0.1"
    assert told["Auth-SMTP-Helo"] == "client.test"


def test_a_script_may_say_who_it_is(web, folder, pki):
    answering(web, "200 OK", "Auth-Status: OK\r\nAuth-User: alice@any.example\r\n")
    with opened(web, folder / "v", pki, 1) as vestibule:
        assert try_login(vestibule, client.USER, client.PASSWORD) == "235 2.7.0"
        vestibule.wait_logged("event=session", "login=alice@any.example")


def test_a_changed_header_file_is_read_again(web, folder, pki):
    web.headers.write_text("X-Auth-Key: old\n")
    with opened(web, folder / "v", pki, 1) as vestibule:
        assert try_login(vestibule, client.USER, client.PASSWORD) == "535 5.7.8"
        web.headers.write_text(f"{KEY}\n")
        proc.wait_until(lambda: gets_in(vestibule), 5, "the new key is sent")


def test_connections_to_a_web_server_are_kept(web, folder, pki):
    with opened(web, folder / "v", pki, 1) as vestibule:
        for login, password in USERS.items():
            assert try_login(vestibule, login, password) == "235 2.7.0"
            assert try_login(vestibule, login, "wrong") == "535 5.7.8"
        assert web.connections == 1


def test_check_finds_a_url_that_lets_everybody_in(web, folder, pki):
    auth = web.changes()["auth"]
    assert "refuses a login that nobody has, certificate good until 20" in check_of(folder, pki, auth)
    answering(web, "200 OK")
    assert "would let everybody in" in check_of(folder, pki, auth)


# LDAP.


def ldap_urls(store, rest):
    return {**store.changes()["auth"], "backend": f"ldaps://127.0.0.1:{store.port}/{rest}"}


def test_one_user_of_a_directory_has_one_name(stores, folder, pki):
    """However he spells it: letters of another case and width are the same to a directory."""
    spellings = ["alice", "ALICE", "Alice", "ａｌｉｃｅ"]
    with opened(stores["ldap"], folder / "v", pki, 1) as vestibule:
        replies = at_once([(try_login, vestibule, login, client.PASSWORD) for login in spellings])
        assert replies == ["235 2.7.0"] * len(spellings), vestibule.log()
        vestibule.wait_logged("event=session", "login=alice ", count=len(spellings))


def test_without_a_search_only_ascii_is_taken(stores, folder, pki):
    auth = ldap_urls(stores["ldap"], f"uid=%u,ou=people,{SUFFIX}")
    with running(folder, pki, auth) as vestibule:
        assert try_login(vestibule, "ALICE", client.PASSWORD) == "235 2.7.0"
        vestibule.wait_logged("event=session", "login=alice ")
        for login in ("ａｌｉｃｅ", "al\u00adice", "alice ", "al  ice"):
            assert try_login(vestibule, login, client.PASSWORD) == "535 5.7.8"


def test_parts_of_a_login_go_where_the_url_says(stores, folder, pki):
    auth = ldap_urls(stores["ldap"], f"ou=people,{SUFFIX}?uid?one?(&(uid=%n)(!(uid=%d)))")
    with running(folder, pki, auth) as vestibule:
        assert try_login(vestibule, "alice@any.example", client.PASSWORD) == "235 2.7.0"
        assert try_login(vestibule, "alice@alice", client.PASSWORD) == "535 5.7.8"
        assert try_login(vestibule, "alice", client.PASSWORD) == "535 5.7.8"


def test_two_entries_are_one_too_many(stores, folder, pki):
    auth = ldap_urls(stores["ldap"], f"{SUFFIX}?uid?sub?(|(uid=%u)(uid=bob))")
    with running(folder, pki, auth) as vestibule:
        assert "more than one entry" in unavailable(vestibule)
        assert try_login(vestibule, "bob", USERS["bob"]) == "235 2.7.0"


@pytest.mark.parametrize("rest, why", [
    ("dc=nowhere?uid", "No such object"),
    (f"{SUFFIX}?uid?sub?(uid=%u", "Bad search filter"),
    (f"{SUFFIX}?userPassword?sub?(uid=%u)", ""),
])
def test_a_wrong_question_to_a_directory_is_not_now(stores, folder, pki, rest, why):
    with running(folder, pki, ldap_urls(stores["ldap"], rest)) as vestibule:
        if why:
            assert why in unavailable(vestibule)
            assert why in checked(vestibule)
        else:  # the attribute is not to be read: the login it is, in lower case
            assert try_login(vestibule, client.USER, client.PASSWORD) == "235 2.7.0"


def test_who_searches_may_get_a_new_password(stores, folder, pki):
    store = stores["ldap"]
    password = folder / "password"
    password.write_text("old\n")
    auth = {**store.changes()["auth"], "ldap_bind_password_file": password}
    with running(folder, pki, auth) as vestibule:
        assert "see ldap_bind_dn" in unavailable(vestibule)
        password.write_text(store.password.read_text())
        proc.wait_until(lambda: gets_in(vestibule), 5, "the new one is used")


def test_an_anonymous_search_sees_what_the_directory_shows(stores, folder, pki):
    """Nothing here: nobody is found."""
    store = stores["ldap"]
    auth = {"backend": f"ldaps://127.0.0.1:{store.port}/{SUFFIX}?", "ca": store.authority.certificate}
    with running(folder, pki, auth) as vestibule:
        assert try_login(vestibule, client.USER, client.PASSWORD).text[:3] in ("535", "454")


# `vestibule check`.


@pytest.mark.parametrize("name, what", [("imap", "IMAP server"), ("pop3", "POP3 server"), ("smtp", "SMTP server"),
                                        ("ldap", "LDAP server that can be searched")])
def test_check_says_what_stands_there(stores, folder, pki, name, what):
    report = check_of(folder, pki, stores[name].changes()["auth"])
    assert re.search(rf"{name}s://127.0.0.1:\d+: {what}, certificate good until 20\d\d-\d\d-\d\d", report), report


@pytest.mark.parametrize("url, why", [
    ("http://auth.example.com/", "in clear"),
    ("imaps://alice@mail.example.com/", "leave that out"),
    ("imaps://mail.example.com/inbox", "end it with /"),
    ("ldaps://ldap.example.com/ou=people,dc=example", "has no %u in it"),
    ("smtps://mail.example.com:0/", "no sound port"),
])
def test_a_url_that_cannot_be_used_is_said_at_start(folder, url, why):
    path = folder / "vestibule.conf"
    path.write_text(program.render({"server": {"state_dir": folder / "state"}, "auth": {"backend": url}}))
    path.chmod(0o644)
    done = program.run("-c", path)
    assert done.returncode != 0
    assert why in done.stdout + done.stderr


# Memory.


def test_a_library_is_loaded_by_whom_it_serves(stores, folder, pki):
    """libcurl and libldap bring thirty libraries: only the vault carries them, and only where a URL is asked."""
    def maps(pid):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            return file.read()

    with opened(stores["ldap"], folder / "v", pki, 1) as vestibule:
        assert try_login(vestibule, client.USER, client.PASSWORD) == "235 2.7.0"
        assert "libldap" in maps(vestibule.pid)
        assert "/sasl2/" not in maps(vestibule.pid), "a plug-in for SASL was loaded"
        assert "libldap" not in maps(vestibule.front) and "libcurl" not in maps(vestibule.front)
    with program.running(folder / "w", pki, 1) as vestibule:
        assert "libcurl" not in maps(vestibule.pid) and "libldap" not in maps(vestibule.pid)
