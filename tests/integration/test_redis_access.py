"""Redis as compose and Kubernetes start it: one user with exactly the commands that the services need, and TLS."""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from fashion.v1 import search_pb2, types_pb2
from offline import dislikes
from services.contract.errors import Upstream
from services.search.append_only_file import REWRITE_PERIOD_S
from services.search.filters.colours import DislikedColour
from services.search.preferences import RedisPreferences, disliked_colours_key
from services.serving.settings import RedisSettings, read_settings
from services.stack.embedded_redis import find_redis_server
from tests.support.certificates import Certificates
from tests.support.processes import ROOT, free_port, services
from tests.support.running import calling
from tests.support.small_shop import photograph, rows
from tests.support.waiting import eventually, found_with_candidates

SCRIPT = ROOT / "deploy" / "kubernetes" / "base" / "start-redis.sh"
PASSWORD = "a pass/word: with @ll kinds of ch#racters"
ADMIN = "user admin on nopass ~* &* +@all\n"
# As docs/operating.md has it.
BACKUP = "user backup on #SHA256 ~fashion:* -@all +scan +hgetall +hset"


@contextlib.contextmanager
def started(folder: Path, executable: Path, certificates: Certificates | None = None) -> Iterator[dict[str, str]]:
    """Runs the script of the deployments; yields the variables of the services."""
    port, commands = free_port(), folder / "bin"
    for name in ("bin", "data", "secret", "tls"):
        (folder / name).mkdir()
    (commands / "redis-server").symlink_to(executable)
    (folder / "secret" / "password").write_text(PASSWORD + "\n")
    (folder / "secret" / "users").write_text(
        f"{ADMIN}{BACKUP.replace('SHA256', hashlib.sha256(PASSWORD.encode()).hexdigest())}\n"
    )
    variables = {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "REDIS_USERNAME": "fashion",
        "REDIS_PASSWORD_FILE": str(folder / "secret" / "password"),
    }
    listening = ["--port", str(port)]
    if certificates is not None:
        files = certificates.issue("redis", "127.0.0.1")
        for source, name in ((files.certificate, "tls.crt"), (files.key, "tls.key"), (files.ca, "ca.crt")):
            shutil.copy(source, folder / "tls" / name)
        listening = ["--tls-port", str(port)]
        variables |= {"REDIS_URL": f"rediss://127.0.0.1:{port}/0", "REDIS_CA_FILE": str(files.ca)}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["sh", str(SCRIPT), "--bind", "127.0.0.1", *listening],
            env=os.environ
            | {
                "PATH": f"{commands}:{os.environ['PATH']}",
                "SECRET_DIR": str(folder / "secret"),
                "TLS_DIR": str(folder / "tls"),
                "DATA_DIR": str(folder / "data"),
            },
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: b"ready to accept" in (folder / "log").read_bytes().lower(), "Redis does not start", 20)
        yield variables
    finally:
        server.terminate()
        server.wait(20)


def client(variables: dict[str, str], **options: object) -> redis.Redis:
    return redis.Redis.from_url(variables["REDIS_URL"], **options)


def use_everything(directory: Path, variables: dict[str, str]) -> str:
    """Lets the services do all that they do with Redis; returns their logs."""
    with services(directory, variables["REDIS_URL"], variables) as running, calling(running.search.target) as caller:
        caller.upsert(rows())
        shot = types_pb2.Image(content=photograph("Women Dresses", "Yellow", 10))
        found_with_candidates(caller, image=shot, top_k=1)
        assert [each.colour for each in caller.dislike("ann", "Yellow", "Red").colours] == ["Red", "Yellow"]
        assert caller.find(image=shot, user_id="ann", top_k=1).applied.excluded_colours == ["Red", "Yellow"]
        removed = search_pb2.RemoveDislikedColoursRequest(user_id="ann", colours=["Red"])
        assert len(caller.search.RemoveDislikedColours(removed, timeout=20).colours) == 1
        listed = search_pb2.ListDislikedColoursRequest(user_id="ann")
        assert len(caller.search.ListDislikedColours(listed, timeout=20).colours) == 1
        assert caller.search.ForgetUser(search_pb2.ForgetUserRequest(user_id="ann"), timeout=20).existed
        log = "".join(each.output() for each in running.all())
    # What search does ten minutes after somebody was erased.
    asyncio.run(rewrite(signed_in(variables)))
    return log


async def rewrite(url: str) -> None:
    times = iter([0.0, REWRITE_PERIOD_S, REWRITE_PERIOD_S])
    store = RedisPreferences(url, timeout_s=20, clock=lambda: next(times))
    await store.drop_erased()
    await store.close()


