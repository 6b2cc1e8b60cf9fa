"""The whole site with everything absent, the last of the site's pages: nothing of it is left."""

from __future__ import annotations

from typing import Any

from tests.fleet.spark import Spark
from tests.site.site import NAMES, Site

LEFT = (
    "docker ps -aq; docker volume ls -q; docker images -q 'spark-speech/*'; "
    "docker images -q spark-speech.invalid/magpie; "
    "find ~/.spark-speech 2>/dev/null || true"
)


def test_everything_absent_leaves_no_trace(site: Site, spark1: Spark, spark2: Spark) -> None:
    absent: dict[str, Any] = {f"{name}_state": "absent" for name in NAMES}
    absent |= {f"{name}_purge": True for name in NAMES if name != "sortformer"}
    foretold = site.run("site", "--check", "--diff", **absent)
    assert foretold.rc == 0, foretold.out
    assert "parakeet" in site.services
    for changes in (True, False):
        gone = site.run("site", **absent)
        assert gone.rc == 0, gone.out
        assert gone.changed == (foretold.changed if changes else dict.fromkeys(foretold.changed, 0))
    for spark in (spark1, spark2):
        assert spark.ssh(LEFT).stdout == ""
    assert site.services == {}
    assert not list((site.folder / "services.d").iterdir())
