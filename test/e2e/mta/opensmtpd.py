"""OpenSMTPD from Debian's package, run from where it was unpacked."""

import os
import pwd
import subprocess

from mta import base

CONFIGURATION = """\
table everyone {{ "@" = "nobody" }}
smtp max-message-size "50M"
listen on 127.0.0.1 port {port} hostname legacy.test
action "maildir" maildir "{folder}/mail" virtual <everyone>
match from any for any action "maildir"
"""

# Its folders are compiled in. They are made to be there for it alone, and the machine's own stay as they are. It asks
# for the name of every client; where there is no DNS, that takes seconds.
START = """\
set -e
for folder in /usr/libexec /var/spool /var/lib /run; do mount -t tmpfs -o size=4m,mode=755 tmpfs $folder; done
mkdir -p /usr/libexec/opensmtpd /var/spool/smtpd /var/lib/opensmtpd/empty
mount --bind {root}/usr/libexec/opensmtpd /usr/libexec/opensmtpd
mount --bind {folder}/spool /var/spool/smtpd
if [ -L /etc/resolv.conf ]; then  # to somewhere in /run, as a rule
    target=$(readlink -m /etc/resolv.conf)
    mkdir -p "$(dirname "$target")" && : >>"$target"
fi
mount --bind {folder}/resolv.conf /etc/resolv.conf
mount --bind {folder}/hosts /etc/hosts
exec {root}/usr/sbin/smtpd -d -f {folder}/smtpd.conf
"""


class OpenSMTPD(base.Mta):
    name = "opensmtpd"
    package = "opensmtpd"

    def __init__(self):
        super().__init__()
        root, mailbox = base.unpacked(self.package), pwd.getpwnam("nobody")
        self.libraries = base.library_path(self.package, [root / "usr/sbin/smtpd"])
        for name in ("opensmtpd", "opensmtpq"):
            base.need_user(name)
        for part in ("spool", "log"):
            (self.folder / part).mkdir()
        (self.folder / "spool").chmod(0o711)
        for part in ("", "new", "cur", "tmp"):
            os.chown(self.mail / part, mailbox.pw_uid, mailbox.pw_gid)
        values = dict(folder=self.folder, port=self.port, root=root)
        (self.folder / "smtpd.conf").write_text(CONFIGURATION.format(**values))
        (self.folder / "resolv.conf").write_text("lookup file\n")
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (self.folder / "start").write_text(START.format(**values))

    def start(self):
        self.daemon = subprocess.Popen(["unshare", "--mount", "sh", self.folder / "start"], start_new_session=True,
                                       env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": self.libraries},
                                       stdin=subprocess.DEVNULL, stdout=(self.folder / "log/output").open("w"),
                                       stderr=subprocess.STDOUT)
        self.wait_started()

    def queue(self):
        return [str(path) for part in ("incoming", "queue") for path in (self.folder / "spool" / part).rglob("*")
                if path.is_file()]
