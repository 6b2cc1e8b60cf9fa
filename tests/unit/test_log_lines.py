"""Lines of the log, whatever is quoted in them."""

import io
import logging

from proxy_app.log_lines import FORMAT, Formatter, escaped


def _logged(message: str, *, error: Exception | None = None) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter(FORMAT))
    handler.handle(logging.LogRecord("x", logging.ERROR, __file__, 1, "%s", (message,), None))
    if error is not None:
        about = (type(error), error, error.__traceback__)
        handler.handle(logging.LogRecord("x", logging.ERROR, __file__, 1, message, (), about))
    return stream.getvalue()


def test_a_message_is_one_line_of_bounded_length() -> None:
    (line,) = _logged("a\nb\x1b[31m\x00\x85\u2028\u202e\ud83d").splitlines()
    assert line.endswith(r" ERROR a\nb\x1b[31m\x00\x85\u2028\u202e\ud83d")
    assert len(_logged("x" * 1_000_000)) < 5000


def test_what_is_print_stays_as_it_is() -> None:
    assert escaped("Grüße, 你好\u00a0👍 \\n") == "Grüße, 你好\u00a0👍 \\n"


def test_no_line_of_a_traceback_looks_like_one_of_the_log() -> None:
    try:
        int("first\n2026-01-01 ERROR forged\x1b[0m")
    except ValueError as error:
        told = ValueError("first\n2026-01-01 ERROR forged\x1b[0m").with_traceback(
            error.__traceback__
        )
    _plain, head, *lines = _logged("it failed", error=told).splitlines()
    assert head.endswith("ERROR it failed")
    assert lines[-1] == r"    2026-01-01 ERROR forged\x1b[0m"
    assert all(line.startswith("    ") for line in lines)
