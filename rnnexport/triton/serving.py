"""How a server is to run a model: what the user may ask, and what holds where nothing is asked."""

from __future__ import annotations

from dataclasses import dataclass

from rnnexport.core.errors import UsageError

DEVICES = ("auto", "cpu", "gpu")
STRATEGIES = ("oldest", "direct")
DEFAULT_MAX_BATCH = 32
DEFAULT_MAX_SEQUENCES = 1024
# Triton's own is one second, after which a stream that paused has lost its state.
DEFAULT_MAX_IDLE = 60.0
_MOST = {"max_batch": 2**31 - 1, "max_sequences": 2**31 - 1, "max_queue_delay": 10**12, "max_idle": 1e9}
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Serving:
    """What is asked of the server. None is what `rnnexport triton --help` gives as the default.

    Attributes:
        max_batch: how many rows, or sequences, one run of the model takes at most; for an open batch alone.
        instances: how many copies of the model a server runs, on each GPU where it runs on GPUs.
        device: one of `DEVICES`; `auto` takes the GPUs of the server where it has any.
        strategy: one of `STRATEGIES`: runs of what waits longest, or a place in the batch for each sequence. For models
            with states alone, as the following two.
        max_sequences: of `oldest`, how many sequences are carried by one instance at a time; more of them wait.
        max_idle: seconds without a request after which a sequence is given up, and its state with it.
        max_queue_delay: microseconds that a request may wait for others to share its run.
    """

    max_batch: int | None = None
    instances: int = 1
    device: str = "auto"
    strategy: str | None = None
    max_sequences: int | None = None
    max_idle: float | None = None
    max_queue_delay: int | None = None

    def __post_init__(self) -> None:
        for option, value, known in (("device", self.device, DEVICES), ("strategy", self.strategy, STRATEGIES)):
            if value is not None and value not in known:
                raise UsageError(f"--{option} {value}", f"one of {', '.join(known)}", "change it")
        least = {"max_batch": 1, "instances": 1, "max_sequences": 1, "max_queue_delay": 0, "max_idle": 1e-6}
        for name, bound in least.items():
            value, most = getattr(self, name), _MOST.get(name, 10**6)
            if value is not None and not bound <= value <= most:
                raise UsageError(f"--{name.replace('_', '-')} {value}", f"a number from {bound} to {most}", "change it")

    @property
    def idle_microseconds(self) -> int:
        """`max_idle` as Triton wants it."""
        return round((DEFAULT_MAX_IDLE if self.max_idle is None else self.max_idle) * _MICROSECONDS)

    @property
    def asked_of_sequences(self) -> tuple[str, ...]:
        """The options that were given and mean something for sequences alone."""
        options = {"--strategy": self.strategy, "--max-sequences": self.max_sequences, "--max-idle": self.max_idle}
        return tuple(option for option, value in options.items() if value is not None)
