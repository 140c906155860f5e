//! The configuration: what is accepted, and that each unsafe setting is refused by name.

use std::os::unix::fs::PermissionsExt as _;

use super::check::check;
use super::*;
use crate::keyfile::{KeyFile, Purpose, SecretFile};

/// A folder with a configuration that passes, and its keys.
fn good() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("keys")).unwrap();
    for name in ["receipt", "checkpoint", "root"] {
        KeyFile::create(&dir.path().join(format!("keys/{name}.key")), Purpose::Production).unwrap();
    }
    SecretFile::create(&dir.path().join("keys/credentials.secret"), Purpose::Production).unwrap();
    let text = template(&NewConfig {
        origin: "log.example.com/market",
        data: Path::new("data"),
        fence: Path::new("fence/tally.fence"),
        keys: Path::new("keys"),
        listen: "127.0.0.1:8080".parse().unwrap(),
    });
    (dir, text)
}

fn finding(dir: &tempfile::TempDir, text: &str) -> String {
    let config = Config::parse(text, dir.path()).unwrap();
    let failure = check(&config).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    failure.message
}

#[test]
fn the_template_is_complete_and_passes() {
    let (dir, text) = good();
    let config = Config::parse(&text, dir.path()).unwrap();
    assert!(check(&config).is_ok());
    assert_eq!(config.data.directory, dir.path().join("data"));
}

#[test]
fn every_field_must_be_there_and_no_other() {
    let (dir, text) = good();
    let mut section = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
        }
        if !line.contains(" = ") {
            continue;
        }
        let without = text.replace(&format!("{line}\n"), "");
        // Those of plugins have defaults: older configurations go on being good.
        let optional = line.starts_with("root") || section == "[plugins]";
        assert_eq!(Config::parse(&without, dir.path()).is_ok(), optional, "without {line}");
    }
    for section in text.lines().filter(|line| line.starts_with('[')) {
        let more = text.replace(section, &format!("{section}\nsurprise = 1"));
        let error = Config::parse(&more, dir.path()).unwrap_err().to_string();
        assert!(error.contains("surprise"), "{error}");
    }
    assert!(Config::parse(&format!("surprise = 1\n{text}"), dir.path()).is_err());
}

#[test]
fn a_public_listener_without_tls_is_refused() {
    let (dir, text) = good();
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:443"] {
        let text = text.replace("127.0.0.1:8080", address);
        assert!(finding(&dir, &text).contains("no listen.tls"), "{address}");
    }
    for address in ["127.0.0.2:1", "[::1]:8080"] {
        let config = Config::parse(&text.replace("127.0.0.1:8080", address), dir.path()).unwrap();
        assert!(check(&config).is_ok(), "{address}");
    }
}

#[test]
fn a_fence_or_key_inside_the_data_is_refused_however_it_is_spelled() {
    let (dir, text) = good();
    for fence in ["data/tally.fence", "data/../data/x/tally.fence", "./data/tally.fence"] {
        assert!(finding(&dir, &text.replace("fence/tally.fence", fence)).contains("data.fence"), "{fence}");
    }
    std::fs::create_dir_all(dir.path().join("data")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("data"), dir.path().join("elsewhere")).unwrap();
    assert!(finding(&dir, &text.replace("fence/tally.fence", "elsewhere/tally.fence")).contains("data.fence"));

    std::fs::copy(dir.path().join("keys/receipt.key"), dir.path().join("data/receipt.key")).unwrap();
    let text = text.replace("keys/receipt.key", "data/receipt.key");
    assert!(finding(&dir, &text).contains("keys.receipt lies inside"));
}

