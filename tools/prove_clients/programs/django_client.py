"""Verify a token as a resource server does, with Django OAuth Toolkit; its users are in memory."""

import os

import django
from django.conf import settings

url, key, token = (os.environ[name] for name in ("ROLLCALL_URL", "ROLLCALL_KEY", "TOKEN"))
settings.configure(
    SECRET_KEY="x" * 50,
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    OAUTH2_PROVIDER={
        "RESOURCE_SERVER_INTROSPECTION_URL": f"{url}/v1/introspect",
        "RESOURCE_SERVER_INTROSPECTION_CREDENTIALS": ("gateway", key),
        "RESOURCE_SERVER_TOKEN_CACHING_SECONDS": 10,
    },
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.test import RequestFactory  # noqa: E402
from oauth2_provider.oauth2_backends import get_oauthlib_core  # noqa: E402

call_command("migrate", verbosity=0)
request = RequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {token}")
is_valid, verified = get_oauthlib_core().verify_request(request, scopes=[])
print(verified.user.get_username() if is_valid else "refused")
