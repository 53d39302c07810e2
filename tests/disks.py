"""Disks that take nothing, made with what every Linux has."""

import resource
from contextlib import contextmanager

import pytest

from zkit import writing


@contextmanager
def full():
    """Each new file that :mod:`zkit.writing` makes beside an old one is ``/dev/full``, where every write is ENOSPC."""

    def beside(target):
        part = target.with_name(f".{target.name}.part")
        part.symlink_to("/dev/full")
        return part

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "_beside", beside)
        yield


@contextmanager
def limited(size=0):
    """No file of this process may become longer than ``size`` bytes, whoever writes it: EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
