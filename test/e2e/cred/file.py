"""The users file."""

from cred import base


class File(base.Store):
    name = page = "file"
    remote = False

    def __init__(self, folder):
        super().__init__(folder)
        self.users = self.folder / "users"

    def start(self):
        self.users.write_text("".join(f"{login}:{base.crypt_hash(password)}\n" for login, password in base.USERS.items()))
        self.users.chmod(0o644)

    def mapping(self):
        return {"/etc/vestibule/users": self.users}
