"""A section of the page."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Section:
    """A section of the page.

    id : its anchor. heading : its title (h2), also in the table of contents. html : what stands under it, as markup.
    parts : by anchor, those of its headings (h3) that the table of contents names too.
    """

    id: str
    heading: str
    html: Markup
    parts: tuple[tuple[str, str], ...] = ()
