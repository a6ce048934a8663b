//! Tries the token and the vault before the mount is said to be ready.
//!
//! What only a person can mend in the command line is told apart from what may heal by itself or
//! may be meant: a mount must come up while the network is down, and rights can be granted secret
//! by secret.

use std::time::Duration;

use crate::clock;
use crate::model::event::Event;
use crate::model::failure::Failure;
use crate::model::failure::Why;
use crate::service::server::Service;
use crate::vault::problem::Detail;
use crate::vault::problem::Problem;

/// What a trial found.
#[derive(Debug)]
pub enum Trial {
    /// A token, and a vault that takes it.
    Works,
    /// Something that may heal by itself, or be meant.
    Warns(Problem),
    /// Something that only another command line mends.
    Fails(Problem),
}

impl Service {
    /// Asks for a token and for the first page of the list, for at most as long as a mount may
    /// take to become ready.
    pub async fn try_out(&self) -> Trial {
        match self.vault().page(None, clock::now() + PATIENCE).await {
            Ok(_) => Trial::Works,
            Err(problem) if hopeless(&problem) => Trial::Fails(problem),
            Err(problem) => {
                if matches!(problem.why, Why::Refused(_)) {
                    self.handle(Event::ListDenied);
                }
                Trial::Warns(problem)
            }
        }
    }
}

fn hopeless(problem: &Problem) -> bool {
    match problem.why {
        Why::Failed(Failure::Unauthorized) => true,
        Why::Failed(Failure::NoIdentity) => {
            matches!(&problem.detail, Detail::NoToken(no_token) if no_token.needs_a_choice())
        }
        Why::Failed(
            Failure::NoToken
            | Failure::Throttled
            | Failure::Unreachable
            | Failure::Nonsense
            | Failure::Firewall
            | Failure::NoRoom,
        )
        | Why::Refused(_) => false,
    }
}

/// How long a mount waits for a first answer: boot does not depend on the network.
const PATIENCE: Duration = Duration::from_secs(3);
