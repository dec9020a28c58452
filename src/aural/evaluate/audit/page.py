"""Write an audit as text and as one self-contained HTML page."""

from __future__ import annotations

import html
from pathlib import Path

from aural.core.files import write_text
from aural.evaluate.audit.groups import GroupGap
from aural.evaluate.audit.run import VERDICTS, Audit, Tower
from aural.evaluate.report.page import STYLE
from aural.evaluate.report.svg import line, svg, text

ROW = 18.0
NAMES = 200.0
PLOT = 420.0


def report(audit: Audit) -> str:
    """Return the audit as lines of text."""
    lines = [f"model {audit.model}", "", "tower  items  mean cosine  effective rank  uniformity  verdict"]
    for name, tower in (("text", audit.text), ("audio", audit.sound)):
        lines.append(
            f"{name:<5}  {tower.items:>5}  {tower.mean_cosine:>11.3f}  {_rank(tower):>14}  {tower.uniformity:>10.2f}  "
            f"{tower.verdict}"
        )
    lines += ["", f"modality gap  {audit.modality_gap:.3f}  (0 to 2)"]
    if audit.alignment is not None:
        lines.append(f"alignment     {audit.alignment:.3f}  (0: sound and caption coincide, 2: unrelated)")
    for column, gaps in audit.groups.items():
        lines += ["", f"{column}: own caption in the top 10"]
        lines += [_group_line(gap) for gap in gaps] or ["  fewer than two groups of 20 or more clips"]
    if audit.membership is not None:
        m = audit.membership
        lines += [
            "",
            f"membership  AUROC {m.auroc:.3f} [{m.low:.3f}, {m.high:.3f}]  {m.members} trained, {m.others} other",
        ]
    if audit.names is not None:
        n = audit.names
        lines += [
            "",
            f"names       AUROC {n.auroc:.3f} [{n.low:.3f}, {n.high:.3f}]  {n.members} trained, {n.others} other, text "
            "alone",
        ]
    lines += ["", *(f"warning: {warning}" for warning in audit.warnings)] if audit.warnings else ["", "no warning"]
    return "\n".join([*lines, *(f"skipped: {reason}" for reason in audit.skipped)])


def _rank(tower: Tower) -> str:
    return f"{tower.effective_rank:.1f} of {tower.most_rank}"


def _group_line(gap: GroupGap) -> str:
    interval = f"[{gap.low:+.2f}, {gap.high:+.2f}]{' *' if gap.differs else ''}"
    return f"  {gap.group:<24} {gap.clips:>5} clips  {gap.score:.2f}  {gap.gap:+.2f} {interval}"


def write_page(audit: Audit, path: str | Path) -> None:
    """Write the audit as an HTML page without scripts."""
    e = html.escape
    towers = "".join(
        f"<tr><td>{name}</td><td class=num>{tower.items}</td><td class=num>{tower.mean_cosine:.3f}</td>"
        f"<td class=num>{_rank(tower)}</td><td class=num>{tower.uniformity:.2f}</td><td>{tower.verdict}</td></tr>"
        for name, tower in (("text", audit.text), ("audio", audit.sound))
    )
    warnings = "".join(f"<li>{e(warning)}</li>" for warning in audit.warnings)
    alignment = "" if audit.alignment is None else f"; alignment {audit.alignment:.3f} (2: unrelated)"
    bounds = ", ".join(f"{bound} {name}" for name, bound in VERDICTS.items())
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>aural audit {e(audit.model)}</title>",
        f"<style>{STYLE}</style><h1>Audit of {e(audit.model)}</h1>",
        f"<ul>{warnings}</ul>" if warnings else "<p>No warning.</p>",
        "<h2>Towers</h2><table><thead><tr><th>tower<th>items<th>mean cosine<th>effective rank<th>uniformity<th>verdict",
        f"</thead><tbody>{towers}</tbody></table>",
        f"<p class=dim>From a mean cosine of {bounds}. Modality gap {audit.modality_gap:.3f} (0 to 2){alignment}.</p>",
    ]
    for column, gaps in audit.groups.items():
        parts.append(f"<h2>Groups by {e(column)}</h2>{_drawing(gaps)}")
        parts.append(
            "<p class=dim>Share of clips whose own caption is among the ten most similar ones, against all others. "
            "Bars: bootstrap intervals at 95% for all groups together (Bonferroni).</p>"
        )
    if audit.membership is not None:
        m = audit.membership
        parts.append(
            f"<h2>Membership</h2><p>AUROC {m.auroc:.3f} [{m.low:.3f}, {m.high:.3f}] of the similarity of sound and "
            f"caption, {m.members} trained clips against {m.others} others. 0.5: equal.</p>"
        )
    if audit.names is not None:
        n = audit.names
        parts.append(
            f"<h2>Names</h2><p>AUROC {n.auroc:.3f} [{n.low:.3f}, {n.high:.3f}] of how unusual a name is among "
            f"gibberish, {n.members} trained names against {n.others} others, from text alone. 0.5: equal.</p>"
        )
    if audit.skipped:
        parts.append("<h2>Skipped</h2><ul>" + "".join(f"<li>{e(reason)}</li>" for reason in audit.skipped) + "</ul>")
    write_text(path, "\n".join(parts) + "\n")


def _drawing(gaps: list[GroupGap]) -> str:
    """Return a dot and an interval per group on an axis of points from the lowest to the highest bound."""
    if not gaps:
        return "<p>Fewer than two groups of 20 or more clips.</p>"
    low, high = min(-0.05, *(gap.low for gap in gaps)), max(0.05, *(gap.high for gap in gaps))

    def at(value: float) -> float:
        return NAMES + PLOT * (value - low) / (high - low)

    foot = ROW * len(gaps) + 4
    body = [line(at(0), 0, at(0), foot, "#555")]
    for number, gap in enumerate(gaps):
        y = ROW * (number + 0.5)
        stroke = "#aa3377" if gap.differs else "#888"
        body.append(text(NAMES - 8, y + 4, f"{gap.group[:24]} ({gap.clips})", "end", gap.group))
        body.append(line(at(gap.low), y, at(gap.high), y, stroke, 2))
        hover = f"<title>{gap.gap:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]</title>"
        body.append(f'<circle cx="{at(gap.gap):.1f}" cy="{y:.1f}" r="4" fill="{stroke}">{hover}</circle>')
    body += [text(at(tick), foot + 13, f"{100 * tick:+.0f}", "middle") for tick in (low, 0.0, high)]
    return svg(NAMES + PLOT + 30, foot + 18, body)
