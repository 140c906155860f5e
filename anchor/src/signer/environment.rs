//! Private keys in the environment: refused in production (S-125).
//!
//! Whoever may list processes, read a crash report or a container's description reads the environment, and every child
//! inherits it. No signer ever reads a key or a PIN from it; a variable that looks like one is a mistake in the
//! deployment, and the process says so before it signs anything. Takes the environment as an argument.

use super::config::OpenError;

/// Names that other systems use for keys in the open.
const NAMES: &[&str] = &[
    "TALLY_ANCHOR_KEY",
    "TALLY_GAS_KEY",
    "TALLY_AUTHORITY_KEY",
    "ANCHOR_KEY",
    "DEPLOYER_KEY",
    "ETH_KEY",
    "SIGNER_KEY",
];

/// Parts of names that say what the value is.
const PARTS: &[&str] = &[
    "PRIVATE_KEY",
    "PRIVKEY",
    "PRIV_KEY",
    "SIGNING_KEY",
    "SECRET_KEY_HEX",
    "MNEMONIC",
    "SEED_PHRASE",
    "PKCS11_PIN",
    "HSM_PIN",
];

/// Ends of names whose value is a place, not a key.
const REFERENCES: &[&str] = &["_FILE", "_PATH", "_DIR", "_ID", "_ARN", "_URI", "_URL", "_LABEL"];

/// Refuses an environment with a private key in it.
///
/// # Errors
/// [`OpenError::Unsafe`] with the variable's name, never its value.
pub fn refuse_keys<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), OpenError> {
    match variables.into_iter().find(|(name, value)| !value.trim().is_empty() && is_key(name)) {
        None => Ok(()),
        Some((name, _)) => Err(OpenError::Unsafe(format!(
            "the environment holds a private key or PIN in {name}; unset it, and think about who has read it"
        ))),
    }
}

fn is_key(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if REFERENCES.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    NAMES.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_environment_is_refused_by_its_name_and_never_shown() {
        for name in [
            "TALLY_ANCHOR_KEY",
            "PRIVATE_KEY",
            "SEQUENCER_PRIVATE_KEY",
            "sequencer_private_key",
            "TALLY_AUTHORITY_PRIVATE_KEY",
            "MNEMONIC",
            "TALLY_PKCS11_PIN",
        ] {
            let error = refuse_keys([("PATH", "/bin"), (name, "0xfeed")]).unwrap_err();
            assert!(matches!(&error, OpenError::Unsafe(_)) && !error.to_string().contains("feed"), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn references_credentials_of_a_service_and_empty_variables_pass() {
        let fine = [
            ("TALLY_PRIVATE_KEY_FILE", "/run/secrets/key"),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "of a service, not of a chain"),
            ("PRIVATE_KEY", ""),
            ("TALLY_LEDGER_KEY", "a public key"),
        ];
        assert!(refuse_keys(fine).is_ok());
    }
}
