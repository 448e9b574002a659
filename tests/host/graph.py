"""API prompts, written the way a user wires nodes."""

from __future__ import annotations

Link = list  # [node id, output slot]


class Graph(dict):
    """Node id to node; `add` returns the link to the new node's first output."""

    def add(self, class_type: str, **inputs) -> Link:
        key = str(len(self) + 1)
        self[key] = {"class_type": class_type, "inputs": inputs}
        return [key, 0]

    def load(self, name: str) -> Link:
        return self.add("UNETLoader", unet_name=f"{name}.safetensors", weight_dtype="default")

    def backend(self, model: Link, backend: str = "flash", on_refusal: str = "next best") -> Link:
        return self.add("WanAttnBackend", model=model, backend=backend, on_refusal=on_refusal)

    def diagnostics(self, model: Link) -> Link:
        return self.add("WanAttnDiagnostics", model=model, evidence="sample")

    def report(self, model: Link, after: Link, prefix: str = "wanattn/report") -> Link:
        return self.add("WanAttnReport", model=model, after=after, filename_prefix=prefix)

    def shifted(self, model: Link) -> Link:
        return self.add("ModelSamplingSD3", model=model, shift=5.0)

    def latent(self) -> Link:
        size = {"width": 128, "height": 128, "length": 17, "batch_size": 1}
        return self.add("EmptyHunyuanLatentVideo", **size)  # 1, 16, 5, 16, 16

    def sample(self, model: Link, latent: Link, seed: int = 7, steps: int = 2, **changes) -> Link:
        inputs = {
            "model": model,
            "positive": self.add("TestConditioning", seed=11),
            "negative": self.add("TestConditioning", seed=12),
            "latent_image": latent,
            "noise_seed": seed,
            "steps": steps,
            "cfg": 2.0,
            "sampler_name": "euler",
            "scheduler": "simple",
            "add_noise": "enable",
            "start_at_step": 0,
            "end_at_step": 10000,
            "return_with_leftover_noise": "disable",
        }
        return self.add("KSamplerAdvanced", **{**inputs, **changes})

    def save(self, latent: Link, prefix: str) -> Link:
        return self.add("SaveLatent", samples=latent, filename_prefix=prefix)

    def node(self, class_type: str, position: int = 0) -> str:
        """The id of a node by its type."""
        return [key for key, node in self.items() if node["class_type"] == class_type][position]


def experts(backend: str | None = "flash", prefix: str = "experts", seed: int = 7) -> Graph:
    """Wan 2.2 as users run it: the high-noise expert for two steps, the low-noise one for the rest.

    Without a backend it is the same graph without our nodes.
    """
    graph = Graph()
    latent = graph.latent()
    high = {"end_at_step": 2, "return_with_leftover_noise": "enable"}
    low = {"start_at_step": 2, "add_noise": "disable"}
    for name, part in (("high_noise", high), ("low_noise", low)):
        model = graph.load(name)
        if backend:
            model = graph.diagnostics(graph.backend(model, backend))
        model = graph.shifted(model)
        latent = graph.sample(model, latent, seed, steps=4, **part)
        if backend:
            latent = graph.report(model, latent, f"{prefix}/{name}")
    graph.save(latent, f"{prefix}/latent")
    return graph


def single(
    backend: str | None = "flash", prefix: str = "single", seed: int = 7, **sampling
) -> Graph:
    """One model, one sampler, one report."""
    graph = Graph()
    model = graph.load("high_noise")
    if backend:
        model = graph.backend(model, backend)
    latent = graph.sample(model, graph.latent(), seed, **sampling)
    if backend:
        latent = graph.report(model, latent, f"{prefix}/report")
    graph.save(latent, f"{prefix}/latent")
    return graph
