"""Dovecot's submission proxy, and Dovecot's auth as what Postfix asks."""

import shutil

from peers import base

COMMON = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
disable_plaintext_auth = no
auth_mechanisms = plain login
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/home
}}
service stats {{
  client_limit = 10000
}}
"""

# The login processes in their "high performance" mode: one that serves all.
SUBMISSION = COMMON + """\
protocols = submission
hostname = bench.test
mail_location = mbox:{folder}/home
submission_relay_host = 127.0.0.1
submission_relay_port = {sink}
submission_relay_trusted = no
mail_max_userip_connections = 0
ssl = yes
ssl_min_protocol = TLSv1.2
ssl_cert = <{chain}
ssl_key = <{key}
service submission-login {{
  inet_listener submission {{
    port = 0
  }}
  inet_listener submissions {{
    address = 127.0.0.1
    port = {port}
    ssl = yes
  }}
  service_count = 0
  process_min_avail = 1
  process_limit = 1
  client_limit = 9000
  chroot =
  vsz_limit = 2 G
}}
service submission {{
  service_count = 0
  client_limit = 1
  process_limit = 200
  process_min_avail = 32
}}
service anvil {{
  client_limit = 20000
}}
service auth {{
  client_limit = 20000
}}
"""

AUTH = COMMON + """\
protocols =
ssl = no
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
  client_limit = 20000
}}
"""


class Common(base.Server):
    packages = ("dovecot-core",)
    text = "?"

    @classmethod
    def missing(cls):
        lacking = super().missing()
        if not lacking and not cls.version().startswith("1:2.3."):
            return [f"a version of Dovecot whose configuration is that of 2.3 (there is {cls.version()})"]
        return lacking

    def command(self):
        for part in ("run", "state", "home"):
            (self.folder / part).mkdir(exist_ok=True)
        shutil.chown(self.folder / "home", "nobody")
        # It hashes at each login, whatever it has in its cache; so that this is as cheap as a warm one, nothing is hashed.
        self.write("users", f"{base.USER}:{{PLAIN}}{base.PASSWORD}\n")
        path = self.write("dovecot.conf", self.text.format(
            folder=self.folder, port=self.port, sink=self.sink_port, chain=self.certificate.chain,
            key=self.certificate.key))
        return ["dovecot", "-F", "-c", path]


class Dovecot(Common):
    name = "Dovecot"
    packages = ("dovecot-core", "dovecot-submissiond")
    text = SUBMISSION


class Auth(Common):
    """Checks Postfix's passwords: on the load's core, its time is not counted."""

    name = "dovecot-auth"
    text = AUTH

    def greets(self):
        return base.listens(self.port)
