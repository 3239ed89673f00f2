package telemetry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/freshetdev/freshet/internal/sleep"
)

// exporter sends spans by OTLP/HTTP in JSON, which is a part of every receiver of OTLP/HTTP and costs a process six megabytes less than
// the protocol's generated code and gRPC (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
type exporter struct {
	url     string
	header  http.Header
	client  *http.Client
	timeout time.Duration
	onError func(error)
}

var _ sdktrace.SpanExporter = (*exporter)(nil)

const (
	defaultExportTimeout = 10 * time.Second
	// exportTries and exportPause bound the tries of a batch that the receiver cannot take now.
	exportTries = 3
	exportPause = time.Second
	// maxAnswer bounds what is read of an answer, so that its connection can be used again.
	maxAnswer = 64 << 10
)

// endpoint is where the environment sends spans; "" when it does not.
func endpoint(getenv func(string) string) string {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return ""
	}
	if full := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); full != "" {
		return full
	}
	if base := getenv("OTEL_EXPORTER_OTLP_ENDPOINT"); base != "" {
		return strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	return ""
}

// newExporter reads the rest of the environment (https://opentelemetry.io/docs/specs/otel/protocol/exporter). It reports all faults.
func newExporter(address string, getenv func(string) string, onError func(error)) (*exporter, error) {
	either := func(name string) (variable, value string) {
		for _, variable := range []string{"OTEL_EXPORTER_OTLP_TRACES_" + name, "OTEL_EXPORTER_OTLP_" + name} {
			if v := getenv(variable); v != "" {
				return variable, v
			}
		}
		return "", ""
	}
	e := &exporter{url: address, timeout: defaultExportTimeout, onError: onError}
	var faults []error
	if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		faults = append(faults, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT: want a URL such as http://localhost:4318"))
	}
	if name, v := either("PROTOCOL"); v != "" && !strings.HasPrefix(v, "http/") {
		faults = append(faults, fmt.Errorf("%s %q: want http/json; spans go by OTLP/HTTP, as a rule to port 4318", name, v))
	}
	if name, v := either("TIMEOUT"); v != "" {
		ms, err := strconv.Atoi(v)
		if err != nil || ms <= 0 {
			faults = append(faults, fmt.Errorf("%s: want milliseconds", name))
		}
		e.timeout = time.Duration(ms) * time.Millisecond
	}
	name, list := either("HEADERS")
	var err error
	if e.header, err = parseHeaders(list); err != nil {
		faults = append(faults, fmt.Errorf("%s: %w", name, err))
	}
	name, file := either("CERTIFICATE")
	transport, err := exportTransport(file)
	if err != nil {
		faults = append(faults, fmt.Errorf("%s: %w", name, err))
	}
	e.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return e, errors.Join(faults...)
}

// parseHeaders reads name=value,name=value with values that are percent-encoded. Faults do not repeat values: they are keys.
func parseHeaders(list string) (http.Header, error) {
	h := make(http.Header)
	for pair := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || strings.TrimSpace(name) == "" {
			return nil, errors.New("want NAME=VALUE,NAME=VALUE")
		}
		h.Set(strings.TrimSpace(name), value)
	}
	return h, nil
}

// exportTransport trusts the authorities in a PEM file, or without one the machine's.
func exportTransport(file string) (*http.Transport, error) {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if file == "" {
		return t, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read authorities: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return t, nil
}

// ExportSpans implements sdktrace.SpanExporter. What cannot be sent is lost, and said; it never fails, because the SDK would print
// the error.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	body, err := json.Marshal(encodeSpans(spans))
	if err != nil {
		e.onError(fmt.Errorf("encode spans: %w", err))
		return nil
	}
	for try := 1; ; try++ {
		again, err := e.post(ctx, body)
		if err == nil {
			return nil
		}
		if !again || try == exportTries || !sleep.For(ctx, exportPause) {
			e.onError(fmt.Errorf("send %d spans: %w", len(spans), err))
			return nil
		}
	}
}

// post reports, with an error, whether the receiver may take the same later.
func (e *exporter) post(ctx context.Context, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header = e.header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	switch resp.StatusCode {
	case http.StatusOK:
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, fmt.Errorf("the receiver answers %s", resp.Status)
	}
	return false, fmt.Errorf("the receiver answers %s", resp.Status)
}

// Shutdown implements sdktrace.SpanExporter.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}
