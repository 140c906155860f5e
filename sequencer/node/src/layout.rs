//! Where things lie in a data directory, and beside it.
//!
//! ```text
//! DIR/db/           the database
//! DIR/keys/         the node's keys (`tally dev` only)
//! DIR/dev/          what clients need: profile, agent's key, API keys (`tally dev` only)
//! DIR.fence         the fence of a development node, outside the directory
//! ```

use std::path::{Path, PathBuf};

/// The database of a data directory.
#[must_use]
pub fn database(data: &Path) -> PathBuf {
    data.join("db")
}

/// The keys of a development node.
#[must_use]
pub fn dev_keys(data: &Path) -> PathBuf {
    data.join("keys")
}

/// What clients of a development node need.
#[must_use]
pub fn dev_client(data: &Path) -> PathBuf {
    data.join("dev")
}

/// The development chain: empty at each start.
#[must_use]
pub fn dev_chain(data: &Path) -> PathBuf {
    data.join("dev/chain")
}

/// The profile of a development node.
#[must_use]
pub fn dev_profile(data: &Path) -> PathBuf {
    dev_client(data).join("profile.json")
}

/// The fence file beside a data directory: the same name with `.fence` behind it.
#[must_use]
pub fn fence_beside(data: &Path) -> PathBuf {
    let real;
    let data = match data.file_name() {
        Some(_) => data,
        // `.` or `..`: the fence of the folder it means.
        None => {
            real = data.canonicalize().unwrap_or_else(|_| data.to_owned());
            &real
        }
    };
    let mut name = data.file_name().map_or_else(|| "tally-data".into(), std::ffi::OsStr::to_os_string);
    name.push(".fence");
    data.parent().unwrap_or(Path::new("")).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_lies_beside_the_data_and_never_in_it() {
        assert_eq!(fence_beside(Path::new("tally-data")), Path::new("tally-data.fence"));
        assert_eq!(fence_beside(Path::new("/a/b/")), Path::new("/a/b.fence"));
        assert_eq!(fence_beside(Path::new("./x")), Path::new("./x.fence"));
        let here = std::env::current_dir().unwrap();
        assert!(!fence_beside(Path::new(".")).starts_with(&here));
    }
}
