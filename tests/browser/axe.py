"""axe's rules for what can be read, named and reached, in both colour schemes."""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def problems(page: Page) -> list[str]:
    """What axe finds on a page; it has no rule for what it cannot see, such as order and sense."""
    found = []
    schemes: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        for violation in Axe().run(page).response["violations"]:
            nodes = [" ".join(node["target"]) for node in violation["nodes"][:5]]
            found.append(f"{scheme}: {violation['id']}: {violation['help']}: {nodes}")
    page.emulate_media(color_scheme="light")
    return found
