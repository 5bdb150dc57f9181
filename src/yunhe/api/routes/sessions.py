"""Sessions and the caller itself."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from yunhe.api.credentials import COOKIE, Caller, token_of
from yunhe.api.errors import documented
from yunhe.api.schemas.people import Me, PasswordChange, Session, SignIn
from yunhe.api.services import Svc

router = APIRouter(tags=["session"])


def _is_encrypted(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to whatever stands before us; a lie only makes the cookie stricter."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").strip().lower())


@router.post("/sessions", status_code=201, operation_id="session_create", responses=documented(401, 413, 415, 429))
async def create(body: SignIn, request: Request, response: Response, svc: Svc) -> Session:
    """Sign in. After 10 failures within 5 minutes for a user name further attempts are refused with 429."""
    signed_in = await svc.signin.sign_in(body.user, body.password)
    session = Session.of(signed_in)
    response.set_cookie(
        COOKIE,
        signed_in.token,
        expires=session.expires_at,
        path="/",
        secure=_is_encrypted(request),
        httponly=True,
        samesite="strict",
    )
    return session


@router.delete("/sessions/current", status_code=204, operation_id="session_delete")
async def delete(request: Request, response: Response, caller: Caller, svc: Svc) -> None:
    """Sign out. An API key is no session and is left as it is (403)."""
    await svc.signin.sign_out(caller, token_of(request))
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


@router.get("/me", operation_id="me_get")
async def me(caller: Caller, svc: Svc) -> Me:
    """Who is calling, and what the credential allows."""
    return Me.of(await svc.directory.me(caller))


@router.put("/me/password", status_code=204, operation_id="me_change_password", responses=documented(413, 415, 429))
async def change_password(body: PasswordChange, request: Request, caller: Caller, svc: Svc) -> None:
    """Change the own password; every other session of the user ends. API keys cannot (403)."""
    await svc.signin.change_password(caller, token_of(request), body.old, body.new)
