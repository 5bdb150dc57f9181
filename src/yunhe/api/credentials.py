"""Who is calling: the bearer token or the session cookie, as a dependency of every route that needs it."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from yunhe.accounts.model import Principal, Scope
from yunhe.api.services import Svc
from yunhe.core.errors import Forbidden, NotSignedIn

COOKIE: Final = "yunhe_session"
CONSOLE_HEADER: Final = "x-yunhe-console"
_READS: Final = frozenset({"GET", "HEAD"})
#: Longer than any credential that we make.
TOKEN_CHARACTERS_MAX: Final = 200

# These two only describe the credentials in the OpenAPI document; `token_of` reads them.
_bearer: Final = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="A session token or an API key with the scope that it takes."
)
_cookie: Final = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    scheme_name="cookie",
    description="Set by POST /sessions; writes need X-Yunhe-Console: 1.",
)


def token_of(request: Request) -> str:
    """The credential that came with the request.

    Raises NotSignedIn when there is none, Forbidden for a cookie on a write that no console of ours sent.
    """
    header = request.headers.get("authorization", "")
    if header:
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARACTERS_MAX:
            raise NotSignedIn("The Authorization header must read: Bearer, a space, and the token or key.")
        return token
    token = request.cookies.get(COOKIE, "")
    if not token or len(token) > TOKEN_CHARACTERS_MAX:
        raise NotSignedIn
    if request.method not in _READS and request.headers.get(CONSOLE_HEADER) != "1":
        raise Forbidden(
            "A write with the session cookie must come from the console.",
            next_step="Send the header X-Yunhe-Console: 1, or a bearer token instead of the cookie.",
        )
    return token


async def _caller(
    request: Request,
    services: Svc,
    _described_bearer: Annotated[object, Depends(_bearer)],
    _described_cookie: Annotated[object, Depends(_cookie)],
) -> Principal:
    caller = await services.principals.of_token(token_of(request))
    needed = Scope.READ if request.method in _READS else Scope.MANAGE
    if needed not in caller.scopes and Scope.MANAGE not in caller.scopes:
        raise Forbidden(
            f"This key does not have the scope {needed}.",
            next_step=f"Use a key with the scope {needed}, or sign in.",
            needed_scope=str(needed),
        )
    return caller


Caller = Annotated[Principal, Depends(_caller)]
