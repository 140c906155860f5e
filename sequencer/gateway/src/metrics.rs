//! Counts of the doors, and the Prometheus text of everything the node measures.
//!
//! Takes readings (the core's and our own), gives text of the Prometheus exposition format 0.0.4. Labels are only what
//! the route table and fixed enums name, so no client can grow the number of series.

use std::fmt::Write as _;

use tally_api::error::ErrorCode;
use tally_core::metrics::{Counter, Gauge, Histogram, Reading};
use tally_core::{ApplyState, Ladder, NodeState, StorageReading};
use tally_protocol::error::RejectCode;

use crate::quic::QuicMetrics;

/// Requests of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    /// By status class: 1xx to 5xx.
    statuses: [Counter; 5],
    micros: Histogram,
}

/// Everything the gateway measures.
#[derive(Debug)]
pub(crate) struct GatewayMetrics {
    pub(crate) routes: Vec<RouteMetrics>,
    pub(crate) errors: Vec<Counter>,
    pub(crate) rejections: Vec<Counter>,
    pub(crate) connections: Gauge,
    pub(crate) connections_total: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) connections_timed_out: Counter,
    pub(crate) tls_failures: Counter,
    pub(crate) body_bytes: Counter,
    pub(crate) feeds: Gauge,
    pub(crate) feed_events: Counter,
    pub(crate) quic: QuicMetrics,
}

impl GatewayMetrics {
    pub(crate) fn new(routes: usize) -> Self {
        Self {
            routes: (0..routes).map(|_| RouteMetrics::default()).collect(),
            errors: ErrorCode::ALL.iter().map(|_| Counter::default()).collect(),
            rejections: RejectCode::ALL.iter().map(|_| Counter::default()).collect(),
            connections: Gauge::default(),
            connections_total: Counter::default(),
            connections_refused: Counter::default(),
            connections_timed_out: Counter::default(),
            tls_failures: Counter::default(),
            body_bytes: Counter::default(),
            feeds: Gauge::default(),
            feed_events: Counter::default(),
            quic: QuicMetrics::default(),
        }
    }

    pub(crate) fn on_response(&self, route: usize, status: u16, micros: u64) {
        let Some(route) = self.routes.get(route) else { return };
        if let Some(counter) = usize::from(status / 100).checked_sub(1).and_then(|class| route.statuses.get(class)) {
            counter.add(1);
        }
        route.micros.observe(micros);
    }

    pub(crate) fn on_error(&self, code: ErrorCode) {
        let at = ErrorCode::ALL.iter().position(|&other| other == code);
        if let Some(counter) = at.and_then(|at| self.errors.get(at)) {
            counter.add(1);
        }
    }

    pub(crate) fn on_reject(&self, code: RejectCode) {
        let at = RejectCode::ALL.iter().position(|&other| other == code);
        if let Some(counter) = at.and_then(|at| self.rejections.get(at)) {
            counter.add(1);
        }
    }
}

