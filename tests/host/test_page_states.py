"""Idle, failed, bypassed, mistaken and seen from outside: what the page says when nothing is running."""

import pytest
from wanattn.tests.host.graph import Graph
from wanattn.tests.host.hosts import version_of
from wanattn.tests.host.panel_page import (
    DESIGNS,
    LOAD,
    PATIENCE,
    SEND,
    fixture,
    new_page,
    pair,
    screenshot,
    settle,
    still,
    text,
    wait_for,
)
from wanattn.tests.host.server import wait_until

SIDEBAR = "() => window.app.extensionManager.sidebarTab.toggleSidebarTab('wanattn')"
SETTING = "([id, value]) => window.app.extensionManager.setting.set(id, value)"
CARDS = (
    "() => [...document.querySelectorAll('.wanattn.overview .card')].map(card => card.textContent)"
)
FOUND = """() => [...document.querySelectorAll(".wanattn .headline:not(:empty)")].map(title => title.textContent)"""


def sampled(backend="auto", on_refusal="next best", file="high_noise", prefix="states"):
    """Backend, panel and report on a tiny model; and where they stand."""
    graph = Graph()
    model = graph.diagnostics(graph.backend(graph.load(file), backend, on_refusal))
    latent = graph.sample(graph.shifted(model), graph.latent(), seed=5)
    graph.save(graph.report(model, latent, f"{prefix}/report"), f"{prefix}/latent")
    places = {
        graph.node("WanAttnBackend"): [0, 0],
        graph.node("WanAttnDiagnostics"): [340, 0],
        graph.node("WanAttnReport"): [980, 0],
    }
    return graph, places


@pytest.mark.parametrize("design", list(DESIGNS))
def test_idle_nodes_say_what_they_will_do(server, open_page, design):
    page = open_page(design)
    graph, places = sampled()
    page.evaluate(LOAD, [graph, places])
    backend, panel, report = (
        graph.node(f"WanAttn{name}") for name in ("Backend", "Diagnostics", "Report")
    )

    wait_for(page, panel, ".state", "no run yet")
    wait_for(page, panel, ".plan", "record every attention call")
    wait_for(page, backend, "p.dim", "take the fastest")
    wait_for(page, backend, "ul", "here: flash.*not on cpu: .*cuDNN")
    wait_for(page, report, ".plan", "After the run")
    assert text(page, panel, "table thead tr") == "rolecalls ofbackendmath would need"
    buttons = "[...document.querySelectorAll('.wanattn button')].filter(button => button.checkVisibility()).length"
    assert still(page, buttons) == 0
    screenshot(server, page, f"idle_{design}")


def test_the_forecast_follows_the_wired_latent(open_page):
    page = open_page()
    graph, places = sampled()
    graph[graph.node("UNETLoader")]["inputs"]["unet_name"] = "wan2.2_t2v_high_noise_14B.safetensors"
    page.evaluate(LOAD, [graph, places])
    panel = graph.node("WanAttnDiagnostics")
    wait_for(page, panel, ".forecast", r"self40 heads \u00d7 320 tokens")
    page.evaluate(
        """([id, width]) => {
            const node = window.app.graph.getNodeById(id);
            node.widgets.find(widget => widget.name === "width").value = width;
            const tracker = window.app.extensionManager.workflow.activeWorkflow.changeTracker;
            (tracker.captureCanvasState ?? tracker.checkState).call(tracker);
        }""",
        [graph.node("EmptyHunyuanLatentVideo"), 640],
    )

    wait_for(page, panel, ".forecast", r"self40 heads \u00d7 1,600 tokens")
    wait_for(page, panel, ".forecast", "text40 heads .*512 keys")


def test_the_menu_has_first_what_runs_here(open_page):
    page = open_page()
    graph, places = sampled()
    page.evaluate(LOAD, [graph, places])
    names, labels = page.evaluate(
        """id => {
            const { options } = window.app.graph.getNodeById(id).widgets.find(widget => widget.name === "backend");
            return [options.values, options.values.map(options.getOptionLabel)];
        }""",
        graph.node("WanAttnBackend"),
    )

    assert names[:3] == ["auto", "flash", "math"]
    assert labels[names.index("cudnn")] == "cudnn \u2013 not here"
    assert names.index("cudnn") > names.index("host")


