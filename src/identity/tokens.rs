//! The token in use: asked for once however many wait, and renewed before it is missed.
//!
//! A token is renewed from the middle of its life on, behind the callers' backs, and kept until its
//! end whatever becomes of that. The asking goes on when nobody waits for it any more; who asks
//! after a refusal gets that refusal, and the service is left alone for a while.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock;
use crate::identity::choice::Choice;
use crate::identity::choice::Guid;
use crate::identity::no_token::NoToken;
use crate::identity::source::SHORTEST_GAP;
use crate::identity::source::Source;
use crate::identity::token::Token;
use crate::log;
use crate::model::moment::Moment;

/// How long a refusal stands before the service is asked again.
const REFUSED: Duration = Duration::from_secs(30);

/// How long after a token was given up the next one may be.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// One identity's tokens for one resource. Clones share them.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    source: Source,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Token>>,
    /// How many tokens there were.
    count: u64,
    flight: Option<watch::Receiver<Flight>>,
    refused: Option<(Moment, Arc<NoToken>)>,
    /// When the service may be asked again.
    rest: Moment,
    /// When the last token was given up, unless one was accepted since.
    given_up: Option<Moment>,
    /// Whether the token held could not be renewed, which is said once.
    ailing: bool,
    kept: Option<Guid>,
    /// What the next token is to claim, as JSON.
    lacked: Option<String>,
}

/// A request under way: what it heard last, and what came of it.
#[derive(Default)]
struct Flight {
    last: Option<Arc<NoToken>>,
    end: Option<Result<Arc<Token>, Arc<NoToken>>>,
}

impl Tokens {
    /// The tokens from `source`. `kept` is the identity that [`kept`](Self::kept) named in an
    /// earlier life.
    #[must_use]
    pub fn new(source: Source, kept: Option<Guid>) -> Self {
        let state = State { kept, ..State::default() };
        Self(Arc::new(Inner { source, state: Mutex::new(state) }))
    }

    /// A token that has not expired, or why there is none by `deadline`. Must be called on a
    /// tokio runtime, which the asking outlives its callers on.
    pub async fn token(&self, deadline: Moment) -> Result<Arc<Token>, Arc<NoToken>> {
        let mut flight = match self.look(clock::now()) {
            Ok(token) => return Ok(token),
            Err(Waiting::Refused(no_token)) => return Err(no_token),
            Err(Waiting::For(flight)) => flight,
        };
        let end = flight.wait_for(|flight| flight.end.is_some());
        let left = deadline.since(clock::now());
        if let Ok(Ok(flight)) = tokio::time::timeout(left, end).await
            && let Some(end) = &flight.end
        {
            return end.clone();
        }
        let last = flight.borrow().last.clone();
        let source = &self.0.source;
        let unheard = || Arc::new(NoToken::unheard(source.kind(), source.choice().clone()));
        Err(last.unwrap_or_else(unheard))
    }

    /// A vault took this token, so one that it refuses later was taken back.
    pub fn accepted(&self, token: &Token) {
        let mut state = self.0.state.lock();
        if state.held.as_ref().is_some_and(|held| held.serial() == token.serial()) {
            state.given_up = None;
        }
    }

    /// Gives up a token that a vault did not accept, and says whether to ask for another, which is
    /// to claim what this one lacked, if the vault said so. Not if one was given up only just and
    /// none was accepted since: then the tokens are not at fault.
    #[must_use]
    pub fn invalidate(&self, token: &Token, lacked: Option<String>) -> bool {
        let now = clock::now();
        let mut state = self.0.state.lock();
        let held = state.held.as_ref();
        if held.is_none_or(|held| held.serial() != token.serial()) {
            return true;
        }
        if state.given_up.is_some_and(|then| now.since(then) < GIVEN_UP) {
            return false;
        }
        state.given_up = Some(now);
        state.held = None;
        state.lacked = lacked;
        true
    }

    /// Whom `auto` took, once it is known: to be told to whoever comes after this process.
    #[must_use]
    pub fn kept(&self) -> Option<Guid> {
        self.0.source.kept().or_else(|| self.0.state.lock().kept.clone())
    }

