"""What the example is rendered to, kept as files; and what hostile texts must not do to it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_example import example as make_example
from make_example import terminal_text

from wavetank.errors import InputError
from wavetank.rehearsal.report import (
    Report,
    decode,
    encode,
    render_html,
    render_junit,
    render_markdown,
    write_report,
)
from wavetank.rehearsal.report.model import Event, LoadError, Scaling
from wavetank.rehearsal.report.terminal import sparkline
from wavetank.web import static_text

DATA = Path(__file__).with_name("data")
RENDERINGS = {"example.md": render_markdown, "example.xml": render_junit, "example.txt": terminal_text}


class Page(HTMLParser):
    """The tags of a page, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and data.strip():
            self.scripts.append(data)


def hostile(report: Report, text: str) -> Report:
    """The report with ``text`` wherever a user's words or a program's output may stand."""
    slo = msgspec.structs.replace(report.slos[1], name=text, expr=text, unit=text)
    scaling = msgspec.structs.replace(report.scalings[0], workload=text, cause=text)
    load = msgspec.structs.replace(
        report.load, errors=(LoadError(name=text, error=text, count=1),), total=None
    )
    return msgspec.structs.replace(
        report,
        name=text,
        reason=text,
        slos=(slo,),
        scalings=(scaling,),
        events=(Event(at_seconds=1.0, kind=text, subject=text, message=text),),
        load=load,
        recommendations=(text,),
        files={text: text},
    )


def test_the_example_is_what_its_script_makes(example: Report) -> None:
    assert make_example() == example


@pytest.mark.parametrize("name", RENDERINGS)
def test_the_example_is_rendered_as_the_golden_file_says(example: Report, name: str) -> None:
    assert RENDERINGS[name](example) == (DATA / name).read_text()


def test_the_page_holds_the_whole_report_and_asks_for_nothing(example: Report) -> None:
    text = render_html(example)
    page = Page(text)
    assert decode(page.scripts[0]) == example
    assert not [tag for tag, attrs in page.tags if "src" in attrs or tag in {"iframe", "img", "object"}]
    assert [attrs["href"] for tag, attrs in page.tags if tag == "link"] == ["data:,"]
    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "<noscript>" in text and "It does not hold" in text.partition("<noscript>")[2]


def test_a_page_of_three_minutes_stays_small(example: Report) -> None:
    assert len(render_html(example).encode()) < 400_000


def test_the_page_carries_the_licences_of_what_it_contains(example: Report) -> None:
    text = render_html(example)
    for holder in ("Leon Sorokin", "Jason Miller"):
        assert f"Copyright (c) 20" in text and holder in text  # noqa: F541
        assert holder in static_text("THIRD_PARTY.txt")


def test_the_bundle_cannot_end_its_own_element() -> None:
    assert "</script" not in static_text("report.js").lower()
    assert "<!--" not in static_text("report.js")
    assert "</style" not in static_text("report.css").lower()


ATTACKS = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "{verdict} {0}",
    "a|b\n| c |",
    "[bold red]x",
    "[/]",
    "\x00\x1b[31m\ud7ff\ufffe",
    "]]>",
    "</noscript><b>",
    "",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_texts_stay_texts_in_every_format(example: Report, text: str) -> None:
    check_all_formats(hostile(example, text), len(Page(render_html(example)).tags))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_stays_text_in_every_format(text: str) -> None:
    example = make_example()
    check_all_formats(hostile(example, text), len(Page(render_html(example)).tags))


def check_all_formats(report: Report, tags: int) -> None:
    page = Page(render_html(report))
    assert len(page.tags) == tags
    assert decode(page.scripts[0]) == report
    ET.fromstring(render_junit(report))
    markdown = render_markdown(report)
    assert len({line.count(" | ") for line in _table_rows(markdown, "| SLO |")}) == 1
    assert not re.search(r"<(?!/?(details|summary|sub)>)\w", markdown.replace("\\<", ""))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", markdown + terminal_text(report))


def _table_rows(markdown: str, head: str) -> list[str]:
    _, _, rest = markdown.partition(head)
    return [head + line if i == 0 else line for i, line in enumerate(rest.split("\n\n")[0].splitlines())]


