//! Projects as they are made: the committed module of each language passes the fixtures of a new project on every engine.

mod common;

use common::{committed, on_all};
use tally_plugin_author::project::{self, Language, Project};
use tally_plugin_author::source::{EventSource as _, Fixtures};
use tally_plugin_author::{check, compile, purity};
use tally_protocol::id::Index;

#[test]
fn a_new_project_of_each_language_passes_its_fixtures() {
    for language in Language::ALL {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("starter");
        let made = project::create("starter", language, &folder, None).unwrap();
        assert_eq!(Project::load(&folder).unwrap(), Some(made.clone()));
        let plugin = on_all(language.starter());
        assert_eq!(plugin.title(), "starter 0.1.0", "{language:?}");
        let source = Fixtures::at(&folder);
        let tested = check::all(&plugin, &source.files().unwrap(), false).unwrap();
        assert_eq!(tested.iter().map(|tested| tested.name.as_str()).collect::<Vec<_>>(), ["refusals", "stock"]);
        for tested in tested {
            assert!(tested.passed(), "{language:?}: {tested:#?}");
            assert_eq!(tested.engines.len(), 3);
        }
        let purity = purity::check(&plugin, &source.tracks(Index::new(u64::MAX)).unwrap(), 3).unwrap();
        assert!(purity.is_pure(), "{language:?}: {}", purity::text(&purity, str::to_owned));
        // A module in the place of another is noticed.
        let other = check::all(&on_all(&committed("counter")), &source.files().unwrap(), false).unwrap();
        assert!(other.iter().all(|tested| !tested.passed()), "{language:?}");
    }
}

#[test]
fn the_three_languages_come_to_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("starter");
    project::create("starter", Language::C, &folder, None).unwrap();
    let tracks = Fixtures::at(&folder).tracks(Index::new(u64::MAX)).unwrap();
    let roots = |language: Language| {
        let purity = purity::check(&on_all(language.starter()), &tracks, 1).unwrap();
        purity.runs.iter().map(|run| (run.track.clone(), run.state_root.clone())).collect::<Vec<_>>()
    };
    assert_eq!(roots(Language::Rust), roots(Language::C));
    assert_eq!(roots(Language::Rust), roots(Language::AssemblyScript));
}

#[test]
fn a_rust_project_has_all_it_needs_or_a_checkout() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own");
    project::create("own", Language::Rust, &own, None).unwrap();
    assert!(own.join("vendor/tally-plugin/src/lib.rs").is_file());
    let checkout = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let with = dir.path().join("with");
    project::create("with", Language::Rust, &with, Some(&checkout)).unwrap();
    assert!(!with.join("vendor").exists());
    let manifest = std::fs::read_to_string(with.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("sdk/plugin\"") && !manifest.contains('@'), "{manifest}");
    assert!(project::create("with", Language::Rust, &with, None).is_err(), "an old folder is left alone");
    assert!(project::create("x", Language::Rust, &dir.path().join("x"), Some(dir.path())).is_err());
}

#[test]
fn what_is_neither_a_module_nor_a_project_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(compile::module_of(dir.path(), None).is_err());
    std::fs::write(dir.path().join("tally-plugin.json"), r#"{"id":"../x","language":"c"}"#).unwrap();
    assert!(compile::module_of(dir.path(), None).is_err());
}
