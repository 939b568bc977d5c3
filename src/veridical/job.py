"""What every job does around its one call: logs to its file, and ends with a message a reader can act on."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from veridical.errors import VeridicalError

END_SECONDS = 120.0


def run(main: Callable[[Any], None], snakemake: Any) -> None:
    """Calls `main(snakemake)` with its output in the rule's log; exits with 1 on any error.

    An error that a reader can mend is shown in one sentence, any other with its traceback; both
    reach the log and the terminal. A polite kill (SIGTERM) runs all clean-up before the job ends.
    """
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # clears up on the way out
    message = None
    with path.open("w", encoding="utf-8", buffering=1) as log:
        with redirect_stdout(log), redirect_stderr(log):
            try:
                main(snakemake)
                print(f"done in {time.perf_counter() - started:.2f} s")
            except VeridicalError as error:
                message = f"{type(error).__name__}: {error}"
            except Exception:
                message = traceback.format_exc()
        if message is not None:
            log.write(message.rstrip() + "\n")
    if message is not None:
        sys.stderr.write(f"\n{snakemake.rule} ({path}):\n{message.rstrip()}\n")
        sys.exit(1)


def share_code() -> None:
    """Makes child processes import this very code, whatever Python environment they run in."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    own = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([own, *others]))


def deadline(snakemake: Any) -> float | None:
    """Returns when a job should end by itself, as `time.time()` counts; None where nobody ends it.

    SLURM kills a job at its end, which newer versions tell (SLURM_JOB_END_TIME); with others the job's
    `runtime` counts from now. A job needs some of that time to save its state.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return None
    now = time.time()
    end = float(os.environ.get("SLURM_JOB_END_TIME", now + 60.0 * float(snakemake.resources.runtime)))
    return end - min(END_SECONDS, (end - now) / 4)
