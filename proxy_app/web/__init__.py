"""The pages: the services, how they are, what can be done about them, and watching it done."""

from flask import Flask

from proxy_app.web import install, live, pages, words

__all__ = ["init_app"]


def init_app(app: Flask) -> None:
    """Add the pages."""
    words.init_app(app)
    app.register_blueprint(pages.bp)
    app.register_blueprint(live.bp)
    app.register_blueprint(install.bp)
