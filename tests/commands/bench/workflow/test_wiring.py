"""Where the workflow benchmark puts the Attention nodes, and what it leaves alone."""

import pytest
from wanattn.commands.bench.workflow import prompt
from wanattn.commands.bench.workflow.wiring import consumers, samplers, wire
from wanattn.tests.commands.bench.workflow.flows import CLASSES, graph, plain


def chain(wired, key, name="model"):
    """The classes from an input up to the loader."""
    found = []
    while key in wired and name in wired[key]["inputs"]:
        key = wired[key]["inputs"][name][0]
        name = "model"
        found.append(wired[key]["class_type"])
    return found


class TestWiring:
    def test_adds_both_nodes_right_before_the_sampler(self):
        before = plain()
        wiring = wire(before, CLASSES)

        assert chain(wiring.prompt, "4") == [
            "WanAttnDiagnostics",
            "WanAttnBackend",
            "ModelSamplingSD3",
            "UNETLoader",
        ]
        assert before == plain()
        assert len(wiring.added) == 2
        assert wiring.samplers == ("4",)
        assert set(wiring.watchers) < set(wiring.added)

    def test_adds_once_for_a_model_that_several_nodes_take(self):
        two = plain() | graph(
            n6=("KSampler", {"model": ["2", 0]}),
            n7=("WanAttnReport", {"model": ["2", 0], "after": ["6", 0]}),
        )
        wiring = wire(two, CLASSES)

        assert len(wiring.added) == 2
        for key in ("4", "6", "7"):
            assert chain(wiring.prompt, key)[0] == "WanAttnDiagnostics"

    def test_adds_for_each_expert(self):
        two = plain() | graph(
            n6=("UNETLoader", {"unet_name": "low.safetensors"}),
            n7=("KSampler", {"model": ["6", 0], "latent_image": ["4", 0]}),
        )
        assert len(wire(two, CLASSES).added) == 4

    def test_finds_a_guider_its_scheduler_and_who_samples(self):
        guided = graph(
            n1=("UNETLoader", {}),
            n2=("CFGGuider", {"model": ["1", 0]}),
            n3=("BasicScheduler", {"model": ["1", 0]}),
            n4=("SamplerCustomAdvanced", {"guider": ["2", 0], "sigmas": ["3", 0]}),
        )
        assert samplers(guided, CLASSES) == ("4",)
        assert chain(wire(guided, CLASSES).prompt, "2")[0] == "WanAttnDiagnostics"

    def test_leaves_savers_and_benchmarks_alone(self):
        saving = plain() | graph(
            n6=("ModelSave", {"model": ["1", 0]}), n7=("WanAttnBenchmark", {"model": ["1", 0]})
        )
        assert [key for key, _, _ in consumers(saving, CLASSES)] == ["4"]
        assert "WanAttnBenchmark 7" in wire(saving, CLASSES).notes[0]

    def test_knows_a_sampler_that_passes_its_model_on(self):
        passing = graph(
            n1=("UNETLoader", {}),
            n2=("EfficientSampler", {"model": ["1", 0]}),
            n3=("EfficientSampler", {"model": ["2", 0]}),
        )
        wiring = wire(passing, CLASSES)

        assert wiring.samplers == ("2", "3")
        assert len(wiring.added) == 2

    def test_follows_a_model_through_a_node_that_passes_anything(self):
        switched = plain() | graph(
            n6=("WanAttnBackend", {"model": ["1", 0], "backend": "flash"}),
            n7=("Switch", {"on_true": ["6", 0]}),
            n8=("WanAttnReport", {"model": ["6", 0], "after": ["4", 0]}),
            n9=("KSampler", {"model": ["7", 0], "latent_image": ["8", 0]}),
        )
        found = {(key, name) for key, name, _ in consumers(switched, CLASSES)}
        assert found == {("4", "model"), ("9", "model")}
        before = chain(wire(switched, CLASSES).prompt, "9")
        assert before[:2] == ["WanAttnDiagnostics", "Switch"]

    def test_switches_what_the_workflow_has_and_keeps_the_rest(self):
        own = plain() | graph(
            n6=("WanAttnBackend", {"model": ["1", 0], "backend": "flash", "on_refusal": "stop"}),
            n7=(
                "WanAttnDiagnostics",
                {"model": ["6", 0], "evidence": "every call", "capture": "0-9"},
            ),
        )
        own["2"]["inputs"]["model"] = ["7", 0]
        wiring = wire(own, CLASSES)
        made, names = wiring.variant("auto", "a-1")

        assert wiring.added == ()
        (backend,) = [node for node in made.values() if node["class_type"] == "WanAttnBackend"]
        assert backend["inputs"] == {"model": ["1", 0], "backend": "auto", "on_refusal": "stop"}
        (watcher,) = [node for node in made.values() if node["class_type"] == "WanAttnDiagnostics"]
        assert (watcher["inputs"]["evidence"], watcher["inputs"]["capture"]) == ("sample", "")
        assert "WanAttnDiagnostics 7" in wiring.notes[0]
        assert sorted(names.values()) == ["6", "7"]
        assert own["7"]["inputs"]["evidence"] == "every call"

    def test_leaves_a_linked_backend_and_says_so(self):
        own = plain() | graph(
            n6=("WanAttnBackend", {"model": ["1", 0], "backend": ["8", 0]}),
            n7=("WanAttnBackend", {"model": ["6", 0], "backend": "flash", "rules": ["8", 0]}),
            n8=("PrimitiveInt", {}),
        )
        own["2"]["inputs"]["model"] = ["7", 0]
        wiring = wire(own, CLASSES)

        assert "WanAttnBackend 6 takes its backend from a link" in wiring.notes[0]
        assert "WanAttnBackend 7 has rules" in wiring.notes[1]
        own["7"]["inputs"]["backend"] = ["8", 0]
        with pytest.raises(ValueError, match="from a link"):
            wire(own, CLASSES)

    def test_every_variant_has_ids_of_its_own_and_links_that_hold(self):
        wiring = wire(plain(), CLASSES)
        first, _ = wiring.variant("host", "a-1")
        second, names = wiring.variant("host", "a-2")

        common = set(first) & set(second)
        assert common == set(plain())
        assert set(names) == set(second) - common
        prompt.checked(second, "a variant")
        assert chain(second, "4") == chain(first, "4")

    def test_says_that_nothing_samples(self):
        with pytest.raises(ValueError, match="needs a sampler such as KSampler"):
            wire(graph(n1=("UNETLoader", {}), n2=("SaveVideo", {})), CLASSES)
