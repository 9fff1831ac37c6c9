"""The client: one method a verb, one dataclass an answer."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence, Union

#: Exit code of an answer: nothing near enough was measured.
ABSTAINED = 64
#: Exit code of an answer: no configuration in reach can run the model or meet the targets.
INFEASIBLE = 65

Value = Union[str, int, float]
Path = Union[str, "os.PathLike[str]"]


class OmniPilotError(Exception):
    """The command failed.

    ``reason`` is what it said, ``hint`` what to do about it (may be empty), ``code`` its exit code.
    """

    def __init__(self, reason: str, hint: str, code: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.code = code


@dataclass(frozen=True)
class Range:
    """A predicted value: its median, and the ends between which four of five measurements are expected."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, target: Optional[Mapping[str, Any]]) -> Optional["Range"]:
        """From one target of a document; ``None`` where it is not known."""
        if target is None:
            return None
        return cls(target["q50"], target["lo"], target["hi"])


@dataclass(frozen=True)
class Candidate:
    """One configuration with what is predicted of it. Times in ms, power in W, throughput in tokens per second."""

    gpu: str
    tp: int
    precision: str
    gpus: int
    nodes: int
    replicas: int
    checkpoint: Optional[str]
    max_num_seqs: Optional[int]
    output_tok_s: Optional[Range]
    ttft_ms: Optional[Range]
    tpot_ms: Optional[Range]
    power_w: Optional[Range]
    utility: Optional[float]
    #: Why it is not offered; ``None`` for one that is.
    fallen: Optional[Mapping[str, Any]]
    #: The whole object of the document.
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Candidate":
        """From one object of ``candidates``."""
        targets = document["targets"]
        return cls(
            gpu=document["gpu"],
            tp=document["tp"],
            precision=document["precision"],
            gpus=document["gpus"],
            nodes=document["nodes"],
            replicas=document["replicas"],
            checkpoint=document["checkpoint"],
            max_num_seqs=document["max_num_seqs"],
            output_tok_s=Range.of(targets["output_tok_s"]),
            ttft_ms=Range.of(targets["ttft_ms"]),
            tpot_ms=Range.of(targets["tpot_ms"]),
            power_w=Range.of(targets["power_w"]),
            utility=document["utility"],
            fallen=document["fallen"],
            document=document,
        )


@dataclass(frozen=True)
class Advice:
    """An advice, or why there is none."""

    id: str
    model: str
    #: The lines that a user is shown.
    message: Sequence[str]
    #: The GPU request of the job; ``None`` where there is no advice.
    gres: Optional[str]
    #: What the job's environment is to hold, by name.
    environment: Mapping[str, str]
    candidates: Sequence[Candidate]
    document: Mapping[str, Any] = field(repr=False)

    @property
    def best(self) -> Optional[Candidate]:
        """The advised configuration; ``None`` where there is no advice."""
        if self.document["decision"] != "rewrite":
            return None
        return self.candidates[0]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Advice":
        """From the document of ``omnipilot advise --json``."""
        return cls(
            id=document["advice"],
            model=document["model"],
            message=document["message"],
            gres=document["gres"],
            environment=document["environment"],
            candidates=[Candidate.of(c) for c in document["candidates"]],
            document=document,
        )


class OmniPilot:
    """The command ``omnipilot``, of one site.

    ``command`` is its name or path. ``config`` and ``store`` name the site as ``--config`` and ``--store`` do. ``timeout`` is the most
    seconds that a call may take.
    """

    def __init__(
        self,
        command: Path = "omnipilot",
        config: Optional[Path] = None,
        store: Optional[Path] = None,
        timeout: Optional[float] = 60.0,
    ) -> None:
        self._command = os.fspath(command)
        self._site: list[str] = []
        for option, value in (("--config", config), ("--store", store)):
            if value is not None:
                self._site += [option, os.fspath(value)]
        self._timeout = timeout

    def advise(self, model: str, **options: Optional[Value]) -> Advice:
        """What would be chosen for a model.

        ``options`` are those of ``omnipilot advise`` with ``_`` for ``-``: ``isl``, ``osl``, ``concurrency``, ``rate``, ``users``, ``ttft``, ``tpot``,
        ``slo``, ``gpu``, ``tp``, ``precision``, ``gpus``, ``nodes``, ``max_model_len``. ``None`` leaves one away.

        Raises :class:`OmniPilotError` where the command fails. An advice that says "not known" is an answer.
        """
        words = ["advise", "--json", *_options({"model": model, **options})]
        return Advice.of(self._json(words, (0, ABSTAINED, INFEASIBLE)))

    def explain(
        self, advice: Optional[str] = None, job: Optional[int] = None, **options: Optional[Value]
    ) -> Mapping[str, Any]:
        """Why an advice is what it is: of an id, of a job, or of a question as for :meth:`advise`.

        Returns the document. Raises :class:`OmniPilotError` where the command fails.
        """
        words = ["explain", "--json", *_options({"job": job, **options})]
        return self._json(words + ([advice] if advice else []), (0,))

    def dry_run(self, script: Path, *sbatch: str, **options: Optional[Value]) -> Mapping[str, Any]:
        """What ``omnipilot submit`` would submit of a batch script; nothing is submitted.

        ``sbatch`` are options of ``sbatch`` itself. Returns the document. Raises :class:`OmniPilotError` where the job is refused.
        """
        words = ["submit", "--dry-run", "--json", *_options(options)]
        return self._json([*words, "--", *sbatch, os.fspath(script)], (0,))

    def doctor(self) -> Mapping[str, Any]:
        """What is wrong with the site, as a document; findings are an answer."""
        return self._json(["doctor", "--json"], (0, 1))

    def _json(self, words: Sequence[str], answers: Sequence[int]) -> Mapping[str, Any]:
        try:
            done = subprocess.run(
                [self._command, *self._site, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self._timeout,
                check=False,
            )
        except OSError as error:
            hint = "install OmniPilot, or name the command: OmniPilot(command=...)"
            raise OmniPilotError(f"{self._command}: {error.strerror}", hint, 127) from error
        except subprocess.TimeoutExpired as error:
            raise OmniPilotError(f"no answer within {self._timeout} s", "", 124) from error
        if done.returncode not in answers or not done.stdout.strip():
            raise _failure(done.stderr, done.returncode)
        document: Mapping[str, Any] = json.loads(done.stdout)
        if document.get("schema") != 1:
            reason = f"the command answers in schema {document.get('schema')}; this client reads 1"
            raise OmniPilotError(reason, "install the client of the same release", done.returncode)
        return document


def _options(options: Mapping[str, Optional[Value]]) -> list[str]:
    """Options as the command takes them. One word each, so that no value is taken for an option."""
    given = ((name.replace("_", "-"), value) for name, value in options.items())
    return [f"--{name}={value}" for name, value in given if value is not None]


def _failure(stderr: str, code: int) -> OmniPilotError:
    lines = [line.removeprefix("omnipilot:").strip() for line in stderr.splitlines()]
    hints = [line.removeprefix("hint:").strip() for line in lines if line.startswith("hint:")]
    reason = [line for line in lines if line and not line.startswith("hint:")]
    return OmniPilotError(" ".join(reason) or f"exit status {code}", " ".join(hints), code)
