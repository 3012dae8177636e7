"""OpenLDAP's slapd from Debian's package, run from where it was unpacked."""

import base64
import os
import subprocess

from cred import base, over_tls
from mta import base as packages

import net
import pki
import proc

SUFFIX = "dc=example,dc=com"
SEARCHER = f"cn=vestibule,ou=services,{SUFFIX}"
PASSWORD = "who searches"

CONFIGURATION = """\
include {root}/etc/ldap/schema/core.schema
include {root}/etc/ldap/schema/cosine.schema
include {root}/etc/ldap/schema/inetorgperson.schema
modulepath {root}/usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCertificateFile {certificate.chain}
TLSCertificateKeyFile {certificate.key}
database mdb
maxsize 16777216
suffix "{suffix}"
directory {folder}/db
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{searcher}" read by * none
"""


def entry(name, classes, **values):
    """In LDIF; all values in base64, so that they may hold anything."""
    lines = [f"dn:: {_encoded(name)}", *(f"objectClass: {one}" for one in classes.split())]
    return "\n".join([*lines, *(f"{attribute}:: {_encoded(value)}" for attribute, value in values.items())]) + "\n\n"


def _encoded(text):
    return base64.b64encode(text.encode()).decode()


def person(login, password):
    return entry(f"uid={login},ou=people,{SUFFIX}", "inetOrgPerson", uid=login, cn=login, sn=login,
                 userPassword="{CRYPT}" + base.crypt_hash(password))


class Ldap(base.Store):
    name = "ldap"
    page = "ldap"

    def __init__(self, folder):
        super().__init__(folder)
        self.root = packages.unpacked("slapd")
        self.program = self.root / "usr/sbin/slapd"
        self.libraries = packages.library_path("slapd", [self.program])
        self.port, self.clear = net.free_port(), net.free_port()
        self.authority = pki.Authority(self.folder)
        self.certificate = self.authority.issue("directory")
        self.password = self.folder / "password"
        self.password.write_text(f"{PASSWORD}\n")
        self.configuration = self.folder / "slapd.conf"
        self.configuration.write_text(CONFIGURATION.format(
            root=self.root, folder=self.folder, certificate=self.certificate, suffix=SUFFIX, searcher=SEARCHER))
        (self.folder / "db").mkdir()
        self.load()
        self.daemon = None

    def load(self):
        entries = [entry(SUFFIX, "dcObject organization", dc="example", o="example"),
                   entry(f"ou=people,{SUFFIX}", "organizationalUnit", ou="people"),
                   entry(f"ou=services,{SUFFIX}", "organizationalUnit", ou="services"),
                   entry(SEARCHER, "applicationProcess simpleSecurityObject", cn="vestibule", userPassword=PASSWORD),
                   *(person(login, password) for login, password in base.USERS.items())]
        self.tool("-T", "add", "-q", stdin="".join(entries))

    def tool(self, *arguments, stdin=""):
        done = subprocess.run([self.program, *arguments, "-f", self.configuration], input=stdin, text=True,
                              capture_output=True, env=self.environment(), timeout=30)
        assert done.returncode == 0, done.stderr

    def environment(self):
        return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": self.libraries}

    def start(self):
        addresses = f"ldaps://127.0.0.1:{self.port}/ ldap://127.0.0.1:{self.clear}/"
        with (self.folder / "output").open("a") as output:
            self.daemon = subprocess.Popen([self.program, "-f", self.configuration, "-h", addresses, "-d", "0"],
                                           env=self.environment(), stdin=subprocess.DEVNULL,
                                           stdout=output, stderr=output)
        self.wait_for_socket(self.port, log=(self.folder / "output").read_text)

    def stop(self):
        super().stop()
        if self.daemon is not None:
            proc.kill_family(self.daemon.pid, "slapd")
            self.daemon.wait(10)
            self.daemon = None

    def hang(self):
        self.fake = base.Fake(self.port, base.silent)

    def garbage(self):
        self.fake = base.Fake(self.port, over_tls.inside(self.certificate, base.saying(base.NOISE)))

    def mapping(self):
        return {"ldaps://ldap.example.com/": f"ldaps://127.0.0.1:{self.port}/",
                "/etc/vestibule/ldap-password": self.password,
                "/etc/vestibule/ldap-ca.pem": self.authority.certificate}


class LdapNames(Ldap):
    """The same page, without a search."""

    name = "ldap-names"

    def mapping(self):
        mapping = super().mapping()
        del mapping["ldaps://ldap.example.com/"]
        mapping[f"ldaps://ldap.example.com/ou=people,{SUFFIX}?uid?sub?(objectClass=person)"] = \
            f"ldaps://127.0.0.1:{self.port}/uid=%u,ou=people,{SUFFIX}"
        return mapping
