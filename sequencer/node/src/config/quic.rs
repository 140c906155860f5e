//! `[quic]`: the QUIC door of a node. It shows the certificate of `[listen.tls]`, so it needs one.
//!
//! A file without the section serves no QUIC. Times that HTTP has too (`Hello` is a header, a message a body) are those of
//! `[limits]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tally_gateway::{ClientCertificates, QuicConfig, QuicLimits};
use tally_protocol::hash::ApiKeyHash;

use super::Config;
use crate::exit::Failure;
use crate::wire;

/// `[quic]`; see [`tally_gateway::QuicLimits`] for what each bounds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuicSection {
    /// Address and UDP port.
    pub address: SocketAddr,
    /// Connections at once.
    pub connections_max: usize,
    /// Connections of one caller.
    pub connections_per_caller_max: usize,
    /// Streams of a connection.
    pub streams_max: u16,
    /// Feeds among them.
    pub feeds_max: u16,
    /// Bytes one caller may have without an outcome.
    pub window_bytes: u32,
    /// Bytes of a connection that wait to be read.
    pub receive_window_bytes: u32,
    /// Bytes of a connection that wait to be acknowledged.
    pub send_window_bytes: u32,
    /// Both windows over all connections.
    pub buffers_bytes_max: usize,
    /// The largest datagram.
    pub datagram_bytes_max: u16,
    /// Seconds without a packet.
    pub idle_seconds_max: u64,
    /// Seconds a session lasts.
    pub session_seconds_max: u64,
    /// Client certificates, if they are taken.
    pub clients: Option<QuicClientsSection>,
}

/// `[quic.clients]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuicClientsSection {
    /// The authorities that sign them, PEM.
    pub authorities: PathBuf,
    /// From a certificate's DNS name to the id of the API key whose roles and bounds it has.
    pub callers: BTreeMap<String, String>,
}

impl QuicSection {
    fn limits(&self, config: &Config) -> QuicLimits {
        QuicLimits {
            connections_max: self.connections_max,
            connections_per_caller_max: self.connections_per_caller_max,
            streams_max: self.streams_max,
            feeds_max: self.feeds_max,
            window_bytes: self.window_bytes,
            submit_bytes_max: config.limits.body_bytes_max,
            receive_window_bytes: self.receive_window_bytes,
            send_window_bytes: self.send_window_bytes,
            buffers_bytes_max: self.buffers_bytes_max,
            datagram_bytes_max: self.datagram_bytes_max,
            hello_timeout: Duration::from_secs(config.limits.header_seconds_max),
            message_timeout: Duration::from_secs(config.limits.body_seconds_max),
            write_timeout: Duration::from_secs(config.limits.write_seconds_max),
            idle_timeout: Duration::from_secs(self.idle_seconds_max),
            keep_alive: Duration::from_secs(self.idle_seconds_max) / 3,
            session_max: Duration::from_secs(self.session_seconds_max),
            ..QuicLimits::standard()
        }
    }
}

impl Config {
    /// The QUIC door's part, with its files read.
    ///
    /// # Errors
    /// A file cannot be read, or a credential's id is none.
    pub fn quic(&self) -> Result<Option<(SocketAddr, QuicConfig)>, Failure> {
        let Some(section) = &self.quic else { return Ok(None) };
        let Some(tls) = &self.listen.tls else { return Err(Failure::usage(NEEDS_TLS)) };
        let (certificate, key) = wire::read_tls(&tls.certificate, &tls.key)?;
        let clients = match &section.clients {
            None => None,
            Some(clients) => Some(ClientCertificates {
                authorities: std::fs::read(&clients.authorities)
                    .map_err(|error| Failure::file("read", &clients.authorities, &error))?,
                callers: clients.callers.iter().map(caller).collect::<Result<_, _>>()?,
            }),
        };
        let limits = section.limits(self);
        Ok(Some((section.address, QuicConfig { certificate, key: key.to_vec(), clients, limits })))
    }
}

fn caller((subject, id): (&String, &String)) -> Result<(String, ApiKeyHash), Failure> {
    let hash = ApiKeyHash::from_hex(id)
        .map_err(|_| Failure::usage(format!("quic.clients.callers.\"{subject}\" is not the id of an API key")))?;
    Ok((subject.clone(), hash))
}

const NEEDS_TLS: &str = "quic has no certificate: it shows the one of listen.tls";

