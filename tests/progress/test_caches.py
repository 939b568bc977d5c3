"""Without a home directory that takes caches, Snakemake and matplotlib start, and say nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, snakemake_logger_plugin_veridical, matplotlib.font_manager
from snakemake.common import get_appdirs
print(get_appdirs().user_cache_dir, matplotlib.get_cachedir(), matplotlib.get_configdir(), sep="\\n")
"""


@pytest.mark.parametrize("home", ["/proc/none", "home"])
def test_caches_have_a_place(tmp_path: Path, home: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "Snakefile").write_text('rule all:\n    output: "a"\n    shell: "touch a"\n')
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment["HOME"] = str(tmp_path / home)  # /proc/none as it is
    told = []
    for arguments in (["-c", CODE], ["-m", "snakemake", "-n"]):
        run = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        told.append(run)
    assert told[0].stderr == ""
    place = tmp_path / ("home" if home == "home" else ".snakemake/caches")
    assert all(
        Path(line).is_relative_to(place) and Path(line).is_dir() for line in told[0].stdout.split()[1:]
    )
    assert Path(told[0].stdout.split()[0]).is_relative_to(place)
