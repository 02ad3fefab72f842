"""Who may use a gateway without a database: the holder of the master key, and nobody else.

LiteLLM loads this file from beside its configuration (`general_settings.custom_auth`). By itself it answers a wrong key
with 400 "No connected db.", because it would look for virtual keys; clients know 401 (LiteLLM 1.109.1,
proxy/auth/user_api_key_auth.py). With a database it is not used. What is returned is what LiteLLM makes of its master
key: the key itself reaches neither logs nor metrics.
"""

import os
import secrets

from litellm.constants import LITELLM_PROXY_MASTER_KEY_ALIAS  # pyright: ignore[reportMissingImports] - of the image
from litellm.proxy._types import (  # pyright: ignore[reportMissingImports] - of the image
    LitellmUserRoles,
    ProxyException,
    UserAPIKeyAuth,
)


async def check(_request: object, api_key: str | None) -> UserAPIKeyAuth:
    """Accept the master key; raise 401 for any other and for none."""
    given, wanted = (api_key or "").encode(), os.environ["LITELLM_MASTER_KEY"].encode()
    if not secrets.compare_digest(given, wanted):
        raise ProxyException(
            message="Authentication Error: the API key is missing or wrong",
            type="auth_error",
            param="key",
            code=401,
        )
    return UserAPIKeyAuth(
        api_key=LITELLM_PROXY_MASTER_KEY_ALIAS,
        user_role=LitellmUserRoles.PROXY_ADMIN,
        user_id="default_user_id",
    )
