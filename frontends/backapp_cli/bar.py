"""The progress bar of a terminal: how far, how fast, how long, which file, how many errors."""

import time
from collections import deque

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from backapp_cli.show import width
from backapp_core.events import Progress
from backapp_core.model.names import to_line, to_text
from backapp_core.model.quantities import count, duration, size

_DRAWS_PER_SECOND = 8
_RATE_OVER_SECONDS = 8.0
_INDENT = 2
_LEAST_WIDTH = 10
_LEAST_SAMPLES = 2


class Bar:
    """Drawn by a thread of its own; what is handed in is only remembered."""

    def __init__(self) -> None:
        # Neither markup nor emoji codes nor highlighting: names of files are just names.
        self._console = Console(stderr=True, markup=False, emoji=False, highlight=False)
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._samples: deque[tuple[float, int]] = deque()
        self.remark = ""
        """A line shown below the bar; may be set at any moment, in a signal handler too."""
        self._live = Live(
            self,
            console=self._console,
            refresh_per_second=_DRAWS_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def show(self, progress: Progress) -> None:
        """Draw this the next time."""
        if self._progress is not None and self._progress.verb is not progress.verb:
            self._samples.clear()
            self._began = time.monotonic()
        self._progress = progress

    def print_above(self, text: str) -> None:
        """Print a line that scrolls away above the bar."""
        self._console.print(Text(to_line(text)), soft_wrap=True)

    def close(self) -> None:
        """Take the bar off the terminal and show the cursor again."""
        self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw."""
        del console
        if self._progress is None:
            return
        progress, columns = self._progress, options.max_width
        lines: list[Text | Table] = [self._first_line(progress, columns)]
        lines.append(_second_line(progress, columns))
        if self.remark:
            lines.append(Text(self.remark, style="yellow", no_wrap=True, overflow="ellipsis"))
        yield Group(*lines)

    def _first_line(self, progress: Progress, columns: int) -> Table:
        now = time.monotonic()
        total = progress.bytes_total
        rate = self._rate(now, progress.bytes_done)
        fields = {"rate": f"{size(int(rate))}/s", "left": _left(progress, rate, now - self._began)}
        if total:
            part = min(1.0, progress.bytes_done / total)
            done = f"{size(progress.bytes_done)} of {size(total)}"
            fields = {"part": f"{part:4.0%}", "done": done, **fields}
        else:
            fields = {"part": size(progress.bytes_done), **fields}
        words = _fitting(fields, columns - len(progress.verb) - 4)
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(no_wrap=True)
        cells: list[Text | ProgressBar] = [Text(str(progress.verb))]
        room = columns - words.cell_len - len(progress.verb) - 5
        if room >= _LEAST_WIDTH:
            line.add_column()
            cells.append(
                ProgressBar(total, progress.bytes_done, width=min(room, 30), pulse=not total)
            )
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(*cells, words)
        return line

    def _rate(self, now: float, done_bytes: int) -> float:
        samples = self._samples
        samples.append((now, done_bytes))
        while len(samples) > _LEAST_SAMPLES and now - samples[0][0] > _RATE_OVER_SECONDS:
            samples.popleft()
        seconds = now - samples[0][0]
        return max(0.0, (done_bytes - samples[0][1]) / seconds) if seconds > 0 else 0.0


def _fitting(fields: dict[str, str], room: int) -> Text:
    """Return as many whole fields as fit; half a number is worse than none."""
    kept = dict(fields)
    for name in ("rate", "done", "left"):
        if len("  ".join(kept.values())) > room:
            kept.pop(name, None)
    return Text("  ".join(kept.values()), no_wrap=True, overflow="ellipsis")


def _second_line(progress: Progress, columns: int) -> Text:
    counted = count(progress.files_done, "file") if progress.has_files else ""
    line = Text(" " * _INDENT + counted, no_wrap=True)
    if progress.problems:
        line.append(f"  {count(progress.problems, 'error')}", style="bold red")
    room = columns - line.cell_len - _INDENT - 1
    if progress.current and room > _INDENT:
        line.append(" " * _INDENT + _end_of(to_text(progress.current), room))
    line.truncate(columns, overflow="ellipsis")
    return line


def _left(progress: Progress, rate: float, elapsed_seconds: float) -> str:
    if progress.bytes_total and rate > 0:
        left = max(0, progress.bytes_total - progress.bytes_done) / rate
        return f"ETA {duration(left)}"
    return duration(elapsed_seconds)


def _end_of(path: str, columns: int) -> str:
    """Return as much of the end of ``path`` as fits; which file it is matters most."""
    if width(path) <= columns:
        return path
    shown = path[-columns:]
    while width(shown) >= columns:
        shown = shown[1:]
    return f"…{shown}"
