"""The example workflows: sound graphs, our nodes as they are today, and the wiring that the help pages describe."""

import ast
import json

import pytest
import wanattn
from wanattn.tools.blueprint import WATCHED_MODEL, blueprint
from wanattn.tools.graph import render
from wanattn.tools.make_workflows import BLUEPRINTS, FOLDER, RAYLIGHT, WORKFLOWS

ROOT = FOLDER.parent
WIDGETS = {"Combo", "String", "Int", "Float", "Boolean"}
FILES = sorted(FOLDER.glob("*.json"))
OPTIONAL = {"audio", "rules", "clip_vision_output", "start_image", "samples", "lora"}
SAMPLERS = ("KSampler", "KSamplerAdvanced", "WanVideoSampler")
WRAPPED = ["WanAttnWrapperDiagnostics", "WanAttnWrapperBackend", "WanVideoModelLoader"]


def name_of(call: ast.AST) -> str:
    """io.Combo.Input(...) is Combo.Input."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return ""
    return ast.unparse(call.func).removeprefix("io.")


def face(item: ast.Call) -> tuple[str, str]:
    """Kind and name of an input; one of several types has the widget's input inside."""
    name = item.args[0]
    if isinstance(name, ast.Call):
        return face(name)
    return name_of(item).removesuffix(".Input"), name.value


def schema(call: ast.Call, tree: ast.AST) -> tuple[str, list[tuple[str, str]]]:
    """A node's id and its inputs as (kind, name), read from its io.Schema(...) without running it."""
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    items = [item for each in given["inputs"].elts for item in spread(each, tree)]
    inputs = [face(item) for item in items if name_of(item).endswith(".Input")]
    return given["node_id"].value, inputs


def spread(item: ast.expr, tree: ast.AST) -> list[ast.expr]:
    """One input, out of `any_model(...)` too, or those that `*choices()` of this or another file of nodes stands for."""
    if isinstance(item, ast.Call) and ast.unparse(item.func) == "any_model":
        return [item.args[0]]
    if not isinstance(item, ast.Starred):
        return [item]
    file, _, name = ast.unparse(item.value.func).rpartition(".")
    tree = parsed(ROOT / "nodes" / f"{file}.py") if file else tree
    made = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name)
    return [each for one in made.body[-1].value.elts for each in spread(one, tree)]


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def schemas() -> dict[str, list[tuple[str, str]]]:
    trees = [parsed(path) for path in (ROOT / "nodes").rglob("*.py")]
    calls = [(item, tree) for tree in trees for item in ast.walk(tree) if name_of(item) == "Schema"]
    return dict(schema(call, tree) for call, tree in calls)


SCHEMAS = schemas()


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def graph(request):
    return json.loads(request.param.read_text(encoding="utf-8"))


@pytest.fixture(params=[p for p in FILES if p.stem != RAYLIGHT], ids=lambda path: path.stem)
def sampled(request):
    """One that the host samples itself."""
    return json.loads(request.param.read_text(encoding="utf-8"))


def nodes_of(graph, kind: str) -> list[dict]:
    return [node for node in graph["nodes"] if node["type"] == kind]


def upstream(graph, node: dict, name: str) -> dict:
    link = next(slot["link"] for slot in node["inputs"] if slot["name"] == name)
    source = next(entry[1] for entry in graph["links"] if entry[0] == link)
    return next(node for node in graph["nodes"] if node["id"] == source)


def chain(graph, node: dict, name: str) -> list[str]:
    """The types that an input's value came through, nearest first."""
    found = []
    while any(slot["name"] == name for slot in node["inputs"]):
        node = upstream(graph, node, name)
        found.append(node["type"])
    return found


def test_the_files_are_what_the_tool_writes():
    made = {workflow().name: render(workflow().data()) for workflow in WORKFLOWS}
    assert {path.stem: path.read_text(encoding="utf-8") for path in FILES} == made


def test_links_agree_with_the_slots_at_both_ends(graph):
    nodes = {node["id"]: node for node in graph["nodes"]}
    said_by_outputs = {
        (link, node["id"], index, slot["type"])
        for node in graph["nodes"]
        for index, slot in enumerate(node["outputs"])
        for link in slot["links"]
    }
    said_by_inputs = {
        (slot["link"], node["id"], index)
        for node in graph["nodes"]
        for index, slot in enumerate(node["inputs"])
        if slot["link"] is not None
    }

    assert {(link[0], link[1], link[2], link[5]) for link in graph["links"]} == said_by_outputs
    assert {(link[0], link[3], link[4]) for link in graph["links"]} == said_by_inputs
    for *_, target, slot, kind in graph["links"]:
        assert {kind, "*"} & set(nodes[target]["inputs"][slot]["type"].split(","))


