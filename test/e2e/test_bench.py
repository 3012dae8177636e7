"""The comparison with other servers runs, measures each one that is there, and reckons rightly."""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys

import pytest

import vestibule as program

BENCH = program.REPOSITORY / "bench"
sys.path.append(str(BENCH))

import compare_report as report  # noqa: E402
import peers  # noqa: E402
import plot  # noqa: E402

WORKS = {"idle", "handshake", "resumed", "session", "half", "bulk", "rsa"}


def results(rounds, alone=()):
    names = [name for one in rounds[:1] for name in one]
    return {"machine": "a machine", "date": "a day", "versions": {name: "1" for name in names}, "missing": {"Hitch": ["hitch"]},
            "failures": [], "rounds": rounds, "alone": list(alone)}


def session(cpu):
    return {"session": {"cpu": cpu}}


@pytest.mark.skipif(program.SANITIZED, reason="figures are the plain build's")
def test_a_smoke_run_measures_every_server_that_is_there(tmp_path):
    done = subprocess.run([BENCH / "compare", "--smoke", "--output", tmp_path], capture_output=True, text=True, timeout=180,
                          env=dict(os.environ, BUILD=str(program.BINARY.parent), VESTIBULE_BINARY=str(program.BINARY)))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "compare.json").read_text())
    assert set(found["versions"]) | set(found["missing"]) == {kind.name for kind in peers.ALL}
    assert "Vestibule" in found["versions"]
    for name, works in found["rounds"][0].items():
        assert set(works) == WORKS, f"{name}: {works}"
        for work, figures in works.items():
            assert all(value > 0 for figure, value in figures.items() if figure != "memory"), f"{name}, {work}: {figures}"
    assert found["alone"][0]["workers"]["speedup"] > 0 and found["alone"][0]["disturbed"]["alone"] > 0
    for name in found["missing"]:
        assert f"Missing: {name}" in done.stdout
    table = (tmp_path / "compare.md").read_text()
    assert all(row.label in table for row in report.ROWS)
    assert (tmp_path / "compare.svg").read_text().count("<rect") > 10


def test_ratios_are_taken_within_a_round():
    """The machine was slower in the second round, for both: the ratio does not see it."""
    summary = report.Summary(results([{"Vestibule": session(1e-4), "nginx mail": session(2e-4)},
                                      {"Vestibule": session(3e-4), "nginx mail": session(6e-4)},
                                      {"Vestibule": session(1e-4), "nginx mail": session(3e-4)}]))
    row = next(row for row in report.ROWS if (row.work, row.figure) == ("session", "cpu"))
    assert summary.ratio("nginx mail", row) == pytest.approx((2, 2, 3))
    assert summary.absolute("nginx mail", row) == pytest.approx((3e-4, 2e-4, 6e-4))


@pytest.mark.parametrize("cost, holds", [(1.39e-4, True), (1.41e-4, False)])
def test_a_target_holds_or_is_missed(cost, holds):
    summary = report.Summary(results([{"Vestibule": session(cost), "nginx mail": session(2e-4)}]))
    assert [held for held, sentence in report.targets(summary) if sentence.startswith("session,")] == [holds]


def test_what_was_not_measured_is_not_made_up():
    summary = report.Summary(results([{"Vestibule": session(1e-4)}]))
    held = dict((sentence.split(",")[0], held) for held, sentence in report.targets(summary))
    assert set(held.values()) == {None}
    assert "Missing: Hitch (not installed: hitch)." in report.text(summary)
    plot.draw(summary)


def test_the_table_goes_between_its_markers_and_nowhere_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench -->\nold\n\n<!-- end bench -->\nafter\n")
    assert report.write_between(page, "bench", r"new \1 text")
    assert page.read_text() == "before\n<!-- bench -->\nnew \\1 text\n<!-- end bench -->\nafter\n"
    page.write_text("no place\n")
    assert not report.write_between(page, "bench", "text")
    assert page.read_text() == "no place\n"


def counting():
    path = str(BENCH / "count")
    loader = importlib.machinery.SourceFileLoader("count_instructions", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("count_instructions", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("found, failed", [(1049, 0), (1051, 1), (900, 0)])
def test_more_than_five_percent_more_instructions_fail(capsys, found, failed):
    assert counting().compare({"session": found, "data": 500}, {"session": 1000, "data": 500}) == failed
    said = capsys.readouterr().out
    assert ("make count-record" in said) == (found != 1049)
    assert said.splitlines()[-1] == f"{2 - failed} passed, {failed} failed"
