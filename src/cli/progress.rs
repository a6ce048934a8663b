//! How far a mount is that fetches its values first: a line on a terminal, and nowhere else.

use std::io;
use std::io::IsTerminal;
use std::io::Write;

/// Shows that so many values of so many are here; of how many is not known yet if that is 0.
pub fn show(done: u64, total: u64) {
    if total == 0 {
        line("akvfs: asks for the list");
    } else {
        line(&format!("akvfs: {done} of {total} values"));
    }
}

/// Takes the line away.
pub fn end() {
    line("");
}

fn line(text: &str) {
    let mut out = io::stderr().lock();
    if out.is_terminal() {
        // Back to the margin, and nothing left of what stood there. Nobody minds if it fails.
        let _ = write!(out, "\r\x1b[K{text}");
        let _ = out.flush();
    }
}