/// What `[quic]` breaks.
pub(super) fn check(config: &Config, findings: &mut Vec<String>) {
    let Some(section) = &config.quic else { return };
    if config.listen.tls.is_none() {
        findings.push(NEEDS_TLS.into());
    }
    let mut range = |name: &str, value: u64, low: u64, high: u64| {
        if !(low..=high).contains(&value) {
            findings.push(format!("quic.{name} is {value}; it must be {low} to {high}"));
        }
    };
    let submission = config.limits.body_bytes_max as u64;
    range("connections_max", section.connections_max as u64, 1, 1 << 20);
    range("connections_per_caller_max", section.connections_per_caller_max as u64, 1, 1 << 20);
    range("streams_max", section.streams_max.into(), 1, 4096);
    range("feeds_max", section.feeds_max.into(), 0, section.streams_max.into());
    range("window_bytes", section.window_bytes.into(), submission, 1 << 30);
    range("receive_window_bytes", section.receive_window_bytes.into(), 1 << 16, 1 << 28);
    range("send_window_bytes", section.send_window_bytes.into(), 1 << 16, 1 << 28);
    range("buffers_bytes_max", section.buffers_bytes_max as u64, 0, 64 << 30);
    range("datagram_bytes_max", section.datagram_bytes_max.into(), 1200, 65_527);
    range("idle_seconds_max", section.idle_seconds_max, 3, 3600);
    range("session_seconds_max", section.session_seconds_max, 60, 30 * 86_400);
    if let Some(clients) = &section.clients {
        if let Err(error) = std::fs::metadata(&clients.authorities) {
            findings.push(format!("quic.clients.authorities {}: {error}", clients.authorities.display()));
        }
        findings.extend(clients.callers.iter().filter_map(|pair| caller(pair).err()).map(|failure| failure.message));
    }
}

/// The section for a new file, which has no certificate yet: ready to be switched on.
pub(super) fn template(listen: SocketAddr) -> String {
    let limits = QuicLimits::standard();
    let rows = [
        "[quic]".to_owned(),
        format!("address = \"{listen}\""),
        format!("connections_max = {}", limits.connections_max),
        format!("connections_per_caller_max = {}", limits.connections_per_caller_max),
        format!("streams_max = {}", limits.streams_max),
        format!("feeds_max = {}", limits.feeds_max),
        format!("window_bytes = {}", limits.window_bytes),
        format!("receive_window_bytes = {}", limits.receive_window_bytes),
        format!("send_window_bytes = {}", limits.send_window_bytes),
        format!("buffers_bytes_max = {}", limits.buffers_bytes_max),
        format!("datagram_bytes_max = {}", limits.datagram_bytes_max),
        format!("idle_seconds_max = {}", limits.idle_timeout.as_secs()),
        format!("session_seconds_max = {}", limits.session_max.as_secs()),
        "# [quic.clients]".to_owned(),
        "# authorities = \"tls/clients.pem\"".to_owned(),
        "# callers = { \"agent-1.example.com\" = \"<id of an API key, as tally and /v1/api-keys list it>\" }"
            .to_owned(),
    ];
    let mut text =
        "# QUIC, on UDP, with the certificate of listen.tls; take the marks away once there is one.\n".to_owned();
    for row in rows {
        text.push_str(&format!("# {row}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{NewConfig, template};

    /// The template with its QUIC section switched on.
    fn switched_on() -> String {
        let path = std::path::Path::new;
        let text = template(&NewConfig {
            origin: "log.example.com/market",
            data: path("data"),
            fence: path("fence"),
            keys: path("keys"),
            listen: "127.0.0.1:8080".parse().unwrap(),
        });
        let mut on = String::new();
        let mut inside = false;
        for line in text.lines() {
            inside = line == "# [quic]" || (inside && line.starts_with("# "));
            on.push_str(if inside { &line[2..] } else { line });
            on.push('\n');
        }
        on
    }

    fn parse(text: &str) -> Config {
        Config::parse(text, std::path::Path::new("/folder")).unwrap()
    }

    #[test]
    fn the_template_s_section_is_complete_and_means_the_standard_bounds() {
        let config = parse(&switched_on());
        let section = config.quic.as_ref().unwrap();
        assert_eq!(format!("{:?}", section.limits(&config)), format!("{:?}", QuicLimits::standard()));
        assert_eq!(config.quic().unwrap_err().message, NEEDS_TLS);
        let mut findings = Vec::new();
        check(&config, &mut findings);
        assert_eq!(findings, [NEEDS_TLS]);
    }

    #[test]
    fn bounds_that_make_no_sense_and_callers_that_are_none_are_named() {
        let clients = "session_seconds_max = 86400\n[quic.clients]\nauthorities = \"none.pem\"\ncallers = { \"a.test\" = \"00\" }\n";
        let text = switched_on()
            .replace("session_seconds_max = 86400\n", clients)
            .replace("window_bytes = 16777216", "window_bytes = 1024")
            .replace("datagram_bytes_max = 16384", "datagram_bytes_max = 100");
        let mut findings = Vec::new();
        check(&parse(&text), &mut findings);
        let all = findings.join("\n");
        for part in ["quic.window_bytes", "quic.datagram_bytes_max", "/folder/none.pem", "a.test"] {
            assert!(all.contains(part), "{part} is not in {all}");
        }
    }
}
