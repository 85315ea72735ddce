"""The page in a real browser: what it says, what can be clicked, and that nobody is kept from reading it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
from analysis.conftest import make_by_hand
from conftest import write_experiment
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from rsrl_ray.analysis.figures.drawings import write_figures
from rsrl_ray.analysis.numbers.frames import summarise
from rsrl_ray.analysis.page.gallery import Card, Examples, Gallery
from rsrl_ray.analysis.page.page import Content, write_page
from rsrl_ray.analysis.page.pictures import embedded
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.tables.build import write_tables
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment

ODD = "<b>late</b> & {{ 7 * 7 }}"
DESK, PHONE = 1280, 390
CURVE = "#chart-test_macro_f1"
# Of every text that is seen: its ratio of contrast to the first ground under it that is not transparent (WCAG 2.2).
CONTRASTS = """() => {
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (colour) => colour.map((v) => linear(v / 255))
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const found = parts(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found.slice(0, 3);
      if (found[3] > 0) throw new Error(`half a ground: ${one.outerHTML.slice(0, 80)}`);
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("body *")]
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((one) => one.checkVisibility() && !["SCRIPT", "STYLE"].includes(one.tagName))
    .map((one) => {
      const style = getComputedStyle(one);
      const [a, b] = [light(parts(one instanceof SVGElement ? style.fill : style.color)), light(ground(one))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.outerHTML.slice(0, 120)];
    });
}"""
LINES = """() => [...Array(7).keys()].map((place) => {
  const made = document.body.appendChild(document.createElement("b"));
  made.style.color = `var(--c${place})`;
  const found = getComputedStyle(made).color.match(/\\d+/g).map(Number);
  made.remove();
  return found;
})"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.opened() as browser:
        yield browser


def _odd() -> Sweep:
    """The sweep made by hand; a method's name would be markup and code if it is not escaped."""
    by_hand = make_by_hand()
    trials = dict(by_hand.trials)
    trials[TrialKey(1, ODD)] = replace(trials.pop(TrialKey(1, "late")), method=ODD)
    for trial in trials.values():  # what the curves draw
        sizes = trial.kept.sum(axis=1).astype(float)
        columns = ["train_size", "majority_share", "test_total_f1", "f1_3"]
        trial.metrics[columns] = np.stack([sizes, sizes / 10, sizes / 5, sizes / 20], 1)
    missing = (f"{ODD}, fold 0: not begun yet.",)
    return replace(by_hand, methods=("paper", "none", ODD), trials=trials, missing=missing)


