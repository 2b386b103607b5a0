"""README's figures are the bench's."""

from pathlib import Path

from bench.report import Report, readme_rows, rows, write_readme

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_has_the_rows_that_the_bench_measures() -> None:
    assert readme_rows(README.read_text()) == rows()


def test_the_bench_writes_nothing_but_its_own_part_of_the_readme(tmp_path: Path) -> None:
    written = tmp_path / "README.md"
    text = README.read_text()
    written.write_text(text)
    write_readme(written, Report())
    written_before = written.read_text()
    assert written_before == text  # Nothing was measured.
    begin, end = "<!-- written by make bench -->", "<!-- end of what make bench writes -->"
    before, _, after = written.read_text().partition(begin)
    assert before == text.partition(begin)[0]
    assert after.partition(end)[2] == text.partition(end)[2]
    assert readme_rows(written.read_text()) == rows()
