//! Anchors over HTTP: what the port says, to whom it may be said, and the feed's lines about them.

use std::sync::Arc;

use crate::common::{Setup, TestServer, scope};
use crate::feed::Lines;
use chains::Chains;
use tally_api::anchor::{AnchorLevel, AnchorStatus, EventAnchors};
use tally_api::api_key::Role;

mod chains {
    //! The chains of a test, in its hands.

    use std::sync::Mutex;

    use tally_api::anchor::{AnchorLevel, AnchorPolicy, AnchorProof, AnchorStatus};
    use tally_gateway::{AnchorPort, AnchorPortError, SeenHead};
    use tally_protocol::hash::TransactionHash;
    use tally_protocol::id::{Index, TreeSize};
    use tokio::sync::watch;

    pub(super) struct Chains {
        heads: watch::Sender<Vec<SeenHead>>,
        pub(super) down: Mutex<bool>,
    }

    impl Chains {
        pub(super) fn new() -> Self {
            Self { heads: watch::Sender::default(), down: Mutex::default() }
        }

        pub(super) fn show(&self, level: AnchorLevel, size: u64, seq: u64) {
            let transaction = TransactionHash::from_bytes([u8::try_from(seq).unwrap(); 32]);
            let head = SeenHead { chain_id: 31_337, level, size: TreeSize::new(size), seq, transaction };
            self.heads.send_modify(|heads| {
                heads.retain(|known| known.level != level);
                heads.push(head);
            });
        }
    }

    impl AnchorPort for Chains {
        fn status(&self) -> AnchorStatus {
            let policy = AnchorPolicy { k: 1, n: 1, level: AnchorLevel::Finalized };
            AnchorStatus { policy, anchored: TreeSize::new(1), chains: Vec::new() }
        }

        fn proofs(&self, _: Index) -> Result<Vec<AnchorProof>, AnchorPortError> {
            if *self.down.lock().unwrap() {
                return Err(AnchorPortError::Unavailable("no provider answers".to_owned()));
            }
            Ok(Vec::new())
        }

        fn subscribe(&self) -> watch::Receiver<Vec<SeenHead>> {
            self.heads.subscribe()
        }

        fn metrics(&self) -> String {
            "# TYPE tally_anchor_lag_events gauge\ntally_anchor_lag_events{chain=\"x\"} 7\n".to_owned()
        }
    }
}

async fn server() -> (TestServer, Arc<Chains>) {
    let chains = Arc::new(Chains::new());
    let mut setup = Setup::new();
    setup.anchors = Some(Arc::clone(&chains) as _);
    (setup.start().await, chains)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_watches_no_chain_says_that_there_is_none() {
    let server = TestServer::new().await;
    let key = server.operator();
    let answer = server.get(&key, "/v1/anchors").await;
    let status: AnchorStatus = serde_json::from_value(answer.json).unwrap();
    assert_eq!((status.policy.n, status.chains.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_s_anchors_follow_the_rule_of_events_and_say_when_no_chain_answers() {
    let (server, chains) = server().await;
    let key = server.operator();
    let index = server.submit_ok(&key, &server.event("{}")).await;
    let path = format!("/v1/events/{index}/anchor");
    let answer = server.get(&key, &path).await;
    let told: EventAnchors = serde_json::from_value(answer.json).unwrap();
    assert_eq!((told.index.get(), told.anchors.len()), (index, 0));
    let neighbour = server.key(scope(Some(server.tenants[1].id), None, None, &[Role::Reader]));
    assert_eq!(server.get(&neighbour, &path).await.status, 404, "as for the event itself");
    *chains.down.lock().unwrap() = true;
    let answer = server.get(&key, &path).await;
    assert_eq!((answer.status.as_u16(), answer.error()), (503, "SERVICE_UNAVAILABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_asks_for_them_is_told_of_every_head_and_others_are_not() {
    let (server, chains) = server().await;
    let key = server.operator();
    chains.show(AnchorLevel::Latest, 5, 1);
    let mut asked = Lines::open(&server, &key, "?from=now&anchors=true").await;
    let mut other = Lines::open(&server, &key, "?from=now").await;
    let first = asked.next().await.unwrap();
    assert_eq!((&first["type"], &first["size"], &first["level"]), (&"anchored".into(), &5.into(), &"latest".into()));
    chains.show(AnchorLevel::Finalized, 5, 1);
    let second = asked.next().await.unwrap();
    assert_eq!((&second["level"], &second["seq"]), (&"finalized".into(), &1.into()), "and not the first one again");
    // An event goes to both, and is the first line that the other sees.
    let index = server.submit_ok(&key, &server.event("{}")).await;
    assert_eq!(asked.next().await.unwrap()["record"]["index"], index);
    assert_eq!(other.next().await.unwrap()["record"]["index"], index);
    let wrong = server.get(&key, "/v1/feed?anchors=yes").await;
    assert_eq!((wrong.status.as_u16(), wrong.error()), (400, "INVALID_FIELD_VALUE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_of_the_chains_are_beside_the_node_s() {
    let (server, _) = server().await;
    let text = String::from_utf8(server.get(&server.operator(), "/metrics").await.bytes).unwrap();
    assert!(text.contains("tally_anchor_lag_events{chain=\"x\"} 7") && text.contains("tally_ladder_size"), "{text}");
}
