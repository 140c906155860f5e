//! Requests and answers of `query`: canonical JSON, as `wit/v1/abi.md` draws them.
//!
//! ```
//! # use tally_plugin::query::{Request, answer};
//! let request = Request::parse(br#"{"args":{"sku":"lamp"},"route":"item"}"#).expect("a request");
//! assert_eq!((request.route(), request.arg("sku").as_deref()), ("item", Some("lamp")));
//! assert_eq!(answer(200, b"true"), br#"{"body":true,"status":200}"#);
//! ```

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::json::{Json, Object};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    route: Cow<'a, str>,
    args: Json<'a>,
}

impl<'a> Request<'a> {
    /// Reads a request.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let json = Json::parse(bytes).ok()?;
        Some(Self { route: json.get("route")?.text()?, args: json.get("args")? })
    }

    /// The name of the route.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.route
    }

    /// A parameter of the path or of the query string.
    #[must_use]
    pub fn arg(&self, name: &str) -> Option<Cow<'a, str>> {
        self.args.get(name)?.text()
    }

    /// A parameter that is a number; `None` if it is absent, the inner error if it is something else.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<Result<u64, core::num::ParseIntError>> {
        Some(self.arg(name)?.parse())
    }
}

/// An answer: canonical JSON with a status of HTTP.
#[must_use]
pub fn answer(status: u16, body: &[u8]) -> Vec<u8> {
    Object::new().raw("body", body).number("status", u64::from(status)).finish()
}

/// An answer that names what is wrong.
#[must_use]
pub fn refuse(status: u16, code: &str) -> Vec<u8> {
    answer(status, &Object::new().text("error", code).finish())
}

/// A cursor for the caller: where a page of rows ended.
#[must_use]
pub fn cursor(key: &[u8]) -> String {
    key.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// Reads a cursor back; the plugin checks that it lies in the range it belongs to.
#[must_use]
pub fn read_cursor(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
