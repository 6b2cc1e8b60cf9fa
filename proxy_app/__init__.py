"""Spark Speech: one page and one OpenAI-compatible URL for the speech services you run.

Importing this package imports nothing else: the speech engine ships `proxy_app.settings`,
`proxy_app.speech` and `proxy_app.audio` without the gateway's dependencies.
"""

__version__ = "0.1.0"