@pytest.mark.parametrize("design", list(DESIGNS))
def test_a_stopped_run_says_why_on_every_node(server, open_page, design):
    page = open_page(design)
    graph, places = sampled("cudnn", "stop", prefix=f"stopped_{design}")
    page.evaluate(LOAD, [graph, places])
    page.evaluate("() => void window.app.queuePrompt(0)")
    panel, backend, report = (
        graph.node(f"WanAttn{name}") for name in ("Diagnostics", "Backend", "Report")
    )

    for node in (panel, backend, report):
        wait_for(page, node, ".failure", "cuDNN does not exist on cpu")
    wait_for(page, panel, ".advice", "on_refusal")
    wait_for(page, panel, ".state", "failed")
    assert text(page, panel, ".fine") == ""
    idle = page.get_by_text("no attention call yet", exact=True).locator("visible=true")
    idle.first.wait_for(state="hidden")
    screenshot(server, page, f"failed_{design}")
    page.reload(wait_until="domcontentloaded")
    settle(page)
    wait_for(page, panel, ".failure", "cuDNN does not exist on cpu")


@pytest.mark.parametrize("design", list(DESIGNS))
def test_what_the_host_expects_stands_until_the_first_call(server, open_page, design):
    page = open_page(design)
    page.evaluate(LOAD, list(pair()))
    expected = fixture("idle", node="3", model={"class": "WAN21", "file": "wan_high_noise.gguf"})
    page.evaluate(SEND, [expected])
    wait_for(page, "3", ".forecast", "cuDNN: measured on this card80 GiB")
    wait_for(page, "3", ".state", "no run yet")
    wait_for(page, "3", "header p.dim", "wan_high_noise.gguf")
    begun = fixture("first_forward", node="3", calls=0, totals={}, rows=[])
    page.evaluate(SEND, [{**begun, "forecast": expected["forecast"]}])
    wait_for(page, "3", ".state", "running")
    wait_for(page, "3", ".forecast", "cuDNN: measured on this card")
    screenshot(server, page, f"begun_{design}")
    page.evaluate(SEND, [fixture("first_forward", node="3", forecast=expected["forecast"])])
    wait_for(page, "3", ".rows:not(.forecast)", "self")

    page.locator(".forecast:visible").wait_for(state="hidden")


def test_what_is_expected_does_not_wipe_a_run_that_is_known(open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("expert", node="3"), fixture("idle", node="3")])

    wait_for(page, "3", ".headline", "cuDNN")
    wait_for(page, "3", ".state", "finished")


@pytest.mark.parametrize("design", list(DESIGNS))
def test_the_gain_is_on_both_nodes(server, open_page, design):
    page = open_page(design)
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("shared", node="3"), fixture("shared", node="2", grid=None)])
    told = "attention 1.70x, whole run 1.50x as fast as ComfyUI's default"

    wait_for(page, "3", ".gain", told)
    wait_for(page, "2", "p.dim", told)
    wait_for(page, "3", "header p.dim", "high noise .* 832\u00d7480, 81 frames")
    screenshot(server, page, f"done_{design}")


@pytest.mark.parametrize("design", list(DESIGNS))
def test_an_idle_backend_is_not_clipped(server, open_page, design):
    if design == "nodes2" and version_of(server.host) == "0.8.0":
        pytest.skip(
            "Nodes 2.0 of ComfyUI 0.8.0's own page gives a widget less than it asks for; it scrolls"
        )
    page = open_page(design)
    page.evaluate(LOAD, list(sampled()))
    node = next(key for key, each in sampled()[0].items() if each["class_type"] == "WanAttnBackend")
    wait_for(page, node, "ul", "not on cpu")
    hidden = """id => {
        const { element } = window.app.graph.getNodeById(id).widgets.find(widget => widget.name === "wanattn");
        return element.scrollHeight - element.clientHeight;
    }"""

    assert still(page, f"({hidden})('{node}')") <= 1


