//! How much a command in the foreground says on standard error beside its errors.

use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::complaint::reason;
use crate::cli::settings::Settings;
use crate::log;
use crate::log::Destination;
use crate::log::Level;
use crate::log::Sink;

/// Says nothing without `-v`: a command that succeeds is silent.
pub fn start(settings: &Settings) -> Result<(), Complaint> {
    let verbosity = settings.verbosity();
    if verbosity == 0 {
        return Ok(());
    }
    let sink = Sink::open(&Destination::Stderr);
    let sink = sink.map_err(|error| Complaint::new(Exit::System, reason(&error)))?;
    if let Some(sink) = sink {
        log::start(sink, Level::of(verbosity));
    }
    Ok(())
}
