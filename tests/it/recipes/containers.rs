//! What a container sees of a mount, shown with what containers are made of.

use crate::recipes::kitchen::Kitchen;
use crate::recipes::kitchen::password;
use crate::world::until;

#[test]
fn a_container_follows_with_the_directory_and_over_a_new_mount_with_its_parent() {
    let Some(kitchen) = Kitchen::new("Containers", &["unshare", "nsenter"]) else { return };
    let served = kitchen.serve();
    // /mnt is a mount of its own here; it must pass on what is mounted below it.
    kitchen
        .world
        .sh("mount --make-rshared /mnt; mkdir -p /srv/dir /srv/parent; touch /srv/file")
        .ok();
    let line = "mount --rbind /mnt/vault /srv/dir
        mount --bind /mnt/vault/ftpadmin /srv/file
        mount --rbind /mnt /srv/parent && mount --make-rslave /srv/parent
        echo ready > /srv/ready; exec sleep 1000";
    let mut command = kitchen.world.command("unshare");
    command.args(["--mount", "--propagation=slave", "sh", "-e", "-c", line]);
    let container = kitchen.world.spawn(&mut command);
    until("it is up", || kitchen.world.read("/srv/ready").is_ok());
    let pid = container.pid().as_raw_nonzero().to_string();
    let see = |path: &str| kitchen.world.run("nsenter", &["-t", &pid, "-m", "cat", path]);
    served.over_rotations_and_deaths(
        |_| (),
        |number| {
            let wanted = format!("{}\n", password(number));
            assert_eq!(see("/srv/dir/ftpadmin").ok(), wanted);
            assert_eq!(see("/srv/parent/vault/ftpadmin").ok(), wanted);
            // Bound by itself, it is the first version for good.
            assert_eq!(see("/srv/file").ok(), "s3cret\n");
        },
    );
    // A new mount at the same place is seen through the parent; the directory is the old one's,
    // which is served for as long as somebody holds it.
    kitchen.world.sh("umount /mnt/vault && mount -a").ok();
    kitchen.rotate(0);
    until("it shows the next", || see("/srv/parent/vault/ftpadmin").ok() == "s3cret\n");
    until("so does the old one", || see("/srv/dir/ftpadmin").ok() == "s3cret\n");
    assert_eq!(kitchen.world.mounts().len(), 1);
    drop(container);
    drop(served);
}