@pytest.mark.parametrize(
    "changes, failures, errors",
    [
        ({}, 1, 0),
        ({"outcome": "incomplete", "reason": "interrupted"}, 1, 1),
        ({"slos": ()}, 0, 0),
    ],
)
def test_junit_counts_what_it_lists(
    example: Report, changes: dict[str, object], failures: int, errors: int
) -> None:
    suite = ET.fromstring(render_junit(msgspec.structs.replace(example, **changes))).find("testsuite")
    assert suite is not None
    assert (suite.get("failures"), suite.get("errors")) == (str(failures), str(errors))
    assert (len(suite.findall(".//failure")), len(suite.findall(".//error"))) == (failures, errors)
    assert suite.get("tests") == str(len(suite.findall("testcase")))


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"total_seconds": 40.0}, "stages add up to 31.9 s of 40.0 s"),
        ({"unexplained_seconds": 5.0, "total_seconds": 36.6}, "5.00 s of 36.6 s are unexplained"),
        ({"stages": ()}, "stages add up to 350 ms of 31.9 s"),
    ],
)
def test_junit_fails_a_scaling_that_is_not_accounted_for(
    example: Report, changes: dict[str, object], says: str
) -> None:
    scaling: Scaling = msgspec.structs.replace(example.scalings[0], **changes)
    document = ET.fromstring(render_junit(msgspec.structs.replace(example, slos=(), scalings=(scaling,))))
    assert [failure.get("message") for failure in document.iter("failure")] == [says]


@pytest.mark.parametrize(
    "values, width, drawn",
    [
        ((), 10, ""),
        ((0.0, 1.0), 10, "▁█"),
        ((None, 4.0, 8.0), 10, " ▄█"),
        ((0.0, 0.0), 10, "▁▁"),
        ((1.0, 9.0, 1.0, 1.0), 2, "█▁"),
    ],
)
def test_a_sparkline_keeps_peaks_and_gaps(values: tuple[float | None, ...], width: int, drawn: str) -> None:
    assert sparkline(values, width) == drawn


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_the_summary_fits_any_terminal(example: Report, width: int) -> None:
    lines = terminal_text(example, width).splitlines()
    assert max(len(line) for line in lines if "report.json" not in line) <= width


def empty(report: Report) -> Report:
    """As little as a run that was stopped at once can say."""
    bare = {"name", "started_at", "ended_at", "duration_seconds", "environment"}
    kept = {field: getattr(report, field) for field in bare}
    timeline = msgspec.structs.replace(
        report.timeline, **dict.fromkeys(report.timeline.__struct_fields__[1:-1], ())
    )
    timeline = msgspec.structs.replace(timeline, generator=type(report.timeline.generator)())
    return Report(outcome="incomplete", timeline=timeline, **kept)


def test_an_empty_report_can_be_written(example: Report, tmp_path: Path) -> None:
    paths = write_report(empty(example), tmp_path)
    assert {path.name for path in paths.values()} == {"report.html", "report.json", "junit.xml", "report.md"}
    assert terminal_text(empty(example)).strip()


def test_files_are_written_whole_and_over_older_ones(example: Report, tmp_path: Path) -> None:
    target = tmp_path / "out" / "report"
    write_report(empty(example), target)
    assert write_report(example, target, ["json"]) == {"json": target / "report.json"}
    assert (target / "report.json").read_bytes() == encode(example)
    assert not [path for path in target.iterdir() if path.name.startswith(".")]


def test_an_unknown_format_is_refused_before_anything_is_written(example: Report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown report format 'htm'; did you mean 'html'\?"):
        write_report(example, tmp_path / "out", ["json", "htm"])
    assert not (tmp_path / "out").exists()


def test_a_report_is_rendered_again_from_its_json(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from wavetank.rehearsal.report.__main__ import main

    result = CliRunner().invoke(main, [str(DATA / "example.json"), str(tmp_path), "--format", "markdown"])
    assert result.exit_code == 0 and "It does not hold" in result.output
    assert (tmp_path / "report.md").read_text() == (DATA / "example.md").read_text()
    (tmp_path / "bad.json").write_text(json.dumps({"schema_version": 7}))
    assert CliRunner().invoke(main, [str(tmp_path / "bad.json"), str(tmp_path)]).exit_code == 2
