"""Jobs that start at once: one process imports the packages, and forks for each job of this machine.

Importing torch and Lightning takes longer than most jobs of a study work. Snakemake starts a Python for each
job all the same; `hand_over` in it sends the job's script, environment, folder and standard streams to the
process that `start` has started, waits for the end of the fork that runs the script, and ends as that did. A
job that asks for other threads, or runs another Python, or comes before all is imported, runs where it is.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import hashlib
import importlib
import json
import multiprocessing
import os
import pkgutil
import runpy
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FOLDER = "VERIDICAL_WARM"  # the environment variable that names where the process listens
WORTH = 12  # jobs, below which importing everything once costs more than it spares
PACKAGES = ("lightning.pytorch", "matplotlib.figure", "ot", "scipy.stats", "xarray", "zarr", "zuko")
THREADS = tuple(f"{library}_NUM_THREADS" for library in ("OMP", "GOTO", "OPENBLAS", "MKL", "NUMEXPR"))
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SECONDS = 10.0  # for a request to arrive whole
_END = struct.Struct("i")
_SIZE = struct.Struct("Q")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_started: list[subprocess.Popen[bytes]] = []


def start(modules: Sequence[str] = ()) -> None:
    """Starts the process for the jobs of this one, which ends with it; on Linux alone.

    Arguments:
        modules: What to import beside `PACKAGES` and this package.
    """
    if sys.platform != "linux":
        return
    folder = tempfile.mkdtemp(prefix="veridical-warm-")  # of this user alone
    # What looks for a GPU while it is imported must not start CUDA, which works in no fork afterwards.
    own = {**dict.fromkeys(THREADS, "1"), "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    os.environ[FOLDER] = folder
    process = subprocess.Popen(
        [sys.executable, "-m", "veridical.warm", *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **own},
    )
    _started.append(process)  # its standard input closes with this process, however that ends


def hand_over() -> int | None:
    """Runs this process's script in a fork of the warm process; None where there is none for it.

    Returns:
        The exit code of the script. A signal that ended it ends this process, too.
    """
    if FOLDER not in os.environ:
        return None
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(str(address()))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # until there is somebody to pass them on to
        request = {"argv": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}
        text = json.dumps(request).encode()
        try:
            socket.send_fds(line, [_SIZE.pack(len(text))], [0, 1, 2])
            line.sendall(text)
            for number in _PASSED_ON:
                signal.signal(number, partial(_send, line))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            end = line.recv(_END.size)
        except OSError:  # as where the line is closed
            end = b""
    if len(end) < _END.size:
        sys.exit(
            "The process that runs the jobs of this machine has no memory left, or was ended. Try again."
        )
    (code,) = _END.unpack(end)
    if code < 0:
        if -code in _PASSED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return int(code)


def _send(line: socket.socket, number: int, _: object) -> None:
    """Passes a signal on; the job has ended where nobody reads it any more."""
    with suppress(OSError):
        line.send(bytes([number]))


def address() -> Path:
    """Where jobs of this Python, with these paths and threads, are taken."""
    kind = [sys.executable, *(os.environ.get(name, "") for name in ("PYTHONPATH", *THREADS))]
    return Path(os.environ[FOLDER]) / hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:16]


def main(modules: Sequence[str]) -> None:
    """Imports everything, and serves jobs until the standard input closes and the last of them has ended."""
    folder = Path(os.environ[FOLDER])
    try:
        for name in (*_own_modules(), *PACKAGES, *modules):
            importlib.import_module(name)
        gc.freeze()  # a fork that collected what it has from here would copy it
        with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as waiting:
            unnamed = folder / "new"
            listener.bind(str(unnamed))
            listener.listen(128)
            unnamed.rename(address())
            _serve(listener, waiting)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own_modules() -> Iterator[str]:
    """The modules of this package."""
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], "veridical."):
        if module.name not in ("veridical.__main__", __spec__.name):
            yield module.name


def _serve(listener: socket.socket, waiting: selectors.BaseSelector) -> None:
    """Forks for each request, passes signals on to the forks, and tells how they ended."""
    jobs: dict[Any, tuple[BaseProcess, socket.socket]] = {}  # by what tells that one has ended
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(0, selectors.EVENT_READ)
    serving = True
    while serving or jobs:
        for key, _ in waiting.select():
            if key.fileobj == 0:
                serving = False
                waiting.unregister(0)
                waiting.unregister(listener)
                address().unlink()
            elif key.fileobj is listener and serving:
                if (asked := _request(listener)) is not None:
                    job, line = asked
                    jobs[job.sentinel] = job, line
                    waiting.register(job.sentinel, selectors.EVENT_READ)
                    waiting.register(line, selectors.EVENT_READ, job)
            elif key.fileobj in jobs:
                job, line = jobs.pop(key.fileobj)
                job.join()
                with suppress(OSError):  # nobody waits for it any more
                    line.sendall(_END.pack(job.exitcode))
                waiting.unregister(job.sentinel)
                if line in waiting.get_map():
                    waiting.unregister(line)
                line.close()
                job.close()
            elif isinstance(key.data, BaseProcess) and _is_open(key.fileobj):
                _pass_on(key.fileobj, key.data, waiting)


def _request(listener: socket.socket) -> tuple[BaseProcess, socket.socket] | None:
    """Starts a job and returns it with the line to who asked; None where that ended before it had asked."""
    line, _ = listener.accept()
    line.settimeout(_SECONDS)
    try:
        head, streams, _, _ = socket.recv_fds(line, _SIZE.size, 3)
        with line.makefile("rb") as reader:
            request = json.loads(reader.read(*_SIZE.unpack(head)))
    except (OSError, struct.error, ValueError):
        line.close()
        return None
    line.settimeout(None)
    job = multiprocessing.get_context("fork").Process(target=_become, args=(request, streams, os.getpid()))
    try:
        job.start()
    except OSError as error:  # no memory, or too many processes
        print(f"cannot start a job: {error}", file=sys.stderr)
        line.close()
        return None
    finally:
        for stream in streams:
            os.close(stream)
    return job, line


def _is_open(line: Any) -> bool:
    """Whether the job of a line has not ended in the very round that told of the line."""
    return int(line.fileno()) >= 0


def _pass_on(line: Any, job: BaseProcess, waiting: selectors.BaseSelector) -> None:
    """Gives a job the signal that its first process got, or ends it where that has gone."""
    try:
        numbers = line.recv(1)
    except OSError:
        numbers = b""
    if not numbers:
        waiting.unregister(line)
    if job.pid is not None:
        # It has not been waited for, so the number is its own still.
        os.kill(job.pid, numbers[0] if numbers else signal.SIGKILL)


def _become(request: dict[str, Any], streams: Sequence[int], parent: int) -> None:
    """Takes the place of the process that asked, and runs its script."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    sys.stdin.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, closefd=False)
    os.environ.clear()
    os.environ.update(request["environment"])
    del os.environ[FOLDER]
    os.chdir(request["folder"])
    sys.argv = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    tempfile.tempdir = None  # the job's own
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # which `multiprocessing` leaves out


if __name__ == "__main__":
    main(sys.argv[1:])
