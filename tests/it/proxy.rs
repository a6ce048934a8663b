//! `proxy=`: the way to the vault and to Entra, and to nobody else.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;

use akvfs_emulator::identity::TENANT;
use parking_lot::Mutex;

use crate::canary::Canaries;
use crate::world::World;

/// A proxy that connects whoever asks, and notes what it was told and what it could read.
struct Tunnel {
    told: Arc<Mutex<Vec<String>>>,
    address: &'static str,
    thread: Option<JoinHandle<()>>,
}

const ADDRESS: &str = "127.0.0.1:3128";

impl Tunnel {
    fn open(world: &World) -> Self {
        let listener = world.inside(|| TcpListener::bind(ADDRESS).unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let (notes, gate) = (Arc::clone(&told), world.gate());
        let thread = thread::spawn(move || {
            gate.enter();
            for stream in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                if head.is_empty() {
                    return;
                }
                let target = head.split(' ').nth(1).unwrap().to_owned();
                notes.lock().push(head);
                let out = TcpStream::connect(target).unwrap();
                reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let back = reader.into_inner();
                pipe(back.try_clone().unwrap(), out.try_clone().unwrap());
                pipe(out, back);
            }
        });
        Self { told, address: ADDRESS, thread: Some(thread) }
    }

    /// Whom it was told to connect to, in order and once each.
    fn targets(&self) -> Vec<String> {
        let told = self.told.lock();
        let mut targets: Vec<String> =
            told.iter().map(|head| head.lines().next().unwrap().to_owned()).collect();
        targets.dedup();
        targets
    }

    /// Ends it: whoever says nothing is the last.
    fn close(mut self, world: &World) {
        world
            .inside(|| TcpStream::connect(self.address).unwrap().shutdown(Shutdown::Both).unwrap());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Passes on what comes, until it ends.
fn pipe(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_proxy_carries_what_goes_to_vault_and_entra_and_reads_nothing_of_it() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let principal = world.emulator.entra().register(1);
    world.emulator.entra().set_secret(&principal, "p4ss-of-the-principal");
    let environment = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", principal.client_id.as_str()),
        ("AZURE_CLIENT_SECRET", "p4ss-of-the-principal"),
    ];
    let tunnel = Tunnel::open(&world);
    let get = ["get", "--proxy=http://127.0.0.1:3128", "my-vault", "ftpadmin"];
    assert_eq!(world.akvfs_with(&environment, &get).ok(), "s3cret");
    let connect = |host: &str| format!("CONNECT {host}:443 HTTP/1.1");
    let (entra, vault) = ("login.microsoftonline.com", "my-vault.vault.azure.net");
    assert_eq!(tunnel.targets(), [connect(entra), connect(vault)]);
    let mut canaries = Canaries::default();
    canaries.add("p4ss-of-the-principal");
    canaries.look_into("what the proxy was told", tunnel.told.lock().concat());
    // Nothing of the machine's own goes there.
    tunnel.told.lock().clear();
    assert_eq!(world.akvfs(&get).ok(), "s3cret");
    assert_eq!(world.emulator.count(|request| request.is_token()), 1);
    world.emulator.imds().set_tag("vault", "my-vault");
    let tagged = ["get", "--proxy=http://127.0.0.1:3128", "tag:vault", "ftpadmin"];
    assert_eq!(world.akvfs(&tagged).ok(), "s3cret");
    assert_eq!(tunnel.targets(), [connect(vault)]);
    // A mount takes the same way.
    let mounted = world.mount(&["proxy=http://127.0.0.1:3128"]);
    assert_eq!(mounted.outcome("ftpadmin"), Ok(b"s3cret".to_vec()));
    drop(mounted);
    tunnel.close(&world);
}

#[test]
fn without_its_proxy_nobody_goes_another_way() {
    let Some(world) = World::new() else { return };
    world.vault().put("ftpadmin", "s3cret");
    let get = ["get", "--proxy=http://127.0.0.1:9", "--open-timeout=1s", "my-vault", "ftpadmin"];
    world.akvfs(&get).failed(5);
    assert_eq!(world.emulator.count(|request| request.is_get()), 0);
}
