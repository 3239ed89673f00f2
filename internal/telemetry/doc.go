// Package telemetry shows what a process does: metrics for Prometheus, spans for OpenTelemetry, and whether it lives and is ready.
//
// Run opens what a Config asks for, hands the process a Telemetry, and closes it when the process has ended. Everything is off by
// default: without an address nothing listens, without an OTLP endpoint no span is made. The listener is on loopback, or asks
// for TLS and for a token or a client certificate (package listen); who shows neither learns from /livez and /readyz no more than
// yes or no.
//
// Labels name providers, states and outcome classes, never an account; nor do spans, unless Config.TraceAccounts. What could be
// unbounded is bounded: providers beyond the thousandth are counted as one.
//
// The families of metrics are the same in every process, and are listed in docs/operations.md. A family without
// a series is not shown.
//
// Concurrency: a Telemetry is safe for any number of goroutines. What is counted for each refresh is resolved once per provider and
// costs some atomic additions; gauges are asked for when somebody scrapes. Without an endpoint a Tracer is nil, and nothing
// is allocated for it.
package telemetry
