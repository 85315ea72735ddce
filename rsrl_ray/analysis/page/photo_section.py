"""The page's sections of pictures: photos by method, and highlight maps beside what they have to differ from."""

import base64
import math
from io import BytesIO
from typing import Any

from jinja2 import Environment
from PIL import Image

from rsrl_ray.analysis.numbers.histories import longest
from rsrl_ray.analysis.numbers.words import number
from rsrl_ray.analysis.page.album import Album
from rsrl_ray.analysis.page.gallery import Card, Gallery
from rsrl_ray.analysis.tables.markup import Section


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
    words = {"verdict": _sentence(gallery.verdict), "random": _sentence(gallery.random)}
    shown = {**vars(gallery), "cards": [_card(card) for card in gallery.cards]}
    return Section("maps", "Highlight maps", write.maps(shown, album, words))


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def _card(card: Card) -> dict[str, Any]:
    """What the page shows of a card."""
    said = []
    if not math.isnan(card.J):
        said.append(f"J {card.J:.0f}, 1 − correlation {1 - card.correlation:.1e}")  # noqa: RUF001
    known = {"control": card.agreement, "edges": card.edges}
    ranks = [f"{number(value, 2)} with the {name}" for name, value in known.items() if not math.isnan(value)]
    said += [f"rank correlation {', '.join(ranks)}"] if ranks else []
    said += [card.reason] if card.reason else []
    pictures = [(caption, _jpeg(picture), *picture.size) for caption, picture in card.pictures.items()]
    return {
        "photo": card.photo,
        "heading": f"score {card.score} · {card.photo}",
        "text": "; ".join(said),
        "differs": card.differs,
        "pictures": pictures,
    }


def _jpeg(image: Image.Image) -> str:
    content = BytesIO()
    image.save(content, "JPEG", quality=85, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
