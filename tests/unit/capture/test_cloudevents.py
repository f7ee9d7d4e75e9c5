"""Events as KServe, Seldon, MLServer and Azure send them, by their sources, and the rules of the HTTP binding."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import msgspec
import pytest

from driftwell.capture.wire.cloudevents import from_document, from_headers, from_payload
from driftwell.errors import BadInput

# The headers that KServe's agent sends (kserve, pkg/logger/worker.go: an event of the Go SDK in binary mode).
KSERVE = {
    "Ce-Specversion": "1.0",
    "Ce-Id": "0009174a-24a8-4603-b098-09c8799950e9",
    "Ce-Type": "org.kubeflow.serving.inference.request",
    "Ce-Source": "http://localhost:9081/",
    "Ce-Time": "2026-01-20T18:00:00.123456789Z",
    "Ce-Inferenceservicename": "sklearn-iris",
    "Ce-Namespace": "default",
    "Ce-Component": "predictor",
    "Ce-Endpoint": "default",
    "Ce-Metadata": "{%22X-User%22:[%22a%22]}",
}
# An example of Azure's page "Collect production data from models deployed for real-time inferencing".
AZURE = {
    "specversion": "1.0",
    "id": "725aa8af-0834-415c-aaf5-c76d0c08f694",
    "source": "/subscriptions/x/onlineEndpoints/localdev-endpoint/deployments/localdev",
    "type": "azureml.inference.inputs",
    "datacontenttype": "application/json",
    "time": "2022-12-01T08:51:30Z",
    "data": [{"label": "DRUG", "pattern": "aspirin"}],
    "correlationid": "3711655d-b04c-4aa2-a6c4-6a90cbfcb73f",
    "xrequestid": "3711655d-b04c-4aa2-a6c4-6a90cbfcb73f",
    "modelversion": "default",
    "collectdatatype": "pandas.core.frame.DataFrame",
    "agent": "monitoring-sdk/0.1.2",
    "contentrange": "bytes 0-116/117",
}


def binary(body=b"{}", content_type="application/json", **changes):
    headers = KSERVE | {f"Ce-{name.capitalize()}": value for name, value in changes.items()}
    return from_headers([(k, v) for k, v in headers.items() if v is not None], content_type, body)


def structured(**changes):
    document = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {}} | changes
    text = json.dumps({name: value for name, value in document.items() if value is not ...})
    return from_document(msgspec.json.decode(text, type=dict[str, msgspec.Raw]))


def test_headers_of_kserve():
    event = binary(b'{"instances": [[1]]}')
    assert (event.half, event.model, event.version) == ("request", "sklearn-iris", None)
    assert event.time == datetime(2026, 1, 20, 18, 0, 0, 123456, tzinfo=UTC)
    assert event.document() == {"instances": [[1]]}
    assert event.metadata["metadata"] == '{"X-User":["a"]}'
    assert event.metadata["component"] == "predictor"


def test_response_of_kserve_has_id_and_source_of_its_request():
    request, response = binary(), binary(type="org.kubeflow.serving.inference.response")
    assert (request.id, request.source) == (response.id, response.source)
    assert request.key == response.key
    assert {request.half, response.half} == {"request", "response"}


def test_halves_of_other_services_never_meet():
    keys = {
        binary().key,
        binary(inferenceservicename="other").key,
        binary(namespace="other").key,
        binary(component="transformer").key,
        binary(id="other").key,
    }
    assert len(keys) == 5


def test_endpoint_other_than_the_default_is_a_version():
    assert binary(endpoint="canary").version == "canary"
    assert binary(endpoint="canary", modelversion="v7").version == "v7"


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),  # the example of the binding, 3.1.3.2
        ('"quoted \\"inside\\""', 'quoted "inside"'),
        ("100%25", "100%"),
        ("a%2525", "a%25"),  # decoded once
        ("plain", "plain"),
    ],
)
def test_header_values_are_decoded_as_the_binding_says(sent, value):
    assert binary(subject=sent).attributes["subject"] == value


def test_header_that_is_no_utf8_is_refused():
    with pytest.raises(BadInput, match="percent-encoded"):
        binary(subject="%FF")


def test_content_type_is_the_datacontenttype():
    with pytest.raises(BadInput, match="text/csv"):
        binary(b"1,2", "text/csv", datacontenttype="application/json")


@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream"])
def test_content_type_that_curl_fills_in_says_nothing(kind):
    """KServe copies the content type of the client's request, which is not that of the response."""
    assert binary(b"[1]", kind).document() == [1]
    with pytest.raises(BadInput, match="not JSON"):
        binary(b"a=1", kind).document()


