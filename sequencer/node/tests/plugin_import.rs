//! `tally plugin import` through the real binary: what is sealed elsewhere comes in only under a trust that somebody
//! wrote down. Sealing is done here, by the protocol's functions: the binary cannot.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should panic")]

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use clap::CommandFactory as _;
use common::load::Load;
use common::{Home, code, err, json_lines, out, run};
use serde_json::Value;
use tally::keyfile::KeyFile;
use tally_plugin_author::package::Package;
use tally_protocol::hash::{self, AttestationHash, ReleaseHash};
use tally_protocol::id::{AgentId, KeyId, Sequence, Stream};
use tally_protocol::import::{SealProfile, SealText, Template, package, sealed_template};
use tally_protocol::key::SigningKey;
use tally_protocol::plugin_event::Config;
use tally_protocol::release::{Release, ReleaseMac};
use tally_protocol::time::LogTime;

const FOREIGN: AgentId = AgentId::from_bytes([0xf0; 16]);
const REVIEWER: &str = "01890000-0000-7000-8000-000000000002";
const SECRET: &[u8] = b"what two registries share, no other";
const THEN: LogTime = LogTime::from_micros(1_735_689_600_000_000);
/// Nothing answers there: what asks a node cannot end well.
const NOWHERE: &str = "http://127.0.0.1:1";

fn foreign_key() -> SigningKey {
    SigningKey::from_seed([0xf0; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wasm() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/templates/c/starter.wasm");
    file.to_str().unwrap().to_owned()
}

fn seal_value(profile: SealProfile, key: &SigningKey, signed: &AttestationHash) -> Vec<u8> {
    match profile {
        SealProfile::Ed25519 => key.sign(signed.as_bytes()).as_bytes().to_vec(),
        SealProfile::HmacSha256 => ReleaseMac::new(SECRET, signed).as_bytes().to_vec(),
    }
}

fn seal(profile: SealProfile, value: &[u8]) -> SealText<'_> {
    SealText { agent_id: FOREIGN, key_id: KeyId::new(1), signed_at: THEN, profile, value }
}

fn sealed_release(profile: SealProfile, release: &Release) -> Vec<u8> {
    let signed = hash::attestation(&release.hash(), &FOREIGN, KeyId::new(1), THEN);
    package(release, &seal(profile, &seal_value(profile, &foreign_key(), &signed)))
}

fn sealed(profile: SealProfile, template: &Template, key: &SigningKey) -> Vec<u8> {
    let signed = hash::template_seal(&hash::template(&template.to_json()), &FOREIGN, KeyId::new(1), THEN);
    sealed_template(template, &seal(profile, &seal_value(profile, key, &signed)))
}

fn template(release: &Release) -> Template {
    Template {
        name: "A shop's stock".to_owned(),
        plugin: release.plugin.clone(),
        version: release.version,
        release: release.hash(),
        granted: release.permissions.clone(),
        limits: release.limits.clone(),
        config: Config::empty(),
    }
}

/// A folder of an operator who imports. Whatever a command says there, the secret is not in it.
struct Desk {
    dir: tempfile::TempDir,
    release: Release,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let packed = dir.path().join("own.tally");
        let made = run(common::tally(&["plugin", "package", &wasm(), "--out", packed.to_str().unwrap()]));
        assert_eq!(code(&made), 0, "{}", err(&made));
        let release = Package::load(&packed).unwrap().release;
        std::fs::remove_file(packed).unwrap();
        let desk = Self { dir, release };
        desk.write("shared.secret", secret_file(&hex(SECRET)), 0o600);
        desk.trust(&entry(&shared("shared.secret")));
        desk.write("ed25519.toml", entry(&public(&foreign_key())), 0o644);
        desk
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        self.path(name)
    }

    /// The trust file of the MAC profile.
    fn trust(&self, text: &str) -> String {
        self.write("hmac_sha256.toml", text, 0o600)
    }

    fn files(&self) -> BTreeSet<String> {
        let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
        std::fs::read_dir(self.dir.path()).unwrap().map(|entry| name(entry.unwrap())).collect()
    }

    /// The words of `tally plugin import release`.
    fn words(&self, package: &str, trust: &str) -> Vec<String> {
        let args = ["plugin", "import", "release", package, "--wasm", &wasm(), "--trust", &self.path(trust)];
        let out = ["--out".to_owned(), self.path("in.tally"), "--json".to_owned()];
        args.into_iter().map(str::to_owned).chain(out).collect()
    }

    fn import(&self, package: &str, trust: &str) -> Output {
        say(common::tally(&self.words(package, trust).iter().map(String::as_str).collect::<Vec<_>>()))
    }

    fn import_template(&self, template: &str, trust: &str) -> Output {
        let args = ["plugin", "import", "template", template, "--trust", &self.path(trust), "--url", NOWHERE];
        say(common::tally(&args))
    }

    /// Refused with these words and this exit code, and nothing is written.
    fn refuses(&self, exit: i32, words: &str, import: impl FnOnce() -> Output) {
        let before = self.files();
        let refused = import();
        assert_eq!(code(&refused), exit, "{words}: {}{}", out(&refused), err(&refused));
        assert!(err(&refused).contains(words), "{words}: {}", err(&refused));
        assert_eq!((out(&refused), self.files()), (String::new(), before), "{words}");
    }
}

