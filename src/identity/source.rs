//! The source that a mount has, asked until it gives a token or says no.
//!
//! It is never asked more than twice a second. What heals by itself is asked again for as long as
//! an update of the metadata service may take; a refusal ends the asking at once.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::http::Client;
use crate::http::Proxy;
use crate::identity::app_service::AppService;
use crate::identity::arc::AzureArc;
use crate::identity::azure_cli::AzureCli;
use crate::identity::azure_ml::AzureMl;
use crate::identity::choice::Choice;
use crate::identity::choice::Guid;
use crate::identity::cloud_shell::CloudShell;
use crate::identity::entra::Entra;
use crate::identity::from_vault::FromVault;
use crate::identity::from_vault::Reader;
use crate::identity::imds::Imds;
use crate::identity::kind::Kind;
use crate::identity::no_token::NoToken;
use crate::identity::no_token::Reason;
use crate::identity::service_fabric::ServiceFabric;
use crate::identity::service_principal::Principal;
use crate::identity::service_principal::ServicePrincipal;
use crate::identity::taken::Origin;
use crate::identity::taken::Taken;
use crate::identity::token::Token;
use crate::identity::token_service::TokenService;
use crate::identity::workload::Workload;
use crate::model::secret::SecretBytes;
use crate::tls::BadRoots;

/// The metadata service answers 5 requests a second to all who ask on the machine together.
pub(crate) const SHORTEST_GAP: Duration = Duration::from_millis(500);
const LONGEST_GAP: Duration = Duration::from_secs(10);

/// An update of the metadata service takes up to 70 s, in which it answers 410.
const PATIENCE: Duration = Duration::from_secs(75);

/// One identity's source of tokens for one resource.
#[derive(Clone, Debug)]
pub struct Source {
    speaker: Speaker,
    origin: Origin,
    choice: Choice,
}

/// For what tokens are asked, and how the world outside is reached.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// For what.
    pub resource: &'a str,
    /// Who issues tokens to those who speak for themselves: `https://HOST`.
    pub authority: &'a str,
    /// The authorities to trust, if not the system's.
    pub ca_pem: Option<&'a [u8]>,
    /// The way to Entra, if it is not open.
    pub proxy: Option<&'a Proxy>,
    /// How a principal in a vault is read.
    pub reader: Option<&'a Reader>,
}

/// Who speaks the source's dialect, with the secret that goes with each question.
#[derive(Clone, Debug)]
enum Speaker {
    AppService(AppService, Arc<SecretBytes>),
    ServiceFabric(ServiceFabric, Arc<SecretBytes>),
    AzureMl(AzureMl, Arc<SecretBytes>),
    CloudShell(CloudShell),
    Arc(AzureArc),
    Imds(Imds),
    ServicePrincipal(Box<ServicePrincipal>),
    Workload(Box<Workload>),
    AzureCli(AzureCli),
    From(Box<FromVault>),
}

impl Source {
    /// The source that was taken.
    pub fn new(taken: &Taken, terms: &Terms<'_>) -> Result<Self, BadRoots> {
        let speaker = Speaker::of(taken, terms)?;
        Ok(Self { speaker, origin: taken.origin.clone(), choice: taken.choice.clone() })
    }

    /// The identity that is asked for.
    pub(crate) const fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Its kind.
    pub(crate) const fn kind(&self) -> Kind {
        self.origin.kind()
    }

    /// Whom `auto` took, if that is not told by the tokens themselves.
    pub(crate) fn kept(&self) -> Option<Guid> {
        if let Speaker::From(from_vault) = &self.speaker { from_vault.kept() } else { None }
    }

    /// Asks until there is a token, or a refusal, or no patience left. `kept` is whom `auto` took
    /// before; `lacked` is what a vault wants the token to claim, for those that can be told. Each
    /// failure that does not end it is told to `note`.
    pub(crate) async fn fetch(
        &self,
        kept: Option<&Guid>,
        lacked: Option<&str>,
        note: impl Fn(NoToken),
    ) -> Result<Token, NoToken> {
        let start = clock::now();
        let mut tries = 0;
        loop {
            let reason = match self.ask_as(kept, lacked).await {
                Ok(token) => return Ok(token),
                Err(reason) => reason,
            };
            let no_token = NoToken { reason, source: self.kind(), choice: self.choice.clone() };
            if no_token.is_refusal() || clock::now().since(start) >= PATIENCE {
                return Err(no_token);
            }
            let wait = no_token.reason.wait();
            note(no_token);
            tokio::time::sleep(gap(tries).max(wait)).await;
            tries += 1;
        }
    }

    /// Under `auto`, whoever was taken first stays: where the source would now give somebody else
    /// or wants a choice, that one is named, if it can be.
    async fn ask_as(&self, kept: Option<&Guid>, lacked: Option<&str>) -> Result<Token, Reason> {
        let answer = self.ask(&self.choice, lacked).await;
        let Some(kept) = kept.filter(|_| self.choice == Choice::Auto) else {
            return answer;
        };
        let other = match &answer {
            Ok(token) => token.client_id().is_some_and(|id| id != kept),
            Err(reason) => *reason == Reason::Several,
        };
        let named = Choice::ClientId(kept.clone());
        if !other || !self.origin.can_be(&named) {
            return answer;
        }
        tokio::time::sleep(SHORTEST_GAP).await;
        self.ask(&named, lacked).await
    }

