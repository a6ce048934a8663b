//! mount.cifs, as far as the kernel: few machines of tests know CIFS.

use crate::recipes::kitchen::Kitchen;

#[test]
fn mount_cifs_takes_its_credentials_from_the_mount() {
    let Some(kitchen) = Kitchen::new("mount.cifs: credentials=", &["mount.cifs"]) else { return };
    let served = kitchen.serve();
    let line = "mkdir -p /mnt/share; mount.cifs -f -v //files.example.com/share /mnt/share \
                -o credentials=/mnt/vault/cifs-credentials 2>&1";
    served.over_rotations_and_deaths(
        |_| (),
        |_| {
            let said = kitchen.world.sh(line).ok();
            // It does not show the password; what stands before and after it in the file, it has.
            for part in ["user=partner", "domain=EXAMPLE", "pass=********", "ip=127.0.0.1"] {
                assert!(said.contains(part), "{said}");
            }
        },
    );
}
