"""stunnel ends TLS and hands the octets on: no SMTP, no password."""

from peers import base

CONFIGURATION = """\
foreground = yes
pid =
debug = crit
setuid = nobody
setgid = nogroup
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[submissions]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{sink}
cert = {chain}
key = {key}
sslVersionMin = TLSv1.2
TIMEOUTidle = 600
"""


class Stunnel(base.Server):
    name = "stunnel"
    checks_passwords = False
    packages = ("stunnel4",)

    def command(self):
        path = self.write("stunnel.conf", CONFIGURATION.format(port=self.port, chain=self.certificate.chain,
                                                               key=self.certificate.key, sink=self.sink_port))
        return ["/usr/bin/stunnel4", path]
