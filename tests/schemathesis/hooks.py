"""Rules that OpenAPI 3.0 has no words for: requests that break them are not generated."""

import re

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    metadata = case.body.get("metadata") if isinstance(case.body, dict) else None
    if isinstance(metadata, dict) and not is_metadata(metadata):
        return False
    headers = {name.lower() for name in case.headers or {}}
    if case.method == "PUT" and "if-none-match" in headers:
        # It creates: under a condition that can hold, and at an id as POST takes it.
        user_id = {**(case.path_parameters or {}), **(case.query or {})}.get("userId")
        is_new = re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", str(user_id))
        return "if-match" not in headers and is_new is not None
    return True


def is_metadata(value, depth=0):
    if isinstance(value, dict):
        names = all(value)
        return names and depth < 20 and all(is_metadata(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return depth < 20 and all(is_metadata(item, depth + 1) for item in value)
    if isinstance(value, (int, float)) and value:
        return 1e-130 <= abs(value) < 1e126 and len(str(abs(value))) <= 38
    return True
