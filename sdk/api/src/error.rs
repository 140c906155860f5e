//! The one error shape, and the one table from errors to HTTP statuses.
//!
//! Every refused request of every surface is answered with
//! `{"error":{"code","numeric_code","message","details"?,"retry_after"?,"request_id"}}`.
//! Codes and numeric families are those of VES where it has one: 1xxx authentication, 2xxx rates, 3xxx validation,
//! 4xxx not found, 5xxx conflict, 6xxx cryptography, 7xxx state, 8xxx infrastructure.
//! Messages name the field and the rule and never repeat what a client sent (S-011). An event that is refused inside
//! an otherwise good request is no error of the request: see [`crate::submit`] and [`crate::ves`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $numeric:literal, $status:literal;)*) => {
        /// Why a request was refused. The names are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl ErrorCode {
            /// All codes, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The number; its thousands are the family.
            #[must_use]
            pub const fn numeric_code(self) -> u32 {
                match self { $(Self::$name => $numeric),* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }
        }
    };
}

error_codes! {
    /// No credential was given where one is needed.
    AuthRequired = "AUTH_REQUIRED", 1001, 401;
    /// The API key is malformed or unknown.
    InvalidApiKey = "INVALID_API_KEY", 1002, 401;
    /// The API key has expired.
    TokenExpired = "TOKEN_EXPIRED", 1004, 401;
    /// The credential may not do this.
    InsufficientPermissions = "INSUFFICIENT_PERMISSIONS", 1005, 403;
    /// The API key was revoked.
    ApiKeyRevoked = "API_KEY_REVOKED", 1101, 401;
    /// A test key on a live node, or the other way round.
    WrongEnvironment = "WRONG_ENVIRONMENT", 1102, 401;
    /// The request names a tenant, store or agent that the credential is not bound to.
    OutOfScope = "OUT_OF_SCOPE", 1103, 403;
    /// The node takes no more work just now; nothing was taken. Retry after the stated time.
    RateLimitExceeded = "RATE_LIMIT_EXCEEDED", 2001, 429;
    /// The request did not arrive in time.
    RequestTimeout = "REQUEST_TIMEOUT", 2101, 408;
    /// The body is not what the route takes (malformed JSON or frames).
    InvalidRequestBody = "INVALID_REQUEST_BODY", 3001, 400;
    /// A member that must be there is not, or has the wrong type.
    MissingRequiredField = "MISSING_REQUIRED_FIELD", 3002, 422;
    /// A member, parameter or path segment breaks its rule.
    InvalidFieldValue = "INVALID_FIELD_VALUE", 3003, 400;
    /// The body is larger than the limit.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 3004, 413;
    /// More events than one request may hold.
    BatchTooLarge = "BATCH_TOO_LARGE", 3005, 413;
    /// The native surface refuses members it does not know.
    UnknownField = "UNKNOWN_FIELD", 3101, 400;
    /// The request holds no event.
    EmptyBatch = "EMPTY_BATCH", 3102, 400;
    /// The content type is none that the route takes.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 3103, 415;
    /// The resume token is malformed or of another ledger.
    InvalidResumeToken = "INVALID_RESUME_TOKEN", 3104, 400;
    /// The module is not one that this node's plugins may be: not valid, or not within its bounds.
    ModuleRefused = "MODULE_REFUSED", 3105, 422;
    /// A plugin refused what it was asked; the status is its own (400 to 499), `details.body` its words.
    PluginRefused = "PLUGIN_REFUSED", 3106, 422;
    /// Nothing there that this caller may see.
    ResourceNotFound = "RESOURCE_NOT_FOUND", 4001, 404;
    /// No such event in reach of this caller.
    EventNotFound = "EVENT_NOT_FOUND", 4002, 404;
    /// No such commitment in reach of this caller.
    BatchNotFound = "BATCH_NOT_FOUND", 4003, 404;
    /// No such agent key.
    AgentKeyNotFound = "AGENT_KEY_NOT_FOUND", 4005, 404;
    /// The route exists, but not with this method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 4101, 405;
    /// The log is not that far yet; `details.rung` names the missing rung.
    NotYet = "NOT_YET", 4102, 404;
    /// No such plugin in this stream, or no such route of it.
    PluginNotFound = "PLUGIN_NOT_FOUND", 4103, 404;
    /// It exists already.
    AlreadyExists = "ALREADY_EXISTS", 5004, 409;
    /// The control event was refused by the log's rules; `details.reason` names which.
    ControlRefused = "CONTROL_REFUSED", 5101, 409;
    /// The range was committed otherwise already, or cannot be committed.
    CommitmentConflict = "COMMITMENT_CONFLICT", 5102, 409;
    /// The log refused the event of a command; `details.reason` names why. Nothing was taken.
    EventRefused = "EVENT_REFUSED", 5103, 409;
    /// The plugin is installed and does not run: quarantined or failed.
    PluginNotRunning = "PLUGIN_NOT_RUNNING", 5104, 409;
    /// The effect is no dead letter: nothing is to be said about it.
    EffectNotDead = "EFFECT_NOT_DEAD", 5105, 409;
    /// Not an acceptable public key (small or mixed order, not canonical, wrong length).
    InvalidPublicKey = "INVALID_PUBLIC_KEY", 6003, 400;
    /// The node serves, but takes no writes.
    ReadOnly = "READ_ONLY", 7101, 503;
    /// The node is shutting down.
    Draining = "DRAINING", 7102, 503;
    /// A durable write failed; the node takes no writes until it is restarted.
    Poisoned = "POISONED", 7103, 503;
    /// The connection to the log broke after events were taken: retry with the same event ids.
    OutcomeUnknown = "OUTCOME_UNKNOWN", 7104, 503;
    /// This node holds no key to sign control events; post the signed event instead.
    NoControlSigner = "NO_CONTROL_SIGNER", 7105, 501;
    /// This node runs no plugins.
    PluginsNotEnabled = "PLUGINS_NOT_ENABLED", 7106, 501;
    /// This node serves no marketplace, or takes no messages of a payment provider.
    MarketNotEnabled = "MARKET_NOT_ENABLED", 7107, 501;
    /// A read from storage failed.
    StorageError = "STORAGE_ERROR", 8001, 503;
    /// A signer or store the request needs did not answer.
    ServiceUnavailable = "SERVICE_UNAVAILABLE", 8002, 503;
    /// The plugin failed at a question: out of gas, a trap, an answer that is none. It will fail again.
    PluginFailed = "PLUGIN_FAILED", 8101, 502;
    /// A fault of the server.
    InternalError = "INTERNAL_ERROR", 8999, 500;
}

