"""How every figure looks: as wide as a column of a paper, 8 pt, in colours that colour-blind readers can tell apart."""

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

WIDTH = 3.4  # inches
DPI = 220  # of the PNGs: 750 pixels wide
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 8,
    "text.parse_math": False,  # a $ in the name of a method or photo stays a $
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.2,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "pdf.fonttype": 42,  # embedded TrueType: text in the PDF can be searched and edited
    "savefig.dpi": DPI,
}
styled = rc_context(STYLE)

# Okabe & Ito's colours without yellow, which is too pale for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.2)), (0, (1.2, 1)), (0, (5, 1.2, 1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v")
PALE = "#bdbdbd"
TOGETHER = 4  # methods that share one pair of axes; if there are more, each gets its own


def look(place: int) -> dict[str, Any]:
    """Colour and dashes of the method at ``place``; no two of the first 28 look the same."""
    return {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)]}


def groups(methods: Sequence[str]) -> list[list[str]]:
    """The methods that are drawn together: all of them, or, if there are many, each alone."""
    return [list(methods)] if len(methods) <= TOGETHER else [[method] for method in methods]


def shortened(name: str, length: int = 40) -> str:
    """A name that fits a legend."""
    return name if len(name) <= length else name[: length - 1] + "…"


def legend(figure: Figure, names: Sequence[str], handles: Sequence[Artist]) -> None:
    """Write names above the axes, in as many columns as their lengths allow."""
    names = [shortened(name) for name in names]
    columns = next((n for n in (4, 3, 2) if n * (max(map(len, names)) + 7) <= 64), 1)
    place: Any = "upper center" if figure.get_layout_engine() is None else "outside upper center"
    figure.legend(handles, names, loc=place, ncols=min(columns, len(names)), columnspacing=1.2)


def round_axis(axes: Axes, rounds: int, ticks: int = 6) -> None:
    """Give the axes an x-axis of whole round numbers."""
    if rounds == 1:
        axes.set_xlim(0.5, 1.5)
        axes.set_xticks([1])
    else:
        axes.set_xlim(1, rounds)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True, steps=[1, 2, 5, 10]))
