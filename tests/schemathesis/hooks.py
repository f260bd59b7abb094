"""What the contract has no words for: requests that break these rules are not generated."""

import re
from urllib.parse import unquote

import schemathesis
from schemathesis.generation import GenerationMode

# Joiners and variation selectors, which a name takes in some places only; and those invisible
# characters that no pattern can name in every language.
IN_CONTEXT_ONLY = "[\u180b-\u180f\u200c\u200d\ufe00-\ufe0f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"


@schemathesis.hook
def before_load_schema(context, schema):
    # Requests come from a service, which may do everything, and so none names another caller.
    del schema["security"], schema["components"]["securitySchemes"]
    # What else a PUT takes has to be as GET shows it, which is not known here.
    replacement = schema["components"]["schemas"]["UserReplacement"]
    replacement["additionalProperties"] = False
    for field in ["createdAt", "createdBy", "updatedAt", "updatedBy"]:
        del replacement["properties"][field]


@schemathesis.hook
def filter_case(context, case):
    body = case.body if isinstance(case.body, dict) else {}
    for name in ["metadata", "adminMetadata"]:
        if isinstance(body.get(name), dict) and not is_metadata(body[name]):
            return False
    user_id = str({**(case.path_parameters or {}), **(case.query or {})}.get("userId", ""))
    name = str(body.get("name", ""))
    mode = case.meta.generation.mode if case.meta else None
    if mode != GenerationMode.NEGATIVE and re.search(r"[\x00-\x1f\x7f-\x9f]", unquote(user_id) + name):
        # The patterns forbid them, and yet they come as valid now and then.
        return False
    if mode != GenerationMode.NEGATIVE and re.search(IN_CONTEXT_ONLY, name):
        return False
    takes_email = str((case.query or {}).get("takeEmail", "")).lower() == "true"
    if takes_email and not (body.get("email") and body.get("emailVerified") is True):
        return False
    if case.method == "PATCH" and body.get("emailVerified") is True and "email" not in body:
        return False
    headers = {name.lower() for name in case.headers or {}}
    if case.method == "PUT" and "if-none-match" in headers:
        # It creates: under a condition that can hold, and at an id as POST takes it.
        is_new = re.fullmatch(r"[A-Za-z0-9._~-]{1,128}", user_id)
        return "if-match" not in headers and is_new is not None and "version" not in body
    return True


@schemathesis.hook
def before_call(context, case, kwargs):
    # A link between operations can add the version of a user after the filter.
    headers = {name.lower() for name in case.headers or {}}
    mode = case.meta.generation.mode if case.meta else None
    creates = case.method == "PUT" and "if-none-match" in headers and mode != GenerationMode.NEGATIVE
    if creates and isinstance(case.body, dict):
        case.body.pop("version", None)


def is_metadata(value, depth=0):
    if isinstance(value, dict):
        names = all(value)
        return names and depth < 20 and all(is_metadata(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return depth < 20 and all(is_metadata(item, depth + 1) for item in value)
    if isinstance(value, (int, float)) and value:
        return 1e-130 <= abs(value) < 1e126 and len(str(abs(value))) <= 38
    return True
