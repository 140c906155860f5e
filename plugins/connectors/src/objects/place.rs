//! Where an object is within its store: `sha256/ab/cd/<64 hexadecimal digits>`.
//!
//! Two levels of folders keep every folder small: a million objects are sixteen in each. Takes a hash and nothing else, so
//! that no name that somebody chose ever becomes a path.

use tally_protocol::hash::ObjectHash;

/// The folder of all objects.
pub(super) const ROOT: &str = "sha256";

/// The parts of an object's place below [`ROOT`].
pub(super) struct Place {
    hex: String,
}

impl Place {
    pub(super) fn of(name: &ObjectHash) -> Self {
        Self { hex: name.to_hex() }
    }

    /// The two folders on the way.
    pub(super) fn folders(&self) -> [&str; 2] {
        [&self.hex[..2], &self.hex[2..4]]
    }

    /// The last part.
    pub(super) fn file(&self) -> &str {
        &self.hex
    }

    /// All of it, with slashes.
    pub(super) fn path(&self) -> String {
        let [first, second] = self.folders();
        format!("{ROOT}/{first}/{second}/{}", self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_two_folders_and_the_whole_name() {
        let place = Place::of(&ObjectHash::from_bytes([0xab; 32]));
        assert_eq!(place.path(), format!("sha256/ab/ab/{}", "ab".repeat(32)));
    }
}
