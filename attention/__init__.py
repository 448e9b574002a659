"""Attention backends for PyTorch video models: choose one, run it, and know what ran. Knows nothing of ComfyUI."""

from .backends import BACKENDS, Backend
from .call import Call, Inputs
from .choose.policy import Choice, NoBackend, Policy
from .environment import Environment, probe
from .record.record import Record
from .record.recorder import Recorder
from .run.dispatch import Dispatcher
from .run.forward import Forward, Place
from .run.intercept import Intercept

__all__ = [
    "BACKENDS",
    "Backend",
    "Call",
    "Choice",
    "Dispatcher",
    "Environment",
    "Forward",
    "Inputs",
    "Intercept",
    "NoBackend",
    "Place",
    "Policy",
    "Record",
    "Recorder",
    "probe",
]
