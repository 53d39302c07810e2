"""Replication: the literal arms of three published systems on any model, beside what was published.

A published figure is a record with a tolerance and the name of the function that measures it (``book/published.yml``).
A figure of one model is never called a replication of another's.
"""

from zkbook.replication.kept import FILE, load
from zkbook.replication.report import rows
from zkbook.replication.run import replicate, where

__all__ = ["FILE", "load", "replicate", "rows", "where"]
