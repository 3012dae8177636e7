"""Tokens instead of passwords: OAUTHBEARER and XOAUTH2, checked by the provider's keys or by asking it."""

import base64
import json
import subprocess
import time

import pytest

import client
import pages
import proc
import vestibule as program
from client import b64
from cred import oauth
from cred.oauth import CLIENT, SECRET, claims, forged, token

ALICE = "alice@any.example"
WITH_KEYS = ("jwks", "issuer", "audience", "login_claim")


def bearer(shown, login=ALICE):
    name = f"a={login}" if login else ""
    return b64(f"n,{name},\x01host=mail.example.test\x01port=465\x01auth=Bearer {shown}\x01\x01")


def xoauth2(shown, login=ALICE):
    return b64(f"user={login}\x01auth=Bearer {shown}\x01\x01")


def log_in(vestibule, shown, login=ALICE, mechanism="OAUTHBEARER", seconds=25):
    """The reply that ends it; a challenge that says why is answered as RFC 7628 wants it."""
    message = bearer(shown, login) if mechanism == "OAUTHBEARER" else xoauth2(shown, login)
    with vestibule.connect(timeout=seconds) as session:
        session.ehlo()
        reply = session.command(f"AUTH {mechanism}")
        assert reply.code == 334, reply
        reply = session.command(message)
        return session.command("AQ==" if mechanism == "OAUTHBEARER" else "") if reply.code == 334 else reply


def gets_in(vestibule, shown, **options):
    return log_in(vestibule, shown, **options) == "235 2.7.0"


@pytest.fixture(scope="module")
def keys(workshop):
    """The provider's, one of each kind, made once."""
    folder = workshop / "provider"
    folder.mkdir()
    return {algorithm: oauth.Key(folder, f"key-{algorithm}", algorithm)
            for algorithm in ("RS256", "PS256", "ES256", "ES384", "EdDSA")}


@pytest.fixture
def provider(pki, keys):
    made = oauth.Provider(pki.ecdsa)
    made.keys = [key.jwk() for key in keys.values()]
    yield made
    made.stop()


def changes(pki, provider, folder, kept=None, **more):
    """What the page says, for this provider; `kept` names the keys of [oauth] that stay."""
    secret = folder / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o644)
    said = pages.settings("oauth", {"https://id.example.com/jwks.json": provider.url("/jwks.json"),
                                    "https://id.example.com/introspect": provider.url("/introspect"),
                                    "/etc/vestibule/oauth.secret": secret})
    assert said["oauth"]["issuer"] == oauth.ISSUER and said["oauth"]["audience"] == oauth.AUDIENCE
    assert said["oauth"]["client_id"] == CLIENT
    kept = kept or said["oauth"]
    return {"auth": {"ca": pki.authority.certificate, "failure_delay": "0", "lockout": "off"}, "log": {"level": "debug"},
            "oauth": {**{key: value for key, value in said["oauth"].items() if key in kept}, **more}}


@pytest.fixture
def door(start, canary, pki, provider, folder):
    """A Vestibule that takes tokens, as the page says."""
    provider.start()
    return start(canary.port, changes(pki, provider, folder))


# By the provider's keys.


def test_tokens_of_each_kind_let_in(door, keys):
    with door.connect() as session:
        offered, = [line for line in session.ehlo().lines if line[4:].startswith("AUTH ")]
    assert "OAUTHBEARER" in offered and "XOAUTH2" in offered and "PLAIN" in offered
    for key in keys.values():
        shown = token(key)
        assert gets_in(door, shown), f"{key.algorithm}\n{door.log()}"
        assert gets_in(door, shown, mechanism="XOAUTH2")
        assert shown not in door.log()
    assert gets_in(door, token(keys["ES256"]), login="alice@ANY.example")
    assert gets_in(door, token(keys["ES256"]), login="")
    assert gets_in(door, token(keys["ES256"], claims(aud=["x", "vestibule"], email_verified=True)))
    with door.connect() as session:
        session.login()  # passwords go on working
    door.wait_logged("event=session", "mechanism=OAUTHBEARER", f"login={ALICE}")


