"""Who may use a gateway without a database: the holder of the master key, to infer and for nothing else.

LiteLLM loads this file from beside its configuration (`general_settings.custom_auth`). By itself it answers a wrong key
with 400 "No connected db.", because it would look for virtual keys; clients know 401 (LiteLLM 1.109.1,
proxy/auth/user_api_key_auth.py); and the master key is its administrator, which no client has to be. With a database it
is not used. The key itself reaches neither logs nor metrics: what is returned has LiteLLM's alias for it.
"""

import hmac
import json
import os
from pathlib import Path

from litellm.constants import LITELLM_PROXY_MASTER_KEY_ALIAS  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy._types import (  # pyright: ignore[reportMissingImports] - of the image
    LitellmUserRoles,
    ProxyException,
    UserAPIKeyAuth,
)

RULES = json.loads(Path(__file__).with_name("surface.json").read_text(encoding="utf-8"))
# LiteLLM takes what is below an allowed route as allowed too.
ROUTES = sorted(RULES["exact"])


async def check(_request: object, api_key: str | None) -> UserAPIKeyAuth:
    """Accept the master key; raise 401 for any other and for none, and for all while the expected one is blank."""
    wanted = os.environ.get("LITELLM_MASTER_KEY", "")
    # keys come as clients wrote them: whatever bytes they are, they are compared, never refused with an error
    given, expected = (text.encode("utf-8", "surrogatepass") for text in (api_key or "", wanted))
    if not wanted.strip() or not hmac.compare_digest(given, expected):
        raise ProxyException(
            message="Authentication Error: the API key is missing or wrong",
            type="auth_error",
            param="key",
            code=401,
        )
    return UserAPIKeyAuth(
        api_key=LITELLM_PROXY_MASTER_KEY_ALIAS,
        user_role=LitellmUserRoles.INTERNAL_USER_VIEW_ONLY,
        allowed_routes=ROUTES,
    )
