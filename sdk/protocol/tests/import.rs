//! Laws of what comes from foreign registries: both profiles of seal, who can make one, and templates.

#![expect(clippy::unwrap_used, reason = "a test's helper panics as the test does")]

use std::collections::BTreeMap;

use tally_protocol::hash::{self, AttestationHash, LedgerId, ProfileId, ReportHash};
use tally_protocol::id::{AgentId, Index, KeyId, PluginId, StoreId, Stream, TenantId};
use tally_protocol::import::{
    IMPORT_BYTES_MAX, ImportError, SealProfile, SealText, Template, Trust, TrustedKey, package, sealed_template,
};
use tally_protocol::key::{PublicKey, SigningKey, verify};
use tally_protocol::plugin_event::{Config, PluginEvent, Registry, Submission};
use tally_protocol::plugin_life::{Agents, Moment, PluginRegister};
use tally_protocol::release::{Decision, Price, PricePer, Release, ReleaseMac, Review, Version, attest};
use tally_protocol::time::LogTime;

const NOW: LogTime = LogTime::from_micros(1_735_689_600_000_000);
const PUBLISHER: AgentId = AgentId::from_bytes([2; 16]);
const REVIEWER: AgentId = AgentId::from_bytes([3; 16]);
const SECRET: &[u8] = b"a secret that two registries share";

fn key(agent: AgentId) -> SigningKey {
    SigningKey::from_seed([agent.as_bytes()[0]; 32])
}

fn release() -> Release {
    Release {
        plugin: PluginId::new("checkout").unwrap(),
        version: Version::new(1, 2, 3),
        module: hash::module(b"module"),
        manifest: hash::manifest(b"{}"),
        abi: 1,
        state_version: 1,
        permissions: ["emit".to_owned()].into(),
        limits: [("gas".to_owned(), 1_000)].into(),
        price: Price { amount: 5, currency: *b"EUR", per: PricePer::Month },
        schemas: BTreeMap::new(),
    }
}

fn template() -> Template {
    Template {
        name: "Shop with card payment".to_owned(),
        plugin: PluginId::new("checkout").unwrap(),
        version: Version::new(1, 2, 3),
        release: release().hash(),
        granted: ["emit".to_owned()].into(),
        limits: [("gas".to_owned(), 900)].into(),
        config: Config::new(br#"{"currency":"EUR"}"#).unwrap(),
    }
}

/// A seal over what is signed, by the publisher's key or the shared secret.
fn seal_value(profile: SealProfile, signed: &AttestationHash) -> Vec<u8> {
    match profile {
        SealProfile::Ed25519 => key(PUBLISHER).sign(signed.as_bytes()).as_bytes().to_vec(),
        SealProfile::HmacSha256 => ReleaseMac::new(SECRET, signed).as_bytes().to_vec(),
    }
}

fn seal(profile: SealProfile, signed_at: LogTime, value: &[u8]) -> SealText<'_> {
    SealText { agent_id: PUBLISHER, key_id: KeyId::new(1), signed_at, profile, value }
}

fn packed(profile: SealProfile, release: &Release, signed_at: LogTime) -> Vec<u8> {
    let signed = hash::attestation(&release.hash(), &PUBLISHER, KeyId::new(1), signed_at);
    package(release, &seal(profile, signed_at, &seal_value(profile, &signed)))
}

fn sealed(profile: SealProfile, template: &Template, signed_at: LogTime) -> Vec<u8> {
    let signed = hash::template_seal(&hash::template(&template.to_json()), &PUBLISHER, KeyId::new(1), signed_at);
    sealed_template(template, &seal(profile, signed_at, &seal_value(profile, &signed)))
}

fn trusted(profile: SealProfile) -> TrustedKey {
    let public = key(PUBLISHER).public_key();
    let bytes = match profile {
        SealProfile::Ed25519 => public.as_bytes().as_slice(),
        SealProfile::HmacSha256 => SECRET,
    };
    TrustedKey::new(profile, Some(bytes)).unwrap()
}

