//! The emulator's threads and its doors: who listens, and who answers behind it.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::dialect::Dialect;
use crate::fault::Greeting;
use crate::record::Service;
use crate::state::Cuts;
use crate::state::Shared;
use crate::wire;
use crate::wire::Behind;

/// The threads. Dropping them ends them, and closes every socket.
#[derive(Debug)]
pub(crate) struct Runtime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Who answers behind a listener.
#[derive(Clone)]
pub(crate) enum Door {
    Vault(TlsAcceptor),
    Entra(TlsAcceptor),
    /// Somebody who is neither, with or without TLS.
    Stranger(Option<TlsAcceptor>),
    Metadata,
    Machine(Dialect, Option<TlsAcceptor>),
    Control,
}

impl Runtime {
    /// Starts the threads. The runtime has a thread of its own to be dropped in, because a caller
    /// may hold the emulator inside another runtime.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("emulator")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("emulator".to_owned()).spawn(move || {
            let _ = runtime.block_on(stopped);
            drop(runtime);
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Answers on a listener from now on.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        door: Door,
        shared: &Arc<Shared>,
    ) -> std::io::Result<()> {
        let shared = Arc::clone(shared);
        listener.set_nonblocking(true)?;
        let _entered = self.handle.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.handle.spawn(async move {
            loop {
                // Out of descriptors, or a caller who left while waiting: neither is the end.
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let (door, mut cut) = (door.clone(), shared.cuts());
                let answer = answer(stream, door, cut.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    tokio::select! {
                        () = answer => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Ok(())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn answer(stream: TcpStream, door: Door, cuts: Cuts, shared: Arc<Shared>) {
    let (service, tls) = match door {
        Door::Vault(acceptor) => (Service::Vault, Some(acceptor)),
        Door::Entra(acceptor) => (Service::Entra, Some(acceptor)),
        Door::Stranger(acceptor) => (Service::Elsewhere, acceptor),
        Door::Metadata => (Service::Metadata, None),
        Door::Machine(dialect, acceptor) => (Service::Machine(dialect), acceptor),
        Door::Control => return wire::talk(stream, Behind::Control, cuts, shared).await,
    };
    let greeting = shared.with(|state| state.greetings.get(&service).copied());
    match greeting.unwrap_or_default() {
        Greeting::Serve => {}
        Greeting::Reset => return drop(stream.set_zero_linger()),
        Greeting::Silence => std::future::pending().await,
    }
    match tls {
        None => wire::talk(stream, Behind::Service(service), cuts, shared).await,
        Some(tls) => {
            // A client that does not trust the certificate ends here.
            if let Ok(stream) = tls.accept(stream).await {
                wire::talk(stream, Behind::Service(service), cuts, shared).await;
            }
        }
    }
}
