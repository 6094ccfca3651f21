"""The matrix of a crash campaign as one HTML page that needs nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Final

from .crash_report import MEANINGS, UNDECIDED, CrashReport
from .page import page, text

_STYLE: Final = """
body { padding: 0 1.2rem 2rem; }
header { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: baseline; padding: .9rem 0 .6rem; }
.verdict { font-weight: 600; padding: .05rem .6rem; border-radius: 3px; }
.good { color: var(--good); background: var(--good-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.open { color: var(--open); background: var(--open-ground); }
dl { display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: 0 0 1rem; }
dl div { display: flex; flex-direction: column-reverse; }
dt { color: var(--dim); font-size: .86em; }
dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.matrix { overflow-x: auto; max-width: 100%; border: 1px solid var(--line); width: fit-content; }
.matrix th, .matrix td { padding: .22rem .7rem; border: solid var(--soft); border-width: 0 1px 1px 0; }
.matrix th { background: var(--panel); vertical-align: baseline; }
.matrix thead th { font-weight: 600; border-bottom-color: var(--line); }
.matrix th:first-child { position: sticky; left: 0; white-space: nowrap; border-right-color: var(--line); }
.matrix td { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; vertical-align: baseline; }
.matrix td span { display: block; background: none; }
.matrix td span.bad, .matrix td span.open { font-weight: 600; }
.matrix td small { font: .86em system-ui, sans-serif; margin-left: .4em; }
.matrix td.none { color: var(--dim); text-align: center; }
.matrix .sum { border-left: 1px solid var(--line); color: var(--dim); background: none; }
.matrix tfoot > tr > * { border-top: 1px solid var(--line); border-bottom: 0; color: var(--dim); }
h2 { margin: 1.4rem 0 .4rem; font-size: 1rem; }
.legend td { padding: .12rem 1.2rem .12rem 0; vertical-align: baseline; }
.legend td:first-child { text-align: right; font-variant-numeric: tabular-nums; }
.legend .name { font-weight: 600; padding: 0 .4em; border-radius: 3px; }
.legend td:last-child { font-family: inherit; color: var(--dim); white-space: normal; }
ul { margin: 0; padding: 0; list-style: none; }
li { padding: .3rem .7rem; border-left: 3px solid var(--line); margin-bottom: .4rem; background: var(--panel);
  overflow-wrap: anywhere; }
li.bad { border-left-color: var(--bad); color: var(--ink); }
li.open { border-left-color: var(--open); color: var(--ink); }
li strong { margin-right: .5em; }
li.bad strong { color: var(--bad); }
"""


def crash_page(report: CrashReport) -> str:
    """The whole page: the verdict, the counts, the matrix, what the outcomes mean, and the findings."""
    title = f"Crash matrix: {report.kind}"
    verdict, kind = _verdict(report)
    control = f'<span class="dim">control, to be found: {text(report.control)}</span>' if report.control else ""
    facts = {"cases": report.cases, "seed": report.seed, **report.facts}
    listed = "".join(f"<div><dt>{text(name)}</dt><dd>{text(_told(value))}</dd></div>" for name, value in facts.items())
    body = (
        f'<header><h1>{text(title)}</h1><span class="verdict {kind}">{text(verdict)}</span>{control}</header>\n'
        f"<dl>{listed}</dl>\n{_matrix(report)}\n{_legend(report)}\n{_findings(report)}"
    )
    return page(title, _STYLE, f"<main>\n{body}\n</main>")


def _verdict(report: CrashReport) -> tuple[str, str]:
    undecided = report.outcomes[UNDECIDED]
    if report.bad:
        return f"✗ {_cases(report.bad)} broke a promise", "bad"
    if undecided or not report.cases:
        return f"{_cases(undecided)} undecided" if undecided else "no case ran", "open"
    return "✓ no promise was broken", "good"


def _cases(number: int) -> str:
    return f"{number:,} {'case' if number == 1 else 'cases'}"


def _told(value: float | str) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _kind(report: CrashReport, outcomes: Counter[str]) -> str:
    if any(report.is_bad(outcome) for outcome, count in outcomes.items() if count):
        return "bad"
    if outcomes[UNDECIDED]:
        return "open"
    return "good" if outcomes.total() else "dim"


def _matrix(report: CrashReport) -> str:
    commands = list(dict.fromkeys(command for _, command in report.matrix))
    points = list(dict.fromkeys(point for point, _ in report.matrix))
    heads = "".join(f'<th scope="col">{text(each)}</th>' for each in commands)
    lines = []
    for point in points:
        cells = [report.matrix.get((point, command), Counter[str]()) for command in commands]
        total = sum(sum(cell.values()) for cell in cells)
        shown = "".join(_cell(report, cell) for cell in cells)
        lines.append(f'<tr><th scope="row">{text(point)}</th>{shown}<td class="sum">{_told(total)}</td></tr>')
    sums = (sum(sum(found.values()) for (_, of), found in report.matrix.items() if of == each) for each in commands)
    rows = "\n".join(lines)
    foot = "".join(f"<td>{_told(each)}</td>" for each in sums)
    return (
        '<div class="matrix" tabindex="0"><table>\n'
        f'<thead><tr><th scope="col">crash point</th>{heads}<th scope="col" class="sum">all</th></tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n"
        f'<tfoot><tr><th scope="row">all</th>{foot}<td>{_told(report.cases)}</td></tr></tfoot>\n</table></div>'
    )


def _cell(report: CrashReport, outcomes: Counter[str]) -> str:
    told = [(outcome, outcomes[outcome]) for outcome in report.known if outcomes[outcome]]
    if not told:
        return '<td class="none">·</td>'
    lines = "".join(
        f'<span class="{_kind(report, Counter({outcome: 1}))}">{_told(count)}<small>{text(outcome)}</small></span>'
        for outcome, count in told
    )
    return f'<td class="{_kind(report, outcomes)}">{lines}</td>'


def _legend(report: CrashReport) -> str:
    lines = "".join(
        f"<tr><td>{_told(count)}</td>"
        f'<td><span class="name {_kind(report, Counter({outcome: count}))}">{text(outcome)}</span></td>'
        f"<td>{text(MEANINGS[outcome])}</td></tr>"
        for outcome, count in ((each, report.outcomes[each]) for each in report.known)
    )
    return f'<h2>Outcomes</h2>\n<table class="legend"><tbody>{lines}</tbody></table>'


def _findings(report: CrashReport) -> str:
    if not report.findings:
        return ""
    listed = "".join(_finding(report, each) for each in report.findings)
    return f"<h2>The first of each</h2>\n<ul>{listed}</ul>"


def _finding(report: CrashReport, finding: str) -> str:
    outcome, _, rest = finding.partition(": ")
    return f'<li class="{_kind(report, Counter({outcome: 1}))}"><strong>{text(outcome)}</strong>{text(rest)}</li>'
