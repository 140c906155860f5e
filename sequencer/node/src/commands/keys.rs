//! `tally keys`: agents' signing keys, through the node's calls. Each change is a signed event in the log.
//!
//! Takes an agent and what to do; gives the keys or the change's place in the log. The node signs the change, so it
//! must hold the root key of the tenant (or the ledger's, for tenants that the operator manages).

use tally_api::agent_key::{AgentKey, KeyChanged, RegisterKeyRequest, RevokeKeyRequest, RotateKeyRequest};
use tally_client::Client;
use tally_protocol::id::{AgentId, TenantId};

use crate::cli::{AgentArgs, KeysAction, KeysArgs};
use crate::commands;
use crate::connect::{self, Caller};
use crate::exit::Failure;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// The node does not answer or refuses.
pub fn run(args: &KeysArgs) -> Result<(), Failure> {
    commands::runtime()?.block_on(act(&args.action))
}

/// A client, and whose keys.
struct Subject {
    client: Client,
    tenant: TenantId,
    agent: AgentId,
    output: Output,
}

impl Subject {
    fn of(args: &AgentArgs, caller: Caller) -> Result<Self, Failure> {
        let profile = connect::profile(&args.node)?;
        let client = connect::client(&args.node, profile.as_ref(), caller)?;
        let tenant = args.tenant.or_else(|| profile.as_ref().map(|profile| profile.tenant_id));
        let agent = args.agent.or_else(|| profile.as_ref().map(|profile| profile.agent_id));
        match (tenant, agent) {
            (Some(tenant), Some(agent)) => Ok(Self { client, tenant, agent, output: Output::new(args.json) }),
            _ => Err(Failure::usage("name the agent: --tenant and --agent")),
        }
    }
}

async fn act(action: &KeysAction) -> Result<(), Failure> {
    match action {
        KeysAction::List(args) => {
            let node = &args.agent.node;
            let Subject { client, tenant, agent, output } = Subject::of(&args.agent, Caller::Agent)?;
            let keys = connect::within(node, client.agent_keys(tenant, agent)).await?;
            output.result(&keys, || keys.keys.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        KeysAction::Register(args) => {
            let node = &args.agent.node;
            let Subject { client, tenant, agent, output } = Subject::of(&args.agent, Caller::Operator)?;
            let request = RegisterKeyRequest {
                tenant_id: tenant,
                agent_id: agent,
                key_id: None,
                public_key: args.public_key.to_hex(),
                valid_from: args.valid_from.clone(),
                valid_to: args.valid_to.clone(),
                key_algorithm: None,
            };
            tell(output, &connect::within(node, client.register_key(&request)).await?)
        }
        KeysAction::Rotate(args) => {
            let node = &args.agent.node;
            let Subject { client, tenant, agent, output } = Subject::of(&args.agent, Caller::Operator)?;
            let request = RotateKeyRequest {
                tenant_id: tenant,
                agent_id: agent,
                public_key: args.public_key.to_hex(),
                previous_valid_to: args.previous_valid_to.clone(),
                valid_to: args.valid_to.clone(),
            };
            tell(output, &connect::within(node, client.rotate_key(&request)).await?)
        }
        KeysAction::Revoke(args) => {
            let node = &args.agent.node;
            let Subject { client, tenant, agent, output } = Subject::of(&args.agent, Caller::Operator)?;
            let (key_id, reason) = (args.key_id, args.reason.clone());
            let request = RevokeKeyRequest { tenant_id: tenant, agent_id: agent, key_id, reason };
            tell(output, &connect::within(node, client.revoke_key(&request)).await?)
        }
    }
}

fn tell(output: Output, changed: &KeyChanged) -> Result<(), Failure> {
    output.result(changed, || {
        let place = changed.log_index.map_or_else(String::new, |index| format!(" (log index {index})"));
        format!("agent {} key {}: {}{place}", changed.agent_id, changed.key_id, changed.message)
    })
}

fn line(key: &AgentKey) -> String {
    let mut line = format!("key {}  {:?}  {}  from {}", key.key_id, key.status, key.public_key, key.valid_from);
    if let Some(end) = key.valid_to {
        line.push_str(&format!(" to {end}"));
    }
    if let Some(at) = key.revoked_at {
        line.push_str(&format!(", revoked at {at}"));
    }
    line
}
