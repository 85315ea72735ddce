"""Photos and maps of the page in a real browser, by themselves: clicked, by keyboard, at two widths and printed."""

from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from playwright.sync_api import Browser, Page

from rsrl_ray.analysis.page.album import make_album
from rsrl_ray.analysis.page.gallery import Card, Examples, Gallery
from rsrl_ray.analysis.page.page import STYLE_SHEETS, photo_sections
from rsrl_ray.analysis.page.pictures import embedded
from rsrl_ray.analysis.sweep.arrays import Sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.opened() as browser:
        yield browser


@pytest.fixture
def path(by_hand: Sweep, tmp_path: Path) -> Path:
    """A page of the two sections alone; photo 3 cannot be read."""
    for number in range(12):
        Image.new("RGB", (300, 200), (20 * number,) * 3).save(tmp_path / f"{number}.jpg")
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    drawn = Image.new("RGB", (32, 24), "red")
    pictures = [embedded(drawn, caption) for caption in ("highlight map", "control", "edges")]
    cards = (
        Card("6.jpg", 3, "one J", True, pictures),
        Card("3.jpg", 3, "not a picture", False, []),
    )
    gallery = Gallery(
        cards, Examples((), 0, "paper", 2), verdict="1 of 1 maps differ", random="of 1 maps of random weights 0"
    )
    loader = PackageLoader("rsrl_ray.analysis.page", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    album = make_album(by_hand, tmp_path / "photos.csv", [card.photo for card in cards])
    sections = photo_sections(album, gallery, environment, by_hand.rounds)
    assert sections[0].parts == (("photos-1", "paper"),)
    style = "".join(loader.get_source(environment, name)[0] for name in STYLE_SHEETS)
    head = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>photos</title>"
        "<meta name='viewport' content='width=device-width'><meta http-equiv='Content-Security-Policy' "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
    )
    body = "".join(f"<section id='{section.id}'>{section.html}</section>" for section in sections)
    (tmp_path / "page.html").write_text(f"{head}<style>{style}</style>{body}", encoding="utf-8")
    return tmp_path / "page.html"


def opened(browser: Browser, path: Path, width: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(path.as_uri())
    return page


def test_a_clicked_photo_shows_its_history_in_all_methods(browser: Browser, path: Path) -> None:
    page = opened(browser, path, 1280)
    assert page.locator(".kind").all_inner_texts() == [
        "Never kept once dropping began 1 photo",
        "Dropped most often, but kept at times 2 photos",
        "Dropped, and back in the last round 2 photos",
    ]
    assert page.locator("#photos > p").last.inner_text() == "Every other method dropped no photo: none, late."
    tiles = page.locator(".strip .tile")
    assert tiles.first.inner_text().split("\n") == ["6.jpg", "score 3 → 3", "dropped 2 of 2"]
    assert tiles.nth(2).inner_text().split("\n")[0] == "not a picture that Pillow can read"
    assert not page.locator("dialog:visible").count()
    tiles.first.click()
    history = page.locator("dialog:visible")
    assert history.get_by_role("heading").inner_text() == "6.jpg"
    assert "Test photo of fold 1; training photo of fold 0." in history.inner_text()
    rows = [row.inner_text().split() for row in history.locator("tbody tr").all()]
    assert rows == [
        ["paper", "2", "of", "2", "1", "of", "1", "fold", "0×", "3", "test:", "3"],  # noqa: RUF001
        ["none", "0", "of", "2", "0", "of", "1", "fold", "0×", "3", "test:", "3"],  # noqa: RUF001
        ["late", "–", "–", "–", "test:", "3"],  # noqa: RUF001
    ]
    first = history.locator("tbody .spark").first
    assert "self-confidence by round: 0.40, 0.40, 0.40; dropped in round 2, 3" in first.inner_html()
    history.get_by_role("button", name="Close").click()
    assert not page.locator("dialog:visible").count()
    page.close()


def test_by_keyboard_enter_opens_escape_closes_and_focus_returns(browser: Browser, path: Path) -> None:
    page = opened(browser, path, 390)
    tile = page.locator(".strip .tile").nth(1)
    tile.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog:visible h3").inner_text() == "0.jpg"
    assert page.evaluate("document.activeElement.className") == "close"
    page.keyboard.press("Escape")
    assert not page.locator("dialog:visible").count()
    assert tile.evaluate("tile => tile === document.activeElement")
    page.close()


def test_a_photo_of_a_map_opens_its_history_too(browser: Browser, path: Path) -> None:
    page = opened(browser, path, 1280)
    assert page.locator("#verdict").inner_text() == "1 of 1 maps differ. Of 1 maps of random weights 0."
    first, second = page.locator(".card").all()
    assert first.locator("figcaption").all_inner_texts() == ["photo", "highlight map", "control", "edges"]
    assert first.locator("p").inner_text() == "one J; differs from both"
    assert second.locator("p").inner_text() == "not a picture"
    first.get_by_role("button").click()
    assert page.locator("dialog:visible h3").inner_text() == "6.jpg"
    page.close()


def test_the_bytes_of_a_photo_stand_there_once(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert page.count("<image ") == 2  # photos 6 and 0; photo 3 cannot be read
    assert page.count('href="#picture-0"') == 3  # list, history, card
    assert page.count("data:image/webp") == 2 + 3  # and the maps


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page(browser: Browser, path: Path, width: int) -> None:
    page = opened(browser, path, width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator(".strip .tile").first.click()
    box = page.locator("dialog:visible").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
    table = page.locator("dialog:visible .wide")
    assert table.evaluate("wide => wide.scrollWidth <= wide.clientWidth")
    page.close()


def test_photos_are_seen_and_printed(browser: Browser, path: Path) -> None:
    page = opened(browser, path, 1280)
    page.emulate_media(media="print")
    assert page.locator(".strip .tile").first.is_visible() and not page.locator("dialog:visible").count()
    page.emulate_media(media="screen")
    shot = page.locator(".strip .picture").nth(0).screenshot(path=path.with_suffix(".png"))
    with Image.open(path.with_suffix(".png")) as drawn:
        middle = drawn.convert("RGB").getpixel((drawn.width // 2, drawn.height // 2))
    assert shot and middle == (120, 120, 120)  # photo 6 itself
    page.close()