def test_numbers_are_unique_and_counted(graph):
    node_ids = [node["id"] for node in graph["nodes"]]
    link_ids = [link[0] for link in graph["links"]]

    assert len(set(node_ids)) == len(node_ids) and max(node_ids) == graph["last_node_id"]
    assert len(set(link_ids)) == len(link_ids) and max(link_ids) == graph["last_link_id"]


def test_our_nodes_have_the_inputs_of_today(graph):
    ours = [node for node in graph["nodes"] if node["type"].startswith("WanAttn")]

    assert ours
    for node in ours:
        inputs = SCHEMAS[node["type"]]
        links = [name for kind, name in inputs if kind not in WIDGETS]
        widgets = [name for kind, name in inputs if kind in WIDGETS]
        assert [slot["name"] for slot in node["inputs"]] == links
        assert len(node["widgets_values"]) == len(widgets)
        assert node["properties"]["cnr_id"] == "wanattn"
        assert node["properties"]["ver"] == wanattn.__version__


def test_every_required_link_is_there(graph):
    for node in graph["nodes"]:
        missing = [slot["name"] for slot in node["inputs"] if slot["link"] is None]
        assert set(missing) <= OPTIONAL, node["type"]


def test_every_model_file_says_where_to_get_it(graph):
    loaders = [node for node in graph["nodes"] if node["type"].endswith("Loader")]

    assert loaders
    for node in loaders:
        (file,) = node["properties"]["models"]
        assert file["name"] == node["widgets_values"][0]
        assert file["url"].endswith(f"/{file['directory']}/{file['name']}")


def samplers_of(graph) -> list[dict]:
    return [node for kind in SAMPLERS for node in nodes_of(graph, kind)]


def test_every_sampled_model_is_patched_and_watched(sampled):
    ours = ["ModelSamplingSD3", "WanAttnDiagnostics", "WanAttnBackend"]
    chains = [chain(sampled, node, "model") for node in samplers_of(sampled)]

    assert chains
    for found in chains:
        if found == WRAPPED:
            continue
        assert found[:3] == ours
        assert found[3:] in (["UNETLoader"], ["LoraLoaderModelOnly", "UNETLoader"])


def test_every_saved_picture_comes_after_a_report(sampled):
    reported = set()
    for decode in (*nodes_of(sampled, "VAEDecode"), *nodes_of(sampled, "WanVideoDecode")):
        report = upstream(sampled, decode, "samples")
        assert report["type"] == "WanAttnReport"
        reported |= {
            report["id"],
            *(node["id"] for node in before(sampled, report, "after", "samples")),
        }

    reports = {node["id"] for node in nodes_of(sampled, "WanAttnReport")}
    assert reports <= reported
    assert len(reports) == len(samplers_of(sampled))


def before(graph, node: dict, *names: str) -> list[dict]:
    """The nodes that an input of one of these names comes from, as long as there is one that is linked."""
    found = []
    while way := [s["name"] for s in node["inputs"] if s["name"] in names and s["link"]]:
        node = upstream(graph, node, way[0])
        found.append(node)
    return found


def test_the_second_expert_goes_on_where_the_first_stops(sampled):
    if wrapped := nodes_of(sampled, "WanVideoSampler"):
        assert [node["widgets_values"][-3:-1] for node in wrapped] == [[0, 10], [10, -1]]
        way = [node["type"] for node in before(sampled, wrapped[1], "samples", "after")]
        assert way == ["WanAttnReport", "WanVideoSampler"]
        return
    if not (experts := nodes_of(sampled, "KSamplerAdvanced")):
        assert len({tuple(node["widgets_values"]) for node in nodes_of(sampled, "KSampler")}) == 1
        return
    first, second = experts
    add_noise, _, _, steps, *_, start, end, leftover = first["widgets_values"]

    assert upstream(sampled, second, "latent_image") is first
    assert (add_noise, start, leftover) == ("enable", 0, "enable")
    assert second["widgets_values"][0] == "disable"
    assert second["widgets_values"][7:9] == [end, steps]


def test_raylights_actors_pass_the_backend_and_come_to_the_report_from_the_sampler():
    graph = json.loads((FOLDER / f"{RAYLIGHT}.json").read_text(encoding="utf-8"))
    (report,) = nodes_of(graph, "WanAttnRayReport")

    found = chain(graph, report, "ray_actors")
    assert found == ["XFuserKSamplerAdvanced", "WanAttnRayBackend", "RayUNETLoader"]


def test_the_blueprint_is_what_the_tool_writes():
    made = {f"{WATCHED_MODEL}.json": render(blueprint())}

    assert {path.name: path.read_text(encoding="utf-8") for path in BLUEPRINTS.glob("*")} == made


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_template_has_a_small_picture(path):
    """The page looks for a JPEG of the same name."""
    picture = path.with_suffix(".jpg").read_bytes()

    assert picture.startswith(b"\xff\xd8\xff")
    assert len(picture) < 60_000
