"""A hundred panels in one graph cost few frames, idle or with a finished run in each."""

from wanattn.tests.host.graph import Graph
from wanattn.tests.host.panel_page import FRAMES, LOAD, SEND, fixture

PANELS = 100
TRIES = 4
ENOUGH = 40  # frames a second
PAN = """() => {
    const { ds } = window.app.canvas;
    Object.assign(ds, { scale: 0.2, offset: [100, 100] });
    window.pan ??= setInterval(() => {
        window.app.canvas.ds.offset[0] += window.app.canvas.ds.offset[0] > 300 ? -200 : 1;
        window.app.canvas.setDirty(true, true);
    }, 16);
}"""


def graph_of(watched: bool) -> tuple[Graph, dict]:
    graph, places = Graph(), {}
    model = graph.load("high_noise")
    for index in range(PANELS):
        key, _ = graph.diagnostics(model) if watched else graph.shifted(model)
        places[key] = [(index % 10) * 640, (index // 10) * 700]
    return graph, places


def frames(page, graph, places, payloads=()) -> float:
    page.evaluate(LOAD, [graph, places])
    page.evaluate(SEND, list(payloads))
    page.evaluate(PAN)
    page.evaluate(FRAMES)  # what it takes to begin
    return page.evaluate(FRAMES)


def test_a_hundred_panels_keep_the_graph_quick(open_page):
    """Others use this machine too: what counts is the best of several looks, against the same graph without us."""
    page = open_page()
    plain, watched = graph_of(False), graph_of(True)
    runs = [fixture("small", node=key) for key in watched[1]]
    without, idle, done = [], [], []
    for _ in range(TRIES):
        without.append(frames(page, *plain))
        idle.append(frames(page, *watched))
        done.append(frames(page, *watched, runs))
    floor = min(ENOUGH, 0.85 * max(without))

    assert max(idle) >= floor, (without, idle, done)
    assert max(done) >= floor, (without, idle, done)
