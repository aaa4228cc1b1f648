"""Keeps the key alive that the calls are made with: a call to end it is made for a key that does not exist."""

import os

import schemathesis

OWN = os.environ["OWN_KEY_ID"]


@schemathesis.hook
def before_call(context, case, kwargs):
    if OWN in str(case.path_parameters):
        case.path_parameters = {"id": "unknown"}
    if isinstance(case.body, dict) and OWN in str(case.body.get("ids")):
        case.body = {"ids": ["unknown"]}