def signed_in(variables: dict[str, str]) -> str:
    """Returns the address of Redis with the user of the services and their authority."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        return read_settings(RedisSettings).redis_address()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], str]]:
    folder = tmp_path_factory.mktemp("redis-access")
    with started(folder, find_redis_server().path) as variables:
        yield variables, use_everything(folder, variables)


def test_the_services_need_every_command_that_they_may_run_and_no_other(plain: tuple[dict[str, str], str]) -> None:
    variables, log = plain
    assert "Redis fails" not in log and "cannot be read" not in log
    with client(variables, username="admin", password="", decode_responses=True) as admin:
        assert admin.acl_log() == []
        (rule,) = [line for line in admin.acl_list() if line.startswith("user fashion ")]
        ran = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
        # Snapshots would hold erased users.
        assert admin.config_get("save") == {"save": ""}
    allowed = {word[1:] for word in rule.split() if word.startswith("+")}
    # Nothing was refused, so that nothing is lacking; and nothing is allowed in vain.
    assert allowed <= ran
    assert "~fashion:*" in rule.split() and "-@all" in rule.split()


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "other:key"),
        ("HGETALL", "other:key"),
        ("HSET", "other:key", "field", "value"),
        ("SET", "fashion:key", "value"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("EVAL", "return 1", "0"),
        ("PUBLISH", "channel", "message"),
        ("ACL", "WHOAMI"),
        ("SHUTDOWN",),
        ("SAVE",),
    ],
    ids=lambda command: " ".join(command),
)
def test_everything_else_is_refused(plain: tuple[dict[str, str], str], command: tuple[str, ...]) -> None:
    variables, _ = plain
    with client(variables, username="fashion", password=PASSWORD) as allowed:
        assert allowed.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            allowed.execute_command(*command)


def test_the_documented_lines_are_these_and_backups_need_no_more(plain: tuple[dict[str, str], str]) -> None:
    variables, _ = plain
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    (rule,) = re.findall(r'"(user fashion on #\$hash [^"]*)"', SCRIPT.read_text(encoding="utf-8"))
    assert rule.replace("#$hash", ">PASSWORD") in page and BACKUP in page
    url = variables["REDIS_URL"].replace("://", f"://backup:{quote(PASSWORD, safe='')}@")
    dislikes.write(Path(), url, {"ann": {"Red": "exact"}})
    assert dislikes.read_from(url) == {"ann": {"Red": "exact"}}
    with client(variables, username="admin", password="") as admin:
        admin.delete(disliked_colours_key("ann"))


async def test_a_full_redis_refuses_dislikes_and_keeps_those_that_it_has(plain: tuple[dict[str, str], str]) -> None:
    variables, _ = plain
    url = variables["REDIS_URL"].replace("://", f"://fashion:{quote(PASSWORD, safe='')}@")
    store = RedisPreferences(url, timeout_s=5)
    red, blue = DislikedColour("Red"), DislikedColour("Blue")
    with client(variables, username="admin", password="", decode_responses=True) as admin:
        bound = admin.config_get("maxmemory*")
        assert (bound["maxmemory"], bound["maxmemory-policy"]) == (str(192 * 1024 * 1024), "noeviction")
        await store.add("bob", [red, blue])
        try:
            admin.config_set("maxmemory", 1)
            with pytest.raises(Upstream) as refusal:
                await store.add("bob", [DislikedColour("Green")])
            assert refusal.value.reason == "PREFERENCES_UNAVAILABLE"
            assert set(await store.disliked_colours("bob")) == {red, blue}
            # A shopper may take one back, or be forgotten.
            assert await store.remove("bob", ["Blue"]) == (red,)
        finally:
            admin.config_set("maxmemory", bound["maxmemory"])
            admin.delete(disliked_colours_key("bob"))
            await store.close()


@pytest.mark.parametrize("given", [{}, {"password": PASSWORD}, {"username": "fashion", "password": "wrong"}])
def test_nobody_else_comes_in(plain: tuple[dict[str, str], str], given: dict[str, str]) -> None:
    with client(plain[0], **given) as stranger, pytest.raises((redis.AuthenticationError, redis.ResponseError)):
        stranger.ping()


def test_a_wrong_password_is_told_in_the_log_without_it(plain: tuple[dict[str, str], str], tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("not-the-right-one")
    variables = plain[0] | {"REDIS_PASSWORD_FILE": str(wrong)}
    with services(tmp_path, variables["REDIS_URL"], variables) as running:
        eventually(lambda: "Redis fails" in running.search.output(), "search does not say that Redis refuses it")
        logs = "".join(each.output() for each in running.all())
    assert "WRONGPASS" in logs or "invalid username-password" in logs
    assert "not-the-right-one" not in logs


def speaks_tls(executable: str) -> bool:
    """Tells whether a Redis was built with TLS; one without ends with an error."""
    ended = subprocess.run(
        [executable, "--port", "0", "--tls-port", str(free_port()), "--save", ""],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return "tls-cert-file" in ended.stdout + ended.stderr


def test_the_services_reach_it_over_tls_and_check_its_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable = shutil.which("redis-server")
    if executable is None or not speaks_tls(executable):
        pytest.skip("no redis-server with TLS is on the PATH (Debian: redis-server)")
    with started(tmp_path, Path(executable), Certificates(tmp_path / "certificates")) as variables:
        use_everything(tmp_path, variables)
        other = Certificates(tmp_path / "other")
        other.issue("redis", "127.0.0.1")
        for name, value in (variables | {"REDIS_CA_FILE": str(tmp_path / "other" / "ca.crt")}).items():
            monkeypatch.setenv(name, value)
        address = read_settings(RedisSettings).redis_address()
        with redis.Redis.from_url(address) as distrustful, pytest.raises(redis.ConnectionError, match="CERTIFICATE"):
            distrustful.ping()
