"""Sendmail from Debian's packages, run from where they were unpacked."""

import os
import pwd
import subprocess

from mta import base

CONFIGURATION = """\
divert(0)dnl
include(`{cf}/m4/cf.m4')dnl
OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `legacy.test')dnl
define(`confPID_FILE', `{folder}/sendmail.pid')dnl
define(`QUEUE_DIR', `{folder}/queue')dnl
define(`STATUS_FILE', `{folder}/statistics')dnl
define(`ALIAS_FILE', `')dnl
define(`confDEF_USER_ID', `{uid}:{gid}')dnl
define(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe,RunProgramInUnsafeDirPath,TrustStickyBit')dnl
define(`confMAX_MESSAGE_SIZE', `52428800')dnl
define(`confTO_IDENT', `0s')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDELAY_LA', `1000')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`promiscuous_relay')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Port={port}, Addr=127.0.0.1')dnl
MAILER(`local')dnl
MAILER_DEFINITIONS
Mmaildir, P={folder}/deliver, F=lsqnu9, T=DNS/RFC822/X-Unix, U={uid}:{gid}, A=deliver $u
LOCAL_RULE_0
R$*	$#maildir $: $1
"""

# One message on standard input, one recipient; whole messages only appear in new/.
DELIVER = """\
#!/bin/sh
file=$(mktemp -p {folder}/mail/tmp) && (echo "Delivered-To: $1" && cat) >"$file" && mv "$file" {folder}/mail/new/ || exit 75
"""


class Sendmail(base.Mta):
    name = "sendmail"
    package = "sendmail-bin"

    def __init__(self):
        super().__init__()
        root, mailbox = base.unpacked(self.package), pwd.getpwnam("nobody")
        original = root / "usr/libexec/sendmail/sendmail"
        self.libraries = base.library_path(self.package, [original])
        # A program that is setgid is denied LD_LIBRARY_PATH.
        self.program = self.folder / "sendmail"
        self.program.write_bytes(original.read_bytes())
        self.program.chmod(0o755)
        (self.folder / "log").mkdir()
        (self.folder / "queue").mkdir(mode=0o700)
        for part in ("", "new", "cur", "tmp"):
            os.chown(self.mail / part, mailbox.pw_uid, mailbox.pw_gid)
        values = dict(folder=self.folder, port=self.port, uid=mailbox.pw_uid, gid=mailbox.pw_gid,
                      cf=base.unpacked("sendmail-cf") / "usr/share/sendmail/cf")
        (self.folder / "deliver").write_text(DELIVER.format(**values))
        (self.folder / "deliver").chmod(0o755)
        (self.folder / "sendmail.mc").write_text(CONFIGURATION.format(**values))
        with (self.folder / "sendmail.cf").open("w") as made:
            subprocess.run(["m4", f"-D_CF_DIR_={values['cf']}/", self.folder / "sendmail.mc"], check=True, stdout=made,
                           stderr=subprocess.DEVNULL, timeout=20)
        (self.folder / "hosts").write_text("127.0.0.1 legacy.test localhost\n")

    def start(self):
        """In a host name of its own: for one without a dot it would sleep a minute."""
        command = (f"hostname legacy.test && mount --bind {self.folder}/hosts /etc/hosts && "
                   f"exec {self.program} -C {self.folder}/sendmail.cf -X {self.folder}/log/traffic -bD -q1m")
        self.daemon = subprocess.Popen(["unshare", "--uts", "--mount", "sh", "-c", command], start_new_session=True,
                                       env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": self.libraries},
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=(self.folder / "log/stderr").open("w"))
        self.wait_started()

    def queue(self):
        return [str(path) for path in (self.folder / "queue").rglob("*") if path.is_file()]
