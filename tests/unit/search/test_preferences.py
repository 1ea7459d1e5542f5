"""Dislikes behave alike in Redis and in memory; Redis being down differs from having none."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog

from services.contract.errors import InvalidInput, Upstream
from services.search.append_only_file import REWRITE_PERIOD_S
from services.search.filters.colours import DislikedColour
from services.search.preferences import (
    MAX_REMEMBERED_S,
    MemoryPreferences,
    PreferenceStore,
    RedisPreferences,
    disliked_colours_key,
    validate_user_id,
)
from services.stack.embedded_redis import embedded_redis
from tests.support.waiting import eventually


@pytest.fixture(params=["redis", "memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[PreferenceStore]:
    if request.param == "memory":
        yield MemoryPreferences()
        return
    connected = RedisPreferences(request.getfixturevalue("redis_url"), timeout_s=5)
    yield connected
    await connected.close()


async def test_an_unknown_user_dislikes_nothing(store: PreferenceStore) -> None:
    assert await store.disliked_colours("ann") == ()
    assert await store.remove("ann", ["Red"]) == ()
    assert await store.forget("ann") is False


async def test_dislikes_add_up_in_alphabetical_order(store: PreferenceStore) -> None:
    await store.add("ann", [DislikedColour("Red"), DislikedColour("Blue", exact=True)])
    added = await store.add("ann", [DislikedColour("Black")])
    assert added == (DislikedColour("Black"), DislikedColour("Blue", exact=True), DislikedColour("Red"))
    assert await store.disliked_colours("ann") == added
    assert await store.disliked_colours("bob") == ()


async def test_naming_a_colour_again_replaces_whether_it_is_exact(store: PreferenceStore) -> None:
    await store.add("ann", [DislikedColour("Blue", exact=True)])
    assert await store.add("ann", [DislikedColour("Blue")]) == (DislikedColour("Blue"),)
    both = [DislikedColour("Blue"), DislikedColour("Blue", exact=True)]
    assert await store.add("ann", both) == (DislikedColour("Blue", exact=True),)


async def test_removing_leaves_the_others(store: PreferenceStore) -> None:
    await store.add("ann", [DislikedColour("Red"), DislikedColour("Blue")])
    assert await store.remove("ann", ["Red", "Never named"]) == (DislikedColour("Blue"),)


async def test_forgetting_erases_everything_once(store: PreferenceStore) -> None:
    await store.add("ann", [DislikedColour("Red")])
    assert await store.forget("ann") is True
    assert await store.disliked_colours("ann") == ()
    assert await store.forget("ann") is False


async def test_a_user_whose_last_dislike_is_removed_leaves_no_trace(store: PreferenceStore) -> None:
    await store.add("ann", [DislikedColour("Red")])
    await store.remove("ann", ["Red"])
    assert await store.forget("ann") is False


async def test_redis_holds_a_hash_of_colour_to_family_or_exact(redis_url: str) -> None:
    store = RedisPreferences(redis_url, timeout_s=5)
    await store.add("ann", [DislikedColour("Red"), DislikedColour("Blue", exact=True)])
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.keys() == ["fashion:user:ann:disliked_colours"]
        assert client.hgetall(disliked_colours_key("ann")) == {"Red": "family", "Blue": "exact"}
        assert client.ttl(disliked_colours_key("ann")) == -1
        # An unknown value counts as the family.
        client.hset(disliked_colours_key("ann"), "Blue", "somehow")
    assert await store.disliked_colours("ann") == (DislikedColour("Blue"), DislikedColour("Red"))
    await store.close()


async def test_a_key_of_another_type_is_told_as_unavailable(redis_url: str) -> None:
    store = RedisPreferences(redis_url, timeout_s=5)
    with redis.Redis.from_url(redis_url) as client:
        client.set(disliked_colours_key("ann"), "no hash")
    with pytest.raises(Upstream):
        await store.disliked_colours("ann")
    await store.close()


async def test_without_redis_every_method_says_so(tmp_path: Path) -> None:
    store = RedisPreferences(f"unix://{tmp_path}/nobody.sock", timeout_s=1)
    for call in (
        lambda: store.disliked_colours("ann"),
        lambda: store.add("ann", [DislikedColour("Red")]),
        lambda: store.remove("ann", ["Red"]),
        lambda: store.forget("ann"),
    ):
        with pytest.raises(Upstream) as error:
            await call()
        assert error.value.reason == "PREFERENCES_UNAVAILABLE"
    await store.close()


@pytest.mark.parametrize("user_id", ["", "a b", "a\nb", "x" * 129, "a\x00"])
def test_a_user_id_is_printable_without_white_space(user_id: str) -> None:
    with pytest.raises(InvalidInput) as error:
        validate_user_id(user_id)
    assert error.value.reason == "USER_ID_INVALID"


@pytest.mark.parametrize("user_id", ["a", "x" * 128, "ann@example.org", "žofie", "a:b"])
def test_a_good_user_id_stays_as_it_is(user_id: str) -> None:
    assert validate_user_id(user_id) == user_id


async def test_what_redis_said_last_is_remembered_within_bounds_and_forgotten_with_the_user(redis_url: str) -> None:
    store = RedisPreferences(redis_url, timeout_s=5, max_remembered=2)
    try:
        for user in ("ann", "bob", "cleo"):
            await store.add(user, [DislikedColour("Red")])
        assert [store.last_known(user) for user in ("ann", "bob", "cleo")] == [(), *[(DislikedColour("Red"),)] * 2]
        await store.disliked_colours("ann")
        await store.remove("cleo", ["Red"])
        assert store.last_known("ann") == (DislikedColour("Red"),)
        assert store.last_known("bob") == store.last_known("cleo") == ()
        await store.forget("ann")
        assert store.last_known("ann") == ()
    finally:
        await store.close()


async def test_what_is_remembered_ends_after_an_hour(redis_url: str) -> None:
    now = [0.0]
    store = RedisPreferences(redis_url, timeout_s=5, clock=lambda: now[0])
    other = RedisPreferences(redis_url, timeout_s=5)
    red = DislikedColour("Red")
    try:
        for user in ("ann", "bob"):
            await store.add(user, [red])
        await other.forget("ann")
        now[0] = MAX_REMEMBERED_S
        assert store.last_known("ann") == (red,)
        await store.disliked_colours("bob")
        now[0] += 1
        assert (store.last_known("ann"), store.last_known("bob")) == ((), (red,))
    finally:
        await store.forget("bob")
        await store.close()
        await other.close()


async def test_an_erased_user_is_no_longer_in_the_files_of_redis(tmp_path: Path) -> None:
    def is_on_disk() -> bool:
        held = False
        for each in [*tmp_path.rglob("appendonly*")]:
            # Redis may remove it meanwhile.
            with suppress(FileNotFoundError, IsADirectoryError):
                held |= b"Zebulon" in each.read_bytes()
        return held

    now = [0.0]
    with embedded_redis(tmp_path) as server:
        store = RedisPreferences(server.url, timeout_s=5, clock=lambda: now[0])
        try:
            await store.add("Zebulon", [DislikedColour("Red")])
            await store.forget("Zebulon")
            assert is_on_disk()
            await store.drop_erased()
            with redis.Redis.from_url(server.url) as admin:
                assert "cmdstat_bgrewriteaof" not in admin.info("commandstats"), "It is not time yet."
                now[0] = REWRITE_PERIOD_S
                await store.drop_erased()
                eventually(lambda: not is_on_disk(), "the erased user is still on the disk", 20)
                # Nobody was erased since.
                now[0] += REWRITE_PERIOD_S
                await store.drop_erased()
                assert admin.info("commandstats")["cmdstat_bgrewriteaof"]["calls"] == 1
        finally:
            await store.close()


async def test_a_redis_that_refuses_to_rewrite_its_file_is_named_in_the_log(redis_url: str) -> None:
    now = [0.0]
    with redis.Redis.from_url(redis_url) as admin, structlog.testing.capture_logs() as logged:
        admin.execute_command("ACL", "SETUSER", "former", "on", "nopass", "~*", "+@all", "-bgrewriteaof")
        store = RedisPreferences(redis_url.replace("://", "://former:any@"), timeout_s=5, clock=lambda: now[0])
        try:
            now[0] = REWRITE_PERIOD_S
            for _ in range(2):
                await store.drop_erased()
            now[0] += REWRITE_PERIOD_S
            await store.drop_erased()
        finally:
            await store.close()
            admin.execute_command("ACL", "DELUSER", "former")
    assert [each["log_level"] for each in logged] == ["warning"] * 2
    assert all("does not let its append-only file be rewritten" in each["event"] for each in logged)


def rewriting(admin: redis.Redis) -> bool:
    return bool(admin.info("persistence")["aof_rewrite_in_progress"])


async def test_a_rewriting_that_fails_is_asked_for_again(tmp_path: Path) -> None:
    now = [0.0]
    with embedded_redis(tmp_path) as server, redis.Redis.from_url(server.url) as admin:
        store = RedisPreferences(server.url, timeout_s=5, clock=lambda: now[0])
        try:
            for name in ("ada", "grace", "mary"):
                await store.add(name, [DislikedColour("Red")])
            await store.forget("ada")
            # A minute for each user.
            admin.config_set("rdb-key-save-delay", 60_000_000)
            now[0] = REWRITE_PERIOD_S
            await store.drop_erased()
            eventually(lambda: rewriting(admin), "it has not begun")
            server_pid = admin.info("server")["process_id"]
            (child,) = Path(f"/proc/{server_pid}/task/{server_pid}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
            eventually(lambda: not rewriting(admin), "it has not ended")
            admin.config_set("rdb-key-save-delay", 0)
            for calls in (2, 2):
                now[0] += REWRITE_PERIOD_S
                await store.drop_erased()
                eventually(lambda: not rewriting(admin), "it has not ended")
                assert admin.info("commandstats")["cmdstat_bgrewriteaof"]["calls"] == calls
        finally:
            await store.close()


async def test_a_redis_without_such_a_file_is_not_asked_to_write_one(tmp_path: Path) -> None:
    now = [0.0]
    with embedded_redis(tmp_path) as server, redis.Redis.from_url(server.url) as admin:
        admin.config_set("appendonly", "no")
        store = RedisPreferences(server.url, timeout_s=5, clock=lambda: now[0])
        try:
            now[0] = REWRITE_PERIOD_S
            await store.drop_erased()
            assert "cmdstat_bgrewriteaof" not in admin.info("commandstats")
        finally:
            await store.close()


async def test_a_redis_that_does_not_answer_is_asked_again_after_a_while() -> None:
    now = [0.0]
    store = RedisPreferences("redis://127.0.0.1:1", timeout_s=1, clock=lambda: now[0])
    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            now[0] += REWRITE_PERIOD_S
            for _ in range(5):
                await store.drop_erased()
    await store.close()
    assert [each["event"] for each in logged] == [
        "Redis was not asked to rewrite its append-only file; trying again later"
    ] * 2


@pytest.mark.parametrize("held", ["HGETALL", "DEL"])
async def test_what_is_read_beside_an_erasure_is_not_remembered(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    store, asked, go_on = RedisPreferences(redis_url, timeout_s=5), asyncio.Event(), asyncio.Event()
    ask = store._ask

    async def late(operation: str, answer: Any) -> Any:
        # A read has its answer, and does not see it before the erasure is over; an erasure begins after a read.
        fields = await ask(operation, answer) if operation == "HGETALL" else None
        if operation == held:
            asked.set()
            await go_on.wait()
        return await ask(operation, answer) if fields is None else fields

    try:
        await store.add("ada", [DislikedColour("Red")])
        monkeypatch.setattr(store, "_ask", late)
        calls = [store.disliked_colours("ada"), store.forget("ada")]
        first, second = calls if held == "HGETALL" else calls[::-1]
        waiting = asyncio.create_task(first)
        await asked.wait()
        await second
        go_on.set()
        await waiting
        assert store.last_known("ada") == ()
    finally:
        await store.close()


@pytest.mark.parametrize("change", ["add", "remove"])
async def test_what_is_read_beside_a_change_does_not_replace_what_the_change_has_told(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    store, asked, go_on = RedisPreferences(redis_url, timeout_s=5), asyncio.Event(), asyncio.Event()
    ask = store._ask

    async def late(operation: str, answer: Any) -> Any:
        # A read has its answer, and does not see it before the change is over.
        fields = await ask(operation, answer)
        if operation == "HGETALL":
            asked.set()
            await go_on.wait()
        return fields

    try:
        await store.add("ada", [DislikedColour("Red")])
        monkeypatch.setattr(store, "_ask", late)
        waiting = asyncio.create_task(store.disliked_colours("ada"))
        await asked.wait()
        if change == "add":
            told = await store.add("ada", [DislikedColour("Blue")])
        else:
            told = await store.remove("ada", ["Red"])
        go_on.set()
        await waiting
        assert store.last_known("ada") == told
    finally:
        await store.close()


@pytest.mark.parametrize("setting", ["maxmemory", "min-replicas-to-write"])
async def test_a_redis_that_refuses_says_so_and_its_cause_is_logged_once(redis_url: str, setting: str) -> None:
    store = RedisPreferences(redis_url, timeout_s=5)
    red = [DislikedColour("Red")]
    with redis.Redis.from_url(redis_url) as admin, structlog.testing.capture_logs() as logged:
        try:
            admin.config_set(setting, "1")
            for _ in range(3):
                with pytest.raises(Upstream, match="refuses commands") as refusal:
                    await store.add("ann", red)
                assert refusal.value.reason == "PREFERENCES_UNAVAILABLE"
        finally:
            admin.config_set(setting, "0")
        assert [line["event"] for line in logged] == ["Redis fails"]
        assert await store.add("ann", red) == tuple(red)
    await store.close()


async def test_a_redis_that_forbids_a_command_says_so(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", "shop", "on", ">secret", "~*", "+@connection")
        path = admin.connection_pool.connection_kwargs["path"]
    for password in ("secret", "wrong"):
        store = RedisPreferences(f"unix://shop:{password}@{path}", timeout_s=5)
        with pytest.raises(Upstream, match="refuses commands"):
            await store.disliked_colours("ann")
        await store.close()
