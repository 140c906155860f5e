//! `tally types`: which entity types a store takes, through the node's calls. Each change is a signed event in the log.
//!
//! Takes a store and what to do; gives its list or the change's place in the log. The node signs the change, so it must
//! hold the root key of the tenant (or the ledger's, for tenants that the operator manages).

use tally_api::entity_types::{EntityTypes, EntityTypesChanged, SetEntityTypes};
use tally_client::Client;
use tally_protocol::id::Stream;

use crate::cli::{StoreArgs, TypesAction, TypesArgs};
use crate::commands;
use crate::connect::{self, Caller};
use crate::exit::Failure;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// The node does not answer or refuses.
pub fn run(args: &TypesArgs) -> Result<(), Failure> {
    commands::runtime()?.block_on(act(&args.action))
}

/// A client, and which store.
struct Subject {
    client: Client,
    stream: Stream,
    output: Output,
}

impl Subject {
    fn of(args: &StoreArgs, caller: Caller) -> Result<Self, Failure> {
        let profile = connect::profile(&args.node)?;
        let client = connect::client(&args.node, profile.as_ref(), caller)?;
        let tenant = args.tenant.or_else(|| profile.as_ref().map(|profile| profile.tenant_id));
        let store = args.store.or_else(|| profile.as_ref().map(|profile| profile.store_id));
        match (tenant, store) {
            (Some(tenant), Some(store)) => {
                Ok(Self { client, stream: Stream::new(tenant, store), output: Output::new(args.json) })
            }
            _ => Err(Failure::usage("name the store: --tenant and --store")),
        }
    }
}

async fn act(action: &TypesAction) -> Result<(), Failure> {
    match action {
        TypesAction::Show(args) => {
            let Subject { client, stream, output } = Subject::of(args, Caller::Agent)?;
            let types = connect::within(&args.node, client.entity_types(stream)).await?;
            output.result(&types, || shown(&types))
        }
        TypesAction::Set(args) => {
            let Subject { client, stream, output } = Subject::of(&args.store, Caller::Operator)?;
            let list = SetEntityTypes { entity_types: args.types.clone() };
            tell(output, &connect::within(&args.store.node, client.set_entity_types(stream, &list)).await?)
        }
        TypesAction::Lift(args) => {
            let Subject { client, stream, output } = Subject::of(args, Caller::Operator)?;
            tell(output, &connect::within(&args.node, client.lift_entity_types(stream)).await?)
        }
    }
}

fn tell(output: Output, changed: &EntityTypesChanged) -> Result<(), Failure> {
    output.result(changed, || {
        let takes = takes(changed.entity_types.as_deref());
        format!("store {} takes {takes} (log index {})", changed.store_id, changed.log_index)
    })
}

fn shown(types: &EntityTypes) -> String {
    let since = types.set_index.map_or_else(String::new, |index| format!(" (log index {index})"));
    let mut text = format!("store {} takes {}{since}", types.store_id, takes(types.entity_types.as_deref()));
    for brought in &types.plugins {
        text.push_str(&format!("\n  {}, which {} brings", brought.entity_type, brought.plugin));
    }
    text
}

fn takes(list: Option<&[String]>) -> String {
    match list {
        None => "every entity type".to_owned(),
        Some([]) => "no entity type but what plugins bring".to_owned(),
        Some(list) => list.join(", "),
    }
}