/// Runs a command that logs everything, and looks for the secret in what it says.
fn say(mut command: Command) -> Output {
    let said = run({
        command.env("TALLY_LOG", "trace");
        command
    });
    let text = format!("{}{}", out(&said), err(&said));
    let secret = String::from_utf8(SECRET.to_vec()).unwrap();
    assert!(!text.contains(&secret) && !text.to_lowercase().contains(&hex(SECRET)), "{text}");
    said
}

fn secret_file(hex: &str) -> String {
    format!("tally-shared-secret-v1\nsecret: {hex}\n")
}

fn entry(key: &str) -> String {
    format!("[[agent]]\nid = \"{FOREIGN}\"\nkey_id = 1\n{key}\n")
}

fn shared(file: &str) -> String {
    format!("hmac_sha256 = {{ secret_file = \"{file}\" }}")
}

fn public(key: &SigningKey) -> String {
    format!("ed25519 = \"{}\"", key.public_key().to_hex())
}

fn trust_of(profile: SealProfile) -> String {
    format!("{}.toml", profile.as_str())
}

#[test]
fn a_release_is_imported_under_either_profile_and_comes_in_unsigned() {
    let desk = Desk::new();
    for profile in SealProfile::ALL {
        let file = desk.write("release.json", sealed_release(profile, &desk.release), 0o644);
        let imported = desk.import(&file, &trust_of(profile));
        assert_eq!(code(&imported), 0, "{}", err(&imported));
        let told = &json_lines(&imported)[0];
        assert_eq!((&told["profile"], &told["key_id"]), (&profile.as_str().into(), &1.into()), "{told:#}");
        assert_eq!(told["publisher"], FOREIGN.to_string());
        assert_eq!(told["release"], desk.release.hash().to_hex());
        let written = Package::load(Path::new(&desk.path("in.tally"))).unwrap();
        assert_eq!((&written.release, &written.attestation), (&desk.release, &None));
        assert_eq!(written.wasm, std::fs::read(wasm()).unwrap());
        // Not over what stands there.
        desk.refuses(2, "never overwritten", || desk.import(&file, &trust_of(profile)));
        std::fs::remove_file(desk.path("in.tally")).unwrap();
    }
}

