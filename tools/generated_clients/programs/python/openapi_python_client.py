"""Uses the client of openapi-python-client; prints a line for each step."""

import os
from typing import Any

from rollcall_client import AuthenticatedClient, Client
from rollcall_client.api.events import list_events
from rollcall_client.api.introspection import introspect
from rollcall_client.api.passwords import change_password
from rollcall_client.api.sessions import log_in, log_out
from rollcall_client.api.users import create_user, list_users
from rollcall_client.models import ChangePasswordBody, CreateUserBody, IntrospectBody, LogInBody

URL, PASSWORD, LOGIN_ID = (os.environ[f"ROLLCALL_{name}"] for name in ("URL", "PASSWORD", "NEW"))


def step(name: str, response: Any, *, is_right: bool = True) -> None:
    """Print whether a step did what is expected."""
    is_ok = response.status_code < 300 and is_right
    print(f"{name}: {'ok' if is_ok else response.content}")


def session_of(login_id: str) -> Any:
    """Open a session."""
    return log_in.sync_detailed(client=Client(URL), body=LogInBody(login_id=login_id, password=PASSWORD))


opened = session_of("root")
step("log in", opened)
root = AuthenticatedClient(URL, token=opened.parsed.token)
new = CreateUserBody(login_id=LOGIN_ID, name="Ada", password=PASSWORD)
user = create_user.sync_detailed(client=root, body=new)
step("create a user", user)
page = list_users.sync_detailed(client=root, id=[str(user.parsed.id)])
step("list users", page, is_right=page.parsed.items[0].login_id == LOGIN_ID)
events = list_events.sync_detailed(client=root)
step("list events", events, is_right=bool(events.parsed.items))
gateway = AuthenticatedClient(URL, token=os.environ["ROLLCALL_KEY"])
told = introspect.sync_detailed(client=gateway, body=IntrospectBody(token=opened.parsed.token))
step("introspect", told, is_right=told.parsed.username == "root")
change = ChangePasswordBody(new_password="crimson kettle drums loudly", current_password=PASSWORD)
ada = AuthenticatedClient(URL, token=session_of(LOGIN_ID).parsed.token)
step("change a password", change_password.sync_detailed("me", client=ada, body=change))
step("log out", log_out.sync_detailed(client=root))