def bad_tokens(keys, folder):
    """(why, a token that must not let alice in)."""
    rs, es, now = keys["RS256"], keys["ES256"], int(time.time())
    stranger = oauth.Key(folder, "stranger", "ES256")
    impostor = oauth.Key(folder, es.kid, "ES256")
    good = token(es)
    head, payload, signature = good.split(".")
    yield "expired", token(es, claims(exp=now - 3600))
    yield "no exp", token(es, claims(exp=None))
    yield "not yet", token(es, claims(nbf=now + 3600))
    yield "wrong audience", token(es, claims(aud="somebody-else"))
    yield "no audience", token(es, claims(aud=None))
    yield "wrong issuer", token(es, claims(iss=oauth.ISSUER + "/"))
    yield "no issuer", token(es, claims(iss=None))
    yield "somebody else's", token(es, claims(email="bob@any.example"))
    yield "nobody's", token(es, claims(email=None))
    yield "not verified", token(es, claims(email_verified=False))
    yield "a login of two lines", token(es, claims(email="alice@any.example\r\nx"))
    yield "twice the same name", token(es, text=json.dumps(claims())[:-1] + ', "email": "alice@any.example"}')
    yield "no algorithm", forged(claims(), {"alg": "none"}) + "AA"
    yield "no signature", forged(claims(), {"alg": "none"})
    yield "shared secret of the public key", forged(claims(), {"alg": "HS256", "kid": rs.kid}, rs.public())
    yield "another's algorithm", token(es, header={"alg": "RS256"})
    yield "another's key", token(es, header={"kid": rs.kid})
    yield "unknown kid", token(stranger)
    yield "another key of that name", token(impostor)
    yield "critical", token(es, header={"crit": ["exp"]})
    yield "of another type", token(es, header={"typ": "logout+jwt"})
    yield "cut", good[:-1]
    yield "without signature", f"{head}.{payload}."
    yield "one part", head
    yield "others' claims", f"{head}.{oauth.b64url(json.dumps(claims(exp=now + 999)).encode())}.{signature}"
    yield "brings its key", token(stranger, header={"jwk": stranger.jwk(), "kid": es.kid})
    yield "opaque", "opaque-token"


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_bad_tokens_do_not(door, keys, folder, mechanism):
    shown = dict(bad_tokens(keys, folder))
    replies = {why: log_in(door, one, mechanism=mechanism) for why, one in shown.items()}
    assert {why: reply for why, reply in replies.items() if reply != "535 5.7.8"} == {}, door.log()
    assert not [why for why, one in shown.items() if len(one) > 40 and one in door.log()]
    door.wait_logged("event=oauth_refused", "has expired")


def test_a_token_is_not_taken_for_another_login(door, keys):
    shown = token(keys["ES256"])
    for login in ("bob@any.example", "alice", "Alice@any.example", "alice@any.example.", "alice@other.example"):
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            assert log_in(door, shown, login, mechanism) == "535 5.7.8"
    assert gets_in(door, shown)


def test_why_is_told_before_the_refusal(door, keys):
    with door.connect() as session:
        session.ehlo()
        reply = session.command("AUTH OAUTHBEARER " + bearer(token(keys["ES256"], claims(exp=1))))
        assert reply.code == 334
        assert json.loads(base64.b64decode(reply.text[4:]))["status"] == "invalid_token"
        assert session.command("AQ==") == "535 5.7.8"
        assert session.command("AUTH OAUTHBEARER " + bearer(token(keys["ES256"]))) == "235 2.7.0"


def test_a_token_of_20_kib(door, keys):
    with door.connect() as session:
        session.ehlo()
        assert session.command("AUTH OAUTHBEARER")
        session.send(bearer(token(keys["ES256"]) + "A" * 20480) + "\r\n")
        assert session.reply() == "500 5.5.6"
    assert gets_in(door, token(keys["ES256"]))


def test_a_new_key_is_fetched_when_it_is_missed_but_not_for_every_strange_token(door, provider, keys, folder):
    assert gets_in(door, token(keys["ES256"]))
    assert provider.asked["/jwks.json"] == 1
    fresh = oauth.Key(folder, "fresh", "ES256")
    provider.keys.append(fresh.jwk())
    # The first fetch was less than 30 s ago: the key is not looked for yet.
    for _ in range(5):
        assert log_in(door, token(fresh)) == "535 5.7.8"
    assert provider.asked["/jwks.json"] == 1
    door.reload()
    proc.wait_until(lambda: len(door.fronts) == 1, 10, "the old front is gone")
    assert gets_in(door, token(fresh))
    assert provider.asked["/jwks.json"] == 2


# Keys in a file.


def jwks_file(folder, *published):
    path = folder / "jwks.json"
    path.with_suffix(".new").write_text(json.dumps({"keys": published}))
    path.with_suffix(".new").chmod(0o644)
    path.with_suffix(".new").rename(path)
    return path


def test_keys_in_a_file_are_read_again_when_it_changes(start, canary, pki, provider, folder, keys):
    path = jwks_file(folder, keys["ES256"].jwk())
    vestibule = start(canary.port, changes(pki, provider, folder, WITH_KEYS, jwks=path))
    assert gets_in(vestibule, token(keys["ES256"]))
    assert log_in(vestibule, token(keys["RS256"])) == "535 5.7.8"
    jwks_file(folder, keys["RS256"].jwk())
    assert gets_in(vestibule, token(keys["RS256"]))
    assert log_in(vestibule, token(keys["ES256"])) == "535 5.7.8"
    path.write_text("{")
    assert gets_in(vestibule, token(keys["RS256"])), "the last good keys stay"
    vestibule.wait_logged("event=backend", "is no JSON")
    assert log_in(vestibule, "opaque-token") == "535 5.7.8"
    vestibule.wait_logged("event=oauth_refused", "no signed token")


