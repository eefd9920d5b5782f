"""Runs one command line; the only place that turns exceptions into exit codes."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import shell_complete

from backapp_cli.assemble import COMPLETE, asked_to_complete, wants_traceback
from backapp_cli.exits import ExitCode, code_for
from backapp_cli.foreign import OPTIONS
from backapp_cli.main import backapp
from backapp_cli.session import Session
from backapp_cli.show import OutputLost
from backapp_cli.signals import Stopping, Terminated
from backapp_cli.streams import silence
from backapp_core.errors import BackappError, RunCancelled

_REPORT = "run it again with --debug to see where, and please report it"
_NOWHERE = "the current folder no longer exists"


def run(arguments: Sequence[str]) -> int:
    """Run ``arguments`` and return the exit code; say in one sentence what went wrong."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not set to UTF-8 shows names as escapes; it does not stop the program.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text
    stopping = Stopping()
    stopping.raise_on_terminate()
    session = Session(stopping)
    try:
        return _guarded(arguments, session)
    except OutputLost as error:
        silence(1)
        return _fail(session, f"standard output cannot be written: {error}", ExitCode.FAILED)
    except BrokenPipeError:
        silence(1)
        return ExitCode.PIPE_CLOSED
    finally:
        with suppress(BrokenPipeError):
            sys.stderr.flush()


def _guarded(arguments: Sequence[str], session: Session) -> int:
    try:
        code = _run(arguments, session)
        session.output.flush()
    except BackappError as error:
        return _refused(session, error)
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        return ExitCode.BAD_USAGE
    except click.UsageError as error:
        return _fail(session, _misused(error), ExitCode.BAD_USAGE)
    except click.ClickException as error:
        return _fail(session, _sentence(error.format_message()), ExitCode.FAILED)
    except (KeyboardInterrupt, click.Abort, Terminated):
        return _fail(session, "interrupted", session.stopping.exit_code)
    except (BrokenPipeError, OutputLost):
        raise
    except Exception as error:  # noqa: BLE001  # the program must say something
        return _unexpected(session, error)
    return code


def _run(arguments: Sequence[str], session: Session) -> int:
    """Do what Click's own `main` does, but leave a broken pipe to the caller."""
    if shell := asked_to_complete(session.choices):
        return shell_complete(backapp, {"obj": session}, "backapp", COMPLETE, shell)
    try:
        with backapp.make_context("backapp", list(arguments), obj=session) as context:
            answer = backapp.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    finally:
        session.close()
    return answer if isinstance(answer, int) else ExitCode.DONE


def _fail(session: Session, sentence: str, code: int) -> int:
    session.output.error(sentence, code)
    return code


def _misused(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        sentence = f"no such option '{error.option_name}'{_instead(error)}"
    else:
        sentence = _sentence(error.format_message())
    return f"{sentence}; see: {error.ctx.command_path} --help" if error.ctx else sentence


def _instead(error: click.NoSuchOption) -> str:
    if error.option_name in OPTIONS:
        return f"; {OPTIONS[error.option_name]}"
    quoted = " or ".join(f"'{name}'" for name in sorted(error.possibilities or ()))
    return f" (did you mean {quoted}?)" if quoted else ""


def _is_nowhere(error: BaseException | None) -> bool:
    """Say whether ``error`` comes from asking for a current folder that somebody removed."""
    while error is not None:
        # An operation on a named file names it; asking where one is has nothing to name.
        if isinstance(error, FileNotFoundError) and error.filename is None:
            try:
                Path.cwd()
            except FileNotFoundError:
                return True
        error = error.__cause__ or error.__context__
    return False


def _refused(session: Session, error: BackappError) -> int:
    if _is_nowhere(error):
        return _fail(session, _NOWHERE, ExitCode.FAILED)
    is_stop = isinstance(error, RunCancelled) and session.stopping.received
    code = session.stopping.exit_code if is_stop else code_for(error)
    return _fail(session, error.message, code)


def _unexpected(session: Session, error: Exception) -> int:
    if _is_nowhere(error):
        return _fail(session, _NOWHERE, ExitCode.FAILED)
    if wants_traceback(session.choices):
        import traceback

        sys.stderr.write("".join(traceback.format_exception(error)))
    kind = type(error).__name__
    detail = f"{kind}: {error}" if str(error) else kind
    return _fail(session, f"an unexpected error happened ({detail}); {_REPORT}", ExitCode.FAILED)


def _sentence(message: str) -> str:
    """Return Click's message as we write them: no capital, no full stop."""
    text = " ".join(message.split()).removesuffix(".")
    return text[:1].lower() + text[1:]
