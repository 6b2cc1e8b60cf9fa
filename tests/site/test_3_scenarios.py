"""molecule's scenarios of WhisperX and of the patch on the site: there, again, and back."""

from __future__ import annotations

from tests.fleet.molecule import molecule
from tests.fleet.spark import Spark
from tests.site.site import Site
from tests.site.test_2_patched import files_of, started_at


def test_whisperx_is_there_stays_and_goes(site: Site, spark1: Spark) -> None:
    out = molecule("whisperx", site.playbook, site.inventory)
    assert "whisperx > idempotence: Executed: Successful" in out
    again = site.run("whisperx", whisperx_state="absent")
    assert again.rc == 0, again.out
    assert set(again.changed.values()) == {0}
    assert "spark-speech/whisperx" in spark1.docker("images")


def test_the_patch_is_put_on_stays_and_goes(site: Site, spark2: Spark) -> None:
    done = site.run("sortformer", sortformer_state="absent")
    assert done.rc == 0, done.out
    pristine = files_of(spark2)
    out = molecule("sortformer", site.playbook, site.inventory)
    assert "sortformer > idempotence: Executed: Successful" in out
    assert files_of(spark2) == pristine
    started = started_at(spark2)
    again = site.run("sortformer", sortformer_state="absent")
    assert again.rc == 0, again.out
    assert set(again.changed.values()) == {0}
    assert started_at(spark2) == started
