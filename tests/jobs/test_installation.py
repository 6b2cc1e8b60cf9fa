"""How a state folder is known again, and a copy of it is not taken for it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from proxy_app.config import load_config
from proxy_app.jobs.desk import Room
from tests.jobs.house import House, settings


def test_a_state_folder_is_known_again_wherever_it_is_mounted(house: House) -> None:
    with ThreadPoolExecutor(8) as pool:
        (known,) = set(pool.map(lambda _: house.room.installation(), range(16)))
    assert (house.state / "installation").stat().st_mode & 0o777 == 0o600
    moved = house.state.rename(house.state.with_name("moved"))
    room = Room(load_config({**house.environ, "SPEECH_STATE_DIR": str(moved)}))
    assert room.installation() == known
    room.close()


def test_a_copy_of_a_state_folder_is_another_installation(house: House, tmp_path: Path) -> None:
    known = house.room.installation()
    (tmp_path / "copied").mkdir()
    copied = House(settings(tmp_path / "copied"))
    shutil.copytree(house.state, copied.state, dirs_exist_ok=True)
    assert copied.room.installation() != known
    assert house.room.installation() == known
    copied.room.close()
