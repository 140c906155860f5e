//! `tally anchor ...`: what can be asked about anchors. Parsing only; each lives in `commands/anchor/`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tally_anchor::signer::Address;
use tally_protocol::hash;
use tally_protocol::id::Index;
use tally_verify::TrustedChain;

use super::NodeArgs;

/// `tally anchor`
#[derive(Debug, Args)]
pub struct AnchorArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: AnchorAction,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum AnchorAction {
    /// Make a chain key file, for development.
    Key(KeyArgs),
    /// Deploy the contract on a chain and open this ledger's logs there; running it again goes on where it ended.
    Deploy(DeployArgs),
    /// Make anchors, until a signal: the process that holds the keys of the chains.
    Run(RunArgs),
    /// Say how each chain stands: heads, lag, fees, halts.
    Status(StatusArgs),
    /// Fetch an event's anchors, check them, and ask the chain.
    Verify(VerifyAnchorArgs),
    /// Stop anchoring at the contract (guardian's or admin's key); reading goes on.
    Pause(ChainArgs),
    /// Let anchoring go on (admin's key).
    Resume(ChainArgs),
    /// Add or remove an authority or an anchorer of both logs (admin's key): the overlap of a rotation.
    Role(RoleArgs),
    /// Let a worker that halted go on, after you have found out why it did.
    ClearHalt(ChainArgs),
    /// Hold the chain's transactions against the record of the keys' uses; whatever nobody recorded is named.
    Uses(ChainArgs),
}

impl AnchorAction {
    /// Whether scripts read the result.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        match self {
            Self::Key(args) => args.json,
            Self::Deploy(args) => args.at.json,
            Self::Run(args) => args.json,
            Self::Status(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Pause(args) | Self::Resume(args) | Self::ClearHalt(args) | Self::Uses(args) => args.json,
            Self::Role(args) => args.at.json,
        }
    }
}

/// A file and a chain in it.
#[derive(Debug, Clone, Args)]
pub struct ChainArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "anchor.toml", env = "TALLY_ANCHOR_CONFIG")]
    pub config: PathBuf,
    /// The chain, by its name there.
    #[arg(long, value_name = "NAME")]
    pub chain: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally anchor key`
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The new file (mode 0600); an existing one is left alone.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally anchor deploy`
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// Which chain.
    #[command(flatten)]
    pub at: ChainArgs,
    /// Who is to be admin in the end, if not the key `admin` that deploys; it has to accept.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    pub admin: Option<Address>,
    /// Who may pause. Default: the key `guardian`, or nobody but the admin.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    pub guardian: Option<Address>,
    /// Hours between the proposal of a supersession and its effect.
    #[arg(long, value_name = "HOURS", default_value_t = 72)]
    pub delay_hours: u64,
    /// Do not check consistency proofs on this chain: cheaper, and an anchor then proves no more than a time.
    #[arg(long)]
    pub without_consistency: bool,
    /// Tells deployments with the same arguments apart.
    #[arg(long, default_value_t = 0)]
    pub salt: u64,
}

/// `tally anchor run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "anchor.toml", env = "TALLY_ANCHOR_CONFIG")]
    pub config: PathBuf,
    /// Check configuration, keys and chains, then stop.
    #[arg(long)]
    pub check: bool,
    /// Print one `ready` object as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally anchor status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = "anchor.toml", env = "TALLY_ANCHOR_CONFIG")]
    pub config: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally anchor verify`
#[derive(Debug, Args)]
pub struct VerifyAnchorArgs {
    /// Position of the event in the log.
    #[arg(value_parser = super::parse_index)]
    pub index: Index,
    /// The node that gives event and proofs.
    #[command(flatten)]
    pub node: NodeArgs,
    /// A chain you know, as `ID:CONTRACT:AUTHORITY[,AUTHORITY..]`.
    #[arg(long = "chain", value_name = "CHAIN", value_parser = parse_chain)]
    pub chains: Vec<TrustedChain>,
    /// JSON-RPC endpoint of a chain.
    #[arg(long, value_name = "URL")]
    pub rpc: Vec<String>,
    /// Keep the bundle in this new file.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `tally anchor role`
#[derive(Debug, Args)]
pub struct RoleArgs {
    /// Which chain.
    #[command(flatten)]
    pub at: ChainArgs,
    /// Which role.
    #[arg(long, value_enum)]
    pub role: Role,
    /// Give it.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address, conflicts_with = "remove", required_unless_present = "remove")]
    pub add: Option<Address>,
    /// Take it.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    pub remove: Option<Address>,
}

/// A role of the contract that belongs to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Speaks for the log.
    Authority,
    /// Sends anchors and pays.
    Anchorer,
}

/// An address, `0x` and 40 hexadecimal digits.
///
/// # Errors
/// It is none.
pub fn parse_address(text: &str) -> Result<Address, String> {
    Address::parse(text).ok_or_else(|| "an address is 0x and 40 hexadecimal digits".to_owned())
}

/// `ID:CONTRACT:AUTHORITY[,AUTHORITY..]`
///
/// # Errors
/// It is none.
pub fn parse_chain(text: &str) -> Result<TrustedChain, String> {
    let wrong = || "a chain is given as ID:CONTRACT:AUTHORITY[,AUTHORITY..]".to_owned();
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().ok_or_else(wrong);
    let (id, contract, authorities) = (part()?, part()?, part()?);
    let address = |text: &str| parse_address(text).map(|address| hash::Address::from_bytes(address.0));
    Ok(TrustedChain {
        chain_id: id.parse().map_err(|_| wrong())?,
        contract: address(contract)?,
        authorities: authorities.split(',').map(address).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_given_with_contract_and_authorities() {
        let (one, two) = (format!("0x{}", "11".repeat(20)), format!("0x{}", "22".repeat(20)));
        let chain = parse_chain(&format!("8453:{one}:{two},{one}")).unwrap();
        assert_eq!((chain.chain_id, chain.authorities.len()), (8453, 2));
        for wrong in ["8453", "8453:0x11", &format!("x:{one}:{two}"), &format!("1:{one}:"), &format!("1:{one}")] {
            assert!(parse_chain(wrong).is_err(), "{wrong}");
        }
    }
}
