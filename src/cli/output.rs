//! Standard output, written so that what was written is known to be written.
//!
//! Nothing is buffered on the way: a value leaves no copy behind in this process.

use std::fs::File;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::os::fd::AsFd;

use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::complaint::reason;

/// Writes all of it to standard output. A reader who went away ends the program as it ends
/// cat(1): without a word.
pub fn write(bytes: &[u8]) -> Result<(), Complaint> {
    let done =
        File::from(io::stdout().as_fd().try_clone_to_owned().map_err(complain)?).write_all(bytes);
    done.map_err(complain)
}

fn complain(error: io::Error) -> Complaint {
    if error.kind() == ErrorKind::BrokenPipe {
        return Complaint::new(Exit::Pipe, "the reader of the output went away");
    }
    let why = reason(&error);
    Complaint::new(Exit::System, format!("cannot write the output: {why}"))
}
