//! The floors: which crate of this workspace may depend on which (ARCHITECTURE.md, "Floors").
//!
//! Takes every Cargo.toml; normal dependencies count, dev-dependencies do not (a test may look from above, except
//! that nothing looks at the sides). A crate without a row is a finding too: a new crate picks its floor first.

use super::Finding;
use crate::manifest::Kind;
use crate::tree::Tree;

/// A crate, its folder, and the crates of this workspace it may depend on.
struct Floor {
    package: &'static str,
    folder: &'static str,
    may_use: &'static [&'static str],
}

const FLOORS: &[Floor] = &[
    // floor 0
    Floor { package: "tally-protocol", folder: "sdk/protocol", may_use: &[] },
    // floor 1: siblings never meet
    Floor { package: "tally-merkle", folder: "sdk/merkle", may_use: &["tally-protocol"] },
    Floor { package: "tally-storage", folder: "storage", may_use: &["tally-protocol"] },
    Floor { package: "tally-api", folder: "sdk/api", may_use: &["tally-protocol"] },
    // the guest side: a plugin is built against this and nothing else
    Floor { package: "tally-plugin", folder: "sdk/plugin", may_use: &[] },
    // floor 2
    Floor { package: "tally-verify", folder: "sdk/verify", may_use: &["tally-protocol", "tally-merkle"] },
    Floor { package: "tally-plugin-host", folder: "plugins/host", may_use: &["tally-protocol", "tally-merkle"] },
    Floor { package: "tally-anchor", folder: "anchor", may_use: &["tally-protocol", "tally-merkle"] },
    Floor { package: "tally-connectors", folder: "plugins/connectors", may_use: &["tally-protocol"] },
    // floor 3, without the network: above the host, below the node
    Floor {
        package: "tally-plugin-author",
        folder: "plugins/author",
        may_use: &["tally-protocol", "tally-merkle", "tally-plugin-host"],
    },
    Floor {
        package: "tally-core",
        folder: "sequencer/core",
        may_use: &["tally-protocol", "tally-merkle", "tally-storage"],
    },
    // floor 3
    Floor {
        package: "tally-gateway",
        folder: "sequencer/gateway",
        may_use: &["tally-protocol", "tally-merkle", "tally-api", "tally-core", "tally-verify"],
    },
    Floor { package: "tally-client", folder: "sdk/client", may_use: &["tally-protocol", "tally-api", "tally-verify"] },
    // floor 4
    Floor {
        package: "tally",
        folder: "sequencer/node",
        may_use: &[
            "tally-protocol",
            "tally-merkle",
            "tally-plugin-host",
            "tally-storage",
            "tally-anchor",
            "tally-connectors",
            "tally-api",
            "tally-verify",
            "tally-core",
            "tally-gateway",
            "tally-client",
            "tally-plugin-author",
        ],
    },
    // guests: modules, which no crate but tests may see
    Floor { package: "tally-counter", folder: "plugins/counter", may_use: &["tally-plugin"] },
    Floor { package: "tally-registry", folder: "plugins/registry", may_use: &["tally-plugin"] },
    // what the guests of a marketplace share
    Floor { package: "tally-market", folder: "plugins/market", may_use: &["tally-plugin"] },
    Floor { package: "tally-catalog", folder: "plugins/catalog", may_use: &["tally-plugin", "tally-market"] },
    Floor { package: "tally-checkout", folder: "plugins/checkout", may_use: &["tally-plugin", "tally-market"] },
    Floor { package: "tally-royalty", folder: "plugins/royalty", may_use: &["tally-plugin", "tally-market"] },
    // sides: nothing but tests depends on them
    Floor { package: "tally-plugin-check", folder: "sdk/plugin/check", may_use: &["tally-plugin"] },
    // its auditor is tally-verify's
    Floor {
        package: "tally-testkit",
        folder: "sdk/testkit",
        may_use: &["tally-protocol", "tally-merkle", "tally-verify"],
    },
    Floor {
        package: "tally-bench",
        folder: "bench",
        may_use: &[
            "tally-protocol",
            "tally-merkle",
            "tally-storage",
            "tally-api",
            "tally-verify",
            "tally-core",
            "tally-client",
        ],
    },
    Floor {
        package: "tally-fuzz",
        folder: "fuzz",
        may_use: &["tally-protocol", "tally-merkle", "tally-api", "tally-verify", "tally-testkit"],
    },
    Floor {
        package: "tally-sim",
        folder: "fuzz/sim",
        may_use: &["tally-protocol", "tally-merkle", "tally-storage", "tally-core", "tally-testkit"],
    },
    // drives the real binary from outside, then reads what it stored
    Floor {
        package: "tally-crash",
        folder: "fuzz/crash",
        may_use: &["tally-protocol", "tally-merkle", "tally-storage", "tally-verify", "tally-client", "tally-testkit"],
    },
    Floor { package: "xtask", folder: "xtask", may_use: &[] },
];

/// Crates that nothing may depend on, not even a test.
const NEVER_USED: &[&str] =
    &["tally", "tally-bench", "tally-fuzz", "tally-sim", "tally-crash", "tally-plugin-check", "xtask"];

/// Crates with lints of their own, and why.
const OWN_LINTS: &[&str] = &[
    // calls its host by pointers: `unsafe_code` is denied and expected in one file, not forbidden
    "tally-plugin",
];

/// Whether a crate may depend on another one of this workspace.
#[must_use]
pub fn allowed(package: &str, on: &str) -> bool {
    FLOORS.iter().any(|floor| floor.package == package && floor.may_use.contains(&on))
}

/// Every dependency that leaves its floor.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let packages = tree.packages();
    let mut findings = Vec::new();
    for package in &packages {
        let file = format!("{}/Cargo.toml", package.folder);
        let name = package.manifest.name.as_str();
        let Some(floor) = FLOORS.iter().find(|floor| floor.package == name) else {
            findings.push(Finding::new(file, 0, format!("{name} has no floor; give it a row in check/floors.rs")));
            continue;
        };
        if floor.folder != package.folder {
            findings.push(Finding::new(&file, 0, format!("{name} lives in {}, not here", floor.folder)));
        }
        if !package.manifest.lints && !OWN_LINTS.contains(&name) {
            findings.push(Finding::new(&file, 0, "the workspace's lints do not apply (`[lints] workspace = true`)"));
        }
        for dependency in &package.manifest.dependencies {
            let on = dependency.name.as_str();
            if !FLOORS.iter().any(|floor| floor.package == on) {
                continue;
            }
            let normal = dependency.kind != Kind::Dev;
            if (normal && !allowed(name, on)) || (!normal && NEVER_USED.contains(&on)) {
                let text = format!("{name} may not depend on {on}: join them one floor up");
                findings.push(Finding::new(&file, dependency.line, text));
            }
        }
    }
    findings
}
