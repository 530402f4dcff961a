"""Print a comparison of two runs as text."""

from __future__ import annotations

from collections.abc import Set

from tabulate import tabulate

from eval.compare_runs import LEVEL, Comparison, Difference
from eval.tables import FOOTNOTE, MARK

MOST = 12
"""Settings that are printed; the page has all of them."""
HEADINGS = ("judge", "track", "metric", "n", "differ", "A", "B", "B − A", "95% interval", "p", "q", "")
ALIGN = (*3 * ("left",), *5 * ("right",), "left", *2 * ("right",), "left")


def as_text(comparison: Comparison) -> str:
    """Return the differences as tables, under what differs in settings and above the notes."""
    parts = [f"A: {comparison.a.name}\nB: {comparison.b.name}"]
    for pair in comparison.pairs:
        settings = [f"  {name}: {one} → {other}" for name, one, other in pair.settings]
        more = [f"  and {len(settings) - MOST} more, see the page"] if len(settings) > MOST else []
        parts.append("\n".join([pair.name, *settings[:MOST], *more]))
        parts.append(
            tabulate(
                [cells(row, comparison.inverted) for row in pair.differences],
                HEADINGS,
                "simple",
                disable_numparse=True,
                colalign=ALIGN,
            )
        )
    parts.append(legend(comparison))
    if comparison.inverted:
        parts.append(FOOTNOTE)
    if comparison.notes:
        parts.append("\n".join(f"Note: {note}." for note in comparison.notes))
    return "\n\n".join(parts)


def legend(comparison: Comparison) -> str:
    """Return one sentence on how to read the numbers."""
    tests = sum(len(pair.differences) for pair in comparison.pairs)
    return (
        "n: prompts, paired by prompt and seed; differ: prompts that differ; interval: bootstrap over prompts; p: "
        f"permutation test; q: Benjamini–Hochberg over all {tests} rows. A verdict stands "
        f"where q < {LEVEL}; untestable: too few prompts differ for any p < {LEVEL}."
    )


def cells(row: Difference, inverted: Set[tuple[str, str]] = frozenset()) -> list[str]:
    """Return the cells of a difference, with its metric's decimals.

    Args:
        row: the difference.
        inverted: judges and tracks that are marked.

    Example:
        >>> from eval.metrics import METRICS
        >>> row = Difference("mini", "texture", METRICS[0], 12, 6, 0.9, 0.4, -0.5, -0.75, -0.25, 0.031, 0.031, 0.04)
        >>> cells(row)[5:]
        ['0.900', '0.400', '-0.500', '-0.750 to -0.250', '0.031', '0.040', 'A better']
    """
    digits = row.metric.digits
    ends = " to ".join(f"{end:+.{digits}f}" for end in (row.low, row.high))
    means = (f"{mean:.{digits}f}" for mean in (row.a, row.b))
    judge = f"{row.judge}{MARK if (row.judge, row.track) in inverted else ''}"
    about = (judge, row.track.replace("_", " "), row.metric.label, str(row.n), str(row.differ))
    return [*about, *means, f"{row.difference:+.{digits}f}", ends, p_text(row.p), p_text(row.q), row.verdict]


def p_text(p: float) -> str:
    """Return a p-value with three decimals.

    Example:
        >>> p_text(0.0312), p_text(0.0001)
        ('0.031', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"
