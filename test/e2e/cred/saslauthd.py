"""saslauthd from Debian's package, run from where it was unpacked; it asks PAM about the test's own accounts."""

import subprocess

from cred import base, pam
from mta import base as packages

import proc


class Saslauthd(base.Store):
    name = page = "saslauthd"

    def __init__(self, folder):
        super().__init__(folder)
        self.program = packages.unpacked("sasl2-bin") / "usr/sbin/saslauthd"
        self.run = self.folder / "run"
        self.run.mkdir()
        self.socket = self.run / "mux"
        self.private = pam.private_accounts(self.folder)
        # A refusal of pam_unix takes two seconds; none here, so that the test does not wait.
        (self.folder / "pam.d/smtp").write_text("auth required pam_unix.so nodelay\naccount required pam_unix.so\n")

    def start(self):
        libraries = packages.library_path("sasl2-bin", [self.program])
        subprocess.run([*self.private, self.program, "-m", self.run, "-n", "5", "-a", "pam"], check=True, timeout=20,
                       env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": libraries})
        self.wait_for_socket(self.socket)

    def stop(self):
        super().stop()
        number = self.run / "saslauthd.pid"
        if number.exists():
            proc.kill_family(int(number.read_text()), "saslauthd")
        for path in self.run.iterdir():
            path.unlink()

    def hang(self):
        self.fake = base.Fake(self.socket, base.silent)

    def garbage(self):
        self.fake = base.Fake(self.socket, base.saying(base.NOISE))

    def mapping(self):
        return {"/run/saslauthd/mux": self.socket}
