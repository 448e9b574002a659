"""Nodes for Raylight, which runs a model on several GPUs by actors of Ray. Here only where Raylight is."""
