//! AWS Signature Version 4 for the one shape of request that KMS takes: `POST /` without a query, a JSON body.
//!
//! Takes the request and credentials; gives the headers to send, signed by the protocol crate's own few lines (decision
//! 0021), and held against a foreign implementation here.

use tally_protocol::hash::object;
use tally_protocol::sigv4::{self, Credentials};
use tally_protocol::time::LogTime;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// What is signed.
#[derive(Debug)]
pub struct Request<'a> {
    /// The `Host` header, with the port if it is not the scheme's own.
    pub host: &'a str,
    /// The `X-Amz-Target` header: service and operation.
    pub target: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The region of the scope.
    pub region: &'a str,
    /// The service of the scope.
    pub service: &'a str,
    /// When; a service refuses what is minutes off.
    pub at: LogTime,
}

/// The headers to send with the request, names in lower case; `host` is left to the client.
#[must_use]
pub fn sign(request: &Request<'_>, credentials: &Credentials) -> Vec<(&'static str, String)> {
    let mut headers = vec![("content-type", CONTENT_TYPE.to_owned()), ("host", request.host.to_owned())];
    headers.push(("x-amz-date", sigv4::basic_time(request.at)));
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.as_str().to_owned()));
    }
    headers.push(("x-amz-target", request.target.to_owned()));
    let signed: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let signed = sigv4::Request {
        method: "POST",
        path: "/",
        query: &[],
        headers: &signed,
        payload: &object(request.body),
        region: request.region,
        service: request.service,
        at: request.at,
    };
    let authorization = sigv4::authorization(&signed, credentials);
    headers.retain(|(name, _)| *name != "host");
    headers.push(("authorization", authorization));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What botocore 1.43 makes of the same two requests.
    #[test]
    fn a_request_is_signed_as_a_foreign_implementation_signs_it() {
        let cases = [
            (None, "4ee7b4c798772d8581b0f27c77dd3e21936667af95fda98f30cf1aafe7a2c198"),
            (Some("a-session-token"), "f131555e19f0bfd47b29c05ce09a8964237f3358ccf15071172d01f5ebba908f"),
        ];
        for (token, signature) in cases {
            let credentials = Credentials {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned().into(),
                session_token: token.map(|token| token.to_owned().into()),
            };
            let request = Request {
                host: "kms.eu-central-1.amazonaws.com",
                target: "TrentService.Sign",
                body: br#"{"KeyId":"k"}"#,
                region: "eu-central-1",
                service: "kms",
                at: LogTime::parse_rfc3339("2026-01-02T03:04:05Z").unwrap(),
            };
            let headers = sign(&request, &credentials);
            let (_, authorization) = headers.iter().find(|(name, _)| *name == "authorization").unwrap();
            assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
        }
    }
}
