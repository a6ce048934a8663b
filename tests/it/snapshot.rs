//! Texts that people see, kept beside the tests, so that a changed sentence is seen as one.
//!
//! `UPDATE=1 cargo test` writes them anew.

use std::fs;
use std::path::Path;

/// Compares a text with the one that is kept under this name.
pub(crate) fn compare(name: &str, text: &str) {
    let path = Path::new("tests/it/snapshots").join(name);
    let update = std::env::var_os("UPDATE").is_some();
    if update {
        fs::write(&path, text).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).find(|(kept, now)| kept != now);
    assert_eq!(differs, None, "{}: (kept, now); UPDATE=1 writes it anew", path.display());
    assert_eq!(kept.lines().count(), text.lines().count(), "{}", path.display());
}
