"""The page's sections of pictures: photos by method, and highlight maps beside what they have to differ from."""

from typing import Any

from jinja2 import Environment

from rsrl_ray.analysis.page.album import Album, longest
from rsrl_ray.analysis.page.gallery import Gallery
from rsrl_ray.analysis.page.pictures import jpeg_uri
from rsrl_ray.analysis.page.section import Section


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
    drawn = {
        card.photo: [(caption, jpeg_uri(picture), *picture.size) for caption, picture in card.pictures.items()]
        for card in gallery.cards
    }
    words = {"verdict": _sentence(gallery.verdict), "random": _sentence(gallery.random)}
    return Section("maps", "Highlight maps", write.maps(gallery, album, words, drawn))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""
