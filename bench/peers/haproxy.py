"""HAProxy ends TLS and hands the octets on: no SMTP, no password."""

from peers import base

CONFIGURATION = """\
global
    nbthread 1
    maxconn 9000
    user nobody
    ssl-default-bind-options ssl-min-ver TLSv1.2 prefer-client-ciphers
defaults
    mode tcp
    timeout connect 5s
    timeout client 600s
    timeout server 600s
listen submissions
    bind 127.0.0.1:{port} ssl crt {pem} backlog 4096
    server sink 127.0.0.1:{sink}
"""


class HAProxy(base.Server):
    name = "HAProxy"
    checks_passwords = False
    packages = ("haproxy",)

    def command(self):
        path = self.write("haproxy.cfg", CONFIGURATION.format(port=self.port, pem=self.pem(), sink=self.sink_port))
        return ["haproxy", "-db", "-q", "-f", path]
