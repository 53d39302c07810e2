"""Check a machine before anything is installed on it: Python, its venv module, disk. Standard library only."""

import shutil
import sys

NEEDED = 4 * 2**30  # an environment with a CUDA build of torch is larger still; this is the CPU build


def problems() -> list[str]:
    found = []
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found.append(
            f"Python {sys.version.split()[0]} is not supported, 3.11 to 3.13 are: make PYTHON=python3.12 ... "
            "(Debian, Ubuntu: apt install python3 python3-venv)"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        version = ".".join(map(str, sys.version_info[:2]))
        found.append(f"Python's venv module is missing: apt install python{version}-venv")
    free = shutil.disk_usage(".").free
    if free < NEEDED:
        found.append(f"only {free / 2**30:.1f} GiB of disk are free here; the environment needs {NEEDED / 2**30:.0f}")
    return found


if __name__ == "__main__":
    for problem in (todo := problems()):
        print(f"zkit: {problem}", file=sys.stderr)
    sys.exit(1 if todo else 0)