def test_no_green_tick_stands_in_a_failed_run(open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("failed", node="3"), fixture("failed", node="2", grid=None)])

    wait_for(page, "3", ".failure", "stopped at step 2, block 0: cuDNN does not exist on cpu")
    wait_for(page, "2", ".failure", "stopped at step 2, block 0")
    assert text(page, "3", ".fine") == ""
    assert "\u2713" not in text(page, "3", ".state") + text(page, "2", ".now")


def test_the_first_forward_has_true_numbers(open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("first_forward", node="3")])

    wait_for(page, "3", ".state", r"step 0 of 0\u20133 \u00b7 12 calls \u00b7 0.463 s")
    wait_for(page, "3", ".steps", "step 0 under way")
    assert text(page, "3", ".rows:not(.forecast) tbody tr td:last-child") == "100 %"


@pytest.mark.parametrize("design", list(DESIGNS))
def test_a_bypassed_backend_says_so_and_then_shows_its_run_again(open_page, design):
    page = open_page(design)
    page.evaluate(LOAD, list(pair()))
    page.evaluate(SEND, [fixture("expert", node="2", grid=None)])
    wait_for(page, "2", ".now", "cuDNN")
    mode = """([id, mode]) => {
        window.app.graph.getNodeById(id).mode = mode;
        const tracker = window.app.extensionManager.workflow.activeWorkflow.changeTracker;
        (tracker.captureCanvasState ?? tracker.checkState).call(tracker);
    }"""
    page.evaluate(mode, ["2", 4])
    wait_for(page, "2", ".now", "bypassed")
    wait_for(page, "2", "p.dim", "ComfyUI's own attention")
    page.evaluate(mode, ["2", 0])

    wait_for(page, "2", ".now", "cuDNN")


def test_one_wrong_input_marks_one_field(open_page):
    page = open_page()
    graph = Graph()
    model = graph.load("high_noise")
    bench = graph.add(
        "WanAttnBenchmark",
        model=model,
        width=128,
        height=128,
        frames="80",
        backends="",
        repeat=2,
        measure_again=0,
    )
    rule = graph.add("WanAttnRule", role="any", blocks="x", steps="5-1", backend="auto")
    patched = graph.add(
        "WanAttnBackend", model=model, backend="auto", on_refusal="next best", rules=rule
    )
    graph.save(graph.sample(patched, graph.latent()), "mistakes/latent")
    page.evaluate(LOAD, [graph, {}])
    page.evaluate("() => void window.app.queuePrompt(0)")
    read = """() => Object.fromEntries(Object.entries(window.app.extensionManager.lastNodeErrors ?? window.app.lastNodeErrors ?? {})
        .map(([id, node]) => [id, node.errors.map(error => error.details)]))"""
    page.wait_for_function(f"Object.values(({read})()).flat().length === 3")
    told = page.evaluate(read)

    assert told[bench[0]] == ["frames - frames 80, needs 4n+1 such as 25, 49 or 81"]
    assert [line.partition(" - ")[0] for line in told[rule[0]]] == ["blocks", "steps"]
    assert "'x' is no range" in told[rule[0]][0]
    assert "backwards" in told[rule[0]][1]


def test_the_sidebar_shows_panels_inside_subgraphs_and_leads_to_their_nodes(server, open_page):
    page = open_page()
    page.evaluate(LOAD, list(pair()))
    outer, inner = page.evaluate("""() => {
        const graph = window.app.graph;
        const { node } = graph.convertToSubgraph(new Set([graph.getNodeById("3")]));
        node.title = "Expert";
        return [node.id, node.subgraph.nodes[0].id].map(String);
    }""")
    page.evaluate(SEND, [fixture("expert", node=f"{outer}:{inner}"), fixture("running", node="6")])
    page.evaluate(SIDEBAR)
    page.wait_for_selector(".wanattn.overview .card")
    page.wait_for_function(f"({FOUND})().length >= 2")
    cards = page.evaluate(CARDS)
    assert len(cards) == 4
    assert any(card.startswith("Expert \u203a ") and "finished" in card for card in cards)
    screenshot(server, page, "sidebar")

    page.locator(".card.panel", has_text="Expert").get_by_role(
        "button", name="show the node"
    ).click()
    page.wait_for_function("window.app.canvas.graph !== window.app.rootGraph")
    page.evaluate(SEND, [fixture("small", node=f"{outer}:{inner}")])
    page.wait_for_function(
        "[...document.querySelectorAll('.card .headline')].some(title => title.textContent.startsWith('cuDNN'))"
    )


