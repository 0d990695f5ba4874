"""Tables that go on where they broke off."""

from __future__ import annotations

import json
import math
import statistics

import pytest

from llm_action.experiments.tables import Column, Row, chosen_rows, print_table

COLUMNS = [Column("top-1 %", "top1", scale=100), Column("seconds", "seconds", 0, spread=False), Column("other", "none")]


class Counting:
    """Measures top1 = 0.5 + seed / 10 and remembers what it was asked."""

    def __init__(self, fails_at: int | None = None):
        self.asked: list[int] = []
        self.fails_at = fails_at

    def __call__(self, seed: int) -> dict:
        self.asked.append(seed)
        if seed == self.fails_at:
            raise KeyboardInterrupt
        return {"top1": 0.5 + seed / 10, "seconds": 7.0, "confusion": [[1]]}


def test_mean_and_spread_over_the_seeds(tmp_path, capsys):
    (summary,) = print_table([Row("ours", {}, Counting())], range(3), COLUMNS, tmp_path)
    values = [0.5, 0.6, 0.7]
    assert summary["metrics"]["top1"]["values"] == values and summary["seeds"] == [0, 1, 2]
    assert summary["metrics"]["top1"]["mean"] == pytest.approx(statistics.mean(values))
    assert summary["metrics"]["top1"]["std"] == pytest.approx(statistics.stdev(values))
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["| row | top-1 % | seconds | other |", "|---|---|---|---|", "| ours | 60.0 ± 10.0 | 7 | – |"]


def test_two_seeds_averaged_read_what_neither_reads_alone(tmp_path):
    def measure(seed):
        # of three recordings of the classes 0, 1, 0: each seed is sure of two and narrowly wrong about one
        wrong = [[0.4, 0.6], [0.6, 0.4], [0.4, 0.6]][seed]
        right = [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1]]
        posterior = [wrong if recording == seed else right[recording] for recording in range(3)]
        log_posterior = [[math.log(share) for share in shares] for shares in posterior]
        return {"top1": 2 / 3, "training_seconds": 10.0 + seed, "classes": [0, 1, 0], "log_posterior": log_posterior}

    alone, pairs = print_table([Row("ours", {}, measure)], range(3), COLUMNS, tmp_path)
    assert alone["metrics"]["top1"]["mean"] == pytest.approx(2 / 3)
    assert pairs["name"] == "ours, two seeds averaged" and pairs["seeds"] == [[0, 1], [1, 2], [2, 0]]
    assert pairs["metrics"]["top1"]["values"] == [1, 1, 1] and pairs["correct"] == [1, 1, 1]
    assert pairs["metrics"]["training_seconds"]["values"] == [21, 23, 22]


def test_what_no_seed_changes_is_measured_once_and_has_no_spread(tmp_path, capsys):
    row = Row("dtw", {}, Counting(), seeded=False)
    (summary,) = print_table([row], range(3), COLUMNS, tmp_path)
    assert row.measure.asked == [0] and summary["metrics"]["top1"]["std"] is None
    assert "| dtw | 50.0 | 7 | – |" in capsys.readouterr().out


def test_goes_on_where_it_broke_off(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        print_table([Row("a", {"steps": 5}, Counting(fails_at=1))], range(3), COLUMNS, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a-seed0.json"]
    again = Row("a", {"steps": 5}, Counting())
    summaries = print_table([again], range(3), COLUMNS, tmp_path)
    assert again.measure.asked == [1, 2]
    finished = Row("a", {"steps": 5}, Counting())
    assert print_table([finished], range(3), COLUMNS, tmp_path) == summaries and finished.measure.asked == []
    assert json.loads((tmp_path / "a-seed2.json").read_text())["metrics"]["confusion"] == [[1]]


@pytest.mark.parametrize("settings", [{"steps": 6}, {"steps": 5, "more": None}])
def test_other_settings_are_measured_anew(tmp_path, settings):
    print_table([Row("a", {"steps": 5}, Counting())], range(2), COLUMNS, tmp_path)
    row = Row("a", settings, Counting())
    print_table([row], range(2), COLUMNS, tmp_path)
    assert row.measure.asked == [0, 1]


def test_settings_are_compared_as_json_reads_them(tmp_path):
    print_table([Row("a", {"targets": ("q", "v")}, Counting())], range(1), COLUMNS, tmp_path)
    row = Row("a", {"targets": ["q", "v"]}, Counting())
    print_table([row], range(1), COLUMNS, tmp_path)
    assert row.measure.asked == []


def test_a_missing_library_leaves_the_other_rows(tmp_path, capsys):
    def needs_more(seed):
        raise ImportError("needs aeon: pip install llm-action[bench]")

    rows = [Row("baseline", {}, needs_more), Row("ours", {}, Counting())]
    missing, measured = print_table(rows, range(1), COLUMNS, tmp_path)
    assert "llm-action[bench]" in missing["error"] and measured["metrics"]["top1"]["mean"] == 0.5
    assert "| baseline | needs aeon: pip install llm-action[bench] | – | – |" in capsys.readouterr().out
    baseline = Row("baseline", {}, Counting())  # installed by now
    print_table([baseline], range(1), COLUMNS, tmp_path)
    assert baseline.measure.asked == [0]


def test_rows_are_chosen_by_name_in_the_table_s_order():
    rows = [Row(name, {}, Counting()) for name in "abc"]
    assert [row.name for row in chosen_rows(rows, ["c", "a"])] == ["a", "c"]
    assert chosen_rows(rows, None) == rows
    with pytest.raises(ValueError, match="unknown row d; the table has a, b, c"):
        chosen_rows(rows, ["a", "d"])
