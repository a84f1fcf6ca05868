"""Tests of what `make bench` makes of its readings: medians, ratios, JSON, tables."""

from __future__ import annotations

import json

import pytest

from benchmarks import latencies, rows
from benchmarks.books import BareRow, Tally
from benchmarks.figures import Contender, Reading, Readings, Row, percentile
from benchmarks.load import Run
from benchmarks.plot import draw
from benchmarks.report import Report, table
from benchmarks.targets import State, Verdict

ROW = Row("small, 16 connections", "req/s")


def readings_of(**values: list[float]) -> Readings:
    readings = Readings()
    for name, found in values.items():
        contender = Contender[name]
        readings.add(Reading(ROW, contender, value, value / 100) for value in found)
    return readings


def run_of(requests_per_s: float) -> Run:
    return Run(requests=100, requests_per_s=requests_per_s, p50_ms=1, p99_ms=2)


def books() -> list[BareRow]:
    tally = Tally(16)
    tally.pairs = [(run_of(900), run_of(1000)), (run_of(800), run_of(1000))]
    tally.cpu_s = [(1.2, 1.0), (1.0, 0.8)]
    return [tally.row()]


def report_of(readings: Readings, state: State = State.REACHED) -> Report:
    verdict = Verdict("small, 16 connections >= 10 x LiteLLM", state, 11.0)
    return Report("who ran where", "daphne", readings, books(), [verdict])


def test_the_median_of_all_rounds_counts() -> None:
    readings = readings_of(AILB=[900, 2000, 1000], LITELLM=[90, 110, 100])
    assert readings.median(ROW, Contender.AILB) == 1000
    assert readings.cpu_s(ROW, Contender.AILB) == 10
    assert readings.ratio(ROW, Contender.AILB, Contender.LITELLM) == 10


def test_what_was_not_measured_has_no_figure() -> None:
    readings = readings_of(AILB=[1000])
    assert readings.median(ROW, Contender.PORTKEY) is None
    assert readings.cpu_s(ROW, Contender.PORTKEY) is None
    assert readings.ratio(ROW, Contender.AILB, Contender.PORTKEY) is None


@pytest.mark.parametrize(("ailb", "peer"), [(1.0, 0.0), (1.0, -0.5), (-0.5, 1.0)])
def test_figures_that_are_not_positive_have_no_ratio(ailb: float, peer: float) -> None:
    readings = readings_of(AILB=[ailb], PORTKEY=[peer])
    assert readings.ratio(ROW, Contender.AILB, Contender.PORTKEY) is None


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    found = [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)]
    assert found == [50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7


def test_what_the_upstream_needs_itself_is_taken_off() -> None:
    figures: dict[Contender, latencies.Figures] = {
        Contender.AILB: ([1.5], 0.8),
        Contender.DIRECT: ([0.5], None),
    }
    found = list(latencies.added([rows.ADDED_P50], figures))
    assert found == [
        Reading(rows.ADDED_P50, Contender.AILB, 1.0, 0.8),
        Reading(rows.ADDED_P50, Contender.DIRECT, 0.5, None),
    ]


def test_the_books_cost_the_median_of_the_pairs() -> None:
    [row] = books()
    assert row.cost == pytest.approx(0.15)
    assert (row.shipped_cpu_s, row.bare_cpu_s) == pytest.approx((1.1, 0.9))
    assert "15.0%" in str(row)


def test_the_table_has_every_server_and_the_ratios() -> None:
    heads, figures, spent = table(readings_of(AILB=[1000], LITELLM=[125], NGINX=[20e3]))
    assert [*map(str, Contender)] == [c for c in Contender if c in heads]
    assert figures.split()[3:] == [
        *("req/s", "-", "20,000", "1,000", "-", "125", "-"),
        *("8.00", "-"),
    ]
    assert spent.split() == ["CPU", "s/1000", "-", "200", "10.0", "-", "1.25", "-"]


def test_the_json_holds_every_reading() -> None:
    report = report_of(readings_of(AILB=[900, 1100], LITELLM=[100]))
    read = json.loads(json.dumps(report.as_json()))
    [row] = read["rows"]
    assert row["contenders"]["AILB"] == {
        "median": 1000,
        "values": [900, 1100],
        "cpu_s_per_1000": 10,
    }
    assert row["ailb_to_peer"] == {"LiteLLM": 10, "Portkey": None}
    assert read["verdicts"][0]["state"] == "PASS"
    assert read["books"][0]["connections"] == 16


@pytest.mark.parametrize("state", State)
def test_only_a_missed_target_breaks_the_report(state: State) -> None:
    report = report_of(readings_of(AILB=[1000]), state)
    assert report.is_broken == (state is State.BROKEN)
    assert f"{state}: small, 16 connections >= 10 x LiteLLM (is 11)" in report.lines()


def test_the_plot_draws_what_was_measured_and_nothing_else() -> None:
    readings = readings_of(AILB=[1000], PORTKEY=[500], DIRECT=[60000])
    svg = draw(report_of(readings).as_json())
    assert svg.count("<text") == 1 + 2 * 2
    assert ">1,000</text>" in svg
    assert "LiteLLM" not in svg
