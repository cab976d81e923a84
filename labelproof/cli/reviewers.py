"""`labelproof reviewers`: who may review, in which role, and how they sign in."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelproof.cli._common import console, emit_json, user_errors
from labelproof.cli.run import JsonOption, StoreOption
from labelproof.spec.errors import ConfigError

if TYPE_CHECKING:
    from labelproof.review.model import AccountRole
    from labelproof.review.office import Account, Office

app = typer.Typer(no_args_is_help=True, help="Make and change the accounts of reviewers, leads and admins.")

NameArgument = Annotated[
    str, typer.Argument(help="Name of the account: 1 to 64 letters, digits or . _ @ -; case does not matter.")
]
RoleChoice = Annotated[
    str | None,
    typer.Option(
        "--role",
        help="reviewer: answers; lead: also decides disputes and sees numbers; admin: also accounts.",
    ),
]
LanguageOption = Annotated[
    list[str] | None,
    typer.Option("--language", help="Gets tasks in this language; may be repeated. Default: all."),
]
SkillOption = Annotated[
    list[str] | None,
    typer.Option("--skill", help="Has this skill of `review.skills` in project.yaml; may be repeated."),
]
ProjectOption = Annotated[
    list[str] | None, typer.Option("--project", help="Sees this project; may be repeated. Default: all.")
]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input: one line.")
]
LinkOption = Annotated[
    bool, typer.Option("--link", help="Print a link with which they choose a password. The default.")
]
HoursOption = Annotated[float, typer.Option("--hours", min=0.1, help="Hours for which the link is good.")]
UrlOption = Annotated[
    str,
    typer.Option(
        "--url", help="Where people reach `labelproof serve`, for links.", envvar="LABELPROOF_REVIEW_URL"
    ),
]
DEFAULT_URL = "http://127.0.0.1:8700"


@app.command()
def add(
    name: NameArgument,
    *,
    role: RoleChoice = "reviewer",
    language: LanguageOption = None,
    skill: SkillOption = None,
    project: ProjectOption = None,
    password_stdin: StdinOption = False,
    link: LinkOption = False,
    hours: HoursOption = 24,
    url: UrlOption = DEFAULT_URL,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account, and print the one-time link with which its owner chooses a password."""
    from labelproof.cli._people import opened_office

    with user_errors(as_json=as_json):
        _one_way(password_stdin, link)
        password = _password() if password_stdin else None
        with opened_office(store) as office:
            account = office.accounts.add(
                name,
                role=_role(role or "reviewer"),
                password=password,
                languages=language or (),
                skills=skill or (),
                projects=project or (),
            )
            shown = None if password_stdin else _link(office, account, "join", hours, url)
        _show(account, shown, as_json=as_json, done="added")