def test_what_cannot_work_is_said_at_the_start(folder, pki, provider, keys):
    def complaint(**oauth_keys):
        settings = program.merge(vestibule.settings, changes(pki, provider, folder, WITH_KEYS))
        settings["oauth"].update(oauth_keys)
        vestibule.path.write_text(program.render(settings))
        done = program.run("-c", vestibule.path)
        assert done.returncode in (1, 2)
        return done.stderr

    vestibule = program.Vestibule(folder / "v", pki.certificates, pki.users, 1)
    small = oauth.Key(folder, "small", "RS256", bits=1024)
    assert "RSA key that is not of 2048" in complaint(jwks=jwks_file(folder, small.jwk()))
    assert "is no JWKS" in complaint(jwks=(folder / "empty.json", (folder / "empty.json").write_text("{}"))[0])
    assert "cannot be read" in complaint(jwks=folder / "nowhere.json")
    good = jwks_file(folder, keys["ES256"].jwk())
    assert "issuer" in complaint(jwks=good, issuer=None)
    assert "audience" in complaint(jwks=good, audience=None)
    assert "introspection" in complaint(introspection="http://id.example.com/x", jwks=None, issuer=None, audience=None)


# By asking the provider.


def test_opaque_tokens_are_asked_about(door, provider):
    now = int(time.time())
    provider.active = {
        "good": {"email": ALICE},
        "complete": claims(),
        "bobs": {"email": "bob@any.example"},
        "nobodys": {"sub": ALICE, "username": ALICE},
        "expired": {"email": ALICE, "exp": now - 3600},
        "elsewhere": {"email": ALICE, "aud": "other"},
        "foreign": {"email": ALICE, "iss": "https://other.example"},
        "g+/o-._~d==": {"email": ALICE},
    }
    expected = dict.fromkeys(provider.active, "535 5.7.8") | dict.fromkeys(["good", "complete", "g+/o-._~d=="], "235 2.7.0")
    expected["unheard-of"] = "535 5.7.8"
    for mechanism in ("OAUTHBEARER", "XOAUTH2"):
        replies = {shown: log_in(door, shown, mechanism=mechanism) for shown in expected}
        assert {shown: reply for shown, reply in replies.items() if reply != expected[shown]} == {}, door.log()
    assert log_in(door, "good", "bob@any.example") == "535 5.7.8"
    assert "g+/o" not in door.log()


def test_answers_that_are_none(door, provider, folder):
    provider.active = {"good": {"email": ALICE}}
    for answer in [(500, b"{}"), (401, b"{}"), (200, b""), (200, b"[]"), (200, b'{"active":"true"}'), (200, b'{"active":true,'),
                   (200, b'{"active":true,"active":true}'), (200, b"x" * 70000), (302, b""), (204, b"")]:
        provider.answer = answer
        assert log_in(door, "good") == "454 4.7.0", f"{answer}\n{door.log()}"
    provider.answer = None
    assert gets_in(door, "good")
    door.wait_logged("event=oauth_server", "does not take client_id")
    (folder / "secret").write_text("another\n")
    assert log_in(door, "good") == "454 4.7.0"
    (folder / "secret").write_text(SECRET + "\n")
    assert gets_in(door, "good")
    assert SECRET not in door.log()


def test_a_provider_that_comes_and_goes(start, canary, pki, provider, folder, keys):
    """Away at the start, there, away, talking nonsense, there."""
    vestibule = start(canary.port, changes(pki, provider, folder))
    shown = token(keys["ES256"])
    provider.active = {"good": {"email": ALICE}}
    assert log_in(vestibule, shown) == "454 4.7.0"
    assert log_in(vestibule, "good") == "454 4.7.0"
    vestibule.wait_logged("event=oauth_keys")
    provider.start()
    proc.wait_until(lambda: gets_in(vestibule, shown) and gets_in(vestibule, "good"), 5, "logins work")
    provider.stop()
    assert gets_in(vestibule, shown), "the keys are here"
    assert log_in(vestibule, "good") == "454 4.7.0"
    provider.garbage()
    assert log_in(vestibule, "good") == "454 4.7.0"
    provider.stop()
    provider.start()
    proc.wait_until(lambda: gets_in(vestibule, "good"), 5, "logins work again")
    assert len(vestibule.log_lines("event=oauth_keys")) == 1


