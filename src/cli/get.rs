//! `akvfs get`: one value to standard output.

use crate::cli::access::Access;
use crate::cli::arguments::Get;
use crate::cli::complaint::Complaint;
use crate::cli::environment;
use crate::cli::option::Key;
use crate::cli::output;
use crate::cli::patience;
use crate::cli::verbosity;
use crate::log;
use crate::model::name::SecretName;

/// Writes the bytes of the value, and nothing else.
pub fn run(order: &Get) -> Result<(), Complaint> {
    let settings = &order.settings;
    let here = environment::read()?;
    let (access, name, version) = match &order.secret {
        Some(name) => {
            let name = parse(name)?;
            (Access::to_vault(&order.vault, settings, &here)?, name, None)
        }
        None if order.vault.contains('/') => {
            let (access, secret) = Access::to_secret(&order.vault, settings, &here)?;
            (access, secret.name, secret.version)
        }
        None => {
            return Err(Complaint::usage("get: SECRET is missing")
                .hint(format!("akvfs get {} SECRET", order.vault)));
        }
    };
    let limit = settings.duration(Key::OpenTimeout)?;
    verbosity::start(settings)?;
    log::info(format_args!("{}", access.identity));
    let found = patience::ask(&access, limit, async |vault, deadline| {
        let find = |deadline| vault.find(&name, version, deadline);
        patience::until(deadline, find).await
    })?;
    let value = found.secret.value.expose();
    output::write(value)?;
    if settings.count(Key::Newline) > 0 && !value.is_empty() && !value.ends_with(b"\n") {
        output::write(b"\n")?;
    }
    Ok(())
}

fn parse(name: &str) -> Result<SecretName, Complaint> {
    SecretName::parse(name).ok_or_else(|| {
        Complaint::usage(format!("{name:?}: no secret can be called that"))
            .hint("a name is 1 to 127 letters, digits and dashes")
    })
}
