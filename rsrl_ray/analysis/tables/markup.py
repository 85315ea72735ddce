"""A table of text, in LaTeX and in Markdown."""

import re
from dataclasses import dataclass

from rsrl_ray.analysis.numbers.words import NOTHING

_LATEX = str.maketrans(
    {mark: f"\\{mark}" for mark in "{}$&#%_"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    | {"[": "{[}", "*": "{*}"}  # at a row's start, \\ and \midrule before it would read them as their options
    | {"±": r"$\pm$", "−": "$-$", NOTHING: "--"}  # noqa: RUF001
)
_MARKDOWN = re.compile(r"([\\`*_{}<>|~#\[\]])")
Cells = tuple[str, ...]


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    name : of its file, without suffix. text : how many of the first columns hold text, not numbers.
    lines : after which rows (counted from 1) a line is drawn. method : the one that it is about; "" if all.
    """

    name: str
    caption: str
    columns: Cells
    rows: tuple[Cells, ...]
    text: int = 1
    lines: tuple[int, ...] = ()
    method: str = ""


def latex(table: TextTable) -> str:
    """The table as a LaTeX float; it needs the package booktabs."""
    body = []
    for number, row in enumerate(table.rows, 1):
        body.append(f"    {_latex_row(row)}")
        if number in table.lines and number < len(table.rows):
            body.append(r"    \midrule")
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table*}[t]",
        r"  \centering",
        r"  \footnotesize\setlength{\tabcolsep}{4pt}",  # nine columns fit the width of a two-column page
        rf"  \caption{{{_escape(table.caption)}}}",
        rf"  \label{{tab:{table.name}}}",
        rf"  \begin{{tabular}}{{@{{}}{'l' * table.text}{'r' * (len(table.columns) - table.text)}@{{}}}}",
        r"    \toprule",
        f"    {_latex_row(table.columns)}",
        r"    \midrule",
        *body,
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def markdown(table: TextTable) -> str:
    """The table in Markdown, without its caption."""
    marks = ["---"] * table.text + ["--:"] * (len(table.columns) - table.text)
    rows = [_markdown_row(table.columns), f"| {' | '.join(marks)} |", *map(_markdown_row, table.rows)]
    return "\n".join(rows) + "\n"


def _escape(text: str) -> str:
    return " ".join(text.split()).translate(_LATEX)


def _latex_row(cells: Cells) -> str:
    return rf"{' & '.join(_escape(cell) for cell in cells)} \\"


def _markdown_row(cells: Cells) -> str:
    escaped = (_MARKDOWN.sub(r"\\\1", " ".join(cell.split())) for cell in cells)
    return f"| {' | '.join(escaped)} |"