def test_a_provider_that_says_nothing(start, canary, pki, provider, folder, keys):
    provider.hang()
    vestibule = start(canary.port, changes(pki, provider, folder))
    begun = time.monotonic()
    with vestibule.connect() as leaver:
        leaver.ehlo()
        leaver.send(f"AUTH XOAUTH2 {xoauth2(token(keys['ES256']))}\r\n")
    with vestibule.connect() as leaver:
        leaver.ehlo()
        leaver.send(f"AUTH XOAUTH2 {xoauth2('good')}\r\n")
    assert log_in(vestibule, token(keys["ES256"])) == "454 4.7.0"
    assert log_in(vestibule, "good") == "454 4.7.0"
    assert time.monotonic() - begun < 35


def test_a_certificate_that_is_not_the_providers(start, canary, pki, provider, folder, keys):
    """Somebody between us and the provider must not be able to say which keys are good."""
    provider.certificate = pki.other
    provider.start()
    vestibule = start(canary.port, changes(pki, provider, folder))
    provider.active = {"good": {"email": ALICE}}
    assert log_in(vestibule, token(keys["ES256"])) == "454 4.7.0"
    assert log_in(vestibule, "good") == "454 4.7.0"
    assert provider.asked == {"/jwks.json": 0, "/introspect": 0}


# Without passwords, and under another name.


def test_tokens_alone_under_the_realm_rule(start, canary, pki, provider, folder, keys):
    provider.start()
    said = changes(pki, provider, folder, WITH_KEYS, login_claim="preferred_username")
    said["auth"] |= {"backend": "oauth:", "default_realm": "any.example", "login_domain": "strip", "login_case": "lower"}
    vestibule = start(canary.port, said)
    with vestibule.connect() as session:
        offered, = [line for line in session.ehlo().lines if line[4:].startswith("AUTH ")]
    assert sorted(offered[4:].split()) == ["AUTH", "OAUTHBEARER", "XOAUTH2"]
    shown = token(keys["ES256"], claims(preferred_username="Alice@any.example", email=None))
    assert gets_in(vestibule, shown, login="alice")
    assert gets_in(vestibule, shown, login="ALICE@Any.Example")
    assert log_in(vestibule, shown, "bob") == "535 5.7.8"
    vestibule.wait_logged("event=session", "login=alice ")


def test_check_looks_at_keys_and_provider(pki, provider, folder, keys):
    vestibule = program.Vestibule(folder / "v", pki.certificates, pki.users, 1, changes(pki, provider, folder))
    vestibule.configure()
    provider.start()
    assert "tokens: 5 keys from https://" in (said := program.run("check", "-c", vestibule.path).stdout), said
    assert "tokens are asked about at https://" in said
    provider.answer = (200, b'{"active": true, "email": "x"}')
    assert "would let everybody in" in program.run("check", "-c", vestibule.path).stdout
    provider.stop()
    assert "jwks https://" in program.run("check", "-c", vestibule.path).stdout


# Real clients.

NODE = """
const [port, ca, user, token, to] = process.argv.slice(2);
const transport = require('nodemailer').createTransport({host: '127.0.0.1', port: Number(port), secure: true,
    auth: {type: 'OAuth2', user, accessToken: token}, tls: {ca: require('fs').readFileSync(ca), servername: 'localhost'}});
transport.sendMail({envelope: {from: 'alice@any.example', to}, raw: 'Subject: token\\r\\n\\r\\nhello\\r\\n'})
    .catch(error => { console.error(error.response || error); process.exit(1); });
"""


def nodemailer(vestibule, ca, shown, folder):
    (folder / "send.js").write_text(NODE)
    return subprocess.run(["node", folder / "send.js", str(vestibule.implicit), ca, ALICE, shown, "r@any.example"],
                          capture_output=True, text=True, timeout=30,
                          env={"NODE_PATH": "/usr/share/nodejs", "PATH": "/usr/local/bin:/usr/bin:/bin"})


def curl(vestibule, ca, shown, folder):
    (folder / "message").write_bytes(b"Subject: token\r\n\r\nhello\r\n")
    return subprocess.run(["curl", "-sS", "--cacert", ca, "--user", ALICE, "--oauth2-bearer", shown, "--mail-from", ALICE,
                           "--mail-rcpt", "r@any.example", "--upload-file", folder / "message",
                           f"smtps://localhost:{vestibule.implicit}/client.test"],
                          capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("send", [curl, nodemailer])
def test_a_client_delivers(door, canary, pki, keys, folder, send):
    ca = str(pki.authority.certificate)
    done = send(door, ca, token(keys["RS256"]), folder)
    assert done.returncode == 0, f"{done.stderr}\n{door.log()}"
    door.wait_logged("event=session", f"login={ALICE}", "messages=1")
    done = send(door, ca, token(keys["RS256"], claims(exp=1)), folder)
    assert done.returncode != 0, "an expired token"
