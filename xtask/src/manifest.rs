//! The little of `Cargo.toml` that the floors need: a crate's name and its dependencies by kind.
//!
//! Takes TOML as this workspace writes it (one dependency a line, or a `[dependencies.name]` table); gives names.
//! Nothing fails here: a line that is not understood names no dependency, and cargo itself refuses bad TOML.

/// Where a dependency is declared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `[dependencies]`, also of one target.
    Normal,
    /// `[dev-dependencies]`.
    Dev,
    /// `[build-dependencies]`.
    Build,
}

/// One declared dependency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// Where it is declared.
    pub kind: Kind,
    /// The line, from 1.
    pub line: usize,
    /// The declaration as written, without the name.
    pub value: String,
}

/// A crate's manifest.
#[derive(Default, Debug)]
pub struct Manifest {
    /// The package's name; empty for a workspace root without a package.
    pub name: String,
    /// All dependencies in the order of the file.
    pub dependencies: Vec<Dependency>,
    /// Whether the workspace's lints apply.
    pub lints: bool,
}

impl Manifest {
    /// Reads a manifest.
    #[must_use]
    pub fn parse(text: &str) -> Manifest {
        let mut manifest = Manifest::default();
        let mut section = String::new();
        for (number, raw) in text.lines().enumerate() {
            let line = raw.split(" #").next().unwrap_or(raw).trim();
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                header.trim_matches(['[', ']']).clone_into(&mut section);
                if let Some((kind, name)) = table_dependency(&section) {
                    manifest.dependencies.push(Dependency { name, kind, line: number + 1, value: String::new() });
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
            let (key, value) = (key.trim().trim_matches('"'), value.trim());
            if section == "package" && key == "name" {
                value.trim_matches('"').clone_into(&mut manifest.name);
            }
            manifest.lints |= section == "lints" && key == "workspace" && value == "true";
            if let Some(kind) = dependency_kind(&section) {
                let name = key.split('.').next().unwrap_or(key).to_owned();
                manifest.dependencies.push(Dependency { name, kind, line: number + 1, value: value.to_owned() });
            }
        }
        manifest
    }

    /// The dependencies of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(move |dependency| dependency.kind == kind)
    }
}

fn dependency_kind(section: &str) -> Option<Kind> {
    let last = section.rsplit('.').next().unwrap_or(section);
    let known = section == last || section.starts_with("target.");
    match last {
        "dependencies" if known => Some(Kind::Normal),
        "dev-dependencies" if known => Some(Kind::Dev),
        "build-dependencies" if known => Some(Kind::Build),
        _ => None,
    }
}

fn table_dependency(section: &str) -> Option<(Kind, String)> {
    let (parent, name) = section.rsplit_once('.')?;
    Some((dependency_kind(parent)?, name.trim_matches('"').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[package]\nname = \"tally-x\"\n[lints]\nworkspace = true\n[dependencies]\nbytes.workspace = true\n\
        tokio = { workspace = true, features = [\"sync\"] } # why\n# commented = \"1\"\n[dependencies.big]\nversion = \"1\"\n\
        [target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n[dev-dependencies]\nproptest.workspace = true\n[features]\nx = []\n";

    #[test]
    fn every_form_of_a_dependency_is_seen() {
        let manifest = Manifest::parse(TEXT);
        let names = |kind| manifest.of_kind(kind).map(|d| d.name.as_str()).collect::<Vec<_>>();
        assert_eq!(manifest.name, "tally-x");
        assert!(manifest.lints);
        assert_eq!(names(Kind::Normal), ["bytes", "tokio", "big", "libc"]);
        assert_eq!(names(Kind::Dev), ["proptest"]);
        assert_eq!(manifest.dependencies[1].line, 7);
    }

    #[test]
    fn workspace_dependencies_are_not_a_crates_dependencies() {
        assert!(Manifest::parse("[workspace.dependencies]\nbytes = \"1\"\n").dependencies.is_empty());
    }
}
