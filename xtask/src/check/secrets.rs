//! Secrets are compared in constant time (S-040): with `ct_eq`, never with `==`.
//!
//! Takes production code. Finds comparisons whose operand is named like a secret, a MAC or the digest of a credential,
//! and derived equality on types named like secrets. Public hashes (roots, leaves, event hashes) are compared plainly:
//! both sides are known to whoever asks, so the time tells nothing.

use super::Finding;
use crate::tree::Tree;

const NAMES: &[&str] = &["secret", "api_key", "token", "mac", "hmac", "password", "credential", "key_hash", "digest"];

const TYPES: &[&str] = &["Secret", "ApiKey", "Token", "Password", "Mac", "SigningKey", "KeyHash", "CredentialHash"];

/// In a signed note `key_hash` is four public bytes that name a key.
const PUBLIC: (&str, &str) = ("sdk/protocol/src/note", "key_hash");

/// Ways to look at the same bytes: the name before them counts.
const VIEWS: &[&str] = &["as_bytes", "as_slice", "as_ref", "as_str", "to_vec", "clone", "0", "unwrap", "expect"];

/// Every comparison of a secret that takes as long as its common prefix.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.sources().filter(|(file, _)| !file.starts_with("xtask/") && !file.starts_with("fuzz/")) {
        let mut derived = 0;
        for (line, code) in source.production() {
            if let Some(name) = compared_secret(code).filter(|name| !(file.starts_with(PUBLIC.0) && *name == PUBLIC.1))
            {
                findings.push(Finding::new(file, line, format!("`{name}` is compared with `==`: use `ct_eq`")));
            }
            if code.contains("derive(") && code.contains("PartialEq") {
                derived = line;
            }
            if derived != 0 && line <= derived + 3 && declares_secret(code) {
                findings.push(Finding::new(file, line, "a secret type derives equality: implement it with `ct_eq`"));
            }
        }
    }
    findings
}

fn declares_secret(code: &str) -> bool {
    let Some((_, rest)) = code.split_once("struct ") else { return false };
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
    TYPES.contains(&name.as_str())
}

/// The secret operand of an `==` or `!=` of this line, if there is one.
fn compared_secret(code: &str) -> Option<&str> {
    let outside = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '(' | ')' | '[' | ']' | '&' | '*'));
    ["==", "!="].iter().find_map(|operator| {
        code.match_indices(operator).find_map(|(at, _)| {
            let left = code[..at].trim_end().rsplit(outside).next()?;
            let right = code[at + operator.len()..].trim_start().split(outside).next()?;
            secret_name(left).or_else(|| secret_name(right))
        })
    })
}

/// The name of an operand, if it is a secret's: the last field decides, `credential.role` is a role.
fn secret_name(operand: &str) -> Option<&str> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = operand.split(|c: char| !part(c)).filter(|name| !name.is_empty());
    let name = names.rfind(|name| !VIEWS.contains(name))?;
    let is = |known: &str| name == known || name.strip_suffix(known).is_some_and(|rest| rest.ends_with('_'));
    NAMES.iter().any(|known| is(known)).then_some(name)
}
