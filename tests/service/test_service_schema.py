"""schemathesis asks what the OpenAPI document allows, and what it does not, and compares the answers with it."""

import copy

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from vlrface.service import create_key
from vlrface.service.app import service_of

from .made import destroyed, made_app, mosaic, people, png

# schemathesis now and then draws a number from `random` within a strategy.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")

FACES = people()
PICTURES = [png(FACES[0, 0]), png(FACES[1, 0]), png(destroyed(FACES[0, 0])), png(mosaic(FACES[:2, 0]))]
EXAMPLES = 20
OPERATIONS = [
    "GET /health", "GET /ready", "GET /metrics", "GET /v1/model", "POST /v1/score", "POST /v1/verify",
    "POST /v1/identify", "POST /v1/people/{person}/faces", "GET /v1/people", "GET /v1/people/{person}",
    "DELETE /v1/people/{person}", "GET /v1/faces/{face_id}/picture", "GET /v1/audit",
]  # fmt: skip

# What somebody sends as a picture: often one, now and then cut, now and then anything.
schemathesis.openapi.format(
    "binary",
    st.sampled_from(PICTURES) | st.sampled_from(PICTURES).map(lambda data: data[:150]) | st.binary(max_size=200),
)


@pytest.fixture(scope="module")
def asked_of(tmp_path_factory):
    """The operations of an application by name, and a key for all of them."""
    folder = tmp_path_factory.mktemp("schema")
    key = create_key(folder / "keys.json", "admin")
    app = made_app(folder, keys=folder / "keys.json", hosts=())
    document = copy.deepcopy(app.openapi())
    for methods in document["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)  # every request below has the key; the tests of keys ask without
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    # A picture that is none and a name that is not printable are allowed by the document and refused by their content.
    schema.config.checks.positive_data_acceptance.expected_statuses = ["2xx", "404", "415", "422"]
    schema.config.checks.negative_data_rejection.expected_statuses = ["400", "404", "405", "413", "415", "422"]
    yield {each.ok().label: each.ok() for each in schema.get_all_operations()}, {"Authorization": f"Bearer {key}"}
    service_of(app).batcher.close()
    app.state.gallery.close()


def test_every_operation_is_asked(asked_of):
    assert sorted(asked_of[0]) == sorted(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_allowed_is_answered_as_it_says(asked_of, name):
    ask(asked_of, name, GenerationMode.POSITIVE)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "/v1/" in name and "model" not in name])
def test_what_is_not_allowed_is_refused(asked_of, name):
    ask(asked_of, name, GenerationMode.NEGATIVE)


def ask(asked_of, name, mode):
    operations, key = asked_of
    usual = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}

    @settings(max_examples=EXAMPLES, **usual)
    @given(case=operations[name].as_strategy(generation_mode=mode))
    def asked(case):
        assume(all(value not in (None, [], {}) for value in case.query.values()))  # such are not sent at all
        case.call_and_validate(headers=key)

    asked()
