"""The terminal's view of a task: text, labels, note and guideline, and the keys that send nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from labelproof.review._terminal_text import Choice, Stopwatch, covered, facts, guideline, inert, one_line
from labelproof.review.model import Answer, Assignment
from labelproof.spec.errors import ConfigError
from labelproof.spec.labels import EMPTY_SET
from labelproof.spec.project import ProjectFolder

_NOTE_MOST = 4_000
_HELP = """\
1 … 9     choose a label; where several are allowed, choose it or take it away
0         no label applies (where several are allowed)
/         find a label by typing
s f x     instead of a label: skip, flag for a lead, guideline unclear
Enter     send
r         show the text
n         write a note
g         guideline, with search
u         take the last answer back
↑ ↓       scroll the text, a page at a time with PgUp and PgDn
q         stop; the task goes back to the queue

Nothing is sent before Enter, and no label before the text was shown."""
_KEYS = "Enter send · r show · n note · g guideline · u undo · ? all keys · q stop"


class HelpScreen(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,enter,q", "dismiss", "Close", show=False)
    ]

    def compose(self) -> ComposeResult:
        yield Static(Text(_HELP), id="help")


class TaskView(App[int]):
    """One task at a time, and what is chosen for it. What is sent, and what comes next, is the subclass's."""

    TITLE = "Labelproof review"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #main { width: 1fr; }
    #title { height: 1; background: $panel; padding: 0 1; }
    #box { height: 1fr; border: round $primary; padding: 0 1; }
    #box:focus { border: round $accent; }
    #facts { height: auto; max-height: 6; padding: 0 1; }
    #choices { height: auto; max-height: 40%; padding: 0 1; margin-bottom: 1; }
    #choices Static { height: auto; }
    #note, #filter { display: none; }
    #note.shown, #filter.shown { display: block; }
    #panel { display: none; width: 45%; border-left: solid $primary; padding: 0 1; }
    #panel.shown { display: block; }
    #progress, #status, #keys { height: 1; padding: 0 1; }
    #status { text-style: bold; }
    #keys { color: $text-muted; }
    HelpScreen { align: center middle; }
    #help { width: auto; max-width: 90%; height: auto; border: round $accent; padding: 1 2; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(digit), f"digit({digit})", show=False) for digit in range(10)),
        Binding("enter", "send", show=False),
        Binding("s", "instead('skip')", show=False),
        Binding("f", "instead('flag')", show=False),
        Binding("x", "instead('unclear')", show=False),
        Binding("r", "reveal", show=False),
        Binding("n", "note", show=False),
        Binding("g", "guideline", show=False),
        Binding("u", "undo", show=False),
        Binding("slash", "filter", show=False),
        Binding("question_mark", "help", show=False),
        Binding("escape", "leave", show=False),
        Binding("q", "quit", show=False),
    ]

    def __init__(
        self, folder: ProjectFolder, title: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._folder = folder
        self._heading = title
        self._current: Assignment | None = None
        self._choice = Choice(folder.spec.labels)
        self._revealed = False
        self._watch = Stopwatch(clock)

    def compose(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="main"):
                yield Static(one_line(self._heading), id="title")
                with VerticalScroll(id="box"):
                    yield Static(id="content", markup=False)
                yield Static(id="facts", markup=False)
                yield Input(placeholder="find a label; Enter chooses the first", id="filter")
                with VerticalScroll(id="choices", can_focus=False):
                    yield Static(id="labels", markup=False)
                yield Input(placeholder="note; Enter to go on", id="note", max_length=_NOTE_MOST)
                yield Static(id="progress", markup=False)
                yield Static(id="status", markup=False)
                yield Static(Text(_KEYS), id="keys")
            with Vertical(id="panel"):
                yield Input(placeholder="search the guideline", id="search")
                with VerticalScroll():
                    yield Static(id="guideline", markup=False)

    def _show_task(self, task: Assignment) -> None:
        """Show a task; an earlier answer of the reviewer's is chosen again."""
        self._clear()
        self._current, self._revealed = task, not task.blurred
        if task.previous is not None:
            self._choice.take(task.previous.answer, task.previous.label)
            self.query_one("#note", Input).value = task.previous.note or ""
            self.query_one("#note").set_class(bool(task.previous.note), "shown")
        self._show_content(task)
        self._show_labels()
        self._watch.start()

    def _show_nothing(self, message: str) -> None:
        """Say why there is no task."""
        self._clear()
        self._current, self._revealed = None, False
        self._put("content", one_line(message))
        for name in ("facts", "labels"):
            self._put(name, Text())

    def _clear(self) -> None:
        self._choice = Choice(self._folder.spec.labels)
        for name in ("note", "filter"):
            self.query_one(f"#{name}", Input).value = ""
            self.query_one(f"#{name}").remove_class("shown")
        self.query_one("#box").focus()
        self.query_one("#box", VerticalScroll).scroll_home(animate=False)

    def _show_content(self, task: Assignment) -> None:
        self._put("content", inert(task.text) if self._revealed else covered(task.text))
        about = facts(task.meta, task.hidden) if self._revealed else Text("r shows the text", "bold")
        if self._revealed and task.image:
            about.append(f"\nimage: {one_line(task.image).plain} (the web app shows it)", "dim")
        if self._revealed and task.shown_label is not None:
            about.append(f"\nthe machine says: {one_line(task.shown_label).plain}", "italic")
            if task.shown_confidence is not None:
                about.append(f" (confidence {task.shown_confidence:.2f})", "italic")
            if task.shown_rationale:
                about.append(f": {one_line(task.shown_rationale).plain}", "italic")
        self._put("facts", about)

    def _show_labels(self) -> None:
        self._put("labels", self._choice.lines(self._labels()))

    def _labels(self) -> list[str]:
        wanted = self.query_one("#filter", Input).value.casefold().strip()
        return [name for name in self._folder.spec.labels.leaves if wanted in name.casefold()]

    # --- keys ------------------------------------------------------------------------------------

    def action_digit(self, digit: int) -> None:
        """Choose a label by its number."""
        several = self._choice.schema.kind == "multi"
        labels = [EMPTY_SET] if digit == 0 and several else self._labels()[digit - 1 : digit] if digit else []
        if labels and self._may_choose():
            self._choice.toggle(labels[0])
            self._show_labels()
            self._say("")

    def action_instead(self, answer: Answer) -> None:
        """Choose skip, flag or unclear. A text that nobody wants to read may be skipped unread."""
        if self._current is not None and (answer == "skip" or self._may_choose()):
            self._choice.instead(answer)
            self._show_labels()
            self._say("")

    def _may_choose(self) -> bool:
        if self._current is not None and not self._revealed:
            self._say("r shows the text")
        return self._current is not None and self._revealed

    def action_reveal(self) -> None:
        """Show the text, or cover it again."""
        if self._current is not None:
            self._revealed = not self._revealed
            self._show_content(self._current)
            self._say("")

    def action_note(self) -> None:
        """Write a note."""
        if self._current is not None:
            self._open("note")

    def action_filter(self) -> None:
        """Find a label."""
        if self._current is not None:
            self._open("filter")

    def action_guideline(self) -> None:
        """Show the guideline beside the item, with the cursor in its search; or hide it."""
        panel = self.query_one("#panel")
        panel.toggle_class("shown")
        if panel.has_class("shown"):
            self._search("")
            self.query_one("#search").focus()
        else:
            self.query_one("#box").focus()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen())

    def action_leave(self) -> None:
        """Leave an input for the text; from the text, close the guideline."""
        box = self.query_one("#box")
        if self.focused is box:
            self.query_one("#panel").remove_class("shown")
        box.focus()

    # --- inputs ----------------------------------------------------------------------------------

    def _open(self, name: str) -> None:
        self.query_one(f"#{name}").add_class("shown")
        self.query_one(f"#{name}").focus()

    @on(Input.Changed, "#filter")
    def _filtered(self) -> None:
        if self._current is not None:
            self._show_labels()

    @on(Input.Submitted, "#filter")
    def _found(self) -> None:
        labels = self._labels()
        if labels and self._may_choose():
            self._choice.toggle(labels[0])
        self.query_one("#filter", Input).value = ""
        self.query_one("#filter").remove_class("shown")
        self._show_labels()
        self.query_one("#box").focus()

    @on(Input.Submitted, "#note")
    @on(Input.Submitted, "#search")
    def _done(self) -> None:
        self.query_one("#box").focus()

    @on(Input.Changed, "#search")
    def _searched(self, event: Input.Changed) -> None:
        self._search(event.value)

    def _search(self, query: str) -> None:
        try:
            text = self._folder.guideline()
        except ConfigError as error:
            self._put("guideline", one_line(error.message))
            return
        self._put("guideline", guideline(text, query))

    def on_app_blur(self, _: events.AppBlur) -> None:
        """Count no time while the reviewer is elsewhere."""
        self._watch.pause()

    def on_app_focus(self, _: events.AppFocus) -> None:
        """Count on."""
        self._watch.resume()

    def _put(self, name: str, text: Text) -> None:
        self.query_one(f"#{name}", Static).update(text)

    def _say(self, message: str) -> None:
        self._put("status", one_line(message))
