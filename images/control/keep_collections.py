"""Unpack single collections of the package `ansible`: `keep_collections.py WHEEL TO NAME/NAME...`.

A hundred others are in it, 250 MB in thirty thousand files, which nothing here uses.
"""

import sys
import zipfile

if __name__ == "__main__":
    wheel, to, *names = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        for name in names:
            folder = f"ansible_collections/{name}/"
            kept = [file for file in archive.namelist() if file.startswith(folder)]
            if not kept:
                sys.exit(f"{wheel} has no {folder}")
            archive.extractall(to, [file for file in kept if f"{folder}tests/" not in file])
