"""Commands whose options come in groups: sections of the help, and one value each where options belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, eq=False)
class OptionGroup:
    """Options that stand together in the help of a command.

    Attributes:
        title: of the section of the help.
        options: in the order of the help.
        parameter: the parameter of the command that gets one value made of them; empty where each option is one.
        build: makes that value; called with the options by name.
    """

    title: str
    options: tuple[click.Option, ...]
    parameter: str = ""
    build: Callable[..., Any] | None = None


class GroupedCommand(click.Command):
    """A command with groups of options. Groups of one title are one section of the help."""

    def __init__(
        self,
        name: str,
        callback: Callable[..., Any],
        text: str,
        arguments: Sequence[click.Argument],
        groups: Sequence[OptionGroup],
    ) -> None:
        options = [option for group in groups for option in group.options]
        super().__init__(name, callback=callback, params=[*arguments, *options], help=text)
        self._groups = groups

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command with one value for each group that has one."""
        for group in self._groups:
            if group.build is not None:
                values = {option.name: ctx.params.pop(option.name) for option in group.options if option.expose_value}
                ctx.params[group.parameter] = group.build(**values)
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section a title, `--help` at the end of the last."""
        if not self._groups:
            super().format_options(ctx, formatter)
        for title in dict.fromkeys(group.title for group in self._groups):
            rows = list(self._rows(ctx, title))
            if title == self._groups[-1].title and (record := self._help(ctx)) is not None:
                rows.append(record)
            with formatter.section(title):
                formatter.write_dl(rows)

    def _rows(self, ctx: click.Context, title: str) -> Iterator[tuple[str, str]]:
        for group in self._groups:
            if group.title == title:
                yield from (row for option in group.options if (row := option.get_help_record(ctx)) is not None)

    def _help(self, ctx: click.Context) -> tuple[str, str] | None:
        option = self.get_help_option(ctx)
        return None if option is None else option.get_help_record(ctx)


def grouped(
    name: str, *groups: OptionGroup, arguments: Sequence[click.Argument] = (), text: str | None = None
) -> Callable[[Callable[..., Any]], GroupedCommand]:
    """Make a function a command of that name.

    Args:
        name: what is typed.
        groups: its options.
        arguments: what stands without an option.
        text: the help; by default the docstring.
    """

    def made(function: Callable[..., Any]) -> GroupedCommand:
        return GroupedCommand(name, function, text or function.__doc__ or "", arguments, groups)

    return made
