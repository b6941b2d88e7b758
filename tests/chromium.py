"""Chromium as a person uses it: by the mouse, by the keyboard, on a phone.

Debian has it with its driver as `chromium-driver`; Selenium and axe are the extra [browser].
"""
from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import shutil
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

# Keys that are no characters, by the codes of WebDriver.
TAB, ENTER = '\ue004', '\ue007'
_CHROMIUM, _DRIVER = shutil.which('chromium'), shutil.which('chromedriver')


def _missing() -> Optional[str]:
    """Why no browser can be started, or None."""
    if not all(importlib.util.find_spec(name) for name in ('selenium', 'axe_selenium_python')):
        return 'Selenium or axe (extra [browser]) is missing.'
    if not (_CHROMIUM and _DRIVER):
        return 'There is no chromium with its chromedriver.'
    return None


# For tests that need a browser.
needed = pytest.mark.skipif(_missing() is not None, reason=str(_missing()))


class Browser:
    """Chromium without a window, at a size and in light or dark."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str, *, width: int = 1280, scheme: str = 'light') -> None:
        """Opens a page."""
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
            'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600})
        self.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {
            'features': [{'name': 'prefers-color-scheme', 'value': scheme}]})
        self.driver.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def _wait(self, found: Callable[[Any], Any]) -> Any:
        """The first true value of a function of the driver; the page may change meanwhile."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait
        return WebDriverWait(self.driver, 60, poll_frequency=0.05, ignored_exceptions=[
            StaleElementReferenceException]).until(found)

    def one(self, selector: str) -> Any:
        """The element of a selector."""
        return self.driver.find_element('css selector', selector)

    def click(self, selector: str) -> None:
        """Clicks an element, away from the bar at the lower border."""
        self.run('arguments[0].scrollIntoView({block: "center", behavior: "instant"})',
                 self.one(selector))
        self.one(selector).click()

    def click_button(self, words: str) -> None:
        """Clicks the button of a text or label, in small or large letters, once it is there."""
        def found(driver: Any) -> Any:
            return next((each for each in driver.find_elements('css selector', 'button')
                         if words.lower() in f'{each.text} {each.accessible_name}'.lower()
                         and each.is_displayed() and each.is_enabled()), None)

        self._wait(found).click()

    def press(self, keys: str) -> None:
        """Presses keys, wherever the focus is."""
        from selenium import webdriver
        webdriver.ActionChains(self.driver).send_keys(keys).perform()

    def choose(self, selector: str, value: str) -> None:
        """Chooses an option by the keyboard's way: its value changes, and the page is told."""
        self.run('arguments[0].value = arguments[1]; for (const kind of ["input", "change"]) '
                 'arguments[0].dispatchEvent(new Event(kind, {bubbles: true}))',
                 self.one(selector), value)

    def fill(self, selector: str, text: str) -> None:
        """Types a text in place of what a field has."""
        field = self.one(selector)
        field.clear()
        field.send_keys(text)

    def texts(self, selector: str) -> List[str]:
        """Texts of the elements that are seen."""
        return [each.text for each in self.driver.find_elements('css selector', selector)
                if each.is_displayed()]

    def wait_for(self, selector: str, words: str) -> None:
        """Waits until an element has some words."""
        self._wait(lambda _: words in self.one(selector).text)

    def wait_until(self, condition: str) -> None:
        """Waits until an expression of JavaScript holds."""
        self._wait(lambda driver: driver.execute_script(f'return {condition}'))

    def faults(self) -> List[Dict[str, Any]]:
        """What axe finds wrong with the page."""
        from axe_selenium_python import Axe
        axe = Axe(self.driver)
        axe.inject()
        return [{name: each[name] for name in ('id', 'impact', 'help')}
                for each in axe.run()['violations']]

    def complaints(self) -> List[Dict[str, Any]]:
        """What the console has said since the last call."""
        return self.driver.get_log('browser')


@contextlib.contextmanager
def started(folder: pathlib.Path, *options: str) -> Iterator[Browser]:
    """A browser without a window, with its files in a folder.

    Args:
      folder: An empty folder.
      *options: More of Chromium's options, without their dashes.
    """
    from selenium import webdriver

    chosen = webdriver.ChromeOptions()
    chosen.binary_location = _CHROMIUM
    for name in ('headless', 'no-sandbox', 'disable-gpu', 'disable-background-networking',
                 'disable-component-update', 'disable-sync', 'disable-dev-shm-usage',
                 f'user-data-dir={folder / "profile"}', *options):
        chosen.add_argument(f'--{name}')
    chosen.add_experimental_option(
        'prefs', {'download.default_directory': str(folder / 'downloads')})
    chosen.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    driver = webdriver.Chrome(
        options=chosen, service=webdriver.ChromeService(executable_path=_DRIVER))
    try:
        driver.set_page_load_timeout(120)
        driver.set_script_timeout(120)
        yield Browser(driver)
    finally:
        driver.quit()
