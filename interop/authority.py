"""A certificate authority of the test's own, for the carriers: whoever trusts it trusts nobody else."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

KEY = "ec -pkeyopt ec_paramgen_curve:prime256v1"


@dataclass
class Certificate:
    chain: Path
    key: Path


class Authority:
    """Makes its own key at construction; both kinds of file are PEM, good for two days."""

    def __init__(self, folder, name="carrier test authority"):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificate = self.folder / "ca.pem"
        self._key = self.folder / "ca.key"
        _openssl(f"req -x509 -newkey {KEY} -nodes -days 2", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate)

    def issue(self, name, address):
        """A server's certificate with this host name and address."""
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        made = Certificate(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        _openssl(f"req -newkey {KEY} -nodes", "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
        extensions.write_text(
            f"subjectAltName=DNS:{name},IP:{address}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
            "keyUsage=digitalSignature\n"
        )
        files = ["-in", request, "-CA", self.certificate, "-CAkey", self._key, "-extfile", extensions, "-out", made.chain]
        _openssl("x509 -req -days 2 -CAcreateserial", *files)
        return made


def _openssl(words, *more):
    command = ["openssl", *words.split(), *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