fn trust(profile: SealProfile) -> Trust {
    let mut trust = Trust::nobody();
    trust.add(PUBLISHER, KeyId::new(1), trusted(profile)).unwrap();
    trust
}

#[test]
fn a_release_is_imported_under_either_profile_and_the_signature_is_the_default() {
    assert_eq!(SealProfile::default(), SealProfile::Ed25519);
    for profile in SealProfile::ALL {
        let imported = trust(profile).import_release(&packed(profile, &release(), NOW), NOW).unwrap();
        assert_eq!((imported.value(), imported.publisher()), (&release(), PUBLISHER));
    }
}

/// Each byte of a package or template, changed: what still reads as one does not verify.
fn every_changed_byte_is_refused<T: core::fmt::Debug>(good: &[u8], import: impl Fn(&[u8]) -> Result<T, ImportError>) {
    let mut unsealed = 0;
    for at in 0..good.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64] {
            let mut changed = good.to_vec();
            changed[at] ^= flip;
            let refusal = import(&changed).unwrap_err();
            unsealed += usize::from(refusal == ImportError::Seal);
        }
    }
    // Not just the reader's strictness: the seal itself refused a good part of them.
    assert!(unsealed > good.len() / 2, "{unsealed}");
}

#[test]
fn every_changed_byte_of_a_package_is_refused_under_either_profile() {
    for profile in SealProfile::ALL {
        let trust = trust(profile);
        every_changed_byte_is_refused(&packed(profile, &release(), NOW), |bytes| trust.import_release(bytes, NOW));
    }
}

