"""The page in a real browser."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from rsrl_ray.analysis.data import Sweep
from rsrl_ray.analysis.figures import write_figures
from rsrl_ray.analysis.frame_figures import frame_drawings
from rsrl_ray.analysis.gallery import Card, Gallery
from rsrl_ray.analysis.page import Content, findings, write_page
from rsrl_ray.analysis.summary import summarise
from rsrl_ray.analysis.tables import tables, write_tables
from rsrl_ray.core.trial import TrialKey
from rsrl_ray.experiment_file import read_experiment

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ODD = "<b>late</b> & {{ 7 * 7 }}"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: the page was NOT looked at"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture
def odd(by_hand: Sweep) -> Sweep:
    """The sweep made by hand; a method's name would be markup and code where it is not escaped."""
    trials = dict(by_hand.trials)
    trials[TrialKey(1, ODD)] = replace(trials.pop(TrialKey(1, "late")), method=ODD)
    for trial in trials.values():  # what the curves draw
        sizes = trial.kept.sum(axis=1).astype(float)
        trial.metrics[["train_size", "majority_share", "test_total_f1"]] = np.stack([sizes, sizes / 10, sizes / 5], 1)
    missing = (f"{ODD}, fold 0: not begun yet.",)
    return replace(by_hand, methods=("paper", "none", ODD), trials=trials, missing=missing)


@pytest.fixture
def make(odd: Sweep, experiment_file: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    def write(gallery: Gallery, figures: bool) -> Path:
        methods = {"paper": {1: [0.9], 3: [0.95]}, "none": {1: [0.0]}, ODD: {1: [0.5]}}
        revision = {"majority_classes": 1}
        experiment = read_experiment(experiment_file(name="by_hand", schedules=methods, revision=revision))
        for number in range(12):
            Image.new("RGB", (30, 20), (20 * number,) * 3).save(tmp_path / f"{number}.jpg")
        folder = tmp_path / "page"
        frames = write_tables(odd, folder)
        chosen = {
            TrialKey(0, "paper"): 1,
            TrialKey(1, "paper"): 2,
            TrialKey(0, "none"): 1,
            TrialKey(1, "none"): 1,
            TrialKey(1, ODD): 1,
        }
        made = (folder / "figures", tmp_path / "photos.csv", frame_drawings(frames))
        pictures = write_figures(odd, chosen, *made) if figures else []
        write_page(Content(odd, experiment, frames, tables(odd, frames), pictures, gallery), folder)
        shutil.rmtree(folder / "figures", ignore_errors=True)  # the page stands alone
        return folder / "index.html"

    return write


@pytest.fixture
def gallery() -> Gallery:
    picture = Image.new("RGB", (32, 24), "red")
    drawn = {"highlight map": picture, "control": picture}
    cards = (
        Card("0.jpg", 3, 11, 1 - 2e-7, -0.25, 0.4, False, "", drawn),
        Card("7.jpg", 7, math.nan, math.nan, math.nan, math.nan, False, "missing (there is no 7.jpg)", {}),
    )
    return Gallery(cards, "paper", 0, 2, 1)


def opened(browser: Browser, path: Path, width: int) -> tuple[Page, list[str]]:
    """The page at a width in pixels, and whatever it complained of or asked for beside itself."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(path.as_uri())
    return page, said


def test_every_section_is_there_and_nothing_is_fetched(
    browser: Browser, make: Callable[..., Path], gallery: Gallery
) -> None:
    path = make(gallery, figures=True)
    page, said = opened(browser, path, 1280)
    assert said == [path.as_uri()]
    assert page.title() == "by_hand: RSRL"
    heads = ["Result", "Choosing the round", "Comparisons", "Round by round", "Method paper", "Method none"]
    assert page.locator("h2").all_inner_texts() == [*heads, f"Method {ODD}", "Photos", "Highlight maps", "Recipe"]
    for link in page.locator("nav a").all():
        assert page.locator(str(link.get_attribute("href"))).is_visible()
    assert page.locator("dt").all_inner_texts() == ["paper", "none", ODD]
    assert page.locator("dd").first.inner_text() == "from revision 1: 0.9; from revision 3: 0.95"
    assert page.locator("#notes li").all_inner_texts()[0] == f"{ODD}, fold 0: not begun yet."
    assert page.locator("img").count() == 15
    assert page.locator("#result img").count() == 1  # differences to the baseline
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("[...document.images].every(image => image.alt)")
    rows = page.locator("#result table").first.locator("tbody tr").all_inner_texts()
    largest = ["always the largest class", "2", "–", "–", "0.367 ± 0.047"]  # noqa: RUF001
    assert rows[0].split("\t")[:5] == largest
    assert rows[1].split("\t")[:5] == ["paper", "2", "1, 2", "7 ± 1", "0.567 ± 0.236"]
    # of the folds' 0 and 0.4: t = 0.2 / (0.2828 sqrt(1/2 + (3/8 + 4/7) / 2)) = 0.717 with 1 degree of freedom
    assert page.locator("#result > p").all_inner_texts()[:2] == [
        "The highest macro F on the test photos, 0.567 ± 0.236 over 2 folds, is that of the method paper; to assign "
        "always the largest class gives 0.367 ± 0.047.",
        "paper less none: +0.200 (95 % interval −3.345 to +3.745, p after Holm 0.604, 2 folds).",  # noqa: RUF001
    ]
    assert page.locator("#method-1 > p").first.inner_text() == "from revision 1: 0.9; from revision 3: 0.95."
    first, second = page.locator(".card").all()
    assert first.locator("figcaption").all_inner_texts() == ["photo", "highlight map", "control"]
    remark = "J 11, 1 − correlation 2.0e-07; rank correlation −0.25 with the control, 0.40 with the edges"  # noqa: RUF001
    assert first.locator("p").inner_text() == remark
    assert second.inner_text().split("\n")[-1] == "missing (there is no 7.jpg)"
    page.locator("#result summary").first.click()
    assert "| paper | 2 | 1, 2 |" in page.locator("#result pre").first.inner_text()
    assert r"\toprule" in page.locator("#result pre").nth(1).inner_text()
    page.close()


def test_a_phone_scrolls_tables_and_not_the_page(browser: Browser, make: Callable[..., Path]) -> None:
    path = make(Gallery((), reason="no trial has two rounds yet, and a map compares two"), figures=False)
    page, said = opened(browser, path, 360)
    assert said == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("#maps p").inner_text() == "None: no trial has two rounds yet, and a map compares two."
    page.close()


def test_of_many_methods_the_findings_are_put_together(by_hand: Sweep) -> None:
    frames = summarise(by_hand)
    first = frames.comparisons.iloc[0].to_dict()
    rows = [
        first | {"method": name, "difference": difference, "p_holm": p, "folds": 25}
        for name, difference, p in (("a", 0.1, 0.01), ("b", -0.2, 0.001), ("c", 0.3, 0.06), ("d", 0.05, 0.04))
    ]
    many = replace(frames, comparisons=pd.DataFrame(rows))
    assert findings(many)[1:] == [
        "Better than none: a (+0.100), d (+0.050).",
        "Worse than none: b (−0.200).",  # noqa: RUF001
        "Not shown to differ from none: c (+0.300).",
        "Better and worse is said where p after Holm is below 0.05 (25 folds).",
    ]
