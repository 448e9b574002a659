"""What the workflow benchmark makes of a server's events, and the rows it keeps."""

import pytest
from wanattn.bench.results.row import Results
from wanattn.commands.bench.workflow.rows import Rows
from wanattn.commands.bench.workflow.runs import Reuse
from wanattn.commands.bench.workflow.trial import Trial
from wanattn.tests.commands.bench.workflow.flows import plain

NAMES = {"wanattn-a-1-D": "D"}


def event(kind, prompt_id="p", **data):
    return {"type": kind, "data": {"prompt_id": prompt_id, **data}}


def update(node, state, **facts):
    return {"type": "wanattn.update", "data": {"node": node, "state": state, **facts}}


def trial_of(*events, names=NAMES):
    """A trial of events, one second apart."""
    trial = Trial("p", names, ["D"])
    for moment, one in enumerate(events):
        trial.feed(one, float(moment))
    return trial


def finished(seconds, sampling, totals=None, peak=3.5):
    """A run of two nodes: a sampler and a saver."""
    report = {"totals": totals or {"flash": 8}, "runs": [{"peak_gib": peak}]}
    trial = Trial("p", NAMES, ["D"], payloads={"D": report})
    trial.cached = {"1", "2", "3"}
    trial.seconds = {"4": sampling, "5": seconds - sampling, "WanAttnBackend-1": 0.1}
    trial._span = [0.0, seconds]
    return trial


def rows_of(results, prompt=None):
    labels = {"host": "a", "auto": "b"}
    return Rows(results, "flow", prompt or plain(), ["4"], labels)


class TestTrial:
    def test_times_nodes_between_their_starts(self):
        trial = trial_of(
            event("execution_start"),
            event("execution_cached", nodes=["1", "wanattn-a-1-D"]),
            event("executing", node="2"),
            event("executing", node="3"),
            event("executing", node="2"),
            event("executing", node="wanattn-a-1-D"),
            event("execution_success"),
        )
        assert trial.seconds == {"2": 2.0, "3": 1.0, "D": 1.0}
        assert trial.cached == {"1", "D"}
        assert trial.duration == 6.0
        assert trial.end == "execution_success"

    def test_leaves_out_what_belongs_to_other_runs(self):
        trial = trial_of()
        assert not trial.feed(event("executing", "another", node="2"), 1.0)
        assert not trial.feed(update("17", "finished"), 2.0)
        assert not trial.feed({"type": "crystools.monitor", "data": None}, 3.0)
        assert not trial.seconds and not trial.payloads

    def test_keeps_the_last_report_of_each_of_its_watchers(self):
        names = {**NAMES, "wanattn-a-1-B": "B"}
        trial = trial_of(
            update("wanattn-a-1-D", "running"),
            update("wanattn-a-1-B", "finished"),
            update("wanattn-a-1-D", "finished"),
            names=names,
        )
        assert {node: report["state"] for node, report in trial.payloads.items()} == {
            "D": "finished"
        }

    def test_takes_the_end_and_the_clock_from_the_servers_record(self):
        trial = trial_of(event("execution_start"), event("execution_error", node_id="5"))
        stamps = [
            ["execution_start", {"timestamp": 1000}],
            ["execution_cached", {"nodes": ["1"], "timestamp": 1001}],
            ["execution_success", {"timestamp": 3500}],
        ]
        trial.settle({"status": {"status_str": "success", "messages": stamps}})

        assert trial.end == "execution_success"
        assert trial.duration == 2.5
        assert trial.cached == {"1"}

    def test_gives_the_last_node_no_time_in_which_the_server_tidied_up(self):
        trial = trial_of(
            event("execution_start"),
            event("executing", node="2"),
            event("executing", node="3"),
            event("execution_success"),
        )
        stamps = [["execution_start", {"timestamp": 0}], ["execution_success", {"timestamp": 2250}]]
        trial.settle({"status": {"messages": stamps}})

        assert trial.seconds == {"2": 1.0, "3": 0.25}

    def test_does_not_trust_nodes_after_a_gap(self):
        trial = trial_of(event("execution_start"), event("executing", node="2"))
        trial.lose_track()
        trial.feed(event("executing", node="3"), 9.0)

        assert not trial.whole
        assert "2" not in trial.seconds

    def test_names_the_node_that_failed_as_the_workflow_does(self):
        trial = trial_of(event("execution_error", node_id="wanattn-a-1-D"))
        assert trial.failed_at == "D"


