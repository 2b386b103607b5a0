"""The page of figures has what the bench measures."""

from pathlib import Path

from bench.report import Report, rows, table_rows, write_tables

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "performance.md"


def test_the_page_has_the_rows_that_the_bench_measures() -> None:
    assert table_rows(PAGE.read_text()) == rows()


def test_the_bench_writes_nothing_but_its_own_part_of_the_page(tmp_path: Path) -> None:
    written = tmp_path / "performance.md"
    text = PAGE.read_text()
    written.write_text(text)
    write_tables(written, Report())
    written_before = written.read_text()
    assert written_before == text  # Nothing was measured.
    begin, end = "<!-- written by make bench -->", "<!-- end of what make bench writes -->"
    before, _, after = written.read_text().partition(begin)
    assert before == text.partition(begin)[0]
    assert after.partition(end)[2] == text.partition(end)[2]
    assert table_rows(written.read_text()) == rows()