    async fn ask(&self, choice: &Choice, lacked: Option<&str>) -> Result<Token, Reason> {
        match &self.speaker {
            Speaker::AppService(app_service, header) => app_service.ask(choice, header).await,
            Speaker::ServiceFabric(cluster, header) => cluster.ask(header).await,
            Speaker::AzureMl(azure_ml, secret) => azure_ml.ask(choice, secret).await,
            Speaker::CloudShell(cloud_shell) => cloud_shell.ask().await,
            Speaker::Arc(agent) => agent.ask().await,
            Speaker::Imds(imds) => imds.ask(choice).await,
            Speaker::ServicePrincipal(principal) => principal.ask(lacked).await,
            Speaker::Workload(workload) => workload.ask(lacked).await,
            Speaker::AzureCli(azure_cli) => azure_cli.ask().await,
            Speaker::From(from_vault) => from_vault.ask(lacked).await,
        }
    }
}

impl Speaker {
    fn of(taken: &Taken, terms: &Terms<'_>) -> Result<Self, BadRoots> {
        let Terms { resource, authority, ca_pem, .. } = *terms;
        // One without its secret, where one belongs, asks without and hears no.
        let secret = || taken.secret.clone().unwrap_or_else(|| Arc::new(SecretBytes::new(vec![])));
        let service = |endpoint| TokenService::new(endpoint, ca_pem, resource);
        let outside = || Client::outside(ca_pem, terms.proxy);
        // What makes an address and fits a certificate was seen to by whoever mounted.
        let odd = || BadRoots::new("the identity cannot be reached or read");
        Ok(match &taken.origin {
            Origin::AppService(endpoint) => {
                Self::AppService(AppService(service(endpoint)?), secret())
            }
            Origin::ServiceFabric(endpoint, thumbprint) => {
                Self::ServiceFabric(ServiceFabric::new(endpoint, *thumbprint, resource)?, secret())
            }
            Origin::AzureMl(endpoint) => Self::AzureMl(AzureMl(service(endpoint)?), secret()),
            Origin::CloudShell(endpoint) => Self::CloudShell(CloudShell(service(endpoint)?)),
            Origin::Arc(endpoint) => Self::Arc(AzureArc(service(endpoint)?)),
            Origin::Imds(endpoint) => Self::Imds(Imds(service(endpoint)?)),
            Origin::ServicePrincipal(Principal { tenant, client_id, means }) => {
                let entra = Entra::new(outside()?, authority, tenant, client_id, resource);
                let principal =
                    entra.and_then(|entra| ServicePrincipal::new(entra, means, secret()));
                Self::ServicePrincipal(Box::new(principal.ok_or_else(odd)?))
            }
            Origin::Workload(federation) => {
                let workload = Workload::new(federation, outside()?, authority, resource);
                Self::Workload(Box::new(workload.ok_or_else(odd)?))
            }
            Origin::AzureCli(program) => Self::AzureCli(AzureCli::new(program, resource)),
            Origin::From(..) => {
                let reader = terms.reader.cloned().ok_or_else(odd)?;
                let from_vault = FromVault::new(reader, outside()?, authority, resource);
                Self::From(Box::new(from_vault))
            }
        })
    }
}

/// How long to wait after the failure of so many tries.
fn gap(tries: u32) -> Duration {
    let doubled = SHORTEST_GAP.checked_mul(1 << tries.min(8));
    doubled.unwrap_or(LONGEST_GAP).min(LONGEST_GAP)
}

#[cfg(test)]
impl Source {
    /// A metadata service on loopback.
    pub(crate) fn imds(address: std::net::SocketAddr, choice: Choice) -> Self {
        let endpoint = crate::identity::imds::endpoint(Some(&format!("http://{address}")));
        Self::of(Origin::Imds(endpoint.unwrap()), choice)
    }

