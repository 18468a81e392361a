"""The rating page as a rater uses it, from a file, without a server."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import sync_playwright

from livephoto_core.evaluation.__main__ import main
from livephoto_core.evaluation.rating import CRITERIA
from livephoto_core.evaluation.rating_results import count_picks, read_results
from tests.browser.front_end import BROWSER_ARGUMENTS, TIMEOUT_MS
from tests.evaluation.studies import METHODS, write_benchmark, write_videos

pytestmark = pytest.mark.browser
NUM_RATED = 16


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Writes a study of a kind; returns its folder."""
    folder = tmp_path_factory.mktemp("study")
    benchmark = write_benchmark(folder / "benchmark")
    videos = write_videos(folder / "videos", benchmark)

    def write(kind):
        arguments = [kind, str(benchmark), "--videos", str(videos), "--methods", *METHODS]
        assert main(["page", *arguments, "--output", str(folder / kind)]) == 0
        return folder / kind

    return write


@pytest.fixture
def rater(browser, tmp_path):
    """Opens a study's page; the errors of its console fail the test."""
    errors = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=list(BROWSER_ARGUMENTS))
        context = chromium.new_context(accept_downloads=True)
        context.set_default_timeout(TIMEOUT_MS)

        def open_page(folder):
            page = context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto((folder / "page" / "index.html").as_uri())
            return page

        yield open_page
        chromium.close()
    assert not errors


def save(page, path):
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(path)
    return path


def reload_until(page, count):
    """A loaded machine hands what was stored to a page that is loaded at once a little later."""
    for _ in range(10):
        page.reload()
        if page.inner_text("#count") == count:
            return
        page.wait_for_timeout(500)
    pytest.fail(f"{page.inner_text('#count')}, not {count}, after ten reloads")


def test_ratings_are_kept_over_a_reload_and_make_the_table(study, rater, tmp_path, capsys):
    folder = study("rate")
    page = rater(folder)
    page.wait_for_function("document.querySelector('#item video').currentTime > 0.5")
    assert page.is_disabled("#save")
    page.fill("#rater", "ann")
    assert page.is_enabled("#save")
    for number in range(NUM_RATED):
        for criterion in CRITERIA:
            page.check(f"input[name={criterion['name']}][value='4']")
        if number == 3:
            reload_until(page, f"4 of {NUM_RATED} done")
            assert page.input_value("#rater") == "ann"
        if number < NUM_RATED - 1:
            page.click("#next")
    assert page.inner_text("#count") == f"{NUM_RATED} of {NUM_RATED} done"
    assert page.is_disabled("#next") and not page.is_disabled("#back")
    page.screenshot(path=tmp_path / "rate.png")
    results = save(page, tmp_path / "rate-ann.json")
    assert main(["table", str(results), "--key", str(folder / "key.json")]) == 0
    assert "| LivePhoto | 4.0 ± 0.0 |" in capsys.readouterr().out


def test_best_video_of_each_case_is_chosen_by_a_click(study, rater, tmp_path):
    folder = study("pick")
    page = rater(folder)
    page.fill("#rater", "bob")
    for _ in range(8):
        page.click("#item figure:nth-of-type(2)")
        assert page.locator("#item figure.picked").count() == 1
        page.click("#next", force=True)
    page.screenshot(path=tmp_path / "pick.png")
    results = save(page, tmp_path / "pick.json")
    assert json.loads(results.read_text())["rater"] == "bob"
    picks = count_picks(*read_results(folder / "key.json", [results], "pick"))
    assert len(picks) == 8
