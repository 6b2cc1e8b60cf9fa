"""What is generated from the code is up to date."""

from pathlib import Path

from proxy_app.cli import documentation

ROOT = Path(__file__).resolve().parents[2]


def test_the_settings_page_is_what_the_code_says() -> None:
    written = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert written == documentation.page(), "run `make docs`"
