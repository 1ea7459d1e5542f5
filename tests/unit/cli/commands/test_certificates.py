"""`fashion certificates create`: an authority, and certificates that prove what they should and nothing else."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cli.main import run
from services.contract.scopes import Scope
from services.serving.keys import Keys
from services.serving.tls import TlsFiles, read_files

SERVERS = ("embedder", "classifier", "search", "gateway", "redis")


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def names(file: Path) -> set[str]:
    shown = certificate(file).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in shown}


def test_each_service_gets_what_it_needs_and_only_its_owner_reads_the_keys(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    assert run(["certificates", "create", str(folder), "--name", "shop.example", "--days", "30"]) == 0
    authority = certificate(folder / "ca.crt")
    for name in (*SERVERS, "client"):
        place = folder / name
        read_files(TlsFiles(place / "tls.crt", place / "tls.key", place / "ca.crt"), "server")
        issued = certificate(place / "tls.crt")
        issued.verify_directly_issued_by(authority)
        assert (issued.not_valid_after_utc - issued.not_valid_before_utc).days == 30
        usages = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert (ExtendedKeyUsageOID.SERVER_AUTH in usages) is (name in SERVERS)
        local = {"localhost", "127.0.0.1", "::1", "shop.example"} if name in SERVERS else set()
        # Those of the next model, during a change of the model, and replicas of search have the same certificate.
        of_next = {f"{name}-next"} if name in {"embedder", "classifier"} else set()
        replicas = {"search-replica"} if name == "search" else set()
        own = {name, *of_next, *replicas}
        # A shop's backend in another namespace of Kubernetes can use no shorter name.
        ends = ("fashion", "fashion.svc", "fashion.svc.cluster.local") if name in {"search", "gateway"} else ()
        assert names(place / "tls.crt") == own | {f"{each}.{end}" for each in own for end in ends} | local
    secret = [*folder.rglob("*.key"), *folder.rglob("*.json"), *folder.rglob("password")]
    assert len(secret) == 9 and all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in secret)
    exports = dict(line.removeprefix("export ").split("=") for line in (folder / "client.env").read_text().splitlines())
    assert exports == {
        f"CLIENT_TLS_{variable}_FILE": str(folder / "client" / file)
        for variable, file in (("CA", "ca.crt"), ("CERTIFICATE", "tls.crt"), ("KEY", "tls.key"))
    }
    keys = Keys.read(folder / "keys" / "keys.json")
    scopes = {name: key.allows for name in (*SERVERS, "client") if (key := keys.by_certificate([name]))}
    assert scopes == {
        "classifier": Scope.READ,
        # A replica passes writes on to the search that has the catalogue.
        "search": Scope.WRITE,
        "gateway": Scope.ADMIN,
        "client": Scope.ADMIN,
    }


def test_a_second_time_renews_the_certificates_under_the_same_authority(tmp_path: Path) -> None:
    assert run(["certificates", "create", str(tmp_path)]) == 0
    keys = tmp_path / "keys" / "keys.json"
    keys.write_text('{"keys": []}')
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    assert run(["certificates", "create", str(tmp_path)]) == 0
    changed = {file.relative_to(tmp_path) for file, content in before.items() if file.read_bytes() != content}
    assert changed == {Path(name) / f"tls.{end}" for name in (*SERVERS, "client") for end in ("crt", "key")}


@pytest.mark.parametrize("arguments", [["--name", "böse name"], []])
def test_what_is_no_authority_and_what_is_no_host_is_refused(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if not arguments:
        (tmp_path / "ca.key").write_text("nothing")
        (tmp_path / "ca.crt").write_text("nothing")
    assert run(["certificates", "create", str(tmp_path), *arguments]) == 2
    assert "CERTIFICATES_INVALID" in capsys.readouterr().err