# MLServer, mlserver/cloudevents.py: headers inside the payload, specversion 0.3, "NOTIMPLEMENTED" outside of Seldon.
def mlserver(kind, **changes):
    headers = {
        "Ce-Id": "b2a8",
        "Ce-Specversion": "0.3",
        "Ce-Source": "io.seldon.serving.deployment.NOTIMPLEMENTED.NOTIMPLEMENTED",
        "Ce-Type": f"io.seldon.serving.inference.{kind}",
        "Ce-Requestid": "b2a8",
        "Ce-Modelid": "income",
        "Ce-Inferenceservicename": "NOTIMPLEMENTED",
        "Ce-Namespace": "NOTIMPLEMENTED",
        "Ce-Endpoint": "NOTIMPLEMENTED",
    }
    return {"id": "b2a8", "parameters": {"headers": headers | changes}, "inputs": []}


def test_headers_of_mlserver_are_inside_the_payload():
    body = mlserver("request")
    event = from_payload(body, json.dumps(body).encode())
    assert (event.half, event.model, event.version, event.id) == ("request", "income", None, "b2a8")
    assert event.key == from_payload(mlserver("response"), b"{}").key


@pytest.mark.parametrize("body", [{}, [], "x", {"parameters": {"content_type": "pd"}}, {"parameters": {"headers": {}}}])
def test_payload_without_headers_is_no_event(body):
    assert from_payload(body, b"{}") is None


def test_events_of_azure_meet_by_correlation_id():
    request, response = structured(**AZURE), structured(**AZURE | {"id": "9", "type": "azureml.inference.outputs"})
    assert request.key == response.key
    assert request.exchange_id == AZURE["correlationid"]
    assert (request.half, response.half, request.version) == ("request", "response", "default")


@pytest.mark.parametrize(
    ("kind", "half"),
    [("model_inputs", "request"), ("model_outputs", "response"), ("request", "request"), ("response", "response"),
     ("inputs_outputs", None)],
)  # fmt: skip
def test_collections_of_azure(kind, half):
    assert structured(**AZURE | {"type": f"azureml.inference.{kind}"}).half == half


def test_base64_data():
    text = base64.b64encode(b'{"a": 1}').decode()
    assert structured(data=..., data_base64=text).document() == {"a": 1}
    assert structured(specversion="0.3", data=text, datacontentencoding="base64").document() == {"a": 1}


def test_extensions_are_kept():
    event = structured(
        sampledrate=10, recordedtime="2026-01-20T18:00:01Z", traceparent="00-ab-cd-01",
        partitionkey="k", correlationid="c",
    )  # fmt: skip
    assert event.metadata == {
        "source": "/s", "type": "t", "sampledrate": 10, "recordedtime": "2026-01-20T18:00:01Z",
        "traceparent": "00-ab-cd-01", "partitionkey": "k", "correlationid": "c",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"specversion": "2.0"}, "specversion"),
        ({"specversion": ...}, "specversion"),
        ({"id": ""}, "lacks id"),
        ({"source": ...}, "lacks source"),
        ({"type": 3}, "lacks type"),
        ({"data": ...}, "no data"),
        ({"data": ..., "dataref": "http://169.254.169.254/latest"}, "dataref is not fetched"),
        ({"data_base64": "e30="}, "not both"),
        ({"data": ..., "data_base64": "!"}, "not base64"),
        ({"data": ..., "data_base64": 3}, "not base64"),
        ({"datacontenttype": "application/xml"}, "application/xml"),
        ({"Not a name": 1}, "letters and digits"),
        ({f"a{i}": i for i in range(65)}, "at most 64"),
    ],
)
def test_unusable_events_say_why(changes, says):
    with pytest.raises(BadInput, match=says):
        structured(**changes)


def test_unusable_time_and_rate_say_why():
    with pytest.raises(BadInput, match="RFC 3339"):
        _ = structured(time="yesterday").time
    with pytest.raises(BadInput, match="sampledrate"):
        _ = structured(sampledrate=0).metadata
