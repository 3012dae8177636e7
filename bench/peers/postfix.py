"""Postfix, which ends TLS, asks Dovecot's auth about the password and hands the message on before it is queued."""

import os
import shutil

from mta.base import need_group, need_user
from peers import base, dovecot

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
inet_protocols = ipv4
myhostname = bench.test
mydestination =
mynetworks =
alias_maps =
local_recipient_maps =
message_size_limit = 52428800
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{auth_port}
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_tls_chain_files = {pem}
smtpd_tls_mandatory_protocols = >=TLSv1.2
smtpd_timeout = 600s
default_process_limit = 1000
max_use = 100
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes -o smtpd_proxy_filter=127.0.0.1:{sink}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

QUEUE = "active bounce corrupt defer deferred flush hold incoming maildrop private public saved trace".split()


class Postfix(base.Server):
    name = "Postfix"
    packages = ("postfix",)
    idle_sessions = 500

    @classmethod
    def missing(cls):
        return super().missing() + dovecot.Auth.missing()

    def start(self):
        self.auth = dovecot.Auth(self.site, cores=self.site.load_cores).start()
        return super().start()

    def stop(self):
        super().stop()
        self.auth.stop()

    def command(self):
        owner, group = need_user("postfix"), need_group("postdrop")
        for part in ("etc", "data", "queue/pid"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        shutil.chown(self.folder / "data", "postfix")
        # `postfix check` would make these, and sleep a second over it.
        for part in QUEUE:
            folder = self.folder / "queue" / part
            folder.mkdir(mode=0o700, exist_ok=True)
            os.chown(folder, owner.pw_uid, group.gr_gid if part in ("maildrop", "public") else 0)
        (self.folder / "queue/public").chmod(0o710)
        (self.folder / "queue/maildrop").chmod(0o730)
        key_first = self.write("both.pem", self.certificate.key.read_text() + self.certificate.chain.read_text())
        values = dict(folder=self.folder, port=self.port, sink=self.sink_port, auth_port=self.auth.port,
                      pem=key_first)
        for name, text in (("main.cf", MAIN), ("master.cf", MASTER)):
            os.utime(self.write(f"etc/{name}", text.format(**values)), (0, 0))  # a new file it reads only 1.5 s later
        return ["/usr/lib/postfix/sbin/master", "-c", self.folder / "etc", "-d"]
