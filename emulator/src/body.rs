//! Bodies as they are delivered: whole, in part, by drops, or without end.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::body::Frame;
use tokio::time::Sleep;

use crate::wire::Cut;

/// How a body is delivered.
#[derive(Debug)]
pub(crate) enum Delivery {
    Whole,
    /// Its first half, and that is all.
    Half,
    /// Its first half, and then the connection is reset.
    Torn(Arc<Cut>),
    /// A byte at a time, with a pause before each.
    Drip(Duration),
    /// Blanks for ever, a kilobyte after each pause.
    Endless(Duration),
}

/// A body that does not say how long it is, so that the header may promise more.
#[derive(Debug)]
pub(crate) struct Stream {
    left: Bytes,
    delivery: Delivery,
    coming: Option<Coming>,
}

/// What comes next, and the pause before it.
type Coming = (Bytes, Option<Pin<Box<Sleep>>>);

impl Delivery {
    pub(crate) const fn is_endless(&self) -> bool {
        matches!(self, Self::Endless(_))
    }
}

impl Stream {
    pub(crate) fn new(mut left: Bytes, delivery: Delivery) -> Self {
        if matches!(delivery, Delivery::Half | Delivery::Torn(_)) {
            left.truncate(left.len() / 2);
        }
        Self { left, delivery, coming: None }
    }

    fn next(&mut self) -> Option<Coming> {
        let after =
            |pause: Duration| (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause)));
        match &self.delivery {
            Delivery::Drip(pause) if !self.left.is_empty() => {
                Some((self.left.split_to(1), after(*pause)))
            }
            Delivery::Endless(pause) => Some((Bytes::from_static(&[b' '; 1024]), after(*pause))),
            // It is on its way before the reset is.
            Delivery::Torn(_) if self.left.is_empty() => Some((Bytes::new(), after(A_MOMENT))),
            Delivery::Whole | Delivery::Half | Delivery::Torn(_) | Delivery::Drip(_) => {
                let rest = std::mem::take(&mut self.left);
                (!rest.is_empty()).then_some((rest, None))
            }
        }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.coming.is_none() {
            this.coming = this.next();
        }
        let Some((bytes, pause)) = this.coming.as_mut() else { return Poll::Ready(None) };
        if let Some(pause) = pause {
            std::task::ready!(pause.as_mut().poll(context));
        }
        let bytes = std::mem::take(bytes);
        this.coming = None;
        if let Delivery::Torn(cut) = &this.delivery
            && bytes.is_empty()
        {
            cut.reset.notify_one();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// Long enough for bytes to leave, and short enough for nobody to give up.
const A_MOMENT: Duration = Duration::from_millis(20);
