//! Whether an effect was done, asked of the provider; nothing here changes anything there.
//!
//! Refunds are listed by payment, transfers by their group, a cancelled payment is fetched. Payments and payouts have no
//! list of their own by metadata that is up to date, so the newest are read page by page; of payments until what remains is
//! old enough for the provider's search to know it. What the pages do not reach and no search knows stays unknown: never "not done" by guess.
//! Trouble on the way is [`Failure::Unknown`], because asking has told nothing about the effect.

use std::time::Duration;

use serde_json::Value;
use tally_protocol::time::LogTime;

use super::fact::text;
use super::operation::Operation;
use super::{Payment, PayoutBy, answer};
use crate::https::Reply;
use crate::{Answer, Failure, Request};

/// What the provider gives in one page at most.
const PAGE: &str = "100";

/// The end of reading a list.
enum Read {
    Found(Answer),
    /// Everything that the list has was read.
    Nothing,
    /// The rest is older than the search's lag.
    OldRest,
}

/// One page of a list or a search.
struct Page {
    objects: Vec<Value>,
    more: bool,
    date: Option<LogTime>,
}

pub(super) async fn look_up(payment: &Payment, request: &Request) -> Result<Option<Answer>, Failure> {
    let operation = Operation::of(request)?;
    let looking = Looking { payment, operation: &operation, request };
    match &operation {
        Operation::Pay { .. } => looking.pay().await,
        Operation::Refund { payment: of, .. } => looking.all(&["v1", "refunds"], &[("payment_intent", of)]).await,
        Operation::Transfer { payout, .. } => {
            let by = payment.config.payout_by;
            // Payouts can be listed by nothing that names ours, so all are read up to the bound.
            let group: &[(&str, &str)] = if by == PayoutBy::Transfer { &[("transfer_group", payout)] } else { &[] };
            looking.all(&by.path(), group).await
        }
        Operation::Cancel { payment: of, .. } => looking.one(of).await,
    }
}

struct Looking<'a> {
    payment: &'a Payment,
    operation: &'a Operation,
    request: &'a Request,
}

impl Looking<'_> {
    async fn pay(&self) -> Result<Option<Answer>, Failure> {
        match self.list(&["v1", "payment_intents"], &[], self.payment.config.search).await? {
            Read::Found(answer) => Ok(Some(answer)),
            Read::Nothing => Ok(None),
            Read::OldRest => {
                let query = format!("metadata['effect']:'{}'", self.request.id);
                let page =
                    self.page(&["v1", "payment_intents", "search"], &[("query", &query), ("limit", PAGE)]).await?;
                self.found(&page.ok_or_else(|| unknown("the provider has no search"))?.objects)
            }
        }
    }

    async fn all(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<Answer>, Failure> {
        match self.list(path, query, false).await? {
            Read::Found(answer) => Ok(Some(answer)),
            Read::Nothing | Read::OldRest => Ok(None),
        }
    }

    async fn one(&self, id: &str) -> Result<Option<Answer>, Failure> {
        let reply = self.payment.get(&["v1", "payment_intents", id], &[]).await.map_err(|_| unreachable())?;
        match readable(&reply)? {
            None => Ok(None),
            Some((intent, _)) => self.found(&[intent]),
        }
    }

    /// Reads a list to its end, to its bound, or, where `search` will know the rest, to what is old.
    async fn list(&self, path: &[&str], query: &[(&str, &str)], search: bool) -> Result<Read, Failure> {
        let mut after = String::new();
        for _ in 0..self.payment.config.pages_max {
            let mut query = query.to_vec();
            query.push(("limit", PAGE));
            if !after.is_empty() {
                query.push(("starting_after", &after));
            }
            let Some(page) = self.page(path, &query).await? else { return Ok(Read::Nothing) };
            if let Some(answer) = self.found(&page.objects)? {
                return Ok(Read::Found(answer));
            }
            if !page.more {
                return Ok(Read::Nothing);
            }
            if search && self.is_old(&page) {
                return Ok(Read::OldRest);
            }
            after = page.objects.last().and_then(|last| text(last, "id")).unwrap_or_default().to_owned();
            if after.is_empty() {
                return Err(unknown("a list that goes on and has nothing in it"));
            }
        }
        Err(unknown("not among the newest objects, and nobody can search further back"))
    }

    /// Whether everything behind this page, newest first, is older than the search lags, by the provider's own clock.
    fn is_old(&self, page: &Page) -> bool {
        let created =
            |object: &Value| Some(LogTime::from_micros(object.get("created")?.as_u64()?.checked_mul(1_000_000)?));
        let lag = Duration::from_secs(self.payment.config.search_lag_s);
        let (Some(now), Some(oldest)) = (page.date, page.objects.last().and_then(created)) else { return false };
        now.since(oldest) > lag
    }

    /// The answer, if one of these objects is this effect's.
    fn found(&self, objects: &[Value]) -> Result<Option<Answer>, Failure> {
        let reader = self.payment.reader();
        for object in objects {
            if let Some(answer) = answer::of_object(object, self.operation, &self.request.id, &reader)? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    async fn page(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Option<Page>, Failure> {
        let reply = self.payment.get(path, query).await.map_err(|_| unreachable())?;
        let Some((mut list, date)) = readable(&reply)? else { return Ok(None) };
        let more = list.get("has_more").and_then(Value::as_bool).ok_or_else(|| unknown("an answer that is no list"))?;
        match list.get_mut("data").map(Value::take) {
            Some(Value::Array(objects)) => Ok(Some(Page { objects, more, date })),
            _ => Err(unknown("an answer that is no list")),
        }
    }
}

/// The reply's JSON; nothing where the provider says that it has no such object.
fn readable(reply: &Reply) -> Result<Option<(Value, Option<LogTime>)>, Failure> {
    let json = || serde_json::from_slice::<Value>(&reply.body).map_err(|_| unknown("an answer that is no JSON"));
    match reply.status {
        200..=299 => Ok(Some((json()?, reply.date))),
        401 | 403 => Err(Failure::Impossible("the provider refuses the credentials".to_owned())),
        404 => {
            let error = json()?;
            let kind = error.get("error").and_then(|error| text(error, "type"));
            if kind == Some("invalid_request_error") { Ok(None) } else { Err(unknown("the provider answers 404")) }
        }
        status => Err(unknown(&format!("the provider answers {status}"))),
    }
}

fn unreachable() -> Failure {
    unknown("the provider cannot be asked")
}

fn unknown(why: &str) -> Failure {
    Failure::Unknown(why.to_owned())
}
