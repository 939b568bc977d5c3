"""Whether this revision computes the bits that were recorded, on a machine like that of the record.

`python -m tests.golden.compare FOLDER...` compares result digests of finished studies with `digests.json`.
Who changes results on purpose says so in the changelog and puts the new digests there.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

from veridical.evidence import provenance, result_digest

HOME = Path(__file__).parent


def here() -> dict[str, Any]:
    """What decides the last bits: CPU features as numpy finds them, versions of Python and of packages."""
    versions = {"python": platform.python_version(), **provenance.versions()}
    return {"machine": platform.machine(), "cpu_features": provenance.cpu_features(), "versions": versions}


def digest_is_recorded(folder: Path) -> bool | None:
    """Whether a study's digest is the recorded one; None where nothing was compared. Says so in a line."""
    recorded = json.loads((HOME / "digests.json").read_text())
    if recorded["platform"] != here():
        of = f"the CPU features and versions in {HOME.name}/digests.json"
        print(f"{folder}: bits are promised for {of} only, which differ from those here: nothing compared.")
        return None
    expected = recorded["digests"].get(folder.name)
    if expected is None:
        print(f"{folder}: no digest is recorded yet: nothing compared.")
        return None
    found = result_digest.digest_of(result_digest.listing(folder))
    told = "as recorded" if found == expected else f"but {expected} is recorded: RESULTS HAVE CHANGED"
    print(f"{folder}: result digest {found}, {told}.")
    return found == expected


if __name__ == "__main__":
    sys.exit(any(digest_is_recorded(Path(name)) is False for name in sys.argv[1:]))