@app.command("list")
def list_accounts(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List all accounts, disabled ones included."""
    from labelproof.cli._people import opened_office

    with user_errors(as_json=as_json):
        with opened_office(store) as office:
            found = office.accounts.list()
        if as_json:
            emit_json([_plain(account) for account in found])
            return
        out = console()
        if not found:
            out.print(
                "no account yet: labelproof reviewers add NAME, or labelproof serve for the first admin"
            )
            return
        from rich.markup import escape
        from rich.table import Table

        table = Table("name", "role", "languages", "skills", "projects", "signs in", box=None)
        for account in found:
            sign_in = "no: disabled" if not account.active else "yes" if account.has_password else "not yet"
            words = (
                ", ".join(sorted(account.languages)) or "all",
                ", ".join(sorted(account.skills)) or "-",
                ", ".join(sorted(account.projects)) or "all",
            )
            table.add_row(*map(escape, (account.name, account.role, *words, sign_in)))
        out.print(table)


@app.command()
def edit(
    name: NameArgument,
    *,
    role: RoleChoice = None,
    language: LanguageOption = None,
    all_languages: Annotated[
        bool, typer.Option("--all-languages", help="Gets tasks in any language.")
    ] = False,
    skill: SkillOption = None,
    no_skills: Annotated[bool, typer.Option("--no-skills", help="Has no skill.")] = False,
    project: ProjectOption = None,
    all_projects: Annotated[bool, typer.Option("--all-projects", help="Sees every project.")] = False,
    active: Annotated[bool, typer.Option("--active", help="May sign in again after `disable`.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change an account; what is named replaces what it had."""
    from labelproof.cli._people import opened_office

    with user_errors(as_json=as_json):
        news: dict[str, Any] = {
            "role": None if role is None else _role(role),
            "languages": _list(language, all_languages, "--language", "--all-languages"),
            "skills": _list(skill, no_skills, "--skill", "--no-skills"),
            "projects": _list(project, all_projects, "--project", "--all-projects"),
            "active": True if active else None,
        }
        if all(value is None for value in news.values()):
            raise ConfigError("nothing to change", hint="labelproof reviewers edit --help lists what can be")
        with opened_office(store) as office:
            account = office.accounts.edit(name, **news)
        _show(account, None, as_json=as_json, done="changed")


@app.command()
def disable(name: NameArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Lock an account: its sessions, tokens and links end now. The votes of its owner stay."""
    from labelproof.cli._people import opened_office

    with user_errors(as_json=as_json):
        with opened_office(store) as office:
            account = office.accounts.disable(name)
        _show(account, None, as_json=as_json, done="disabled")


@app.command()
def password(
    name: NameArgument,
    *,
    password_stdin: StdinOption = False,
    link: LinkOption = False,
    hours: HoursOption = 24,
    url: UrlOption = DEFAULT_URL,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a new password, or print a one-time link with which the owner does. Their sessions end."""
    from labelproof.cli._people import opened_office

    with user_errors(as_json=as_json):
        _one_way(password_stdin, link)
        secret = _password() if password_stdin else None
        with opened_office(store) as office:
            account = office.accounts.need(name)
            if secret is not None:
                office.accounts.set_password(account.name, secret)
            shown = None if secret is not None else _link(office, account, "reset", hours, url)
            account = office.accounts.need(name)
        _show(account, shown, as_json=as_json, done="new password for" if secret else "found")


@app.command()
def token(
    name: NameArgument,
    *,
    label: Annotated[str | None, typer.Option("--label", help="Where the token is used, such as ci.")] = None,
    show: Annotated[bool, typer.Option("--list", help="List the tokens that there are.")] = False,
    revoke: Annotated[
        str | None, typer.Option("--revoke", metavar="ID", help="End a token; --list says its id.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a personal token for scripts and print it, this once; or list and revoke tokens."""
    from labelproof.cli._people import opened_office

    with user_errors(as_json=as_json):
        if sum((label is not None, show, revoke is not None)) != 1:
            raise ConfigError("expected one of --label WHERE, --list and --revoke ID")
        with opened_office(store) as office:
            account = office.accounts.need(name)
            if label is not None:
                made = office.accounts.new_token(account.name, label)
                _show_token(made, label, as_json=as_json)
            elif revoke is not None:
                if not office.accounts.revoke_token(account.name, revoke):
                    raise ConfigError(
                        f"{account.name!r} has no token {revoke!r}",
                        hint=f"labelproof reviewers token {account.name} --list",
                    )
                emit_json({"revoked": revoke}) if as_json else console().print("revoked")
            else:
                _show_tokens(office, account, as_json=as_json)


def _show_token(made: str, label: str, *, as_json: bool) -> None:
    if as_json:
        emit_json({"token": made, "label": label})
        return
    sys.stdout.write(made + "\n")
    console(stderr=True).print("[dim]shown this once; send it as `Authorization: Bearer …`[/]")


def _show_tokens(office: Office, account: Account, *, as_json: bool) -> None:
    found = office.accounts.tokens(account.name)
    if as_json:
        emit_json([{"id": t.id, "label": t.label, "created_at": t.created_at} for t in found])
        return
    from rich.markup import escape

    for one in found:
        console().print(f"{one.id}  {one.created_at:%Y-%m-%d %H:%M}  {escape(one.label)}")
    if not found:
        console().print("no token")


def _one_way(password_stdin: bool, link: bool) -> None:
    if password_stdin and link:
        raise ConfigError("expected --password-stdin or --link, found both")


def _password() -> str:
    """Return one line of standard input; asked for without echo at a terminal."""
    if sys.stdin.isatty():
        return str(typer.prompt("password", hide_input=True, err=True))
    given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise ConfigError("no password on standard input: expected one line")
    return given


def _role(role: str) -> AccountRole:
    from labelproof.review.model import ACCOUNT_ROLES

    found = next((known for known in ACCOUNT_ROLES if known == role), None)
    if found is None:
        raise ConfigError(f"expected a role of {', '.join(ACCOUNT_ROLES)}; found {role!r}", key="--role")
    return found


def _list(values: list[str] | None, none: bool, option: str, none_option: str) -> list[str] | None:
    """Return the new list, None to leave it as it is."""
    if values and none:
        raise ConfigError(f"expected {option} or {none_option}, found both")
    return [] if none else values or None


def _link(office: Office, account: Account, purpose: str, hours: float, url: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    secret = office.accounts.new_link(
        "join" if purpose == "join" else "reset", account.name, account.role, now, minutes=hours * 60
    )
    return {
        "link": f"{url.rstrip('/')}/join?token={secret}",
        "expires_at": (now + timedelta(hours=hours)).isoformat(timespec="seconds"),
    }


def _plain(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "role": account.role,
        "languages": sorted(account.languages),
        "skills": sorted(account.skills),
        "projects": sorted(account.projects),
        "active": account.active,
        "has_password": account.has_password,
        "created_at": account.created_at.isoformat(),
    }


def _show(account: Account, link: dict[str, Any] | None, *, as_json: bool, done: str) -> None:
    if as_json:
        emit_json({**_plain(account), **(link or {})})
        return
    from rich.markup import escape

    out = console()
    out.print(f"{done} [bold]{escape(account.name)}[/], {account.role}")
    if link is not None:
        out.print(
            f"[dim]they choose a password, once, until {link['expires_at']} "
            "(labelproof serve must run at this address; --url names another):[/]",
            soft_wrap=True,
        )
        out.print(escape(link["link"]), soft_wrap=True)