    /// A source that wants to be shown nothing, for tokens for vaults.
    fn of(origin: Origin, choice: Choice) -> Self {
        let taken = Taken { origin, choice, secret: None, passed_over: Vec::new() };
        let terms = Terms {
            resource: "https://vault.azure.net",
            authority: "https://login.microsoftonline.com",
            ca_pem: None,
            proxy: None,
            reader: None,
        };
        Self::new(&taken, &terms).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::identity::endpoint::Endpoint;
    use crate::stand_in::Act;
    use crate::stand_in::Server;
    use crate::stand_in::answer;
    use crate::stand_in::token_reply;

    const RESOURCE: &str = "https://vault.azure.net";
    const ME: &str = "0f0e0d0c-1111-2222-3333-444455556666";
    const SHE: &str = "99999999-1111-2222-3333-444455556666";

    fn several() -> Act {
        let body = r#"{"error":"invalid_request","error_description":"Multiple user assigned identities exist"}"#;
        Act::Say(answer(400, &[], body))
    }

    #[tokio::test]
    async fn what_heals_is_asked_again_and_each_failure_is_told() {
        let server = Server::plain(|number, _| match number {
            0 => Act::Say(answer(429, &[], "")),
            1 => Act::SayAndClose(answer(410, &[], "")),
            _ => Act::Say(token_reply("t", ME, 60, RESOURCE)),
        })
        .await;
        let told = Mutex::new(Vec::new());
        let source = Source::imds(server.address(), Choice::Auto);
        let note = |no_token: NoToken| told.lock().push(no_token.reason);
        source.fetch(None, None, note).await.unwrap();
        let busy = |status| Reason::Busy { status };
        assert_eq!(*told.lock(), [busy(429), busy(410)]);
        assert_eq!(server.requests(), 3);
    }

    #[tokio::test]
    async fn a_refusal_ends_the_asking_at_once() {
        let server = Server::plain(|_, _| several()).await;
        let no_token = Source::imds(server.address(), Choice::Auto).fetch(None, None, |_| ()).await;
        let no_token = no_token.unwrap_err();
        assert!(no_token.is_refusal() && no_token.needs_a_choice());
        assert!(no_token.hint().unwrap().contains("identity=client-id:GUID"));
        assert_eq!(server.requests(), 1);
    }

    #[tokio::test]
    async fn only_a_question_that_is_wrong_for_ever_needs_another_command_line() {
        for (status, hopeless) in [(400, true), (401, false), (403, false)] {
            let server = Server::plain(move |_, _| Act::Say(answer(status, &[], "no"))).await;
            let no_token = Source::imds(server.address(), Choice::Auto)
                .fetch(None, None, |_| ())
                .await
                .unwrap_err();
            assert!(no_token.is_refusal());
            assert_eq!(no_token.needs_a_choice(), hopeless, "{status}");
        }
    }

    #[tokio::test]
    async fn a_redirect_takes_the_question_nowhere() {
        let other = Server::plain(|_, _| Act::Say(token_reply("evil", ME, 60, RESOURCE))).await;
        let line = format!("location: http://{}/", other.address());
        let server = Server::plain(move |number, _| match number {
            0 => Act::Say(answer(307, &[&line], "")),
            _ => Act::Say(token_reply("t", ME, 60, RESOURCE)),
        })
        .await;
        let token =
            Source::imds(server.address(), Choice::Auto).fetch(None, None, |_| ()).await.unwrap();
        assert_eq!(token.secret().expose(), b"t");
        assert_eq!(other.connections(), 0);
    }

    #[tokio::test]
    async fn whoever_was_taken_first_is_named_once_there_are_others() {
        let me = Guid::parse(ME).unwrap();
        for default_is_she in [true, false] {
            let server = Server::plain(move |_, heard| {
                if heard.line().contains(&format!("client_id={ME} ")) {
                    Act::Say(token_reply("mine", ME, 60, RESOURCE))
                } else if default_is_she {
                    Act::Say(token_reply("hers", SHE, 60, RESOURCE))
                } else {
                    several()
                }
            })
            .await;
            let token =
                Source::imds(server.address(), Choice::Auto).fetch(Some(&me), None, |_| ()).await;
            assert_eq!(token.unwrap().secret().expose(), b"mine");
            assert_eq!(server.requests(), 2);
        }
    }

    #[tokio::test]
    async fn whoever_was_taken_first_is_not_named_to_who_would_not_listen() {
        let me = Guid::parse(ME).unwrap();
        let server = Server::plain(|_, _| Act::Say(token_reply("hers", SHE, 60, RESOURCE))).await;
        let url = format!("http://{}/oauth2/token", server.address());
        let origin = Origin::CloudShell(Endpoint::parse(&url).unwrap());
        let source = Source::of(origin, Choice::Auto);
        source.fetch(Some(&me), None, |_| ()).await.unwrap();
        assert_eq!(server.requests(), 1);
    }

    #[tokio::test]
    async fn whoever_was_taken_first_need_not_be_named_while_alone() {
        let me = Guid::parse(ME).unwrap();
        let server = Server::plain(|_, _| Act::Say(token_reply("mine", ME, 60, RESOURCE))).await;
        let source = Source::imds(server.address(), Choice::Auto);
        source.fetch(Some(&me), None, |_| ()).await.unwrap();
        assert!(!server.heard()[0].line().contains("client_id"));
        assert_eq!(server.requests(), 1);
    }

    /// The service's limit is 5 a second for all on the machine; its updates take 70 s.
    #[test]
    fn tries_come_at_most_twice_a_second_and_go_on_past_an_update() {
        let mut at = Duration::ZERO;
        let mut tries = 0;
        while at < PATIENCE {
            assert!(gap(tries) >= Duration::from_millis(500));
            assert!(gap(tries) >= gap(tries.saturating_sub(1)));
            at += gap(tries);
            tries += 1;
        }
        assert!(PATIENCE >= Duration::from_secs(70));
        assert!((10..=20).contains(&tries), "{tries}");
        assert_eq!(gap(u32::MAX), LONGEST_GAP);
    }
}