/// Bytes of an import, changed one at a time: each is refused by a rule, and many by the seal itself.
fn changed_bytes_are_refused(desk: &Desk, good: &[u8], import: impl Fn(&str) -> Output) {
    let (mut by_seal, mut tried) = (0, 0);
    for at in (0..good.len()).step_by(13) {
        let mut changed = good.to_vec();
        // A digit stays one: what still reads as an import is up to the seal.
        changed[at] = match changed[at] {
            digit @ (b'0'..=b'8' | b'a'..=b'e') => digit + 1,
            other => other ^ 1 << (at % 7),
        };
        let file = desk.write("changed.json", &changed, 0o644);
        desk.refuses(3, "refused by the rule", || {
            let refused = import(&file);
            by_seal += usize::from(err(&refused).contains("`seal`"));
            refused
        });
        tried += 1;
    }
    assert!(by_seal > tried / 8, "{by_seal} of {tried}");
}

#[test]
fn a_changed_byte_of_a_sealed_release_is_refused_under_either_profile_and_nothing_is_written() {
    let desk = Desk::new();
    desk.write("changed.json", "", 0o644);
    for profile in SealProfile::ALL {
        let good = sealed_release(profile, &desk.release);
        changed_bytes_are_refused(&desk, &good, |file| desk.import(file, &trust_of(profile)));
    }
}

#[test]
fn a_tampered_template_is_refused_under_either_profile_before_any_node_is_asked() {
    let desk = Desk::new();
    desk.write("changed.json", "", 0o644);
    for profile in SealProfile::ALL {
        let good = sealed(profile, &template(&desk.release), &foreign_key());
        changed_bytes_are_refused(&desk, &good, |file| desk.import_template(file, &trust_of(profile)));
        // What is not changed gets further: only then is somebody asked who signs, and there is nobody here.
        let file = desk.write("changed.json", &good, 0o644);
        desk.refuses(2, "is not known", || desk.import_template(&file, &trust_of(profile)));
    }
}

#[test]
fn another_module_than_the_sealed_one_is_refused() {
    let desk = Desk::new();
    let mut other = std::fs::read(wasm()).unwrap();
    *other.last_mut().unwrap() ^= 1;
    let other = desk.write("other.wasm", other, 0o644);
    let file = desk.write("release.json", sealed_release(SealProfile::Ed25519, &desk.release), 0o644);
    let (trust, package) = (desk.path("ed25519.toml"), desk.path("in.tally"));
    let args = ["plugin", "import", "release", &file, "--wasm", &other, "--trust", &trust, "--out", &package];
    desk.refuses(3, "refused by the rule `module`", || say(common::tally(&args)));
    // And a release that claims what its module does not describe, however well it is sealed.
    let lies = Release { state_version: desk.release.state_version + 1, ..desk.release.clone() };
    let file = desk.write("release.json", sealed_release(SealProfile::Ed25519, &lies), 0o644);
    desk.refuses(3, "refused by the rule `module`", || desk.import(&file, "ed25519.toml"));
    // Bytes that are no module, under the hash of exactly these bytes.
    let junk = desk.write("other.wasm", "no module", 0o644);
    let lies = Release { module: hash::module(b"no module"), ..desk.release.clone() };
    let file = desk.write("release.json", sealed_release(SealProfile::Ed25519, &lies), 0o644);
    let args = ["plugin", "import", "release", &file, "--wasm", &junk, "--trust", &trust, "--out", &package];
    desk.refuses(3, "refused by the rule `module`", || say(common::tally(&args)));
}

/// In all of these the import itself does not exist: who refuses has not looked for it.
#[test]
fn without_somebody_to_trust_the_command_refuses_before_it_reads_the_import() {
    let desk = Desk::new();
    let nothing = desk.path("nothing.json");
    for what in ["release", "template"] {
        let args = ["plugin", "import", what, &nothing, "--wasm", &wasm()];
        let args = if what == "release" { &args[..] } else { &args[..4] };
        desk.refuses(2, "--trust", || say(common::tally(args)));
    }
    desk.refuses(2, "nobody.toml", || desk.import(&nothing, "nobody.toml"));
    for empty in ["", "\n# nobody yet\n", "agent = []\n"] {
        desk.write("nobody.toml", empty, 0o644);
        desk.refuses(2, "trusts nobody", || desk.import(&nothing, "nobody.toml"));
        desk.refuses(2, "trusts nobody", || desk.import_template(&nothing, "nobody.toml"));
    }
    desk.refuses(2, "is not a file", || desk.import(&nothing, "."));
    // With somebody to trust it is looked for, and that is what fails.
    desk.refuses(1, "nothing.json", || desk.import(&nothing, "ed25519.toml"));
}