    /// Until when the token that is held is good, if one is.
    #[must_use]
    pub fn expires(&self) -> Option<Moment> {
        self.0.state.lock().held.as_ref().map(|held| held.expires())
    }

    fn look(&self, now: Moment) -> Result<Arc<Token>, Waiting> {
        let mut state = self.0.state.lock();
        let held = state.held.clone().filter(|held| now < held.expires());
        let due = held.as_ref().is_none_or(|held| now >= held.renew());
        if let Some(held) = held {
            if due && state.refusal(now).is_none() {
                self.fly(&mut state);
            }
            return Ok(held);
        }
        match state.refusal(now) {
            Some(no_token) => Err(Waiting::Refused(no_token)),
            None => Err(Waiting::For(self.fly(&mut state))),
        }
    }

    /// Joins the request that is under way, or starts one.
    fn fly(&self, state: &mut State) -> watch::Receiver<Flight> {
        let under_way = state.flight.as_ref();
        // One whose task is gone will never land.
        if let Some(flight) = under_way.filter(|flight| flight.has_changed().is_ok()) {
            return flight.clone();
        }
        let (told, flight) = watch::channel(Flight::default());
        state.flight = Some(flight.clone());
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move { inner.fetch(&told).await });
        flight
    }
}

/// What a caller without a token has instead.
enum Waiting {
    For(watch::Receiver<Flight>),
    Refused(Arc<NoToken>),
}

impl State {
    fn refusal(&self, now: Moment) -> Option<Arc<NoToken>> {
        let (then, no_token) = self.refused.as_ref()?;
        (now.since(*then) < REFUSED).then(|| Arc::clone(no_token))
    }
}

impl Inner {
    async fn fetch(&self, told: &watch::Sender<Flight>) {
        let (kept, lacked, rest) = {
            let state = self.state.lock();
            (state.kept.clone(), state.lacked.clone(), state.rest.since(clock::now()))
        };
        tokio::time::sleep(rest).await;
        let note = |no_token| told.send_modify(|flight| flight.last = Some(Arc::new(no_token)));
        let fetched = self.source.fetch(kept.as_ref(), lacked.as_deref(), note).await;
        let end = self.land(fetched, clock::now());
        told.send_modify(|flight| flight.end = Some(end));
    }