#[test]
fn development_keys_loose_keys_and_shared_keys_are_refused() {
    let (dir, text) = good();
    KeyFile::create(&dir.path().join("keys/dev.key"), Purpose::Development).unwrap();
    assert!(finding(&dir, &text.replace("keys/receipt.key", "keys/dev.key")).contains("made for development"));
    assert!(finding(&dir, &text.replace("keys/receipt.key", "keys/root.key")).contains("one purpose"));
    assert!(finding(&dir, &text.replace("keys/receipt.key", "keys/none.key")).contains("keys.receipt"));
    let path = dir.path().join("keys/checkpoint.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(finding(&dir, &text).contains("0644"));
}

#[test]
fn a_data_directory_that_others_can_write_is_refused() {
    let (dir, text) = good();
    let data = dir.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(finding(&dir, &text).contains("written by others"));
}

#[test]
fn bounds_out_of_range_are_refused_all_at_once() {
    let (dir, text) = good();
    let text = text.replace("verify_batch_max = 2048", "verify_batch_max = 0");
    let text = text.replace("inflight_bytes_max = 67108864", "inflight_bytes_max = 1");
    let found = finding(&dir, &text);
    assert!(found.contains("pipeline.verify_batch_max is 0") && found.contains("pipeline.inflight_bytes_max is 1"));
}

#[test]
fn a_connector_has_an_agent_and_a_key_of_its_own_and_the_program_must_have_it() {
    let (dir, text) = good();
    let section = |kind: &str, key: &str, more: &str| {
        let agent = "01890000-0000-7000-8000-000000000002";
        format!("{text}\n[connectors.{kind}]\nagent = \"{agent}\"\nkey = \"keys/{key}.key\"\n{more}")
    };
    KeyFile::create(&dir.path().join("keys/payment.key"), Purpose::Production).unwrap();
    assert!(finding(&dir, &section("payment", "none", "")).contains("connectors.payment.key"));
    assert!(finding(&dir, &section("payment", "root", "")).contains("one purpose"));
    assert!(finding(&dir, &section("PAY", "payment", "")).contains("no kind of effect"));
    let off = section("payment", "payment", "").replace("enabled = true", "enabled = false");
    assert!(finding(&dir, &off).contains("nothing asks for effects"));
    assert!(finding(&dir, &format!("{text}\n[effects]\ntries_max = 0")).contains("effects.tries_max is 0"));
    assert!(Config::parse(&format!("{text}\n[connectors.payment]\nkey = \"x\""), dir.path()).is_err());

    let config = Config::parse(&section("payment", "payment", "provider = \"x\""), dir.path()).unwrap();
    let keys = check(&config).unwrap();
    let own = &config.connectors["payment"];
    assert_eq!((own.settings["provider"].as_str(), own.folder.as_path()), (Some("x"), dir.path()));
    assert!(keys.connectors.contains_key("payment"));
    // Nothing is pretended: what this program has no connector for is refused, not left out.
    let section = ConnectorSection { settings: toml::Table::new(), ..own.clone() };
    let unknown = Config { connectors: [("carrier-pigeon".to_owned(), section)].into(), ..config };
    let keys = [("carrier-pigeon".to_owned(), keys.connectors["payment"].clone())].into();
    let refused = crate::effects::connected(&unknown.connectors, &keys).err().unwrap();
    assert!(refused.message.contains("no connector of this kind"), "{}", refused.message);
}

/// A file with the section `[market]`, and its key.
fn with_market(dir: &tempfile::TempDir, text: &str) -> String {
    KeyFile::create(&dir.path().join("keys/market.key"), Purpose::Production).unwrap();
    let (tenant, store, agent) = ("1".repeat(8), "2".repeat(8), "3".repeat(8));
    let uuid = |start: &str| format!("{start}-0000-4000-8000-000000000000");
    format!(
        "{text}\n[market]\ntenant = \"{}\"\nstore = \"{}\"\nplugins = [\"catalog\", \"checkout\"]\nagent = \"{}\"\n\
         signing_key = \"keys/market.key\"\npublic = [\"skus\"]\n",
        uuid(&tenant),
        uuid(&store),
        uuid(&agent)
    )
}

#[test]
fn a_marketplace_is_read_with_its_key_and_its_order_of_plugins() {
    let (dir, text) = good();
    let config = Config::parse(&with_market(&dir, &text), dir.path()).unwrap();
    let key = check(&config).unwrap().market.expect("the key is read");
    let market = config.market.as_ref().unwrap().market(key, None).unwrap();
    let plugins: Vec<_> = market.plugins.iter().map(|plugin| plugin.as_str().to_owned()).collect();
    assert_eq!(plugins, ["catalog", "checkout"]);
    assert_eq!(config.market.unwrap().signing_key, dir.path().join("keys/market.key"));
    assert!(market.public.contains("skus") && market.webhook.is_none());
}

#[test]
fn a_marketplace_that_cannot_be_served_as_stated_is_refused() {
    let (dir, text) = good();
    let text = with_market(&dir, &text);
    for (from, to, why) in [
        ("[\"catalog\", \"checkout\"]", "[\"catalog\", \"catalog\"]", "one twice"),
        ("[\"catalog\", \"checkout\"]", "[]", "names no plugin"),
        ("[\"catalog\", \"checkout\"]", "[\"No\"]", "no plugin's id"),
        ("keys/market.key", "keys/receipt.key", "a key has one purpose"),
        ("keys/market.key", "data/market.key", "market.signing_key lies inside data.directory"),
        ("keys/market.key", "keys/none.key", "market.signing_key"),
        ("enabled = true", "enabled = false", "plugins.enabled is false"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        assert!(finding(&dir, &changed).contains(why), "{why}");
    }
}
