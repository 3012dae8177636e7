"""PAM with pam_unix itself, in a mount namespace where the machine's accounts and rules are the test's own."""

import pathlib
import shutil

from cred import base

import pages

# For Vestibule or another server: sees the test's files in the machine's places.
START = """\
set -e
mount --bind {folder}/pam.d /etc/pam.d
mount --bind {folder}/passwd /etc/passwd
mount --bind {folder}/shadow /etc/shadow
exec "$@"
"""


def private_accounts(folder):
    """Writes the users as accounts of a machine; the words that a command line is to start with to see them."""
    (folder / "pam.d").mkdir(exist_ok=True)
    accounts = pathlib.Path("/etc/passwd").read_text().rstrip("\n") + "\n"
    shadow = "".join(f"{line.split(':')[0]}:*:19000:0:99999:7:::\n" for line in accounts.splitlines())
    for number, (login, password) in enumerate(base.USERS.items(), 30001):
        accounts += f"{login}:x:{number}:65534::/nonexistent:/usr/sbin/nologin\n"
        shadow += f"{login}:{base.crypt_hash(password)}:19000:0:99999:7:::\n"
    (folder / "passwd").write_text(accounts)
    (folder / "shadow").write_text(shadow)
    (folder / "shadow").chmod(0o640)
    (folder / "private").write_text(START.format(folder=folder))
    return ("unshare", "--mount", "sh", str(folder / "private"))


class Pam(base.Store):
    name = page = "pam"

    def __init__(self, folder):
        super().__init__(folder)
        self.prefix = private_accounts(self.folder)
        self.service = self.folder / "pam.d" / "vestibule"
        self.stop()

    def rules(self, text):
        self.service.write_text(text)

    def start(self):
        self.rules(pages.block("pam", "conf"))

    def stop(self):
        """A module that is not there."""
        super().stop()
        self.rules("auth required /nonexistent/pam_away.so\naccount required pam_unix.so\n")

    def hang(self):
        self.rules(f"auth required pam_exec.so quiet {shutil.which('sleep')} 60\naccount required pam_permit.so\n")

    def garbage(self):
        """A library that is no module."""
        library = next(pathlib.Path("/usr/lib").glob("*/libcrypt.so.1"))
        self.rules(f"auth required {library}\naccount required pam_unix.so\n")

    def mapping(self):
        return {"pam:vestibule": "pam:vestibule", "user = vestibule": "user = nobody"}
