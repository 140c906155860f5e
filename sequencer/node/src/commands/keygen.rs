//! `tally keygen`: draws a signing key from the operating system and writes it to a new file, or prints it.
//!
//! Takes a file name; gives the public key. Fails if the file exists: a key is never overwritten.

use serde::Serialize;

use crate::cli::KeygenArgs;
use crate::exit::Failure;
use crate::keyfile::{self, KeyFile, Purpose};
use crate::output::{self, Output};
use crate::random;

#[derive(Serialize)]
struct Made {
    public_key: String,
    file: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The file exists or cannot be written, or the system gave no random bytes.
pub fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let output = Output::new(args.json);
    match &args.out {
        Some(path) => {
            let made = KeyFile::create(path, Purpose::Production)?;
            let public_key = made.key.public_key().to_hex();
            let file = path.display().to_string();
            let text = || format!("{public_key}  {file}");
            output.result(&Made { public_key: public_key.clone(), file: Some(file.clone()) }, text)
        }
        None if args.json => Err(Failure::usage("--json needs --out: a private key is not printed as JSON")),
        None => {
            let seed = random::bytes::<32>()?;
            let key = tally_protocol::key::SigningKey::from_seed(*seed);
            let text = keyfile::encode(Purpose::Production, &key.public_key(), &seed);
            output::write(text.trim_end())
        }
    }
}
