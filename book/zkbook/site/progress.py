"""The progression of the experiments as a figure: what became of each chapter's claims, in the order of the book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zkbook import figures

STANDS = {
    "confirmed, or analogue holds": ("blue", ("confirmed", "analogue holds")),
    "refuted, or analogue fails": ("orange", ("refuted", "analogue fails")),
    "open, undecided, or not testable": ("grey", ("open", "undecided", "not testable")),
}


def draw(statuses: Mapping[str, Sequence[str]]) -> str:
    """HTML of stacked bars: title of a chapter -> the statuses of its claims; "" if no chapter has any."""
    kept = {title: found for title, found in statuses.items() if found}
    if not kept:
        return ""
    with figures.look():
        figure, panel = figures.subplots(width=7.2, height=0.9 + 0.36 * len(kept))
        left = [0] * len(kept)
        for label, (color, names) in STANDS.items():
            counts = [sum(status in names for status in found) for found in kept.values()]
            panel.barh(list(kept), counts, left=left, color=figures.COLORS[color], label=label)
            left = [a + b for a, b in zip(left, counts, strict=True)]
        panel.invert_yaxis()
        panel.set_xlabel("claims")
        panel.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    alt = "; ".join(
        f"{title}: " + ", ".join(f"{sum(s in names for s in found)} {label}" for label, (_, names) in STANDS.items())
        for title, found in kept.items()
    )
    caption = "Progression of the experiments: what became of the claims of each chapter that has been run."
    return figures.to_html(figure, key="progression", caption=caption, alt=alt)
