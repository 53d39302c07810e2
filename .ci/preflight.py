"""Check a machine before anything is installed on it: Python, its venv module, disk. Standard library only."""

import os
import shutil
import sys

# The environment with a CPU build of torch, and with the CUDA build that PyPI has for Linux.
NEEDED = (4 if os.environ.get("TORCH_INDEX") or sys.platform != "linux" else 10) * 2**30


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
        found.append(
            f"only {free / 2**30:.1f} GiB of disk are free here; the environment needs {NEEDED / 2**30:.0f} (less "
            "with a CPU build of torch: TORCH_INDEX=<url>)"
        )
    return found


if __name__ == "__main__":
    for problem in (todo := problems()):
        print(f"zkit: {problem}", file=sys.stderr)
    sys.exit(1 if todo else 0)
