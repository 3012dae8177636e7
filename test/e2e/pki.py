"""A certificate authority and certificates of the tests' own, made by the openssl command."""

import subprocess

# Any client of the tests may call the server by any of these.
NAMES = "DNS:mail.example.test, DNS:localhost, IP:127.0.0.1"


def openssl(*arguments, **options):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, timeout=30, **options)
    assert done.returncode == 0, f"openssl {' '.join(map(str, arguments))}: {done.stderr.decode()}"
    return done.stdout


def _new_key(path, kind):
    if kind == "rsa":
        openssl("genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", path)
    else:
        openssl("genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    path.chmod(0o600)


class Certificate:
    def __init__(self, folder, name):
        self.chain = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"

    def __str__(self):
        """As `certificate =` takes it."""
        return f"{self.chain} {self.key}"


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self.key = folder / "ca.key"
        _new_key(self.key, "ecdsa")
        openssl("req", "-x509", "-new", "-key", self.key, "-out", self.certificate, "-days", 2,
                "-subj", "/CN=Tests of Vestibule", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.certificate.chmod(0o644)

    def issue(self, name, kind="ecdsa", names=NAMES, days=90):
        issued = Certificate(self.folder, name)
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName = {names}\nbasicConstraints = CA:FALSE\n")
        _new_key(issued.key, kind)
        request = openssl("req", "-new", "-key", issued.key, "-subj", f"/CN={name}")
        leaf = openssl("x509", "-req", "-CA", self.certificate, "-CAkey", self.key, "-days", days,
                       "-extfile", extensions, input=request)
        issued.chain.write_bytes(leaf + self.certificate.read_bytes())
        issued.chain.chmod(0o644)
        return issued
