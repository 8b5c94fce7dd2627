"""Chromium for the tests of report.html; without one they are skipped, or fail under STEPAUDIT_REQUIRE_BROWSER=1."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from stepaudit.reports import write_reports

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--force-prefers-reduced-motion",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _load(name):
    key = f"stepaudit_report_{name}"
    if key not in sys.modules:
        path = Path(__file__).parents[1] / "unit" / "reports" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(key, path)
        sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


@pytest.fixture(scope="session")
def verdicts():
    return _load("verdicts")


@pytest.fixture(scope="session")
def ledgers():
    return _load("ledgers")


@pytest.fixture(scope="session")
def large(verdicts):
    """A function that makes a run of so many cells."""
    return lambda number: _load("large").large_verdict(verdicts, number)


@pytest.fixture(scope="session")
def founding(verdicts):
    return verdicts.founding_verdict()


@pytest.fixture(scope="session")
def browser_paths():
    """Paths of Chromium and its driver, or a skip with the reason."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    missing = "Chromium" if browser is None else "chromedriver"
    reason = f"{missing} is not installed (Debian: apt-get install chromium chromium-driver)"
    if os.environ.get("STEPAUDIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"STEPAUDIT_REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def reports(tmp_path_factory, verdicts, founding):
    """Folders of written reports by name."""
    made = {}

    def folder(name):
        if name not in made:
            verdict = founding if name == "founding" else getattr(verdicts, f"{name}_verdict")()
            out = tmp_path_factory.mktemp(name)
            write_reports(verdict, _load("ledgers").lookup_for(verdict), out)
            made[name] = out
        return made[name]

    return folder


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory):
    """Where screenshots go: STEPAUDIT_SCREENSHOTS, or a temporary folder."""
    wanted = os.environ.get("STEPAUDIT_SCREENSHOTS")
    folder = Path(wanted) if wanted else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Tab:
    """One browser window and what it logged."""

    def __init__(self, driver):
        self.driver = driver
        self.requests = []

    def open(self, folder, fragment=""):
        self.driver.get("about:blank")
        self.driver.get((folder / "report.html").as_uri() + fragment)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition, *arguments):
        """Wait until a condition of the page holds; only a page that never gets there takes the time."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 60, 0.05).until(lambda _: self.run(f"return {condition}", *arguments))

    def moving(self, act):
        """Do something that leads to another hash, and return when the page has followed."""
        self.run(
            "window.moved = false;"
            "window.addEventListener('hashchange', () => { window.moved = true; }, {once: true})"
        )
        act()
        self.wait("window.moved")

    def scheme(self, value):
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def scripts(self, *, enabled):
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not enabled})

    def console(self):
        """Messages of the page's console since the last call."""
        return self.driver.get_log("browser")

    def fetched(self):
        """Addresses that were asked for since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def texts(self, selector):
        """What all the elements show, at one moment: the table draws its rows anew as it is scrolled."""
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText.trim())", selector
        )

    def search(self, text):
        """Write into the search box as a person would, faster."""
        self.run(
            "const box = document.getElementById('query'); box.value = arguments[0];"
            "box.dispatchEvent(new Event('input', {bubbles: true}))",
            text,
        )

    def rows(self):
        """Row numbers of the cells in the table, in order."""
        return self.run(
            "return [...document.querySelectorAll('#cell-table tbody a[data-row]')].map((a) => Number(a.dataset.row))"
        )

    def ids(self):
        """Cell ids of the table's rows, in order."""
        return self.run(
            "return [...document.querySelectorAll('#cell-table tbody a[data-row]')]"
            ".map((a) => new URLSearchParams(a.hash.slice(1)).get('cell'))"
        )


@pytest.fixture(scope="session")
def tab(browser_paths, tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser_paths[0]
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1280,900"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=browser_paths[1])
    driver = webdriver.Chrome(options=options, service=service)
    yield Tab(driver)
    driver.quit()


@pytest.fixture(autouse=True)
def _fresh(tab):
    """Each test begins with scripts, light colours and empty logs."""
    tab.scripts(enabled=True)
    tab.scheme("light")
    tab.driver.set_window_size(1280, 900)
    tab.console()
    tab.fetched()
