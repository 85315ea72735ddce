"""Photos as small pictures, for sheets and for the page."""

from pathlib import Path

from PIL import Image

from rsrl_ray.photos.picture import small_photo
from rsrl_ray.photos.source import read_bytes
from rsrl_ray.photos.table import photo_sources


class SmallPhotos:
    """The photos of a sweep, upright, ``side`` pixels the longer side; each is read once.

    table : the experiment's table of photos.
    """

    def __init__(self, table: str | Path, side: int) -> None:
        self._table, self._side = table, side
        self._known: dict[str, Image.Image | str] = {}

    def get(self, image: str) -> Image.Image | str:
        """The photo that has this name in the table; or why it cannot be read."""
        if image not in self._known:
            self._known[image] = self._read(image)
        return self._known[image]

    def _read(self, image: str) -> Image.Image | str:
        try:
            return small_photo(read_bytes(photo_sources(self._table, [image])[image]), self._side)
        except ValueError as error:
            return str(error)
