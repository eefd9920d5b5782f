"""The page on which people look after their own account."""

from litestar import Response, Router, get, post
from litestar.params import FromPath

from backapp_core.errors import BackappError
from backapp_web.answers import status_of
from backapp_web.callers import Call, caller_of, client_of, hashing, member_of, server_of, store_of
from backapp_web.dashboard.forms import Form, field, going_to
from backapp_web.pages import page


@get("/profile", sync_to_thread=True)
def profile(request: Call) -> Response[bytes]:
    """Show the page."""
    return _shown(request)


@post("/profile", status_code=200, sync_to_thread=True)
def change_name(request: Call, data: Form) -> Response[bytes]:
    """Change one's own name."""
    member = member_of(request)
    try:
        name = field(data, "name")
        server_of(request).change_user(member.tenant_id, member.user.id, name=name)
    except BackappError as error:
        return _shown(request, error=error)
    return going_to("/profile")


@post("/profile/password", status_code=200)
async def change_password(request: Call, data: Form) -> Response[bytes]:
    """Change one's own password."""
    return await hashing(request, lambda: _change_password(request, data))


def _change_password(request: Call, data: Form) -> Response[bytes]:
    try:
        server_of(request).change_password(
            member_of(request),
            field(data, "present"),
            field(data, "new"),
            keep_token=caller_of(request).token,
            client=client_of(request),
        )
    except BackappError as error:
        return _shown(request, error=error)
    return _shown(request, remark="The password is changed; other browsers are signed out.")


@post("/profile/tokens", status_code=200, sync_to_thread=True)
def add_token(request: Call, data: Form) -> Response[bytes]:
    """Make an API token and show it this once."""
    try:
        token, _ = server_of(request).add_api_token(member_of(request), field(data, "name"), None)
    except BackappError as error:
        return _shown(request, error=error)
    return _shown(request, token=token)


@post("/profile/tokens/{token_id:str}/remove", status_code=200, sync_to_thread=True)
def remove_token(request: Call, token_id: FromPath[str]) -> Response[bytes]:
    """Take an API token back."""
    store_of(request).users.remove_api_token(member_of(request).user.id, token_id)
    return going_to("/profile")


def _shown(
    request: Call, *, token: str = "", remark: str = "", error: BackappError | None = None
) -> Response[bytes]:
    store, member = store_of(request), member_of(request)
    # A wrong present password is no reason to sign in again.
    status = 200 if error is None else 400 if status_of(error) == 401 else status_of(error)  # noqa: PLR2004  # HTTP
    return page(
        request,
        "profile.html",
        status=status,
        user=store.users.get(member.user.id),
        tenant=store.tenant.name,
        tokens=store.users.api_tokens(member.user.id),
        token=token,
        remark=remark,
        problem=error.message if error else "",
    )


def profile_router() -> Router:
    """Return the routes of this module."""
    return Router(
        "/", route_handlers=[profile, change_name, change_password, add_token, remove_token]
    )
