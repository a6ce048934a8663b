//! One connection: HTTP/1.1, and the faults that need the wire itself.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::CONTENT_LENGTH;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use crate::answer::Answer;
use crate::asked::Asked;
use crate::body::Delivery;
use crate::body::Stream;
use crate::control;
use crate::dialect;
use crate::fault::Kind;
use crate::fault::Plan;
use crate::login;
use crate::metadata;
use crate::record::Service;
use crate::secrets;
use crate::state::Cuts;
use crate::state::Shared;

/// Who answers on a connection.
#[derive(Clone, Copy)]
pub(crate) enum Behind {
    Service(Service),
    Control,
}

/// A stream whose TCP connection can be got at, to reset it.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;

    /// The name in the TLS greeting.
    fn sni(&self) -> Option<String>;
}

/// Answers on a connection until one side ends it.
pub(crate) async fn talk<W: Wire>(stream: W, behind: Behind, cuts: Cuts, shared: Arc<Shared>) {
    let cut = Arc::new(Cut::default());
    let sni = stream.sni();
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        let cut = Arc::clone(&cut);
        let sni = sni.clone();
        // What comes on a connection that was cut is not answered any more.
        let was_cut = cuts.has_changed().unwrap_or(true);
        async move {
            if was_cut {
                std::future::pending::<()>().await;
            }
            let answer = match behind {
                Behind::Service(service) => {
                    let asked = asked(service, request, sni).await;
                    serve(asked, &shared, &cut).await
                }
                Behind::Control => {
                    on_the_wire(control::answer(request, &shared).await, Delivery::Whole)
                }
            };
            Ok::<_, Infallible>(answer)
        }
    });
    let mut conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = &mut conversation => {}
        () = cut.close.notified() => {}
        () = cut.reset.notified() => {
            let stream = conversation.into_parts().io.into_inner();
            let _ = stream.tcp().set_zero_linger();
        }
    }
}

/// How a connection ends before its time.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) reset: Notify,
    close: Notify,
}

/// Counts a request as under way for as long as it lives, however it ends.
struct UnderWay<'a> {
    shared: &'a Shared,
    asked: Asked,
    number: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.shared.with(|state| state.leave(&self.asked));
    }
}

/// The request, with its body.
async fn asked(service: Service, request: Request<Incoming>, sni: Option<String>) -> Asked {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST).collect().await;
    let body = body.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let mut asked = Asked::new(service, &Request::from_parts(head, ()), body);
    asked.sni = sni;
    asked
}

async fn serve(mut asked: Asked, shared: &Shared, cut: &Arc<Cut>) -> Response<Stream> {
    let (number, mut plan) = shared.with(|state| state.arrive(&mut asked));
    let under_way = UnderWay { shared, asked, number };
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    shared.held(&plan.holds).await;
    let whole = |answer| (answer, Delivery::Whole);
    let (answer, delivery) = match plan.instead.take() {
        None => whole(under_way.usual(&plan)),
        Some(Kind::Truncated) => (under_way.usual(&plan), Delivery::Half),
        Some(Kind::Torn) => (under_way.usual(&plan), Delivery::Torn(Arc::clone(cut))),
        Some(Kind::Drip(pause)) => (under_way.usual(&plan), Delivery::Drip(pause)),
        Some(Kind::Endless(pause)) => (Answer::json(200, String::new()), Delivery::Endless(pause)),
        Some(Kind::Reset) => {
            cut.reset.notify_one();
            std::future::pending().await
        }
        Some(Kind::Close) => {
            cut.close.notify_one();
            std::future::pending().await
        }
        Some(Kind::Status { code, body, headers }) => whole(faulty(code, body, headers)),
        Some(Kind::Body(body)) => whole(Answer::json(200, body)),
        Some(Kind::Redirect { code, location }) => {
            let location = vec![("Location".to_owned(), location)];
            whole(faulty(code, String::new(), location))
        }
        Some(Kind::Challenge(challenge)) => whole(secrets::challenge(challenge)),
        // The others are in the plan by name; a hang is what is left.
        Some(
            Kind::Hang
            | Kind::Hold
            | Kind::Delay(_)
            | Kind::NextLink(_)
            | Kind::Id(_)
            | Kind::Field { .. },
        ) => std::future::pending().await,
    };
    shared.with(|state| state.answered(number, answer.status));
    on_the_wire(answer, delivery)
}

impl UnderWay<'_> {
    /// What the service itself says.
    fn usual(&self, plan: &Plan) -> Answer {
        let Self { asked, number, .. } = self;
        let mut answer = self.shared.with(|state| match asked.service {
            Service::Vault => secrets::answer(state, asked, *number, plan),
            Service::Metadata => metadata::answer(state, asked, *number),
            Service::Machine(dialect) => dialect::answer(dialect, state, asked, *number),
            Service::Entra => login::answer(state, asked, *number),
            Service::Elsewhere => Answer::json(404, "{}".to_owned()),
        });
        for (name, json) in &plan.fields {
            answer.set_field(name, json.as_deref());
        }
        answer
    }
}

fn faulty(code: u16, body: String, headers: Vec<(String, String)>) -> Answer {
    let mut answer = match body.is_empty() {
        true => Answer::bare(code),
        false => Answer::json(code, body),
    };
    for (name, value) in headers {
        answer.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        answer.headers.push((name, value));
    }
    answer
}

/// Puts an answer into HTTP's words. The length is that of the whole, whatever is delivered of it.
fn on_the_wire(answer: Answer, delivery: Delivery) -> Response<Stream> {
    let bytes = Bytes::from(answer.body);
    let length = (!delivery.is_endless()).then_some(bytes.len());
    let mut response = Response::new(Stream::new(bytes, delivery));
    if let Ok(status) = answer.status.try_into() {
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            headers.append(name, value);
        }
    }
    response
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn sni(&self) -> Option<String> {
        None
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }

    fn sni(&self) -> Option<String> {
        self.get_ref().1.server_name().map(ToOwned::to_owned)
    }
}

/// No careful client has as much to say.
const LARGEST: usize = 256 * 1024;
