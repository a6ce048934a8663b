//! What a machine in Azure says of itself, and what follows for vaults: the one that a tag names,
//! and the cloud in which a bare name is completed.
//!
//! Whoever may write the tag chooses the vault, so it is a name, in this machine's own cloud, and
//! nothing that leads anywhere else.

use std::time::Duration;

use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::runtime;
use crate::clock;
use crate::identity::choice::Choice;
use crate::identity::detect;
use crate::identity::kind::Kind;
use crate::identity::machine::Machine;
use crate::identity::no_token::NoToken;
use crate::identity::no_token::Reason;
use crate::identity::surroundings::Surroundings;
use crate::model::moment::Moment;
use crate::vault::address::AddressError;
use crate::vault::address::VaultAddress;
use crate::vault::cloud::Cloud;

/// The vault that this machine's own tag names, for at most so long.
pub fn tagged(
    name: &str,
    here: &Surroundings,
    ca_pem: Option<&[u8]>,
    patience: Duration,
) -> Result<VaultAddress, Complaint> {
    let endpoint = detect::metadata_endpoint(here);
    let endpoint = endpoint.map_err(|error| Complaint::usage(error.to_string()))?;
    let machine = Machine::new(&endpoint, ca_pem)?;
    let found = runtime::wait_for(look(&machine, name, clock::now() + patience));
    found.map_err(|error| Complaint::new(Exit::System, error.to_string()))?
}

async fn look(machine: &Machine, name: &str, deadline: Moment) -> Result<VaultAddress, Complaint> {
    let what = format!("tag:{name}");
    let failed = |reason| unheard(&what, reason);
    let value = until(deadline, || machine.tag(name)).await.map_err(failed)?;
    let value = value.ok_or_else(|| {
        Complaint::new(Exit::NotFound, format!("{what}: this machine has no such tag"))
            .hint("tags of a scale set reach its machines when they are updated or made anew")
    })?;
    let cloud = until(deadline, || machine.environment()).await.map_err(failed)?;
    let cloud = Cloud::of_environment(&cloud).ok_or_else(|| unknown(&what, &cloud))?;
    VaultAddress::named(&value, cloud).map_err(|error| no_name(&what, &error))
}

/// Asks again while that may help.
async fn until<T, F: Future<Output = Result<T, Reason>>>(
    deadline: Moment,
    ask: impl Fn() -> F,
) -> Result<T, Reason> {
    loop {
        let left = deadline.since(clock::now());
        let answer = tokio::time::timeout(left, ask()).await;
        let reason = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(reason)) => reason,
            Err(_) => return Err(Reason::NoAnswer(crate::http::Error::TimedOut)),
        };
        let heals = matches!(reason, Reason::Busy { .. } | Reason::NoAnswer(_));
        if !heals || clock::now() + PAUSE >= deadline {
            return Err(reason);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn unheard(what: &str, reason: Reason) -> Complaint {
    let is_silent = matches!(reason, Reason::NoAnswer(_));
    let no_token = NoToken { reason, source: Kind::Imds, choice: Choice::System };
    let exit = if no_token.is_refusal() { Exit::Refused } else { Exit::Unreachable };
    let complaint = Complaint::new(exit, format!("{what}: {}", no_token.no_answer()));
    if is_silent { complaint.hint(Kind::Imds.silence()) } else { complaint }
}

fn unknown(what: &str, cloud: &str) -> Complaint {
    let message = format!("{what}: this machine is in no known cloud: {cloud:?}");
    Complaint::new(Exit::Unreachable, message).hint("type the vault's whole address")
}

fn no_name(what: &str, error: &AddressError) -> Complaint {
    Complaint::new(Exit::Unreachable, format!("{what} is {error}"))
        .hint("a tag holds the vault's name alone; it is completed in this machine's own cloud")
}

/// The metadata service answers five requests a second to all on the machine together.
const PAUSE: Duration = Duration::from_millis(500);
