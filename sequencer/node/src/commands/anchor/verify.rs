//! Asking chains about a bundle's anchors: whether they have the transactions, and whether their contracts know the heads.
//!
//! Takes a bundle that verified offline and endpoints; an endpoint is asked about anchors of the chain that it is of. Gives
//! a line for each anchor; fails if an anchor's chain is not among the endpoints, or says otherwise.

use serde_json::json;
use tally_anchor::chain::{Chain as _, Hash32};
use tally_anchor::config::{ChainConfig, Provider};
use tally_anchor::ethereum::Ethereum;
use tally_anchor::ethereum::standing::{Claimed, Standing};
use tally_anchor::signer::Address;
use tally_protocol::anchor::AnchorCall;
use tally_protocol::anchor::transaction::SignedTransaction;
use tally_verify::{Bundle, BundleAnchor};

use crate::cli::anchor::VerifyAnchorArgs;
use crate::connect::{self, Caller};
use crate::exit::Failure;
use crate::output::Output;

/// An answer about one anchor, for people.
pub struct OnChain {
    /// Whether the chain bears the anchor out.
    pub holds: bool,
    /// What it said.
    pub said: String,
}

/// Asks every endpoint; one answer for each anchor of the bundle, which must have verified offline.
///
/// # Errors
/// An endpoint does not answer or is none.
pub async fn ask_chains(bundle: &Bundle, rpc: &[String]) -> Result<Vec<OnChain>, Failure> {
    let mut chains = Vec::new();
    for (at, url) in rpc.iter().enumerate() {
        let provider = Provider { name: format!("--rpc {}", at + 1), url: url.clone() };
        let found = reading(0, Address([0; 20]), &provider)?.identity().await.map_err(failed)?;
        chains.push((found.chain_id, provider));
    }
    let mut answers = Vec::new();
    for anchor in &bundle.anchors {
        let asked = chains.iter().find(|(id, _)| *id == anchor.chain_id);
        answers.push(match asked {
            Some((_, provider)) => ask(provider, anchor).await?,
            None => OnChain { holds: false, said: format!("no endpoint of chain {} was given", anchor.chain_id) },
        });
    }
    Ok(answers)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::failed(error.to_string())
}

fn reading(chain_id: u64, contract: Address, provider: &Provider) -> Result<Ethereum, Failure> {
    let config = ChainConfig::reading("asked", chain_id, contract, vec![provider.clone()]);
    Ethereum::unchecked(&config).map_err(|error| Failure::usage(error.to_string()))
}

async fn ask(provider: &Provider, anchor: &BundleAnchor) -> Result<OnChain, Failure> {
    let signed = SignedTransaction::decode(&anchor.transaction).map_err(failed)?;
    let call = AnchorCall::decode(&signed.transaction.data).map_err(failed)?;
    let part = call.anchors().iter().find(|part| part.log_id == anchor.event.log_id);
    let part = part.ok_or_else(|| Failure::invalid("the transaction does not move the log of the event"))?;
    let claimed = Claimed {
        tx: Hash32(*signed.hash().as_bytes()),
        log_id: part.log_id,
        seq: anchor.event.seq,
        size: part.size,
        root: part.root,
        question: &anchor.event.call,
    };
    let asked = reading(anchor.chain_id, Address(*anchor.contract.as_bytes()), provider)?;
    let (standing, block) = asked.standing(&claimed).await.map_err(failed)?;
    Ok(OnChain { holds: standing.holds(), said: said(anchor.chain_id, &claimed, standing, block) })
}

fn said(chain: u64, claimed: &Claimed<'_>, standing: Standing, block: Option<u64>) -> String {
    let (name, seq) = (claimed.tx, claimed.seq);
    let found = block.map_or_else(
        || format!("chain {chain} does not have transaction {name}"),
        |block| format!("chain {chain} has transaction {name} in block {block}"),
    );
    let more = match standing {
        Standing::Missing => return found,
        Standing::Borne => "its contract says that the event is under the head".to_owned(),
        Standing::Forgotten { newest } => {
            format!("it made anchor {seq}, which the contract, at anchor {newest}, remembers no more")
        }
        Standing::Disowned { end } => format!("its contract has disowned what came after anchor {end}"),
        Standing::Reverted => "it failed".to_owned(),
        Standing::Other => format!("it did not make anchor {seq} of this log, size and root"),
        Standing::Denied => "its contract says that the event is not under that head".to_owned(),
    };
    format!("{found}, and {more}")
}

/// `tally anchor verify`
pub(super) async fn run(args: &VerifyAnchorArgs) -> Result<(), Failure> {
    let profile = connect::profile(&args.node)?;
    let client = connect::client(&args.node, profile.as_ref(), Caller::Agent)?;
    let bundle = connect::within(&args.node, client.anchored_bundle(args.index, &args.chains)).await?;
    if bundle.anchors.is_empty() {
        return Err(Failure::failed(format!("no chain holds event {} yet", args.index)));
    }
    if let Some(file) = &args.out {
        let mut new = std::fs::File::create_new(file).map_err(|error| Failure::file("create", file, &error))?;
        std::io::Write::write_all(&mut new, &bundle.encode()).map_err(|error| Failure::file("write", file, &error))?;
    }
    let answers = if args.rpc.is_empty() { Vec::new() } else { ask_chains(&bundle, &args.rpc).await? };
    let lines: Vec<&str> = answers.iter().map(|answer| answer.said.as_str()).collect();
    let value = json!({
        "index": args.index.get(), "verified": answers.iter().all(|answer| answer.holds),
        "anchors": bundle.anchors.len(), "asked": lines,
    });
    Output::new(args.json).result(&value, || {
        let offline = format!("event {}: {} anchors verify offline", args.index, bundle.anchors.len());
        std::iter::once(offline.as_str()).chain(lines.iter().copied()).collect::<Vec<_>>().join("\n")
    })?;
    match answers.iter().find(|answer| !answer.holds) {
        Some(answer) => Err(Failure::invalid(answer.said.clone())),
        None => Ok(()),
    }
}
