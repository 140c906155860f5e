//! Development keys in files.

use tempfile::TempDir;

use crate::suite::{Opened, open_text, signs_for_the_chain, surroundings};

pub(crate) async fn signer(folder: &TempDir) -> Opened {
    let path = folder.path().join("gas.key");
    tally_anchor::signer::file::create(&path, &[0x42; 32]).unwrap();
    let settings = format!("kind = \"file\"\ndevelopment = true\npath = {:?}", path.display().to_string());
    open_text(&settings, &surroundings(folder.path(), &[])).await.unwrap()
}

#[tokio::test]
async fn a_key_in_a_file_signs_for_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let signer = signer(&folder).await;
    signs_for_the_chain(&signer, 1000, &folder.path().join("uses.jsonl")).await;
}
