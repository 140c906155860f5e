//! AWS Signature Version 4, in headers: what KMS and the S3 protocol are asked with.
//!
//! Takes a request and credentials; gives the `Authorization` header. *Left to the caller*: escaping the path, sending
//! exactly the headers that were signed, and keeping the clock within minutes of the service's. Held against AWS's published
//! examples. Source: AWS, "Signature Version 4 for API requests" and "Authenticating requests: using the Authorization header".

use core::fmt;

use zeroize::Zeroizing;

use crate::hash::{ObjectHash, aws_request, hex, hmac_sha256};
use crate::time::LogTime;

/// An identity of AWS and its secret; the debug text shows only the identity.
#[derive(Clone)]
pub struct Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_key: Zeroizing<String>,
    /// Present where the credentials pass; sent as `x-amz-security-token`, and signed.
    pub session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credentials({})", self.access_key_id)
    }
}

impl Credentials {
    /// Reads one section of a shared credentials file; the first of equal names counts.
    #[must_use]
    pub fn from_profile(text: &str, profile: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).skip_while(|line| section(line) != Some(profile)).skip(1);
        let lines: Vec<_> =
            lines.take_while(|line| section(line).is_none()).filter_map(|line| line.split_once('=')).collect();
        let get = |name: &str| {
            let found = lines.iter().find(|(key, _)| key.trim() == name);
            found.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        Some(Self {
            access_key_id: get("aws_access_key_id")?,
            secret_key: get("aws_secret_access_key")?.into(),
            session_token: get("aws_session_token").map(Zeroizing::new),
        })
    }
}

fn section(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']').map(str::trim)
}

/// What is signed.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The path as it is sent, escaped as the service wants it.
    pub path: &'a str,
    /// Names and values of the query, not escaped, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// The headers to sign: names in lower case, in any order, values without spaces at their ends. `host` and
    /// `x-amz-date` (see [`basic_time`]) must be among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The SHA-256 of the body.
    pub payload: &'a ObjectHash,
    /// The region of the scope.
    pub region: &'a str,
    /// The service of the scope.
    pub service: &'a str,
    /// When; a service refuses what is minutes off.
    pub at: LogTime,
}

/// The value of the header `authorization`.
#[must_use]
pub fn authorization(request: &Request<'_>, credentials: &Credentials) -> String {
    let mut headers = request.headers.to_vec();
    headers.sort_unstable();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = canonical_request(request, &headers, &names);

    let time = basic_time(request.at);
    let day = time.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&aws_request(canonical.as_bytes())));
    let key = signing_key(&credentials.secret_key, day, request.region, request.service);
    let signature = hex(&hmac_sha256(&*key, text.as_bytes()));
    let id = credentials.access_key_id.as_str();
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// The query as it is signed, and as it should be sent: escaped, in the order of the names.
#[must_use]
pub fn canonical_query(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<_> = query.iter().map(|(name, value)| (escape(name), escape(value))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// ISO 8601 in its basic form, whole seconds: `20150830T123600Z`.
#[must_use]
pub fn basic_time(at: LogTime) -> String {
    let text = at.to_rfc3339();
    let seconds = text.get(..19).unwrap_or_default();
    let mut basic: String = seconds.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    basic.push('Z');
    basic
}

/// Method, path, query, headers in the order of their names, which of them, and the body's hash.
fn canonical_request(request: &Request<'_>, headers: &[(&str, &str)], names: &str) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let query = canonical_query(request.query);
    format!("{}\n{}\n{query}\n{lines}\n{names}\n{}", request.method, request.path, request.payload)
}

fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> Zeroizing<[u8; 32]> {
    let first = Zeroizing::new(format!("AWS4{secret}"));
    let mut key = Zeroizing::new(hmac_sha256(first.as_bytes(), day.as_bytes()));
    for part in [region, service, "aws4_request"] {
        *key = hmac_sha256(&*key, part.as_bytes());
    }
    key
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let byte = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;

    const FILE: &str = "# comment\n[default]\naws_access_key_id = one\naws_secret_access_key=s=1\n\n\
        [anchor]\naws_secret_access_key = s2\naws_access_key_id = two\naws_session_token = t\n[empty]\n";

    #[test]
    fn a_section_is_read_and_its_neighbours_are_not() {
        let first = Credentials::from_profile(FILE, "default").unwrap();
        assert_eq!((first.access_key_id.as_str(), first.secret_key.as_str()), ("one", "s=1"));
        assert!(first.session_token.is_none());
        let second = Credentials::from_profile(FILE, "anchor").unwrap();
        assert_eq!((second.access_key_id.as_str(), second.session_token.unwrap().as_str()), ("two", "t"));
        assert!(Credentials::from_profile(FILE, "empty").is_none());
        assert!(Credentials::from_profile(FILE, "other").is_none());
    }

    #[test]
    fn a_secret_is_not_in_the_debug_text() {
        assert_eq!(format!("{:?}", Credentials::from_profile(FILE, "default").unwrap()), "Credentials(one)");
    }

    #[test]
    fn the_key_is_derived_as_published() {
        // "Deriving the signing key", AWS General Reference, the example in every language.
        let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam");
        assert_eq!(hex(&*key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    /// "Signature calculations for the Authorization header", Amazon S3 API Reference, its examples.
    #[test]
    fn requests_of_s3_are_signed_as_published() {
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned().into(),
            session_token: None,
        };
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: [(&str, Pairs, Pairs, &str); 3] = [
            (
                "/test.txt",
                &[],
                &[("range", "bytes=0-9")],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            ("/", &[("lifecycle", "")], &[], "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            (
                "/",
                &[("prefix", "J"), ("max-keys", "2")],
                &[],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ];
        let (at, empty) = (LogTime::parse_rfc3339("2013-05-24T00:00:00Z").unwrap(), hash::object(b""));
        let (time, payload) = (basic_time(at), empty.to_hex());
        for (path, query, more, signature) in cases {
            let mut headers = vec![
                ("host", "examplebucket.s3.amazonaws.com"),
                ("x-amz-date", &time),
                ("x-amz-content-sha256", &payload),
            ];
            headers.extend(more);
            let (method, region, service) = ("GET", "us-east-1", "s3");
            let request = Request { method, path, query, headers: &headers, payload: &empty, region, service, at };
            let header = authorization(&request, &credentials);
            assert!(header.ends_with(&format!("Signature={signature}")), "{header}");
        }
    }

    #[test]
    fn a_time_is_written_in_basic_form() {
        let at = LogTime::parse_rfc3339("2015-08-30T12:36:00.999999Z").unwrap();
        assert_eq!(basic_time(at), "20150830T123600Z");
    }

    #[test]
    fn a_query_is_escaped_and_in_order() {
        assert_eq!(canonical_query(&[("versionId", "a+/=~ é"), ("acl", "")]), "acl=&versionId=a%2B%2F%3D~%20%C3%A9");
    }
}
