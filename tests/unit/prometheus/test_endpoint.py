import gzip
import http.client
import socket
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from alerting import event, finding
from full_sample import full_sample
from infer_opt.errors import ConfigError, UnavailableError
from infer_opt.prometheus.endpoint import Endpoint, serve
from infer_opt.readings.samples import Sample


def begin(port: int = 0, *, host: str = "127.0.0.1", sample: Sample | None = None) -> Endpoint:
    return serve(
        port,
        host=host,
        latest=lambda: sample,
        findings=lambda: [finding("memory-leak", "memory.used_bytes")],
        alerts=lambda: [event()],
        clock=lambda: 1001.0,
    )


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with begin(sample=full_sample()) as made:
        yield made


def ask(
    endpoint: Endpoint, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def parsed(body: bytes) -> list[Metric]:
    return list(text_string_to_metric_families(body.decode()))


def test_prometheus_reads_metrics_over_http(endpoint: Endpoint) -> None:
    status, headers, body = ask(endpoint, "/metrics")

    assert endpoint.url == f"http://127.0.0.1:{endpoint.port}/metrics"
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    names = {family.name for family in parsed(body)}
    assert names >= {"infer_opt_build_info", "infer_opt_gpu_power_watts", "infer_opt_alert_firing"}
    assert b"infer_opt_sample_age_seconds 1.0\n" in body


def test_openmetrics_is_given_where_it_is_asked_for(endpoint: Endpoint) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4"
    status, headers, body = ask(endpoint, "/metrics", headers={"Accept": accept})

    assert status == 200
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    found = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
    assert {family.name for family in found} >= {"infer_opt_memory_oom_kills"}


def test_it_is_compressed_where_that_is_understood_and_can_be_filtered(endpoint: Endpoint) -> None:
    _, headers, body = ask(endpoint, "/metrics?name[]=infer_opt_cpu_busy_ratio", headers={"Accept-Encoding": "gzip"})

    assert headers["Content-Encoding"] == "gzip"
    families = parsed(gzip.decompress(body))
    assert [family.name for family in families] == ["infer_opt_cpu_busy_ratio"]


def test_the_front_page_links_to_the_metrics_and_there_is_nothing_else(endpoint: Endpoint) -> None:
    status, headers, body = ask(endpoint, "/")

    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b'<a href="/metrics">' in body
    assert headers["Server"].strip() == "infer-opt"
    for path in ("/metrics/", "/metric", "/favicon.ico", "/../etc/passwd", "//[", "/-/reload"):
        assert ask(endpoint, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_nothing_but_get_is_answered(endpoint: Endpoint, method: str) -> None:
    status, headers, _ = ask(endpoint, "/metrics", method=method)

    assert (status, headers["Allow"]) == (405, "GET")


def test_each_scrape_shows_the_latest_sample() -> None:
    samples: list[Sample | None] = [None]
    with serve(0, latest=lambda: samples[-1], findings=list, alerts=list) as endpoint:
        assert b"infer_opt_memory" not in ask(endpoint, "/metrics")[2]
        samples.append(full_sample())
        assert b"infer_opt_memory_total_bytes" in ask(endpoint, "/metrics")[2]


def test_a_client_that_says_nothing_does_not_keep_others_from_being_answered(endpoint: Endpoint) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port)):
        assert ask(endpoint, "/metrics")[0] == 200


def test_a_client_that_goes_away_leaves_no_trace(endpoint: Endpoint, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert ask(endpoint, "/metrics")[0] == 200
    assert ask(endpoint, "nonsense", method="BREW")[0] == 501

    assert capfd.readouterr() == ("", "")


def test_it_listens_on_the_loopback_alone_unless_told_otherwise(endpoint: Endpoint) -> None:
    assert endpoint._server.server_address[0] == "127.0.0.1"
    with begin(host="") as everywhere:
        assert everywhere._server.server_address[0] in ("0.0.0.0", "::")
        assert everywhere.url == f"http://localhost:{everywhere.port}/metrics"


def test_a_port_that_is_taken_is_an_error_with_a_hint(endpoint: Endpoint) -> None:
    with pytest.raises(UnavailableError, match=f"port {endpoint.port} of 127.0.0.1 is taken") as caught:
        begin(endpoint.port)

    assert caught.value.hint == "name another port, or 0 for one that is free"


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match=f"{port} is not a port"):
        begin(port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen at {host}") as caught:
        begin(host=host)

    assert "127.0.0.1 keeps others out" in (caught.value.hint or "")


def test_a_closed_endpoint_lets_go_of_its_port() -> None:
    first = begin()
    port = first.port
    first.close()
    first.close()

    with begin(port) as second:
        assert ask(second, "/")[0] == 200
