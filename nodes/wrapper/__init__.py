"""Backend and Diagnostics for the models of WanVideoWrapper, which has samplers and attention modes of its own."""
