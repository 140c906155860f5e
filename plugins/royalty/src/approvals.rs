//! Approvals: what moves money by somebody's wish is done once enough distinct people have approved it, and once only.
//!
//! Takes `royalty.payout.approved` of payout approvers (what corrections need is counted alike). Neither who asked for
//! the payout nor who is paid approves it; one person counts once; what is older than `approval_s`, or of somebody who
//! is no approver any more, does not count. Refused: `forbidden`, `not_found`, `state` (approved already, or not to be
//! approved), `owes`.

use alloc::string::String;
use alloc::vec::Vec;

use tally_market::codes::{FORBIDDEN, STATE};
use tally_market::{Body, Roles, once};
use tally_plugin::json::{Array, Object};
use tally_plugin::record::{Reader, Writer};
use tally_plugin::{Event, Read, Reject, Step};

use crate::ledger::Ledger;
use crate::mutation::{self, Mutation};
use crate::payout::{self, Stage};
use crate::settings::{self, ROLES, Settings};

/// Who may approve.
pub(crate) const ROLE: &str = "payout_approvers";

/// Who approved, and when by log time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Approvals(Vec<(String, u64)>);

impl Approvals {
    /// One more, once those that do not count any more are gone.
    ///
    /// # Errors
    /// `state`: this person's counts already.
    pub(crate) fn add(
        &mut self,
        roles: &Roles,
        settings: &Settings,
        principal: String,
        event: &Event,
    ) -> Result<(), Reject> {
        let now = event.sequenced_at();
        self.0.retain(|(approver, at)| {
            let fresh = now.saturating_sub(*at) <= settings.approval;
            roles.has(ROLE, approver) && (fresh || mutation::is(Mutation::StaleApprovals))
        });
        let before = self.0.iter().any(|(approver, _)| *approver == principal);
        if before && !mutation::is(Mutation::ApproverCountsTwice) {
            return Err(STATE);
        }
        self.0.push((principal, now));
        Ok(())
    }

    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn encode(&self, row: Writer) -> Writer {
        self.0.iter().fold(row.u64(self.count()), |row, (principal, at)| row.text(principal).u64(*at))
    }

    pub(crate) fn decode(row: &mut Reader<'_>) -> Option<Self> {
        let one = |row: &mut Reader<'_>| Some((row.text()?.into(), row.u64()?));
        (0..row.u64()?).map(|_| one(row)).collect::<Option<_>>().map(Self)
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let one =
            |(principal, at): &(String, u64)| Object::new().text("approver", principal).number("at", *at).finish();
        self.0.iter().fold(Array::new(), |array, approval| array.raw(&one(approval))).finish()
    }
}

/// `royalty.payout.approved`.
pub(crate) fn approve(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["actor", "idempotency_key"])?;
    let state = &mut step.state;
    state.get_many(&[settings::key(), ROLES.key().u64(0)]);
    let (roles, settings) = (Roles::load(state, ROLES), Settings::load(state));
    let principal = roles.principal(event, &body)?;
    roles.require(ROLE, &principal)?;
    let (id, mut payout) = payout::of_event(state, event)?;
    let own = principal == payout.initiator || principal == payout.party;
    if own && !mutation::is(Mutation::InitiatorApproves) {
        return Err(FORBIDDEN);
    }
    if once::begin(state, event, &principal, &body)? != once::Once::First {
        return Ok(());
    }
    let again = payout.state == Stage::Released && mutation::is(Mutation::ReleaseTwice);
    if payout.state != Stage::Requested && !again {
        return Err(STATE);
    }
    payout.approvals.add(&roles, &settings, principal, event)?;
    if payout.approvals.count() >= payout.needed {
        let ledger = Ledger::load(state, &payout.currency, [payout.party.as_str()]);
        payout::check(state, &payout, &ledger)?;
        payout.send(step, &id);
    }
    payout.store(&mut step.state, &id);
    once::leave(&mut step.state, event, &payout::result(&payout, &id));
    Ok(())
}
