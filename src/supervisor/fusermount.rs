//! Mounts and unmounts for a user who is not root, through fuse3's setuid program.

use std::io;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use rustix::net::AddressFamily;
use rustix::net::RecvAncillaryBuffer;
use rustix::net::RecvAncillaryMessage;
use rustix::net::RecvFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::recvmsg;
use rustix::net::socketpair;

/// Where the program is looked for. PATH is not asked: it may be anybody's.
const PLACES: [&str; 4] = [
    "/usr/bin/fusermount3",
    "/bin/fusermount3",
    "/usr/local/bin/fusermount3",
    "/run/wrappers/bin/fusermount3",
];

/// Why the program did not do it.
#[derive(Debug)]
pub enum Failure {
    /// It is not there.
    Missing,
    /// It could not be run, or gave no descriptor.
    Broken(io::Error),
    /// It says why.
    Refused(String),
}

/// Mounts on a directory, and returns the kernel's end of the mount.
pub fn mount(directory: &Path, options: &str) -> Result<OwnedFd, Failure> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| Failure::Broken(error.into()))?;
    let mut command = program()?;
    // The program looks for the socket at the number that it is told.
    command.env("_FUSE_COMMFD", "0").stdin(Stdio::from(theirs));
    command.arg("-o").arg(options).arg("--").arg(directory);
    run(command)?;
    receive_descriptor(&ours).map_err(Failure::Broken)
}

/// Unmounts a directory, at once or when the last file is closed.
pub fn unmount(directory: &Path, lazy: bool) -> Result<(), Failure> {
    let mut command = program()?;
    command.stdin(Stdio::null()).arg("-u");
    if lazy {
        command.arg("-z");
    }
    command.arg("--").arg(directory);
    run(command).map(drop)
}

fn program() -> Result<Command, Failure> {
    let place = PLACES.into_iter().find(|place| Path::new(place).exists());
    let mut command = Command::new(place.ok_or(Failure::Missing)?);
    command.env_clear().env("LC_ALL", "C");
    Ok(command)
}

fn run(mut command: Command) -> Result<Output, Failure> {
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.map_err(Failure::Broken)?;
    if output.status.success() {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    // It calls itself by the path that it was started by.
    let words = last.split_once("fusermount3: ").map_or(last, |(_, words)| words);
    Err(Failure::Refused(words.to_owned()))
}

fn receive_descriptor(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut byte)];
    // The program has ended: what it sent is there, or never will be.
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(socket, &mut slices, &mut ancillary, flags)?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        RecvAncillaryMessage::ScmCredentials(_) | _ => None,
    });
    descriptor.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
