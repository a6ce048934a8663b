//! The worker's side: takes connections from the supervisor, and answers what is asked on them.
//!
//! Whoever asks is root or whoever mounted, and may still hang, send nonsense or never read. So
//! there are so many connections at once and no more, a question has a time to be asked in, and an
//! answer one to be taken in. No lock of the service is held while anybody is waited for.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::control::protocol::Identity;
use crate::control::reception;
use crate::control_server::conversation::Conversation;
use crate::service::server::Service;

/// What all conversations have in common.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) service: Service,
    /// Who asks the vault.
    pub(super) identity: Identity,
    /// What the worker may not do.
    pub(super) sandbox: Vec<String>,
    /// So many may ask at once.
    pub(super) asking: Arc<Semaphore>,
    /// So many may watch at once.
    pub(super) watching: Arc<Semaphore>,
}

/// Serves connections until the supervisor is gone. Must be called on a tokio runtime.
pub fn serve(supervisor: OwnedFd, service: Service, identity: Identity) -> io::Result<()> {
    let desk = Arc::new(Desk {
        service,
        identity,
        sandbox: sandbox(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        asking: Arc::new(Semaphore::new(ASKING)),
        watching: Arc::new(Semaphore::new(WATCHING)),
    });
    let runtime = Handle::current();
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        while let Ok(taken) = reception::take(&supervisor) {
            let Some((connection, facts)) = taken else { continue };
            // One too many is closed at once.
            let Ok(place) = Arc::clone(&desk.asking).try_acquire_owned() else { continue };
            let desk = Arc::clone(&desk);
            runtime.spawn(async move {
                if let Ok(conversation) = Conversation::begin(UnixStream::from(connection)) {
                    conversation.go(&desk, facts, place).await;
                }
            });
        }
    })?;
    Ok(())
}

/// What a process gave up, by what the kernel says of it.
fn sandbox(status: &str) -> Vec<String> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()
    };
    let mut given_up = Vec::new();
    if let Some(uid) = field("Uid:") {
        given_up.push(format!("uid {uid}"));
    }
    let none = |name| field(name).is_some_and(|set| set.bytes().all(|digit| digit == b'0'));
    if ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:", "CapBnd:"].into_iter().all(none) {
        given_up.push("no capabilities".to_owned());
    } else if none("CapEff:") && none("CapPrm:") {
        given_up.push("no capabilities of its own".to_owned());
    }
    if field("NoNewPrivs:") == Some("1") {
        given_up.push("no new privileges".to_owned());
    }
    if field("Seccomp:") == Some("2") {
        given_up.push("system calls filtered".to_owned());
    }
    given_up
}

const ASKING: usize = 64;
const WATCHING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_gave_up_is_read_from_the_kernels_own_words() {
        let status = "Uid:\t65534\t65534\t65534\t65534\nCapInh:\t0000\nCapPrm:\t0000\n\
                      CapEff:\t0000\nCapBnd:\t0000\nCapAmb:\t0000\nNoNewPrivs:\t1\nSeccomp:\t0\n";
        assert_eq!(sandbox(status), ["uid 65534", "no capabilities", "no new privileges"]);
        let users =
            status.replace("CapBnd:\t0000", "CapBnd:\t01ff").replace("Privs:\t1", "Privs:\t0");
        assert_eq!(sandbox(&users), ["uid 65534", "no capabilities of its own"]);
        assert_eq!(sandbox(""), [""; 0]);
    }
}
