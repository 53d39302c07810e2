"""The figure of the ledger page: every chapter's claims, by where they stand."""

from typing import get_args

from zkbook.claims import Status
from zkbook.site import progress


def test_every_status_has_its_bar():
    named = [status for _, names in progress.STANDS.values() for status in names]
    assert sorted(named) == sorted(get_args(Status))


def test_counts_are_told_in_words_and_chapters_without_claims_are_left_out():
    page = progress.draw({"00 One": ["confirmed", "refuted", "confirmed"], "01 Two": [], "02 Three": ["not testable"]})
    assert (
        "00 One: 2 confirmed, or analogue holds, 1 refuted, or analogue fails, 0 open, undecided, or not testable"
        in page
    )
    assert (
        "02 Three: 0 confirmed, or analogue holds, 0 refuted, or analogue fails, 1 open, undecided, or not testable"
        in page
    )
    assert "01 Two" not in page and 'id="fig-progression"' in page


def test_before_any_run_there_is_no_figure():
    assert progress.draw({"00 One": [], "01 Two": []}) == ""
