"""One line that says phase, epoch and time left."""

from __future__ import annotations

import sys
import time

import keras


class ProgressLine(keras.callbacks.Callback):
    """Show phase, epoch, metrics and time left: a moving line on a terminal, one line an epoch in a log file.

    Args:
        phase: the phase's name.
        number, phases: this is phase `number` of `phases`, counted from 1.
        epochs_after: epochs of the phases that follow, for the time left of the whole run.
        stream: where to write; standard error by default.
    """

    def __init__(self, phase: str = "fit", *, number: int = 1, phases: int = 1, epochs_after: int = 0, stream=None):
        super().__init__()
        self.phase = phase
        self.number = number
        self.phases = phases
        self.epochs_after = epochs_after
        self.stream = stream if stream is not None else sys.stderr
        self._moving = bool(getattr(self.stream, "isatty", lambda: False)())
        self._epoch_seconds: list[float] = []
        self._shown = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._began = time.monotonic()
        if not self._epoch_seconds and not self._moving:
            self._write(f"{self._head()} begins; the first step also compiles the graph\n")

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if not self._moving or now - self._shown < 0.2:
            return
        self._shown = now
        steps = self.params.get("steps") or 0
        share = (batch + 1) / steps if steps else 0.0
        bar = "#" * int(20 * share) + "." * (20 - int(20 * share))
        left = _clock((now - self._began) * (1 - share) / share) if share else "?"
        self._write(f"\r\x1b[K{self._head()} [{bar}] {batch + 1}/{steps or '?'} {_metrics(logs)} epoch {left} left")

    def on_epoch_end(self, epoch, logs=None):
        self._epoch_seconds.append(time.monotonic() - self._began)
        # The first epoch compiles; later ones tell what an epoch costs.
        typical = min(self._epoch_seconds)
        epochs = self.params.get("epochs") or epoch + 1
        left = typical * (epochs - epoch - 1 + self.epochs_after)
        start = "\r\x1b[K" if self._moving else ""
        seconds = self._epoch_seconds[-1]
        self._write(f"{start}{self._head()} {_metrics(logs)} {seconds:.1f} s, at most about {_clock(left)} left\n")

    def _head(self) -> str:
        epochs = self.params.get("epochs") or "?"
        return f"phase {self.number}/{self.phases} {self.phase}, epoch {self._epoch + 1}/{epochs}:"

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def _metrics(logs: dict | None) -> str:
    return " ".join(f"{key} {float(value):.4g}" for key, value in (logs or {}).items())


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
