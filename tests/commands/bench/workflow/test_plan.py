"""The options of `wanattn bench workflow`, its order of runs, and its sentences."""

import argparse
import dataclasses
import json

import pytest

pytest.importorskip("aiohttp", reason="aiohttp not installed")

from wanattn.commands.bench.workflow import runs
from wanattn.commands.bench.workflow.catalogue import Catalogue
from wanattn.commands.bench.workflow.command import BENCHMARK
from wanattn.commands.bench.workflow.plan import Plan
from wanattn.commands.bench.workflow.refusal import (
    failure,
    missing_outputs,
    refusal,
    unknown_classes,
)
from wanattn.commands.bench.workflow.server import Server, address
from wanattn.tests.commands.bench.workflow.flows import CLASSES, graph, plain

COMMON = {"against": None, "repeat": None, "seed": None, "settings": None}


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(plain()), encoding="utf-8")

    def plan(*arguments, **common):
        parser = argparse.ArgumentParser()
        BENCHMARK.add_arguments(parser)
        options = parser.parse_args([*arguments, "--workflow", str(path)])
        options.__dict__.update({**COMMON, **common})
        return Plan.of(options)

    return plan


class TestPlan:
    def test_measures_host_against_auto_by_default(self, plan):
        made = plan()
        assert made.backends == ("host", "auto")
        assert (made.baseline, made.repeat, made.frames, made.size) == ("host", 2, (None,), None)
        assert (made.url, made.workflow) == ("http://127.0.0.1:8188", "flow")
        assert made.prompt == plain()

    def test_takes_what_is_given(self, plan):
        arguments = (
            "box:1",
            "--backends",
            "auto, flash,auto",
            "--frames",
            "25,49",
            "--size",
            "64x32",
        )
        made = plan(*arguments, against="flash", repeat=5, seed=3)

        assert (made.url, made.backends, made.baseline) == ("box:1", ("auto", "flash"), "flash")
        assert (made.frames, made.size, made.repeat) == ((25, 49), "64x32", 5)
        assert made.prompt["4"]["inputs"]["seed"] == 3

    def test_knows_what_it_sets_in_place_of_the_workflows(self, plan):
        assert plan().replaced == ()
        assert plan("--frames", "25,49").replaced == ("length",)
        assert plan("--frames", "25", "--size", "64x32").replaced == ("length", "width", "height")

    def test_labels_all_settings_or_each(self, plan):
        assert plan(settings="4step").labels == ("4step", "4step")
        assert plan(settings="4step_base, 4step_auto").labels == ("4step_base", "4step_auto")
        assert plan().labels == ("", "")
        with pytest.raises(ValueError, match="3 labels, needs 1 or 2"):
            plan(settings="a,b,c")

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--frames", "24"), "frames 24, needs 4n"),
            (("--frames", "many"), "--frames 'many', needs numbers"),
            (("--size", "830x480"), "width 830, needs a multiple of 16"),
            (("--backends", " , "), "--backends ' , ', needs names"),
            (("--timeout", "0"), "--timeout 0"),
            (("--timeout", "nan"), "--timeout nan"),
        ],
    )
    def test_refuses_before_any_server_is_asked(self, plan, arguments, said):
        with pytest.raises(ValueError, match=said):
            plan(*arguments)

    def test_refuses_a_baseline_that_is_not_measured(self, plan):
        with pytest.raises(
            ValueError, match="--against math, needs one of the measured host, auto"
        ):
            plan(against="math")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188/"),
        ("http://box:8188/", "http://box:8188/"),
        ("https://me:word@box/comfy/", "https://me:word@box/comfy/"),
        ("localhost", "http://localhost/"),
        ("[::1]:8188", "http://[::1]:8188/"),
        ("http://box/?token=x#part", "http://box/?token=x"),
    ],
)
def test_address_is_taken_as_people_write_it(text, url):
    assert str(address(text)) == url


@pytest.mark.parametrize(
    "text", ["", "ftp://box", "ws://box:8188", "http://", "http://box:port", "http://box:99999"]
)
def test_address_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="needs"):
        address(text)


def test_password_stands_in_no_sentence():
    assert Server("https://me:word@box:1/x/?token=y").name == "https://box:1/x"
    with pytest.raises(ValueError) as caught:
        address("ftp://me:word@box")
    assert "word" not in str(caught.value)