#[test]
fn a_verifier_with_hmac_configured_does_not_start_without_its_secret() {
    let desk = Desk::new();
    let nothing = desk.path("nothing.json");
    let refuses = |words: &str| {
        desk.refuses(2, words, || desk.import(&nothing, "hmac_sha256.toml"));
        desk.refuses(2, words, || desk.import_template(&nothing, "hmac_sha256.toml"));
    };
    // None named, none there.
    desk.trust(&entry("hmac_sha256 = {}"));
    refuses("a key is missing");
    desk.trust(&entry(&shared("no.secret")));
    refuses("no.secret");
    desk.trust(&entry(&shared("shared.secret")));
    for (text, words) in [
        (String::new(), "holds no shared secret"),
        ("default\n".to_owned(), "holds no shared secret"),
        (hex(SECRET), "holds no shared secret"),
        (secret_file(""), "refused by the rule `secret`"),
        (secret_file(&hex(&SECRET[..31])), "refused by the rule `secret`"),
        (secret_file(&hex(&[0; 32])), "refused by the rule `secret`"),
        (secret_file(&hex(&[b'x'; 64])), "refused by the rule `secret`"),
        (secret_file(&hex(&[1; 1024 + 32])), "longer than"),
    ] {
        desk.write("shared.secret", text, 0o600);
        refuses(words);
    }
    // One is there, and others could have read it.
    for mode in [0o640, 0o604, 0o660, 0o644, 0o666] {
        desk.write("shared.secret", secret_file(&hex(SECRET)), mode);
        refuses("holds a secret and has mode");
    }
    desk.write("shared.secret", secret_file(&hex(SECRET)), 0o600);
    desk.write("hmac_sha256.toml", entry(&shared("shared.secret")), 0o644);
    refuses("names files with secrets and has mode 0644");
    // Also where the import at hand would need no secret: it does not start at all.
    let both = format!("{}{}", entry(&public(&foreign_key())), entry(&shared("no.secret")).replace("= 1", "= 2"));
    desk.trust(&both);
    let file = desk.write("release.json", sealed_release(SealProfile::Ed25519, &desk.release), 0o644);
    desk.refuses(2, "no.secret", || desk.import(&file, "hmac_sha256.toml"));
}

#[test]
fn an_untrusted_key_and_the_other_profile_are_refused_by_name() {
    let desk = Desk::new();
    for (profile, other) in
        [(SealProfile::Ed25519, SealProfile::HmacSha256), (SealProfile::HmacSha256, SealProfile::Ed25519)]
    {
        let release = desk.write("release.json", sealed_release(profile, &desk.release), 0o644);
        let template = sealed(profile, &template(&desk.release), &foreign_key());
        let template = desk.write("template.json", template, 0o644);
        let good = std::fs::read_to_string(desk.path(&trust_of(profile))).unwrap();
        let others = [good.replace("= 1", "= 2"), good.replace(&FOREIGN.to_string(), REVIEWER)];
        for untrusted in others {
            desk.write("other.toml", untrusted, 0o600);
            desk.refuses(3, "rule `untrusted`", || desk.import(&release, "other.toml"));
            desk.refuses(3, "rule `untrusted`", || desk.import_template(&template, "other.toml"));
        }
        desk.refuses(3, "rule `profile`", || desk.import(&release, &trust_of(other)));
        desk.refuses(3, "rule `profile`", || desk.import_template(&template, &trust_of(other)));
    }
    // Everybody has the public key, so everybody could make this MAC.
    let signed = hash::attestation(&desk.release.hash(), &FOREIGN, KeyId::new(1), THEN);
    let mac = ReleaseMac::new(foreign_key().public_key().as_bytes(), &signed);
    let confused = package(&desk.release, &seal(SealProfile::HmacSha256, mac.as_bytes()));
    let file = desk.write("release.json", confused, 0o644);
    desk.refuses(3, "rule `profile`", || desk.import(&file, "ed25519.toml"));
    // Another agent's signature under the trusted name.
    let mine = SigningKey::from_seed([7; 32]).sign(signed.as_bytes());
    let forged = package(&desk.release, &seal(SealProfile::Ed25519, mine.as_bytes()));
    let file = desk.write("release.json", forged, 0o644);
    desk.refuses(3, "rule `seal`", || desk.import(&file, "ed25519.toml"));
}

