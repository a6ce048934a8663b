//! Asking a vault for a person who waits: again while that may help, and no longer than he will.

use std::future::Future;
use std::time::Duration;

use crate::cli::access::Access;
use crate::cli::complaint::Complaint;
use crate::cli::complaint::Exit;
use crate::cli::runtime;
use crate::clock;
use crate::http;
use crate::log;
use crate::model::failure::Failure;
use crate::model::failure::Refusal;
use crate::model::failure::Why;
use crate::model::moment::Moment;
use crate::supervisor::process;
use crate::vault::client::Vault;
use crate::vault::problem::BELIEVED;
use crate::vault::problem::Detail;
use crate::vault::problem::Problem;

/// Runs what asks the vault, until `limit` has passed.
pub fn ask<T>(
    access: &Access,
    limit: Duration,
    question: impl AsyncFnOnce(&Vault, Moment) -> Result<T, Problem>,
) -> Result<T, Complaint> {
    let system = |error: &dyn ToString| Complaint::new(Exit::System, error.to_string());
    process::keep_to_itself().map_err(|error| system(&error))?;
    let deadline = clock::now() + limit;
    let answer = runtime::wait_for(async {
        let (vault, _tokens) = access.connect(None).map_err(Complaint::from)?;
        question(&vault, deadline).await.map_err(|problem| complain(&problem))
    });
    answer.map_err(|error| system(&error))?
}

/// Asks until there is an answer, a problem that asking again does not mend, or no time left.
pub async fn until<T, F: Future<Output = Result<T, Problem>>>(
    deadline: Moment,
    question: impl Fn(Moment) -> F,
) -> Result<T, Problem> {
    let mut pause = FIRST_PAUSE;
    let mut earlier = None;
    loop {
        let now = clock::now();
        // Half of what is left, so that one lost packet leaves time for another try.
        let share = (deadline.since(now) / 2).max(SHORTEST_TRY).min(deadline.since(now));
        let problem = match question(now + share).await {
            Ok(answer) => return Ok(answer),
            // What cut the last try short says less than what became of those before.
            Err(problem) if is_late(&problem) => earlier.take().unwrap_or(problem),
            Err(problem) => problem,
        };
        let asked_for = problem.retry_after.filter(|wait| *wait <= BELIEVED);
        let wait = asked_for.unwrap_or_default().max(pause);
        if !may_heal(&problem) || clock::now() + wait >= deadline {
            return Err(problem);
        }
        log::info(format_args!("{problem}; asking again"));
        earlier = Some(problem);
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What a problem is to a person, and which exit code.
#[must_use]
pub fn complain(problem: &Problem) -> Complaint {
    Complaint { hint: problem.hint(), ..Complaint::new(exit(problem), problem.to_string()) }
}

fn exit(problem: &Problem) -> Exit {
    match (problem.why, &problem.detail) {
        (Why::Refused(Refusal::Missing), _) => Exit::NotFound,
        (Why::Refused(_), _)
        | (Why::Failed(Failure::Unauthorized | Failure::NoIdentity | Failure::Firewall), _) => {
            Exit::Refused
        }
        (Why::Failed(Failure::NoToken), Detail::NoToken(no_token)) if no_token.is_refusal() => {
            Exit::Refused
        }
        (Why::Failed(Failure::NoRoom), _) => Exit::System,
        (
            Why::Failed(
                Failure::NoToken | Failure::Throttled | Failure::Unreachable | Failure::Nonsense,
            ),
            _,
        ) => Exit::Unreachable,
    }
}

const fn is_late(problem: &Problem) -> bool {
    matches!(&problem.detail, Detail::NoAnswer(http::Error::TimedOut))
}

fn may_heal(problem: &Problem) -> bool {
    match (problem.why, &problem.detail) {
        // There is no such host, or somebody else answers for it: so it will be in a second, too.
        (_, Detail::NoAnswer(http::Error::NoName | http::Error::Tls(_))) => false,
        (Why::Failed(Failure::NoToken), Detail::NoToken(no_token)) => !no_token.is_refusal(),
        (Why::Failed(Failure::Throttled | Failure::Unreachable), _) => true,
        (
            Why::Refused(_)
            | Why::Failed(
                Failure::NoIdentity
                | Failure::NoToken
                | Failure::Unauthorized
                | Failure::Firewall
                | Failure::Nonsense
                | Failure::NoRoom,
            ),
            _,
        ) => false,
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const SHORTEST_TRY: Duration = Duration::from_secs(1);