def _written(folder: Path, gallery: Gallery, has_figures: bool) -> Path:
    odd = _odd()
    methods = {"paper": {1: [0.9], 3: [0.95]}, "none": {1: [0.0]}, ODD: {1: [0.5]}}
    table = folder / "photos.csv"
    table.write_text("image,score\n" + "".join(f"{number}.jpg,{score}\n" for number, score in enumerate(odd.scores)))
    for number in range(12):
        Image.new("RGB", (30, 20), (20 * number,) * 3).save(folder / f"{number}.jpg")
    knobs: dict[str, Any] = {"schedules": methods, "revision": {"majority_classes": 1}}
    experiment = read_experiment(write_experiment(folder, table, name="by_hand", **knobs))
    out = folder / "page"
    frames = summarise(odd)
    pictures = write_figures(odd, frames, out / "figures", table) if has_figures else []
    tables = write_tables(odd, frames, out)
    write_page(Content(odd, experiment, frames, tables, pictures, gallery, out))
    shutil.rmtree(out / "figures", ignore_errors=True)  # the page stands alone
    return out / "index.html"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with everything on it."""
    picture = Image.new("RGB", (32, 24), "red")
    drawn = [embedded(picture, caption) for caption in ("highlight map", "control", "edges")]
    cards = (
        Card("0.jpg", 3, "one J", False, drawn),
        Card("7.jpg", 7, "missing (there is no 7.jpg)", False, []),
    )
    return _written(tmp_path_factory.mktemp("whole"), Gallery(cards, Examples((), 0, "paper", 2)), has_figures=True)


@pytest.fixture
def opened(browser: Browser, path: Path) -> Iterator[Callable[..., Page]]:
    """The page, once its curves are drawn; what it complains of, or asks for beside itself, fails the test."""
    said: list[str] = []
    pages: list[Page] = []

    def at(width: int, page_path: Path = path, **options: Any) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        pages.append(page)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith("data:") else None)
        page.goto(page_path.as_uri())
        assert said.pop(0) == page_path.as_uri()
        if options.get("java_script_enabled", True):
            page.locator("body.ready").wait_for(timeout=120_000)
        return page

    yield at
    for page in pages:
        page.close()
    assert said == []


def test_every_section_is_there_the_answer_first(opened: Callable[..., Page]) -> None:
    page = opened(DESK)
    assert page.title() == "by_hand: RSRL"
    heads = ["The answer", "Curves, round by round", "Tables", "Method by method", "Photos", "Highlight maps"]
    assert page.locator("h2").all_inner_texts() == [*heads, "Data and recipe"]
    for link in page.locator("nav a").all():
        assert page.locator(str(link.get_attribute("href"))).is_visible()
    assert page.locator("dt").all_inner_texts() == ["paper", "none", ODD]
    assert page.locator("dd").first.inner_text() == "from revision 1: 0.9; from revision 3: 0.95"
    notes = page.locator("#notes li").all_inner_texts()
    assert notes[0] == f"{ODD}, fold 0: not begun yet."
    assert f"{ODD} lacks rounds or folds: no verdict, and no mean to compare with others." in notes
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    rows = page.locator("#table-methods tbody tr").all_inner_texts()
    largest = ["always the largest class", "2", "–", "–", "0.367 ± 0.047"]  # noqa: RUF001
    assert rows[0].split("\t")[:5] == largest
    assert rows[1].split("\t")[:5] == ["paper", "2", "1, 2", "7 ± 1", "0.567 ± 0.236"]
    # of the folds' 0 and 0.4: t = 0.2 / (0.2828 sqrt(1/2 + (3/8 + 4/7) / 2)) = 0.717 with 1 degree of freedom
    cells = page.locator("#forest tbody tr").first.inner_text().split()
    assert " ".join(cells) == "paper not shown to differ +0.200 −3.345 to +3.745, p 0.604"  # noqa: RUF001
    assert page.locator("#method-1 + p").inner_text() == "from revision 1: 0.9; from revision 3: 0.95."
    first, second = page.locator(".card").all()
    assert first.locator("figcaption").all_inner_texts() == ["photo", "highlight map", "control", "edges"]
    assert first.locator("p").inner_text() == "one J"
    assert second.inner_text().split("\n")[-1] == "missing (there is no 7.jpg)"
    page.locator("#photos .tile").first.click()
    assert page.locator("dialog:visible h3").inner_text() == "6.jpg"
    page.keyboard.press("Escape")
    page.locator("#tables summary").first.click()
    assert "| paper | 2 | 1, 2 |" in page.locator("#tables pre").first.inner_text()
    assert r"\toprule" in page.locator("#tables pre").nth(1).inner_text()


def test_a_curve_tells_its_numbers(opened: Callable[..., Page]) -> None:
    page = opened(DESK)
    point = page.locator(f"{CURVE} .mark-symbol path").first
    point.hover(force=True)
    said = page.locator("#vg-tooltip-element")
    said.wait_for()
    # round 1 of paper: 0.4 and 1/3
    assert said.inner_text().replace("\t", " ").split("\n") == [
        *("method paper", "round 1", "mean 0.367", "sd 0.047", "folds (n) 2"),
    ]
    page.locator(f"{CURVE} summary").click()
    rows = [row.split("\t") for row in page.locator(f"{CURVE} table tr").all_inner_texts()]
    assert rows[0] == ["method", "1", "2", "3"]
    assert rows[1] == ["paper", "0.367 ± 0.047", "0.700 ± 0.047", "0.367 ± 0.047"]
    assert rows[3] == [ODD, "0.333", "–", "–"]  # noqa: RUF001


def test_a_click_hides_a_method_in_all_curves(opened: Callable[..., Page]) -> None:
    page = opened(DESK)
    charts = page.locator(".chart").count()
    assert charts == 6

    lines, others = (page.locator(f"{chart} .mark-line path") for chart in (CURVE, "#chart-f1_3"))
    expect(lines).to_have_count(3)
    key = page.get_by_role("button", name="none", exact=True)
    key.click()
    expect(lines).to_have_count(2)
    expect(others).to_have_count(2)
    expect(key).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="hide all").click()
    expect(lines).to_have_count(0)
    key.focus()
    page.keyboard.press("Space")
    expect(lines).to_have_count(1)
    expect(key).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="show all").click()
    expect(lines).to_have_count(3)


def test_zoom_and_back(opened: Callable[..., Page]) -> None:
    page = opened(DESK)

    plot = page.locator(f"{CURVE} .plot")
    whole = plot.locator(".role-axis-label text").all_text_contents()
    rounds, values = [[text for text in whole if ("." in text) == is_value] for is_value in (False, True)]
    assert [text for text in rounds if text] == ["1", "2", "3"]
    assert len(set(values)) == len(values) >= 3
    least = plot.get_by_text(values[0], exact=True)
    buttons = page.locator(f"{CURVE} .zoom button")
    buttons.nth(0).click()
    expect(least).not_to_be_attached()
    buttons.nth(2).press("Enter")
    expect(least).to_be_attached()
    plot.hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -600)
    page.keyboard.up("Control")
    expect(least).not_to_be_attached()
    plot.dblclick()
    expect(least).to_be_attached()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(opened: Callable[..., Page], scheme: str) -> None:
    page = opened(DESK, color_scheme=scheme)
    page.locator(f"{CURVE} summary").click()
    page.get_by_role("button", name="none", exact=True).click()  # a method that is hidden is still read
    page.locator(f"{CURVE} .mark-symbol path").first.hover(force=True)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 200
    assert [one for one in found if one[0] < 4.5] == []
    is_dark = sum(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")) < 150
    assert is_dark == (scheme == "dark")
    ground = 0.009 if is_dark else 1.0  # relative luminance of #14181c, and of white
    for colour in page.evaluate(LINES):
        line = _luminance(colour)
        assert (max(line, ground) + 0.05) / (min(line, ground) + 0.05) >= 3, colour


def _luminance(colour: list[int]) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (part / 255 for part in colour)]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_for_a_screen_reader_and_a_keyboard(opened: Callable[..., Page]) -> None:
    page = opened(DESK)
    levels = [int(name[1]) for name in page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => h.tagName)")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.evaluate("[...document.images].every(image => image.alt)")
    assert page.locator("[role=img]").evaluate_all(
        "all => all.every(one => one.getAttribute('aria-label') || one.querySelector('title')?.textContent)"
    )
    assert page.locator("table").evaluate_all("all => all.every(table => table.caption?.innerText)")
    heads = page.locator("thead th:not([aria-hidden=true])")
    assert heads.evaluate_all("all => all.every(head => head.scope === 'col')")
    assert page.locator("tbody tr").evaluate_all("all => all.every(row => row.cells[0].scope === 'row')")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the result")
    assert skip.evaluate("one => one === document.activeElement && one.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    key = page.get_by_role("button", name="paper", exact=True)
    key.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert key.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"


def test_the_contents_stay_at_the_side(opened: Callable[..., Page]) -> None:
    page = opened(DESK)
    page.get_by_role("navigation").get_by_role("link", name="Data and recipe").click()
    current = page.locator("nav a[aria-current]")
    expect(current).to_have_text(["Data and recipe"])
    box = page.locator("nav").bounding_box()
    assert box is not None and box["y"] == 0 and box["x"] + box["width"] < 300


def test_the_key_of_the_curves_does_not_cover_a_heading(opened: Callable[..., Page]) -> None:
    page = opened(DESK, reduced_motion="reduce")
    page.get_by_role("navigation").get_by_role("link", name="Each score").click()
    expect(page.locator("nav a[aria-current]")).to_have_text(["Each score"])
    page.wait_for_function(  # a busy machine is still scrolling when the link is marked
        """() => {
            const [key, heading] = [".methods-key", "#curves-scores"].map(
                (one) => document.querySelector(one).getBoundingClientRect());
            return key.y === 0 && key.height <= heading.y && heading.y < key.height + 20;
        }"""
    )


def test_on_a_phone_only_tables_scroll_sideways(opened: Callable[..., Page]) -> None:
    page = opened(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE
    assert page.locator(".scroll").first.evaluate("one => one.scrollWidth > one.clientWidth")
    assert page.locator(".plot svg").evaluate_all("all => all.every(one => one.getBoundingClientRect().right <= 390)")
    contents = page.locator("nav summary")
    link = page.get_by_role("navigation").get_by_role("link", name="Photos")
    assert not link.is_visible()
    contents.click()
    link.click()
    assert not link.is_visible()  # it has made room
    expect(page.locator("#photos h2")).to_be_in_viewport()
    expect(contents).to_be_in_viewport()


def test_a_tap_tells_the_numbers_of_a_curve(opened: Callable[..., Page]) -> None:
    page = opened(PHONE, has_touch=True)
    page.locator(f"{CURVE} .mark-symbol path").first.tap(force=True)
    said = page.locator("#vg-tooltip-element")
    expect(said).to_contain_text("paper")
    page.locator("h1").tap()
    expect(said).not_to_be_visible()


def test_in_print_everything_is_dark_on_white_and_on_the_paper(opened: Callable[..., Page]) -> None:
    page = opened(DESK, color_scheme="dark")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 1000})  # about A4 without its margins
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert [one for one in page.evaluate(CONTRASTS) if one[0] < 4.5] == []
    for gone in ("nav", ".zoom", "details.code", "details.numbers", ".static"):
        assert not page.locator(gone).first.is_visible()
    assert page.locator(".plot svg").first.is_visible()
    assert page.locator("table, .plot svg, img").evaluate_all(
        "all => all.filter(one => one.checkVisibility() && one.getBoundingClientRect().right > 701).length"
    ) == 0  # fmt: skip


def test_without_scripts_the_figures_stay(opened: Callable[..., Page], tmp_path: Path) -> None:
    page = opened(DESK, java_script_enabled=False)
    assert page.locator("#curves img").count() == 3
    assert page.locator("#curves img").first.is_visible()
    assert not page.locator(".curves").first.is_visible() and not page.locator(".methods-key").is_visible()
    gallery = Gallery(reason="no trial has two rounds yet, and a map compares two")
    bare = opened(PHONE, _written(tmp_path, gallery, has_figures=False), java_script_enabled=False)
    assert bare.locator("#maps p").inner_text() == "None: no trial has two rounds yet, and a map compares two."
