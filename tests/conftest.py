"""What all suites share: under CI=true a skipped test is a failure."""

import os

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that skips failed the run, where they did."""
    if os.environ.get("CI") == "true" and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line(
            "CI=true: a part that tests need is missing, which is a failure"
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI run that skipped a test: nobody reads why it did."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
