//! The session with the kernel, on a socket: the relay stands between the two.

use std::io;
use std::os::fd::OwnedFd;

use fuser::Config;
use fuser::Session;
use fuser::SessionACL;

use crate::fuse::audit::Audit;
use crate::fuse::filesystem::Mount;
use crate::fuse::view::View;
use crate::service::server::Service;

/// Serves a view of a cache until the kernel ends the session. `ready` is called once requests are
/// answered.
///
/// Who may do what is the kernel's to decide (`default_permissions`, `allow_other`), so the session
/// lets everybody in whom the kernel let through.
pub fn serve(
    service: Service,
    view: View,
    audit: Option<Audit>,
    socket: OwnedFd,
    ready: impl FnOnce(),
) -> io::Result<()> {
    let mount = Mount::new(service, view, audit);
    let session = Session::from_fd(mount, socket, SessionACL::All, Config::default())?;
    ready();
    session.run()
}
