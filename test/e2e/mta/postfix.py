"""Postfix from Debian's package, run from where it was unpacked."""

import os
import pwd
import signal
import subprocess

import net
from mta import base

MAIN = """\
compatibility_level = 3.6
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {folder}/etc
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}/log
import_environment = MAIL_CONFIG LD_LIBRARY_PATH={libraries}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = legacy.test
mydestination =
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:mail/
virtual_mailbox_base = {folder}
virtual_mailbox_limit = 0
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
message_size_limit = 52428800
alias_maps =
local_recipient_maps =
"""

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{xclient_port} inet n - n - - smtpd -o smtpd_authorized_xclient_hosts=127.0.0.0/8 {open}
127.0.0.1:{proxy_port} inet n - n - - smtpd -o smtpd_upstream_proxy_protocol=haproxy {open}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


# Who comes by his own address is not localhost any more; and there is no DNS.
OPEN = "-o mynetworks=127.0.0.0/8,192.0.2.0/24 -o smtpd_peername_lookup=no"


class Postfix(base.Mta):
    name = "postfix"
    package = "postfix"

    def __init__(self):
        super().__init__()
        self.root = base.unpacked("postfix")
        self.master = None
        owner, group, mailbox = base.need_user("postfix"), base.need_group("postdrop"), pwd.getpwnam("nobody")
        programs = self.root / "usr/lib/postfix/sbin"
        self.libraries = base.library_path("postfix", [programs / "smtpd", programs / "cleanup", programs / "master"])
        for part in ("etc", "data", "log"):
            (self.folder / part).mkdir()
        os.chown(self.folder / "data", owner.pw_uid, 0)
        # `postfix check` would make these, and sleep a second over it.
        for part in ("active bounce corrupt defer deferred flush hold incoming maildrop private public saved trace"
                     .split()):
            (self.folder / "queue" / part).mkdir(mode=0o700, parents=True)
            os.chown(self.folder / "queue" / part, owner.pw_uid, group.gr_gid if part in ("maildrop", "public") else 0)
        (self.folder / "queue/public").chmod(0o710)
        (self.folder / "queue/maildrop").chmod(0o730)
        (self.folder / "queue/pid").mkdir()
        for part in (self.mail, self.mail / "new", self.mail / "cur", self.mail / "tmp"):
            os.chown(part, mailbox.pw_uid, mailbox.pw_gid)
        self.xclient_port, self.proxy_port = net.free_port(), net.free_port()
        values = dict(root=self.root, folder=self.folder, port=self.port, open=OPEN,
                      xclient_port=self.xclient_port, proxy_port=self.proxy_port, libraries=self.libraries,
                      uid=mailbox.pw_uid, gid=mailbox.pw_gid)
        (self.folder / "etc/main.cf").write_text(MAIN.format(**values))
        (self.folder / "etc/master.cf").write_text(MASTER.format(**values))

    def start(self):
        environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": self.libraries}
        self.master = subprocess.Popen([self.root / "usr/lib/postfix/sbin/master", "-c", self.folder / "etc", "-d"],
                                       env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_started()

    def stop(self):
        """Master and its children are one process group, as long as master is its leader."""
        if self.master is None:
            return
        try:
            os.killpg(self.master.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.master.wait(10)
        self.master = None
        net.wait_until_closed(self.port)

    def queue(self):
        return [str(path) for part in ("maildrop", "incoming", "active", "deferred", "corrupt", "hold")
                for path in (self.folder / "queue" / part).rglob("*") if path.is_file()]
