//! Wrong chain, wrong contract, wrong configuration: refused at start (S-145).

use tally_anchor::chain::Hash32;
use tally_anchor::error::{AnchorError, Class};
use tally_anchor::signer::{Address, Signer as _};
use tokio::sync::watch;

use crate::anvil::Anvil;
use crate::world::World;

async fn refused(world: &World) -> AnchorError {
    let (_keep, stop) = watch::channel(false);
    let error = world.worker().run(stop).await.unwrap_err();
    assert_eq!(error.class(), Class::Reject);
    assert_eq!(world.anvil.nonce(world.gas_key.address()).await, 0);
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_behind_the_url_is_refused_at_start() {
    let mut world = World::new().await;
    let other = Anvil::start(99_999, &[]).await;
    world.log.grow(1, 0);
    world.config.providers[0].url = other.url.clone();
    assert!(matches!(refused(&world).await, AnchorError::WrongChain { expected: 84_532_001, found: 99_999 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_the_contract_is_refused_at_start() {
    let mut world = World::new().await;
    world.log.grow(1, 0);
    let contract = world.config.contract;
    world.config.contract = Address([0xee; 20]);
    assert!(matches!(refused(&world).await, AnchorError::WrongContract));
    // Another contract's code.
    world.folder = tempfile::tempdir().unwrap();
    (world.config.contract, world.config.code_hash) = (contract, Hash32([1; 32]));
    assert!(matches!(refused(&world).await, AnchorError::WrongContract));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_provider_is_believed_about_finality_only_where_that_is_said() {
    let mut world = World::new().await;
    world.config.trust_one_provider = false;
    assert!(matches!(world.config.check(), Err(AnchorError::Config(_))));
    let json = serde_json::to_string(&world.config).unwrap();
    assert!(serde_json::from_str::<tally_anchor::config::ChainConfig>(&json).is_ok());
    let unknown = json.replacen('{', "{\"private_key\":\"0x01\",", 1);
    assert!(serde_json::from_str::<tally_anchor::config::ChainConfig>(&unknown).is_err(), "unknown keys are refused");
}
