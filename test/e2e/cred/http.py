"""A web server of two kinds: one that wants Basic authorisation, one with a script for nginx's mail proxy."""

import base64
import urllib.parse

from cred import base, over_tls

import net
import pki

KEY = "X-Auth-Key: letmein"


def basic(headers):
    """What a web server does with Basic authorisation; the password may hold colons."""
    kind, _, text = headers.get("authorization", "").partition(" ")
    login, _, password = base64.b64decode(text).decode().partition(":") if kind == "Basic" else ("", "", "")
    if base.USERS.get(login) == password:
        return "204 No Content", ""
    return "401 Unauthorized", 'WWW-Authenticate: Basic realm="x"\r\n'


def script(headers):
    """What the examples for nginx do: they decode, and say no with a status of 200."""
    login, password = (urllib.parse.unquote(headers.get(name, "")) for name in ("auth-user", "auth-pass"))
    sound = headers.get("auth-method") == "plain" and headers.get("auth-protocol") == "smtp" \
        and headers.get("client-ip") == "127.0.0.1" and headers.get("auth-ssl") == "on"
    if sound and base.USERS.get(login) == password:
        return "200 OK", "Auth-Status: OK\r\nAuth-Server: 198.51.100.1\r\nAuth-Port: 25\r\n"
    return "200 OK", "Auth-Status: Invalid login or password\r\nAuth-Wait: 3\r\n"


class Http(base.Store):
    name = "http"
    page = "http"
    decide = staticmethod(basic)

    def __init__(self, folder):
        super().__init__(folder)
        self.port = net.free_port()
        self.authority = pki.Authority(self.folder)
        self.certificate = self.authority.issue("web")
        self.headers = self.folder / "headers"
        self.headers.write_text(f"# who asks\n{KEY}\n")
        self.requests = []
        self.connections = 0

    def serve(self, connection):
        self.connections += 1
        waiting = b""
        while True:
            while b"\r\n\r\n" not in waiting:
                more = connection.recv(65536)
                if not more:
                    return
                waiting += more
            head, _, waiting = waiting.partition(b"\r\n\r\n")
            connection.sendall(self.answer(head.decode()))

    def answer(self, head):
        self.requests.append(head)
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status, more = self.decide(headers)
        if request != "GET /check HTTP/1.1" or KEY not in lines:
            status, more = "403 Forbidden", ""
        body = b"" if status.startswith("204") else b"nobody reads this"
        return f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def start(self):
        self.fake = base.Fake(self.port, over_tls.inside(self.certificate, self.serve))

    def hang(self):
        self.fake = base.Fake(self.port, base.silent)

    def garbage(self):
        self.fake = base.Fake(self.port, over_tls.inside(self.certificate, base.saying(base.NOISE)))

    def mapping(self):
        return {"https://auth.example.com/": f"https://127.0.0.1:{self.port}/",
                "/etc/vestibule/auth-ca.pem": self.authority.certificate,
                "/etc/vestibule/auth-headers": self.headers}


class HttpScript(Http):
    """The same page, answered as nginx's protocol has it."""

    name = "http-script"
    decide = staticmethod(script)
