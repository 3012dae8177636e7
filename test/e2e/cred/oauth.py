"""An identity provider: tokens signed by the openssl command, keys published and tokens explained by a small server over
TLS."""

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import socket
import ssl
import threading
import time
import urllib.parse

from cred import base

import net
from pki import openssl

ISSUER, AUDIENCE = "https://id.example.com", "vestibule"
CLIENT, SECRET = "vestibule", "geheim: 100 % & more"


def b64url(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


class Key:
    """A key pair of the provider: "RS256", "PS256", "ES256", "ES384" or "EdDSA"."""

    def __init__(self, folder, kid, algorithm, bits=2048):
        self.kid, self.algorithm = kid, algorithm
        self.path = folder / f"{kid}.key"
        if algorithm == "EdDSA":
            how = ["-algorithm", "ed25519"]
        elif algorithm[:2] == "ES":
            how = ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:P-{algorithm[2:]}"]
        else:
            how = ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"]
        openssl("genpkey", "-quiet", *how, "-out", self.path)

    def public(self):
        """As PEM."""
        return openssl("pkey", "-in", self.path, "-pubout")

    def jwk(self, **more):
        der = openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")
        made = {"kid": self.kid, "use": "sig", **more}
        if self.algorithm == "EdDSA":
            return {**made, "kty": "OKP", "crv": "Ed25519", "x": b64url(der[-32:])}
        if self.algorithm[:2] == "ES":
            width = int(self.algorithm[2:]) // 8
            return {**made, "kty": "EC", "crv": f"P-{8 * width}", "x": b64url(der[-2 * width:-width]),
                    "y": b64url(der[-width:])}
        modulus = openssl("rsa", "-pubin", "-modulus", "-noout", input=self.public())
        return {**made, "kty": "RSA", "e": "AQAB", "n": b64url(bytes.fromhex(modulus.decode().strip().split("=")[1]))}

    def sign(self, octets):
        if self.algorithm == "EdDSA":
            self.path.with_suffix(".in").write_bytes(octets)
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", self.path.with_suffix(".in"))
        options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"] if self.algorithm[0] == "P" else []
        made = openssl("dgst", f"-sha{self.algorithm[2:]}", "-sign", self.path, *options, input=octets)
        return raw(made, int(self.algorithm[2:]) // 8) if self.algorithm[0] == "E" else made


def raw(der, width):
    """r and s of an ECDSA signature side by side, as JWS has them."""
    numbers, at = [], 2
    for _ in range(2):
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + length], "big").to_bytes(width, "big"))
        at += 2 + length
    return b"".join(numbers)


def claims(**changes):
    """What a good token says; None leaves a claim out."""
    now = int(time.time())
    made = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 300, "iat": now, "email": "alice@any.example", "sub": "7"}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def token(key, said=None, header=None, text=None):
    """Signed by the key, whatever its header says. `text` is the payload as it stands."""
    head = {"alg": key.algorithm, "typ": "JWT", "kid": key.kid, **(header or {})}
    head = {name: value for name, value in head.items() if value is not None}
    payload = text if text is not None else json.dumps(said or claims())
    signed = f"{b64url(json.dumps(head).encode())}.{b64url(payload.encode())}"
    return f"{signed}.{b64url(key.sign(signed.encode()))}"


def forged(said, header, secret=None):
    """Signed with no key, or with a shared secret."""
    signed = f"{b64url(json.dumps(header).encode())}.{b64url(json.dumps(said).encode())}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret is not None else b""
    return f"{signed}.{b64url(mac)}"


class Provider:
    """Its server, on a port kept over stop and start. `keys` are published, `active` holds what is said of opaque tokens."""

    def __init__(self, certificate):
        self.certificate = certificate
        self.port = net.free_port()
        self.keys, self.active = [], {}
        self.jwks = None  # octets instead of the keys
        self.answer = None  # (status, octets) instead of what introspection would say
        self.asked = {"/jwks.json": 0, "/introspect": 0}
        self.open = []
        self.server = self.fake = None

    def start(self):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                provider.asked[self.path] += 1
                keys = json.dumps({"keys": provider.keys}).encode()
                self.say(200, keys if provider.jwks is None else provider.jwks)

            def do_POST(self):
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.asked[self.path] += 1
                self.say(*provider.explain(self.headers["Authorization"], urllib.parse.parse_qs(form)))

            def say(self, status, octets):
                self.send_response(status)
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                connection, address = super().get_request()
                connection.settimeout(5)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                provider.open.append(context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False))
                return provider.open[-1], address

            def handle_error(self, *_):
                """Clients that leave are no news."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.chain, self.certificate.key)
        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def explain(self, authorization, form):
        if self.answer is not None:
            return self.answer
        login = ":".join(urllib.parse.quote(part, safe="") for part in (CLIENT, SECRET))
        if authorization != "Basic " + base64.b64encode(login.encode()).decode():
            return 401, b"{}"
        shown, = form["token"]
        said = {"active": True, **self.active[shown]} if shown in self.active else {"active": False}
        return 200, json.dumps(said).encode()

    def url(self, path):
        return f"https://localhost:{self.port}{path}"

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        for connection in self.open:  # a server that went away holds none
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.open.clear()
        if self.fake is not None:
            self.fake.stop()
            self.fake = None

    def hang(self):
        self.fake = base.Fake(self.port, base.silent)

    def garbage(self):
        self.fake = base.Fake(self.port, base.saying(base.NOISE))
