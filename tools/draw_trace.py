"""Draws docs/images/trace.svg: the trace of one photograph, from real services with the shipped model.

python -m tools.draw_trace
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import httpx

from fashion.v1 import types_pb2
from services.stack.embedded_redis import embedded_redis
from tests.support.collector import Received, collector
from tests.support.gateways import KEY, bearer
from tests.support.processes import ROOT, gateway_service, services, wait_until_ready
from tests.support.running import calling
from tests.support.small_shop import photograph, rows
from tests.support.waiting import eventually, found_with_candidates

PICTURE = ROOT / "docs" / "images" / "trace.svg"
MODEL = str(ROOT / "models" / "fashion-resnet50")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
QUERIES = 30
SPANS = 14

WIDTH, ROW, LEFT, TOP, RIGHT = 1000, 26, 300, 66, 70
COLOURS = {
    "fashion-gateway": "#7c3aed",
    "fashion-search": "#2563eb",
    "fashion-embedder": "#d97706",
    "fashion-classifier": "#059669",
    "redis": "#dc2626",
}


def one_trace() -> Sequence[Received]:
    """Runs the services, and returns the spans of a photograph's query by a shopper who dislikes a colour."""
    with tempfile.TemporaryDirectory() as folder, collector() as received, embedded_redis(Path(folder) / "r") as redis:
        everywhere = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.grpc_url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "EMBEDDER_RUNTIME": "openvino",
            "EMBEDDER_BUNDLE": MODEL,
            "CLASSIFIER_BUNDLE": MODEL,
        }
        with services(Path(folder), redis.url, everywhere) as running, calling(running.search.target) as caller:
            caller.upsert(rows())
            caller.dislike("ada", "Yellow")
            content = photograph("Women Dresses", "Red", 12)
            found_with_candidates(caller, image=types_pb2.Image(content=content))
            gateway, url = gateway_service(
                Path(folder), running.search.target, GATEWAY_TOKEN_KEY=KEY, SERVER_LOG_LEVEL="warning", **everywhere
            )
            gateway.start()
            try:
                wait_until_ready(url)
                with httpx.Client(base_url=url, timeout=30, headers=bearer("ada")) as http:
                    # The last of many, when all is warm.
                    for number in range(QUERIES):
                        last = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"} if number == QUERIES - 1 else {}
                        answer = http.post(
                            "/v1/similar", files={"image": content}, data={"user_id": "ada"}, headers=last
                        )
                        answer.raise_for_status()
                eventually(lambda: len(received.spans(TRACE)) >= SPANS, "the trace is not complete")
            finally:
                gateway.terminate()
        return received.spans(TRACE)


def in_order(spans: Sequence[Received]) -> Iterator[tuple[int, Received]]:
    """Yields each span after its parent, with its depth."""
    known = {each.id for each in spans}

    def below(parent: str, depth: int) -> Iterator[tuple[int, Received]]:
        for each in spans:
            if each.parent_id == parent or (depth == 0 and each.parent_id not in known):
                yield depth, each
                yield from below(each.id, depth + 1)

    yield from below("", 0)


def text(x: float, y: float, content: str, size: int = 13, **attributes: str) -> str:
    """Returns a text."""
    given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{given}>{escape(content)}</text>'


def drawn(spans: Sequence[Received]) -> str:
    """Returns the picture: a row for each span, with a bar from its begin to its end."""
    begin = min(each.span.start_time_unix_nano for each in spans)
    total = max(each.span.end_time_unix_nano for each in spans) - begin
    height, scale = TOP + ROW * len(spans) + 16, (WIDTH - LEFT - RIGHT) / total
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        'fill="#1f2937" role="img" aria-label="A trace over gateway, search, embedder, classifier and Redis">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff" stroke="#d1d5db"/>',
    ]
    for index, (service, colour) in enumerate(COLOURS.items()):
        x = 20 + index * 130
        lines.append(f'<rect x="{x}" y="18" width="12" height="12" rx="3" fill="{colour}"/>')
        lines.append(text(x + 18, 29, service.removeprefix("fashion-")))
    ticks = 4
    for tick in range(ticks + 1):
        x, label = LEFT + (WIDTH - LEFT - RIGHT) * tick / ticks, f"{total * tick / ticks / 1e6:.1f} ms"
        lines.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 12}" stroke="#e5e7eb"/>')
        lines.append(text(x, TOP - 14, label, 11, fill="#6b7280", text_anchor="middle"))
    for row, (depth, each) in enumerate(in_order(spans)):
        y = TOP + row * ROW
        redis = "db.system.name" in each.attributes
        colour = COLOURS["redis" if redis else each.service]
        start = LEFT + (each.span.start_time_unix_nano - begin) * scale
        duration = each.span.end_time_unix_nano - each.span.start_time_unix_nano
        # A call is drawn lighter than the work that answers it.
        opacity = "0.45" if each.span.kind == each.span.SPAN_KIND_CLIENT and not redis else "1"
        lines.append(text(20 + depth * 14, y + 17, each.span.name.removeprefix("fashion.v1.")))
        lines.append(
            f'<rect x="{start:.1f}" y="{y + 5}" width="{max(duration * scale, 2):.1f}" height="{ROW - 10}" rx="3" '
            f'fill="{colour}" opacity="{opacity}"/>'
        )
        lines.append(text(start + max(duration * scale, 2) + 5, y + 17, f"{duration / 1e6:.2f}", 11, fill="#4b5563"))
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(drawn(one_trace()), encoding="utf-8")