    fn land(
        &self,
        fetched: Result<Token, NoToken>,
        now: Moment,
    ) -> Result<Arc<Token>, Arc<NoToken>> {
        let mut state = self.state.lock();
        state.flight = None;
        state.rest = now + SHORTEST_GAP;
        match fetched {
            Ok(token) => {
                state.count += 1;
                let token = Arc::new(token.numbered(state.count));
                if *self.source.choice() == Choice::Auto && state.kept.is_none() {
                    state.kept = token.client_id().cloned();
                }
                state.refused = None;
                state.lacked = None;
                log::debug(format_args!("a token, good for {:?}", token.expires().since(now)));
                if std::mem::take(&mut state.ailing) {
                    log::info(format_args!("there are tokens again"));
                }
                state.held = Some(Arc::clone(&token));
                Ok(token)
            }
            Err(no_token) => {
                let no_token = Arc::new(no_token);
                // While the old token lives, nobody else would notice.
                if state.held.is_some() && !std::mem::replace(&mut state.ailing, true) {
                    log::warning(format_args!("{no_token}"));
                }
                if no_token.is_refusal() {
                    state.refused = Some((now, Arc::clone(&no_token)));
                }
                Err(no_token)
            }
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokens({:?})", self.0.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use crate::identity::no_token::Reason;
    use crate::stand_in::Act;
    use crate::stand_in::Heard;
    use crate::stand_in::Server;
    use crate::stand_in::answer;
    use crate::stand_in::token_reply;
    use crate::stand_in::until;

    const RESOURCE: &str = "https://vault.azure.net";
    const ME: &str = "0f0e0d0c-1111-2222-3333-444455556666";

    fn from(server: &Server, choice: Choice, kept: Option<Guid>) -> Tokens {
        Tokens::new(Source::imds(server.address(), choice), kept)
    }

    fn soon() -> Moment {
        clock::now() + Duration::from_secs(10)
    }

    fn token(number: usize, seconds: u64) -> Act {
        Act::Say(token_reply(&format!("t{number}"), ME, seconds, RESOURCE))
    }

    async fn lives(seconds: u64) -> (Server, Tokens) {
        let server = Server::plain(move |number, _: &Heard| token(number, seconds)).await;
        let tokens = from(&server, Choice::Auto, None);
        (server, tokens)
    }

    fn text(token: &Token) -> String {
        String::from_utf8(token.secret().expose().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn forty_callers_cost_one_request() {
        let (server, tokens) = lives(86_400).await;
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let tokens = tokens.clone();
            callers.spawn(async move { tokens.token(soon()).await.unwrap().serial() });
        }
        let serials = callers.join_all().await;
        assert_eq!(serials, [1; 40]);
        tokens.token(soon()).await.unwrap();
        assert_eq!(server.requests(), 1);
    }

    #[tokio::test]
    async fn a_token_past_its_half_is_served_while_it_is_renewed_once_behind() {
        let (server, tokens) = lives(3600).await;
        let first = tokens.token(soon()).await.unwrap();
        let before = tokens.look(first.renew()).ok().unwrap();
        let again = tokens.look(first.renew()).ok().unwrap();
        assert_eq!((text(&before), text(&again)), ("t0".into(), "t0".into()));
        let renewed = || tokens.0.state.lock().count == 2;
        until("the second token", renewed).await;
        assert_eq!(text(&tokens.token(soon()).await.unwrap()), "t1");
        assert_eq!(server.requests(), 2);
    }

    #[tokio::test]
    async fn a_token_is_not_renewed_before_its_half_nor_served_at_its_end() {
        let (_server, tokens) = lives(3600).await;
        let first = tokens.token(soon()).await.unwrap();
        let half = first.renew().uptime() - Duration::from_millis(1);
        assert!(tokens.look(Moment::after_boot(half)).is_ok());
        assert!(tokens.0.state.lock().flight.is_none());
        assert!(tokens.look(first.expires()).is_err());
    }

    #[tokio::test]
    async fn the_old_token_is_kept_while_it_cannot_be_renewed() {
        let server = Server::plain(|number, _| match number {
            0 => token(0, 40),
            _ => {
                let body =
                    r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
                Act::Say(answer(400, &[], body))
            }
        })
        .await;
        let tokens = from(&server, Choice::Auto, None);
        let first = tokens.token(soon()).await.unwrap();
        assert!(tokens.look(first.renew()).is_ok());
        until("the refusal", || tokens.0.state.lock().refused.is_some()).await;
        assert_eq!(text(&tokens.look(first.renew()).ok().unwrap()), "t0");
        // The refusal stands, so nobody asked again.
        assert!(tokens.0.state.lock().flight.is_none());
        assert_eq!(server.requests(), 2);
    }

    #[tokio::test]
    async fn the_asking_goes_on_when_its_caller_has_left() {
        let server = Server::plain(|_, _| {
            let reply = token_reply("late", ME, 60, RESOURCE);
            Act::SayLater(Duration::from_millis(300), reply)
        })
        .await;
        let tokens = from(&server, Choice::Auto, None);
        let impatient = tokens.token(clock::now() + Duration::from_millis(50)).await;
        let unheard = Reason::NoAnswer(http::Error::TimedOut);
        assert_eq!(impatient.unwrap_err().reason, unheard);
        until("the late token", || tokens.0.state.lock().held.is_some()).await;
        assert_eq!(text(&tokens.token(soon()).await.unwrap()), "late");
        assert_eq!(server.requests(), 1);
    }

    #[tokio::test]
    async fn a_caller_whose_time_is_up_hears_what_was_heard_last() {
        let server = Server::plain(|_, _| Act::Say(answer(429, &[], ""))).await;
        let tokens = from(&server, Choice::Auto, None);
        let deadline = clock::now() + Duration::from_millis(300);
        let no_token = tokens.token(deadline).await.unwrap_err();
        assert_eq!(no_token.reason, Reason::Busy { status: 429 });
        assert!(!no_token.is_refusal());
    }

    #[tokio::test]
    async fn a_refusal_stands_for_thirty_seconds_and_no_longer() {
        let server = Server::plain(|_, _| {
            let body = r#"{"error":"invalid_request","error_description":"Identity not found"}"#;
            Act::Say(answer(400, &[], body))
        })
        .await;
        let tokens = from(&server, Choice::Auto, None);
        for _ in 0..20 {
            let no_token = tokens.token(soon()).await.unwrap_err();
            assert_eq!(no_token.reason, Reason::NoIdentity);
        }
        assert_eq!(server.requests(), 1);
        let later = |seconds| clock::now() + Duration::from_secs(seconds);
        assert!(matches!(tokens.look(later(29)), Err(Waiting::Refused(_))));
        assert!(matches!(tokens.look(later(30)), Err(Waiting::For(_))));
        until("the second request", || server.requests() == 2).await;
    }

    #[tokio::test]
    async fn a_token_given_up_is_replaced_once_in_a_while() {
        let (server, tokens) = lives(3600).await;
        let first = tokens.token(soon()).await.unwrap();
        assert!(tokens.invalidate(&first, None));
        let second = tokens.token(soon()).await.unwrap();
        assert_eq!(text(&second), "t1");
        // Others who had the first one refused use the second.
        assert!(tokens.invalidate(&first, None));
        assert_eq!(tokens.token(soon()).await.unwrap().serial(), second.serial());
        assert!(!tokens.invalidate(&second, None));
        assert_eq!(tokens.token(soon()).await.unwrap().serial(), second.serial());
        assert_eq!(server.requests(), 2);
    }

    #[tokio::test]
    async fn what_a_token_lacked_is_forgotten_once_there_is_another() {
        let (_server, tokens) = lives(3600).await;
        let first = tokens.token(soon()).await.unwrap();
        assert!(tokens.invalidate(&first, Some("{}".to_owned())));
        assert_eq!(tokens.0.state.lock().lacked.as_deref(), Some("{}"));
        tokens.token(soon()).await.unwrap();
        assert_eq!(tokens.0.state.lock().lacked, None);
    }

    #[tokio::test]
    async fn a_token_that_was_accepted_is_replaced_however_soon_it_is_given_up() {
        let (server, tokens) = lives(3600).await;
        let first = tokens.token(soon()).await.unwrap();
        assert!(tokens.invalidate(&first, None));
        let second = tokens.token(soon()).await.unwrap();
        // An answer that was still under way with the first one proves nothing of the second.
        tokens.accepted(&first);
        assert!(!tokens.invalidate(&second, None));
        tokens.accepted(&second);
        assert!(tokens.invalidate(&second, None));
        assert_eq!(text(&tokens.token(soon()).await.unwrap()), "t2");
        assert_eq!(server.requests(), 3);
    }

    #[tokio::test]
    async fn the_service_is_asked_twice_a_second_at_most() {
        let (_server, tokens) = lives(3600).await;
        let first = tokens.token(soon()).await.unwrap();
        let between = clock::now();
        assert!(tokens.invalidate(&first, None));
        tokens.token(soon()).await.unwrap();
        let gap = clock::now().since(between) + Duration::from_millis(50);
        assert!(gap >= SHORTEST_GAP, "{gap:?}");
    }

    #[tokio::test]
    async fn auto_keeps_whom_it_took_first_and_no_other_choice_keeps_anybody() {
        let (server, tokens) = lives(3600).await;
        assert_eq!(tokens.kept(), None);
        tokens.token(soon()).await.unwrap();
        assert_eq!(tokens.kept(), Guid::parse(ME));
        let system = from(&server, Choice::System, None);
        system.token(soon()).await.unwrap();
        assert_eq!(system.kept(), None);
        let before = Guid::parse("99999999-1111-2222-3333-444455556666");
        let heir = from(&server, Choice::Auto, before.clone());
        heir.token(soon()).await.unwrap();
        assert_eq!(heir.kept(), before);
    }

    #[tokio::test]
    async fn a_flight_whose_task_is_gone_is_started_anew() {
        let (server, tokens) = lives(3600).await;
        let (gone, flight) = watch::channel(Flight::default());
        tokens.0.state.lock().flight = Some(flight);
        drop(gone);
        tokens.token(soon()).await.unwrap();
        assert_eq!(server.requests(), 1);
    }
}
