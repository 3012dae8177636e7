"""The users file: some have a hash and a verifier, one has a verifier alone, so that SCRAM is offered too."""

import scram
from cred import base


class File(base.Store):
    name = page = "file"
    remote = False

    def __init__(self, folder):
        super().__init__(folder)
        self.users = self.folder / "users"

    def start(self):
        lines = []
        for login, password in base.USERS.items():
            if login != "bob":
                lines.append(f"{login}:{base.crypt_hash(password)}\n")
            lines.append(f"{login}:{scram.verifier(password)}\n")
        self.users.write_text("".join(lines))
        self.users.chmod(0o644)

    def mapping(self):
        return {"/etc/vestibule/users": self.users}
