"""A real ComfyUI in this process and as a server; without one, every test here is skipped."""

from __future__ import annotations

import functools
import shutil
import sys

import pytest
from wanattn.tests.host.hosts import current_host, version_of


def find_host():
    try:
        return current_host(), None
    except LookupError as error:
        return None, str(error)


HOST, MISSING = find_host()
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def pytest_runtest_setup(item):
    if MISSING:
        pytest.skip(f"host tier skipped: {MISSING}")


def pytest_report_header():
    return f"ComfyUI {version_of(HOST)}" if HOST else f"host tier skipped: {MISSING}"


@pytest.fixture(scope="session")
def comfy(tmp_path_factory):
    """The host's package in this process, on the CPU, with torch's attention as its default.

    The server runs with the host's own CPU default, so that both kinds of default are met.
    """
    sys.path.insert(0, str(HOST))
    from comfy.cli_args import args

    args.cpu = True
    args.use_pytorch_cross_attention = True
    import comfy.sd
    import folder_paths
    import utils.extra_config  # noqa: F401  as in main.py: later, comfy/utils.py would be in its way

    folder_paths.set_user_directory(str(tmp_path_factory.mktemp("user")))
    return comfy


@pytest.fixture(scope="session")
def load(comfy, tmp_path_factory):
    """Loads a tiny model of a kind by the host's own detection; once a kind."""
    from wanattn.tests.host import tiny

    folder, loaded = tmp_path_factory.mktemp("checkpoints"), {}

    def load(kind, seed=1):
        if (kind, seed) not in loaded:
            path = tiny.save_wan(folder, kind, seed, f"{kind}_{seed}")
            loaded[kind, seed] = comfy.sd.load_diffusion_model(str(path))
        return loaded[kind, seed]

    return load


@pytest.fixture(scope="session")
def unet(comfy):
    """A model that is not Wan."""
    from wanattn.tests.host import tiny

    return tiny.unet()


@pytest.fixture
def override(comfy):
    """Makes one of ours for a policy, of which `host` only watches."""
    from wanattn.attention.choose.policy import Policy
    from wanattn.attention.record.recorder import Recorder
    from wanattn.attention.run.dispatch import Dispatcher
    from wanattn.nodes.host.override import Override

    def override(backend, previous=None):
        return Override(Recorder(), previous, Dispatcher(Policy(backend)))

    return override


@pytest.fixture
def workbench(comfy, tmp_path):
    """The pack's nodes in this process, writing to a folder of the test."""
    import folder_paths
    from wanattn.tests.host.workbench import Workbench

    before = folder_paths.get_output_directory()
    folder_paths.set_output_directory(str(tmp_path))
    yield Workbench(tmp_path)
    folder_paths.set_output_directory(before)


@pytest.fixture
def ruled(workbench):
    """Patches a model with a chain of rules, each (role, blocks, steps, backend)."""

    def ruled(model, *chain, backend="flash", on_refusal="next best", at="10"):
        inputs = {"model": model, "backend": backend, "on_refusal": on_refusal}
        return workbench.run("WanAttnBackend", at, **inputs, rules=chained(workbench, *chain))[0]

    return ruled


def chained(workbench, *chain):
    def append(rules, rule):
        named = dict(zip(("role", "blocks", "steps", "backend"), rule, strict=True))
        before = {} if rules is None else {"rules": rules}
        return workbench.run("WanAttnRule", "5", **named, **before)[0]

    return functools.reduce(append, chain, None)


def keep_guard(entries):
    return ["transformer_options" not in entry.name for entry in entries]  # as the host's node does


@pytest.fixture
def compile_model(comfy):
    """What the node does, but for its choice of compilers: both take a GPU or minutes."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    def compile_model(model, backend="eager"):
        model = model.clone()
        options = {"guard_filter_fn": keep_guard}
        set_torch_compile_wrapper(model=model, backend=backend, options=options)
        return model

    return compile_model


@pytest.fixture(scope="session")
def server(comfy, tmp_path_factory):
    """A running server with the pack, the tests' own nodes and the two experts of a tiny model."""
    from wanattn.tests.host import tiny
    from wanattn.tests.host.server import Server, install_nodes, serving

    base = tmp_path_factory.mktemp("comfyui")
    install_nodes(base)
    models = base / "models" / "diffusion_models"
    models.mkdir(parents=True)
    tiny.save_wan(models, "t2v", 1, "high_noise")
    tiny.save_wan(models, "t2v", 2, "low_noise")
    with serving(Server(HOST, base)) as server:
        yield server


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium not installed")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(server, browser):
    """Opens the host's page; the test fails if our scripts report an error there."""
    from wanattn.tests.host.console import ours, watch
    from wanattn.tests.host.panel_page import DESIGNS, new_page, settle

    pages = []

    def open_page(design="classic", palette="dark"):
        settings = {
            "Comfy.TutorialCompleted": True,
            "Comfy.VueNodes.Enabled": DESIGNS[design],
            "Comfy.ColorPalette": palette,
            "Comfy.Minimap.Visible": False,
        }
        server.post("/api/settings", settings)
        page = new_page(browser)
        pages.append(page)
        page.problems = []
        watch(page, page.problems)
        page.goto(f"http://{server.address}/", wait_until="domcontentloaded")
        settle(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert ours([problem for page in pages for problem in page.problems]) == []
