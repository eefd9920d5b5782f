"""Coming in and going out: signing in, the first account, invitations."""

from typing import Any
from urllib.parse import quote

from litestar import Request, Response, Router, get, post
from litestar.params import FromPath, FromQuery

from backapp_core.errors import BackappError, NotSignedIn, StoreError
from backapp_web.answers import headers_of, status_of
from backapp_web.api.account import session_cookie
from backapp_web.callers import (
    MOST_UNKNOWN_BYTES,
    Call,
    caller_of,
    client_of,
    facts_of,
    hashing,
    member_of,
    server_of,
    session_token,
)
from backapp_web.dashboard.forms import Form, field, going_to, own_address
from backapp_web.guards import own_origins
from backapp_web.pages import FIRST_PAGE, page


@get("/", sync_to_thread=True)
def first(request: Call) -> Response[bytes]:
    """Go to the first page, or to the entrance."""
    return going_to(FIRST_PAGE if caller_of(request).member else "/sign-in")


@get("/sign-in", sync_to_thread=True)
def sign_in_page(request: Call, *, next_page: FromQuery[str] = "/") -> Response[bytes]:
    """Show the entrance."""
    if caller_of(request).member:
        return going_to(own_address(next_page))
    return _entrance(request, own_address(next_page))


@post("/sign-in", status_code=200)
async def sign_in(request: Call, data: Form) -> Response[bytes]:
    """Let somebody in."""
    return await hashing(request, lambda: _sign_in(request, data))


def _sign_in(request: Call, data: Form) -> Response[bytes]:
    address = own_address(field(data, "next"))
    try:
        signed_in = server_of(request).sign_in(
            field(data, "email"),
            field(data, "password"),
            client=client_of(request),
            former_token=session_token(request),
        )
    except StoreError:
        raise
    except BackappError as error:
        return _entrance(request, address, email=str(data.get("email", "")), error=error)
    return going_to(address, cookies=[session_cookie(request, signed_in.token)])


@post("/sign-out", status_code=200, sync_to_thread=True)
def sign_out(request: Call) -> Response[bytes]:
    """Let somebody out."""
    server_of(request).sign_out(caller_of(request).token, member_of(request).user.id)
    return going_to("/sign-in", cookies=[session_cookie(request, "")])


@get("/join/{token:str}", sync_to_thread=True)
def join_page(request: Call, token: FromPath[str]) -> Response[bytes]:
    """Show whoever holds an invitation what to fill in."""
    invitation = server_of(request).invitation(token)
    is_first = not invitation.created_by
    heading = "The first administrator" if is_first else "Make an account"
    return _account(request, f"/join/{token}", heading, email=invitation.email)


@post("/join/{token:str}", status_code=200)
async def join(request: Call, token: FromPath[str], data: Form) -> Response[bytes]:
    """Make the account of whoever holds an invitation."""
    return await hashing(request, lambda: _join(request, token, data))


def _join(request: Call, token: str, data: Form) -> Response[bytes]:
    try:
        signed_in = server_of(request).join(
            token,
            email=field(data, "email"),
            name=field(data, "name"),
            password=field(data, "password"),
        )
    except StoreError:
        raise
    except BackappError as error:
        return _again(request, f"/join/{token}", data, error)
    return going_to("/", cookies=[session_cookie(request, signed_in.token)])


@get("/register", sync_to_thread=True)
def register_page(request: Call) -> Response[bytes]:
    """Show what to fill in, where anybody may make an account."""
    server_of(request).check_registration()
    return _account(request, "/register", "Make an account")


@post("/register", status_code=200)
async def register(request: Call, data: Form) -> Response[bytes]:
    """Make an account, where anybody may."""
    return await hashing(request, lambda: _register(request, data))


def _register(request: Call, data: Form) -> Response[bytes]:
    try:
        signed_in = server_of(request).register(
            email=field(data, "email"), name=field(data, "name"), password=field(data, "password")
        )
    except StoreError:
        raise
    except BackappError as error:
        return _again(request, "/register", data, error)
    return going_to("/", cookies=[session_cookie(request, signed_in.token)])


def to_the_entrance(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answer somebody who is not signed in, or no longer, with the way in and back.

    A form whose session has ended is not remembered: whoever signs in next may be somebody else.
    """
    if "hx-request" in request.headers:
        # A part of a page that was drawn for somebody: the page as a whole is shown anew, unless
        # there is a form on it that would be lost.
        error = NotSignedIn("sign in again")
        headers = headers_of(error, status_of(error))
        if facts_of(request)["method"] == "GET":
            headers["HX-Redirect"] = _way_in(_address_before(request))
        return Response(b"", status_code=status_of(error), headers=headers)
    if facts_of(request)["method"] == "GET":
        facts = facts_of(request)
        query = facts["query_string"].decode("latin-1")
        return going_to(_way_in(own_address(quote(facts["path"]) + (f"?{query}" if query else ""))))
    return _entrance(
        request,
        _address_before(request),
        error=NotSignedIn(
            "nobody is signed in here any more, so nothing was changed; sign in again"
        ),
        has_users=True,
    )


def _way_in(address: str) -> str:
    return f"/sign-in?next_page={quote(address)}"


def _address_before(request: Request[Any, Any, Any]) -> str:
    """Return which page of ours something was sent from; the first one if that is not known."""
    referer = request.headers.get("referer", "")
    for origin in own_origins(request):
        if referer.startswith(f"{origin}/"):
            return own_address(referer.removeprefix(origin))
    return "/"


def _entrance(
    request: Call,
    address: str,
    *,
    email: str = "",
    error: BackappError | None = None,
    has_users: bool | None = None,
) -> Response[bytes]:
    server = server_of(request)
    status = status_of(error) if error else 200
    answer = page(
        request,
        "sign-in.html",
        status=status,
        next=address,
        email=email,
        has_users=server.fleet.has_users() if has_users is None else has_users,
        may_register=server.settings.open_registration,
        problem=error.message if error else "",
    )
    answer.headers.update(headers_of(error, status) if error else {})
    return answer


def _again(request: Call, action: str, data: Form, error: BackappError) -> Response[bytes]:
    return _account(
        request,
        action,
        "Make an account",
        name=str(data.get("name", "")),
        email=str(data.get("email", "")),
        error=error,
    )


def _account(
    request: Call,
    action: str,
    heading: str,
    *,
    name: str = "",
    email: str = "",
    error: BackappError | None = None,
) -> Response[bytes]:
    return page(
        request,
        "join.html",
        status=status_of(error) if error else 200,
        action=action,
        heading=heading,
        name=name,
        email=email,
        problem=error.message if error else "",
    )


def entrance_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[
            *(first, sign_in_page, sign_in, sign_out),
            *(join_page, join, register_page, register),
        ],
        request_max_body_size=MOST_UNKNOWN_BYTES,
    )
