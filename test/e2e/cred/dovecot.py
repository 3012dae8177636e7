"""Dovecot from Debian's packages, run from where they were unpacked."""

import subprocess

from cred import base
from mta import base as packages

import pages
import proc

COMMON = """\
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols ={protocols}
listen = 127.0.0.1
ssl = no
default_internal_user = dovecot
default_login_user = dovenull
auth_mechanisms = {mechanisms}
auth_verbose = yes
auth_debug = yes
auth_failure_delay = 0
service anvil {{
  chroot =
}}
"""

# The same said in the words of its two generations.
SINCE_2_3 = COMMON + """\
disable_plaintext_auth = no
import_environment = LD_LIBRARY_PATH
passdb {{
  {passdb}
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}/home
}}
"""
SINCE_2_4 = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
""" + COMMON + """\
auth_allow_cleartext = yes
import_environment {{
  LD_LIBRARY_PATH = {libraries}
}}
passdb {passdb}
}}
userdb static {{
  fields {{
    uid = 65534
    gid = 65534
    home = {folder}/home
  }}
}}
"""

# Where passwords are: in a file, or with a server that is not there.
PASSDB_2_3 = {"file": "driver = passwd-file\n  args = username_format=%u {folder}/users",
              "away": "driver = imap\n  args = host=127.0.0.1 port=1"}
PASSDB_2_4 = {"file": "passwd-file {{\n  passwd_file_path = {folder}/users\n  auth_username_format = %{{user}}",
              "away": "imap {{\n  imapc_host = 127.0.0.1\n  imapc_port = 1"}

# Its folders are compiled in: for it alone, what was unpacked lies over the machine's own.
START = """\
set -e
mount -t overlay overlay -o lowerdir={lower}:/usr/lib /usr/lib
mount -t overlay overlay -o lowerdir={tools}:/usr/bin /usr/bin
exec {program} -F -c {folder}/dovecot.conf
"""


class Dovecot(base.Store):
    """`protocols` and `more` make it a server for mailboxes as well: other stores are such ones."""

    name = page = "dovecot"
    needs = ("dovecot-core",)
    protocols = ""
    more = ""

    def __init__(self, folder):
        super().__init__(folder)
        self.socket = self.folder / "auth-vestibule"
        self.daemon = None
        roots = [packages.unpacked(package) for package in self.needs]
        self.program = roots[0] / "usr/sbin/dovecot"
        self.libraries = packages.library_path("dovecot-core", [self.program])
        for user in ("dovecot", "dovenull"):
            packages.need_user(user)
        for part in ("run", "home"):
            (self.folder / part).mkdir()
        self.values = dict(folder=self.folder, program=self.program, libraries=self.libraries, protocols=self.protocols,
                           lower=":".join(str(root / "usr/lib") for root in roots), tools=roots[0] / "usr/bin")
        self.configure()
        (self.folder / "start").write_text(START.format(**self.values))
        self.write_users()

    def configure(self, passdb="file", mechanisms="plain login scram-sha-256 cram-md5"):
        """With its passwords in a "file", or "away"."""
        old = packages.version("dovecot-core").startswith("1:2.3")
        template, passdbs = (SINCE_2_3, PASSDB_2_3) if old else (SINCE_2_4, PASSDB_2_4)
        text = template.format(**self.values, mechanisms=mechanisms, passdb=passdbs[passdb].format(**self.values))
        (self.folder / "dovecot.conf").write_text(text + self.more + self.listener())

    def write_users(self):
        """SCRAM and CRAM-MD5 need the password itself."""
        lines = [f"{login}:{self.scheme(login)}{self.secret(login)}::::::\n" for login in base.USERS]
        (self.folder / "users").write_text("".join(lines))

    def scheme(self, login):
        return "{PLAIN}" if ":" not in base.USERS[login] else "{CRYPT}"

    def secret(self, login):
        return base.USERS[login] if ":" not in base.USERS[login] else base.crypt_hash(base.USERS[login])

    def listener(self):
        """What the page tells to add."""
        return pages.filled("dovecot", {"/run/dovecot/auth-vestibule": self.socket, "user = vestibule": "user = nobody",
                                        "0600": "0666"}, "conf")

    def log(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": self.libraries}
        with (self.folder / "output").open("w") as output:
            self.daemon = subprocess.Popen(["unshare", "--mount", "sh", self.folder / "start"], env=environment,
                                           stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        self.wait_for_socket(self.socket, log=lambda: self.log() + (self.folder / "output").read_text())

    def stop(self):
        super().stop()
        if self.daemon is None:
            return
        proc.kill_family(self.daemon.pid, "Dovecot")
        self.daemon.wait(10)
        self.daemon = None
        self.socket.unlink(missing_ok=True)

    def hang(self):
        self.fake = base.Fake(self.socket, base.silent)

    def garbage(self):
        self.fake = base.Fake(self.socket, base.saying(base.NOISE))

    def mapping(self):
        return {"/run/dovecot/auth-vestibule": self.socket}
