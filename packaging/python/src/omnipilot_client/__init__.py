"""Ask OmniPilot for Slurm from Python: a thin client over the command's JSON."""

from ._client import (
    ABSTAINED,
    INFEASIBLE,
    Advice,
    Candidate,
    OmniPilot,
    OmniPilotError,
    Range,
)

__all__ = [
    "ABSTAINED",
    "INFEASIBLE",
    "Advice",
    "Candidate",
    "OmniPilot",
    "OmniPilotError",
    "Range",
]
__version__ = "0.1.0"
