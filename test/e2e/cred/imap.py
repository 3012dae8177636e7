"""A Dovecot with mailboxes, asked as a mail client would ask it."""

import os
import pathlib

from cred import base, over_tls
from cred.dovecot import Dovecot
from mta import base as packages

import net
import pages
import pki

TLS = {
    "2.3": "ssl = yes\nssl_cert = <{chain}\nssl_key = <{key}\nmail_location = mbox:{folder}/boxes/%u\n",
    "2.4": "ssl = yes\nssl_server_cert_file = {chain}\nssl_server_key_file = {key}\n"
           "mail_driver = mbox\nmail_path = {folder}/boxes/%{{user}}\n",
}
LISTENERS = """
service {service}-login {{
  chroot =
  inet_listener {plain} {{
    port = {clear}
  }}
  inet_listener {plain}s {{
    port = {port}
    ssl = yes
  }}
}}
"""


class Mailboxes(Dovecot):
    """A store of its own for each protocol; `scheme_tls` is what its URL begins with."""

    page = "imap"
    scheme_tls = "imaps"
    service = "imap"
    plain = "imap"
    extra = ""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.clear = net.free_port(), net.free_port()
        self.authority = pki.Authority(folder)
        self.certificate = self.authority.issue("mailboxes")
        self.protocols = f" {self.service}"
        old = packages.version("dovecot-core").startswith("1:2.3")
        self.more = TLS["2.3" if old else "2.4"].format(
            chain=self.certificate.chain, key=self.certificate.key, folder=folder)
        self.more += LISTENERS.format(service=self.service, plain=self.plain, port=self.port, clear=self.clear)
        self.more += pages.filled("imap", {}, "conf") + self.extra
        super().__init__(folder)
        boxes = self.folder / "boxes"
        boxes.mkdir()
        os.chown(boxes, 65534, 65534)

    def start(self):
        super().start()
        self.wait_for_socket(self.port, log=self.log)

    def hang(self):
        self.fake = base.Fake(self.port, base.silent)

    def garbage(self):
        self.fake = base.Fake(self.port, over_tls.inside(self.certificate, base.saying(base.NOISE)))

    def mapping(self):
        return {"imaps://mail.example.com/": f"{self.scheme_tls}://127.0.0.1:{self.port}/",
                "/etc/vestibule/mail-ca.pem": self.authority.certificate}


class Imap(Mailboxes):
    name = "imap"
    needs = ("dovecot-core", "dovecot-imapd")
