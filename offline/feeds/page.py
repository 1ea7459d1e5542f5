"""The report on an ingest as a page: counts, every row that was left out or repaired, photographs of what failed."""

import base64
import html
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from offline.dataset.report import DatasetReport
from offline.ingest import IngestReport

_MAX_PICTURES = 200
_PICTURE_PIXELS = 120
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; overflow-wrap: anywhere;
  padding: 1.5rem 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0 1rem; }
dl { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); margin: 1rem 0; }
dl div { background: var(--faint); border-radius: .5rem; padding: .6rem .8rem; }
dt { font-size: .85rem; opacity: .75; } dd { font-size: 1.4rem; font-variant-numeric: tabular-nums; margin: 0; }
.rows { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .45rem .6rem; text-align: left; vertical-align: top; }
th { font-size: .85rem; font-weight: 600; opacity: .75; overflow-wrap: normal; }
td { overflow-wrap: anywhere; } td.place, td.id { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.id { max-width: 14rem; overflow: hidden; text-overflow: ellipsis; }
img { background: #fff; border-radius: .25rem; display: block; max-height: 5rem; max-width: 5rem; }
.none { opacity: .6; }
@media (max-width: 40rem) {
  table, tbody, tr, td { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  tr:first-child { display: none; }
  td, td.id { border: 0; max-width: none; padding: .1rem 0; white-space: normal; }
  td.place, td.id { display: inline; font-weight: 600; margin-right: .75rem; }
}
"""


def report_page(report: IngestReport, photograph: Callable[[str], bytes]) -> Iterator[str]:
    """Yields the parts of a report as a page that needs no other file.

    Args:
        report: the report.
        photograph: returns the photograph of a product; any error means that there is none.
    """
    read = report.dataset
    facts = [
        ("rows read", read.rows_read),
        ("created", report.created),
        ("updated", report.updated),
        ("unchanged", report.unchanged),
        ("deleted", len(report.deleted)),
        *([("not deleted", len(report.not_deleted))] if report.not_deleted else []),
        ("failed", len(report.failures)),
        ("dropped", read.rows_dropped),
        ("left out", read.rows_left_out),
        ("merged", read.rows_merged),
        ("repaired", read.rows_repaired),
    ]
    pictures = {failure.id: _picture(photograph, failure.id) for failure in report.failures[:_MAX_PICTURES]}
    failures = (
        (
            _place(read, failure.line),
            html.escape(failure.id),
            pictures.get(failure.id, ""),
            _said(failure.message, failure.reason),
        )
        for failure in report.failures
    )
    kinds: Counter[str] = Counter(each.kind for each in read.findings)
    yield (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Ingest of {html.escape(read.path)}</title>\n<style>{_STYLE}</style>\n"
        f"<h1>{html.escape(read.layout)}: {html.escape(read.path)}</h1>\n"
        f"<p>{report.rows_done:,} of {report.rows_chosen:,} products in {report.seconds:,.1f} s"
        f"{'' if report.complete else '; <strong>not finished</strong>'}"
        f"{'' if read.complete else '; <strong>the source is cut off</strong>'}.</p>\n"
        "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{count:,}</dd></div>" for name, count in facts) + "</dl>\n"
    )
    yield from _table("Failed", ("place", "id", "photograph", "what happened"), len(report.failures), failures)
    yield from _table(
        "Further photographs left out",
        ("place", "id", "photograph", "what happened"),
        len(report.photographs_left_out),
        (
            (
                _place(read, each.line),
                html.escape(each.id),
                html.escape(each.name),
                _said(each.message, each.reason),
            )
            for each in report.photographs_left_out
        ),
    )
    for kind, heading in (("dropped", "Dropped"), ("left out", "Left out by the shop"), ("repaired", "Repaired")):
        found = (each for each in read.findings if each.kind == kind)
        rows = ((_place(read, each.line), html.escape(each.id), html.escape(each.reason)) for each in found)
        yield from _table(heading, ("place", "id", "reason"), kinds[kind], rows)
    notes = ((html.escape(each.reason),) for each in read.findings if each.kind == "note")
    yield from _table("Notes", ("note",), kinds["note"], notes)
    deleted = ((html.escape(each),) for each in report.deleted)
    yield from _table("Deleted: no longer in the feed", ("id",), len(report.deleted), deleted)
    not_deleted = ((html.escape(each.id), _said(each.message, each.reason)) for each in report.not_deleted)
    yield from _table("Not deleted", ("id", "what happened"), len(report.not_deleted), not_deleted)
    yield "</html>\n"


def _place(read: DatasetReport, line: int) -> str:
    return f"{html.escape(read.place)} {line:,}" if line else ""


def _said(message: str, reason: str) -> str:
    return f'{html.escape(message)} <span class="none">{html.escape(reason)}</span>'


def _table(heading: str, columns: Sequence[str], count: int, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    if not count:
        return
    head = "".join(f"<th>{column}</th>" for column in columns)
    yield f'<h2>{heading} ({count:,})</h2><div class="rows"><table><tr>{head}</tr>'
    for row in rows:
        cells = (f'<td class="{column}">{cell}</td>' for column, cell in zip(columns, row, strict=True))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</table></div>\n"


def _picture(photograph: Callable[[str], bytes], product_id: str) -> str:
    """Returns a small picture within the page, or what stands for one that cannot be shown."""
    # Only the page needs it.
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(photograph(product_id)))
        with image:
            image.draft("RGB", (_PICTURE_PIXELS, _PICTURE_PIXELS))
            image.thumbnail((_PICTURE_PIXELS, _PICTURE_PIXELS))
            small = io.BytesIO()
            image.convert("RGB").save(small, "JPEG", quality=80)
    except Exception:
        # Most of what failed has no picture; that is what the row says.
        return '<span class="none">none</span>'
    data = base64.b64encode(small.getvalue()).decode()
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