#[test]
fn a_trust_file_is_read_strictly_and_only_if_nobody_else_could_have_changed_it() {
    let desk = Desk::new();
    let good = entry(&public(&foreign_key()));
    let point_of_small_order = format!("ed25519 = \"01{}\"", "00".repeat(31));
    for (text, words) in [
        (good.replace("[[agent]]", "[[agents]]"), "line 1: a key that is not known"),
        (format!("{good}secret = \"s\"\n"), "line 5: a key that is not known"),
        (entry("hmac_sha256 = { secret_file = \"s\", secret = \"s\" }"), "a key that is not known"),
        (good.replace("key_id = 1\n", ""), "a key is missing"),
        (good.replace("key_id = 1", "key_id = \"1\""), "line 3: not what belongs there"),
        (good.replace("key_id = 1", "key_id = -1"), "line 3: not what belongs there"),
        (format!("{good}{}\n", shared("shared.secret")), "of one profile"),
        (entry(""), "rule `no_key`"),
        (good.repeat(2), "[[agent]] 2: refused by the rule `key_twice`"),
        (good.replace(&FOREIGN.to_string(), "nobody"), "no agent's"),
        (entry("ed25519 = \"00\""), "no public key"),
        (entry(&point_of_small_order), "[[agent]] 1: "),
        ("not toml".to_owned(), "line 1"),
    ] {
        desk.write("bad.toml", text, 0o600);
        desk.refuses(2, words, || desk.import("nothing.json", "bad.toml"));
    }
    for mode in [0o664, 0o646, 0o666] {
        desk.write("bad.toml", &good, mode);
        desk.refuses(2, "says who is believed and has mode", || desk.import("nothing.json", "bad.toml"));
    }
}

/// [`say`] looks for the secret in everything that every command here says, with the log wide open; these are the ways
/// in which somebody would put it where it does not belong.
#[test]
fn a_secret_that_stands_where_it_does_not_belong_is_not_repeated() {
    let desk = Desk::new();
    let secret = String::from_utf8(SECRET.to_vec()).unwrap();
    for text in [
        entry(&format!("hmac_sha256 = \"{secret}\"")),
        entry(&format!("hmac_sha256 = \"{}\"", hex(SECRET))),
        entry(&format!("hmac_sha256 = {secret}")),
        entry(&format!("hmac_sha256 = {{ secret = \"{secret}\" }}")),
        entry(&format!("ed25519 = \"{}\"", hex(SECRET))),
        format!("{}\"{secret}\" = 1\n", entry(&public(&foreign_key()))),
        secret_file(&hex(SECRET)),
    ] {
        desk.write("bad.toml", text, 0o600);
        desk.refuses(2, "bad.toml", || desk.import("nothing.json", "bad.toml"));
    }
    for text in [secret.clone(), hex(SECRET), format!("tally-shared-secret-v1\nsecret: {secret}\n")] {
        desk.write("shared.secret", text, 0o600);
        desk.refuses(2, "holds no shared secret", || desk.import("nothing.json", "hmac_sha256.toml"));
    }
}

