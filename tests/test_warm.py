"""Jobs as forks of a process that has imported everything: they end as scripts that Snakemake starts."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from veridical import warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks of warm processes are for Linux")
WAIT = 240.0  # a warm process imports everything, on a busy machine
THREADS = {name: "1" for name in warm.THREADS}


def until(condition, what):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {WAIT:.0f} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A process that serves jobs, with few packages, in an environment as Snakemake gives it to jobs."""
    folder = tmp_path_factory.mktemp("warm", numbered=True) / "s"
    folder.mkdir()
    source = str(Path(warm.__file__).parents[1])
    environment = {**os.environ, **THREADS, "PYTHONPATH": source, warm.FOLDER: str(folder)}
    started = (
        "from veridical import warm; warm.PACKAGES = (); warm._own_modules = lambda: (); warm.main(['json'])"
    )
    process = subprocess.Popen([sys.executable, "-c", started], stdin=subprocess.PIPE, env=environment)
    until(lambda: [p for p in folder.glob("*") if p.name != "new"] or process.poll() is not None, "a start")
    assert process.poll() is None
    yield process, environment, folder
    process.stdin.close()
    process.wait(WAIT)


def job(tmp_path, text):
    """A script that is handed over, in a file as Snakemake writes it."""
    script = tmp_path / "job.py"
    handed = "import sys\nfrom veridical import warm\nif (c := warm.hand_over()) is not None: sys.exit(c)\n"
    script.write_text(handed + textwrap.dedent(text))
    return [sys.executable, str(script)]


def test_a_job_is_a_fork_with_its_own_folder_environment_arguments_and_streams(server, tmp_path):
    process, environment, _ = server
    (tmp_path / "of the job").mkdir()
    text = """
        import json, os
        told = sys.stdin.read()
        print(json.dumps([os.getppid(), os.getcwd(), os.environ["OWN"], sys.argv[1:], told, __name__]))
        print("aside", file=sys.stderr)
        assert "VERIDICAL_WARM" not in os.environ and os.environ.get("PYTHONPATH")
    """
    done = subprocess.run(
        [*job(tmp_path, text), "a", "b\u00e9"],
        input="told",
        capture_output=True,
        text=True,
        cwd=tmp_path / "of the job",
        env={**environment, "OWN": "\u00e4 b"},
        timeout=WAIT,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen == [
        process.pid,
        str(tmp_path / "of the job"),
        "\u00e4 b",
        ["a", "b\u00e9"],
        "told",
        "__main__",
    ]
    assert done.stderr == "aside\n"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no such file')", 1, "no such file\n"),
        ("raise ValueError('bad')", 1, "ValueError: bad\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import atexit; atexit.register(print, 'x', end='', file=sys.stderr)", 0, "x"),
    ],
)
def test_a_job_ends_as_its_script_does(server, tmp_path, text, code, said):
    done = subprocess.run(job(tmp_path, text), capture_output=True, text=True, env=server[1], timeout=WAIT)
    assert done.returncode == code
    assert done.stderr.endswith(said)


def running(tmp_path, environment):
    """A job that has begun, and cleans up when it is told to end."""
    text = f"""
        import os, signal, time
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            open({str(tmp_path / "begun")!r}, "w").write(str(os.getpid()))
            time.sleep({WAIT})
        finally:
            open({str(tmp_path / "ended")!r}, "w").close()
    """
    begun = tmp_path / "begun"
    process = subprocess.Popen(job(tmp_path, text), env=environment)
    until(lambda: begun.exists() and begun.read_text(), "the job's beginning")
    return process, int(begun.read_text())


def gone(pid):
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" in status.read_text()
    except FileNotFoundError:
        return True


def test_a_job_that_is_told_to_end_cleans_up(server, tmp_path):
    process, pid = running(tmp_path, server[1])
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == 128 + signal.SIGTERM
    assert (tmp_path / "ended").exists()
    until(lambda: gone(pid), "the end of the fork")


def test_a_killed_job_leaves_no_fork_behind(server, tmp_path):
    process, pid = running(tmp_path, server[1])
    process.kill()
    process.wait(WAIT)
    until(lambda: gone(pid), "the end of the fork")
    assert not (tmp_path / "ended").exists()


def test_jobs_run_beside_each_other(server, tmp_path):
    text = """
        import os, time
        open(sys.argv[1], "w").close()
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
    """
    command = job(tmp_path, text)
    names = [str(tmp_path / name) for name in ("one", "other")]
    both = [subprocess.Popen([*command, *order], env=server[1]) for order in (names, names[::-1])]
    assert [process.wait(WAIT) for process in both] == [0, 0]


@pytest.mark.parametrize(
    "change", [{"OMP_NUM_THREADS": "2"}, {"PYTHONPATH": "/elsewhere"}, {warm.FOLDER: "/nowhere"}]
)
def test_a_job_of_another_kind_runs_where_it_is(server, tmp_path, change):
    text = "import os\nprint(os.getppid())"
    command = job(tmp_path, text)
    source = f"import sys; sys.path.insert(0, {server[1]['PYTHONPATH']!r}); "
    command = [
        sys.executable,
        "-c",
        source + f"sys.argv = {command[1:]!r}; exec(open({command[1]!r}).read())",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**server[1], **change}, timeout=WAIT, check=True
    )
    assert int(done.stdout) == os.getpid()


def test_the_process_ends_with_the_one_that_started_it_after_the_last_job(tmp_path):
    source = str(Path(warm.__file__).parents[1])
    text = f"""
        import os, sys, time
        sys.path.insert(0, {source!r})
        from veridical import warm
        warm.PACKAGES = ()
        os.environ["PYTHONPATH"] = {source!r}
        warm.start()
        print(os.environ[warm.FOLDER], flush=True)
        time.sleep({WAIT})
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **THREADS},
    )
    folder = Path(owner.stdout.readline().strip())
    assert folder.stat().st_mode & 0o077 == 0
    until(lambda: [p for p in folder.glob("*") if p.name != "new"], "a start")
    environment = {**os.environ, **THREADS, "PYTHONPATH": source, warm.FOLDER: str(folder)}
    process, _ = running(tmp_path, environment)
    owner.kill()
    owner.communicate()
    until(lambda: not list(folder.glob("*")), "the end of listening")
    assert process.poll() is None
    process.terminate()
    assert process.wait(WAIT) == 128 + signal.SIGTERM
    until(lambda: not folder.exists(), "the end of the process")