#[test]
fn a_tampered_template_is_refused_under_either_profile() {
    for profile in SealProfile::ALL {
        let (trust, good) = (trust(profile), sealed(profile, &template(), NOW));
        assert_eq!(trust.import_template(&good, NOW).unwrap().value(), &template());
        every_changed_byte_is_refused(&good, |bytes| trust.import_template(bytes, NOW));
        // A value that stays well-formed: another configuration, more gas, another release, another right.
        let (signed, seal_of) = (sealed(profile, &template(), NOW), |text: &[u8]| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            text[text.find("\"seal\"").unwrap()..text.find("\"template\"").unwrap()].to_owned()
        });
        let changed = [
            Template { config: Config::new(br#"{"currency":"USD"}"#).unwrap(), ..template() },
            Template { limits: [("gas".to_owned(), 901)].into(), ..template() },
            Template { release: hash::ReleaseHash::from_bytes([1; 32]), ..template() },
            Template { granted: ["effect:payment".to_owned()].into(), ..template() },
            Template { name: "Shop".to_owned(), ..template() },
            Template { version: Version::new(1, 2, 4), ..template() },
        ];
        for changed in changed {
            let own = sealed(profile, &changed, NOW);
            let swapped = String::from_utf8(own.clone()).unwrap().replace(&seal_of(&own), &seal_of(&signed));
            assert_eq!(trust.import_template(swapped.as_bytes(), NOW).unwrap_err(), ImportError::Seal);
        }
    }
}

#[test]
fn without_its_seal_or_with_another_s_nothing_is_imported() {
    let (trust, release, template) = (trust(SealProfile::Ed25519), release(), template());
    let good = sealed(SealProfile::Ed25519, &template, NOW);
    let bare = [b"{\"template\":", &template.to_json()[..], b"}"].concat();
    assert!(matches!(trust.import_template(&bare, NOW), Err(ImportError::Malformed(_))));
    // A release's attestation is no template's, nor the other way round.
    let as_release = hash::attestation(
        &hash::ReleaseHash::from_bytes(*hash::template(&template.to_json()).as_bytes()),
        &PUBLISHER,
        KeyId::new(1),
        NOW,
    );
    let value = seal_value(SealProfile::Ed25519, &as_release);
    let crossed = sealed_template(&template, &seal(SealProfile::Ed25519, NOW, &value));
    assert_eq!(trust.import_template(&crossed, NOW).unwrap_err(), ImportError::Seal);
    // Another agent, another key.
    assert_eq!(Trust::nobody().import_template(&good, NOW).unwrap_err(), ImportError::Untrusted);
    let signed = hash::attestation(&release.hash(), &PUBLISHER, KeyId::new(1), NOW);
    let mine = key(REVIEWER).sign(signed.as_bytes());
    let forged = package(&release, &seal(SealProfile::Ed25519, NOW, mine.as_bytes()));
    assert_eq!(trust.import_release(&forged, NOW).unwrap_err(), ImportError::Seal);
    let other = SealText { key_id: KeyId::new(2), ..seal(SealProfile::Ed25519, NOW, mine.as_bytes()) };
    assert_eq!(trust.import_release(&package(&release, &other), NOW).unwrap_err(), ImportError::Untrusted);
    assert_eq!(trust.import_release(&vec![b' '; IMPORT_BYTES_MAX + 1], NOW).unwrap_err(), ImportError::Bytes);
}

#[test]
fn a_seal_from_the_future_is_refused() {
    let trust = trust(SealProfile::Ed25519);
    let at = |seconds: i64| LogTime::from_micros(NOW.micros().saturating_add_signed(seconds * 1_000_000));
    for (seconds, refused) in [(-1_000_000, false), (300, false), (301, true)] {
        let imported = trust.import_template(&sealed(SealProfile::Ed25519, &template(), at(seconds)), NOW);
        assert_eq!(imported.is_err(), refused, "{seconds}");
        assert!(!refused || imported == Err(ImportError::Ahead));
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret_nor_a_secret_for_a_key() {
    let public = key(PUBLISHER).public_key();
    let signed = hash::attestation(&release().hash(), &PUBLISHER, KeyId::new(1), NOW);
    // Everybody has the public key, so everybody could make this MAC.
    let mac = ReleaseMac::new(public.as_bytes(), &signed);
    let confused = package(&release(), &seal(SealProfile::HmacSha256, NOW, mac.as_bytes()));
    assert_eq!(trust(SealProfile::Ed25519).import_release(&confused, NOW).unwrap_err(), ImportError::Profile);
    let signed = packed(SealProfile::Ed25519, &release(), NOW);
    assert_eq!(trust(SealProfile::HmacSha256).import_release(&signed, NOW).unwrap_err(), ImportError::Profile);
}

/// All that a verifier of signatures holds are the 32 public bytes; from those nobody signs. A verifier of MACs holds the
/// secret, and with it everything that forging takes: that is why it is not the default, and stays out of the log.
#[test]
fn who_verifies_signatures_holds_no_key_that_signs_and_who_verifies_macs_can_forge() {
    let signed = hash::attestation(&release().hash(), &PUBLISHER, KeyId::new(1), NOW);
    let TrustedKey::Ed25519(held) = trusted(SealProfile::Ed25519) else { unreachable!() };
    assert_eq!(size_of_val(&held), 32);
    assert_eq!(held, key(PUBLISHER).public_key());
    let forger = SigningKey::from_seed(*held.as_bytes());
    assert!(!verify(&held, signed.as_bytes(), &forger.sign(signed.as_bytes())));
    // The same party, under the other profile.
    let forged = packed(SealProfile::HmacSha256, &release(), NOW);
    assert!(trust(SealProfile::HmacSha256).import_release(&forged, NOW).is_ok());
    assert_eq!(format!("{:?}", trusted(SealProfile::HmacSha256)), "HmacSha256(MacSecret(..))");
}

#[test]
fn there_is_no_default_secret_and_none_that_anybody_would_guess() {
    for profile in SealProfile::ALL {
        assert_eq!(TrustedKey::new(profile, None).unwrap_err(), ImportError::NoKey);
        assert!(TrustedKey::new(profile, Some(b"")).is_err());
    }
    for secret in [&b"secret"[..], &[b'x'; 31], &[0; 32], &[b'a'; 64], &[7; 1025]] {
        assert_eq!(TrustedKey::new(SealProfile::HmacSha256, Some(secret)).unwrap_err(), ImportError::Secret);
    }
    assert!(TrustedKey::new(SealProfile::HmacSha256, Some(SECRET)).is_ok());
    // A key of small order would let anybody sign.
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(matches!(TrustedKey::new(SealProfile::Ed25519, Some(&identity)), Err(ImportError::Key(_))));
    // And a trusted key is not replaced under what it sealed.
    let mut trust = trust(SealProfile::Ed25519);
    assert_eq!(trust.add(PUBLISHER, KeyId::new(1), trusted(SealProfile::HmacSha256)), Err(ImportError::KeyTwice));
}

struct Known;

impl Agents for Known {
    fn valid_key(&self, _: &Stream, agent: AgentId, _: KeyId, _: LogTime) -> Option<PublicKey> {
        Some(key(agent).public_key())
    }

    fn is_root(&self, _: &Stream, _: AgentId) -> bool {
        false
    }
}

#[test]
fn a_template_comes_to_an_installation_only_of_a_release_that_is_approved_here() {
    let tenant = TenantId::from_bytes([1; 16]);
    let (own, store) = (Stream::control(tenant), Stream::new(tenant, StoreId::from_bytes([9; 16])));
    let mut register = PluginRegister::new(LedgerId::from_bytes([7; 32]));
    let (trust, profile) = (trust(SealProfile::Ed25519), ProfileId::from_bytes([8; 32]));
    let imported = trust.import_template(&sealed(SealProfile::Ed25519, &template(), NOW), NOW).unwrap();
    let binding = |register: &PluginRegister| imported.binding(register, Registry::Tenant, &store, profile);
    let at = |index: u64| Moment { stream: own, actor: PUBLISHER, index: Index::new(index), now: NOW };
    assert_eq!(binding(&register), Err(ImportError::NotApproved));
    // A release is imported, and gets an Ed25519 attestation on its way into the log.
    let package = packed(SealProfile::HmacSha256, &release(), NOW);
    let foreign = self::trust(SealProfile::HmacSha256).import_release(&package, NOW).unwrap();
    let (release, release_hash) = (foreign.value().clone(), foreign.value().hash());
    let publisher = attest(&release_hash, PUBLISHER, KeyId::new(1), NOW, &key(PUBLISHER)).unwrap();
    let previous = register.head(&own, &release.plugin);
    let submission = PluginEvent::Submitted(Submission { release: release.clone(), release_hash, publisher, previous });
    register.apply(&at(1), &submission, &Known).unwrap();
    assert_eq!(binding(&register), Err(ImportError::NotApproved));
    let review = Review {
        plugin: release.plugin.clone(),
        version: release.version,
        release: release_hash,
        decision: Decision::Approved,
        overrides: false,
        report: ReportHash::from_bytes([4; 32]),
        blocking: 0,
        reason: "read it".to_owned(),
        previous: register.head(&own, &release.plugin),
    };
    let reviewer = review.sign(REVIEWER, KeyId::new(1), NOW, &key(REVIEWER)).unwrap();
    register.apply(&at(2), &PluginEvent::Reviewed { review, reviewer }, &Known).unwrap();
    let binding = binding(&register).unwrap();
    assert_eq!((&binding.config, &binding.limits), (&template().config, &template().limits));
    register.apply(&at(3), &PluginEvent::Installed(binding), &Known).unwrap();
    assert!(register.installed(&store, &release.plugin).is_some());
    // The same name with another release is another release.
    let other = Template { release: hash::ReleaseHash::from_bytes([1; 32]), ..template() };
    let other = trust.import_template(&sealed(SealProfile::Ed25519, &other, NOW), NOW).unwrap();
    assert_eq!(other.binding(&register, Registry::Tenant, &store, profile), Err(ImportError::NotApproved));
}
