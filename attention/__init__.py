"""Attention backends for PyTorch video models: choose one, run it, and know what ran. Knows nothing of ComfyUI."""

from .backends import BACKENDS, Backend
from .call import Call
from .dispatch import Dispatcher
from .environment import Environment, probe
from .forward import Forward
from .intercept import Intercept
from .observer import Observer
from .policy import Choice, NoBackend, Policy, choose
from .record import Record
from .recorder import Recorder

__all__ = [
    "BACKENDS",
    "Backend",
    "Call",
    "Choice",
    "Dispatcher",
    "Environment",
    "Forward",
    "Intercept",
    "NoBackend",
    "Observer",
    "Policy",
    "Record",
    "Recorder",
    "choose",
    "probe",
]
