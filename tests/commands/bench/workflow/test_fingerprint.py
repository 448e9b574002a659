"""The digest of a workflow: another one for whatever changes its runs, the same for what a benchmark sets or adds."""

import copy
import re

import pytest
from wanattn.commands.bench.workflow.fingerprint import digest
from wanattn.commands.bench.workflow.wiring import wire
from wanattn.tests.commands.bench.workflow.flows import CLASSES, graph, plain

SIZE = ("width", "height")


def changed(prompt, key, **inputs):
    result = copy.deepcopy(prompt)
    result[key]["inputs"].update(inputs)
    return result


def wired(length=81, **more):
    """The length comes from a node of its own."""
    sized = plain() | graph(n8=("PrimitiveInt", {"value": length}))
    return changed(sized, "3", length=["8", 0], **more)


class TestChanges:
    def test_is_eight_digits(self):
        assert re.fullmatch("[0-9a-f]{8}", digest(plain()))

    @pytest.mark.parametrize(
        "other",
        [
            plain(steps=4),
            plain(model=["1", 0]),
            changed(plain(), "3", length=25),
            changed(plain(), "3", width=64),
            changed(plain(), "1", unet_name="low.safetensors"),
            plain() | graph(n9=("SaveVideo", {"samples": ["4", 0]})),
            plain() | graph(n5=("SaveLatent", {"samples": ["4", 0]})),
            {key: node for key, node in plain().items() if key != "5"},
        ],
    )
    def test_of_the_user_are_noticed(self, other):
        assert digest(other) != digest(plain())

    def test_of_a_wired_length_are_noticed(self):
        assert digest(wired(25)) != digest(wired(81))

    def test_of_order_are_not(self):
        turned = {
            key: {"inputs": dict(reversed(node["inputs"].items())), **node}
            for key, node in reversed(plain().items())
        }
        assert digest(turned) == digest(plain())

    def test_of_titles_are_not(self):
        named = plain()
        named["4"]["_meta"] = {"title": "Low noise"}
        assert digest(named) == digest(plain())

    def test_of_a_seed_are_not(self):
        assert digest(plain(seed=8, noise_seed=9)) == digest(plain())

    def test_of_a_node_that_gives_a_seed_are_not(self):
        seeds = [
            plain(seed=["8", 0]) | graph(n8=("PrimitiveInt", {"value": value})) for value in (1, 2)
        ]
        assert digest(seeds[0]) == digest(seeds[1]) == digest(plain())

    def test_of_a_seed_that_is_also_something_else_are_noticed(self):
        seeds = [
            plain(seed=["8", 0], steps=["8", 0]) | graph(n8=("PrimitiveInt", {"value": value}))
            for value in (1, 2)
        ]
        assert digest(seeds[0]) != digest(seeds[1])


class TestReplaced:
    def test_length_does_not_count(self):
        other = changed(plain(), "3", length=25)
        assert digest(other, ["length"]) == digest(plain(), ["length"])
        assert digest(other, SIZE) != digest(plain(), SIZE)

    def test_size_does_not_count(self):
        other = changed(plain(), "3", width=64, height=64)
        assert digest(other, SIZE) == digest(plain(), SIZE)
        assert digest(other, ["length"]) != digest(plain(), ["length"])

    def test_node_that_gave_the_length_does_not_count(self):
        assert digest(wired(25), ["length"]) == digest(plain(), ["length"])
        assert digest(wired(25), SIZE) != digest(wired(81), SIZE)

    def test_what_one_video_passes_on_to_another_still_counts(self):
        def camera(width):
            return plain() | graph(
                n8=("WanCameraImageToVideo", {"width": width, "height": ["3", 2], "length": 81})
            )

        assert digest(camera(["3", 1]), SIZE) != digest(camera(512), SIZE)

    def test_width_of_a_picture_counts(self):
        pictures = [
            plain() | graph(n9=("ImageScale", {"width": width, "height": 512}))
            for width in (512, 640)
        ]
        assert digest(pictures[0], SIZE) != digest(pictures[1], SIZE)


class TestOurNodes:
    def test_do_not_count_where_a_benchmark_put_them(self):
        variant, _ = wire(plain(), CLASSES).variant("auto", "a-1")
        assert digest(variant) == digest(plain())

    def test_do_not_count_where_the_user_put_them(self):
        own = plain(model=["7", 0]) | graph(
            n5=("SaveVideo", {"samples": ["8", 0]}),
            n6=("WanAttnBackend", {"model": ["2", 0], "backend": "flash", "rules": ["9", 0]}),
            n7=("WanAttnDiagnostics", {"model": ["6", 0]}),
            n8=("WanAttnReport", {"model": ["7", 0], "after": ["4", 0]}),
            n9=("WanAttnRule", {"backend": ["11", 0]}),
            n10=("WanAttnBenchmark", {"model": ["2", 0], "frames": ["11", 0]}),
            n11=("PrimitiveInt", {"value": 81}),
        )
        assert digest(own) == digest(plain())

    def test_keep_what_only_a_report_waits_for(self):
        def reported(steps):
            rest = {key: node for key, node in plain(steps=steps).items() if key != "5"}
            return rest | graph(n8=("WanAttnReport", {"model": ["2", 0], "after": ["4", 0]}))

        assert digest(reported(2)) != digest(reported(4))
        assert digest(reported(2)) == digest(
            {key: node for key, node in plain(steps=2).items() if key != "5"}
        )

    @pytest.mark.parametrize("source", [["8", 1], ["10", 0], ["6", 3], ["12", 0]])
    def test_leave_nothing_where_they_make_something_themselves(self, source):
        showing = plain() | graph(
            n6=("WanAttnBackend", {"model": ["2", 0]}),
            n8=("WanAttnReport", {"model": ["2", 0], "after": ["4", 0]}),
            n9=("PreviewAny", {"source": source}),
            n10=("WanAttnBenchmark", {"model": ["2", 0]}),
            n12=("WanAttnBackend", {"model": ["12", 0]}),
        )
        assert digest(showing) == digest(plain() | graph(n9=("PreviewAny", {})))