class TestSheet:
    def test_keeps_the_first_run_apart(self):
        results = Results("workflow", {})
        rows = rows_of(results)
        for number, seconds in enumerate((9.0, 2.0, 3.0)):
            rows.add("host", finished(seconds, seconds - 1), number)

        whole, sampler = results.rows[:2]
        assert (whole.part, whole.first, whole.times) == ("run", 9000.0, [2000.0, 3000.0])
        assert (sampler.part, sampler.times) == ("KSampler 4", [1000.0, 2000.0])
        assert (whole.model, whole.size, whole.frames) == ("flow", "832x480", 81)
        assert (whole.settings, whole.active, whole.peak_gib) == ("a", "flash", 3.5)

    def test_keeps_the_highest_peak_of_all_runs(self):
        results = Results("workflow", {})
        rows = rows_of(results)
        for number, peak in enumerate((2.0, 4.5, None, 3.5)):
            rows.add("host", finished(2.0, 1.0, peak=peak), number)
        rows.add("auto", finished(2.0, 1.0, peak=None), 0)

        peaks = {(row.backend, row.part): row.peak_gib for row in results.rows}
        assert peaks["host", "run"] == peaks["host", "KSampler 4"] == 4.5
        assert peaks["auto", "run"] is None

    def test_shows_samplers_and_what_takes_long_for_every_setting(self):
        results = Results("workflow", {})
        rows = rows_of(results)
        for number in (0, 1):
            rows.add("host", finished(10.0, 9.95), number)
        assert [row.part for row in results.rows] == ["run", "KSampler 4"]
        for number in (0, 1):
            rows.add("auto", finished(10.0, 9.0), number)

        assert {(row.backend, row.part) for row in results.rows} == {
            (backend, part)
            for backend in ("host", "auto")
            for part in ("run", "KSampler 4", "SaveVideo 5")
        }

    def test_takes_the_report_of_each_run_along(self):
        results = Results("workflow", {})
        rows_of(results).add("auto", finished(2.0, 1.0, {"flash": 2, "math": 9}), 1)

        (kept,) = results.diagnostics
        assert (kept["settings"], kept["backend"], kept["run"], kept["node"]) == (
            "b",
            "auto",
            1,
            "D",
        )
        assert kept["payload"]["totals"] == {"flash": 2, "math": 9}
        assert results.rows[0].active == "math, flash"

    def test_gives_no_node_times_after_a_gap(self):
        results = Results("workflow", {})
        trial = finished(2.0, 1.0)
        trial.whole = False
        rows_of(results).add("host", trial, 1)

        assert [row.part for row in results.rows] == ["run"]

    def test_says_when_a_run_could_not_use_the_cache(self):
        results = Results("workflow", {})
        rows, late = rows_of(results), finished(5.0, 1.0)
        late.seconds["1"] = 3.0
        rows.add("host", finished(2.0, 1.0), 1)
        rows.add("host", late, 2)

        (note,) = results.notes
        assert "Run 2 of host" in note and "UNETLoader 1" in note

    @pytest.mark.parametrize("measured", [False, True])
    def test_keeps_what_was_measured_before_a_failure(self, measured):
        results = Results("workflow", {})
        rows = rows_of(results)
        if measured:
            rows.add("auto", finished(2.0, 1.0), 1)
        rows.fail("auto", "KSampler 4 ran out of memory")

        row = results.rows[0]
        assert row.times == ([2000.0] if measured else [])
        assert (row.reason == "") == measured
        assert any("out of memory" in text for text in [row.reason, *results.notes])


class TestReuse:
    @pytest.mark.parametrize(
        ("found", "said"),
        [
            ([], 0),
            (["none"], 0),
            (["none", "none"], 1),
            (["none"] * 6, 1),
            (["none", "some", "some"], 0),
            (["none", "some", "none", "some"], 0),  # somebody emptied the cache once
            (["some", "none", "none"], 1),
        ],
    )
    def test_says_that_the_server_keeps_nothing_only_if_no_later_run_found_anything(
        self, found, said
    ):
        reuse = Reuse()
        for what in found:
            trial = finished(2.0, 1.0)
            trial.cached = {"1"} if what == "some" else set()
            reuse.add(trial)

        assert len(reuse.notes()) == said
        assert all("--cache-none" in note for note in reuse.notes())
