"""A bare Litestar route, for the memory of the framework itself."""

from litestar import Litestar, get

from bench.peers.serving import serve


@get(["/v1/users/me", "/health/ready"])
async def hello() -> dict[str, str]:
    return {"hello": "world"}


app = Litestar([hello], openapi_config=None, logging_config=None)

if __name__ == "__main__":
    serve(app)
