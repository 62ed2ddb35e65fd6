"""The table of a report: cells of text, and the formats they are printed in.

In: node reports. Out: text, Markdown, CSV, HTML.
"""

from __future__ import annotations

import csv
import html as html_escapes
import io
from collections.abc import Sequence
from itertools import chain
from math import inf

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from rfgraph.report.axis import AxisReads, figures
from rfgraph.report.field import ReceptiveField
from rfgraph.report.figures import each, number
from rfgraph.report.node import NodeReport

Row = tuple[str, ...]
_MOST_CAUSES = 3
_GAP = " " * 3


def header() -> Row:
    """The names of the columns."""
    return ("node", "op", *figures("table"), "notes")


def rows_of(node: NodeReport, several_inputs: bool) -> list[Row]:
    """One row for each input that the node reads; one row of dashes where it reads none."""
    if not node.rfs:
        dashes = ["-"] * len(figures("table"))
        return [(node.name, node.op, *dashes, "reads no tracked input")]
    return [
        (
            node.name,
            node.op,
            *(_cell(field, name) for name in figures("table")),
            "; ".join(([f"of {name}"] if several_inputs else []) + notes(field)),
        )
        for name, field in node.rfs.items()
    ]


def _cell(field: ReceptiveField, name: str) -> str:
    """A figure of the field; of its local part, where the reads have no bound and the figure hides it."""
    values = getattr(field, name)
    if not _is_endless(field) or inf in values:
        return each(map(_unbounded, values, field), number)
    return "-" if field.local is None else each(getattr(field.local, name), number)


def _is_endless(field: ReceptiveField) -> bool:
    """At any size; where the answer holds at this size only, all has an end."""
    return any(field.whole) or any(field.unbounded)


def _unbounded(value: object, reads: AxisReads) -> object:
    """An infinite figure of a past read is not that of the whole axis."""
    return "unbounded" if value == inf and reads.unbounded else value


def notes(field: ReceptiveField) -> list[str]:
    """What the figures of a row do not say."""
    told: list[str] = []
    local = field.local
    if _is_endless(field):
        told.append(f"local {each(local.size, number)}" if local is not None else "nothing local")
    if local is not None:
        ranges = [pair for pair in local.size_range if pair is not None and pair[0] != pair[1]]
        if ranges:
            over = "sizes " if None in local.period else "phases "  # of positions, borders included
            told.append(over + each(local.size_range, _range))
        if any(local.holes):
            told.append("holes " + each(local.holes, number))
    if any(field.whole):
        told.append("whole: " + _causes(field))
    elif any(field.unbounded):
        told.append(f"unbounded past, look-ahead {each(field.lookahead, number)}: {_causes(field)}")
    if any(field.united):
        told.append("a bound: of channels that read differently")
    if not all(field.closed_form):
        told.append("this size only: " + _some(field.limits))
    if field.marks:
        told.append(_some(field.marks))
    return told


def _range(pair: tuple[float, float] | None) -> str:
    return "?" if pair is None else "-".join(dict.fromkeys(map(number, pair)))


def _causes(field: ReceptiveField) -> str:
    first, *others = (reads.causes for reads in field)
    alike = all(each == first for each in others)
    causes = first if alike else tuple(dict.fromkeys(chain(first, *others)))
    unknown = [origin for origin in causes if origin.text == "unknown"]
    if unknown:
        causes = (*unknown, *(origin for origin in causes if origin.text != "unknown"))
    return _some([(kind, node) for node, kind in causes], len(unknown) + _MOST_CAUSES)


def _some(told: Sequence[tuple[str, str]], most: int = _MOST_CAUSES) -> str:
    rest = f" and {len(told) - most} more" if len(told) > most else ""
    return ", ".join(f"{text} ({place})" for place, text in told[:most]) + rest


def rich_table(rows: Sequence[Row]) -> Table:
    """The rows as a rich table."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in header():
        numbers = column in figures("table")
        made.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def text(heading: str, rows: Sequence[Row]) -> str:
    """Plain text, as wide as it needs to be."""
    lines = [header(), *rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    is_number = [name in figures("table") for name in header()]
    columns = list(zip(widths, is_number, strict=True))
    made = [" " + _GAP.join(map(_padded, line, columns)).rstrip() for line in lines]
    rule = " " + "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
    return "\n".join(
        [*(line.rstrip() for line in heading.splitlines()), "", made[0], rule, *made[1:]]
    )


def _padded(cell: str, column: tuple[int, bool]) -> str:
    """As wide as its column: text on the left, numbers on the right."""
    width, is_number = column
    blank = " " * (width - cell_len(cell))
    return blank + cell if is_number else cell + blank


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [header(), tuple("---" for _ in header()), *rows]
    escaped = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {line} |\n" for line in escaped)


def csv_text(rows: Sequence[Row]) -> str:
    """Comma-separated values, with a header."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header(), *rows])
    return buffer.getvalue()


def html(rows: Sequence[Row]) -> str:
    """An HTML table, for notebooks."""

    def line(cells: Row, tag: str) -> str:
        inside = "".join(f"<{tag}>{html_escapes.escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inside}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header(), 'th')}</thead><tbody>{body}</tbody></table>"