/// The tool that verifies has no way to seal: two subcommands, no flag that takes a secret or a key to seal with, and
/// nothing that either of them writes is an import.
#[test]
fn no_subcommand_of_import_makes_a_seal() {
    let cli = tally::cli::Cli::command();
    let import = cli.find_subcommand("plugin").and_then(|plugin| plugin.find_subcommand("import")).unwrap();
    let names: Vec<&str> = import.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(names, ["release", "template"]);
    for (name, flags) in [("release", 0), ("template", 4)] {
        let command = import.find_subcommand(name).unwrap();
        let args: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
        assert!(args.iter().all(|arg| !arg.contains("secret") && !arg.contains("seal")), "{args:?}");
        // Those of the root agent and of the profile, which sign events; none for a release.
        let keys: Vec<&String> = args.iter().filter(|arg| arg.contains("key") && !arg.starts_with("api_")).collect();
        assert_eq!(keys.len(), flags, "{keys:?}");
    }
    let desk = Desk::new();
    for profile in SealProfile::ALL {
        let file = desk.write("release.json", sealed_release(profile, &desk.release), 0o644);
        let before = desk.files();
        assert_eq!(code(&desk.import(&file, &trust_of(profile))), 0);
        let after = desk.files();
        let written: Vec<&String> = after.difference(&before).collect();
        assert_eq!(written, ["in.tally"]);
        let bytes = std::fs::read(desk.path("in.tally")).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"\"seal\""));
        std::fs::rename(desk.path("in.tally"), desk.path("again.json")).unwrap();
        desk.refuses(3, "rule `", || desk.import(&desk.path("again.json"), &trust_of(profile)));
        std::fs::remove_file(desk.path("again.json")).unwrap();
    }
}

fn done(home: &Home, args: &[&str]) -> Vec<Value> {
    let output = say(home.command(args));
    assert_eq!(code(&output), 0, "{args:?}: {}{}", out(&output), err(&output));
    if args.contains(&"--json") { json_lines(&output) } else { Vec::new() }
}

fn refused(home: &Home, args: &[&str], exit: i32, words: &str) {
    let output = say(home.command(args));
    assert_eq!(code(&output), exit, "{words}: {}{}", out(&output), err(&output));
    assert!(err(&output).contains(words), "{words}: {}", err(&output));
}

/// A second agent approves what waits.
fn approve(home: &Home, desk: &Desk) {
    let key = desk.path("reviewer.key");
    let made = done(home, &["keygen", "--out", &key, "--json"]);
    let public = made[0]["public_key"].as_str().unwrap().to_owned();
    done(home, &["keys", "register", "--agent", REVIEWER, "--public-key", &public, "--json"]);
    let review = ["plugin", "review", "starter", "0.1.0", "--decision", "approved", "--reason", "read it"];
    done(home, &[&review[..], &["--key", &key, "--agent", REVIEWER]].concat());
}

