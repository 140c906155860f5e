//! Whether the public may read a bucket, as far as its service tells.
//!
//! Asked when a store is opened. A block of public access with all four parts decides, because it overrules policies and
//! lists of grants; a block that is not there, or has holes, is refused even if nothing is public today: the next policy
//! would be. A service that does not know the question is asked for the policy's status and the grants; "not public" from
//! these is no promise, so the answer is unknown, and unknown is refused unless the settings accept it.

use reqwest::Method;

use super::exchange::{Answer, Ask, Exchange};
use super::xml;
use crate::objects::{ObjectError, Visibility};

const PARTS: [&str; 4] = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];

/// The groups of everybody, and of everybody with an account anywhere.
const PUBLIC_GROUPS: [&str; 2] = ["/groups/global/AllUsers", "/groups/global/AuthenticatedUsers"];

/// Refusals that are about the caller and not about the question.
const CALLER: &[&str] = &[
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "AuthorizationHeaderMalformed",
    "NoSuchBucket",
];

/// Who may read the bucket.
pub(super) async fn read(exchange: &Exchange, accept_unknown: bool) -> Result<Visibility, ObjectError> {
    let answer = question(exchange, "publicAccessBlock").await?;
    match answer.status {
        200 if PARTS.iter().all(|part| text_of(&answer, part).is_some_and(|text| text == "true")) => {
            return Ok(Visibility::Private);
        }
        200 if answers(&answer, "PublicAccessBlockConfiguration") => {
            return Err(exposed("its block of public access has holes"));
        }
        404 if answer.code() == Some("NoSuchPublicAccessBlockConfiguration") => {
            return Err(exposed("nothing blocks public access to it"));
        }
        _ => {}
    }
    let status = question(exchange, "policyStatus").await?;
    let private = || text_of(&status, "IsPublic").is_some_and(|text| text.eq_ignore_ascii_case("false"));
    if status.status == 200 && answers(&status, "PolicyStatus") && !private() {
        return Err(exposed("its policy is public"));
    }
    let grants = question(exchange, "acl").await?;
    let everybody = |body: &str| PUBLIC_GROUPS.iter().any(|group| body.contains(group));
    if grants.status == 200 && std::str::from_utf8(&grants.body).map_or(true, everybody) {
        return Err(exposed("everybody is granted something"));
    }
    if accept_unknown { Ok(Visibility::Unknown) } else { Err(exposed("the service does not tell")) }
}

async fn question(exchange: &Exchange, name: &str) -> Result<Answer, ObjectError> {
    let answer = exchange.ask(&Ask { query: &[(name, "")], ..Ask::new(Method::GET, "") }).await?;
    match answer.code() {
        Some(code) if CALLER.contains(&code) => Err(ObjectError::Refused(answer.says())),
        _ => Ok(answer),
    }
}

/// Whether this is an answer to the question: services that do not know it may list the bucket instead.
fn answers(answer: &Answer, element: &str) -> bool {
    std::str::from_utf8(&answer.body).is_ok_and(|text| text.contains(&format!("<{element}")))
}

fn text_of<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    xml::text_of(std::str::from_utf8(&answer.body).ok()?, name)
}

fn exposed(why: &str) -> ObjectError {
    ObjectError::Exposed(why.to_owned())
}
