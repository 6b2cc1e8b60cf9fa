"""The page at /: the services, how they are, and how to use them."""

from proxy_app.web.pages import bp

__all__ = ["bp"]
