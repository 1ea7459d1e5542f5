"""Certificates for tests: good ones, and those that have to be refused."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.authority import Authority

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Files:
    """A certificate, its key, and the authority that its holder trusts."""

    certificate: Path
    key: Path
    ca: Path

    def server(self, *, mutual: bool) -> dict[str, Path]:
        """Settings of a server that has them, which asks callers for a certificate or not."""
        own = {"tls_certificate_file": self.certificate, "tls_key_file": self.key}
        return {**own, "tls_client_ca_file": self.ca} if mutual else own

    def client(self) -> dict[str, str]:
        """Variables of a caller that has them."""
        return {
            "CLIENT_TLS_CA_FILE": str(self.ca),
            "CLIENT_TLS_CERTIFICATE_FILE": str(self.certificate),
            "CLIENT_TLS_KEY_FILE": str(self.key),
        }

    def variables(self) -> dict[str, str]:
        """Variables of a server that asks callers for a certificate, and of what it calls."""
        own = self.server(mutual=True)
        return {**{f"SERVER_{name.upper()}": str(path) for name, path in own.items()}, **self.client()}


@dataclass
class Certificates:
    """An authority, and a folder for what it signs."""

    folder: Path
    authority: Authority = field(default_factory=lambda: Authority.make("the authority of a test", HOUR))

    def issue(self, name: str, *hosts: str, ends: timedelta = HOUR, server: bool = True, file: str = "") -> Files:
        """Makes a certificate, in files that are replaced one after another where they exist."""
        self.folder.mkdir(exist_ok=True)
        base = self.folder / (file or name)
        issued = self.authority.issue([name, *hosts], server=server, ends=datetime.now(UTC) + ends)
        files = Files(base.with_suffix(".crt"), base.with_suffix(".key"), self.folder / "ca.crt")
        files.certificate.write_bytes(issued.certificate)
        files.key.write_bytes(issued.key)
        if not files.ca.exists():
            files.ca.write_bytes(self.authority.own().certificate)
        return files
