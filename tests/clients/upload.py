"""Uploads a body some times, and prints a line for each: the status, or the name of the error."""

import http.client
import sys
import urllib.parse

import requests

client, url, tries, size, framing = sys.argv[1:]
body = bytes(int(size))
headers = {"x-api-key": "wrong", "content-type": "application/octet-stream"}


def pieces():
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


def data():
    return pieces() if framing == "chunked" else body


def by_http_client():
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        encode = framing == "chunked"
        more = {"transfer-encoding": "chunked"} if encode else {}
        connection.request("POST", parts.path, data(), headers | more, encode_chunked=encode)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def by_requests():
    return requests.post(url, data=data(), headers=headers, timeout=20).status_code


send = {"http.client": by_http_client, "requests": by_requests}[client]
for _ in range(int(tries)):
    try:
        print(send(), flush=True)
    except (OSError, http.client.HTTPException) as error:
        print(type(error).__name__, flush=True)
