"""The page's sections, and those of pictures: photos by method, and maps beside what they have to differ from."""

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from rsrl_ray.analysis.page.album import Album, longest
from rsrl_ray.analysis.page.gallery import Gallery


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


def photo_section(album: Album, environment: Environment, rounds: int) -> Section:
    """What each method never kept, dropped most and took back; a photo that is clicked shows its history.

    rounds : that the sweep asks for.
    """
    write: Any = environment.get_template("photos.html").module
    parts = tuple((f"photos-{place}", method) for place, method in enumerate(album.lists, 1))
    return Section("photos", "Photos", write.photos(album, longest(len(album.lists)), rounds), parts)


def map_section(gallery: Gallery, album: Album, environment: Environment) -> Section:
    """The cards of the gallery, and how many of their maps say anything. album : holds their photos."""
    write: Any = environment.get_template("photos.html").module
    return Section("maps", "Highlight maps", write.maps(gallery, album))