impl ErrorCode {
    /// Whether the same request can succeed later unchanged.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimitExceeded
                | Self::RequestTimeout
                | Self::NotYet
                | Self::ReadOnly
                | Self::Draining
                | Self::Poisoned
                | Self::OutcomeUnknown
                | Self::StorageError
                | Self::ServiceUnavailable
                | Self::InternalError
        )
    }
}

/// The body of every refused request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// The stable name.
    pub code: ErrorCode,
    /// The stable number.
    pub numeric_code: u32,
    /// For people: the field and the rule, never what was sent.
    pub message: String,
    /// More for machines, such as `field`, `rule` or `rung`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Seconds to wait before a retry; also in the header `retry-after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Names this request in the server's log; also in the header `x-request-id`.
    pub request_id: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_numbers_are_unique_and_their_families_fit_the_statuses() {
        let names: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        let numbers: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.numeric_code()).collect();
        assert_eq!((names.len(), numbers.len()), (ErrorCode::ALL.len(), ErrorCode::ALL.len()));
        for &code in ErrorCode::ALL {
            let fits: &[u16] = match code.numeric_code() / 1000 {
                1 => &[401, 403],
                2 => &[429, 408],
                3 => &[400, 413, 415, 422],
                4 => &[404, 405],
                5 => &[409],
                6 => &[400],
                7 => &[501, 503],
                8 => &[500, 502, 503],
                other => panic!("unknown family {other}"),
            };
            assert!(fits.contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn an_error_body_reads_back_as_written() {
        for &code in ErrorCode::ALL {
            let body = ErrorBody {
                error: ErrorDetail {
                    code,
                    numeric_code: code.numeric_code(),
                    message: "m".into(),
                    details: Some(serde_json::json!({"field": "agentId"})),
                    retry_after: Some(1),
                    request_id: "r".into(),
                },
            };
            let text = serde_json::to_string(&body).unwrap();
            assert!(text.contains(code.as_str()));
            assert_eq!(serde_json::from_str::<ErrorBody>(&text).unwrap(), body);
        }
    }
}