/// Writes the exposition format.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP tally_{name} {help}\n# TYPE tally_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "tally_{name}{labels} {value}");
    }

    /// One number with its head.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }

    fn histogram(&mut self, name: &str, labels: &str, rows: &[(u64, u64)], sum: u64) {
        let separator = if labels.is_empty() { "" } else { "," };
        let (count, bounded) = rows.split_last().map_or((0, rows), |(last, rest)| (last.1, rest));
        for (end, count) in bounded {
            // The bucket holds whole numbers below `end`.
            let end = end - 1;
            let _ = writeln!(self.0, "tally_{name}_bucket{{{labels}{separator}le=\"{end}\"}} {count}");
        }
        let _ = writeln!(self.0, "tally_{name}_bucket{{{labels}{separator}le=\"+Inf\"}} {count}");
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.0, "tally_{name}_sum{braces} {sum}\ntally_{name}_count{braces} {count}");
    }

    /// The core's readings.
    pub(crate) fn core(&mut self, readings: Vec<(&'static str, &'static str, Reading)>) {
        for (name, help, reading) in readings {
            match reading {
                Reading::Counter(value) => self.single(name, "counter", help, value),
                Reading::Gauge(value) => self.single(name, "gauge", help, value),
                Reading::Histogram(rows, sum) => {
                    self.head(name, "histogram", help);
                    self.histogram(name, "", &rows, sum);
                }
            }
        }
    }

    /// The storage's readings.
    pub(crate) fn storage(&mut self, readings: &[StorageReading]) {
        for reading in readings {
            self.head(reading.name, if reading.is_counter { "counter" } else { "gauge" }, reading.help);
            for (family, value) in &reading.values {
                let labels = family.map(|family| format!("{{family=\"{family}\"}}")).unwrap_or_default();
                self.line(reading.name, &labels, *value);
            }
        }
    }

    /// The ladder of watermarks and the node's state.
    pub(crate) fn ladder(&mut self, ladder: &Ladder, state: &NodeState, apply: &ApplyState) {
        self.head("ladder_size", "gauge", "Size of the log prefix that reached each rung.");
        for rung in tally_core::watermarks::Rung::ALL {
            self.line("ladder_size", &format!("{{rung=\"{}\"}}", rung.name()), ladder.rung(rung).get());
        }
        self.head("state", "gauge", "The node's state: 1 for the one it is in.");
        for name in ["running", "read_only", "draining", "poisoned"] {
            self.line("state", &format!("{{state=\"{name}\"}}"), u64::from(name == state_name(state)));
        }
        self.head("apply_state", "gauge", "Whether events are applied: 1 for the state it is in.");
        let applying = match apply {
            ApplyState::Off => "off",
            ApplyState::Following => "following",
            ApplyState::Halted { .. } => "halted",
        };
        for name in ["off", "following", "halted"] {
            self.line("apply_state", &format!("{{state=\"{name}\"}}"), u64::from(name == applying));
        }
    }

    /// The gateway's own counts; `names` are method and path of each route.
    pub(crate) fn gateway(&mut self, metrics: &GatewayMetrics, names: &[(&str, &str)]) {
        self.head("http_requests_total", "counter", "Requests answered, by route and status class.");
        for ((method, path), route) in names.iter().zip(&metrics.routes) {
            for (class, counter) in route.statuses.iter().enumerate().filter(|(_, counter)| counter.get() > 0) {
                let labels = format!("{{method=\"{method}\",path=\"{path}\",status=\"{}xx\"}}", class + 1);
                self.line("http_requests_total", &labels, counter.get());
            }
        }
        self.head("http_request_micros", "histogram", "Microseconds from header to answer, by route.");
        for ((method, path), route) in names.iter().zip(&metrics.routes) {
            let (rows, sum) = route.micros.read();
            if rows.last().is_some_and(|(_, count)| *count > 0) {
                self.histogram("http_request_micros", &format!("method=\"{method}\",path=\"{path}\""), &rows, sum);
            }
        }
        self.head("http_errors_total", "counter", "Requests refused, by error code.");
        for (code, counter) in ErrorCode::ALL.iter().zip(&metrics.errors) {
            self.line("http_errors_total", &format!("{{code=\"{}\"}}", code.as_str()), counter.get());
        }
        self.head("http_event_rejections_total", "counter", "Events refused inside requests, by code.");
        for (code, counter) in RejectCode::ALL.iter().zip(&metrics.rejections) {
            self.line("http_event_rejections_total", &format!("{{code=\"{}\"}}", code.as_str()), counter.get());
        }
        let gauges = [
            ("http_connections", "Open connections.", &metrics.connections),
            ("http_feeds", "Live feeds.", &metrics.feeds),
        ];
        for (name, help, gauge) in gauges {
            self.single(name, "gauge", help, gauge.get());
        }
        let counters = [
            ("http_connections_total", "Connections taken.", &metrics.connections_total),
            ("http_connections_refused_total", "Connections over the bound.", &metrics.connections_refused),
            ("http_connections_timed_out_total", "Connections of slow clients.", &metrics.connections_timed_out),
            ("http_tls_failures_total", "TLS handshakes that failed.", &metrics.tls_failures),
            ("http_body_bytes_total", "Bytes of request bodies.", &metrics.body_bytes),
            ("http_feed_events_total", "Events sent by live feeds.", &metrics.feed_events),
        ];
        for (name, help, counter) in counters {
            self.single(name, "counter", help, counter.get());
        }
        for (name, help, gauge) in metrics.quic.gauges() {
            self.single(name, "gauge", help, gauge.get());
        }
        for (name, help, counter) in metrics.quic.counters() {
            self.single(name, "counter", help, counter.get());
        }
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// The state's name in metrics and in `/ready`.
pub(crate) fn state_name(state: &NodeState) -> &'static str {
    match state {
        NodeState::Running => "running",
        NodeState::ReadOnly(_) => "read_only",
        NodeState::Draining => "draining",
        NodeState::Poisoned(_) => "poisoned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_infinity() {
        let histogram = Histogram::default();
        for value in [0, 1, 3, 3, 1000] {
            histogram.observe(value);
        }
        let (rows, sum) = histogram.read();
        let mut text = Text::default();
        text.histogram("x", "a=\"b\"", &rows, sum);
        let text = text.into_string();
        assert!(text.contains("tally_x_bucket{a=\"b\",le=\"0\"} 1\n"), "{text}");
        assert!(text.contains("tally_x_bucket{a=\"b\",le=\"1\"} 2\n"), "{text}");
        assert!(text.contains("tally_x_bucket{a=\"b\",le=\"3\"} 4\n"), "{text}");
        assert!(text.contains("tally_x_bucket{a=\"b\",le=\"+Inf\"} 5\n"), "{text}");
        assert!(text.contains("tally_x_sum{a=\"b\"} 1007\ntally_x_count{a=\"b\"} 5\n"), "{text}");
    }
}
