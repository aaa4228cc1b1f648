"""One endpoint behind FastAPI's `APIKeyHeader`, with digests of keys in a dictionary."""

import hashlib
import os

from fastapi import FastAPI, HTTPException, Security
from fastapi.responses import PlainTextResponse
from fastapi.security import APIKeyHeader


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


OWNERS = {digest(f"other-{index}"): "alice" for index in range(1000)}
OWNERS[digest(os.environ["MEASURED_KEY"])] = "alice"

app = FastAPI()


async def owner(key: str = Security(APIKeyHeader(name="x-api-key"))) -> str:
    found = OWNERS.get(digest(key))
    if found is None:
        raise HTTPException(401)
    return found


@app.get("/", response_class=PlainTextResponse)
async def endpoint(_owner: str = Security(owner)) -> str:
    return "hello"