def error(kind, **facts):
    return {"type": kind, "message": "Value not in list", "details": "...", "extra_info": facts}


class TestSentences:
    def test_missing_checkpoint_names_the_node_and_the_choices(self):
        facts = {"input_name": "unet_name", "received_value": "mine.safetensors"}
        found = {"class_type": "UNETLoader", "errors": [error("value_not_in_list", **facts)]}
        said = refusal({"node_errors": {"1": found}}, CLASSES)

        assert "UNETLoader 1 wants unet_name 'mine.safetensors'" in said
        assert "it has high.safetensors, low.safetensors" in said

    def test_other_refusals_name_the_node_and_the_message(self):
        found = {
            "class_type": "KSampler",
            "errors": [{"type": "x", "message": "Required input is missing", "details": "seed"}],
        }
        said = refusal({"node_errors": {"4": found}}, CLASSES)
        assert "KSampler 4: Required input is missing: seed" in said

    def test_refusal_without_nodes_says_what_the_server_said(self):
        said = refusal({"error": {"message": "Prompt has no outputs", "details": ""}}, CLASSES)
        assert "Prompt has no outputs" in said
        assert "see its log" in refusal({}, CLASSES)

    def test_unknown_nodes_are_named(self):
        assert unknown_classes(plain(), CLASSES) == ""
        said = unknown_classes(plain() | graph(n9=("FancySampler", {})), CLASSES)
        assert "FancySampler 9" in said and "install" in said

    @pytest.mark.parametrize(
        ("link", "said"),
        [
            (["2", 7], "output 7 of ModelSamplingSD3 2, needs 0 (MODEL): connect it again"),
            (["2", -1], "output -1 of ModelSamplingSD3 2, needs 0 (MODEL): "),
            (["9", 3], "output 3 of CheckpointLoaderSimple 9, needs 0 (MODEL) or 1 (CLIP) or 2 (V"),
            (["5", 0], "output 0 of SaveVideo 5, which has none: "),
            (["8", -1], "output -1 of AnySwitch 8, "),
        ],
    )
    def test_output_that_is_not_there_is_named_with_its_link(self, link, said):
        wrong = plain(model=link) | graph(n9=("CheckpointLoaderSimple", {}), n8=("AnySwitch", {}))
        found = missing_outputs(wrong, CLASSES)
        assert found.startswith(f"KSampler 4 takes its model from {said}")

    def test_every_wrong_link_is_named(self):
        wrong = plain(model=["2", 7], latent_image=["3", 1])
        assert missing_outputs(wrong, CLASSES).count("KSampler 4 takes its ") == 2

    @pytest.mark.parametrize("outputs", [{}, None])
    def test_output_that_may_be_there_is_let_through(self, outputs):
        """Packs have nodes with any number of outputs, and say of them what they like."""
        classes = {**CLASSES.classes, "Puter": {"output": outputs}}
        more = graph(n8=("AnySwitch", {}), n9=("Puter", {}))
        for link in (["2", 0], ["8", 5], ["9", 5]):
            assert missing_outputs(plain(model=link) | more, Catalogue(classes)) == ""

    def test_out_of_memory_says_what_to_make_smaller(self):
        facts = {
            "exception_type": "torch.OutOfMemoryError",
            "exception_message": "Allocation on device\n\nTIPS: long",
        }
        said = failure(facts, "KSampler 4")
        assert said.startswith("KSampler 4 ran out of memory") and "--frames" in said
        assert "TIPS" not in said

    def test_other_failures_keep_their_message(self):
        facts = {"exception_type": "ValueError", "exception_message": "no\nsuch thing"}
        assert failure(facts, "KSampler 4") == "KSampler 4 failed: no such thing"


def test_wrong_link_is_told_before_a_sampler_is_looked_for(plan):
    made = dataclasses.replace(plan(), prompt=plain(model=["2", 7]))
    with pytest.raises(ValueError, match="from output 7 of ModelSamplingSD3 2"):
        runs.check(made, CLASSES)


def test_server_without_the_pack_says_how_to_get_it(plan):
    with pytest.raises(RuntimeError, match="custom_nodes"):
        runs.check(plan(), type(CLASSES)({}))
    with pytest.raises(ValueError, match="--backends math, needs some of auto, flash, host"):
        runs.check(plan("--backends", "host,math"), CLASSES)
