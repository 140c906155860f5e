//! Approvals: a payout is asked of the provider once enough distinct people have approved it, and once only.
//!
//! Takes `royalty.payout.approved` of payout approvers. Neither who asked for the payout nor who is paid approves it; one
//! person counts once; what is older than `approval_s`, or of somebody who is no approver any more, does not count. Refused:
//! `forbidden`, `not_found`, `state` (approved already, or not to be approved), `owes`.

use alloc::string::String;

use tally_market::codes::{FORBIDDEN, STATE};
use tally_market::{Body, Roles, once};
use tally_plugin::{Event, Read, Reject, Step};

use crate::ledger::Ledger;
use crate::mutation::{self, Mutation};
use crate::payout::{self, Payout, Stage};
use crate::settings::{self, ROLES, Settings};

/// `royalty.payout.approved`.
pub(crate) fn approve(step: &mut Step, event: &Event) -> Result<(), Reject> {
    let body = Body::of(event, &["actor", "idempotency_key"])?;
    let state = &mut step.state;
    state.get_many(&[settings::key(), ROLES.key().u64(0)]);
    let (roles, settings) = (Roles::load(state, ROLES), Settings::load(state));
    let principal = roles.principal(event, &body)?;
    roles.require("payout_approvers", &principal)?;
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
    let counts = |approval: &(String, u64)| {
        let fresh = event.sequenced_at().saturating_sub(approval.1) <= settings.approval;
        roles.has("payout_approvers", &approval.0) && (fresh || mutation::is(Mutation::StaleApprovals))
    };
    payout.approvals.retain(counts);
    let before = payout.approvals.iter().any(|(approver, _)| *approver == principal);
    if before && !mutation::is(Mutation::ApproverCountsTwice) {
        return Err(STATE);
    }
    payout.approvals.push((principal, event.sequenced_at()));
    if is_enough(&payout) {
        let ledger = Ledger::load(state, &payout.currency, [payout.party.as_str()]);
        payout::check(state, &payout, &ledger)?;
        payout.send(step, &id);
    }
    payout.store(&mut step.state, &id);
    once::leave(&mut step.state, event, &payout::result(&payout, &id));
    Ok(())
}

fn is_enough(payout: &Payout) -> bool {
    u64::try_from(payout.approvals.len()).is_ok_and(|count| count >= payout.needed)
}
