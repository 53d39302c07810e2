"""The runner: what it executes, in which order, and that no failure costs what was there before."""

import json
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import nbformat
import pytest
from tiny_book import make_book, write_chapter, zkit

from zkbook.pages import locks, runner, sourcebook, worker
from zkbook.pages.places import PACKAGES
from zkbook.pages.worker import Outcome
from zkit.errors import ZkitError

FIRST = 'chapter.stat("x", alpha * 2)'
SECOND = 'chapter.stat("y", chapter.need("00_first")["stats"]["x"]["value"] + 1)'


@pytest.fixture
def book(tmp_path):
    """Two chapters, of which the second reads the first."""
    root = make_book(tmp_path / "book {of} two")  # papermill formats paths: braces must survive
    write_chapter(root / "notebooks", "00_first", FIRST)
    write_chapter(root / "notebooks", "01_second", SECOND, needs=("00_first",))
    return root


def make(root, *options, **kwargs):
    return zkit("book", "--root", root, "--no-build", *options, **kwargs)


def run_folder(root):
    return root / "runs" / "embedded-embedded"


def stat(root, chapter, key):
    return json.loads((run_folder(root) / "results" / f"{chapter}.json").read_text())["stats"][key]["value"]


def executed(root, chapter):
    return json.loads((run_folder(root) / f"{chapter}.ipynb").read_text())


def leftovers(root):
    return sorted(path.name for path in run_folder(root).rglob("*") if ".part" in path.name)


