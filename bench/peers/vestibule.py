"""The program itself, in front of the same sink with the same certificate and the same user."""

import os
import pathlib
import subprocess

from peers import base

CONFIGURATION = """\
[server]
hostname = bench.test
workers = {workers}
state_dir = {folder}/state
max_sessions = 20000
[tls]
certificate = {certificate}
[listener submissions]
address = 127.0.0.1:{port}
tls = implicit
[auth]
backend = file:{users}
[upstream mta]
address = 127.0.0.1:{sink}
max_connections = 1000
[policy]
sessions_per_client = 1000000
connects_per_client = off
[log]
level = warning
"""


class Vestibule(base.Server):
    name = "Vestibule"
    binary = pathlib.Path(os.environ.get("VESTIBULE_BINARY", base.BUILD / "vestibule")).absolute()

    @classmethod
    def missing(cls):
        return [] if cls.binary.exists() else [f"{cls.binary} (make)"]

    @classmethod
    def version(cls):
        return subprocess.run([cls.binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]

    def command(self):
        (self.folder / "state").mkdir(exist_ok=True)
        path = self.write("vestibule.conf", CONFIGURATION.format(
            folder=self.folder, users=self.site.users, port=self.port, sink=self.sink_port, certificate=self.certificate,
            workers=len(self.cores)))
        return [self.binary, "-c", path]
