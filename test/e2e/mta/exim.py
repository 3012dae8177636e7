"""Exim from Debian's package, run from where it was unpacked."""

import os
import subprocess

from mta import base

CONFIGURATION = """\
primary_hostname = legacy.test
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/exim.pid
exim_path = {program}
keep_environment = LD_LIBRARY_PATH
deliver_drop_privilege = true
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
acl_smtp_rcpt = acl_local
acl_smtp_data = acl_local
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
queue_run_max = 0
message_size_limit = 50M

begin acl
acl_local:
  accept hosts = 127.0.0.0/8

begin routers
everything:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  user = Debian-exim
  return_path_add
  envelope_to_add

begin retry
* * F,1h,1m
"""


class Exim(base.Mta):
    name = "exim"
    package = "exim4-daemon-light"

    def __init__(self):
        super().__init__()
        root = base.unpacked("exim4-daemon-light")
        owner = base.need_user("Debian-exim")
        self.libraries = base.library_path("exim4-daemon-light", [root / "usr/sbin/exim4"])
        # A program that is setuid is denied LD_LIBRARY_PATH, and this one gives up root anyway when it is told a
        # configuration: a copy without that bit delivers as Debian-exim.
        self.program = self.folder / "exim4"
        self.program.write_bytes((root / "usr/sbin/exim4").read_bytes())
        self.program.chmod(0o755)
        for part in ("spool", "log", "mail", "mail/new", "mail/cur", "mail/tmp"):
            (self.folder / part).mkdir(exist_ok=True)
            os.chown(self.folder / part, owner.pw_uid, owner.pw_gid)
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        (self.folder / "exim.conf").write_text(
            CONFIGURATION.format(folder=self.folder, program=self.program, port=self.port))

    def start(self):
        environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": self.libraries}
        self.daemon = subprocess.Popen([self.program, "-C", self.folder / "exim.conf", "-bdf", "-q1m"],
                                       env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=(self.folder / "log/stderr").open("w"))
        self.wait_started()

    def queue(self):
        return [str(path) for part in ("input", "msglog") for path in (self.folder / "spool" / part).rglob("*")
                if path.is_file()]
