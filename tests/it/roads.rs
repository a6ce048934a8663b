//! The ways from the machine to the vault, blocked: names that lead nowhere, packets that vanish.

use std::path::Path;

use crate::world::World;

impl World {
    /// What is sent to the vaults vanishes, also on connections that are there.
    pub(crate) fn swallow_vaults(&self) {
        self.swallow(VAULTS);
    }

    /// What is sent to the metadata service vanishes.
    pub(crate) fn swallow_imds(&self) {
        self.swallow(IMDS);
    }

    /// The vault's name is nobody's: the name service says so.
    pub(crate) fn lose_name(&self) {
        self.write(HOSTS, LOCAL);
        self.emulator.cut_connections();
    }

    /// Nobody answers who could say what the vault's name means.
    pub(crate) fn swallow_names(&self) {
        // Without options: five seconds, twice.
        self.write("/etc/resolv.conf", format!("nameserver {RESOLVER}\n"));
        self.swallow(RESOLVER);
        self.lose_resolver();
        self.lose_name();
    }

    /// The vault's name leads to where nobody listens.
    pub(crate) fn name_nobody(&self) {
        self.write(HOSTS, format!("{LOCAL}127.0.0.1 {VAULT}\n"));
        self.emulator.cut_connections();
    }

    /// Every way leads where it led at first.
    pub(crate) fn mend_roads(&self) {
        self.write(HOSTS, format!("{LOCAL}{VAULTS} {VAULT}\n"));
        self.find_resolver();
        if self.inside(|| Path::new("/sys/class/net").join(OUT).exists()) {
            self.run("ip", &["link", "del", OUT]).ok();
        }
        let there = self.sh("ip -o addr show dev lo").ok();
        for address in [IMDS, VAULTS].into_iter().filter(|address| !there.contains(address)) {
            self.run("ip", &["addr", "add", &format!("{address}/32"), "dev", "lo"]).ok();
        }
    }

    /// The other end of the wire takes what is sent to its address, and this is to another.
    fn swallow(&self, address: &str) {
        let there = self.sh("ip -o addr show dev lo").ok();
        if there.contains(address) {
            self.run("ip", &["addr", "del", &format!("{address}/32"), "dev", "lo"]).ok();
        }
        for line in [
            &format!("link add {OUT} type veth peer name {END}"),
            &format!("link set {OUT} up"),
            &format!("link set {END} up"),
            "addr replace 192.0.2.1/32 dev lo",
            &format!("route add {address}/32 dev {OUT}"),
            &format!("neigh add {address} lladdr 02:00:00:00:00:01 dev {OUT}"),
        ] {
            let ran = self.run("ip", &line.split(' ').collect::<Vec<_>>());
            assert_eq!(ran.code, Some(0), "ip {line}: {ran:?}");
        }
    }
}

const HOSTS: &str = "/etc/hosts";
const LOCAL: &str = "127.0.0.1 localhost\n";
const VAULT: &str = "my-vault.vault.azure.net";
const VAULTS: &str = "192.0.2.10";
const IMDS: &str = "169.254.169.254";
/// Whom /etc/resolv.conf names.
const RESOLVER: &str = "192.0.2.53";
const OUT: &str = "nowhere0";
const END: &str = "nowhere1";