def test_the_last_run_is_there_in_another_browser(server, open_page, browser):
    page = open_page()
    graph, places = sampled("flash", prefix="kept")
    page.evaluate(LOAD, [graph, places])
    saved = page.evaluate("window.app.graph.serialize()")
    page.evaluate("() => void window.app.queuePrompt(0)")
    panel, report = graph.node("WanAttnDiagnostics"), graph.node("WanAttnReport")
    wait_for(page, report, "pre", "ran flash 100 %")
    wait_until(
        lambda: saved["id"] in server.get("/api/settings").get("wanattn.Kept", []),
        PATIENCE,
        lambda: "the page did not keep what ended",
    )
    other = new_page(browser)
    try:
        other.goto(f"http://{server.address}/", wait_until="domcontentloaded")
        settle(other)
        other.evaluate("async saved => { await window.app.loadGraphData(saved); }", saved)
        wait_for(other, panel, ".headline", "flash \u2192 flash 100 %")
        wait_for(other, report, "pre", "ran flash 100 %")
    finally:
        other.close()


def test_a_report_has_its_picture_its_files_and_its_page(server, open_page):
    page = open_page()
    graph, places = sampled("flash", prefix="page_of_a_report")
    page.evaluate(LOAD, [graph, places])
    page.evaluate("() => void window.app.queuePrompt(0)")
    report = graph.node("WanAttnReport")
    wait_for(page, report, ".files", "page_of_a_report/report_00001.html")

    page.wait_for_function("document.querySelector('.wanattn.text img.shot')?.naturalWidth > 0")
    links = page.evaluate("[...document.querySelectorAll('.files a')].map(link => link.href)")
    assert all(server.file(link) for link in links)
    with page.expect_popup() as opened:
        page.locator(".wanattn.text .files button").evaluate("button => button.click()")
    opened.value.wait_for_selector(".wanattn.page .headline:not(:empty)")
    shown = opened.value.locator(".headline").first.text_content()
    assert shown.replace("\u00a0", " ") == "flash \u2192 flash 100 %"


def test_the_settings_change_what_a_new_node_is(open_page):
    page = open_page()
    page.evaluate(SETTING, ["wanattn.Panel.Evidence", "every call"])
    page.evaluate(SETTING, ["wanattn.Report.Folder", "reports"])
    page.evaluate(SETTING, ["wanattn.Panel.Shown", False])
    made = page.evaluate("""() => ["WanAttnDiagnostics", "WanAttnReport"].map(type => {
        const node = window.LiteGraph.createNode(type);
        window.app.graph.add(node);
        return Object.fromEntries(node.widgets.map(widget => [widget.name, widget.value ?? ""]));
    })""")
    for name, value in (("Evidence", "sample"), ("Shown", True)):
        page.evaluate(SETTING, [f"wanattn.Panel.{name}", value])
    page.evaluate(SETTING, ["wanattn.Report.Folder", "wanattn"])

    assert made[0]["evidence"] == "every call"
    assert "wanattn" not in made[0]
    assert made[1]["filename_prefix"] == "reports/report"


def test_the_page_speaks_chinese(server, open_page):
    server.post("/api/settings", {"Comfy.Locale": "zh"})
    try:
        page = open_page()
        graph, places = sampled()
        page.evaluate(LOAD, [graph, places])
        wait_for(page, graph.node("WanAttnDiagnostics"), ".state", "\u5c1a\u672a\u8fd0\u884c")
        titles = page.evaluate(
            "() => window.app.graph.nodes.filter(node => node.type.startsWith('WanAttn')).map(node => node.title)"
        )
        assert "\u6ce8\u610f\u529b\u540e\u7aef" in titles
        screenshot(server, page, "chinese")
    finally:
        server.post("/api/settings", {"Comfy.Locale": "en"})
