"""Uses the Python client of openapi-generator; prints a line for each step."""

import os
from collections.abc import Callable

import rollcall_client as rollcall

URL, PASSWORD, LOGIN_ID = (os.environ[f"ROLLCALL_{name}"] for name in ("URL", "PASSWORD", "NEW"))


def step(name: str, run: Callable[[], bool]) -> None:
    """Print whether a step did what is expected."""
    try:
        print(f"{name}: {'ok' if run() else 'not what was expected'}")
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the result
        print(f"{name}: {' '.join(str(error).split())}")


def client(token: str | None = None) -> rollcall.ApiClient:
    """Return a client with a token."""
    return rollcall.ApiClient(rollcall.Configuration(host=URL, access_token=token))


def log_in(login_id: str) -> rollcall.LoggedInView:
    """Open a session."""
    body = rollcall.LogInBody(login_id=login_id, password=PASSWORD)
    return rollcall.SessionsApi(client()).log_in(body)


opened = log_in("root")
print("log in: ok")
root = client(opened.token)
new = rollcall.CreateUserBody(login_id=LOGIN_ID, name="Ada", password=PASSWORD)
user = rollcall.UsersApi(root).create_user(new)
print("create a user: ok")
step(
    "list users", lambda: rollcall.UsersApi(root).list_users(id=[str(user.id)]).items[0].login_id == LOGIN_ID
)
step("list events", lambda: bool(rollcall.EventsApi(root).list_events().items))
gateway = client(os.environ["ROLLCALL_KEY"])
step("introspect", lambda: rollcall.IntrospectionApi(gateway).introspect(opened.token).username == "root")
change = rollcall.ChangePasswordBody(new_password="crimson kettle drums loudly", current_password=PASSWORD)
ada = client(log_in(LOGIN_ID).token)
step("change a password", lambda: rollcall.PasswordsApi(ada).change_password("me", change) is None)
step("log out", lambda: rollcall.SessionsApi(root).log_out() is None)
