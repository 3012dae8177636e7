"""Hitch ends TLS and hands the octets on: no SMTP, no password."""

from peers import base

CONFIGURATION = """\
frontend = "[127.0.0.1]:{port}"
backend = "[127.0.0.1]:{sink}"
pem-file = "{pem}"
workers = 1
backlog = 4096
user = "nobody"
group = "nogroup"
daemon = off
quiet = on
tls-protos = TLSv1.2 TLSv1.3
"""


class Hitch(base.Server):
    name = "Hitch"
    checks_passwords = False
    packages = ("hitch",)

    def command(self):
        path = self.write("hitch.conf", CONFIGURATION.format(port=self.port, pem=self.pem(), sink=self.sink_port))
        return ["hitch", f"--config={path}"]