def test_a_book_runs_in_order_once_and_is_then_current(book, tmp_path):
    done = make(book, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert stat(book, "00_first", "x") == 4 and stat(book, "01_second", "y") == 5
    notebook = executed(book, "00_first")
    foot = "".join(notebook["cells"][-1]["outputs"][-1]["data"]["text/html"])
    assert 'class="zkit-stamp"' in foot and "not executed by" not in foot
    assert set(notebook["metadata"]["zkit"]["stamp"]["modules"]) >= {"zkit", "zkbook.pages", "zkbook.pages.chapter"}
    assert "zkbook.pages.runner" not in notebook["metadata"]["zkit"]["stamp"]["modules"]
    assert leftovers(book) == []
    staged = sorted(str(p.relative_to(book / "book" / "executed")) for p in (book / "book" / "executed").rglob("*.*"))
    assert staged == ["00_first.ipynb", "01_second.ipynb", "results/00_first.json", "results/01_second.json"]

    assert 2**24 < notebook["metadata"]["zkit"]["stamp"]["peak_bytes"] < 2**40

    again = make(book, cwd="/")
    assert again.returncode == 0 and "unchanged: 00_first, 01_second" in again.stdout
    assert "executed in" not in again.stdout
    checked = zkit("check", "--root", book, cwd=tmp_path)
    assert checked.returncode == 0 and "every chapter is current" in checked.stdout


def test_what_a_chapter_wants_is_read_where_it_is_there_and_makes_it_stale_when_it_comes(tmp_path):
    root = make_book(tmp_path / "book")
    reads = 'found = chapter.want("01_later")\nchapter.stat("y", found["stats"]["x"]["value"] if found else -1)'
    reader = write_chapter(root / "notebooks", "00_reader", reads, wants=("01_later",))
    write_chapter(root / "notebooks", "01_later", FIRST)
    alone = zkit("run", reader)
    assert alone.returncode == 0, alone.stderr
    assert stat(root, "00_reader", "y") == -1
    assert make(root).returncode == 0
    assert stat(root, "00_reader", "y") == 4
    assert "unchanged: 00_reader, 01_later" in make(root).stdout.replace("01_later, 00_reader", "00_reader, 01_later")


def test_only_what_changed_runs_again(book):
    assert make(book).returncode == 0
    write_chapter(book / "notebooks", "00_first", "# the same figure, written otherwise", FIRST)
    checked = zkit("check", "--root", book)
    assert checked.returncode == 1 and checked.stdout.strip() == "00_first: its code changed"
    same_figure = make(book)
    assert "00_first: executed" in same_figure.stdout and "unchanged: 01_second" in same_figure.stdout

    write_chapter(book / "notebooks", "00_first", 'chapter.stat("x", 7)')
    other_figure = make(book)
    assert "00_first: executed" in other_figure.stdout and "01_second: executed" in other_figure.stdout
    assert stat(book, "01_second", "y") == 8

    assert zkit("run", book / "notebooks" / "00_first.ipynb", "-p", "alpha=3").returncode == 0
    checked = zkit("check", "--root", book)
    assert checked.returncode == 1 and "00_first: parameters changed: alpha" in checked.stdout
    (run_folder(book) / "results" / "01_second.json").unlink()
    assert "its results file is gone" in zkit("check", "--root", book).stdout.splitlines()[1]


def test_stale_by_the_modules_that_were_imported_and_by_no_other(book, tmp_path):
    site = tmp_path / "site"
    for name, folder in PACKAGES.items():
        shutil.copytree(folder, site / name, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    package = site / "zkit"
    (package / "used.py").write_text("ONE = 1\n")
    os.utime(package / "used.py", (1000, 1000))
    write_chapter(book / "notebooks", "00_first", "from zkit.used import ONE", FIRST)
    elsewhere = {"PYTHONPATH": str(site), "cwd": tmp_path}
    assert make(book, **elsewhere).returncode == 0
    assert zkit("check", "--root", book, **elsewhere).returncode == 0

    with (site / "zkbook" / "pages" / "runner.py").open("a") as module:
        module.write("# a comment in a module that no chapter imports\n")
    assert zkit("check", "--root", book, **elsewhere).returncode == 0

    (package / "used.py").write_text("ONE = 1  # a comment in a module that one chapter imports\n")
    checked = zkit("check", "--root", book, **elsewhere)
    assert checked.returncode == 1 and checked.stdout.strip() == "00_first: module zkit.used changed"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("alfa=3", "00_first has no parameter 'alfa'; did you mean 'alpha'?"),
        ("alpha=much", "parameter alpha = 'much' is refused"),
        ("alpha=nan", "parameter alpha = nan is refused"),
        ("alpha=inf", "parameter alpha = inf is refused"),
        ("seed=-1", "parameter seed = -1 is refused"),
        ("seed=1.5", "parameter seed = 1.5 is refused"),
        ("out=/dev/null/out", "/dev/null is a file, not a folder"),
        ("profile=large", "no profile 'large'"),
        ("alpha", "write -p name=value"),
    ],
)
def test_bad_parameters_are_refused_before_a_kernel_starts(book, option, message):
    done = zkit("run", book / "notebooks" / "00_first.ipynb", "-p", option)
    assert done.returncode == 2
    assert done.stderr.startswith("zkit: ") and message in done.stderr and "Traceback" not in done.stderr
    assert not (book / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.ipynb"], "there is no notebook"),
        (["book", "--root", "/"], "holds no book"),
        (["book", "--profile", "large"], "no profile 'large'"),
        (["book", "--model", "/no/such/folder"], "does not exist"),
    ],
)
def test_bad_options_end_with_one_message(book, arguments, message):
    write_chapter(book / "notebooks", "00_first", FIRST, parameters='model: str = "embedded"\nout: str = ""')
    root = [] if "--root" in arguments or "run" in arguments else ["--root", book]
    done = zkit(*arguments, *root)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_plain_papermill_is_refused_inside_the_notebook(book, tmp_path):
    import papermill

    source = str(book / "notebooks" / "00_first.ipynb").replace("{", "{{").replace("}", "}}")
    for name, value, message in (("alfa", "3", "no parameter 'alfa'"), ("alpha", "much", "is refused")):
        done = subprocess.run(
            [sys.executable, "-m", "papermill", source, tmp_path / "o.ipynb", "-p", name, value, "-p", "out", tmp_path],
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0 and message in done.stderr, papermill.__version__
    assert not (tmp_path / "results").exists()


def test_a_failing_chapter_is_shown_set_aside_and_costs_nothing_else(book):
    assert make(book).returncode == 0
    good = executed(book, "00_first")
    staged = (book / "book" / "executed" / "00_first.ipynb").read_bytes()
    write_chapter(book / "notebooks", "00_first", FIRST, "denominator = 0\n1 / denominator")
    write_chapter(book / "notebooks", "02_other", 'chapter.stat("z", 1)')
    done = make(book)
    assert done.returncode == 1
    assert "00_first failed: cell [5] raised ZeroDivisionError: division by zero" in done.stderr
    assert "    1 / denominator" in done.stderr and "ZeroDivisionError" in done.stderr.split("traceback:")[1]
    assert "01_second failed: not executed, because it needs 00_first" in done.stderr
    assert executed(book, "00_first") == good and stat(book, "02_other", "z") == 1
    assert (run_folder(book) / "00_first.failed.ipynb").is_file() and leftovers(book) == []
    assert (book / "book" / "executed" / "00_first.ipynb").read_bytes() == staged
    assert not (book / "book" / "executed" / "02_other.ipynb").exists()

    write_chapter(book / "notebooks", "00_first", FIRST)
    mended = make(book)
    assert mended.returncode == 0 and "unchanged: 00_first, 01_second, 02_other" in mended.stdout


def test_a_killed_kernel_fails_its_chapter_alone(book):
    write_chapter(book / "notebooks", "00_first", FIRST, "import os\nos.kill(os.getpid(), 9)")
    write_chapter(book / "notebooks", "02_other", 'chapter.stat("z", 1)')
    done = make(book)
    assert done.returncode == 1
    assert "00_first failed: its kernel died in this cell" in done.stderr and "os.kill(os.getpid(), 9)" in done.stderr
    assert "started again" not in done.stderr
    assert stat(book, "02_other", "z") == 1 and leftovers(book) == []


@pytest.mark.parametrize("taken", [1, worker.STARTS])
def test_a_kernel_whose_port_is_taken_is_started_again(book, monkeypatch, capfd, taken):
    """Its ports are free when they are chosen; another may take one before the kernel does."""
    from jupyter_client.connect import LocalPortCache

    [plan, _] = plans(book)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        find, calls = LocalPortCache.find_available_port, []

        def ports(cache, ip):
            calls.append(ip)
            return other.getsockname()[1] if len(calls) % 5 == 1 and len(calls) < 5 * taken else find(cache, ip)

        monkeypatch.setattr(LocalPortCache, "find_available_port", ports)
        found = worker.execute(runner._job(plan, False, 1))
    said = capfd.readouterr().err
    assert said.count("zkit: the kernel of 00_first did not start") == min(taken, worker.STARTS - 1)
    if taken == worker.STARTS:
        assert re.search(r"did not start \(RuntimeError: .*\), 3 times; is there memory", found.failure.reason)
    else:
        assert found.failure is None and stat(book, "00_first", "x") == 4


def test_a_killed_worker_ends_in_one_message_and_the_next_run_resumes(book, tmp_path):
    mended = tmp_path / "mended"
    kill = f'import os\nif not os.path.exists("{mended}"):\n    os.kill(os.getppid(), 9)'
    write_chapter(book / "notebooks", "01_second", SECOND, kill, needs=("00_first",))
    write_chapter(book / "notebooks", "02_third", SECOND, needs=("00_first", "01_second"))
    done = make(book)
    assert done.returncode == 1
    assert "01_second failed: a worker process was killed" in done.stderr
    assert "the same command again to resume" in done.stderr and "os.kill" in done.stderr
    assert "02_third failed: not executed, because a worker process was killed" in done.stderr
    assert "Traceback" not in done.stderr
    assert stat(book, "00_first", "x") == 4 and leftovers(book) == []
    mended.touch()
    resumed = make(book)
    assert resumed.returncode == 0 and "unchanged: 00_first" in resumed.stdout and stat(book, "02_third", "y") == 5


@pytest.mark.parametrize(("number", "group", "times"), [(signal.SIGINT, True, 2), (signal.SIGTERM, False, 1)])
def test_an_interrupted_run_leaves_the_last_good_copy_and_no_process(book, tmp_path, number, group, times):
    """A terminal signals the whole group, and keys are pressed twice."""
    assert make(book).returncode == 0
    good = executed(book, "00_first")
    pids = tmp_path / "pids"
    body = f'import os, time\nopen("{pids}", "w").write(f"{{os.getpid()}} {{os.getppid()}}")\ntime.sleep(600)'
    write_chapter(book / "notebooks", "00_first", FIRST, body)
    process = subprocess.Popen(
        [sys.executable, "-m", "zkit", "book", "--root", book, "--no-build"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    try:
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        for _ in range(times):
            (os.killpg if group else os.kill)(process.pid, number)
            time.sleep(0.05)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and stderr.count("zkit: interrupted") == 1
    assert stderr.endswith("zkit: interrupted; what is finished is kept, the same command resumes\n")
    assert "Traceback" not in stderr
    assert executed(book, "00_first") == good
    until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))
    write_chapter(book / "notebooks", "00_first", FIRST)
    assert "unchanged: 00_first, 01_second" in make(book).stdout and leftovers(book) == []


@pytest.mark.parametrize("place", ["in a chapter", "in the build"])
def test_a_killed_driver_leaves_no_process_and_the_next_run_completes(book, tmp_path, place):
    pids, stop = tmp_path / "pids", tmp_path / "stop"
    note = f'open("{pids}", "w").write(f"{{os.getpid()}} {{os.getppid()}}")\n'
    wait = f'import os, time\n{note}while not os.path.exists("{stop}"):\n    time.sleep(0.05)'
    if place == "in a chapter":
        write_chapter(book / "notebooks", "00_first", FIRST, wait)
    else:
        (book / "book" / "slow.py").write_text(f"{wait}\ndef setup(app): pass\n")
        config = (book / "_config.yml").read_text()
        (book / "_config.yml").write_text(config + "sphinx: {local_extensions: {slow: book}}\n")
    driver = subprocess.Popen(
        [sys.executable, "-m", "zkit", "book", "--root", book],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    second = zkit("book", "--root", book, "--profile", "smoke")
    assert second.returncode == 2 and f"zkit: process {driver.pid} (since 20" in second.stderr
    driver.kill()
    driver.wait()
    begun = [int(pid) for pid in pids.read_text().split() if int(pid) != driver.pid]
    until(lambda: not any(alive(pid) for pid in begun))
    stop.touch()
    again = zkit("book", "--root", book)
    assert again.returncode == 0, again.stderr
    assert leftovers(book) == [] and (book / "_build" / "html" / "index.html").is_file()
    assert sorted(p.name for p in (book / "_build").iterdir()) == [".lock", "fingerprint", "html"]


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as state:
            return state.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_room_on_the_disk_is_one_message_and_leaves_what_was_there(book):
    assert make(book).returncode == 0
    good = executed(book, "00_first")
    write_chapter(book / "notebooks", "00_first", FIRST, 'print("a" * 300_000)')

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    full = subprocess.run(
        [sys.executable, "-m", "zkit", "book", "--root", book, "--no-build"],
        capture_output=True,
        text=True,
        preexec_fn=small_files,
    )
    assert full.returncode == 1
    assert "00_first failed: no room on the disk" in full.stderr and "Traceback" not in full.stderr
    assert executed(book, "00_first") == good and leftovers(book) == []
    assert make(book).returncode == 0


def test_a_missing_need_names_the_command_that_makes_it(book, tmp_path):
    second = book / "notebooks" / "01_second.ipynb"
    done = zkit("run", second)
    assert done.returncode == 2
    command = done.stderr.strip().rpartition("make them first with: python -m zkit ")[2]
    assert zkit(*shlex.split(command), cwd=book).returncode == 0, command
    assert zkit("run", second).returncode == 0 and stat(book, "01_second", "y") == 5


def test_reading_results_that_the_metadata_does_not_list_is_refused(book):
    write_chapter(book / "notebooks", "01_second", SECOND)
    done = make(book, "--workers", "1")
    assert done.returncode == 1 and "01_second reads the results of 00_first; list it" in done.stderr


def test_a_chapter_that_gives_another_name_is_refused(book):
    path = write_chapter(book / "notebooks", "00_first", FIRST)
    path.rename(path.with_name("00_renamed.ipynb"))
    done = zkit("run", path.with_name("00_renamed.ipynb"))
    assert done.returncode == 1 and "calls pages.begin('00_first', ...)" in done.stderr


def test_chapters_run_on_one_thread(book):
    read = 'import os\nchapter.stat("threads", int(os.environ["OMP_NUM_THREADS"]))'
    done = zkit("run", write_chapter(book / "notebooks", "02_threads", read), OMP_NUM_THREADS="7")
    assert done.returncode == 0 and stat(book, "02_threads", "threads") == 1


def test_a_readers_own_notebook_runs_from_anywhere_and_always_again(tmp_path):
    path = write_chapter(tmp_path / "my notes", "mine", "print(warmth)", parameters="warmth: float = 1.0", finish=False)
    content = json.loads(path.read_text())
    del content["cells"][2]  # no begin
    path.write_text(json.dumps(content))
    for _ in range(2):
        done = zkit("run", path, "-p", "warmth=2.5", cwd="/")
        assert done.returncode == 0 and "unchanged" not in done.stdout
    kept = json.loads((path.parent / "runs" / "embedded-embedded" / "mine.ipynb").read_text())
    assert kept["cells"][-1]["outputs"][0]["text"] == ["2.5\n"]


def test_run_says_when_nothing_changed_and_force_executes(book):
    first = book / "notebooks" / "00_first.ipynb"
    assert "is unchanged" not in zkit("run", first).stdout
    assert "is unchanged" in zkit("run", first).stdout
    assert "is unchanged" not in zkit("run", first, "--force").stdout


def plans(root):
    chapters = [sourcebook.read(path) for path in sorted((root / "notebooks").glob("*.ipynb"))]
    return [sourcebook.plan(chapter, "embedded") for chapter in sourcebook.in_order(chapters)]


def test_any_executor_will_do_and_stays_open(book):
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        report = runner.run(plans(book), executor=executor, bar=False)
        assert list(report.executed) == ["00_first", "01_second"] and not report.failures
        assert executor.submit(len, "abc").result() == 3


def test_two_runs_do_not_write_to_one_folder(book):
    out, since = run_folder(book), r"\(since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\)"
    with (
        locks.held(out / ".lock", f"writes to {out}", "or not"),
        pytest.raises(ZkitError, match=f"process {os.getpid()} {since} writes to .*wait for it to end, or choose"),
    ):
        runner.run(plans(book), bar=False)
    assert runner.run(plans(book), bar=False).failures == []


def test_the_longest_chain_of_chapters_starts_first(tmp_path, capsys):
    root, started = make_book(tmp_path / "long"), []
    for name, seconds in {"00_short": 5, "01_head": 10, "02_long": 50, "03_tail": 90}.items():
        path = write_chapter(root / "notebooks", name, needs=("01_head",) if name == "03_tail" else ())
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata["zkit"]["seconds"] = seconds
        nbformat.write(notebook, path)

    class Noting(ThreadPoolExecutor):
        def submit(self, call, task):
            started.append(task.name)
            return super().submit(Outcome, task.name, 0.0, None)

    with Noting(1) as executor:
        runner.run(plans(root), executor=executor)
    assert started == ["01_head", "02_long", "00_short", "03_tail"]
    assert "4 chapters to execute, 4 at a time: about 2 min" in capsys.readouterr().err