#[test]
fn a_template_installs_only_a_release_that_is_approved_here_and_then_runs() {
    let (home, desk) = (Home::new(), Desk::new());
    let _node = home.start();
    let (hmac, ed25519) = (desk.path("hmac_sha256.toml"), desk.path("ed25519.toml"));
    // A foreign release comes in under a MAC, and into the log under the importing publisher's signature.
    let foreign = sealed_release(SealProfile::HmacSha256, &desk.release);
    let (file, packed) = (desk.write("release.json", &foreign, 0o644), desk.path("in.tally"));
    done(&home, &["plugin", "import", "release", &file, "--wasm", &wasm(), "--trust", &hmac, "--out", &packed]);
    let good = sealed(SealProfile::Ed25519, &template(&desk.release), &foreign_key());
    let good = desk.write("template.json", good, 0o644);
    let import = ["plugin", "import", "template", &good, "--trust", &ed25519, "--json"];
    let dry = [&import[..], &["--dry-run"]].concat();
    refused(&home, &import, 4, "rule not_approved");
    refused(&home, &["plugin", "submit", &packed], 1, "not signed");
    done(&home, &["plugin", "sign", &packed]);
    done(&home, &["plugin", "submit", &packed]);
    refused(&home, &import, 4, "rule not_approved");
    refused(&home, &dry, 4, "rule not_approved");
    approve(&home, &desk);

    what_asks_for_more_than_was_approved_is_refused(&home, &desk);
    let shown = done(&home, &dry);
    assert_eq!((&shown[0]["template"], &shown[0]["profile"]), (&"A shop's stock".into(), &"ed25519".into()));
    assert_eq!(shown[1]["event_type"], "tally.plugin.installed");
    assert_eq!(shown[1]["payload"]["release_hash"], desk.release.hash().to_hex());
    let listed = done(&home, &["plugin", "list", "--json"]);
    assert_eq!(listed[0]["installed"], Value::Array(Vec::new()), "a dry run submits nothing");

    let installed = done(&home, &import);
    assert_eq!(
        (&installed[1]["event_type"], &installed[1]["outcome"]),
        (&"tally.plugin.installed".into(), &"accepted".into())
    );
    let added = ["submit", "--event-type", "item.added", "--entity-type", "item", "--entity-id", "lamp", "--json"];
    assert_eq!(done(&home, &added)[0]["status"], "accepted");
    let listed = done(&home, &["plugin", "list", "--json"]);
    assert_eq!(listed[0]["installed"][0]["release"], desk.release.hash().to_hex(), "{listed:#?}");
    refused(&home, &import, 2, "runs in this store");
    neither_seal_nor_secret_is_in_the_log(&home, &foreign);
}

fn what_asks_for_more_than_was_approved_is_refused(home: &Home, desk: &Desk) {
    let ed25519 = desk.path("ed25519.toml");
    let good = template(&desk.release);
    let more = [
        (Template { release: ReleaseHash::from_bytes([1; 32]), ..good.clone() }, "rule not_approved"),
        (Template { granted: ["effect:payment".to_owned()].into(), ..good.clone() }, "tally.plugin.installed: "),
        (Template { limits: [("gas".to_owned(), 1)].into(), ..good.clone() }, "tally.plugin.installed: "),
    ];
    for (template, words) in more {
        let file = desk.write("more.json", sealed(SealProfile::Ed25519, &template, &foreign_key()), 0o644);
        refused(home, &["plugin", "import", "template", &file, "--trust", &ed25519], 4, words);
    }
    // Who signs the installation cannot have sealed what it is of.
    let root = KeyFile::load(&tally::layout::dev_keys(&home.data()).join("root.key")).unwrap().key;
    let agent = KeyFile::load(&home.profile().key_file).unwrap().key;
    for own in [root, agent] {
        let trust = desk.write("own.toml", entry(&public(&own)), 0o644);
        let file = desk.write("more.json", sealed(SealProfile::Ed25519, &good, &own), 0o644);
        let args = ["plugin", "import", "template", &file, "--trust", &trust];
        refused(home, &args, 2, "who verifies never signs what it verifies");
    }
}

/// The foreign MAC stays outside: everything of the tenant's control stream, looked through.
fn neither_seal_nor_secret_is_in_the_log(home: &Home, foreign: &[u8]) {
    let load = Load::new(home);
    let foreign: Value = serde_json::from_slice(foreign).unwrap();
    let mac = foreign["seal"]["value"].as_str().unwrap();
    let page = load.operator();
    let stream = Stream::control(load.stream().tenant);
    let page = load.runtime.block_on(page.stream_events(stream, Sequence::new(1), 100)).unwrap();
    assert!(page.events.len() >= 3 && page.next.is_none());
    for event in &page.events {
        let payload = String::from_utf8_lossy(event.frame.payload());
        for foreign in [mac, "hmac", &hex(SECRET), &FOREIGN.to_string()] {
            assert!(!payload.contains(foreign), "{payload}");
        }
    }
}
