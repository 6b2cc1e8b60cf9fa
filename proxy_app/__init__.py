"""Spark Speech: one page and one OpenAI-compatible URL for the speech services you run.

Importing this package imports nothing else: the speech engine ships `proxy_app.settings`,
`proxy_app.speech`, `proxy_app.audio` and `proxy_app.turns` without the gateway's dependencies.
"""

__version__ = "0.1.0"
