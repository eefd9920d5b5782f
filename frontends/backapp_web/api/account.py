"""People: signing in and out, making an account, what is theirs, and who else there is."""

from functools import partial

from litestar import Response, Router, delete, get, patch, post, put
from litestar.datastructures import Cookie
from litestar.params import FromPath, JSONBody

from backapp_core.engine.sign_in import SignedIn
from backapp_core.model.users import Member, User
from backapp_core.wire import API
from backapp_web.addresses import own_url
from backapp_web.api.shapes import (
    InvitationBody,
    Invitations,
    Invited,
    JoinBody,
    Myself,
    MyselfBody,
    PasswordBody,
    RegisterBody,
    SignInBody,
    Token,
    TokenBody,
    Tokens,
    UserBody,
    Users,
)
from backapp_web.callers import (
    MOST_UNKNOWN_BYTES,
    Call,
    Connection,
    caller_of,
    client_of,
    cookie_name,
    csrf_of,
    hashing,
    is_secure,
    member_of,
    server_of,
    session_token,
    store_of,
)


def session_cookie(connection: Connection, token: str) -> Cookie:
    """Return the cookie that keeps somebody signed in; an empty token takes it away."""
    return Cookie(
        key=cookie_name(connection),
        value=token,
        path="/",
        httponly=True,
        secure=is_secure(connection),
        samesite="lax",
        max_age=int(server_of(connection).settings.session_seconds) if token else 0,
    )


def _let_in(request: Call, signed_in: SignedIn, status: int) -> Response[Myself]:
    tenant = server_of(request).tenant(signed_in.session.tenant_id).tenant
    return Response(
        Myself(signed_in.user, tenant.name, csrf_of(signed_in.token)),
        status_code=status,
        cookies=[session_cookie(request, signed_in.token)],
    )


@post(
    f"{API}/session",
    status_code=200,
    request_max_body_size=MOST_UNKNOWN_BYTES,
)
async def sign_in(request: Call, data: JSONBody[SignInBody]) -> Response[Myself]:
    """Sign in; the cookie that comes with the answer is a new one every time."""
    verb = partial(
        server_of(request).sign_in,
        data.email,
        data.password,
        client=client_of(request),
        former_token=session_token(request),
    )
    return await hashing(request, lambda: _let_in(request, verb(), 200))


@delete(f"{API}/session", status_code=204, sync_to_thread=True)
def sign_out(request: Call) -> Response[None]:
    """Sign out at this browser."""
    server_of(request).sign_out(caller_of(request).token, member_of(request).user.id)
    return Response(None, status_code=204, cookies=[session_cookie(request, "")])


@post(f"{API}/join", status_code=201, request_max_body_size=MOST_UNKNOWN_BYTES)
async def join(request: Call, data: JSONBody[JoinBody]) -> Response[Myself]:
    """Make an account with an invitation, and sign in."""
    verb = partial(
        server_of(request).join,
        data.token,
        email=data.email,
        name=data.name,
        password=data.password,
    )
    return await hashing(request, lambda: _let_in(request, verb(), 201))


@post(
    f"{API}/register",
    status_code=201,
    request_max_body_size=MOST_UNKNOWN_BYTES,
)
async def register(request: Call, data: JSONBody[RegisterBody]) -> Response[Myself]:
    """Make an account where anybody may, and sign in."""
    verb = partial(
        server_of(request).register, email=data.email, name=data.name, password=data.password
    )
    return await hashing(request, lambda: _let_in(request, verb(), 201))


@get(f"{API}/me", sync_to_thread=True)
def me(request: Call) -> Myself:
    """Say who is signed in."""
    return Myself(member_of(request).user, store_of(request).tenant.name, caller_of(request).csrf)


@patch(f"{API}/me", sync_to_thread=True)
def change_me(request: Call, data: JSONBody[MyselfBody]) -> User:
    """Change one's own name."""
    member = member_of(request)
    return server_of(request).change_user(member.tenant_id, member.user.id, name=data.name)


@put(f"{API}/me/password", status_code=204)
async def change_password(request: Call, data: JSONBody[PasswordBody]) -> None:
    """Change one's own password; one's other sessions end."""
    verb = partial(
        server_of(request).change_password,
        member_of(request),
        data.present,
        data.new,
        keep_token=caller_of(request).token,
        client=client_of(request),
    )
    await hashing(request, verb)


@get(f"{API}/me/tokens", sync_to_thread=True)
def list_tokens(request: Call) -> Tokens:
    """Return one's own API tokens."""
    return Tokens(tuple(store_of(request).users.api_tokens(member_of(request).user.id)))


@post(f"{API}/me/tokens", status_code=201, sync_to_thread=True)
def add_token(request: Call, data: JSONBody[TokenBody]) -> Token:
    """Make an API token, which is shown once."""
    return Token(*server_of(request).add_api_token(member_of(request), data.name, data.expires_at))


@delete(f"{API}/me/tokens/{{token_id:str}}", status_code=204, sync_to_thread=True)
def remove_token(request: Call, token_id: FromPath[str]) -> None:
    """Take an API token back; one that is absent is fine."""
    store_of(request).users.remove_api_token(member_of(request).user.id, token_id)


@get(f"{API}/users", sync_to_thread=True)
def list_users(request: Call) -> Users:
    """Return everybody, by e-mail address."""
    return Users(tuple(store_of(request).users.list()))


@patch(f"{API}/users/{{user_id:str}}", sync_to_thread=True)
def change_user(request: Call, user_id: FromPath[str], data: JSONBody[UserBody]) -> User:
    """Change what is known of somebody; switched off, their sessions end."""
    return server_of(request).change_user(
        member_of(request).tenant_id,
        user_id,
        name=data.name,
        role=data.role,
        is_enabled=data.is_enabled,
    )


@get(f"{API}/invitations", sync_to_thread=True)
def list_invitations(request: Call) -> Invitations:
    """Return the invitations that can still be used."""
    return Invitations(tuple(store_of(request).users.invitations()))


@post(f"{API}/invitations", status_code=201, sync_to_thread=True)
def invite(request: Call, data: JSONBody[InvitationBody]) -> Invited:
    """Invite somebody; the link is shown once."""
    member: Member = member_of(request)
    token, kept = server_of(request).invite(member, data.role, data.email)
    return Invited(token, f"{own_url(request)}/join/{token}", kept)


def account_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/",
        route_handlers=[
            *(sign_in, sign_out, join, register, me, change_me, change_password),
            *(list_tokens, add_token, remove_token),
            *(list_users, change_user, list_invitations, invite),
        ],
        tags=["people"],
    )
