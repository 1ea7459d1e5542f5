#!/usr/bin/env bash
# gRPC, Python, asyncio: a call that a server aborts keeps its request until a full collection of garbage.
#
# Seen on 2026-11-29 with grpcio 1.85.1, Python 3.11, Linux x86_64.
#
# A good engineer would guess: once a call has ended, nothing is left of it, whether it was answered or aborted. So a
# server that collects garbage rarely, as one with many objects does, holds no more for it.
#
# What happens: `context.abort` raises an error that the call itself keeps. The traceback of that error has the frames of
# the handler, these have the context, and the context has the call: a circle. Whatever else the frames name, such as the
# photograph that was refused, stays in memory with it. A call that is answered leaves nothing, and neither does one whose
# handler sets code and details and returns.
#
# Output seen:
#   answered: 0 of 20 requests are held
#   set_code and return: 0 of 20 requests are held
#   abort: 20 of 20 requests are held, 1 after a collection
#
# Exits with 1 once an aborted call holds nothing.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check grpcio==1.85.1

cat > abort.py <<'PYTHON'
import asyncio
import gc
import sys
import weakref

import grpc

CALLS = 20
held = []


class Photograph:
    """What a request is about."""


def of_request():
    photograph = Photograph()
    held.append(weakref.ref(photograph))
    return photograph


async def answered(request, context):
    photograph = of_request()
    return b"fine"


async def set_code(request, context):
    photograph = of_request()
    context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
    context.set_details("no photograph")


async def aborted(request, context):
    photograph = of_request()
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no photograph")


async def main():
    ways = {"answered": answered, "set_code and return": set_code, "abort": aborted}
    names = {name: name.split()[0] for name in ways}
    server = grpc.aio.server()
    handlers = {names[name]: grpc.unary_unary_rpc_method_handler(way) for name, way in ways.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Search", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    left = {}
    gc.collect()
    gc.disable()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for name in ways:
            held.clear()
            for _ in range(CALLS):
                try:
                    await channel.unary_unary(f"/shop.Search/{names[name]}")(b"")
                except grpc.aio.AioRpcError as error:
                    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            await asyncio.sleep(0.5)
            left[name] = sum(each() is not None for each in held)
            after = ""
            if left[name]:
                for _ in range(3):
                    gc.collect()
                    await asyncio.sleep(0.1)
                after = f", {sum(each() is not None for each in held)} after a collection"
            print(f"{name}: {left[name]} of {CALLS} requests are held{after}")
    await server.stop(None)
    return left


left = asyncio.run(main())
sys.exit(0 if left["abort"] and not left["answered"] and not left["set_code and return"] else 1)
PYTHON
venv/bin/python abort.py
